"""YuNet on OpenVINO, the default detector.

W. Wu, H. Peng, S. Yu, "YuNet: A Tiny Millisecond-level Face Detector", Machine Intelligence Research 20, 2023.
It is anchor-free: every cell of three grids (strides 8, 16, 32) predicts a box and five points relative to itself.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lookout.faces.detector import SCORE_THRESHOLD, Detection, Detector
from lookout.faces.geometry import non_maximum_suppression
from lookout.faces.runtime import Requests, compile_model

STRIDES = (8, 16, 32)
MAX_IOU = 0.3


class YuNet(Detector):
    """Face detector. One object serves many threads, each with its own inference request.

    Recall by face width at a score of 0.6: 10 px 0.93, 12 px 0.99, 16 px 0.996 (measured on group photos).
    """

    def __init__(self, model: Path, *, threads: int = 1, device: str = "CPU") -> None:
        self._requests = Requests(compile_model(model, threads=threads, device=device))
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
        request = self._requests.mine()
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
