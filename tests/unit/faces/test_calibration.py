from __future__ import annotations

import math
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lookout.faces.calibration import LEAST_RATE, Calibration, Tail
from lookout.faces.manifest import load_manifest

#: On a busy machine any example may take longer than Hypothesis allows.
patient = settings(deadline=None)

SHIPPED = {
    name: load_manifest().embedder(name).calibration for name in ("fusion-320", "mobilefacenet-192", "dlib-resnet-128")
}


@st.composite
def calibrations(draw: st.DrawFn) -> Calibration:
    """Points alone, or with a tail from the last of them on."""
    count = draw(st.integers(1, 6))
    exponents = draw(st.lists(st.integers(-60, -5), min_size=count, max_size=count, unique=True))
    cosines = draw(st.lists(st.integers(0, 90), min_size=count, max_size=count, unique=True))
    rates = [10 ** (exponent / 10) for exponent in sorted(exponents)]
    scores = [cosine / 100 for cosine in sorted(cosines, reverse=True)]
    tail = None
    if draw(st.booleans()):
        shape = draw(st.floats(-0.5, 0.5))
        tail = Tail(score=scores[0], rate=rates[0], scale=draw(st.floats(0.001, 0.1)), shape=shape)
    return Calibration(operating_points=dict(zip(rates, scores, strict=True)), tail=tail)


rates = st.floats(-11, -0.1).map(lambda exponent: 10**exponent)


@patient
@given(calibrations())
def test_operating_points_are_met_exactly(calibration: Calibration) -> None:
    for rate, cosine in calibration.operating_points.items():
        assert calibration.score_at(rate) == pytest.approx(cosine, abs=1e-9)


@patient
@given(calibrations(), rates, rates)
def test_a_stricter_rate_never_lowers_the_score(calibration: Calibration, one: float, other: float) -> None:
    strict, loose = sorted((one, other))
    assert -1 <= calibration.score_at(loose) <= calibration.score_at(strict) + 1e-9 <= 1 + 1e-9


@patient
@given(calibrations(), st.floats(-1, 1), st.floats(-1, 1))
def test_a_higher_score_is_never_reached_more_often(calibration: Calibration, one: float, other: float) -> None:
    low, high = sorted((one, other))
    assert LEAST_RATE <= calibration.rate_at(high) <= calibration.rate_at(low) * (1 + 1e-9) <= 1 + 1e-9


@patient
@given(calibrations(), st.floats(0, 1))
def test_between_two_points_lies_a_straight_line_over_the_logarithm(calibration: Calibration, way: float) -> None:
    for (rate, cosine), (next_rate, next_cosine) in pairwise(sorted(calibration.operating_points.items())):
        between = 10 ** (math.log10(rate) + way * (math.log10(next_rate) - math.log10(rate)))
        assert calibration.score_at(between) == pytest.approx(cosine + way * (next_cosine - cosine), abs=1e-6)


@patient
@given(rates)
def test_a_single_point_holds_everywhere(rate: float) -> None:
    assert Calibration(operating_points={1e-3: 0.42}).score_at(rate) == 0.42


@pytest.mark.parametrize("shape", [-0.3, 0.0, 0.3])
def test_a_tail_is_a_generalised_pareto_distribution(shape: float) -> None:
    tail = Tail(score=0.5, rate=1e-3, scale=0.02, shape=shape)
    beyond = 0.02 * 2
    expected = math.exp(-2) if shape == 0 else (1 + shape * 2) ** (-1 / shape)
    assert tail.rate_at(0.5 + beyond) == pytest.approx(1e-3 * expected)
    assert tail.score_at(1e-3 * expected) == pytest.approx(0.5 + beyond)


@pytest.mark.parametrize("name", SHIPPED)
@pytest.mark.parametrize("exponent", [-0.5, -2, -3, -4, -6, -8, -10])
def test_what_is_shipped_tells_rates_and_scores_alike(name: str, exponent: float) -> None:
    rate = 10**exponent
    assert SHIPPED[name].rate_at(SHIPPED[name].score_at(rate)) == pytest.approx(rate, rel=1e-3)


def test_a_watchlist_reports_more_strangers_the_longer_it_is() -> None:
    calibration = Calibration(operating_points={1e-2: 0.4, 1e-4: 0.6})
    assert calibration.fpir(0.6, 0) == 0
    assert calibration.fpir(0.6, 1) == pytest.approx(1e-4)
    assert calibration.fpir(0.6, 100) == pytest.approx(0.00995, rel=1e-3)
    assert calibration.threshold(0.00995017, 100) == pytest.approx(0.6, abs=1e-5)
    assert calibration.threshold(1e-4, 0) == calibration.threshold(1e-4, 1)
    assert calibration.threshold(1, 100) == -1


@pytest.mark.parametrize("points", [{}, {1e-3: 0.5, 1e-4: 0.5}, {1e-3: 0.5, 1e-4: 0.4}])
def test_points_that_say_nothing_or_contradict_themselves_are_refused(points: dict[float, float]) -> None:
    with pytest.raises(ValueError, match="operating_points"):
        Calibration(operating_points=points)
