"""`lookout cameras`, without any server running but the registry's file."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from lookout import cli
from lookout.errors import LookoutError

Run = Callable[..., Any]
PASSWORD = "geheim"
URL = f"rtsp://admin:{PASSWORD}@192.0.2.1/main"


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Run `lookout cameras …` on an empty home; no server answers."""
    monkeypatch.setenv("LOOKOUT_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("LOOKOUT_REDIS_URL", "redis://127.0.0.1:1")
    monkeypatch.setenv("COLUMNS", "250")

    def run(*arguments: str, typed: str = "") -> Any:
        result = CliRunner().invoke(cli.app, ["cameras", *arguments], input=typed)
        assert PASSWORD not in result.output
        return result

    return run


def refused(result: Any, says: str) -> None:
    assert isinstance(result.exception, LookoutError), result.output
    assert says in str(result.exception)
    assert PASSWORD not in str(result.exception)


def test_a_cameras_life(run: Run) -> None:
    assert "no cameras yet" in run("list").output

    assert run("add", "door", URL, "--group", "hall", "--matched-only", "--fps", "2").exit_code == 0
    assert run("add", "yard", "-", typed=f"{URL}\n").exit_code == 0
    door, yard = json.loads(run("list", "--json").stdout)
    assert (door["id"], door["url"], door["group"]) == ("door", "rtsp://…@192.0.2.1/main", "hall")
    assert (door["matched_only"], door["analysed_fps"], door["state"]) == (True, 2.0, "waiting")
    assert yard["url"] == door["url"]

    assert "name, enabled changed" in run("change", "door", "--name", "Door", "--disable").output
    assert "nothing changed" in run("change", "door", "--name", "Door").output
    door, _ = json.loads(run("list", "--json").stdout)
    assert (door["name"], door["state"], door["group"]) == ("Door", "disabled", "hall")
    assert "Door" in run("list").output

    assert run("remove", "door").exit_code == 0
    refused(run("remove", "door"), "there is no camera door")


def test_footage(run: Run) -> None:
    assert run("add", "door", URL, "--record", "--with-sound", "--footage-hours", "24").exit_code == 0
    (door,) = json.loads(run("list", "--json").stdout)
    assert (door["record"], door["record_audio"], door["footage_hours"], door["footage_gb"]) == (True, True, 24, 50.0)
    assert (door["recording"], door["recording_message"]) == ("off", "")

    said = run("change", "door", "--without-sound", "--footage-gb", "2.5").output
    assert "record_audio, footage_gb changed" in said
    refused(run("change", "door", "--matched-only"), "footage shows people who match nobody")
    refused(run("change", "door", "--footage-gb", "0"), "footage_gb: Expected `float` >= 0.01")
    assert "record changed" in run("change", "door", "--no-record").output


def test_a_camera_whose_videos_are_handed_in(run: Run) -> None:
    assert "lookout index VIDEO --camera phone" in run("add", "phone", "files:").output
    (phone,) = json.loads(run("list", "--json").stdout)
    assert (phone["url"], phone["state"]) == ("files:", "files")
    assert "files" in run("list").output


def test_what_does_not_hold_is_said(run: Run) -> None:
    refused(run("add", "Door", URL), "id: Expected `str` matching regex")
    refused(run("add", "door", URL.replace("rtsp", "gopher")), "url: Expected a URL like")
    refused(run("add", "door", URL, "--fps", "99"), "analysed_fps: Expected `float` <= 30.0")
    run("add", "door", URL)
    refused(run("add", "door", URL), "there is a camera door already")
    refused(run("change", "door", "--retention-hours", "0"), "retention_hours: Expected `int` >= 1")
    refused(run("test", "none"), "there is no camera none")
    refused(run("test", URL), "Redis does not answer")


def test_an_import_is_all_or_nothing(run: Run, tmp_path: Path) -> None:
    file = tmp_path / "cameras.toml"
    file.write_text(
        f'[[camera]]\nid = "a"\nurl = "{URL}"\nmasks = [[[0, 0], [0.5, 0], [0.5, 1]]]\n'
        f'[[camera]]\nid = "b"\nurl = "{URL}"\n'
    )
    assert "2 cameras added, 0 changed, 0 as they were" in run("import", str(file)).output
    assert "0 cameras added, 0 changed, 2 as they were" in run("import", str(file)).output

    file.write_text(f'[[camera]]\nid = "c"\nurl = "{URL}"\n[[camera]]\nid = "d"\nurl = "{URL}"\nretention = 3\n')
    refused(run("import", str(file)), f"{file}, line 7: field `retention`: ")
    assert [one["id"] for one in json.loads(run("list", "--json").stdout)] == ["a", "b"]
