from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import genpareto

from lookout.errors import BadInputError
from lookout.evaluation.calibration import BODY_RATES, LEAST_SCORES, fit

SHAPE, SCALE = -0.2, 0.1


def strangers(count: int) -> np.ndarray:
    """Scores whose every tail is a generalised Pareto distribution of the same shape; the highest possible is 0.5."""
    drawn = genpareto.rvs(SHAPE, scale=SCALE, size=count, random_state=np.random.default_rng(7))
    return np.asarray(drawn, np.float32)


def test_the_tail_of_a_known_distribution() -> None:
    made = fit(strangers(1_000_000), "made up")
    assert made.tail is not None
    assert (made.source, made.tail.rate) == ("made up", 1e-3)
    # Excesses over u have the same shape, and the scale at u (Pickands 1975).
    assert made.tail.shape == pytest.approx(SHAPE, abs=0.1)
    assert made.tail.scale == pytest.approx(SCALE + SHAPE * made.tail.score, rel=0.1)
    for rate in (*BODY_RATES, 1e-4, 1e-5, 1e-6):
        assert made.score_at(rate) == pytest.approx(genpareto.isf(rate, SHAPE, scale=SCALE), abs=0.006)


def test_of_few_scores_the_tail_begins_earlier() -> None:
    made = fit(strangers(LEAST_SCORES), "")
    assert made.tail is not None
    assert made.tail.rate == 0.02
    assert sorted(made.operating_points) == [0.02, 0.05, 0.1, 0.2, 0.5]
    assert made.score_at(1e-3) == pytest.approx(genpareto.isf(1e-3, SHAPE, scale=SCALE), abs=0.03)


def test_the_order_of_scores_does_not_matter() -> None:
    scores = strangers(LEAST_SCORES)
    assert fit(scores, "") == fit(np.sort(scores), "")


@pytest.mark.parametrize(
    ("scores", "message"),
    [
        (strangers(LEAST_SCORES - 1), "9999 scores of strangers are too few"),
        (np.resize(strangers(50), LEAST_SCORES), "alike"),
        (np.zeros(LEAST_SCORES, np.float32), "alike"),
    ],
)
def test_what_tells_no_tail_is_refused(scores: np.ndarray, message: str) -> None:
    with pytest.raises(BadInputError, match=message):
        fit(scores, "")
