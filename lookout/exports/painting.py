"""Covers parts of decoded frames for good: privacy masks in black, faces by a coarse mosaic.

It works on the planes of YUV 4:2:0 themselves, so that the rest of the picture keeps its colours as they are.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from av.video.frame import VideoFrame
from av.video.reformatter import ColorRange
from numpy.typing import NDArray

from lookout.masks import Masks

Pixels = NDArray[np.uint8]
#: Left, top, right, bottom in pixels.
Box = tuple[float, float, float, float]
#: So many values a side are left of a covered face, in each plane.
BLOCKS = 4
#: A face's box is covered so much larger: hair and chin are the face, too.
LARGER = 1.3
GREY = 128


@dataclass(frozen=True, slots=True, eq=False)
class Planes:
    """A picture in YUV 4:2:0 of even width and height: luma, and colours half as fine; all can be written to."""

    packed: Pixels
    width: int
    height: int
    #: Whether black is 0; 16 otherwise.
    full_range: bool

    @property
    def luma(self) -> Pixels:
        """`(H, W)`."""
        return self.packed[: self.height]

    @property
    def colours(self) -> tuple[Pixels, Pixels]:
        """Two of `(H/2, W/2)`."""
        flat = self.packed[self.height :].reshape(-1)
        half = flat.size // 2
        shape = (self.height // 2, self.width // 2)
        return flat[:half].reshape(shape), flat[half:].reshape(shape)

    def frame(self) -> VideoFrame:
        """For the encoder."""
        return VideoFrame.from_ndarray(self.packed, format="yuv420p")


def planes_of(frame: VideoFrame) -> Planes:
    """A decoded frame's planes, a copy; an odd last row or column is scaled away."""
    width, height = max(2, frame.width & ~1), max(2, frame.height & ~1)
    even = frame.reformat(width, height, "yuv420p")
    packed = np.ascontiguousarray(even.to_ndarray()).astype(np.uint8, copy=False)
    return Planes(packed, width, height, even.color_range == ColorRange.JPEG)


class Painter:
    """Covers frame after frame of one clip."""

    def __init__(self, masks: Masks, faces: Sequence[Iterable[Box]] = ()) -> None:
        """Cover masks, and faces: the boxes of each frame, in order."""
        self._masks, self._faces = masks, faces
        self._next = 0

    def begin(self) -> None:
        """The next frame is the first one."""
        self._next = 0
        self._masks.forget_sizes()

    def paint(self, planes: Planes) -> None:
        """Cover what must not be seen of the next frame."""
        if self._next < len(self._faces):
            for box in self._faces[self._next]:
                cover(planes, box)
        self._next += 1
        if self._masks:
            hidden = self._masks.keeps(planes.width, planes.height) == 0
            planes.luma[hidden] = 0 if planes.full_range else 16
            coarse = hidden.reshape(planes.height // 2, 2, planes.width // 2, 2).any(axis=(1, 3))
            for plane in planes.colours:
                plane[coarse] = GREY


def cover(planes: Planes, box: Box) -> None:
    """Leave of a face a mosaic of some values, smoothed: nothing gets back what was there."""
    left, top, right, bottom = enlarged(box)
    x1, y1 = (max(0, int(side) & ~1) for side in (left, top))
    x2, y2 = (min(most, (int(side) + 2) & ~1) for side, most in ((right, planes.width), (bottom, planes.height)))
    if x2 <= x1 or y2 <= y1:
        return
    _smear(planes.luma[y1:y2, x1:x2])
    for plane in planes.colours:
        _smear(plane[y1 // 2 : y2 // 2, x1 // 2 : x2 // 2])


def enlarged(box: Box, factor: float = LARGER) -> Box:
    """A box of that much wider and higher around the same middle."""
    left, top, right, bottom = box
    x, y = (right - left) * (factor - 1) / 2, (bottom - top) * (factor - 1) / 2
    return left - x, top - y, right + x, bottom + y


def _smear(part: Pixels) -> None:
    height, width = part.shape
    few = cv2.resize(part, (min(BLOCKS, width), min(BLOCKS, height)), interpolation=cv2.INTER_AREA)
    mosaic = cv2.resize(few, (width, height), interpolation=cv2.INTER_NEAREST)
    part[:] = cv2.GaussianBlur(mosaic, (0, 0), sigmaX=max(1.0, width / BLOCKS / 3))
