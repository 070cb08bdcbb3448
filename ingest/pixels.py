"""Pixels of a decoded frame."""

from __future__ import annotations

from typing import Literal

import numpy as np
from av.video.frame import VideoFrame
from numpy.typing import NDArray


def pixels_of(
    picture: VideoFrame, pixel_format: Literal["gray", "bgr24"], width: int | None = None, height: int | None = None
) -> NDArray[np.uint8]:
    """Its pixels, on a reduced copy if a size is given."""
    pixels = picture.to_ndarray(format=pixel_format, width=width, height=height, interpolation="AREA")
    return pixels.astype(np.uint8, copy=False)
