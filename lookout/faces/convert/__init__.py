"""Published weights to OpenVINO models, without the tools that they were made with."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import openvino as ov

from lookout.errors import AssetError
from lookout.faces.convert.dlib import dlib_resnet
from lookout.faces.convert.mobilefacenet import mobilefacenet
from lookout.faces.convert.mtcnn import mtcnn
from lookout.faces.convert.yunet import yunet

#: Each takes the files as they lay in their package, one for each network.
CONVERTERS: dict[str, Callable[..., ov.Model]] = {
    "yunet": yunet,
    "mtcnn": mtcnn,
    "mobilefacenet": mobilefacenet,
    "dlib": dlib_resnet,
}


def convert(converter: str, weights: Sequence[Path], xml: Path) -> None:
    """Convert published weights to an OpenVINO model in f32.

    Args:
        converter: a key of `CONVERTERS`.
        weights: the files as they lay in their package, in the order in which the converter takes them.
        xml: where to write the model; its weights go beside it as `.bin`.

    Raises:
        AssetError: the file holds another network than the converter knows, or the model cannot be written.
    """
    model = CONVERTERS[converter](*weights)
    try:
        ov.save_model(model, xml, compress_to_fp16=False)
    except RuntimeError as error:
        raise AssetError(f"{xml} cannot be written: {error}. Is there room on the disk?") from error
