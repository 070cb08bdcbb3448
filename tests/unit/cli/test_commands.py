"""The commands of operators and SREs, without any server running but the registry's file."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from lookout import cli
from lookout.errors import LookoutError
from lookout.faces.assets import AssetCache
from lookout.faces.manifest import load_manifest
from lookout.settings import Settings

Run = Callable[..., Any]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Run `lookout …` on an empty home; no server answers."""
    monkeypatch.setenv("LOOKOUT_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("LOOKOUT_REDIS_URL", "redis://127.0.0.1:1")
    monkeypatch.setenv("LOOKOUT_MILVUS_URI", "http://127.0.0.1:1")
    monkeypatch.setenv("COLUMNS", "200")
    return lambda *arguments: CliRunner().invoke(cli.app, list(arguments))


def made(run: Run, *more: str) -> Any:
    return run("watchlist", "create", "guests", "--purpose", "welcome", "--legal-basis", "consent", *more)


def refused(result: Any, says: str) -> None:
    assert isinstance(result.exception, LookoutError), result.output
    assert says in str(result.exception)


def test_a_watchlist_states_an_error_rate_and_its_thresholds_follow(run: Run) -> None:
    assert made(run).exit_code == 0
    own = run(
        *("watchlist", "create", "own", "--purpose", "p", "--legal-basis", "l"),
        *("--possible", "100", "--likely", "1000", "--camera-group", "door", "--camera-group", "yard"),
    )
    assert own.exit_code == 0

    guests, other = json.loads(run("watchlist", "list", "--json").stdout)

    assert len(guests.pop("id")) == 32
    calibration = load_manifest().embedder("fusion-320").calibration
    rates = {tier: calibration.rate_at(score) for tier, score in guests.pop("thresholds").items()}
    assert rates == pytest.approx({"possible": 1 / 500, "likely": 1 / 10_000})
    assert guests == {
        "name": "guests",
        "purpose": "welcome",
        "legal_basis": "consent",
        "targets": 0,
        "strangers": {"possible": 500, "likely": 10_000},
        "camera_groups": [],
        "review_on": None,
        "review_overdue": False,
        "archived": False,
    }
    assert other["strangers"] == {"possible": 100, "likely": 1000}
    assert other["camera_groups"] == ["door", "yard"]
    assert "guests" in run("watchlist", "list").stdout


def test_a_webhooks_secret_is_shown_once(run: Run) -> None:
    result = made(run, "--webhook", "https://example.org/hook")

    assert "whsec_" in result.stdout
    assert "whsec_" not in run("watchlist", "list", "--json").stdout


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--possible", "700", "--likely", "600"], "`likely` at least as many"),
        (["--possible", "10001"], "`likely` at least as many"),
        (["--min-face-px", "19"], "least face width: 20 to 1000 pixels"),
        (["--min-quality", "1.1"], "least quality: 0 to 1"),
        (["--webhook", "ftp://example.org"], "begins with https://"),
        (["--webhook", "example.org/hook"], "begins with https://"),
        (["--purpose", " "], "purpose: give at least one"),
        (["--legal-basis", "x" * 1001], "legal basis: give at most 1000"),
    ],
)
def test_a_wrong_watchlist_is_refused_and_nothing_is_stored(run: Run, arguments: list[str], says: str) -> None:
    refused(made(run, *arguments), says)

    assert json.loads(run("watchlist", "list", "--json").stdout) == []


def test_a_name_is_taken_once(run: Run) -> None:
    made(run)

    refused(made(run), "there is a watchlist guests already")


def test_empty_lists_teach_the_next_step(run: Run) -> None:
    assert "lookout watchlist create" in run("watchlist", "list").stdout
    assert "lookout targets add" in run("targets", "list").stdout


def test_targets_come_while_milvus_is_away(run: Run, assets: AssetCache) -> None:
    made(run)
    photo = str(assets.media("single_face.jpg"))

    added = run("targets", "add", "Anna", photo, "--watchlist", "guests")

    assert added.exit_code == 0, added.output
    assert "Milvus does not answer, it will be told when it does" in added.stdout
    (target,) = json.loads(run("targets", "list", "--json").stdout)
    assert (target["name"], target["watchlist"], target["photos"], target["matchable"]) == ("Anna", "guests", 1, False)
    assert run("watchlist", "archive", "guests").exit_code == 0
    assert json.loads(run("targets", "list", "--json").stdout) == []
    assert len(json.loads(run("targets", "list", "--archived", "--json").stdout)) == 1


