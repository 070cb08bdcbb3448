"""What a threshold means: how often strangers reach it."""

from __future__ import annotations

import itertools
import math

from lookout.faces.manifest import EmbedderContract

#: Beyond it nothing was measured that could be drawn on.
LEAST_RATE = 1e-9


def rate_at(contract: EmbedderContract, cosine: float) -> float:
    """The share of comparisons of two strangers that reach a cosine, by the model's operating points: 1e-9..1.

    The inverse of `lookout.watchlists.thresholds.threshold_at`: straight lines over the rate's logarithm, drawn on
    beyond the last points. A model with a single point tells only that point's rate.
    """
    points = sorted((known, math.log10(rate)) for rate, known in contract.operating_points.items())
    if len(points) == 1:
        return math.pow(10.0, points[0][1])
    pairs = list(itertools.pairwise(points))
    (left, left_rate), (right, right_rate) = next((pair for pair in pairs if cosine <= pair[1][0]), pairs[-1])
    found = left_rate + (right_rate - left_rate) / (right - left) * (cosine - left)
    return min(1.0, max(LEAST_RATE, math.pow(10.0, found)))


def strangers_in_10_000(rate: float, targets: int) -> float:
    """How many of 10,000 strangers a watchlist of so many targets would report at this rate a comparison."""
    return 10_000 * -math.expm1(targets * math.log1p(-rate)) if rate < 1 else 10_000.0 * (targets > 0)
