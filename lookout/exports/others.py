"""Whose faces are covered: all that are found, but that of the person who was searched for.

Where that face is, the sighting's crops tell, and they only for the moments they were taken at. From there it is
followed from frame to frame while nothing else could be it. Where there is any doubt (the face was lost, another one
came near), it is covered as well, until a crop tells again. Who is found too late or lost early is covered somewhat
before and after, so that no face flashes through.
"""

from __future__ import annotations

import bisect
import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from lookout.exports.footage import Source, frames
from lookout.exports.painting import Box, enlarged
from lookout.exports.work import Tick
from lookout.faces.geometry import iou_matrix

#: Faces are looked for on a copy of this width, in every frame.
WIDTH_PX = 640
#: Rather a lamp is covered than a face is not.
SCORE = 0.5
#: A face is covered so long before it is first found, and after it is last found.
HOLD_US = 500_000
#: A face that is not found for so long is another one, as far as anybody knows.
LOST_US = 200_000
SAME_IOU = 0.3
#: A crop's box and its face in the footage: the clocks of both agree by so much.
CROP_IOU = 0.4
CROP_US = 300_000


class Found(Protocol):
    """A face that a detector found."""

    @property
    def box_xyxy(self) -> NDArray[np.float32]:
        """Pixels of the picture it was given."""


class Detector(Protocol):
    """Finds faces in BGR pictures."""

    def detect(self, bgr: NDArray[np.uint8], *, score_threshold: float) -> Sequence[Found]:
        """All faces."""


@dataclass(frozen=True, slots=True)
class Crop:
    """Where the searched face was at a moment."""

    at_us: int
    box: Box


@dataclass(slots=True)
class _Piece:
    """One face through frames in which nothing else could be it: index of the frame -> box."""

    boxes: dict[int, Box]
    first: int
    last: int
    searched: bool = False


def faces_of_others(
    detector: Detector, sources: Sequence[Source], begin_us: int, end_us: int, crops: Sequence[Crop], tick: Tick
) -> list[list[Box]]:
    """The boxes to cover in each frame of a span, in pixels of the frame."""
    times: list[int] = []
    found: list[list[Box]] = []
    for at_us, frame in frames(sources, begin_us, end_us):
        scale = max(1.0, frame.width / WIDTH_PX)
        size = round(frame.width / scale), max(1, round(frame.height / scale))
        bgr = frame.to_ndarray(format="bgr24", width=size[0], height=size[1], interpolation="AREA")
        faces = detector.detect(bgr.astype(np.uint8, copy=False), score_threshold=SCORE)
        times.append(at_us)
        found.append([_scaled(face, scale) for face in faces])
        tick((at_us - begin_us) / max(1, end_us - begin_us))
    return boxes_to_cover(times, found, crops)


def boxes_to_cover(times: Sequence[int], found: Sequence[Sequence[Box]], crops: Sequence[Crop]) -> list[list[Box]]:
    """The boxes to cover in each frame.

    Args:
        times: of the frames, in order, microseconds.
        found: the faces found in each.
        crops: where the searched face was.
    """
    pieces = _pieces(times, found)
    for crop in crops:
        _mark(times, pieces, crop)
    others = [piece for piece in pieces if not piece.searched]
    seen: list[list[Box]] = [[] for _ in times]
    for piece in others:
        for index, box in piece.boxes.items():
            seen[index].append(box)
    covered = [list(boxes) for boxes in seen]
    for piece in others:
        _cover_holes(times, piece, covered)
        _hold(times, piece.first, piece.boxes[piece.first], -1, seen, covered)
        _hold(times, piece.last, piece.boxes[piece.last], 1, seen, covered)
    for before, after in _followers(times, others, seen):
        _cover_between(times, before, after, covered)
    return covered


def _pieces(times: Sequence[int], found: Sequence[Sequence[Box]]) -> list[_Piece]:
    pieces: list[_Piece] = []
    open_: list[_Piece] = []
    for index, boxes in enumerate(found):
        open_ = [piece for piece in open_ if times[index] - times[piece.last] <= LOST_US]
        overlaps = _overlaps([piece.boxes[piece.last] for piece in open_], boxes)
        touching = overlaps > 0
        near = _near(boxes)
        still_open: list[_Piece] = []
        taken: set[int] = set()
        for row, piece in enumerate(open_):
            columns = np.flatnonzero(touching[row])
            if not columns.size:
                still_open.append(piece)  # not found now
                continue
            column = int(columns[0])
            alone = columns.size == 1 and np.count_nonzero(touching[:, column]) == 1 and not near[column]
            if alone and overlaps[row, column] >= SAME_IOU:
                piece.boxes[index], piece.last = boxes[column], index
                taken.add(column)
                still_open.append(piece)
        new = [_Piece({index: box}, index, index) for column, box in enumerate(boxes) if column not in taken]
        pieces += new
        open_ = still_open + new
    return pieces


