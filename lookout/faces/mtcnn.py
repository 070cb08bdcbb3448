"""MTCNN on OpenVINO: three networks, each looking closer at what the one before proposes.

K. Zhang, Z. Zhang, Z. Li, Y. Qiao, "Joint Face Detection and Alignment Using Multitask Cascaded Convolutional
Networks", IEEE Signal Processing Letters 23(10), 2016. Thresholds and the order of the steps are those of the
authors' code.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from lookout.faces.detector import SCORE_THRESHOLD, Detection, Detector
from lookout.faces.geometry import Floats, areas
from lookout.faces.runtime import Requests, compile_model

#: Each picture of the pyramid is this much smaller than the one before, so that each face is about 12 pixels wide once.
PYRAMID_STEP = 0.709
#: P-Net looks at squares of 12 pixels in steps of 2.
CELL_PX, STRIDE_PX = 12, 2
#: What the pyramid's largest picture may have on a side: one of 6,000 x 6,000 px then takes 720 MB (YuNet: 1.9 GB).
MAX_SIDE_PX = 2000
PROPOSE_SCORE, REFINE_SCORE = 0.6, 0.7
#: What one picture of the pyramid may repeat, and what all that goes on may.
CELL_IOU, MAX_IOU = 0.5, 0.7
#: O-Net's own score, which is nearly 1 for every face, and the score that we give (see `Detection.score`). Of 255 faces
#: of LFW, reduced to widths of 24 to 110 px, 99 % had 0.997 and more, at every width; a sudoku reached 0.993, a baboon
#: 0.58. The authors' threshold of 0.8 becomes ours.
OWN_SCORE, SCORE = (0.0, 0.8, 0.995, 0.998, 1.0), (0.0, SCORE_THRESHOLD, 0.8, 0.92, 1.0)
#: Best proposals that are looked at: a photo of 130 faces has 2,800, one of 25 has 1,300.
MAX_PROPOSALS = 5000
#: Crops of one inference call.
BATCH = 64


class MTCNN(Detector):
    """Face detector. One object serves many threads, each with its own inference requests.

    Args:
        model: the three networks in one file, see `lookout.faces.convert.mtcnn`.
        min_face_px: side of the least square around a face that is looked at: with 20 px, faces of a width of 12 px and
            more are found. Half of it makes the pyramid's largest picture four times as large, which is where most of
            the time goes.
        threads: how many a call may use.
        device: OpenVINO's name of it.
    """

    def __init__(self, model: Path, *, min_face_px: float = 20.0, threads: int = 1, device: str = "CPU") -> None:
        self._pnet, self._rnet, self._onet = (
            Requests(compile_model(model, network=name, threads=threads, device=device))
            for name in ("pnet", "rnet", "onet")
        )
        self._min_face_px = min_face_px
        # Before there are threads, as YuNet does it and why.
        self.detect(np.zeros((32, 32, 3), np.uint8))

    def detect(self, bgr: NDArray[np.uint8], *, score_threshold: float = SCORE_THRESHOLD) -> list[Detection]:
        """Find faces in a BGR picture `(H, W, 3)` of 0..255, best score first.

        Faces from about 0.6 `min_face_px` wide up to the whole picture are found. In pictures larger than 3,300 px
        (`MAX_SIDE_PX` and `min_face_px`) smaller ones are not looked for.
        """
        squares = self._refined(bgr, self._proposed(bgr))
        if not len(squares):
            return []
        found = infer(self._onet, "onet", cut_squares(bgr, squares, 48))
        scores = np.interp(found["score"][:, 1], OWN_SCORE, SCORE).astype(np.float32)
        sure = np.flatnonzero(scores >= score_threshold)
        boxes, scores = _moved(squares[sure], found["box"][sure]), scores[sure]
        sides = squares[sure, 2:] - squares[sure, :2]
        points = found["landmarks"][sure].reshape(-1, 2, 5).transpose(0, 2, 1)
        landmarks = points * sides[:, None] + squares[sure, None, :2]
        return [Detection(boxes[k], landmarks[k], float(scores[k])) for k in _apart(boxes, scores)]

    def _proposed(self, bgr: NDArray[np.uint8]) -> Floats:
        """Squares `(N, 4)` that P-Net takes for faces, best first."""
        proposals = [(np.zeros((0, 4), np.float32), np.zeros((0, 4), np.float32), np.zeros(0, np.float32))]
        for reduced in _pyramid(bgr, self._min_face_px):
            found = infer(self._pnet, "pnet", _tensor(reduced[None]))
            score = found["score"][0, ..., 1]
            row, column = np.nonzero(score >= PROPOSE_SCORE)
            left_top = np.stack([column, row], axis=1).astype(np.float32) * STRIDE_PX
            factor = np.array(bgr.shape[1::-1], np.float32) / np.array(reduced.shape[1::-1], np.float32)
            boxes = np.concatenate([left_top, left_top + CELL_PX], axis=1) * np.tile(factor, 2)
            keep = _distinct(boxes, score[row, column], CELL_IOU)
            proposals.append((boxes[keep], found["box"][0, row[keep], column[keep]], score[row, column][keep]))
        boxes, offsets, scores = (np.concatenate(parts) for parts in zip(*proposals, strict=True))
        best = _distinct(boxes, scores, MAX_IOU)[:MAX_PROPOSALS]
        return squares_around(_moved(boxes[best], offsets[best]), bgr)

    def _refined(self, bgr: NDArray[np.uint8], squares: Floats) -> Floats:
        """The squares that R-Net takes for faces, moved to where it sees them."""
        if not len(squares):
            return squares
        found = infer(self._rnet, "rnet", cut_squares(bgr, squares, 24))
        scores = found["score"][:, 1]
        sure = np.flatnonzero(scores >= REFINE_SCORE)
        keep = sure[_distinct(squares[sure], scores[sure], MAX_IOU)]
        return squares_around(_moved(squares[keep], found["box"][keep]), bgr)


def _pyramid(bgr: NDArray[np.uint8], min_face_px: float) -> Iterator[NDArray[np.uint8]]:
    """The picture reduced again and again: faces of that width are as wide as a cell in the first, others later."""
    height, width = bgr.shape[:2]
    factor = min(CELL_PX / min_face_px, MAX_SIDE_PX / max(1, height, width))
    source = bgr
    while min(height, width) * factor >= CELL_PX:
        size = (math.ceil(width * factor), math.ceil(height * factor))
        # Not from the picture itself, which takes as long as P-Net, nor from the one before, which blurs large faces.
        while source.shape[0] >= 2 * size[1] and source.shape[1] >= 2 * size[0]:
            source = _resized(source, (source.shape[1] // 2, source.shape[0] // 2))
        yield _resized(source, size)
        factor *= PYRAMID_STEP


def _resized(bgr: NDArray[np.uint8], size: tuple[int, int]) -> NDArray[np.uint8]:
    return cv2.resize(bgr, size, interpolation=cv2.INTER_AREA).astype(np.uint8, copy=False)


def _tensor(bgr: NDArray[np.uint8]) -> Floats:
    """Pictures `(N, H, W, 3)` as the networks take them."""
    return (bgr[..., ::-1].astype(np.float32) - np.float32(127.5)) * np.float32(1 / 128)


def infer(requests: Requests, network: str, tensor: Floats) -> dict[str, Floats]:
    """A network's outputs by name, `(N, …)`, for any number of pictures."""
    request = requests.mine()
    outputs = [port.get_any_name() for port in request.model_outputs]
    batches: list[list[Floats]] = []
    for start in range(0, len(tensor), BATCH):
        request.infer([tensor[start : start + BATCH]], share_inputs=True)
        batches.append([np.array(request.get_tensor(name).data) for name in outputs])
    joined = (np.concatenate(parts) for parts in zip(*batches, strict=True))
    return {name.removeprefix(f"{network}_"): output for name, output in zip(outputs, joined, strict=True)}


