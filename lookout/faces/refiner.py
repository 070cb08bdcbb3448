"""Landmarks looked at a second time.

YuNet finds a face's points on a reduced picture and in one pass over all of it; O-Net, the last of MTCNN's networks,
looks at the face alone. Each errs in its own way, and the mean of both errs less: of everything that was tried to make
templates better this brought the most for its millisecond a face (docs/accuracy.md).
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lookout.faces.alignment import TEMPLATES
from lookout.faces.geometry import Floats, similarity_transform
from lookout.faces.mtcnn import cut_squares, infer, squares_around
from lookout.faces.runtime import Requests, compile_model

#: The square that O-Net expects around a face, in the frame of `arcface112`: its middle and its side. Medians of
#: YuNet's boxes of 3,101 faces.
MIDDLE, SIDE = (55.0, 66.3), 105.8
#: Below it O-Net sees no face: faces of LFW have 0.92 and more, all but one in a thousand.
LEAST_SCORE = 0.5
_INPUT_PX = 48


class LandmarkRefiner:
    """Takes a detector's landmarks halfway to where O-Net sees them. Any thread may call it.

    Args:
        model: MTCNN's networks, see `lookout.faces.convert.mtcnn`.
        threads: how many a call may use.
        device: OpenVINO's name of it.
    """

    def __init__(self, model: Path, *, threads: int = 1, device: str = "CPU") -> None:
        self._onet = Requests(compile_model(model, network="onet", threads=threads, device=device))
        # Before there are threads, as YuNet does it and why.
        self.refine(np.zeros((64, 64, 3), np.uint8), TEMPLATES["arcface112"][1])

    def refine(self, bgr: NDArray[np.uint8], landmarks: Floats) -> Floats:
        """The landmarks `(5, 2)` of one face of a BGR picture `(H, W, 3)`; as they came where O-Net sees no face."""
        square = squares_around(face_square(landmarks)[None], bgr)
        if not len(square):
            return landmarks
        found = infer(self._onet, "onet", cut_squares(bgr, square, _INPUT_PX))
        if found["score"][0, 1] < LEAST_SCORE:
            return landmarks
        left_top, side = square[0, :2], square[0, 2:] - square[0, :2]
        seen = found["landmarks"][0].reshape(2, 5).T * side + left_top
        return np.asarray((landmarks + seen) / 2, np.float32)


def face_square(landmarks: Floats) -> Floats:
    """The upright square `(4,)` around a face that its landmarks tell of, in their pixels."""
    matrix = similarity_transform(landmarks, TEMPLATES["arcface112"][1])
    turn, shift = matrix[:, :2], matrix[:, 2]
    middle = np.linalg.solve(turn, np.array(MIDDLE) - shift)
    half = SIDE / 2 / float(np.hypot(turn[0, 0], turn[1, 0]))
    return np.concatenate([middle - half, middle + half]).astype(np.float32)
