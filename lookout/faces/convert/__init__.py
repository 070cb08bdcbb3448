"""Published weights to OpenVINO models, without the tools that they were made with."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import openvino as ov

from lookout.errors import AssetError
from lookout.faces.convert.mobilefacenet import mobilefacenet
from lookout.faces.convert.yunet import yunet

CONVERTERS: dict[str, Callable[[Path], ov.Model]] = {"yunet": yunet, "mobilefacenet": mobilefacenet}


def convert(converter: str, weights: Path, xml: Path) -> None:
    """Convert published weights to an OpenVINO model in f32.

    Args:
        converter: a key of `CONVERTERS`.
        weights: the file as it lay in its package.
        xml: where to write the model; its weights go beside it as `.bin`.

    Raises:
        AssetError: the file holds another network than the converter knows, or the model cannot be written.
    """
    model = CONVERTERS[converter](weights)
    try:
        ov.save_model(model, xml, compress_to_fp16=False)
    except RuntimeError as error:
        raise AssetError(f"{xml} cannot be written: {error}. Is there room on the disk?") from error
