"""How good a picture of a face is, and why not better.

The figure is the least of five factors in 0..1: a face is as good as its worst property. Each factor that falls below
what is asked for is named as a reason, so the figure and the reasons never disagree.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from lookout.faces.alignment import align
from lookout.faces.detector import Detection
from lookout.faces.gates import USABLE

#: Below it nobody could say who it is, nor often whether it is a face: it is not kept as a sighting either.
KEPT = 0.25


@dataclass(frozen=True, slots=True)
class Quality:
    """A figure in 0..1 with its reasons: `small`, `blurred`, `dark`, `extreme_pose`, `low_score`."""

    value: float
    reasons: tuple[str, ...]

    @property
    def kept(self) -> bool:
        """Whether it is worth a sighting, though perhaps no match."""
        return self.value >= KEPT

    @property
    def usable(self) -> bool:
        """Whether it passes the quality gate."""
        return self.value >= USABLE


#: Each factor's input at 0, at USABLE and at 1. Measured on 1,488 mated pairs of LFW (share above a cosine of 0.53,
#: all: 0.94).
#: Face width in pixels: 20 px 0.65, 28 px 0.84, 40 px 0.90, 60 px 0.91.
WIDTH_PX = (16.0, 28.0, 80.0)
#: `sharpness`: 20 costs nothing, 13 (blur of 2 % of the face's width) 0.84, 10 (3 %) 0.52, 8 (4 %) 0.14.
SHARPNESS = (4.0, 9.0, 20.0)
#: Mean of the face's luma, and its spread, 0..255.
BRIGHTNESS = (15.0, 35.0, 80.0)
CONTRAST = (4.0, 10.0, 25.0)
#: Minus the larger of yaw and pitch, see `pose`: up to 0.45 0.96, to 0.65 0.90, beyond 0.77.
POSE = (-0.95, -0.65, -0.3)
#: Detector score: real faces of 28 px and more stay above 0.86, an animal's face reached 0.76.
SCORE = (0.6, 0.8, 0.92)


def assess(pixels: NDArray[np.uint8], detection: Detection, least: float = USABLE) -> Quality:
    """Judge one face of a picture, BGR `(H, W, 3)` or luma `(H, W)`, both 0..255.

    Args:
        pixels: the picture.
        detection: the face in it.
        least: the quality below which a property is a reason.
    """
    aligned = align(pixels, detection.landmarks)
    luma = cv2.cvtColor(aligned, cv2.COLOR_BGR2GRAY) if aligned.ndim == 3 else aligned
    # Hair and background are left out: eyes, nose and mouth decide.
    face = luma[30:106, 24:88].astype(np.float32)
    yaw, pitch = pose(detection)
    factors = {
        "small": _ramp(detection.width_px, WIDTH_PX),
        "blurred": _ramp(sharpness(face), SHARPNESS),
        "dark": min(_ramp(float(face.mean()), BRIGHTNESS), _ramp(float(face.std()), CONTRAST)),
        "extreme_pose": _ramp(-max(abs(yaw), abs(pitch)), POSE),
        "low_score": _ramp(detection.score, SCORE),
    }
    return Quality(min(factors.values()), tuple(name for name, factor in factors.items() if factor < least))


def sharpness(luma: NDArray[np.float32]) -> float:
    """Spread of the Laplacian against the spread of the picture itself, in percent: the same in light and in shade."""
    detail = cv2.Laplacian(luma, cv2.CV_32F, ksize=3)
    return 100 * float(np.std(detail)) / (float(np.std(luma)) * 4 + 1e-6)


def pose(detection: Detection) -> tuple[float, float]:
    """Yaw and pitch as the nose's way from where it lies in a frontal face, in units of the face's scale.

    The scale is the larger of the distance between the eyes and that from eyes to mouth, as a turned head shrinks one
    of the two. Positive yaw: turned to the right of the picture; positive pitch: turned down. Roll does not count, it
    is aligned away.
    """
    left_eye, right_eye, nose, left_mouth, right_mouth = detection.landmarks.astype(np.float64)
    eyes, mouth = (left_eye + right_eye) / 2, (left_mouth + right_mouth) / 2
    down = mouth - eyes
    across = right_eye - left_eye
    scale = max(float(np.hypot(*down)), float(np.hypot(*across)), 1e-6)
    # The frontal nose tip lies 0.5 of the way from eyes to mouth in the alignment template.
    offset = nose - (eyes + 0.5 * down)
    across_unit = across / max(float(np.hypot(*across)), 1e-6)
    down_unit = down / max(float(np.hypot(*down)), 1e-6)
    return 2 * float(offset @ across_unit) / scale, 2 * float(offset @ down_unit) / scale


def _ramp(value: float, points: tuple[float, float, float]) -> float:
    """0 at the first point, `USABLE` at the second, 1 at the third, straight lines between."""
    return float(np.interp(value, points, (0.0, USABLE, 1.0)))
