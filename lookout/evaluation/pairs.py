"""Pairs of pictures: are both of one person?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from lookout.evaluation.pictures import Pictures
from lookout.evaluation.protocols import Pair
from lookout.evaluation.statistics import NO_SCORE, Curve, Flags, Scores, cross_validated, curve

FARS = (1e-1, 1e-2, 1e-3, 1e-4)
BINS = 40


@dataclass(frozen=True, slots=True, eq=False)
class Fold:
    """One fold: how many of its pairs are told rightly, at the threshold that is best on the others."""

    accuracy: float
    threshold: float
    pairs: int
    failures: int


@dataclass(frozen=True, slots=True, eq=False)
class PairsOutcome:
    """All comparisons of a list of pairs.

    Attributes:
        scores: `(N,)`; `NO_SCORE` where a picture shows no face.
        mated: `(N,)`.
        folds: in their order.
        failures: pictures without a face, with the reason; their pairs count as wrong.
    """

    scores: Scores
    mated: Flags
    folds: Sequence[Fold]
    curve: Curve
    failures: Mapping[str, str]

    @property
    def accuracy(self) -> float:
        """Mean over the folds."""
        return float(np.mean([fold.accuracy for fold in self.folds]))

    @property
    def accuracy_se(self) -> float:
        """Standard error of that mean; 0 for a single fold, which tells none."""
        count = len(self.folds)
        return float(np.std([fold.accuracy for fold in self.folds], ddof=1) / np.sqrt(count)) if count > 1 else 0.0


def compare(folds: Sequence[Sequence[Pair]], pictures: Pictures) -> PairsOutcome:
    """Compare both pictures of each pair."""
    scored = [_scores(fold, pictures) for fold in folds]
    judged = cross_validated(scored)
    scores, mated = (np.concatenate([fold[k] for fold in scored]) for k in (0, 1))
    return PairsOutcome(
        scores=scores,
        mated=mated.astype(np.bool_),
        folds=[
            Fold(accuracy, threshold, len(one[0]), int(np.sum(~np.isfinite(one[0]))))
            for (accuracy, threshold), one in zip(judged, scored, strict=True)
        ],
        curve=curve(scores[mated.astype(np.bool_)], scores[~mated.astype(np.bool_)]),
        failures=dict(pictures.failures),
    )


def histogram(outcome: PairsOutcome) -> tuple[list[float], list[int], list[int]]:
    """Edges of bins, and how many mated and non-mated scores lie in each."""
    finite = outcome.scores[np.isfinite(outcome.scores)]
    edges = np.linspace(finite.min(), finite.max(), BINS + 1) if len(finite) else np.linspace(0, 1, BINS + 1)
    counts = [
        np.histogram(outcome.scores[of & np.isfinite(outcome.scores)], edges)[0]
        for of in (outcome.mated, ~outcome.mated)
    ]
    return [round(float(edge), 4) for edge in edges], counts[0].tolist(), counts[1].tolist()


@dataclass(frozen=True, slots=True)
class PairGroup:
    """The error rates of pairs within one group, at the overall threshold: false match and false non-match rate."""

    name: str
    mated: int
    non_mated: int
    fmr: float | None
    fnmr: float | None


def by_group(folds: Sequence[Sequence[Pair]], outcome: PairsOutcome, groups: Mapping[str, str]) -> list[PairGroup]:
    """Rates of pairs whose people are both of one group, each judged at its fold's threshold."""
    pairs = [pair for fold in folds for pair in fold]
    thresholds = np.concatenate([np.full(fold.pairs, fold.threshold) for fold in outcome.folds])
    matched = outcome.scores >= thresholds
    named = [groups.get(pair.people[0], "") for pair in pairs]
    same = [groups.get(pair.people[1], "") == name for pair, name in zip(pairs, named, strict=True)]
    found = []
    for name in sorted(set(named)):
        mine = np.array([inside and one == name for inside, one in zip(same, named, strict=True)])
        mated, others = mine & outcome.mated, mine & ~outcome.mated
        found.append(
            PairGroup(
                name,
                int(mated.sum()),
                int(others.sum()),
                float(matched[others].mean()) if others.any() else None,
                float(1 - matched[mated].mean()) if mated.any() else None,
            )
        )
    return found


def _scores(fold: Sequence[Pair], pictures: Pictures) -> tuple[Scores, Flags]:
    faces = [(pictures.faces.get(pair.first), pictures.faces.get(pair.second)) for pair in fold]
    scores = [NO_SCORE if a is None or b is None else float(a.template @ b.template) for a, b in faces]
    return np.array(scores), np.array([pair.mated for pair in fold])
