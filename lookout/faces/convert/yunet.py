"""YuNet from the library that the package yuface brings.

libfacedetection keeps the weights of YuNet as plain float arrays, exported by name, in the order in which its
own loops read them. They are laid out anew for OpenVINO and the network is built around them; its scores are
within 0.008 of those of the published ONNX file.

The network: W. Wu, H. Peng, S. Yu, "YuNet: A Tiny Millisecond-level Face Detector", Machine Intelligence
Research 20, 2023.
"""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import openvino as ov
from numpy.typing import NDArray
from openvino import opset13 as op

from lookout.errors import AssetError
from lookout.faces.convert.elf import float_arrays

#: What each head predicts for a cell, and in how many numbers.
_HEADS = {"cls": 1, "obj": 1, "bbox": 4, "kps": 10}
_STRIDES = (8, 16, 32)


def yunet(library: Path) -> ov.Model:
    """Build YuNet from `libfacedetection.so`.

    Returns:
        a model from `input`, f32 BGR `(N, 3, H, W)` of 0..255, H and W multiples of 32 and free like N, to
        outputs `cls_8` … `kps_32`, `(N, H / stride * W / stride, C)`: C is 1 for `cls` and `obj` (0..1),
        4 for `bbox` and 10 for `kps` (relative to the cell, in strides; widths and heights as logarithms).

    Raises:
        AssetError: the library does not hold the weights of this network.
    """
    weights = _Weights(float_arrays(library.read_bytes(), suffixes=("_weight", "_bias")))
    picture = op.parameter([-1, 3, -1, -1], np.float32, name="input")
    picture.output(0).set_names({"input"})
    pyramid = _pyramid(picture, weights)
    results = [_head(features, weights, head, level) for head in _HEADS for level, features in enumerate(pyramid)]
    weights.check_all_used()
    return ov.Model(results, [picture], "yunet")


class _Weights:
    """The arrays by name; each must have the size that its layer needs, and none may be left over."""

    def __init__(self, arrays: dict[str, NDArray[np.float32]]) -> None:
        self._arrays = arrays
        self._unused = set(arrays)

    def take(self, name: str, *shape: int) -> NDArray[np.float32]:
        array = self._arrays.get(name)
        if array is None:
            raise AssetError(f"The library does not hold the weights of YuNet: {name} is missing.")
        if array.size != math.prod(shape):
            raise AssetError(f"The library holds another YuNet: {name} is of {array.size} numbers, not {shape}.")
        self._unused.discard(name)
        return array.reshape(shape)

    def check_all_used(self) -> None:
        if self._unused:
            raise AssetError(f"The library holds another YuNet: {min(self._unused)} belongs to no layer.")


def _pyramid(picture: ov.Node, weights: _Weights) -> tuple[ov.Node, ov.Node, ov.Node]:
    """Backbone and neck: features of 64 channels at strides 8, 16 and 32."""
    x = _stem(picture, weights)
    x = _separable(x, weights, "backbone__model0_dp", 16, 16)
    x = _unit(_halved(x), weights, "backbone__model1", 16, 32)
    x = _unit(x, weights, "backbone__model2", 32, 64)
    at_8 = _unit(_halved(x), weights, "backbone__model3", 64, 64)
    at_16 = _unit(_halved(at_8), weights, "backbone__model4", 64, 64)
    at_32 = _unit(_halved(at_16), weights, "backbone__model5", 64, 64)
    at_32 = _separable(at_32, weights, "neck__lateral_convs__2", 64, 64)
    at_16 = _separable(op.add(_doubled(at_32), at_16), weights, "neck__lateral_convs__1", 64, 64)
    at_8 = _separable(op.add(_doubled(at_16), at_8), weights, "neck__lateral_convs__0", 64, 64)
    return at_8, at_16, at_32


def _head(x: ov.Node, weights: _Weights, head: str, level: int) -> ov.Node:
    channels = _HEADS[head]
    x = _separable(x, weights, f"bbox_head__multi_level_{head}__{level}", 64, channels, relu=False)
    x = op.transpose(x, op.constant(np.array([0, 2, 3, 1])))
    x = op.reshape(x, op.constant(np.array([0, -1, channels])), special_zero=True)
    if head in {"cls", "obj"}:
        x = op.sigmoid(x)
    x.output(0).set_names({f"{head}_{_STRIDES[level]}"})
    return op.result(x)


def _stem(x: ov.Node, weights: _Weights) -> ov.Node:
    # The library unrolls each 3 x 3 x 3 neighbourhood into 27 numbers (row, column, channel) padded to 32.
    unrolled = weights.take("backbone__model0_pw_weight", 16, 32)[:, :27]
    kernels = unrolled.reshape(16, 3, 3, 3).transpose(0, 3, 1, 2)
    x = op.convolution(x, _constant(kernels), [2, 2], [1, 1], [1, 1], [1, 1])
    return op.relu(_biased(x, weights, "backbone__model0_pw", 16))


def _unit(x: ov.Node, weights: _Weights, layer: str, inner: int, outer: int) -> ov.Node:
    x = _separable(x, weights, f"{layer}_dp1", inner, inner)
    return _separable(x, weights, f"{layer}_dp2", inner, outer)


def _separable(x: ov.Node, weights: _Weights, layer: str, inner: int, outer: int, *, relu: bool = True) -> ov.Node:
    """A 1 x 1 convolution across channels, then a 3 x 3 one within each."""
    across = weights.take(f"{layer}_pw_weight", outer, inner, 1, 1)
    x = op.convolution(x, _constant(across), [1, 1], [0, 0], [0, 0], [1, 1])
    x = _biased(x, weights, f"{layer}_pw", outer)
    within = weights.take(f"{layer}_dw_weight", 9, outer).T.reshape(outer, 1, 1, 3, 3)
    x = op.group_convolution(x, _constant(within), [1, 1], [1, 1], [1, 1], [1, 1])
    x = _biased(x, weights, f"{layer}_dw", outer)
    return op.relu(x) if relu else x


def _biased(x: ov.Node, weights: _Weights, layer: str, channels: int) -> ov.Node:
    return op.add(x, _constant(weights.take(f"{layer}_bias", 1, channels, 1, 1)))


def _halved(x: ov.Node) -> ov.Node:
    return op.max_pool(x, [2, 2], [1, 1], [0, 0], [0, 0], [2, 2]).output(0)


def _doubled(x: ov.Node) -> ov.Node:
    return op.interpolate(
        x,
        op.constant(np.array([2, 2], np.float32)),
        "nearest",
        "scales",
        coordinate_transformation_mode="asymmetric",
        nearest_mode="floor",
        axes=op.constant(np.array([2, 3])),
    )


def _constant(values: NDArray[np.float32]) -> ov.Node:
    return op.constant(np.ascontiguousarray(values))
