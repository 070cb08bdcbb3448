"""What a score means: how often strangers reach it.

Templates are compared by their cosine, and strangers' cosines form a distribution that is a model's own. Its body is
known by points that were measured. Beyond the last of them lies its tail, of which extreme-value theory says what form
it takes: that of a generalised Pareto distribution (J. Pickands, "Statistical Inference Using Extreme Order
Statistics", Annals of Statistics 3, 1975). `lookout.evaluation.calibration` fits both.
"""

from __future__ import annotations

import itertools
import math
from typing import Annotated

import msgspec
from msgspec import Meta

Rate = Annotated[float, Meta(gt=0, lt=1)]
Cosine = Annotated[float, Meta(ge=-1, le=1)]

#: Rates below it are not told apart: nothing that was measured reaches so far.
LEAST_RATE = 1e-12


class Tail(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Scores of strangers above `score`: excesses follow a generalised Pareto distribution.

    Attributes:
        score: where it begins.
        rate: share of comparisons that reach it.
        scale: of the excesses, above 0.
        shape: below 0 the tail ends at `score - scale / shape`, at 0 it is exponential, above 0 it is heavy.
    """

    score: Cosine
    rate: Rate
    scale: Annotated[float, Meta(gt=0)]
    shape: Annotated[float, Meta(gt=-1, lt=1)]

    def rate_at(self, score: float) -> float:
        """The share of comparisons that reach a score of the tail."""
        excess = (score - self.score) / self.scale
        if abs(self.shape) < 1e-9:
            return self.rate * math.exp(-excess)
        left = 1 + self.shape * excess
        return self.rate * math.pow(left, -1 / self.shape) if left > 0 else 0.0

    def score_at(self, rate: float) -> float:
        """The score that a share of comparisons reaches, at most `self.rate`."""
        if abs(self.shape) < 1e-9:
            return self.score + self.scale * math.log(self.rate / rate)
        return self.score + self.scale / self.shape * (math.pow(rate / self.rate, -self.shape) - 1)


class Calibration(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How strangers' scores of one model are distributed.

    Attributes:
        operating_points: false match rate of one comparison of two strangers -> cosine that reaches it. Between points
            lie straight lines over the rate's logarithm, drawn on beyond the last; a single point's rate holds
            everywhere.
        tail: what holds beyond its score instead.
        source: the data that it was measured on, in plain words.
    """

    operating_points: dict[Rate, Cosine]
    tail: Tail | None = None
    source: str = ""

    def __post_init__(self) -> None:
        points = sorted(self.operating_points.items(), reverse=True)
        if not points:
            raise ValueError("`operating_points` needs at least one false match rate with its cosine")
        if any(stricter <= looser for (_, looser), (_, stricter) in itertools.pairwise(points)):
            raise ValueError("`operating_points` must name a higher cosine for each lower false match rate")

    def rate_at(self, cosine: float) -> float:
        """The share of comparisons of two strangers that reach a cosine: `LEAST_RATE`..1."""
        if self.tail is not None and cosine > self.tail.score:
            return max(LEAST_RATE, self.tail.rate_at(cosine))
        points = sorted((known, math.log10(rate)) for rate, known in self.operating_points.items())
        if len(points) == 1:
            return math.pow(10.0, points[0][1])
        pairs = list(itertools.pairwise(points))
        (left, left_rate), (right, right_rate) = next((pair for pair in pairs if cosine <= pair[1][0]), pairs[-1])
        found = left_rate + (right_rate - left_rate) / (right - left) * (cosine - left)
        return math.pow(10.0, min(0.0, max(math.log10(LEAST_RATE), found)))

    def score_at(self, rate: float) -> float:
        """The cosine that a share `rate` of strangers' comparisons reaches, at most 1."""
        rate = max(rate, LEAST_RATE)
        if self.tail is not None and rate < self.tail.rate:
            return min(1.0, self.tail.score_at(rate))
        points = sorted((math.log10(known), cosine) for known, cosine in self.operating_points.items())
        if len(points) == 1:
            return points[0][1]
        wanted = math.log10(rate)
        pairs = list(itertools.pairwise(points))
        (left, left_cosine), (right, right_cosine) = next((pair for pair in pairs if wanted <= pair[1][0]), pairs[-1])
        slope = (right_cosine - left_cosine) / (right - left)
        return max(-1.0, min(1.0, left_cosine + slope * (wanted - left)))

    def fpir(self, cosine: float, size: int) -> float:
        """The share of strangers who reach a cosine with somebody of a watchlist of so many people.

        Comparisons are taken to be independent. Real ones are not, as who resembles one person resembles others, too;
        fewer strangers are reported then, never more: docs/accuracy.md compares both.
        """
        rate = self.rate_at(cosine)
        return -math.expm1(size * math.log1p(-rate)) if rate < 1 else float(size > 0)

    def threshold(self, fpir: float, size: int) -> float:
        """The cosine that at most a share `fpir` of strangers reach with somebody of a watchlist of so many people.

        An empty watchlist has that of its first person. A share of 1 admits everybody.
        """
        if fpir >= 1:
            return -1.0
        return self.score_at(-math.expm1(math.log1p(-fpir) / max(1, size)))
