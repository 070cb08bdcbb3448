"""Scores of strangers to a calibration."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from lookout.errors import BadInputError
from lookout.faces.calibration import Calibration, Tail

#: Rates whose scores are read from the measured ones.
BODY_RATES = (0.5, 0.2, 0.1, 0.05, 0.02, 1e-2, 5e-3, 2e-3, 1e-3)
#: The tail is fitted to the highest scores: a thousandth of all, but not fewer than this. Fitted to LFW's 4.8 million
#: strangers' scores from a hundredth, a thousandth and a ten-thousandth on, it says nearly the same of one in 100,000.
TAIL_RATE = 1e-3
LEAST_EXCESSES = 200
#: A tail that begins at a higher share than the fiftieth would be fitted to the body.
LEAST_SCORES = 50 * LEAST_EXCESSES


def fit(scores: NDArray[np.float32], source: str) -> Calibration:
    """Fit a calibration to cosines of strangers `(N,)`, in any order.

    The body is taken as it was measured. Excesses over the score where the tail begins are fitted by a generalised
    Pareto distribution of greatest likelihood.

    Args:
        scores: at least `LEAST_SCORES`.
        source: what they are of, in plain words.

    Raises:
        BadInputError: too few scores, or many alike.
    """
    from scipy.stats import genpareto

    count = len(scores)
    if count < LEAST_SCORES:
        raise BadInputError(f"{count} scores of strangers are too few to tell a tail: {LEAST_SCORES} are needed.")
    ordered = np.sort(scores.astype(np.float64))[::-1]
    begins = max(TAIL_RATE, LEAST_EXCESSES / count)
    rates = [rate for rate in BODY_RATES if rate > begins] + [begins]
    points = {rate: round(float(ordered[int(rate * count)]), 4) for rate in rates}
    above = points[begins]
    excesses = ordered[ordered > above] - above
    if len(set(points.values())) < len(points) or len(np.unique(excesses)) < LEAST_EXCESSES / 2:
        raise BadInputError("many scores of strangers are alike: they are not of different people.")
    shape, _, scale = genpareto.fit(excesses, floc=0)
    # Beyond these the fit says more of single scores than of the tail.
    shape = float(np.clip(shape, -0.5, 0.5))
    return Calibration(
        operating_points=points,
        tail=Tail(score=above, rate=begins, scale=round(float(scale), 6), shape=round(shape, 4)),
        source=source,
    )
