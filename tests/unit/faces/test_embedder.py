from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import onnx.parser
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray

from lookout.errors import AssetError
from lookout.faces.assets import AssetCache
from lookout.faces.detector import Detector
from lookout.faces.embedder import MAX_BATCH, AlignedFace, Embedder, Network, normalised
from lookout.faces.geometry import Floats
from lookout.faces.models import load_embedder
from lookout.settings import Settings

Picture = NDArray[np.uint8]
Frame = Callable[[str, int], Picture]
MODEL = "mobilefacenet-192"


@pytest.fixture(scope="module")
def crops(detector: Detector, embedder: Embedder, man_a: Picture, five_people: Picture) -> list[AlignedFace]:
    """Six aligned faces of six people."""
    return [
        embedder.align(picture, face.landmarks)
        for picture in (man_a, five_people)
        for face in sorted(detector.detect(picture), key=lambda face: float(face.box_xyxy[0]))
    ]


# --- the default model ---


def test_templates_have_length_1(embedder: Embedder, crops: list[AlignedFace]) -> None:
    templates = embedder.embed(crops)

    assert templates.shape == (6, embedder.dimension) == (6, 192)
    assert templates.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(templates, axis=1), 1, atol=1e-5)


def test_no_faces_give_no_templates(embedder: Embedder) -> None:
    assert embedder.embed([]).shape == (0, 192)


@pytest.mark.parametrize("count", [1, 2, MAX_BATCH - 1, MAX_BATCH, MAX_BATCH + 1, 2 * MAX_BATCH + 3])
def test_a_batch_equals_singles_in_order(embedder: Embedder, crops: list[AlignedFace], count: int) -> None:
    # Each brightness makes another picture, so that a mixed-up order shows.
    many = [
        tuple(cv2.convertScaleAbs(part, alpha=1 - k / 200).astype(np.uint8, copy=False) for part in crops[k % 6])
        for k in range(count)
    ]

    together = embedder.embed(many)

    singles = np.concatenate([embedder.embed([one]) for one in many])
    np.testing.assert_allclose(together, singles, atol=1e-4)


def test_templates_outlive_the_next_call(embedder: Embedder, crops: list[AlignedFace]) -> None:
    first = embedder.embed(crops[:1])
    kept = first.copy()

    embedder.embed(crops[1:2])

    np.testing.assert_array_equal(first, kept)


def test_one_person_on_two_days_is_more_alike_than_two_people(
    detector: Detector, embedder: Embedder, man_a: Picture, frame: Frame
) -> None:
    def template(picture: Picture) -> Floats:
        (face,) = detector.detect_scaled(picture, 640)
        return embedder.embed([embedder.align(picture, face.landmarks)]).reshape(-1)

    photo = template(man_a)
    same = [float(photo @ template(frame("noface_face.mov", number))) for number in (115, 130, 150)]
    other = [float(photo @ template(frame("WolfgangLanger_Pexels.mp4", number))) for number in (0, 150, 300)]

    assert min(same) > 0.53, "the cosine of a false accept rate of 1e-4"
    assert max(other) < 0.2


def test_six_people_are_no_doubles_of_one_another(embedder: Embedder, crops: list[AlignedFace]) -> None:
    templates = embedder.embed(crops)

    # Two of the five resemble each other as one pair of strangers in 100,000 does.
    assert (templates @ templates.T - 2 * np.eye(6)).max() < 0.64


@given(arrays(np.float32, st.tuples(st.integers(1, 5), st.integers(1, 8)), elements=st.floats(-1e6, 1e6, width=32)))
def test_normalised_vectors_keep_their_direction(vectors: Floats) -> None:
    length = np.linalg.norm(vectors.astype(np.float64), axis=1)

    unit = normalised(vectors)

    assert unit.dtype == np.float32
    real = length > 1e-6
    np.testing.assert_allclose(np.linalg.norm(unit[real], axis=1), 1, atol=1e-5)
    np.testing.assert_allclose(unit[real] * length[real, None], vectors[real], rtol=1e-4, atol=1e-4)
    assert not normalised(np.zeros_like(vectors)).any(), "zero stays zero"
    np.testing.assert_array_equal(normalised(vectors[0]), unit[0])


# --- a user's own model, by a few lines of TOML ---


def own_settings(home: Path, file: Path, *, sha256: str | None = None, **contract: object) -> Settings:
    """Settings of a home whose `models.toml` describes `file`."""
    parts = [file, file.with_suffix(".bin")] if file.suffix == ".xml" else [file]
    sha256 = sha256 or hashlib.sha256(b"".join(part.read_bytes() for part in parts)).hexdigest()
    said = {"size": 112, "template": '"arcface112"', **contract}
    lines = [f"{key} = {value}" for key, value in said.items()]
    (home / "models.toml").write_text(
        f'[models.own]\nrole = "embedder"\nfile = "{file}"\nsha256 = "{sha256}"\nlicence = "ours"\n'
        'source = "this test"\n[models.own.contract]\n'
        + "\n".join(lines)
        + "\n[models.own.calibration]\noperating_points = { 1e-3 = 0.3 }\n"
    )
    # The refiner comes from the cache that all tests share.
    return Settings(home=home)


