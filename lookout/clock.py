"""Time: integer microseconds since 1970 in UTC inside, aware datetimes at the edges."""

from __future__ import annotations

import time
from datetime import UTC, datetime


def now_us() -> int:
    """The wall clock, in microseconds."""
    return time.time_ns() // 1000


def to_datetime(at_us: int) -> datetime:
    """Microseconds to an aware datetime in UTC."""
    return datetime.fromtimestamp(at_us / 1e6, tz=UTC)


def isoformat(at_us: int) -> str:
    """Microseconds to RFC 3339 with milliseconds and `Z`."""
    return to_datetime(at_us).isoformat(timespec="milliseconds").replace("+00:00", "Z")
