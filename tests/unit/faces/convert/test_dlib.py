from __future__ import annotations

from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

import cv2
import numpy as np
import openvino as ov
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from lookout.errors import AssetError
from lookout.faces.alignment import align
from lookout.faces.assets import AssetCache
from lookout.faces.convert.dlib import SIDE, dlib_resnet
from lookout.faces.runtime import compile_model
from tests.people import Face, man_a, woman_b

Floats = NDArray[np.float32]
MEANS = (122.75, 117.5, 104.25)

# --- dlib's serialisation, written ---


def integer(value: int) -> bytes:
    low_first = abs(value).to_bytes(8, "little").rstrip(b"\0")
    return bytes([len(low_first) | (0x80 if value < 0 else 0)]) + low_first


def floating(value: float) -> bytes:
    """A mantissa of 24 bits, as dlib writes a float, and its exponent."""
    mantissa, exponent = np.frexp(value)
    return integer(int(mantissa * 2**24)) + integer(int(exponent) - 24)


def text(value: str) -> bytes:
    return integer(len(value)) + value.encode()


def integers(*values: int) -> bytes:
    return b"".join(map(integer, values))


def tensor(values: Floats | None = None) -> bytes:
    sides = (0, 0, 0, 0) if values is None else (1, 1, 1, values.size)
    return integers(2, *sides) + (b"" if values is None else values.astype("<f4").tobytes())


def alias() -> bytes:
    return integers(1, 1, 1, 1, 1)


RATES = floating(1.0) * 4
#: What follows each layer: flags, and tensors that only training needs.
STATE = b"000" + tensor() * 3


def convolution(kernel: Floats, biases: Floats, stride: int) -> bytes:
    filters, _, height, width = kernel.shape
    params = tensor(np.concatenate([kernel.ravel(), biases]))
    shape = integers(filters, height, width, stride, stride, 0, 0) + integers(1, *kernel.shape)
    return text("con_4") + params + shape + alias() + RATES


def affine(factors: Floats, offsets: Floats) -> bytes:
    return text("affine_") + tensor(np.concatenate([factors, offsets])) + alias() * 2 + integer(0)


def pooling(kind: str, side: int, stride: int) -> bytes:
    return text(kind) + integers(side, side, stride, stride, 0, 0)


def dense(weights: Floats) -> bytes:
    inputs, outputs = weights.shape
    return text("fc_2") + integers(outputs, inputs) + tensor(weights) + alias() * 2 + integer(0) + RATES


MARK = None


@dataclass
class Written:
    """A file of dlib's, part by part, so that tests can write another."""

    loss: bytes = text("loss_metric_") + floating(0.04) + floating(0.6)
    source: bytes = text("input_rgb_image_sized")
    sides: bytes = integers(SIDE, SIDE)
    state: bytes = STATE
    layers: list[bytes | None] = field(default_factory=list)
    marks: list[int] | None = None

    def data(self) -> bytes:
        first, *others = self.layers
        assert first is not None
        marks = self.marks or [1 if layer is MARK else 2 for layer in reversed(others)]
        written = integer(1) + self.loss + integers(*marks, 3) + self.source + b"".join(map(floating, MEANS))
        written += self.sides + first + self.state + integer(1)
        return written + b"".join(layer + self.state for layer in others if layer is not None)


def draw(*shape: int) -> Floats:
    return np.random.default_rng(sum(shape)).normal(0, 0.5, shape).astype(np.float32)


FIRST, FACTORS, OFFSETS = draw(2, 3, 3, 3), draw(2), draw(2, 1)[:, 0]
SAME, HALF, LAST = draw(2, 2, 1, 1), draw(3, 2, 2, 2), draw(3, 4)
LAYERS: list[bytes | None] = [
    convolution(FIRST, draw(2), 3),
    affine(FACTORS, OFFSETS),
    text("relu_"),
    pooling("max_pool_2", 3, 2),
    # A block that adds what came in to what comes out,
    MARK,
    convolution(SAME, draw(2), 1),
    text("add_prev_"),
    # and one that halves the picture and has one channel more.
    MARK,
    convolution(HALF, draw(3), 2),
    MARK,
    MARK,
    pooling("avg_pool_2", 2, 2),
    text("add_prev_"),
    pooling("avg_pool_2", 0, 1),
    dense(LAST),
]


def reckoned(rgb: Floats) -> Floats:
    """What that network gives for pictures `(N, 3, 150, 150)`, without OpenVINO."""

    def convolved(x: Floats, kernel: Floats, biases: Floats, stride: int) -> Floats:
        windows = sliding_window_view(x, kernel.shape[2:], axis=(2, 3))[:, :, ::stride, ::stride]
        return np.asarray(np.einsum("nchwij,fcij->nfhw", windows, kernel) + biases[:, None, None], np.float32)

    x = convolved((rgb - np.array(MEANS, np.float32)[:, None, None]) / np.float32(256), FIRST, draw(2), 3)
    x = np.maximum(x * FACTORS[:, None, None] + OFFSETS[:, None, None], 0)
    x = sliding_window_view(x, (3, 3), axis=(2, 3))[:, :, ::2, ::2].max(axis=(4, 5))
    x = x + convolved(x, SAME, draw(2), 1)
    halved = x.reshape(len(x), 2, 12, 2, 12, 2).mean(axis=(3, 5))
    x = convolved(x, HALF, draw(3), 2)
    x[:, :2] += halved
    return np.asarray(x.mean(axis=(2, 3)) @ LAST, np.float32)


def read(data: bytes, folder: Path) -> ov.Model:
    path = folder / "net.dat"
    path.write_bytes(data)
    return dlib_resnet(path)


