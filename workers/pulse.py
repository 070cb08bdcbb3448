"""The housekeeping's clock: each task once per interval, however many workers there are."""

from __future__ import annotations

import contextlib
import threading

from celery import Celery
from kombu.exceptions import OperationalError
from redis import Redis
from redis.exceptions import RedisError

TICK_S = 0.25
#: A task that nobody ran by then is worthless: the next one does the same.
EXPIRES_S = 10


def beat(app: Celery, redis: Redis, schedule: dict[str, float], stop: threading.Event) -> None:
    """Send the tasks of `schedule` (name -> interval in seconds) until told to stop.

    Workers race for a key that lives as long as the interval; the first one sends. Tasks are idempotent, so a doubled
    one would do no harm. Celery's own beat would be one more process, of which exactly one may run.
    """
    while not stop.wait(TICK_S):
        with contextlib.suppress(RedisError, OperationalError, OSError):
            for task, interval_s in schedule.items():
                if redis.set(f"pulse:{task}", 1, nx=True, px=int(interval_s * 950)):
                    app.send_task(task, retry=False, expires=EXPIRES_S)
