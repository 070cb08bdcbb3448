from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import pytest

from lookout.evaluation import charts
from lookout.evaluation.rounding import share

RATE = {"value": 0.0, "low": 0.0, "high": 0.0}
DET: dict[str, Any] = {
    "unknown_probes": 1000,
    "known_probes": 100,
    "det": [
        {"threshold": 0.1, "fpir": 1.0, "fnir": 0.0},
        {"threshold": 0.5, "fpir": 0.01, "fnir": 0.05},
        {"threshold": 0.9, "fpir": 0.0, "fnir": 1.0},
    ],
    "tiers": {"possible": {"fpir": RATE, "fnir": {**RATE, "value": 0.1}}, "likely": {"fpir": RATE, "fnir": RATE}},
}
HISTOGRAM: dict[str, Sequence[float]] = {"edges": [0.1, 0.2, 0.3], "mated": [0, 7], "non_mated": [9, 1]}
TITLES = ("missed", "reported")
SOME, NONE = share(0.1, 0.05, 0.2, 100), share(0, 0, 0, 3)

ALL = {
    "det": charts.det(DET, [(0.01, SOME), (0.001, NONE)]),
    "det without a score": charts.det({**DET, "det": []}, []),
    "roc": charts.roc([(0.0, 0.0), (0.0, 0.95), (0.01, 0.99), (1.0, 1.0)], 900),
    "roc of one pair": charts.roc([(0.0, 0.0)], 1),
    "histogram": charts.histogram(HISTOGRAM, 0.25),
    "histogram of one score": charts.histogram({**HISTOGRAM, "edges": [0.1, 0.1, 0.1]}, 0.1),
    "groups": charts.groups([("one", False, SOME, NONE), ("two", True, None, SOME)], TITLES),
    "groups without a rate": charts.groups([("one", True, None, None)], TITLES),
}


@pytest.mark.parametrize("svg", ALL.values(), ids=ALL)
def test_a_chart_is_a_part_of_the_page(svg: str) -> None:
    assert svg.startswith("<svg viewBox=")
    assert svg.rstrip().endswith("</svg>")
    assert 'aria-hidden="true"' in svg
    assert not re.search(r"https?:|<script|<style|<metadata|<!--|xlink|<\?xml", svg)


@pytest.mark.parametrize("svg", ALL.values(), ids=ALL)
def test_its_colours_are_those_of_the_page(svg: str) -> None:
    assert "currentColor" in svg
    assert not re.search(r"#[0-9a-fA-F]{6}\b", svg)


@pytest.mark.parametrize("svg", ALL.values(), ids=ALL)
def test_all_that_it_refers_to_is_in_it(svg: str) -> None:
    ids = re.findall(r'\bid="([^"]*)"', svg)
    assert len(ids) == len(set(ids))
    assert set(re.findall(r'(?:url\(#|href="#)([^")]*)', svg)) <= set(ids)


def test_two_charts_of_a_page_share_no_ids() -> None:
    det, roc = (set(re.findall(r'\bid="([^"]*)"', ALL[name])) for name in ("det", "roc"))
    assert not det & roc


def test_text_stays_text() -> None:
    assert {"one", "two *", "missed", "reported"} <= set(re.findall(r"<text[^>]*>([^<]*)</text>", ALL["groups"]))


def test_the_same_figures_give_the_same_chart() -> None:
    assert charts.histogram(HISTOGRAM, 0.25) == ALL["histogram"]


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("<b>x", "&lt;b&gt;x"),
        ("a $x^2$ b", "a $x^2$ b"),
        ("an awfully long name of a group", "an awfully long nam…"),
        ("line\nbreak", "line\N{REPLACEMENT CHARACTER}break"),
        ("女性", "女性"),
    ],
)
def test_names_of_groups(name: str, shown: str) -> None:
    assert f">{shown}</text>" in charts.groups([(name, False, SOME, SOME)], TITLES)


def test_a_rate_of_0_lies_on_its_axis() -> None:
    texts = re.findall(r"<text[^>]*>([^<]*)</text>", ALL["det"])
    assert [text for text in texts if text.endswith("%") or text == "0"] == [
        "0", "1 %", "10 %", "100 %", "0", "10 %", "100 %",
    ]  # fmt: skip
