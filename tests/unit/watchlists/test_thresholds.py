from __future__ import annotations

import math
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lookout.faces.manifest import EmbedderContract, load_manifest
from lookout.stores.registry.tables import TIERS, Watchlist
from lookout.watchlists.thresholds import TIER_RATES, Thresholds, threshold_at, thresholds

#: On a busy machine any example may take longer than Hypothesis allows.
patient = settings(deadline=None)

DEFAULT = load_manifest().embedder("mobilefacenet-192").contract


def contract(points: dict[float, float]) -> EmbedderContract:
    return EmbedderContract(
        size=112,
        template="arcface112",
        colour="rgb",
        layout="nchw",
        mean=0,
        scale=1,
        dimension=4,
        operating_points=points,
    )


@st.composite
def contracts(draw: st.DrawFn) -> EmbedderContract:
    count = draw(st.integers(1, 6))
    exponents = draw(st.lists(st.integers(-80, -5), min_size=count, max_size=count, unique=True))
    cosines = draw(st.lists(st.integers(0, 90), min_size=count, max_size=count, unique=True))
    rates = (10 ** (exponent / 10) for exponent in sorted(exponents))
    return contract(dict(zip(rates, (cosine / 100 for cosine in sorted(cosines, reverse=True)), strict=True)))


rates = st.floats(-9, -0.1).map(lambda exponent: 10**exponent)


@patient
@given(contracts())
def test_operating_points_are_met_exactly(model: EmbedderContract) -> None:
    for rate, cosine in model.operating_points.items():
        assert threshold_at(model, rate) == pytest.approx(cosine, abs=1e-9)


@patient
@given(contracts(), rates, rates)
def test_a_stricter_rate_never_lowers_the_threshold(model: EmbedderContract, one: float, other: float) -> None:
    strict, loose = sorted((one, other))

    assert threshold_at(model, strict) >= threshold_at(model, loose) - 1e-9
    assert threshold_at(model, strict) <= 1


@patient
@given(contracts(), st.floats(0, 1))
def test_between_two_points_lies_a_straight_line_over_the_logarithm(model: EmbedderContract, way: float) -> None:
    points = sorted(model.operating_points.items())
    for (rate, cosine), (next_rate, next_cosine) in pairwise(points):
        between = 10 ** (math.log10(rate) + way * (math.log10(next_rate) - math.log10(rate)))
        assert threshold_at(model, between) == pytest.approx(cosine + way * (next_cosine - cosine), abs=1e-6)


@pytest.mark.parametrize(
    ("rate", "expected"),
    [
        (1e-2, 0.35),
        (1e-4, 0.53),
        (1e-6, 0.68),
        (10**-4.5, 0.565),
        (1e-1, 0.25),  # drawn on
        (1e-7, 0.76),  # drawn on
        (1e-30, 1.0),  # no cosine is higher
    ],
)
def test_the_default_model(rate: float, expected: float) -> None:
    assert threshold_at(DEFAULT, rate) == pytest.approx(expected)


@patient
@given(rates)
def test_a_single_point_holds_everywhere(rate: float) -> None:
    assert threshold_at(contract({1e-3: 0.42}), rate) == 0.42


def watchlist(possible: float | None, likely: float | None) -> Watchlist:
    return Watchlist(possible_threshold=possible, likely_threshold=likely)


@pytest.mark.parametrize(
    ("possible", "likely", "expected"),
    [
        (None, None, (0.53, 0.60)),
        (0.4, None, (0.4, 0.60)),
        (None, 0.9, (0.53, 0.9)),
        (0.1, 0.2, (0.1, 0.2)),
        (0.0, 0.0, (0.0, 0.0)),  # zero is a threshold, not an absent one
        (-1.0, 1.0, (-1.0, 1.0)),
    ],
)
def test_a_watchlists_own_thresholds_go_first(
    possible: float | None, likely: float | None, expected: tuple[float, float]
) -> None:
    found = thresholds(watchlist(possible, likely), DEFAULT)

    assert (found.possible, found.likely) == pytest.approx(expected)


def test_every_tier_has_a_rate() -> None:
    assert tuple(TIER_RATES) == TIERS
    assert TIER_RATES["likely"] < TIER_RATES["possible"]


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
