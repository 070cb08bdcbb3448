"""Crops to the workers, patiently: what waits for an indexing never fills Redis, nor stands long before live crops."""

from __future__ import annotations

import logging
import time

from celery import Celery
from kombu.exceptions import OperationalError
from redis import Redis
from redis.exceptions import RedisError

from lookout.errors import UnavailableError
from lookout.messages import Crop
from lookout.queue import CROPS, EMBED_CROPS, backlog
from lookout.sealing import Keyring
from lookout.stores.crops import Crops

log = logging.getLogger(__name__)

BATCH_SIZE = 16
#: A crop waits no longer for others to share its message.
BATCH_WAIT_S = 2.0
#: Share of the queue's limit that indexing fills, and what it may fill at least, in messages: live crops queue behind.
SHARE = 0.02
MIN_BACKLOG = 3
PAUSE_S = 0.1
RETRY_S = 1.0
#: Which crops of a video were handed over is remembered for as long as a crop lives.
KEEP_S = 2 * 86_400
_AWAY = (UnavailableError, RedisError, OperationalError, OSError)


class Handing:
    """The crops of one part on their way. For one thread, which waits where it must."""

    def __init__(self, redis: Redis, keyring: Keyring, app: Celery, video_id: str, *, queue_limit: int) -> None:
        self._redis = redis
        self._crops = Crops(redis, keyring)
        self._app = app
        self._key = handed_key(video_id)
        self._most = max(MIN_BACKLOG, int(queue_limit * SHARE))
        self._batch: dict[str, Crop] = {}
        self._frames: dict[str, bytes] = {}
        self._since = 0.0
        self.count = 0

    def put(self, crop: Crop, frame_jpeg: bytes) -> None:
        """Take a crop; now and then this waits for workers, or for Redis."""
        self._since = self._since if self._batch else time.monotonic()
        self._batch[crop.id] = crop
        if frame_jpeg:
            self._frames[crop.frame_id] = frame_jpeg
        self.count += 1
        if len(self._batch) >= BATCH_SIZE or time.monotonic() - self._since > BATCH_WAIT_S:
            self.flush()

    def flush(self) -> None:
        """Hand over all that was taken."""
        told = False
        while self._batch:
            try:
                if backlog(self._redis, CROPS) > self._most:
                    time.sleep(PAUSE_S)
                    continue
                self._send()
            except _AWAY as error:
                if not told:
                    log.warning("crops wait: %s", error)
                told = True
                time.sleep(RETRY_S)

    def _send(self) -> None:
        crops = list(self._batch.values())
        # Their ids first: what is in the set and not in Redis is taken for done, so nothing may be in Redis unnamed.
        self._redis.sadd(self._key, *self._batch)
        self._redis.expire(self._key, KEEP_S)
        for name, jpeg in self._frames.items():
            self._crops.put_frame(name, jpeg, crops[0].deadline_us)
        self._crops.put(crops)
        self._app.send_task(EMBED_CROPS, args=[list(self._batch)], retry=False)
        self._batch.clear()
        self._frames.clear()


def handed_key(video_id: str) -> str:
    """The set of the crops of a video that were handed over."""
    return f"video:{video_id}:crops"
