from __future__ import annotations

import html
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from lookout.errors import BadInputError
from lookout.evaluation.report import write

NASTY = "<b>x"
PROVENANCE = {
    "lookout": "1.2.3",
    "embedder": "tiny",
    "models": [{"name": "tiny", "precision": "INT8", "sha256": "cd" * 32}],
    "lists": {NASTY: "ef" * 32},
    "pictures": 2136,
    "pictures_sha256": "ab" * 32,
}


def about(value: float, low: float, high: float) -> dict[str, float]:
    return {"value": value, "low": low, "high": high}


NONE = about(0, 0, 0)
IDENTIFICATION: dict[str, Any] = {
    "kind": "identification",
    "gallery_size": 178,
    "not_enrolled": [],
    "known_probes": 764,
    "unknown_probes": 500,
    "rank1": 761 / 764,
    "fnir_at_fpir": {
        "0.001": {"fnir": 0.034, "low": 0.02, "high": 0.054, "threshold": 0.85},
        "0.01": {"fnir": 0.0275, "low": 0.0128, "high": 0.0459, "threshold": 0.84},
    },
    "tiers": {
        "possible": {"strangers": 50, "threshold": 0.8688, "fpir": NONE, "fnir": about(0.0746, 0.0509, 0.0973)},
        "likely": {"strangers": 10_000, "threshold": 0.8903, "fpir": NONE, "fnir": about(0.2042, 0.1639, 0.249)},
    },
    "det": [{"threshold": 0.1, "fpir": 1.0, "fnir": 0.0}, {"threshold": 0.9, "fpir": 0.0, "fnir": 1.0}],
    "failures": 0,
    "failed_pictures": {},
    "below_gates": 34,
    "groups": [],
    **PROVENANCE,
}
PAIRS: dict[str, Any] = {
    "kind": "pairs",
    "pairs": 1800,
    "accuracy": 0.99667,
    "accuracy_se": 0.00192,
    "auc": 0.99997,
    "eer": 3 / 900,
    "tar_at_far": {"1e-2": 1.0, "1e-3": 895 / 900},
    "failures": 0,
    "failed_pictures": {},
    "folds": [
        {"accuracy": 0.99, "threshold": 0.81, "pairs": 900, "failures": 0},
        {"accuracy": 1.0, "threshold": 0.79, "pairs": 900, "failures": 2},
    ],
    "histogram": {"edges": [0.1, 0.5, 0.9], "mated": [1, 899], "non_mated": [899, 1]},
    "roc": [[0.0, 0.0], [0.0, 0.99], [1.0, 1.0]],
    "groups": [],
    **PROVENANCE,
}
VIDEO: dict[str, Any] = {
    "kind": "video",
    "people": 2,
    "episodes": 5,
    "missed": 1,
    "missed_rate": about(0.2, 0.036, 0.624),
    "false": 0,
    "hours": 0.21,
    "camera_days": 0.00875,
    "false_per_camera_day": about(0, 0, 421.6),
    "time_to_alert_s": {"median": 1.24, "p95": 3.9, "longest": 4.2},
    "tiers": {"possible": {"strangers": 500, "found": 1, "false": 0}},
    "cameras": [
        {"id": "gate", "name": NASTY, "file": "gate.mp4", "sha256": "12" * 32, "seconds": 756.0, "episodes": 5,
         "missed": 1, "false": 0, "false_per_day": about(0, 0, 421.6)},
    ],
    "episode_list": [
        {"identity": NASTY, "camera": "gate", "start_s": 12, "end_s": 131.5, "found": True, "tier": "likely",
         "score": 0.9123, "time_to_alert_s": 1.24},
        {"identity": "Bert", "camera": "gate", "start_s": 3723, "end_s": 3730, "found": False, "tier": None,
         "score": None, "time_to_alert_s": None},
    ],
    "false_list": [],
    "not_listed": [],
    "remarks": [],
    **PROVENANCE,
    "pictures": 0,
    "pictures_sha256": "",
}  # fmt: skip
GROUPS = {
    "identification": [
        {"name": NASTY, "known": 200, "unknown": 300, "small": False, "fpir": NONE, "fnir": about(0.041, 0.007, 0.087)},
        {"name": "", "known": 30, "unknown": 300, "small": True, "fpir": NONE, "fnir": about(0.5, 0.5, 0.5)},
    ],
    "pairs": [
        {"name": NASTY, "mated": 200, "non_mated": 300, "fmr": 0.0, "fnmr": 0.04},
        {"name": "", "mated": 30, "non_mated": 0, "fmr": None, "fnmr": 0.5},
    ],
}
#: Everything that can be there at once.
FULL = [
    {**IDENTIFICATION, "groups": GROUPS["identification"], "not_enrolled": [NASTY], "failures": 1,
     "failed_pictures": {NASTY: NASTY}},
    {**PAIRS, "groups": GROUPS["pairs"], "failures": 1, "failed_pictures": {NASTY: NASTY}},
    {**VIDEO, "not_listed": [NASTY], "remarks": [NASTY], "false": 1, "false_per_camera_day": about(114, 2.9, 637),
     "false_list": [{"identity": NASTY, "camera": "gate", "at_s": 59.96, "tier": "possible", "score": 0.871}]},
]  # fmt: skip
ALL = [IDENTIFICATION, PAIRS, VIDEO, *FULL]