def test_a_folder_is_imported_exported_and_imported_again(run: Run, assets: AssetCache, tmp_path: Path) -> None:
    made(run)
    (tmp_path / "people" / "Anna").mkdir(parents=True)
    (tmp_path / "people" / "Anna" / "1.jpg").write_bytes(assets.media("single_face.jpg").read_bytes())
    (tmp_path / "people" / "Ben.jpg").write_bytes(b"no picture")
    folder, archive = str(tmp_path / "people"), tmp_path / "out.zip"

    dry = json.loads(run("targets", "import", folder, "-w", "guests", "--dry-run", "--json").stdout)
    assert (dry["dry_run"], dry["counts"]["accepted"], dry["counts"]["refused"]) == (True, 1, 1)
    assert json.loads(run("targets", "list", "--json").stdout) == []

    told = run("targets", "import", folder, "-w", "guests").stdout
    assert "Anna/1.jpg: accepted" in told
    assert "Ben.jpg: refused (not_a_picture)" in told
    assert run("targets", "export", str(archive), "-w", "guests").exit_code == 0
    assert archive.stat().st_mode & 0o777 == 0o600
    refused(run("targets", "export", str(archive), "-w", "guests"), "cannot be written")
    again = json.loads(run("targets", "import", str(archive), "-w", "guests", "--json").stdout)
    assert again["counts"] == {"accepted": 0, "refused": 0, "known": 1, "disagree": 0}


def test_one_of_several_faces_is_chosen(run: Run, assets: AssetCache) -> None:
    made(run)
    group = str(assets.media("multi_face.jpg"))

    refused(run("targets", "add", "Ben", group, "-w", "guests"), "5 faces found")
    assert run("targets", "add", "Ben", group, "-w", "guests", "--face", "2").exit_code == 0
    refused(run("targets", "add", "Cleo", group, "-w", "guests", "--face", "6"), "there is no face 6")
    refused(run("targets", "add", "Cleo", group, group, "-w", "guests", "--face", "1"), "one by one")
    assert [target["name"] for target in json.loads(run("targets", "list", "--json").stdout)] == ["Ben"]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["targets", "add", "Anna", "nowhere.jpg", "-w", "guests"], "nowhere.jpg cannot be read"),
        (["targets", "add", "Anna", "nowhere.jpg", "-w", "other"], "there is no watchlist other"),
        (["targets", "add", " ", "nowhere.jpg", "-w", "guests"], "name: give at least one"),
        (["targets", "import", "nowhere", "-w", "guests"], "nowhere is not there"),
        (["targets", "import", ".", "-w", "other"], "there is no watchlist other"),
        (["targets", "export", "out.zip", "-w", "other"], "there is no watchlist other"),
        (["watchlist", "archive", "other"], "there is no watchlist other"),
        (["targets", "list", "-w", "other"], "there is no watchlist other"),
        (["dead-letters", "replay"], "say --all"),
        (["dead-letters", "list"], "Redis does not answer"),
        (["worker", "--queues", "crops,nothing"], "no queue is named nothing"),
        (["down"], "no Lookout runs"),
    ],
)
def test_mistakes_are_told(run: Run, arguments: list[str], says: str) -> None:
    made(run)

    refused(run(*arguments), says)


def test_doctor_says_what_is_wrong_and_what_to_do(run: Run) -> None:
    report = run("doctor", "--json")

    assert report.exit_code == 1
    parts = json.loads(report.stdout)["parts"]
    assert parts["home"] == parts["blobs"] == "ok"
    assert "models" not in parts, "which are in use is not known without a registry"
    assert parts["data keys"] == "ok"
    assert "run `lookout migrate`" in parts["registry"]
    assert "does not answer" in parts["redis"]
    assert "does not answer" in parts["milvus"]
    assert run("migrate").exit_code == 0
    parts = json.loads(run("doctor", "--json").stdout)["parts"]
    assert parts["registry"] == parts["models"] == "ok"
    assert "LOOKOUT_REDIS_URL" in run("doctor").stdout


def test_doctor_misses_lost_data_keys(run: Run) -> None:
    run("migrate")
    home = Settings().home
    (home / "blobs").mkdir()
    (home / "blobs" / "picture").touch()

    parts = json.loads(run("doctor", "--json").stdout)["parts"]

    assert "put them back into" in parts["data keys"]
    assert parts["blobs"] == "ok"


@pytest.mark.parametrize(
    ("arguments", "code"),
    [(["watchlist", "create", "x", "--purpose", " ", "--legal-basis", "l"], 2), (["dead-letters", "list"], 1)],
)
def test_errors_are_one_message_and_an_exit_code(
    run: Run, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], arguments: list[str], code: int
) -> None:
    monkeypatch.setattr("sys.argv", ["lookout", *arguments])

    with pytest.raises(SystemExit) as ended:
        cli.main()

    assert ended.value.code == code
    said = capsys.readouterr().err
    assert said.startswith("lookout: ")
    assert "Traceback" not in said
