"""Crops that wait to be published: bounded, and at most one a track, its best; and the frames they were cut from."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field

from lookout.clock import now_us
from lookout.messages import Crop
from lookout.metrics import CROPS_SHED, SNAPSHOTS_SHED

#: Crops of 50 kB: some 13 MB while Redis or the workers are away.
CAPACITY = 256
#: Frames of 80 kB: some 5 MB. A crop without its frame still makes an alert, so frames go first.
FRAMES = 64


@dataclass(frozen=True, slots=True)
class Batch:
    """What is published together.

    Attributes:
        crops: oldest first.
        frames: JPEG of the frames that they name, by id, as far as there was room for them.
    """

    crops: list[Crop] = field(default_factory=list)
    frames: dict[str, bytes] = field(default_factory=dict)


class Outbox:
    """Filled by the cameras' threads, emptied by the publisher."""

    def __init__(self, capacity: int = CAPACITY, frames: int = FRAMES) -> None:
        self._capacity = capacity
        self._max_frames = frames
        self._waiting: dict[str, Crop] = {}
        self._frames: dict[str, bytes] = {}
        self._changed = threading.Condition()

    def put(self, crop: Crop, frame_jpeg: bytes = b"") -> None:
        """Add a crop. Where one of its track waits already, the better one stays; where all is full, the worst goes."""
        with self._changed:
            waiting = self._waiting.get(crop.track_id)
            if waiting is not None and waiting.id != crop.id:
                CROPS_SHED.labels("superseded").inc()
                if waiting.quality > crop.quality:
                    return
            self._waiting[crop.track_id] = crop
            if crop.frame_id and frame_jpeg:
                self._frames[crop.frame_id] = frame_jpeg
            if len(self._waiting) > self._capacity:
                worst = min(self._waiting.values(), key=lambda one: one.quality)
                del self._waiting[worst.track_id]
                CROPS_SHED.labels("full").inc()
            self._drop_frames()
            self._changed.notify()

    def take(self, limit: int) -> Batch:
        """Up to `limit` crops, oldest first; those past their deadline are shed."""
        with self._changed:
            now = now_us()
            for track, crop in list(self._waiting.items()):
                if crop.deadline_us <= now:
                    del self._waiting[track]
                    CROPS_SHED.labels("expired").inc()
            crops = [self._waiting.pop(track) for track in list(self._waiting)[:limit]]
            # A frame that others name as well goes with the first: it is in Redis then.
            frames = {crop.frame_id: self._frames.pop(crop.frame_id) for crop in crops if crop.frame_id in self._frames}
            self._drop_frames()
            return Batch(crops, frames)

    def give_back(self, batch: Batch) -> None:
        """Return what could not be published."""
        for crop in batch.crops:
            self.put(crop, batch.frames.get(crop.frame_id, b""))

    def wait(self, timeout_s: float) -> bool:
        """Wait until something is there; whether it is."""
        with self._changed:
            return self._changed.wait_for(lambda: bool(self._waiting), timeout_s)

    def __len__(self) -> int:
        return len(self._waiting)

    def _drop_frames(self) -> None:
        """Drop the frames that no crop names any more, and the oldest of too many."""
        named = {crop.frame_id for crop in self._waiting.values()}
        self._frames = {name: jpeg for name, jpeg in self._frames.items() if name in named}
        while len(self._frames) > self._max_frames:
            del self._frames[next(iter(self._frames))]
            SNAPSHOTS_SHED.labels("full").inc()
