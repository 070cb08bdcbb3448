"""What `lookout evaluate` says of the default models, as a user would run it, on the data beside the repository."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from lookout.cli import app
from lookout.faces.assets import AssetCache
from lookout.faces.quantised import prepare

DATA = Path(__file__).resolve().parents[2].parent / "shared" / "data"

pytestmark = pytest.mark.skipif(not DATA.is_dir(), reason=f"the accuracy data is not there: {DATA}")


@pytest.fixture
def evaluate(assets: AssetCache, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The answer of `lookout evaluate …`, with networks in INT8 as `up` makes them."""
    prepare(assets, "fusion-320")
    monkeypatch.setenv("LOOKOUT_HOME", str(tmp_path))

    def run(*arguments: str) -> dict[str, Any]:
        result = CliRunner().invoke(app, ["evaluate", *arguments, "--json"], catch_exceptions=False)
        assert result.exit_code == 0, result.output
        answer: dict[str, Any] = json.loads(result.stdout)
        return answer

    return run


@pytest.mark.timeout(300)
@pytest.mark.parametrize(
    ("more", "size", "at_01", "at_003"),
    [((), 178, 0.045, 0.080), (("--distractors",), 487, 0.075, 0.110)],
    ids=["178 listed", "487 listed"],
)
def test_identification(
    evaluate: Any, tmp_path: Path, more: tuple[str, ...], size: int, at_01: float, at_003: float
) -> None:
    report = tmp_path / "report.html"
    protocol = ("--images", str(DATA / "lfw"), "--protocol", str(DATA / "dev_ident.csv"))

    answer = evaluate("identification", *protocol, *more, "--report", str(report))

    assert (answer["gallery_size"], answer["failures"]) == (size, 0)
    assert answer["rank1"] >= 0.988
    at = answer["fnir_at_fpir"]
    assert at["0.01"]["fnir"] <= at_01
    assert at["0.003"]["fnir"] <= at_003
    assert all(one["low"] <= one["fnir"] <= one["high"] for one in at.values())
    # Strangers reported as stated, as far as 1,194 of them can tell: at most 2 + 2 of 500, 1 + 2 of 10,000.
    assert answer["tiers"]["possible"]["fpir"]["value"] * answer["unknown_probes"] <= 6
    assert answer["tiers"]["likely"]["fpir"]["value"] * answer["unknown_probes"] <= 3
    assert {model["precision"] for model in answer["models"]} <= {"as published", "INT8"}
    assert f"{size} people were put on a watchlist" in report.read_text("utf-8")


@pytest.mark.timeout(300)
def test_pairs(evaluate: Any) -> None:
    answer = evaluate("pairs", "--images", str(DATA / "lfw"), "--pairs", str(DATA / "dev_pairs.txt"))

    assert (answer["pairs"], answer["failures"], len(answer["folds"])) == (1800, 0, 3)
    assert answer["accuracy"] >= 0.992
    assert answer["accuracy_se"] < 0.004
    assert answer["auc"] > 0.999
    assert answer["eer"] < 0.01
    assert answer["tar_at_far"]["1e-3"] > 0.98
