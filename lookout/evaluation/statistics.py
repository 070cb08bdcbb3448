"""Error rates of scores, and how sure one can be of them.

Rates as in ISO/IEC 19795-1: of mated and non-mated comparisons, at a threshold that a score must reach to match.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Scores = NDArray[np.float64]
Flags = NDArray[np.bool_]

#: What no score reaches: that of a comparison that could not be made.
NO_SCORE = -np.inf


@dataclass(frozen=True, slots=True, eq=False)
class Curve:
    """Rates at every threshold that tells two scores apart, thresholds falling.

    Attributes:
        thresholds: `(N,)`; the first is above all scores.
        far: `(N,)` share of non-mated comparisons that reach it, rising from 0 to 1.
        tar: `(N,)` share of mated comparisons that reach it, rising.
    """

    thresholds: Scores
    far: Scores
    tar: Scores

    @property
    def auc(self) -> float:
        """Area under the receiver operating characteristic, 0..1."""
        return float(np.trapezoid(self.tar, self.far) + (1 - self.far[-1]) * (self.tar[-1] + 1) / 2)

    @property
    def eer(self) -> float:
        """The equal error rate: where as many mated comparisons fail as non-mated ones pass, between two thresholds."""
        difference = self.far - (1 - self.tar)
        after = int(np.argmax(difference >= 0))
        if difference[after] < 0:
            return float((self.far[-1] + 1 - self.tar[-1]) / 2)
        if after == 0 or difference[after] == difference[after - 1]:
            return float(self.far[after])
        way = -difference[after - 1] / (difference[after] - difference[after - 1])
        return float(self.far[after - 1] + way * (self.far[after] - self.far[after - 1]))

    def tar_at(self, far: float) -> float:
        """The largest share of mated comparisons that match while at most a share `far` of non-mated ones does."""
        return float(self.tar[int(np.searchsorted(self.far, far + 1e-12, side="right")) - 1])


def curve(mated: Scores, non_mated: Scores) -> Curve:
    """The rates of scores; those that are `NO_SCORE` never match and count in the denominators."""
    thresholds = np.unique(np.concatenate([mated, non_mated]))
    thresholds = thresholds[np.isfinite(thresholds)][::-1]
    far, tar = (1 - np.searchsorted(np.sort(of), thresholds, side="left") / len(of) for of in (non_mated, mated))
    return Curve(np.concatenate([[np.inf], thresholds]), np.concatenate([[0], far]), np.concatenate([[0], tar]))


def best_threshold(scores: Scores, mated: Flags) -> float:
    """The threshold that parts most pairs rightly; of equally good ones the middle one, as the ends hang on a pair."""
    found = np.unique(scores[np.isfinite(scores)])
    if not len(found):
        return 0.0
    between = np.concatenate([[found[0]], (found[1:] + found[:-1]) / 2, [np.nextafter(found[-1], np.inf)]])
    missed = np.searchsorted(np.sort(scores[mated]), between, side="left")
    passed = (~mated).sum() - np.searchsorted(np.sort(scores[~mated]), between, side="left")
    wrong = missed + passed
    best = np.flatnonzero(wrong == wrong.min())
    return float(between[best[len(best) // 2]])


def cross_validated(folds: Sequence[tuple[Scores, Flags]]) -> list[tuple[float, float]]:
    """Each fold's accuracy at the threshold that is best on all others, with that threshold.

    The protocol of G. Huang et al., "Labeled Faces in the Wild", 2007. A single fold is judged by itself. A pair that
    could not be compared is wrong, whichever it is: whoever is not found is not recognised as the same person, nor told
    apart from another.
    """
    outcome = []
    for number, (scores, mated) in enumerate(folds):
        others = [fold for k, fold in enumerate(folds) if k != number] or [folds[number]]
        threshold = best_threshold(
            np.concatenate([one[0] for one in others]), np.concatenate([one[1] for one in others])
        )
        right = (mated == (scores >= threshold)) & np.isfinite(scores)
        outcome.append((float(right.mean()), threshold))
    return outcome


def threshold_at(best_scores: Scores, fpir: float) -> float:
    """The least threshold that at most a share `fpir` of strangers' best scores reaches.

    It lies just above the best score of the first stranger who must not be reported.
    """
    allowed = int(np.floor(fpir * len(best_scores) + 1e-9))
    if allowed >= len(best_scores):
        return float(np.min(best_scores))
    return float(np.nextafter(np.sort(best_scores)[::-1][allowed], np.inf))


def resampled(people: Sequence[str], count: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """How often each row counts in each resample, `(count, rows)`: people are drawn with replacement, not rows."""
    _, person = np.unique(np.asarray(people), return_inverse=True)
    total = int(person.max()) + 1
    drawn = rng.multinomial(total, np.full(total, 1 / total), size=count)
    return np.asarray(drawn[:, person], np.int64)


def interval(values: NDArray[np.float64]) -> tuple[float, float]:
    """The middle 95 % of resampled values."""
    low, high = np.quantile(values, [0.025, 0.975])
    return float(low), float(high)