def page(answer: Mapping[str, Any], folder: Path) -> str:
    write(answer, folder / "report.html")
    assert [file.name for file in folder.iterdir()] == ["report.html"]
    return (folder / "report.html").read_text(encoding="utf-8")


def words(answer: Mapping[str, Any], folder: Path) -> str:
    """What is read: without tags, in one line."""
    body = page(answer, folder).split("<body>")[1]
    body = re.sub(r"<svg.*?</svg>|</?strong>|</?code>", "", body, flags=re.DOTALL)
    return " ".join(html.unescape(re.sub(r"<[^>]*>", " ", body)).split())


@pytest.mark.parametrize("answer", ALL)
def test_the_page_needs_nothing_else(answer: Mapping[str, Any], tmp_path: Path) -> None:
    text = page(answer, tmp_path)
    assert "default-src 'none'" in text
    assert not re.search(r"https?:|<script|<link|<img|@import|\bon\w+=|src=", text)


@pytest.mark.parametrize("answer", ALL)
def test_names_are_text(answer: Mapping[str, Any], tmp_path: Path) -> None:
    text = page(answer, tmp_path)
    assert NASTY not in text
    assert html.escape(NASTY) in text


@pytest.mark.parametrize("answer", ALL)
def test_it_can_be_read_aloud(answer: Mapping[str, Any], tmp_path: Path) -> None:
    text = page(answer, tmp_path)
    assert re.findall(r"<h(\d)", text)[:2] == ["1", "2"]
    assert set(re.findall(r"<h(\d)", text)[1:]) == {"2"}
    assert text.count("<table>") == text.count("<caption") == text.count("aria-labelledby")
    assert text.count("<svg") == text.count('role="img" aria-label=') == text.count("<figcaption>")
    assert not re.search(r"<th(?! scope=|ead)", text)
    ids = re.findall(r'\bid="([^"]*)"', text)
    assert len(ids) == len(set(ids))


@pytest.mark.parametrize("answer", ALL)
def test_it_says_what_it_was_measured_with_and_what_it_does_not_say(answer: Mapping[str, Any], tmp_path: Path) -> None:
    text = words(answer, tmp_path)
    assert all(figure in text for figure in ("version 1.2.3", "INT8", "cd" * 32, "ef" * 32, "What this does not say"))
    assert ("2,136 pictures" in text) == ("ab" * 32 in text) == (answer["kind"] != "video")


@pytest.mark.parametrize(
    ("answer", "sentences"),
    [
        (
            IDENTIFICATION,
            [
                "178 people were put on a watchlist by their photos. Then 764 pictures of listed people and 500",
                "(threshold 0.8688, meant to report 1 of 50 strangers): of 1,000 strangers passing, at most about 6 "
                "(here: none of 500) would be reported, and of 100 passes of listed people about 7 "
                "(95 % range: 5 to 10) would be missed.",
                "with none of the 500 strangers reported (too few to tell 1 of 1,000), of 100 passes",
                "with 10 of 1,000 strangers reported, of 100 passes of listed people about 3 (95 % range: 1 to 5)",
                "1 % 2.8 % 1.3 % to 4.6 % 0.8400",
                "possible threshold 0.8688 2 % 1 of 50 0 % at most 0.6 % fewer than stated 7.5 % 5.1 % to 9.7 %",
                "likely threshold 0.8903 0.01 % 1 of 10,000 0 % at most 0.6 % too few strangers to tell 20 %",
                "best candidate in 761 of 764 passes.",
                "There are none: a face was found in every picture. Everybody who was to be listed could be. 34 faces",
                "--groups was not given",
            ],
        ),
        (
            PAIRS,
            [
                "Of 1,000 pairs, about 997 (95 % range: 993 to 998) would be told rightly",
                "Accuracy: 99.67 % ± 0.19 %, the mean of 2 folds",
                "each would be 0.3 % of theirs (0.1 % to 1.0 %)",
                "99.997 % of all cases",
                "1 of 100 100 % at least 99.67 %",
                "1 of 1,000 none of 900: too few pairs to tell 99.4 % 98.7 % to 99.8 %",
                "2 100 % at least 99.67 % of 900 pairs 0.7900 2",
            ],
        ),
        (
            VIDEO,
            [
                "2 people were on the watchlists while Lookout watched 1 recording, 13 minutes in all.",
                "Of 5 episodes, 1 was missed: 20 % (95 % range: 4 % to 62 %). So few say little.",
                "There were no false alerts in 13 minutes of recordings.",
                "up to about 420 a camera and day would still fit",
                "it took 1.2 seconds in half of the episodes found, 3.9 seconds at most in 95 % of them",
                "<b>x gate 0:12.0 to 2:11.5 likely score 0.912 1.2 s Bert gate 1:02:03.0 to 1:02:10.0 missed –",
                "<b>x gate, 12:36.0 long 1 of 5 0 0 at most 420",
                "What this does not say",
            ],
        ),
        (
            FULL[2],
            ["There was 1 false alert in", "about 110 a camera", "between 2.9 and 640.", "<b>x gate 1:00.0 possible"],
        ),
    ],
)
def test_figures_in_words(answer: Mapping[str, Any], sentences: list[str], tmp_path: Path) -> None:
    text = words(answer, tmp_path)
    assert [sentence for sentence in sentences if sentence not in text] == []


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"missed": 0, "missed_rate": NONE}, "none was missed (95 % range: at most 60 %)"),
        ({"missed": 5, "missed_rate": about(1, 1, 1)}, "all were missed: 100 % (95 % range: at least 40 %)"),
        ({"time_to_alert_s": None}, "No episode was found, so that nothing is known"),
        ({"hours": 1 / 240}, "15 seconds in all"),
        ({"hours": 100}, "4.2 days in all"),
    ],
)
def test_other_recordings(changes: Mapping[str, Any], said: str, tmp_path: Path) -> None:
    assert said in words({**VIDEO, **changes}, tmp_path)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"folds": PAIRS["folds"][:1]}, "There is one fold only"),
        ({"folds": [PAIRS["folds"][0]] * 2}, "All 2 folds have the same, so that there is no standard error"),
    ],
)
def test_folds_without_a_standard_error(changes: Mapping[str, Any], said: str, tmp_path: Path) -> None:
    text = words({**PAIRS, "accuracy_se": 0.0, **changes}, tmp_path)
    assert "Accuracy: 99.67 % (99.27 % to 99.85 %)" in text
    assert said in text


