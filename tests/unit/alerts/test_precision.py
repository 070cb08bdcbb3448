from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lookout.alerts.precision import Precision


def test_before_the_first_verdict_nothing_is_known() -> None:
    assert (Precision(0, 0).share, Precision(0, 0).interval) == (None, (0.0, 1.0))


@pytest.mark.parametrize(
    ("confirmed", "rejected", "low", "high"),
    [(9, 1, 0.5958, 0.9821), (1, 0, 0.2065, 1.0), (0, 10, 0.0, 0.2775), (81, 182, 0.2553, 0.3662)],
)
def test_the_score_interval(confirmed: int, rejected: int, low: float, high: float) -> None:
    """The last is Newcombe's example, "Two-sided confidence intervals for the single proportion", 1998."""
    assert Precision(confirmed, rejected).interval == pytest.approx((low, high), abs=2e-4)


@given(st.integers(0, 10_000), st.integers(0, 10_000))
def test_the_share_lies_in_its_interval(confirmed: int, rejected: int) -> None:
    found = Precision(confirmed, rejected)
    low, high = found.interval
    assert 0 <= low <= high <= 1
    if found.share is not None:
        assert low - 1e-9 <= found.share <= high + 1e-9