# --- reading it ---


def test_a_network_with_both_kinds_of_blocks(tmp_path: Path) -> None:
    model = read(Written(layers=LAYERS).data(), tmp_path)

    rgb = np.random.default_rng(1).uniform(0, 255, (3, 3, SIDE, SIDE)).astype(np.float32)
    compiled = ov.Core().compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    for pictures in (rgb, rgb[:1]):  # any number of them
        np.testing.assert_allclose(compiled([pictures])[0], reckoned(pictures), atol=1e-3)
    assert (model.input(0).get_any_name(), model.output(0).get_any_name()) == ("input", "output")


@pytest.mark.parametrize(
    ("written", "message"),
    [
        (Written(layers=LAYERS, marks=[2] * 132), "more than 131 layers"),
        (Written(layers=LAYERS, marks=[2, 7]), "a layer of sort 7"),
        (Written(layers=LAYERS, source=text("input")), "its input is no picture"),
        (Written(layers=LAYERS, sides=integers(150, 149)), "its input is not 150 pixels wide and high"),
        (Written(layers=LAYERS, state=b"000" + tensor(draw(2)) * 3), "its training is not finished"),
        (Written(layers=[*LAYERS, text("dropout_")]), "a layer 'dropout_'"),
        (Written(layers=[text("relu_").replace(b"_", b"\xff"), *LAYERS]), ""),
        (Written(layers=[LAYERS[0], affine(draw(3), draw(3))]), ""),
        (Written(layers=[LAYERS[0], dense(draw(2, 2)), text("add_prev_")]), ""),
        (Written(layers=[convolution(FIRST, draw(1), 3)]), ""),
        (Written(layers=[convolution(FIRST, draw(2), 2**63)]), ""),
        (Written(layers=[*LAYERS[:3], pooling("max_pool_2", -3, 2)]), ""),
    ],
)
def test_another_network_is_refused(tmp_path: Path, written: Written, message: str) -> None:
    with pytest.raises(AssetError, match=r"net\.dat holds another network than dlib's [^:]*: .*" + message):
        read(written.data(), tmp_path)


@pytest.mark.parametrize("data", [b"", b"no network", b"\x7fELF" * 99, bytes(99), b"\xff" * 99], ids=range(5))
def test_what_is_no_network_is_refused(tmp_path: Path, data: bytes) -> None:
    with pytest.raises(AssetError, match=r"net\.dat holds another network"):
        read(data, tmp_path)


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(AssetError, match=r"net\.dat cannot be read"):
        dlib_resnet(tmp_path / "net.dat")


@cache
def whole() -> bytes:
    return Written(layers=LAYERS).data()


positions = st.integers(0, len(whole()) - 1)
quick = settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])


@quick
@given(st.binary(max_size=200) | st.binary(max_size=60).map(lambda tail: whole()[:180] + tail))
def test_nothing_but_an_asset_error_comes_of_any_bytes(tmp_path: Path, data: bytes) -> None:
    with pytest.raises(AssetError):
        read(data, tmp_path)


@quick
@given(positions)
def test_a_file_that_is_cut_off_is_refused(tmp_path: Path, length: int) -> None:
    with pytest.raises(AssetError, match="it ends too early"):
        read(whole()[:length], tmp_path)


@quick
@given(st.lists(st.tuples(positions, st.integers(1, 255)), min_size=1, max_size=4))
def test_a_damaged_file_is_read_or_refused(tmp_path: Path, changes: list[tuple[int, int]]) -> None:
    """Most bytes are weights, in which only the hash of the package sees a change."""
    data = bytearray(whole())
    for position, change in changes:
        data[position] ^= change
    try:
        read(bytes(data), tmp_path)
    except AssetError as error:
        assert "holds another network" in str(error)  # noqa: PT017 - or it is read


# --- the real one ---


@pytest.fixture(scope="module")
def real(assets: AssetCache) -> ov.CompiledModel:
    return compile_model(assets.model("dlib-resnet-128"))


def test_it_takes_any_number_of_faces(real: ov.CompiledModel) -> None:
    assert real.input(0).get_partial_shape().to_string() == "[?,3,150,150]"
    faces = np.random.default_rng(2).uniform(0, 255, (5, 3, SIDE, SIDE)).astype(np.float32)

    together = real([faces])[0]

    assert together.shape == (5, 128)
    singles = np.concatenate([real([faces[k : k + 1]])[0].copy() for k in range(5)])
    np.testing.assert_allclose(together, singles, atol=1e-4)


def test_people_are_told_apart_at_the_distance_that_its_author_names(
    assets: AssetCache, real: ov.CompiledModel
) -> None:
    """Davis King: two pictures show the same person if their vectors are nearer to one another than 0.6."""

    def vector(face: Face) -> Floats:
        bgr = cv2.imdecode(np.frombuffer(face.jpeg, np.uint8), cv2.IMREAD_COLOR)
        assert bgr is not None
        aligned = align(bgr.astype(np.uint8, copy=False), np.array(face.landmarks, np.float32), "dlib150")
        rgb = aligned[None, :, :, ::-1].transpose(0, 3, 1, 2).astype(np.float32)
        return np.array(real([np.ascontiguousarray(rgb)])[0][0], np.float32)

    man, woman = ([vector(face) for face in faces] for faces in (man_a(assets), woman_b(assets)))
    alike = [float(np.linalg.norm(one - other)) for one in man for other in man if one is not other]
    unlike = [float(np.linalg.norm(one - other)) for one in man for other in woman]
    assert max(alike) < 0.6 < min(unlike)
    assert min(unlike) - max(alike) > 0.2
