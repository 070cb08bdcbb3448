from __future__ import annotations

import json
from collections.abc import Sequence

import numpy as np
import pytest

from lookout.evaluation.identification import (
    RESAMPLES,
    Outcome,
    at_fpir,
    at_threshold,
    by_group,
    det,
    identify,
)
from lookout.evaluation.pictures import Pictures
from lookout.evaluation.protocols import Entry
from lookout.evaluation.statistics import NO_SCORE, resampled, threshold_at
from tests.unit.evaluation.made import CALIBRATION, cos, face, pictures_at


def entries(**of: str) -> list[Entry]:
    """`entries(gallery="A1 B1")`: the letter is who it is."""
    return [Entry(path[0], role, path) for role, paths in of.items() for path in paths.split()]


def outcome(own: Sequence[float], best: Sequence[float], known: str = "", unknown: str = "") -> Outcome:
    """Searches of people whose names are letters, each another one where none are named."""
    return Outcome(
        gallery=["A"],
        not_enrolled=(),
        known=list(known) or [str(k) for k in range(len(own))],
        own=np.array(own, float),
        first=np.isfinite(own),
        unknown=list(unknown) or [str(k) for k in range(len(best))],
        best=np.array(best, float),
        failures={},
    )


def test_each_probe_is_searched_in_the_whole_gallery() -> None:
    found = identify(
        entries(gallery="A1 B1 C1", probe_known="A2 A3 B2 C2", probe_unknown="X1 Y1"),
        pictures_at({"A1": 0, "B1": 90, "C1": None, "A2": 10, "A3": 60, "B2": None, "C2": 0, "X1": 50, "Y1": None}),
        CALIBRATION,
    )
    assert (found.gallery, found.not_enrolled) == (["A", "B"], ["C"])
    # A3 is nearer to B; B2 shows no face; nobody can find C, of whom no photo shows a face.
    assert found.own == pytest.approx([cos(10), NO_SCORE, NO_SCORE, NO_SCORE], abs=1e-6)
    assert found.first.tolist() == [True, False, False, False]
    # X is 40° from B and 50° from A; who shows no face raises no alarm.
    assert found.best == pytest.approx([cos(40), NO_SCORE], abs=1e-6)
    assert (found.known, found.unknown) == (["A", "A", "B", "C"], ["X", "Y"])
    assert set(found.failures) == {"C1", "B2", "Y1"}
    point = at_threshold(found, -1)
    assert (point.fnir.value, point.fpir.value) == (0.75, 0.5)


@pytest.mark.parametrize(
    ("photos", "qualities", "way"),
    [
        ((0, 40), (1, 1), 20),
        ((0, 40), (1, 0.5), np.degrees(np.arctan2(0.5 * np.sin(np.radians(40)), 1 + 0.5 * cos(40)))),
        ((0, 40), (1, 0), np.degrees(np.arctan2(0.01 * np.sin(np.radians(40)), 1 + 0.01 * cos(40)))),
        ((0, 100), (1, 1), 0),  # below the score of one stranger in a hundred: the later photo is left out
    ],
)
def test_several_photos_of_a_person_become_one_template(
    photos: Sequence[float], qualities: Sequence[float], way: float
) -> None:
    faces = {f"A{k}": face(*one) for k, one in enumerate(zip(photos, qualities, strict=True))}
    found = identify(
        entries(gallery="A0 A1", probe_known="A9", probe_unknown="X1"),
        Pictures({**faces, "A9": face(-30), "X1": face(90)}, {}, ""),
        CALIBRATION,
    )
    assert found.own == pytest.approx([cos(way + 30)], abs=1e-5)
    assert found.best == pytest.approx([cos(90 - way)], abs=1e-5)


def test_distractors_are_enrolled() -> None:
    found = identify(
        entries(gallery="A1", distractor_gallery="D1", probe_known="A2", probe_unknown="X1"),
        pictures_at({"A1": 0, "D1": 90, "A2": 50, "X1": 80}),
        CALIBRATION,
    )
    assert found.gallery == ["A", "D"]
    assert (found.first.tolist(), found.best.tolist()) == ([False], [pytest.approx(cos(10), abs=1e-6)])


OWN = [0.95, 0.85, 0.75, 0.65, 0.35, NO_SCORE]
BEST = [0.9, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2, 0.1, 0.05, NO_SCORE]


@pytest.mark.parametrize(
    ("fpir", "threshold", "reported", "missed"),
    [(0.0, 0.9, 0, 5 / 6), (0.1, 0.7, 0.1, 3 / 6), (0.19, 0.7, 0.1, 3 / 6), (0.2, 0.6, 0.2, 2 / 6)],
)
def test_the_miss_rate_at_a_rate_of_false_alerts(fpir: float, threshold: float, reported: float, missed: float) -> None:
    point = at_fpir(outcome(OWN, BEST), fpir)
    assert point.threshold == np.nextafter(threshold, 1)
    assert (point.fpir.value, point.fnir.value) == pytest.approx((reported, missed))
    assert point.fnir.low <= missed <= point.fnir.high


def test_the_range_has_a_threshold_of_its_own_in_each_resample() -> None:
    """Worked out again the slow way: with every case written out as often as it was drawn."""
    searches = outcome(OWN, BEST, "AABBCD", "UUVVVWWXYZ")
    rng = np.random.default_rng(0)
    strangers, listed = (resampled(people, RESAMPLES, rng) for people in (searches.unknown, searches.known))
    missed = [
        np.mean(np.repeat(searches.own, one) < threshold_at(np.repeat(searches.best, other), 0.2))
        for one, other in zip(listed, strangers, strict=True)
    ]
    point = at_fpir(searches, 0.2)
    assert (point.fnir.low, point.fnir.high) == pytest.approx(tuple(np.quantile(missed, [0.025, 0.975])))


def test_the_range_at_a_threshold_is_of_people() -> None:
    """One of two people is missed in both passes: drawn anew it is none, one or both of them."""
    point = at_threshold(outcome([0.9, 0.9, 0.1, 0.1], [0.1], "AABB"), 0.5)
    assert (point.fnir.value, point.fnir.low, point.fnir.high) == (0.5, 0, 1)
    assert (point.fpir.value, point.fpir.low, point.fpir.high) == (0, 0, 0)


def test_the_trade_off_between_both_errors() -> None:
    curve = det(outcome([0.9, 0.5, NO_SCORE], [0.7, 0.1]))
    expected = [(0.1, 1, 1 / 3), (0.5, 0.5, 1 / 3), (0.7, 0.5, 2 / 3), (0.9, 0, 2 / 3)]
    assert np.array(curve) == pytest.approx(np.array(expected))
    json.dumps(curve, allow_nan=False)


def test_without_any_score_there_is_no_trade_off() -> None:
    assert det(outcome([NO_SCORE], [NO_SCORE])) == []


def test_groups_are_judged_at_the_same_threshold() -> None:
    searches = outcome([0.9, 0.1, 0.9, 0.9], [0.8, 0.1, 0.1], "AABC", "XYZ")
    groups = {"A": "one", "X": "one", "B": "two", "Y": "two", "C": "only listed"}
    found = by_group(searches, groups, 0.5)
    # Z has no group and nobody listed is without one; of the third group no stranger passed.
    assert [(one.name, one.known, one.unknown, one.small) for one in found] == [
        ("one", 2, 1, True),
        ("two", 1, 1, True),
    ]
    assert [(one.point.fnir.value, one.point.fpir.value) for one in found] == [(0.5, 1), (0, 0)]
    assert by_group(outcome([0.9] * 100, [0.1] * 100), {}, 0.5)[0].small is False
