from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lookout.evaluation.rounding import (
    PER_CENT,
    Share,
    counted,
    digits,
    natural,
    percent,
    range_of,
    rate,
    share,
    value_of,
)


def plain(text: str) -> str:
    return text.replace(PER_CENT, " %")


@pytest.mark.parametrize(
    ("error", "decimals"),
    [
        # The examples of the Particle Data Group: 0.83 ± 0.12, 0.8 ± 0.4, and what is rounded up to two digits.
        (0.119, 2), (0.367, 1), (0.0965, 2),
        (1.65, 1), (3.54, 1), (3.55, 0), (9.4, 0), (9.6, 0), (12, 0), (350, 0), (0.001, 4), (0, 0), (-1, 0),
    ],
)  # fmt: skip
def test_decimals_of_a_figure_by_its_error(error: float, decimals: int) -> None:
    assert digits(error) == decimals


def test_a_figure_has_the_digits_of_its_error() -> None:
    assert [plain(percent(0.996666, 0.001924)), plain(percent(0.5, 0.1))] == ["99.67 %", "50 %"]


@pytest.mark.parametrize(
    ("one", "value", "around"),
    [
        (share(0.0274, 0.0128, 0.0459, 764), "2.7 %", "1.3 % to 4.6 %"),
        (share(0.204, 0.164, 0.249, 764), "20 %", "16 % to 25 %"),
        (share(0, 0, 0, 1194), "0 %", "at most 0.25 %"),  # the rule of three: 3 / 1194
        (share(1, 1, 1, 600), "100 %", "at least 99.5 %"),
        (share(0, 0, 0, 2), "0 %", "at most 100 %"),
        (share(0, 0, 0, 0), "0 %", "at most 100 %"),
        (share(0.25, 0.25, 0.25, 4), "25 %", "0 % to 100 %"),  # one person, drawn again and again
        (rate({"value": 0.5, "low": 0.1, "high": 0.9}, 10), "50 %", "10 % to 90 %"),
    ],
)
def test_rates_in_per_cent(one: Share, value: str, around: str) -> None:
    assert (plain(value_of(one)), plain(range_of(one))) == (value, around)


@pytest.mark.parametrize(
    ("one", "least", "told"),
    [
        (share(0.075, 0.051, 0.097, 764), 100, (100, "about 8 (95 % range: 5 to 10)")),
        (share(0.0065, 0.001, 0.0131, 764), 100, (1000, "about 6 (95 % range: 1 to 13)")),
        (share(0.0025, 0, 0.0059, 1194), 1000, (1000, "about 2 (95 % range: 0 to 6)")),
        (share(0, 0, 0, 1194), 1000, (1000, "at most about 3 (here: none of 1,194)")),
        (share(0, 0, 0, 50_000), 100, (100_000, "at most about 6 (here: none of 50,000)")),
        (share(1, 1, 1, 600), 100, (100, "at least about 99 (here: all 600)")),
        (share(0.5, 0.4999, 0.5001, 10**9), 100, (100, "about 50")),
        (share(1e-9, 0, 2e-9, 10**9), 100, (1_000_000, "about 0")),
    ],
)
def test_rates_in_whole_numbers(one: Share, least: int, told: tuple[int, str]) -> None:
    base, words = natural(one, least)
    assert (base, plain(words)) == told


@pytest.mark.parametrize(("value", "of", "low", "high"), [(81 / 263, 263, 0.2553, 0.3662), (0.9, 10, 0.5958, 0.9821)])
def test_independent_cases_have_the_score_interval(value: float, of: int, low: float, high: float) -> None:
    """The first is Newcombe's example, "Two-sided confidence intervals for the single proportion", 1998."""
    assert (counted(value, of).low, counted(value, of).high) == pytest.approx((low, high), abs=2e-4)


@given(st.integers(0, 2000), st.integers(0, 2000))
def test_a_rate_lies_in_its_range(one: int, other: int) -> None:
    found = counted(one / (one + other) if one + other else 0, one + other)
    assert 0 <= found.low <= found.value <= found.high <= 1
    assert found.low < found.high
