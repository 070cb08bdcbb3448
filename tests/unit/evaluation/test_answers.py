from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest

from lookout.evaluation import answers, words
from lookout.evaluation.identification import identify
from lookout.evaluation.pairs import compare
from lookout.evaluation.pictures import Face, Pictures
from lookout.evaluation.protocols import Entry, Pair
from lookout.evaluation.provenance import ModelFile, Provenance
from lookout.faces.quality import Quality
from tests.unit.evaluation.made import CALIBRATION, face, pictures_at

PROVENANCE = Provenance("1.2.3", "tiny", (ModelFile("tiny", "INT8", "cd" * 32),), {"list": "ef" * 32}, 5, "ab" * 32)


def plain(answer: Mapping[str, Any]) -> Any:
    """As another program reads it: without what JSON does not know, such as an infinite score."""
    return json.loads(json.dumps(answer, allow_nan=False))


def of_pairs(groups: Mapping[str, str]) -> Any:
    folds = [
        [Pair("A1", "A2", ("A", "A")), Pair("A1", "B1", ("A", "B"))],
        [Pair("B1", "B-", ("B", "B")), Pair("A2", "B1", ("A", "B"))],
    ]
    outcome = compare(folds, pictures_at({"A1": 0, "A2": 10, "B1": 90, "B-": None}))
    return plain(answers.of_pairs(folds, outcome, groups, PROVENANCE))


def test_pairs() -> None:
    answer = of_pairs({})
    assert (answer["kind"], answer["pairs"], answer["failures"], answer["groups"]) == ("pairs", 4, 1, [])
    # Of one fold both are right, of the other the pair without a face is wrong.
    assert (answer["accuracy"], answer["accuracy_se"]) == (0.75, 0.25)
    assert [fold["failures"] for fold in answer["folds"]] == [0, 1]
    assert answer["failed_pictures"] == {"B-": "no face found"}
    # 10° is above both of two people; the pair without a score never matches.
    assert answer["tar_at_far"] == {"1e-1": 0.5, "1e-2": 0.5, "1e-3": 0.5, "1e-4": 0.5}
    assert answer["auc"] == 0.5
    assert (answer["roc"][0], answer["roc"][-1]) == ([0, 0], [1, 0.5])
    assert (answer["lookout"], answer["pictures"], answer["lists"]) == ("1.2.3", 5, {"list": "ef" * 32})
    assert answer["models"] == [{"name": "tiny", "precision": "INT8", "sha256": "cd" * 32}]


def test_pairs_by_group() -> None:
    assert of_pairs({"A": "a", "B": "b"})["groups"] == [
        {"name": "a", "mated": 1, "non_mated": 0, "fmr": None, "fnmr": 0},
        {"name": "b", "mated": 1, "non_mated": 0, "fmr": None, "fnmr": 1},
    ]


def test_pairs_in_words() -> None:
    lines = words.of_pairs(of_pairs({}))
    assert lines[0] == "4 pairs: 75.00% told rightly (standard error 25.00%)"
    assert lines[-1].endswith("wrong: 1")


def of_identification(groups: Mapping[str, str]) -> Any:
    entries = [
        Entry("A", "gallery", "A1"),
        Entry("B", "gallery", "B1"),
        Entry("C", "gallery", "C1"),
        *(Entry("A", "probe_known", f"A{k}") for k in (2, 3)),
        *(Entry("X", "probe_unknown", f"X{k}") for k in range(10)),
    ]
    angles = {"A1": 0, "B1": 180, "C1": None, "A2": 10, "A3": 85, **{f"X{k}": 80 - k for k in range(10)}}
    pictures = pictures_at(angles)
    faces = {**pictures.faces, "A2": Face(face(10).template, 100, Quality(0.3, ("blurred",)))}
    pictures = Pictures({**faces, "B1": Face(face(180).template, 20, Quality(0.9, ()))}, pictures.failures, "")
    outcome = identify(entries, pictures, CALIBRATION)
    stated = {"possible": (100, CALIBRATION), "likely": (10_000, CALIBRATION)}
    return plain(answers.of_identification(outcome, pictures, stated, groups, PROVENANCE))


def test_identification() -> None:
    answer = of_identification({})
    assert (answer["gallery_size"], answer["known_probes"], answer["unknown_probes"]) == (2, 2, 10)
    assert (answer["not_enrolled"], answer["failures"], answer["groups"]) == (["C"], 1, [])
    assert answer["rank1"] == 1
    # A3 is 85° from A: below all strangers, of whom the nearest, X9, is 71° away.
    assert list(answer["fnir_at_fpir"]) == ["0.003", "0.01", "0.03", "0.1"]
    assert answer["fnir_at_fpir"]["0.01"]["fnir"] == 0.5
    assert answer["fnir_at_fpir"]["0.1"]["threshold"] < answer["fnir_at_fpir"]["0.03"]["threshold"]
    assert (answer["det"][0]["fpir"], answer["det"][0]["fnir"], answer["det"][-1]["fpir"]) == (1, 0, 0)


@pytest.mark.parametrize(("tier", "strangers"), [("possible", 100), ("likely", 10_000)])
def test_tiers_are_measured_at_the_thresholds_of_the_calibration(tier: str, strangers: int) -> None:
    one = of_identification({})["tiers"][tier]
    assert one["strangers"] == strangers
    assert CALIBRATION.fpir(one["threshold"], 2) == pytest.approx(1 / strangers, rel=1e-3)
    reported = [np.cos(np.radians(80 - k)) >= one["threshold"] for k in range(10)]
    assert one["fpir"]["value"] == np.mean(reported)
    assert one["fnir"]["value"] == 0.5


def test_faces_below_the_gates_are_counted() -> None:
    assert of_identification({})["below_gates"] == 2  # one is blurred, one is small


def test_identification_by_group() -> None:
    (group,) = of_identification({"A": "one", "X": "one"})["groups"]
    assert (group["name"], group["known"], group["unknown"], group["small"]) == ("one", 2, 10, True)
    assert group["fnir"]["value"] == 0.5


def test_identification_in_words() -> None:
    lines = words.of_identification(of_identification({}))
    assert lines[0].startswith("2 people listed; 2 passes of theirs, 10 of strangers.")
    assert any(line.startswith("of 1,000 strangers 10 reported: 50\N{NO-BREAK SPACE}% (0") for line in lines)
    assert any(
        line.startswith("likely, stated as 1 of 10,000 strangers: 0\N{NO-BREAK SPACE}% (at most 30") for line in lines
    )
    assert lines[-1].startswith("pictures without a face: 1; faces below")
