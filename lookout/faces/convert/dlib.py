"""The face recognition ResNet from the file that dlib's author published.

The network: 29 convolutions in residual blocks after K. He, X. Zhang, S. Ren, J. Sun, "Deep Residual Learning for Image
Recognition", CVPR 2016, trained by Davis King. The file is a stream as dlib writes it: integers, floats and tensors one
after the other, the layers from the last to the first. It is read here without dlib, and nothing in it is executed.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import openvino as ov
from numpy.typing import NDArray
from openvino import opset1
from openvino import opset13 as op

from lookout.errors import AssetError

Tensor = NDArray[np.float32]

SIDE = 150
DIMENSION = 128
#: dlib's input layer takes the channels' means off and divides by this.
_INPUT_SCALE = 256.0
_ADDED_LAYERS = 131
#: What precedes each layer in the list at the file's beginning: a layer that only marks a place, one that computes, the
#: input.
_MARK, _LAYER, _INPUT = 1, 2, 3


@dataclass(frozen=True, slots=True, eq=False)
class _Layer:
    """One layer as it was stored: `kind`, its parameters as one row, and its shape where it has one."""

    kind: str
    params: Tensor
    #: Convolution: filters, channels, height, width, stride, padding. Pooling: height, width, stride, padding.
    shape: tuple[int, ...] = ()


class _Stream:
    """dlib's serialisation, read from the front."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    def take(self, count: int) -> bytes:
        """The next bytes; fewer are an error."""
        taken = self._data[self._at : self._at + count]
        if count < 0 or len(taken) != count:
            raise ValueError("it ends too early")
        self._at += count
        return taken

    def integer(self) -> int:
        """A byte with the sign and the number of bytes that follow, low byte first."""
        control = self.take(1)[0]
        value = int.from_bytes(self.take(control & 0x0F), "little")
        return -value if control & 0x80 else value

    def floating(self) -> float:
        """Mantissa and exponent; exponents beyond what a float has mean infinity."""
        mantissa, exponent = self.integer(), self.integer()
        return math.inf if exponent >= 32_000 else math.ldexp(mantissa, exponent)

    def boolean(self) -> bool:
        """One letter, 0 or 1."""
        return self.take(1) == b"1"

    def text(self) -> str:
        """Its length, then its bytes."""
        return self.take(self.integer()).decode("ascii")

    def tensor(self) -> Tensor:
        """Version, four sides, then floats; as one row."""
        self._expect("a tensor", self.integer(), 2)
        count = math.prod(self.integer() for _ in range(4))
        return np.frombuffer(self.take(4 * count), "<f4").astype(np.float32)

    def alias(self) -> tuple[int, ...]:
        """Version, then the four sides of a part of a tensor."""
        self._expect("an alias", self.integer(), 1)
        return tuple(self.integer() for _ in range(4))

    @staticmethod
    def _expect(what: str, found: int, wanted: int) -> None:
        if found != wanted:
            raise ValueError(f"{what} of version {found}")


def dlib_resnet(dat: Path) -> ov.Model:
    """Read `dlib_face_recognition_resnet_model_v1.dat`.

    Returns:
        a model from `input`, f32 RGB 0..255 `(N, 3, 150, 150)`, to `(N, 128)`, not normalised.

    Raises:
        AssetError: the file cannot be read, or holds another network.
    """
    try:
        means, layers = _read(_Stream(dat.read_bytes()))
        return _build(means, layers)
    except OSError as error:
        raise AssetError(f"{dat.name} cannot be read: {error}.") from error
    except (ValueError, IndexError, OverflowError, RuntimeError) as error:
        raise AssetError(f"{dat.name} holds another network than dlib's face recognition ResNet: {error}.") from error


def _read(stream: _Stream) -> tuple[list[float], list[_Layer]]:
    """The channels' means, and the layers from the last to the first."""
    stream.integer()  # version
    stream.text()  # the loss, which only training needs, with its margin and distance
    stream.floating(), stream.floating()
    marks: list[int] = []
    while (mark := stream.integer()) != _INPUT:
        marks.append(mark)
        if len(marks) > _ADDED_LAYERS:
            raise ValueError(f"more than {_ADDED_LAYERS} layers")
    if stream.text() != "input_rgb_image_sized":
        raise ValueError("its input is no picture")
    means = [stream.floating() for _ in range(3)]
    if (stream.integer(), stream.integer()) != (SIDE, SIDE):
        raise ValueError(f"its input is not {SIDE} pixels wide and high")
    layers = [_layer(stream)]
    _skip_state(stream)
    stream.integer()
    for mark in reversed(marks):
        if mark == _LAYER:
            layers.append(_layer(stream))
            _skip_state(stream)
        elif mark == _MARK:
            layers.append(_Layer("mark", np.zeros(0, np.float32)))
        else:
            raise ValueError(f"a layer of sort {mark}")
    return means, layers


def _skip_state(stream: _Stream) -> None:
    """Over what training needs beside each layer: three flags and three tensors that are empty once it is done."""
    for _ in range(3):
        stream.boolean()
    if any(stream.tensor().size for _ in range(3)):
        raise ValueError("its training is not finished")


def _layer(stream: _Stream) -> _Layer:
    kind = stream.text()
    if kind not in _READERS:
        raise ValueError(f"a layer {kind!r}")
    return _READERS[kind](stream)


