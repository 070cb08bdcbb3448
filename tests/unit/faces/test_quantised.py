from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import cv2
import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from lookout.errors import AssetError, NotFoundError
from lookout.faces import fetch
from lookout.faces.alignment import align
from lookout.faces.assets import AssetCache, write_record
from lookout.faces.detector import Detector
from lookout.faces.embedder import Network
from lookout.faces.manifest import OwnEmbedder, load_manifest
from lookout.faces.quantised import (
    LEAST_COSINE,
    LEAST_SPEEDUP,
    Verdict,
    _folder,
    best,
    prepare,
    quantise,
    varied,
    verdict_on,
)
from tests.people import man_a as faces_of_man_a

MODEL = "mobilefacenet-192"
Picture = NDArray[np.uint8]
GOOD = Verdict(cosine=0.99, speedup=2.0)

sides = st.sampled_from([16, 112, 150])
seeds = st.integers(0, 2**32 - 1)


def face(side: int, seed: int) -> Picture:
    return np.random.default_rng(seed).integers(0, 256, (side, side, 3), np.uint8)


@given(sides, seeds, seeds)
def test_a_varied_face_is_a_face_of_the_same_size(side: int, seed: int, other: int) -> None:
    given = face(side, seed)
    kept = given.copy()

    made = varied(given, np.random.default_rng(other))

    assert (made.shape, made.dtype) == (given.shape, given.dtype)
    np.testing.assert_array_equal(given, kept)
    np.testing.assert_array_equal(made, varied(given, np.random.default_rng(other)))


def test_faces_vary_about_as_much_as_cameras_make_them() -> None:
    half = np.zeros((112, 112, 3), np.uint8)
    half[:, 56:] = 120  # bright on the right
    rng = np.random.default_rng(0)

    made = np.stack([varied(half, rng) for _ in range(200)]).astype(np.float32)

    mirrored = made[:, :, :40].mean(axis=(1, 2, 3)) > made[:, :, -40:].mean(axis=(1, 2, 3))
    assert 70 < mirrored.sum() < 130, "every second one"
    bright = np.where(mirrored, made[:, :, :40].mean(axis=(1, 2, 3)), made[:, :, -40:].mean(axis=(1, 2, 3)))
    assert bright.min() < 80
    assert bright.max() > 160


@pytest.mark.parametrize(
    ("cosine", "speedup", "accepted"),
    [
        (0.99, 2.0, True),
        (LEAST_COSINE, LEAST_SPEEDUP, True),
        (0.979, 3.0, False),
        (1.0, 1.09, False),
        (0.5, 0.5, False),
    ],
)
def test_what_is_nearly_as_good_and_faster_is_accepted(cosine: float, speedup: float, accepted: bool) -> None:
    assert Verdict(cosine=cosine, speedup=speedup).accepted is accepted


# --- a cache of its own, with a file in INT8 that is none ---