def cut_squares(bgr: NDArray[np.uint8], squares: Floats, side: int) -> Floats:
    """What lies in squares of whole pixels, black outside the picture, as a tensor `(N, side, side, 3)`."""
    height, width = bgr.shape[:2]
    crops = np.zeros((len(squares), side, side, 3), np.uint8)
    for crop, (x1, y1, x2, y2) in zip(crops, squares.astype(int).tolist(), strict=True):
        inside = bgr[max(0, y1) : y2, max(0, x1) : x2]
        outside = (max(0, -y1), max(0, y2 - height), max(0, -x1), max(0, x2 - width))
        if any(outside):
            inside = cv2.copyMakeBorder(inside, *outside, cv2.BORDER_CONSTANT).astype(np.uint8, copy=False)
        step = max(1, len(inside) // (4 * side))  # of large ones every second pixel and so on: four a pixel are enough
        cv2.resize(inside[::step, ::step], (side, side), dst=crop, interpolation=cv2.INTER_AREA)
    return _tensor(crops)


def _distinct(boxes: Floats, scores: Floats, max_iou: float) -> NDArray[np.intp]:
    """Non-maximum suppression, best score first; OpenCV's, as a picture has thousands of proposals."""
    xywh = np.concatenate([boxes[:, :2], boxes[:, 2:] - boxes[:, :2]], axis=1)
    # OpenCV's stubs know lists of numbers only.
    kept = cv2.dnn.NMSBoxes(xywh.astype(np.float64), scores, 0.0, max_iou)  # type: ignore[arg-type]
    return np.asarray(kept, np.intp)


def _apart(boxes: Floats, scores: Floats) -> list[int]:
    """Indices of the faces to keep, best score first: none lies for the most part inside a better one, or around it."""
    kept: list[int] = []
    for k in np.argsort(-scores, kind="stable"):
        sides = np.minimum(boxes[k, 2:], boxes[kept, 2:]) - np.maximum(boxes[k, :2], boxes[kept, :2])
        smaller = np.minimum(areas(boxes[k][None]), areas(boxes[kept]))
        if (np.clip(sides, 0, None).prod(axis=1) <= MAX_IOU * smaller).all():
            kept.append(int(k))
    return kept


def _moved(boxes: Floats, offsets: Floats) -> Floats:
    """Boxes `(N, 4)` whose sides are moved by shares of their width and height."""
    moved: Floats = boxes + offsets * np.tile(boxes[:, 2:] - boxes[:, :2], 2)
    return moved


def squares_around(boxes: Floats, bgr: NDArray[np.uint8]) -> Floats:
    """Squares of whole pixels around the middles of boxes, as wide as their longer sides; none outside the picture."""
    middle = (boxes[:, :2] + boxes[:, 2:]) / 2
    half = (boxes[:, 2:] - boxes[:, :2]).max(axis=1, initial=1, keepdims=True) / 2
    left_top = np.rint(middle - half)
    squares: Floats = np.concatenate([left_top, left_top + np.rint(2 * half)], axis=1).astype(np.float32)
    inside = np.minimum(squares[:, 2:], bgr.shape[1::-1]) > np.maximum(squares[:, :2], 0)
    return squares[inside.all(axis=1)]