@pytest.fixture
def own_onnx(tmp_path: Path) -> Callable[[str, str], Path]:
    """An embedder whose embedding is the mean colour of the picture's upper half, then that of its lower half."""

    def make(layout: str, batch: str) -> Path:
        shape, rows, area = ("3,112,112", 2, "2,3") if layout == "nchw" else ("112,112,3", 1, "1,2")
        model = onnx.parser.parse_model(
            f"""
            <ir_version: 8, opset_import: ["" : 13]>
            own (float[{batch},{shape}] x) => (float[{batch},6] y) {{
                upper, lower = Split<axis={rows}>(x)
                a = ReduceMean<axes=[{area}], keepdims=0>(upper)
                b = ReduceMean<axes=[{area}], keepdims=0>(lower)
                y = Concat<axis=1>(a, b)
            }}
            """
        )
        file = tmp_path / "own.onnx"
        file.write_bytes(model.SerializeToString())
        return file

    return make


@pytest.mark.parametrize("batch", ["N", "1", "4"])
@pytest.mark.parametrize("colour", ["bgr", "rgb"])
@pytest.mark.parametrize("layout", ["nchw", "nhwc"])
def test_a_users_onnx_is_fed_by_its_contract(
    tmp_path: Path, own_onnx: Callable[[str, str], Path], layout: str, colour: str, batch: str
) -> None:
    embedder = load_embedder(
        own_settings(
            tmp_path,
            own_onnx(layout, batch),
            layout=f'"{layout}"',
            colour=f'"{colour}"',
            mean=100,
            scale=50,
            dimension=6,
        ),
        "own",
    )
    random = np.random.default_rng(0)
    colours = random.integers(0, 256, (7, 2, 3))  # of seven faces: the upper and the lower half's, BGR
    faces = [np.repeat(pair, 56, axis=0)[:, None].repeat(112, axis=1).astype(np.uint8) for pair in colours]

    templates = embedder.embed([(face,) for face in faces])

    order = [0, 1, 2] if colour == "bgr" else [2, 1, 0]
    expected = normalised(((colours[..., order] - 100) / 50).reshape(7, 6).astype(np.float32))
    np.testing.assert_allclose(templates, expected, atol=1e-4)


def test_a_users_ir_is_used_where_it_lies(tmp_path: Path, assets: AssetCache, man_a: Picture) -> None:
    published = Embedder(MODEL, [(Network(assets.model(MODEL), assets.manifest.single_embedder(MODEL).contract), 1.0)])
    settings = own_settings(
        tmp_path,
        assets.model(MODEL),
        layout='"nhwc"',
        colour='"rgb"',
        mean=127.5,
        scale=128,
        dimension=192,
        mirrored="true",
    )

    own = load_embedder(settings, "own")

    face = (man_a[200:312, 220:332],)
    np.testing.assert_allclose(own.embed([face]), published.embed([face]), atol=1e-6)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"dimension": 512}, r"own.onnx gives 6 values a face, its contract says 512. Correct the contract"),
        (
            {"layout": '"nhwc"'},
            r"own.onnx does not take faces as its contract says \(layout nhwc, size 112\): .*incompatible",
        ),
    ],
)
def test_a_contract_that_does_not_fit_is_refused_when_the_model_is_loaded(
    tmp_path: Path, own_onnx: Callable[[str, str], Path], wrong: dict[str, Any], said: str
) -> None:
    contract: dict[str, Any] = {"layout": '"nchw"', "colour": '"bgr"', "mean": 0, "scale": 1, "dimension": 6, **wrong}
    settings = own_settings(tmp_path, own_onnx("nchw", "N"), **contract)

    with pytest.raises(AssetError, match=said):
        load_embedder(settings, "own")


def test_a_file_that_is_no_model_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "own.onnx"
    file.write_bytes(b"no model at all")
    settings = own_settings(tmp_path, file, layout='"nchw"', colour='"bgr"', mean=0, scale=1, dimension=6)

    with pytest.raises(AssetError, match=r"OpenVINO cannot load .*own.onnx on CPU"):
        load_embedder(settings, "own")


def test_a_changed_file_is_refused(tmp_path: Path, own_onnx: Callable[[str, str], Path]) -> None:
    settings = own_settings(
        tmp_path, own_onnx("nchw", "N"), sha256="0" * 64, layout='"nchw"', colour='"bgr"', mean=0, scale=1, dimension=6
    )

    with pytest.raises(AssetError, match=r"own.onnx has SHA-256 .*not 0000.*models.toml"):
        load_embedder(settings, "own")
