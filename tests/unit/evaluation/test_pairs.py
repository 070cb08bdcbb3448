from __future__ import annotations

import numpy as np
import pytest

from lookout.evaluation.pairs import PairGroup, by_group, compare, histogram
from lookout.evaluation.protocols import Pair
from tests.unit.evaluation.made import cos, pictures_at


def mated(first: str, second: str) -> Pair:
    return Pair(first, second, (first[0], first[0]))


def others(first: str, second: str) -> Pair:
    return Pair(first, second, (first[0], second[0]))


#: Two people: A looks to 0°, B to 90°, and a picture of each (`3`) half-way to the other; `A-` shows no face.
ANGLES = {"A1": 0, "A2": 10, "A3": 45, "B1": 90, "B2": 80, "B3": 45, "A-": None}
FOLDS = [
    [mated("A1", "A2"), mated("B1", "B2"), others("A1", "B1"), others("A2", "B2")],
    [mated("A1", "A3"), mated("B1", "A-"), others("A3", "B3"), others("A1", "B2")],
]


def test_scores_are_cosines_and_what_shows_no_face_has_none() -> None:
    outcome = compare(FOLDS, pictures_at(ANGLES))
    cosines = [cos(angle) for angle in (10, 10, 90, 70, 45, 0, 80)]
    assert outcome.scores[[0, 1, 2, 3, 4, 6, 7]] == pytest.approx(cosines, abs=1e-6)
    assert outcome.scores[5] == -np.inf
    assert outcome.mated.tolist() == [True, True, False, False] * 2
    assert outcome.failures == {"A-": "no face found"}


def test_folds_are_judged_by_one_another() -> None:
    outcome = compare(FOLDS, pictures_at(ANGLES))
    one, other = outcome.folds
    # The first is best parted between 70° and 10°; the second has its two people at 0°: best is to let none match, or
    # 45° and 0° both. Its pair without a face is wrong either way.
    assert other.threshold == pytest.approx((cos(70) + cos(10)) / 2, abs=1e-6)
    assert (other.accuracy, other.pairs, other.failures) == (0.5, 4, 1)
    assert (one.pairs, one.failures) == (4, 0)
    assert outcome.accuracy == pytest.approx((one.accuracy + 0.5) / 2)
    # Of two figures the standard deviation is their distance over √2, the error of their mean half of the distance.
    assert outcome.accuracy_se == pytest.approx(abs(one.accuracy - 0.5) / 2)


def test_a_single_fold_has_no_standard_error() -> None:
    outcome = compare(FOLDS[:1], pictures_at(ANGLES))
    assert (outcome.accuracy, outcome.accuracy_se) == (1, 0)
    assert (outcome.curve.auc, outcome.curve.eer) == (1, 0)


def test_every_score_lies_in_a_bin() -> None:
    edges, of_one, of_two = histogram(compare(FOLDS, pictures_at(ANGLES)))
    assert len(edges) == len(of_one) + 1 == len(of_two) + 1
    assert (edges[0], edges[-1]) == (0, 1)
    assert (sum(of_one), sum(of_two)) == (3, 4)
    assert (of_two[0], of_two[-1]) == (1, 1)  # 90° and 0°


def test_without_any_score_there_are_bins_all_the_same() -> None:
    edges, of_one, of_two = histogram(
        compare([[mated("A-", "A-"), others("A-", "B-")]], pictures_at({"A-": None, "B-": None}))
    )
    assert (edges[0], edges[-1], sum(of_one), sum(of_two)) == (0, 1, 0, 0)


def test_groups_are_of_pairs_within_them() -> None:
    outcome = compare(FOLDS[:1], pictures_at(ANGLES))
    assert by_group(FOLDS[:1], outcome, {"A": "old", "B": "new"}) == [
        PairGroup("new", 1, 0, None, 0),
        PairGroup("old", 1, 0, None, 0),
    ]
    assert by_group(FOLDS[:1], outcome, {}) == [PairGroup("", 2, 2, 0, 0)]


def test_a_group_is_judged_at_the_thresholds_of_its_folds() -> None:
    outcome = compare(FOLDS, pictures_at(ANGLES))
    (group,) = by_group(FOLDS, outcome, {"A": "x", "B": "x"})
    matched = [
        score >= fold.threshold
        for number, fold in enumerate(outcome.folds)
        for score in outcome.scores[4 * number : 4 * number + 4]
    ]
    assert group.fnmr == sum(not match for match, mate in zip(matched, outcome.mated, strict=True) if mate) / 4
    assert group.fmr == sum(match for match, mate in zip(matched, outcome.mated, strict=True) if not mate) / 4
