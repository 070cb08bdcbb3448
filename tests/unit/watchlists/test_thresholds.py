from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lookout.faces.manifest import load_manifest
from lookout.stores.registry.tables import TIERS, Watchlist
from lookout.watchlists.thresholds import MOST_STRANGERS, STRANGERS, Thresholds, thresholds

#: On a busy machine any example may take longer than Hypothesis allows.
patient = settings(deadline=None)

CALIBRATION = load_manifest().embedder("fusion-320").calibration
strangers = st.integers(1, MOST_STRANGERS)
sizes = st.integers(0, 1_000_000)


def of(possible: int, likely: int, size: int) -> Thresholds:
    return thresholds(Watchlist(possible_strangers=possible, likely_strangers=likely), size, CALIBRATION)


def test_every_tier_has_a_rate() -> None:
    assert tuple(STRANGERS) == TIERS
    assert STRANGERS["likely"] > STRANGERS["possible"]


@patient
@given(st.integers(2, MOST_STRANGERS), st.integers(1, 100_000))
def test_a_threshold_lets_through_as_many_strangers_as_stated(one_in: int, size: int) -> None:
    found = of(one_in, one_in, size)
    assert found.possible == found.likely
    if 1 / one_in / size > 1e-10:  # beyond it the calibration tells rates no more apart
        assert CALIBRATION.fpir(found.likely, size) == pytest.approx(1 / one_in, rel=1e-3)


@patient
@given(strangers, strangers, sizes, sizes)
def test_a_stricter_rate_or_a_longer_list_never_lowers_a_threshold(one: int, other: int, size: int, more: int) -> None:
    few, many = sorted((one, other))
    small, large = sorted((size, more))
    assert of(few, many, small).possible <= of(few, many, small).likely
    assert of(few, many, small).possible <= of(few, many, large).possible


def test_one_stranger_in_one_is_everybody() -> None:
    assert of(1, 1, 50) == Thresholds(-1.0, -1.0)


@pytest.mark.parametrize(
    ("score", "tier"),
    [(-1, None), (0.5299, None), (0.53, "possible"), (0.5999, "possible"), (0.6, "likely"), (1, "likely")],
)
def test_the_tier_of_a_score(score: float, tier: str | None) -> None:
    assert Thresholds(0.53, 0.6).tier(score) == tier


@patient
@given(st.floats(-1, 1), st.floats(-1, 1), st.floats(-1, 1))
def test_nothing_below_possible_is_reported(possible: float, likely: float, score: float) -> None:
    limits = Thresholds(possible, likely)

    tier = limits.tier(score)

    assert (tier is not None) == (score >= possible)
    if tier is not None:
        assert score >= limits.of(tier)
    if score >= max(possible, likely):
        assert tier == "likely"


def test_the_threshold_of_a_tier() -> None:
    assert [Thresholds(0.1, 0.2).of(tier) for tier in TIERS] == [0.1, 0.2]
