"""Photos that can be references, and the cut-out face that pages show of each."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np
from numpy.typing import NDArray

from lookout.faces.gates import USUAL, Gates
from lookout.faces.photos import decode_photo, read_photo

if TYPE_CHECKING:
    from lookout.faces.detector import Detector
    from lookout.faces.embedder import Embedder
    from lookout.faces.enrolment import EnrolledFace

#: Side of the cut-out face, and how much wider it is than the face's box.
FACE_PX, FACE_MARGIN = 320, 1.7
PREVIEW_PX = 900
JPEG_QUALITY = 88


@dataclass(frozen=True, eq=False)
class Photo:
    """A photo that can be a reference.

    Attributes:
        name: what to call it in messages.
        data: its bytes as they came.
        face: the face in it.
        face_jpeg: the face cut out, a square JPEG.
    """

    name: str
    data: bytes
    face: EnrolledFace
    face_jpeg: bytes

    @cached_property
    def sha256(self) -> str:
        """Of its bytes."""
        return sha256_of(self.data)


def read_photos(
    paths: Sequence[Path],
    detector: Detector,
    embedder: Embedder,
    *,
    face: int | None = None,
    gates: Gates = USUAL,
) -> list[Photo]:
    """Read and judge photos, all before anything is stored.

    Args:
        paths: the files.
        detector: finds the faces.
        embedder: makes the templates.
        face: which of several faces, counted from 1 from left to right.
        gates: what a face must have.

    Raises:
        PhotoError: one of them cannot be a reference; the message says which and why.
    """
    from lookout.faces.enrolment import enrol_photo

    photos = []
    for path in paths:
        data = read_photo(path)
        bgr = decode_photo(data, path.name)
        found = enrol_photo(bgr, path.name, detector, embedder, face=face, gates=gates)
        photos.append(Photo(path.name, data, found, cut_face(bgr, found.detection.box_xyxy.tolist())))
    return photos


def sha256_of(data: bytes) -> str:
    """SHA-256 of a file's bytes, hexadecimal."""
    return hashlib.sha256(data).hexdigest()


def cut_face(bgr: NDArray[np.uint8], box_xyxy: Sequence[float]) -> bytes:
    """The face of a picture, BGR `(H, W, 3)`, as a square JPEG; what lies outside the picture repeats its edge."""
    x1, y1, x2, y2 = box_xyxy
    side = max(x2 - x1, y2 - y1, 1.0) * FACE_MARGIN
    factor = FACE_PX / side
    shift = np.array(
        [[factor, 0, FACE_PX / 2 - factor * (x1 + x2) / 2], [0, factor, FACE_PX / 2 - factor * (y1 + y2) / 2]]
    )
    # Reduced by areas first: sampling single points of a large photo would show noise.
    if factor < 0.5:
        bgr = cv2.resize(bgr, None, fx=2 * factor, fy=2 * factor, interpolation=cv2.INTER_AREA).astype(np.uint8)
        shift[:, :2] /= 2 * factor
    square = cv2.warpAffine(bgr, shift, (FACE_PX, FACE_PX), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return _jpeg(square.astype(np.uint8, copy=False))


def preview(bgr: NDArray[np.uint8]) -> bytes:
    """A picture as a JPEG of at most `PREVIEW_PX` pixels a side."""
    factor = PREVIEW_PX / max(bgr.shape[:2])
    if factor < 1:
        size = (max(1, round(bgr.shape[1] * factor)), max(1, round(bgr.shape[0] * factor)))
        bgr = cv2.resize(bgr, size, interpolation=cv2.INTER_AREA).astype(np.uint8)
    return _jpeg(bgr)


def _jpeg(bgr: NDArray[np.uint8]) -> bytes:
    _, encoded = cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])
    return encoded.tobytes()
