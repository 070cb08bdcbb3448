"""How often one address may try to sign in. Accounts are locked beside it, see `lookout.accounts.sessions`."""

from __future__ import annotations

from http import HTTPStatus

from limits import parse
from limits.storage import RedisStorage
from limits.strategies import MovingWindowRateLimiter
from redis import Redis
from redis.exceptions import RedisError
from starlette.exceptions import HTTPException

SIGN_INS = parse("20/minute")


def sign_in(redis: Redis, address: str) -> None:
    """Count an attempt. While Redis is away nobody is kept out by it: the lock of accounts needs no Redis.

    Raises:
        HTTPException: 429 if there were too many.
    """
    try:
        limiter = MovingWindowRateLimiter(RedisStorage("redis://", connection_pool=redis.connection_pool))
        allowed = limiter.hit(SIGN_INS, "sign-in", address)
    except RedisError:
        return
    if not allowed:
        raise HTTPException(
            HTTPStatus.TOO_MANY_REQUESTS,
            "Too many attempts from this address: wait a minute, then try again.",
            {"Retry-After": "60"},
        )
