"""What the sweeps of retention tell each other, and whoever watches them, in Redis."""

from __future__ import annotations

from redis import Redis

from lookout.clock import now_us
from lookout.stores.redis import redis_errors

#: How long they rest once nothing is left to do: what expires meanwhile goes so much later.
REST_S = 600
_RESTS, _FINISHED = "sweep:rests", "sweep:finished"


def has_rest(redis: Redis) -> bool:
    """Whether a run found nothing left to do a short while ago.

    Raises:
        UnavailableError: Redis does not answer.
    """
    with redis_errors():
        # Whoever watches counts from the first run on.
        redis.set(_FINISHED, now_us(), nx=True)
        return bool(redis.exists(_RESTS))


def finish(redis: Redis, at_us: int) -> None:
    """Say that all was gone that had expired at a time.

    Raises:
        UnavailableError: Redis does not answer.
    """
    with redis_errors():
        redis.set(_FINISHED, at_us)
        redis.set(_RESTS, 1, ex=REST_S)


def finished_at_us(redis: Redis) -> int | None:
    """When all was gone that had expired; if that never was, when the first run began; None before it."""
    with redis_errors():
        found = redis.get(_FINISHED)
    return None if found is None else int(found)
