"""Follows faces from frame to frame.

Boxes are predicted at constant speed and assigned to detections at the least total cost, by overlap of boxes that are
enlarged for the matching: at five frames a second a walking person's face may have left its own box. After F. Yang et
al., "Hard to Track Objects with Irregular Motions and Similar Appearances? Make It Easier by Buffering the Matching
Space", WACV 2023. Kept libraries of trackers bring deep-learning frameworks or plotting along; the assignment itself,
the part worth a library, is SciPy's.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from scipy.optimize import linear_sum_assignment

from lookout.faces.detector import Detection
from lookout.faces.geometry import Floats, iou_matrix

#: Boxes are enlarged by this share of their size on each side for the matching.
BUFFER = 0.5
#: Overlap of enlarged boxes below which two are not the same face.
MIN_IOU = 0.2
#: A face unseen for this long has left.
MAX_GAP_US = 1_500_000
#: Share of the newest step in the speed.
SPEED_RENEWAL = 0.5


@dataclass(slots=True, eq=False)
class Track:
    """One face followed through a camera's frames.

    Attributes:
        number: counted up per camera.
        started_at_us, seen_at_us: capture times of its first and last detection.
        detection: the last one.
        detections: how many there were.
    """

    number: int
    started_at_us: int
    seen_at_us: int
    detection: Detection
    detections: int = 1
    _speed: Floats = field(default_factory=lambda: np.zeros(2, np.float32))  # pixels per second

    def predicted(self, at_us: int) -> Floats:
        """Its box `(4,)` at a later time, at its last speed."""
        shift = self._speed * np.float32((at_us - self.seen_at_us) / 1e6)
        return self.detection.box_xyxy + np.tile(shift, 2)

    def update(self, detection: Detection, at_us: int) -> None:
        """It was found again."""
        elapsed_s = (at_us - self.seen_at_us) / 1e6
        if elapsed_s > 0:
            step = (_centre(detection.box_xyxy) - _centre(self.detection.box_xyxy)) / np.float32(elapsed_s)
            self._speed = (1 - SPEED_RENEWAL) * self._speed + SPEED_RENEWAL * step
        self.detection, self.seen_at_us = detection, at_us
        self.detections += 1


class Tracker:
    """The tracks of one camera."""

    def __init__(self) -> None:
        self.tracks: list[Track] = []
        self._count = 0

    def update(self, detections: Sequence[Detection], at_us: int) -> tuple[list[Track], list[Track]]:
        """Take the detections of the next searched frame.

        Returns:
            The track of each detection, in their order, and the tracks that have ended.
        """
        ended = [track for track in self.tracks if at_us - track.seen_at_us > MAX_GAP_US]
        self.tracks = [track for track in self.tracks if at_us - track.seen_at_us <= MAX_GAP_US]
        matched: dict[int, Track] = {}
        if self.tracks and detections:
            predicted = np.stack([_buffered(track.predicted(at_us)) for track in self.tracks])
            found = np.stack([_buffered(detection.box_xyxy) for detection in detections])
            overlap = iou_matrix(predicted, found)
            for row, column in zip(*linear_sum_assignment(-overlap), strict=True):
                if overlap[row, column] >= MIN_IOU:
                    matched[int(column)] = self.tracks[row]
        current = []
        for index, detection in enumerate(detections):
            track = matched.get(index)
            if track is None:
                self._count += 1
                track = Track(self._count, at_us, at_us, detection)
                self.tracks.append(track)
            else:
                track.update(detection, at_us)
            current.append(track)
        return current, ended

    def end_all(self) -> list[Track]:
        """End every track: the stream broke, or ingest stops."""
        ended, self.tracks = self.tracks, []
        return ended


def _centre(box_xyxy: Floats) -> Floats:
    return (box_xyxy[:2] + box_xyxy[2:]) * np.float32(0.5)


def _buffered(box_xyxy: Floats) -> Floats:
    size = box_xyxy[2:] - box_xyxy[:2]
    return np.concatenate([box_xyxy[:2] - BUFFER * size, box_xyxy[2:] + BUFFER * size]).astype(np.float32)