def _mark(times: Sequence[int], pieces: Sequence[_Piece], crop: Crop) -> None:
    """Say which piece shows the searched face, if only one can be it."""
    best: tuple[float, int, _Piece] | None = None
    frames_near: dict[int, list[tuple[float, _Piece]]] = {}
    for piece in pieces:
        for index, box in piece.boxes.items():
            if abs(times[index] - crop.at_us) <= CROP_US:
                overlap = float(_overlaps([crop.box], [box])[0, 0])
                frames_near.setdefault(index, []).append((overlap, piece))
                rank = (overlap, -abs(times[index] - crop.at_us))
                if overlap >= CROP_IOU and (best is None or rank > (best[0], -abs(times[best[1]] - crop.at_us))):
                    best = (overlap, index, piece)
    if best is not None and sum(overlap > 0 for overlap, _ in frames_near[best[1]]) == 1:
        best[2].searched = True


def _cover_holes(times: Sequence[int], piece: _Piece, covered: list[list[Box]]) -> None:
    """Cover a face in the frames in which it was not found for a moment."""
    for before, after in itertools.pairwise(sorted(piece.boxes)):
        for index in range(before + 1, after):
            covered[index].append(_between(times, index, before, after, piece.boxes[before], piece.boxes[after]))


def _hold(
    times: Sequence[int],
    end: int,
    box: Box,
    step: int,
    seen: Sequence[Sequence[Box]],
    covered: list[list[Box]],
) -> None:
    """Cover a face after its last frame, or before its first one, unless it is covered there as another piece."""
    index = end + step
    while 0 <= index < len(times) and abs(times[index] - times[end]) <= HOLD_US:
        if _is_at(seen, index, box):
            return
        covered[index].append(box)
        index += step


def _followers(
    times: Sequence[int], pieces: Sequence[_Piece], seen: Sequence[Sequence[Box]]
) -> list[tuple[_Piece, _Piece]]:
    """Pieces that may be one face that was lost for a while, and went on meanwhile."""
    pairs = []
    ended = [one for one in pieces if not _is_at(seen, one.last + 1, one.boxes[one.last])]
    begun = [one for one in pieces if not _is_at(seen, one.first - 1, one.boxes[one.first])]
    firsts = [piece.first for piece in begun]  # they are in that order
    for before in ended:
        for after in begun[bisect.bisect_right(firsts, before.last + 1) :]:
            if times[after.first] - times[before.last] > 2 * HOLD_US:
                break
            ends = [enlarged(before.boxes[before.last], 3)], [enlarged(after.boxes[after.first], 3)]
            if _overlaps(*ends)[0, 0] > 0:
                pairs.append((before, after))
    return pairs


def _is_at(seen: Sequence[Sequence[Box]], index: int, box: Box) -> bool:
    """Whether a face is covered in a frame about where a box is."""
    return 0 <= index < len(seen) and bool((_overlaps([box], seen[index]) >= SAME_IOU).any())


def _cover_between(times: Sequence[int], before: _Piece, after: _Piece, covered: list[list[Box]]) -> None:
    a, b = before.boxes[before.last], after.boxes[after.first]
    for index in range(before.last + 1, after.first):
        box = _between(times, index, before.last, after.first, a, b)
        covered[index].append(box)


def _between(times: Sequence[int], index: int, before: int, after: int, a: Box, b: Box) -> Box:
    share = (times[index] - times[before]) / max(1, times[after] - times[before])
    left, top, right, bottom = (one + (other - one) * share for one, other in zip(a, b, strict=True))
    return left, top, right, bottom


def _near(boxes: Sequence[Box]) -> list[bool]:
    """Which faces have another one beside them."""
    wide = [enlarged(box) for box in boxes]
    overlaps = _overlaps(wide, wide)
    return [bool(np.count_nonzero(row > 0) > 1) for row in overlaps]


def _overlaps(a: Sequence[Box], b: Sequence[Box]) -> NDArray[np.float32]:
    if not a or not b:
        return np.zeros((len(a), len(b)), np.float32)
    return iou_matrix(np.asarray(a, np.float32), np.asarray(b, np.float32))


def _scaled(face: Found, scale: float) -> Box:
    left, top, right, bottom = (float(side) * scale for side in face.box_xyxy)
    return left, top, right, bottom
