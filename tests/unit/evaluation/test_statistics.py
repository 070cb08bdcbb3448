from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lookout.evaluation.statistics import (
    NO_SCORE,
    best_threshold,
    cross_validated,
    curve,
    interval,
    resampled,
    threshold_at,
)

#: On a busy machine any example may take longer than Hypothesis allows.
patient = settings(deadline=None)

#: Few different ones, so that many are equal; some comparisons could not be made.
scores = st.lists(st.sampled_from([NO_SCORE, 0.1, 0.2, 0.3, 0.4]), min_size=1, max_size=12).map(np.array)


@patient
@given(scores, scores)
def test_the_area_under_the_curve_is_the_share_of_pairs_in_the_right_order(
    mated: np.ndarray, non_mated: np.ndarray
) -> None:
    won = [1.0 if one > other else 0.5 if one == other else 0.0 for one, other in product(mated, non_mated)]
    assert curve(mated, non_mated).auc == pytest.approx(np.mean(won))


@patient
@given(scores, scores)
def test_rates_are_shares_of_all_comparisons(mated: np.ndarray, non_mated: np.ndarray) -> None:
    found = curve(mated, non_mated)
    assert (found.far[0], found.tar[0]) == (0, 0)
    for threshold, far, tar in zip(found.thresholds, found.far, found.tar, strict=True):
        assert far == pytest.approx(sum(non_mated >= threshold) / len(non_mated))
        assert tar == pytest.approx(sum(mated >= threshold) / len(mated))
    assert 0 <= found.eer <= 1


@pytest.mark.parametrize(
    ("mated", "non_mated", "eer"),
    [
        ([3, 2, 1, -1], [-3, -2, -1, 1], 0.25),  # each the other's mirror image: one of four fails on both sides
        ([2], [1], 0),
        ([1], [2], 1),
        ([1], [1], 0.5),
        # A threshold above all has FAR 0, FRR 1; at 1 both of two match: on the way FAR = FRR = 1/2.
        ([1, 1], [1, 1], 0.5),
        # At 3: FAR 0, FRR 2/3; at 2: FAR 1/2, FRR 1/3. The straight lines between meet at 2/5.
        ([3, 2, 0], [2, 1], 0.4),
        ([NO_SCORE, NO_SCORE], [NO_SCORE], 0.5),
    ],
)
def test_the_equal_error_rate(mated: list[float], non_mated: list[float], eer: float) -> None:
    assert curve(np.array(mated, float), np.array(non_mated, float)).eer == pytest.approx(eer)


@pytest.mark.parametrize(("far", "tar"), [(0, 2 / 3), (0.49, 2 / 3), (0.5, 1), (1, 1)])
def test_matches_of_one_person_at_a_share_of_false_ones(far: float, tar: float) -> None:
    assert curve(np.array([5.0, 4, 2]), np.array([3.0, 1])).tar_at(far) == pytest.approx(tar)


@pytest.mark.parametrize(
    ("mated", "non_mated", "threshold"),
    [
        ([0.8, 0.9], [0.1, 0.2], 0.5),
        ([0.8, 0.9, 0.3], [0.1, 0.2], 0.25),
        ([0.2], [0.9, 0.8], np.nextafter(0.9, 1)),  # best is to match nothing
        ([0.9, NO_SCORE], [0.5, NO_SCORE], 0.7),
        ([NO_SCORE], [NO_SCORE], 0),
    ],
)
def test_the_best_threshold(mated: list[float], non_mated: list[float], threshold: float) -> None:
    flags = np.array([True] * len(mated) + [False] * len(non_mated))
    assert best_threshold(np.array(mated + non_mated), flags) == pytest.approx(threshold, abs=1e-12)


def test_each_fold_is_judged_at_the_threshold_that_is_best_on_the_others() -> None:
    mated = np.array([True, False])
    folds = [(np.array([0.9, 0.1]), mated), (np.array([0.9, 0.3]), mated), (np.array([0.5, 0.4]), mated)]
    # Of the others' pairs 0.4 < t <= 0.5, then again, then 0.3 < t <= 0.9 parts all: the middle is taken.
    accuracies, thresholds = zip(*cross_validated(folds), strict=True)
    assert accuracies == (1, 1, 0.5)
    assert thresholds == pytest.approx((0.45, 0.45, 0.6))


def test_a_single_fold_is_judged_by_itself_and_what_has_no_score_is_wrong() -> None:
    fold = (np.array([0.9, NO_SCORE, NO_SCORE, 0.1]), np.array([True, True, False, False]))
    ((accuracy, threshold),) = cross_validated([fold])
    assert (accuracy, threshold) == pytest.approx((0.5, 0.5))


@pytest.mark.parametrize(("fpir", "above"), [(0, 0.9), (0.24, 0.9), (0.25, 0.8), (0.5, 0.5), (0.75, 0.1)])
def test_the_threshold_lies_just_above_the_first_stranger_too_many(fpir: float, above: float) -> None:
    best = np.array([0.5, 0.9, 0.1, 0.8])
    assert threshold_at(best, fpir) == np.nextafter(above, 1)
    assert np.mean(best >= threshold_at(best, fpir)) <= fpir


def test_a_threshold_that_admits_all_strangers() -> None:
    assert threshold_at(np.array([0.5, 0.1]), 1) == 0.1


@patient
@given(st.lists(st.sampled_from("ABCDE"), min_size=1, max_size=20), st.integers(0, 100))
def test_people_are_drawn_and_not_their_pictures(people: list[str], seed: int) -> None:
    drawn = resampled(people, 7, np.random.default_rng(seed))
    assert drawn.shape == (7, len(people))
    first = {person: people.index(person) for person in people}
    for row in drawn:
        assert all(row[place] == row[first[person]] for place, person in enumerate(people))
        assert sum(row[place] for place in first.values()) == len(first)


def test_the_middle_of_resampled_values() -> None:
    assert interval(np.arange(1001.0)) == (25, 975)
