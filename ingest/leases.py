"""Which ingest process watches which camera, agreed in Redis.

Every process shows that it lives and takes its fair share of cameras: the number of cameras divided by that of living
processes, rounded up. A lease runs out when its holder dies, and the others take its cameras.
"""

from __future__ import annotations

import contextlib
import logging
import math
import threading
import uuid
from collections.abc import Collection

from redis import Redis
from redis.exceptions import LockError, RedisError
from redis.lock import Lock

from lookout.stores.cameras import LEASE_S, PROCESSES

log = logging.getLogger(__name__)

#: How often others look for the cameras of a dead process, which are free after `LEASE_S`.
TICK_S = 1.0


class Leases:
    """The leases of one process. For one thread."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis
        self.process = uuid.uuid4().hex
        self._locks: dict[str, Lock] = {}

    @property
    def held(self) -> set[str]:
        """Cameras that this process may watch."""
        return set(self._locks)

    def tick(self, cameras: Collection[str]) -> set[str]:
        """Renew, give up what is gone or more than the fair share, take what is free; returns the cameras held now.

        While Redis is away everything held is kept: nobody else can take it then.
        """
        with contextlib.suppress(RedisError):
            share = math.ceil(len(cameras) / self._living())
            self._renew()
            for camera in self._locks.keys() - set(cameras):
                self._release(camera)
            for camera in sorted(self._locks)[share:]:
                self._release(camera)
            for camera in sorted(cameras):
                if len(self._locks) >= share:
                    break
                if camera not in self._locks:
                    self._take(camera)
        return self.held

    def release_all(self) -> None:
        """Let others take over at once."""
        with contextlib.suppress(RedisError):
            self._redis.zrem(PROCESSES, self.process)
            for camera in list(self._locks):
                self._release(camera)

    def _living(self) -> int:
        # Redis' clock, as those of the machines may differ.
        seconds, microseconds = self._redis.time()
        now = seconds + microseconds / 1e6
        with self._redis.pipeline() as pipe:
            pipe.zadd(PROCESSES, {self.process: now})
            pipe.zremrangebyscore(PROCESSES, "-inf", now - LEASE_S)
            pipe.zcard(PROCESSES)
            return int(pipe.execute()[-1])

    def _renew(self) -> None:
        for camera, lock in list(self._locks.items()):
            try:
                lock.reacquire()
            except LockError:
                # It ran out while Redis was away or this process was stopped; perhaps it is still free.
                del self._locks[camera]
                self._take(camera)

    def _take(self, camera: str) -> None:
        lock = Lock(self._redis, f"lease:camera:{camera}", timeout=LEASE_S, thread_local=False)
        if lock.acquire(blocking=False):
            self._locks[camera] = lock

    def _release(self, camera: str) -> None:
        with contextlib.suppress(LockError):
            self._locks.pop(camera).release()


def wait_for_redis(redis: Redis, stop: threading.Event) -> None:
    """Wait until Redis answers: the order in which parts start does not matter."""
    while not stop.is_set():
        try:
            redis.ping()
        except RedisError as error:
            log.warning("waiting for Redis: %s", error)
            stop.wait(1.0)
        else:
            return
