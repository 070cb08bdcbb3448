"""One way to connect to Redis."""

from __future__ import annotations

from redis import Redis

from lookout.settings import Settings


def connect(settings: Settings) -> Redis:
    """A client that gives up within seconds, so that its caller can decide what to do meanwhile."""
    return Redis.from_url(
        settings.redis_url.get_secret_value(),
        socket_timeout=5,
        socket_connect_timeout=2,
        health_check_interval=10,
    )
