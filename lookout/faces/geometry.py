"""Pure geometry of boxes and landmarks. Boxes are `xyxy` in pixels, points are `(x, y)` in pixels."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]


def iou_matrix(a_xyxy: Floats, b_xyxy: Floats) -> Floats:
    """Intersection over union of every box of `a` `(N, 4)` with every box of `b` `(M, 4)`: `(N, M)` in 0..1."""
    top_left = np.maximum(a_xyxy[:, None, :2], b_xyxy[None, :, :2])
    bottom_right = np.minimum(a_xyxy[:, None, 2:], b_xyxy[None, :, 2:])
    intersection = np.prod(np.clip(bottom_right - top_left, 0, None), axis=2)
    union = areas(a_xyxy)[:, None] + areas(b_xyxy)[None, :] - intersection
    overlap: Floats = np.divide(intersection, union, out=np.zeros_like(intersection), where=union > 0)
    return overlap


def areas(boxes_xyxy: Floats) -> Floats:
    """Areas of boxes `(N, 4)`: `(N,)`; a box turned inside out has none."""
    sides: Floats = np.clip(boxes_xyxy[:, 2:] - boxes_xyxy[:, :2], 0, None)
    return sides[:, 0] * sides[:, 1]


def non_maximum_suppression(boxes_xyxy: Floats, scores: Floats, max_iou: float) -> list[int]:
    """Indices of the boxes to keep, best score first: each overlaps no better kept one by more than `max_iou`."""
    order = np.argsort(-scores, kind="stable")
    keep: list[int] = []
    while order.size:
        best, rest = order[0], order[1:]
        keep.append(int(best))
        order = rest[iou_matrix(boxes_xyxy[best][None], boxes_xyxy[rest])[0] <= max_iou]
    return keep


def similarity_transform(source: Floats, destination: Floats) -> NDArray[np.float64]:
    """The rotation, uniform scale and shift that takes `source` nearest to `destination`, both `(N, 2)`.

    Least squares after S. Umeyama, "Least-squares estimation of transformation parameters between two point
    patterns", IEEE TPAMI 13(4), 1991, equations 38 to 42.

    Returns:
        `(2, 3)` matrix for `cv2.warpAffine`.

    Raises:
        ValueError: all source points are one point, so no scale exists.
    """
    source64, destination64 = source.astype(np.float64), destination.astype(np.float64)
    source_mean, destination_mean = source64.mean(axis=0), destination64.mean(axis=0)
    source_centred, destination_centred = source64 - source_mean, destination64 - destination_mean
    variance = source_centred.var(axis=0).sum()
    if variance == 0:
        raise ValueError("all source points coincide")
    u, singular, vt = np.linalg.svd(destination_centred.T @ source_centred / len(source64))
    sign = np.ones(2)
    if np.linalg.det(u) * np.linalg.det(vt) < 0:  # a reflection is no pose of a face
        sign[-1] = -1
    rotation = u @ np.diag(sign) @ vt
    scale = (singular * sign).sum() / variance
    shift = destination_mean - scale * rotation @ source_mean
    return np.column_stack([scale * rotation, shift])


def expand_box(box_xyxy: Floats, factor: float, width: int, height: int) -> tuple[int, int, int, int]:
    """The box as a square `factor` times its longer side around its centre, cut to the picture, in whole pixels.

    It has at least one pixel, whatever the box.
    """
    x1, y1, x2, y2 = (float(v) for v in box_xyxy)
    half = max(x2 - x1, y2 - y1) * factor / 2
    centre_x, centre_y = (x1 + x2) / 2, (y1 + y2) / 2
    left = int(np.clip(np.floor(centre_x - half), 0, width - 1))
    top = int(np.clip(np.floor(centre_y - half), 0, height - 1))
    right = int(np.clip(np.ceil(centre_x + half), left + 1, width))
    bottom = int(np.clip(np.ceil(centre_y + half), top + 1, height))
    return left, top, right, bottom
