"""The whole frame, reduced, for people: beside a crop, and as a camera's last picture."""

from __future__ import annotations

import cv2
import numpy as np
from av.video.frame import VideoFrame

from ingest.pixels import pixels_of
from lookout.masks import Masks

#: A face of 40 px in a 1080p frame is still 20 px wide.
WIDTH = 960
JPEG_QUALITY = 80

Box = tuple[float, float, float, float]


class Snapshot:
    """One frame; encoded when it is first wanted, and once."""

    def __init__(self, picture: VideoFrame, masks: Masks) -> None:
        self._picture = picture
        self._masks = masks
        self._jpeg = b""

    def jpeg(self) -> bytes:
        """The frame, at most `WIDTH` wide, with its masks filled."""
        if not self._jpeg:
            factor = min(1.0, WIDTH / self._picture.width)
            width, height = round(self._picture.width * factor), max(1, round(self._picture.height * factor))
            bgr = self._masks.fill(pixels_of(self._picture, "bgr24", width, height))
            _, jpeg = cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])
            self._jpeg = jpeg.tobytes()
        return self._jpeg

    def share(self, box_xyxy: np.ndarray[tuple[int], np.dtype[np.float32]]) -> Box:
        """A box in pixels of the frame as shares of its width and height, cut to it."""
        size = np.array([self._picture.width, self._picture.height] * 2, np.float64)
        left, top, right, bottom = np.clip(box_xyxy / size, 0, 1).round(4).tolist()
        return left, top, right, bottom
