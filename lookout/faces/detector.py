"""Faces in a picture: YuNet on OpenVINO.

YuNet: W. Wu, H. Peng, S. Yu, "YuNet: A Tiny Millisecond-level Face Detector", Machine Intelligence Research 20, 2023.
It is anchor-free: every cell of three grids (strides 8, 16, 32) predicts a box and five points relative to itself.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from lookout.faces.geometry import Floats, non_maximum_suppression
from lookout.faces.runtime import InferRequest, compile_model

STRIDES = (8, 16, 32)
#: Recall by face width at this score: 10 px 0.93, 12 px 0.99, 16 px 0.996 (measured on group photos).
SCORE_THRESHOLD = 0.6
MAX_IOU = 0.3


@dataclass(frozen=True, slots=True, eq=False)
class Detection:
    """One face in one picture.

    Attributes:
        box_xyxy: `(4,)` float32 pixels.
        landmarks: `(5, 2)` float32 pixels: eye, eye, nose tip, mouth corner, mouth corner; left in the picture first.
        score: detector score in 0..1.
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


class YuNet:
    """Face detector. One object serves many threads, each with its own inference request."""

    def __init__(self, model: Path, *, threads: int = 1, device: str = "CPU") -> None:
        self._compiled = compile_model(model, threads=threads, device=device)
        self._local = threading.local()
        # One call here, before there are threads: OpenVINO's Python bindings set themselves up at their first use, and
        # when several threads came first at once they waited for one another for ever (seen in 3 of 54 starts).
        self.detect(np.zeros((32, 32, 3), np.uint8))

    def detect(self, bgr: NDArray[np.uint8], *, score_threshold: float = SCORE_THRESHOLD) -> list[Detection]:
        """Find faces in a BGR picture `(H, W, 3)` of 0..255, best score first.

        Faces from about 10 to 300 pixels wide are found; reduce larger pictures with `detect_scaled`.
        """
        height, width = bgr.shape[:2]
        if height == 0 or width == 0:
            return []
        padded_height, padded_width = (-(-side // 32) * 32 for side in (height, width))
        tensor = np.zeros((1, 3, padded_height, padded_width), np.float32)
        tensor[0, :, :height, :width] = bgr.transpose(2, 0, 1)
        request = self._request()
        request.infer([tensor], share_inputs=True)
        boxes, landmarks, scores = [], [], []
        for stride in STRIDES:
            cls, obj, box, points = (
                request.get_tensor(f"{name}_{stride}").data[0] for name in ("cls", "obj", "bbox", "kps")
            )
            score = np.sqrt(np.clip(cls[:, 0], 0, 1) * np.clip(obj[:, 0], 0, 1))
            cells = np.flatnonzero(score >= score_threshold)
            if not cells.size:
                continue
            row, column = np.divmod(cells, padded_width // stride)
            cell = np.stack([column, row], axis=1).astype(np.float32)
            centre = (cell + box[cells, :2]) * stride
            half = np.exp(box[cells, 2:]) * (stride / 2)
            boxes.append(np.concatenate([centre - half, centre + half], axis=1))
            landmarks.append((points[cells].reshape(-1, 5, 2) + cell[:, None]) * stride)
            scores.append(score[cells])
        if not boxes:
            return []
        all_boxes, all_landmarks, all_scores = (
            np.concatenate(boxes),
            np.concatenate(landmarks),
            np.concatenate(scores),
        )
        return [
            Detection(all_boxes[k], all_landmarks[k], float(all_scores[k]))
            for k in non_maximum_suppression(all_boxes, all_scores, MAX_IOU)
        ]

    def detect_scaled(self, bgr: NDArray[np.uint8], longest_side_px: int) -> list[Detection]:
        """Find faces on a copy whose longer side is at most `longest_side_px`; coordinates are those of `bgr`."""
        factor = longest_side_px / max(1, *bgr.shape[:2])
        if factor >= 1:
            return self.detect(bgr)
        if min(bgr.shape[:2]) * factor < 1:  # a line has no reduced copy, and no face
            return []
        reduced = cv2.resize(bgr, None, fx=factor, fy=factor, interpolation=cv2.INTER_AREA).astype(np.uint8, copy=False)
        return [detection.scaled(1 / factor) for detection in self.detect(reduced)]

    def _request(self) -> InferRequest:
        if not hasattr(self._local, "request"):
            self._local.request = self._compiled.create_infer_request()
        request: InferRequest = self._local.request
        return request
