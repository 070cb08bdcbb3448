"""Whether the parts that a service needs answer."""

from __future__ import annotations

from redis import Redis
from redis.exceptions import RedisError

from lookout.errors import UnavailableError
from lookout.stores.blobs import Blobs
from lookout.stores.registry import Registry
from lookout.stores.vectors import Vectors


def check_parts(registry: Registry, redis: Redis, vectors: Vectors, blobs: Blobs) -> dict[str, str | None]:
    """Ask each part; its name -> what is wrong with it, None if it is well."""
    return {
        "registry": None if registry.is_current() else "does not answer, or its schema is old: run `lookout migrate`",
        "redis": _redis_fault(redis),
        "milvus": _fault(vectors),
        "blobs": _fault(blobs),
    }


def _redis_fault(redis: Redis) -> str | None:
    try:
        policy = redis.config_get("maxmemory-policy").get("maxmemory-policy")
    except RedisError as error:
        return f"does not answer: {error}"
    if policy not in ("noeviction", None):
        return f"may drop crops silently (maxmemory-policy {policy}): set it to noeviction"
    return None


def _fault(part: Vectors | Blobs) -> str | None:
    try:
        part.check()
    except UnavailableError as error:
        return str(error)
    return None