def _convolution(stream: _Stream) -> _Layer:
    params = stream.tensor()
    _, _, _, stride, _, padding, _ = (stream.integer() for _ in range(7))
    filters, channels, height, width = stream.alias()
    stream.alias()  # where the biases lie: after the filters
    _skip_rates(stream)
    return _Layer("convolution", params, (filters, channels, height, width, stride, padding))


def _affine(stream: _Stream) -> _Layer:
    params = stream.tensor()
    stream.alias(), stream.alias(), stream.integer()  # where factors and offsets lie: one half each
    return _Layer("affine", params)


def _pooling(kind: str) -> Callable[[_Stream], _Layer]:
    def read(stream: _Stream) -> _Layer:
        height, width, stride, _, padding, _ = (stream.integer() for _ in range(6))
        return _Layer(kind, np.zeros(0, np.float32), (height, width, stride, padding))

    return read


def _plain(kind: str) -> Callable[[_Stream], _Layer]:
    return lambda _: _Layer(kind, np.zeros(0, np.float32))


def _dense(stream: _Stream) -> _Layer:
    outputs, inputs, params = stream.integer(), stream.integer(), stream.tensor()
    stream.alias(), stream.alias(), stream.integer()
    _skip_rates(stream)
    return _Layer("dense", params, (inputs, outputs))


def _skip_rates(stream: _Stream) -> None:
    """Over a layer's four factors of learning rate and weight decay."""
    for _ in range(4):
        stream.floating()


_READERS: dict[str, Callable[[_Stream], _Layer]] = {
    "con_4": _convolution,
    "affine_": _affine,
    "relu_": _plain("relu"),
    "add_prev_": _plain("add"),
    "max_pool_2": _pooling("max"),
    "avg_pool_2": _pooling("mean"),
    "fc_2": _dense,
}


def _build(means: list[float], layers: list[_Layer]) -> ov.Model:
    """The network.

    A mark before a convolution is where a block begins: what comes in is kept, to be added to what comes out. Two marks
    one after the other are where a block halves the picture: its own way is kept instead, and what came in goes on.
    """
    given = op.parameter(ov.PartialShape([-1, 3, SIDE, SIDE]), ov.Type.f32, name="input")
    given.output(0).set_names({"input"})
    centred = op.subtract(given, op.constant(np.array(means, np.float32).reshape(1, 3, 1, 1)))
    x: ov.Node = op.divide(centred, op.constant(np.float32(_INPUT_SCALE)))
    kept = x
    for layer, following in zip(layers, [*layers[1:], layers[-1]], strict=True):
        match layer.kind, following.kind:
            case "mark", "convolution":
                kept = x
            case "mark", "mark":
                kept, x = x, kept
            case "mark", _:
                pass
            case "add", _:
                x = _added(x, kept)
            case _:
                x = _OPERATIONS[layer.kind](x, layer)
    x.output(0).set_names({"output"})
    return ov.Model([op.result(x)], [given], "dlib_face_recognition_resnet_model_v1")


def _convolve(x: ov.Node, layer: _Layer) -> ov.Node:
    filters, channels, height, width, stride, padding = layer.shape
    weights, biases = np.split(layer.params, [filters * channels * height * width])
    kernel = op.constant(weights.reshape(filters, channels, height, width))
    padded = [padding, padding]
    product = op.convolution(x, kernel, [stride, stride], padded, padded, [1, 1])
    return op.add(product, op.constant(biases.reshape(1, filters, 1, 1)))


def _scale_and_shift(x: ov.Node, layer: _Layer) -> ov.Node:
    factors, offsets = (half.reshape(1, -1, 1, 1) for half in np.split(layer.params, 2))
    return op.add(op.multiply(x, op.constant(factors)), op.constant(offsets))


def _largest(x: ov.Node, layer: _Layer) -> ov.Node:
    height, width, stride, padding = layer.shape
    padded = [padding, padding]
    return opset1.max_pool(x, [stride, stride], padded, padded, [height, width])  # later ones give positions, too


def _mean(x: ov.Node, layer: _Layer) -> ov.Node:
    height, width, stride, padding = layer.shape
    if not height:  # of all there is
        return op.reduce_mean(x, op.constant(np.array([2, 3])), keep_dims=False)
    padded = [padding, padding]
    return op.avg_pool(x, [stride, stride], padded, padded, [height, width], exclude_pad=True)


def _multiply(x: ov.Node, layer: _Layer) -> ov.Node:
    return op.matmul(x, op.constant(layer.params.reshape(layer.shape)), transpose_a=False, transpose_b=False)


_OPERATIONS: dict[str, Callable[[ov.Node, _Layer], ov.Node]] = {
    "convolution": _convolve,
    "affine": _scale_and_shift,
    "relu": lambda x, _: op.relu(x),
    "max": _largest,
    "mean": _mean,
    "dense": _multiply,
}


def _added(one: ov.Node, other: ov.Node) -> ov.Node:
    """Their sum; where one has fewer channels, rows or columns, zeros stand for those that it lacks."""
    sides = [
        np.array([side.get_length() for side in list(node.get_output_partial_shape(0))[1:]]) for node in (one, other)
    ]
    begin, nothing = op.constant(np.zeros(4, np.int64)), op.constant(np.float32(0))
    padded = [
        op.pad(node, begin, op.constant(np.array([0, *lacking])), "constant", nothing) if lacking.any() else node
        for node, lacking in zip((one, other), np.maximum(*sides) - sides, strict=True)
    ]
    return op.add(*padded)