def test_few_who_should_hardly_be_there_are_more_than_stated(tmp_path: Path) -> None:
    """Two of 500 where one in 10,000 was stated: chance makes that once in 800 sets, though the range reaches to 0."""
    tier = {"strangers": 10_000, "threshold": 0.8, "fpir": about(0.004, 0, 0.01), "fnir": NONE}
    assert "0.0 % to 1.0 % more than stated" in words({**IDENTIFICATION, "tiers": {"likely": tier}}, tmp_path)


@pytest.mark.parametrize(("stated", "said"), [(10, "fewer than stated"), (100, "agrees"), (2000, "more than stated")])
def test_what_was_found_against_what_was_stated(stated: int, said: str, tmp_path: Path) -> None:
    tier = {"strangers": stated, "threshold": 0.8, "fpir": about(0.01, 0.005, 0.02), "fnir": NONE}
    assert f"0.5 % to 2.0 % {said}" in words({**IDENTIFICATION, "tiers": {"possible": tier}}, tmp_path)


@pytest.mark.parametrize("kind", ["identification", "pairs"])
def test_groups(kind: str, tmp_path: Path) -> None:
    answer = {**(IDENTIFICATION if kind == "identification" else PAIRS), "groups": GROUPS[kind]}
    text = words(answer, tmp_path)
    assert "Differences that lie within the ranges prove nothing" in text
    small = "no group given small: says little 50 %"
    assert text.count("small: says little") == 1
    assert small in text
    expected = "0 % to 100 % of 30 passes" if kind == "identification" else "of 30 pairs none"
    assert expected in text
    assert "--groups was not given" not in text


def test_the_chart_shows_the_largest_of_many_groups(tmp_path: Path) -> None:
    one = GROUPS["identification"][0]
    groups = [{**one, "name": f"group {k}", "known": 100 + k} for k in range(40)]
    text = page({**IDENTIFICATION, "groups": groups}, tmp_path)
    assert "The 30 largest groups are shown." in text
    assert ">group 9</text>" not in text
    assert ">group 10</text>" in text
    assert '<th scope="row">group 9</th>' in text


@pytest.mark.parametrize("answer", [IDENTIFICATION, PAIRS])
def test_pictures_without_a_face_are_listed_up_to_a_number(answer: Mapping[str, Any], tmp_path: Path) -> None:
    failed = {f"{k:03d}.jpg": "no face found" for k in range(60)}
    text = words({**answer, "failures": 60, "failed_pictures": failed}, tmp_path)
    assert "In 60 pictures no face was found" in text
    assert "049.jpg no face found The other 10 are in the answer" in text
    assert "050.jpg" not in text


def test_people_who_could_not_be_listed_are_named(tmp_path: Path) -> None:
    text = words({**IDENTIFICATION, "not_enrolled": [f"P{k}" for k in range(51)]}, tmp_path)
    assert "51 people could not be listed" in text
    assert "P49 and 1 more." in text


def test_a_report_takes_the_place_of_the_last_one(tmp_path: Path) -> None:
    (tmp_path / "report.html").write_text("old")
    assert page(PAIRS, tmp_path).startswith("<!doctype html>")


def test_a_report_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "something").touch()
    for file in (tmp_path / "folder", tmp_path / "nowhere" / "report.html", tmp_path / ("x" * 300)):
        with pytest.raises(BadInputError, match="cannot be written"):
            write(PAIRS, file)
    assert [file.name for file in tmp_path.iterdir()] == ["folder"]
