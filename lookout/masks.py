"""Privacy masks: parts of the picture that nobody looks at, neither the detector nor a person, live or exported."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from lookout.camera_settings import Polygon

Pixels = NDArray[np.uint8]
#: Corners are given to the sixteenth of a pixel.
SHIFT = 4
#: A small copy's pixel shows many of the picture: the mask is drawn this much larger, and covers whatever it touches.
FINER = 8


class Masks:
    """The masks of one camera, drawn once for each size of picture. For one thread."""

    def __init__(self, polygons: tuple[Polygon, ...]) -> None:
        self._polygons = polygons
        self._kept: dict[tuple[int, int], Pixels] = {}

    def __bool__(self) -> bool:
        """Whether there is any."""
        return bool(self._polygons)

    def fill(self, pixels: Pixels) -> Pixels:
        """A picture, luma `(H, W)` or BGR `(H, W, 3)`, with black where a mask is; the same one if there is none."""
        if not self._polygons:
            return pixels
        kept = self.keeps(pixels.shape[1], pixels.shape[0])
        return cv2.bitwise_and(pixels, pixels, mask=kept).astype(np.uint8, copy=False)

    def fill_cut(self, cut: Pixels, origin: tuple[int, int], width: int, height: int) -> Pixels:
        """A part of a picture of some size, cut at a point, with black where a mask is."""
        if not self._polygons:
            return cut
        x, y = origin
        kept = self.keeps(width, height)[y : y + cut.shape[0], x : x + cut.shape[1]]
        return cv2.bitwise_and(cut, cut, mask=kept).astype(np.uint8, copy=False)

    def hide(self, x: float, y: float, width: int, height: int) -> bool:
        """Whether a point of a picture of some size is under a mask."""
        if not self._polygons:
            return False
        column, row = int(np.clip(x, 0, width - 1)), int(np.clip(y, 0, height - 1))
        return not self.keeps(width, height)[row, column]

    def forget_sizes(self) -> None:
        """Forget what was drawn: the picture has another size now."""
        self._kept.clear()

    def keeps(self, width: int, height: int) -> Pixels:
        """Of a picture of some size: 255 where the picture may be seen, 0 where a mask touches the pixel."""
        kept = self._kept.get((width, height))
        if kept is None:
            kept = self._kept[width, height] = self._draw(width, height)
        return kept

    def _draw(self, width: int, height: int) -> Pixels:
        finer = FINER if width * FINER <= 1024 else 1
        drawn = np.zeros((height * finer, width * finer), np.uint8)
        size = np.array([width * finer, height * finer], np.float64)
        for polygon in self._polygons:
            # A pixel's middle has whole coordinates in OpenCV.
            corners = ((np.array(polygon) * size - 0.5) * (1 << SHIFT)).round().astype(np.int32)
            cv2.fillPoly(drawn, [corners], 255, shift=SHIFT)
        # One pixel more on each side: colours of a video are half as fine as its brightness.
        drawn = cv2.dilate(drawn, np.ones((3, 3), np.uint8)).astype(np.uint8, copy=False)
        if finer > 1:
            drawn = drawn.reshape(height, finer, width, finer).max(axis=(1, 3))
        return np.where(drawn > 0, 0, 255).astype(np.uint8)
