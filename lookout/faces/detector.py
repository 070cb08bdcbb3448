"""Faces in a picture: what a detector gives, whichever it is."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from lookout.faces.geometry import Floats

#: On the scale that all detectors share, see `Detection.score`.
SCORE_THRESHOLD = 0.6


@dataclass(frozen=True, slots=True, eq=False)
class Detection:
    """One face in one picture.

    Attributes:
        box_xyxy: `(4,)` float32 pixels.
        landmarks: `(5, 2)` float32 pixels: eye, eye, nose tip, mouth corner, mouth corner; left in the picture first.
        score: how sure the detector is, 0..1, on YuNet's scale: real faces of 28 px and more stay above 0.86, an
            animal's face reached 0.76. Other detectors bring theirs to this scale, so that thresholds hold for all.
    """

    box_xyxy: Floats
    landmarks: Floats
    score: float

    @property
    def width_px(self) -> float:
        """Width of the face's box."""
        return float(self.box_xyxy[2] - self.box_xyxy[0])

    def scaled(self, factor: float, shift: tuple[float, float] = (0.0, 0.0)) -> Detection:
        """The same face in a picture enlarged by `factor`, whose origin then lies at `shift`."""
        offset = np.array(shift, np.float32)
        return Detection(
            self.box_xyxy * np.float32(factor) + np.tile(offset, 2),
            self.landmarks * np.float32(factor) + offset,
            self.score,
        )


class Detector(ABC):
    """Finds faces. One object serves many threads."""

    @abstractmethod
    def detect(self, bgr: NDArray[np.uint8], *, score_threshold: float = SCORE_THRESHOLD) -> list[Detection]:
        """Find faces in a BGR picture `(H, W, 3)` of 0..255, best score first; any size will do, even none."""

    def detect_scaled(self, bgr: NDArray[np.uint8], longest_side_px: int) -> list[Detection]:
        """Find faces on a copy whose longer side is at most `longest_side_px`; coordinates are those of `bgr`."""
        factor = longest_side_px / max(1, *bgr.shape[:2])
        if factor >= 1:
            return self.detect(bgr)
        if min(bgr.shape[:2]) * factor < 1:  # a line has no reduced copy, and no face
            return []
        reduced = cv2.resize(bgr, None, fx=factor, fy=factor, interpolation=cv2.INTER_AREA).astype(np.uint8, copy=False)
        return [detection.scaled(1 / factor) for detection in self.detect(reduced)]
