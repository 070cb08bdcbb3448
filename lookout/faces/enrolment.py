"""A photo to a reference: exactly one good face, or a refusal that says why and what would help."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lookout.errors import PhotoError
from lookout.faces.detector import Detection, YuNet
from lookout.faces.embedder import Embedder
from lookout.faces.geometry import Floats
from lookout.faces.quality import Quality, assess

#: Sizes of the detector's copies of a photo: the first shows small faces, the second a face that fills the picture. In
#: the first such a face is wider than the detector knows faces: it finds none, or a few poor ones in parts of it.
LONGEST_SIDES_PX = (1280, 400)
#: Below it the true accept rate at a false accept rate of 1e-4 falls under 0.92; a reference meets every passer-by.
MIN_WIDTH_PX = 40

REMEDIES = {
    "small": f"the face must be at least {MIN_WIDTH_PX} pixels wide: use a larger photo, or one taken closer",
    "blurred": "use a sharper photo",
    "dark": "use a photo with more light on the face",
    "extreme_pose": "use a photo where the person looks towards the camera",
    "low_score": "use a photo where the face is clearly and wholly seen",
}


@dataclass(frozen=True, slots=True, eq=False)
class EnrolledFace:
    """One face of a photo, fit to be a reference.

    Attributes:
        detection: where it is, in pixels of the decoded photo.
        quality: its quality.
        template: `(D,)` float32 of length 1.
    """

    detection: Detection
    quality: Quality
    template: Floats


def enrol_photo(
    bgr: NDArray[np.uint8], name: str, detector: YuNet, embedder: Embedder, *, face: int | None = None
) -> EnrolledFace:
    """Turn a decoded photo, BGR `(H, W, 3)`, into a reference.

    Args:
        bgr: the photo.
        name: what to call it in messages.
        detector: finds the faces.
        embedder: makes the template.
        face: which of several faces, counted from 1 from left to right.

    Raises:
        PhotoError: no face, several and none chosen, or one that is not good enough.
    """
    detections = _find(bgr, detector)
    if not detections:
        raise PhotoError(
            f"{name}: no face found. Use a photo where the face is clearly seen from the front.",
            reasons=["no_face"],
        )
    if face is None and len(detections) > 1:
        places = "; ".join(f"{n}: {_place(found)}" for n, found in enumerate(detections, 1))
        raise PhotoError(
            f"{name}: {len(detections)} faces found ({places}). Choose one with --face 1…{len(detections)}, "
            "counted from the left.",
            reasons=["several_faces"],
        )
    if face is not None and not 1 <= face <= len(detections):
        raise PhotoError(
            f"{name}: there is no face {face}; {len(detections)} found, counted from the left.",
            reasons=["no_face"],
        )
    chosen = detections[(face or 1) - 1]
    quality = assess(bgr, chosen)
    reasons = quality.reasons
    if chosen.width_px < MIN_WIDTH_PX and "small" not in reasons:
        reasons = ("small", *reasons)
    if reasons:
        advice = "; ".join(REMEDIES[reason] for reason in reasons)
        raise PhotoError(
            f"{name}: the face ({chosen.width_px:.0f} pixels wide) is not good enough "
            f"({', '.join(reasons)}): {advice}.",
            reasons=reasons,
        )
    template = embedder.embed([embedder.align(bgr, chosen.landmarks)])[0]
    return EnrolledFace(chosen, quality, template)


def _find(bgr: NDArray[np.uint8], detector: YuNet) -> list[Detection]:
    """Faces from left to right, without those below a fifth of the widest: passers-by in a portrait's background."""
    found: list[Detection] = []
    seen = (face for side in LONGEST_SIDES_PX for face in detector.detect_scaled(bgr, side))
    for face in sorted(seen, key=lambda face: -face.score):
        # The same face at the other size, or a part of it taken for a face.
        if not any(_centre_within(face, better) for better in found):
            found.append(face)
    widest = max((face.width_px for face in found), default=0.0)
    return sorted((face for face in found if face.width_px >= widest / 5), key=lambda face: float(face.box_xyxy[0]))


def _centre_within(face: Detection, other: Detection) -> bool:
    x, y = (face.box_xyxy[:2] + face.box_xyxy[2:]) / 2
    x1, y1, x2, y2 = other.box_xyxy
    return bool(x1 <= x <= x2 and y1 <= y <= y2)


def _place(detection: Detection) -> str:
    x1, y1, x2, y2 = (round(float(v)) for v in detection.box_xyxy)
    return f"{x2 - x1}×{y2 - y1} pixels at {x1},{y1}"
