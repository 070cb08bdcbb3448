"""From which score on a match is worth an alert."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass

from lookout.faces.manifest import EmbedderContract
from lookout.stores.registry.tables import Watchlist

#: Share of comparisons of two strangers that may reach a tier, where a watchlist says nothing else. A watchlist of N
#: references then reports a stranger about N times as often.
TIER_RATES = {"possible": 1e-4, "likely": 1e-5}


@dataclass(frozen=True, slots=True)
class Thresholds:
    """Cosines from which a match counts as `possible` and as `likely`."""

    possible: float
    likely: float

    def tier(self, score: float) -> str | None:
        """The highest tier a score reaches; below `possible` none, even where `likely` was set lower."""
        if score < self.possible:
            return None
        return "likely" if score >= self.likely else "possible"

    def of(self, tier: str) -> float:
        """The threshold of a tier."""
        return self.likely if tier == "likely" else self.possible


def thresholds(watchlist: Watchlist, contract: EmbedderContract) -> Thresholds:
    """A watchlist's own thresholds, or the model's at `TIER_RATES`."""
    possible = watchlist.possible_threshold
    likely = watchlist.likely_threshold
    return Thresholds(
        threshold_at(contract, TIER_RATES["possible"]) if possible is None else possible,
        threshold_at(contract, TIER_RATES["likely"]) if likely is None else likely,
    )


def threshold_at(contract: EmbedderContract, rate: float) -> float:
    """The cosine that a share `rate` of strangers' comparisons reaches, by the model's operating points.

    Straight lines over the rate's logarithm, drawn on beyond the last points; a single point holds everywhere.
    """
    points = sorted((math.log10(known), cosine) for known, cosine in contract.operating_points.items())
    if len(points) == 1:
        return points[0][1]
    wanted = math.log10(rate)
    pairs = list(itertools.pairwise(points))
    (left, left_cosine), (right, right_cosine) = next((pair for pair in pairs if wanted <= pair[1][0]), pairs[-1])
    slope = (right_cosine - left_cosine) / (right - left)
    return min(1.0, left_cosine + slope * (wanted - left))