@pytest.fixture
def cache(assets: AssetCache, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AssetCache:
    """The models without pictures, and nothing more can be fetched."""
    for name in (MODEL, "mtcnn", "yunet"):
        folder = assets.model(name).parent
        shutil.copytree(folder, tmp_path / "cache" / folder.relative_to(assets.root))

    def away(*_: object, **__: object) -> Path:
        raise AssetError("nothing can be downloaded.")

    monkeypatch.setattr(fetch, "download", away)
    return AssetCache(tmp_path / "cache", assets.manifest)


def put(cache: AssetCache, verdict: Verdict = GOOD) -> Path:
    """What `quantise` leaves behind."""
    folder = _folder(cache.model(MODEL))
    folder.mkdir()
    for name in ("model.xml", "model.bin"):
        (folder / name).write_bytes(b"INT8")
    write_record(folder)
    (folder / "verdict.json").write_bytes(msgspec.json.encode(verdict))
    return folder


def test_what_was_accepted_is_used(cache: AssetCache) -> None:
    folder = put(cache)

    assert verdict_on(cache, MODEL) == GOOD
    assert best(cache, MODEL) == folder / "model.xml" != cache.model(MODEL)
    assert quantise(cache, MODEL) == GOOD, "it is not made again"


@pytest.mark.parametrize("verdict", [Verdict(cosine=0.97, speedup=3.0), Verdict(cosine=1.0, speedup=1.0)])
def test_what_was_not_accepted_is_not_used_and_not_tried_again(cache: AssetCache, verdict: Verdict) -> None:
    put(cache, verdict)

    assert verdict_on(cache, MODEL) == verdict
    assert best(cache, MODEL) == cache.model(MODEL)
    assert quantise(cache, MODEL) == verdict


@pytest.mark.parametrize(
    "damage",
    [
        pytest.param(shutil.rmtree, id="not made"),
        pytest.param(lambda folder: (folder / "model.bin").write_bytes(b"other"), id="weights"),
        pytest.param(lambda folder: (folder / "model.xml").unlink(), id="model"),
        pytest.param(lambda folder: (folder / "record.json").write_bytes(b"{"), id="record"),
        pytest.param(lambda folder: (folder / "record.json").unlink(), id="no record"),
        pytest.param(lambda folder: (folder / "verdict.json").write_bytes(b'{"cosine": "high"}'), id="verdict"),
        pytest.param(lambda folder: (folder / "verdict.json").write_bytes(b"\xff"), id="no JSON"),
        pytest.param(lambda folder: (folder / "verdict.json").unlink(), id="no verdict"),
    ],
)
def test_without_a_sound_one_the_published_model_is_used(cache: AssetCache, damage: Callable[[Path], object]) -> None:
    damage(put(cache))

    assert verdict_on(cache, MODEL) is None
    assert best(cache, MODEL) == cache.model(MODEL)


def test_only_packaged_embedders_have_one(cache: AssetCache, tmp_path: Path) -> None:
    own = tmp_path / "own.onnx"
    own.write_bytes(b"")
    contract = cache.manifest.single_embedder(MODEL)
    model = OwnEmbedder(
        sha256="e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855", licence="l", source="s", file=own,
        contract=contract.contract, calibration=contract.calibration,
    )  # fmt: skip
    manifest = replace(cache.manifest, models={**cache.manifest.models, "own": model})
    users = AssetCache(cache.root, manifest)

    for name in ("yunet", "mtcnn", "own"):
        assert verdict_on(users, name) is None
        assert quantise(users, name) is None
    assert best(users, "own") == own
    assert verdict_on(AssetCache(tmp_path / "empty", load_manifest()), MODEL) is None, "the model is not here"
    for ask in (verdict_on, quantise, best):
        with pytest.raises(NotFoundError, match="'nosuch'"):
            ask(users, "nosuch")


def test_without_pictures_it_goes_on_without_int8(cache: AssetCache, caplog: pytest.LogCaptureFixture) -> None:
    prepare(cache, MODEL)

    assert "embedders run as they were published, not in INT8: nothing can be downloaded." in caplog.text
    assert verdict_on(cache, MODEL) is None
    assert best(cache, MODEL) == cache.model(MODEL)
    assert not list(cache.root.glob(".work*"))


def test_without_the_model_it_does_not_go_on(cache: AssetCache) -> None:
    shutil.rmtree(cache.root / "models" / MODEL)
    with pytest.raises(AssetError, match="nothing can be downloaded"):
        prepare(cache, MODEL)
    with pytest.raises(NotFoundError, match="no embedder 'yunet'"):
        prepare(cache, "yunet")


# --- the real one ---


@pytest.mark.timeout(600)
def test_embeddings_in_int8_are_nearly_those_of_the_original(
    assets: AssetCache, detector: Detector, five_people: Picture
) -> None:
    """Made here, half a minute long, if it is not in the cache. The held pictures are not those it was made by."""
    verdict = quantise(assets, MODEL)

    assert verdict is not None
    assert verdict == verdict_on(assets, MODEL)
    assert verdict.cosine >= LEAST_COSINE
    contract = assets.manifest.single_embedder(MODEL).contract
    published, made = assets.model(MODEL), _folder(assets.model(MODEL)) / "model.xml"
    assert best(assets, MODEL) == (made if verdict.accepted else published)
    assert "i8" in made.read_text("utf-8")
    five = [align(five_people, one.landmarks, contract.template) for one in detector.detect(five_people)]
    seen = []
    for one in faces_of_man_a(assets):
        bgr = cv2.imdecode(np.frombuffer(one.jpeg, np.uint8), cv2.IMREAD_COLOR)
        assert bgr is not None
        points = np.array(one.landmarks, np.float32)
        seen.append(align(bgr.astype(np.uint8, copy=False), points, contract.template))
    assert (len(five), len(seen)) == (5, 4)

    ours, theirs = (Network(file, contract).embed([*five, *seen]) for file in (published, made))

    np.testing.assert_array_less(LEAST_COSINE, (ours * theirs).sum(axis=1))
