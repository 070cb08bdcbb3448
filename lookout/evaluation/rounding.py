"""Rates as people read them: with their range, and with no more digits than that supports."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

#: Whole numbers that rates are told in: "of 1,000 about 2".
BASES = (100, 1000, 10_000, 100_000, 1_000_000)
PER_CENT = "\N{NO-BREAK SPACE}%"


@dataclass(frozen=True, slots=True)
class Share:
    """A rate with its 95 % range, counted on `of` cases; all fractions."""

    value: float
    low: float
    high: float
    of: int

    @property
    def half_width(self) -> float:
        """Of the range."""
        return (self.high - self.low) / 2


def share(value: float, low: float, high: float, of: int) -> Share:
    """A rate whose range was measured.

    Where all cases, or none, went one way, drawing again tells no range. The rule of three does: of what never happened
    in n cases, one can be 95 % sure that it happens in at most 3 / n (Hanley and Lippman-Hand, JAMA 249, 1983).
    """
    doubt = min(1.0, 3 / of) if of else 1.0
    if value <= 0:
        return Share(0.0, 0.0, doubt, of)
    if value >= 1:
        return Share(1.0, 1 - doubt, 1.0, of)
    if low == high:  # one person drawn again and again is always the same: it says nothing of others
        return Share(value, 0.0, 1.0, of)
    return Share(value, low, high, of)


def rate(measured: Mapping[str, float], of: int) -> Share:
    """A rate of an answer: value, low, high."""
    return share(measured["value"], measured["low"], measured["high"], of)


def counted(value: float, of: int) -> Share:
    """A share of `of` independent cases, with Wilson's interval."""
    from scipy.stats import binomtest

    if not of:
        return share(value, 0, 1, 0)
    found = binomtest(round(value * of), of).proportion_ci(method="wilson")
    return share(value, float(found.low), float(found.high), of)


def digits(error: float) -> int:
    """How many decimals a figure may have whose error is this.

    The rule of the Particle Data Group (Review of Particle Physics, section 5.3): the error's three leading digits
    decide whether it, and so the figure, is told with two digits (100..354) or with one (355..949), or is rounded up to
    1000 and told with two.
    """
    if error <= 0:
        return 0
    power = math.floor(math.log10(error))
    leading = error / 10**power
    wanted = 1 if 3.545 <= leading < 9.495 else 2
    return max(0, wanted - 1 - power - (1 if leading >= 9.495 else 0))


def percent(value: float, error: float) -> str:
    """A fraction in per cent, with as many decimals as its error allows."""
    return f"{value * 100:.{digits(error * 100)}f}{PER_CENT}"


def value_of(one: Share) -> str:
    """The rate alone, in per cent."""
    return percent(one.value, one.half_width if 0 < one.value < 1 else 0)


def range_of(one: Share) -> str:
    """The 95 % range in per cent, with the same digits as the rate."""
    if one.value == 0:
        return f"at most {percent(one.high, one.high)}"
    if one.value == 1:
        return f"at least {percent(one.low, 1 - one.low)}"
    return f"{percent(one.low, one.half_width)} to {percent(one.high, one.half_width)}"


def natural(one: Share, least: int = 100) -> tuple[int, str]:
    """A rate in whole numbers.

    Args:
        one: the rate.
        least: the smallest base to tell it in.

    Returns:
        the base, and how many of it, with the range: 100 and "about 7 (95 % range: 5 to 10)".
    """
    if one.value == 0:
        base = _base(least, one.high)
        return base, f"at most about {math.ceil(one.high * base - 1e-9):,} (here: none of {one.of:,})"
    if one.value == 1:
        return least, f"at least about {math.floor(one.low * least + 1e-9):,} (here: all {one.of:,})"
    base = next((b for b in BASES if b >= least and (one.value * b >= 10 or one.half_width * b >= 1)), BASES[-1])
    value, low, high = (round(figure * base) for figure in (one.value, one.low, one.high))
    told = f"about {value:,}"
    return base, told if low == high else f"{told} (95{PER_CENT} range: {low:,} to {high:,})"


def _base(least: int, value: float) -> int:
    return next((base for base in BASES if base >= least and value * base >= 1), BASES[-1])
