"""Crops that wait to be published: bounded, and at most one a track, its best."""

from __future__ import annotations

import threading
from collections.abc import Sequence

from lookout.clock import now_us
from lookout.messages import Crop
from lookout.metrics import CROPS_SHED

#: Crops of 50 kB: some 13 MB while Redis or the workers are away.
CAPACITY = 256


class Outbox:
    """Filled by the cameras' threads, emptied by the publisher."""

    def __init__(self, capacity: int = CAPACITY) -> None:
        self._capacity = capacity
        self._waiting: dict[str, Crop] = {}
        self._changed = threading.Condition()

    def put(self, crop: Crop) -> None:
        """Add a crop. Where one of its track waits already, the better one stays; where all is full, the worst goes."""
        with self._changed:
            waiting = self._waiting.get(crop.track_id)
            if waiting is not None and waiting.id != crop.id:
                CROPS_SHED.labels("superseded").inc()
                if waiting.quality > crop.quality:
                    return
            self._waiting[crop.track_id] = crop
            if len(self._waiting) > self._capacity:
                worst = min(self._waiting.values(), key=lambda one: one.quality)
                del self._waiting[worst.track_id]
                CROPS_SHED.labels("full").inc()
            self._changed.notify()

    def take(self, limit: int) -> list[Crop]:
        """Up to `limit` crops, oldest first; those past their deadline are shed."""
        with self._changed:
            now = now_us()
            for track, crop in list(self._waiting.items()):
                if crop.deadline_us <= now:
                    del self._waiting[track]
                    CROPS_SHED.labels("expired").inc()
            return [self._waiting.pop(track) for track in list(self._waiting)[:limit]]

    def give_back(self, crops: Sequence[Crop]) -> None:
        """Return crops that could not be published."""
        for crop in crops:
            self.put(crop)

    def wait(self, timeout_s: float) -> bool:
        """Wait until something is there; whether it is."""
        with self._changed:
            return self._changed.wait_for(lambda: bool(self._waiting), timeout_s)

    def __len__(self) -> int:
        return len(self._waiting)
