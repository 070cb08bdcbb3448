"""One way to connect to Redis, and one error when it is away."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from redis import Redis
from redis.exceptions import RedisError

from lookout.errors import UnavailableError
from lookout.settings import Settings


def connect(settings: Settings) -> Redis:
    """A client that gives up within seconds, so that its caller can decide what to do meanwhile."""
    return Redis.from_url(
        settings.redis_url.get_secret_value(),
        socket_timeout=5,
        socket_connect_timeout=2,
        health_check_interval=10,
    )


@contextlib.contextmanager
def redis_errors() -> Iterator[None]:
    """Turn errors of Redis into `UnavailableError`."""
    try:
        yield
    except RedisError as error:
        raise UnavailableError(f"Redis does not answer: {error}") from error
