"""Retention: what has served its time goes from every store, a little at a time.

The task comes every `INTERVAL_S`, works for `RUN_S` at most, and rests for `REST_S` once nothing is left to do.
"""

from __future__ import annotations

import logging
from collections.abc import Callable

from redis.exceptions import LockError

from lookout.clock import now_us
from lookout.errors import UnavailableError
from lookout.metrics import SWEEP_SECONDS
from lookout.queue import SWEEP
from lookout.stores.redis import redis_errors
from lookout.stores.sweeps import finish, has_rest
from workers.maintenance import left_to_the_next
from workers.parts import Parts
from workers.sweeps.alerts import sweep_alerts, sweep_pairs
from workers.sweeps.footage import sweep_footage
from workers.sweeps.leftovers import sweep_exports, sweep_uploads, sweep_videos
from workers.sweeps.orphans import sweep_orphans
from workers.sweeps.sightings import sweep_sightings
from workers.sweeps.turn import Turn

log = logging.getLogger(__name__)

#: Shorter than the time after which a message goes to another worker, see `lookout.queue.VISIBILITY_TIMEOUT_S`.
RUN_S = 8.0
INTERVAL_S = 10.0
#: Until then a killed worker's lock keeps the others from it. Each step makes it last anew.
LOCK_S = 60

#: In this order: what an alert kept, and a video of which nothing is left, go in the same run.
SWEEPS: tuple[Callable[[Parts, Turn, int], bool], ...] = (
    sweep_footage,
    sweep_alerts,
    sweep_sightings,
    sweep_pairs,
    sweep_exports,
    sweep_uploads,
    sweep_videos,
    sweep_orphans,
)


def sweep(parts: Parts) -> None:
    """One run, if no other process is at it, and there may be something to do."""
    with left_to_the_next():
        if has_rest(parts.redis):
            return
        lock = parts.redis.lock(f"lock:{SWEEP}", timeout=LOCK_S, blocking=False)

        def still_ours() -> bool:
            try:
                return bool(lock.reacquire())
            except LockError:
                return False

        with redis_errors():
            if not lock.acquire():
                return
            try:
                run(parts, Turn(RUN_S, still_ours))
            finally:
                if lock.owned():
                    lock.release()


def run(parts: Parts, turn: Turn) -> bool:
    """Sweep until nothing is left to do, or the time is up; returns whether nothing is left.

    What a store that is away prevents is left to the next run.
    """
    now = now_us()
    done = True
    with SWEEP_SECONDS.time():
        for one in SWEEPS:
            try:
                done &= one(parts, turn, now)
            except UnavailableError as error:  # a disk that is away is no reason to keep what lies elsewhere
                log.warning("%s", error)
                done = False
    if done:
        finish(parts.redis, now)
    if turn.swept:
        log.info("swept %s", ", ".join(f"{count} {kind}" for kind, count in sorted(turn.swept.items())))
    return done
