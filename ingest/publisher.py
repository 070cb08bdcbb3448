"""Crops to Redis, and one Celery message per micro-batch that names them."""

from __future__ import annotations

import logging
import threading
import time

from celery import Celery
from kombu.exceptions import OperationalError
from redis import Redis
from redis.exceptions import RedisError

from ingest.outbox import Batch, Outbox
from lookout.errors import UnavailableError
from lookout.metrics import CROPS_PUBLISHED, SNAPSHOTS_SHED
from lookout.queue import CROPS, EMBED_CROPS, backlog
from lookout.sealing import Keyring
from lookout.stores.crops import Crops

log = logging.getLogger(__name__)

BATCH_SIZE = 16
#: How long a crop may wait for others to share its message.
BATCH_WAIT_S = 0.05
#: How often the queue's depth is asked for.
BACKLOG_EVERY_S = 0.5
RETRY_S = 0.5
_AWAY = (UnavailableError, RedisError, OperationalError, OSError)


class Publisher:
    """One thread of an ingest process."""

    def __init__(self, outbox: Outbox, redis: Redis, keyring: Keyring, app: Celery, *, queue_limit: int) -> None:
        self._outbox = outbox
        self._redis = redis
        self._crops = Crops(redis, keyring)
        self._app = app
        self._queue_limit = queue_limit
        self._backlog = 0
        self._backlog_read_at = 0.0
        self._available = True

    def run(self, stop: threading.Event) -> None:
        """Publish until told to stop; what waits then is still published by `drain`."""
        while not stop.is_set():
            if not self._outbox.wait(timeout_s=0.5):
                continue
            stop.wait(BATCH_WAIT_S)
            if not self.publish_once():
                stop.wait(RETRY_S)

    def drain(self, timeout_s: float) -> int:
        """Publish what waits; returns how many crops could not be."""
        deadline = time.monotonic() + timeout_s
        while len(self._outbox) and time.monotonic() < deadline:
            if not self.publish_once():
                time.sleep(RETRY_S / 5)
        return len(self._outbox)

    def publish_once(self) -> bool:
        """Publish one batch; False if workers lag or Redis is away, so that the crops wait in the outbox."""
        batch = Batch()
        try:
            if self._queue_is_full():
                return False
            batch = self._outbox.take(BATCH_SIZE)
            if batch.crops:
                framed = self._put_frames(batch)
                self._crops.put(batch.crops)
                self._app.send_task(EMBED_CROPS, args=[[crop.id for crop in batch.crops]], retry=False)
                if not framed:
                    SNAPSHOTS_SHED.labels("refused").inc()
        except Exception as error:
            # Whatever it is: this thread lives on, and the crops wait until their deadline.
            self._outbox.give_back(batch)
            if self._available:
                log.warning("crops wait: %s", error, exc_info=not isinstance(error, _AWAY))
            self._available = False
            return False
        if not self._available:
            log.info("crops go again")
        self._available = True
        for crop in batch.crops:
            CROPS_PUBLISHED.labels(crop.camera_id).inc()
        return True

    def _put_frames(self, batch: Batch) -> bool:
        """Frames before their crops, so that who gets a crop finds its frame; False if Redis has no room for them.

        If all of Redis is away, the crops are refused next, and come back with their frames.
        """
        deadlines = {crop.frame_id: crop.deadline_us for crop in batch.crops}
        try:
            for name, jpeg in batch.frames.items():
                self._crops.put_frame(name, jpeg, deadlines[name])
        except UnavailableError:
            return False
        return True

    def _queue_is_full(self) -> bool:
        now = time.monotonic()
        if now - self._backlog_read_at >= BACKLOG_EVERY_S:
            self._backlog = backlog(self._redis, CROPS)
            self._backlog_read_at = now
        return self._backlog >= self._queue_limit
