"""Faces turned upright and cut to what an embedder expects."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from lookout.faces.geometry import Floats, similarity_transform

#: Where the five landmarks shall come to lie, in pixels of a square of the given side. `arcface112` is the reference
#: of InsightFace's ArcFace; `dlib150` are the same points in dlib's 150-pixel face chips (measured).
TEMPLATES: dict[str, tuple[int, Floats]] = {
    "arcface112": (
        112,
        np.array(
            [
                [38.2946, 51.6963],
                [73.5318, 51.5014],
                [56.0252, 71.7366],
                [41.5493, 92.3655],
                [70.7299, 92.2041],
            ],
            np.float32,
        ),
    ),
    "dlib150": (
        150,
        np.array(
            [[46.384, 45.285], [102.616, 45.285], [74.5, 77.43], [50.419, 101.853], [98.581, 101.853]],
            np.float32,
        ),
    ),
}


def align(pixels: NDArray[np.uint8], landmarks: Floats, template: str = "arcface112") -> NDArray[np.uint8]:
    """Cut a face out so that its landmarks lie on the template's points.

    Args:
        pixels: picture `(H, W, 3)` or `(H, W)`, any colour order; it is kept.
        landmarks: `(5, 2)` pixels of `pixels`.
        template: a key of `TEMPLATES`.

    Returns:
        `(S, S, 3)` or `(S, S)` uint8; what lies outside the picture is black.
    """
    side, points = TEMPLATES[template]
    matrix = similarity_transform(landmarks, points)
    return cv2.warpAffine(pixels, matrix, (side, side), flags=cv2.INTER_LINEAR).astype(np.uint8, copy=False)
