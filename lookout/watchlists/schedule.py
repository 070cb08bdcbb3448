"""Weekly schedules: in which hours of which days a watchlist is looked for, by the clocks of a place."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from typing import Any
from zoneinfo import ZoneInfo

from lookout.clock import to_datetime
from lookout.errors import BadInputError

DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
MAX_WINDOWS = 50
DAY_MINUTES = 24 * 60
_TIME = re.compile(r"([01]\d|2[0-3]):([0-5]\d)|(24):(00)")
_ZONE = re.compile(r"[A-Za-z][A-Za-z0-9_+-]{0,31}(/[A-Za-z0-9_+-]{1,32}){0,2}")


@dataclass(frozen=True, slots=True)
class Window:
    """Hours on some days. One that does not end after its begin goes on into the next day.

    Attributes:
        days: 0 (Monday) to 6, on which it begins.
        begin: minutes of the day, 0..1439.
        end: minutes of the day, 0..1440; it is no longer part of the window.
    """

    days: frozenset[int]
    begin: int
    end: int

    def holds(self, day: int, minute: int) -> bool:
        """Whether a minute of a day lies in it."""
        if self.begin < self.end:
            return day in self.days and self.begin <= minute < self.end
        return (day in self.days and minute >= self.begin) or ((day - 1) % 7 in self.days and minute < self.end)


@dataclass(frozen=True, slots=True)
class Schedule:
    """Windows by the clocks of a time zone.

    The clocks decide: where they are put back, the hour that comes twice counts twice; where they are put forward, the
    hour that is left out does not come.
    """

    zone: str
    windows: tuple[Window, ...]

    @classmethod
    def parse(cls, given: Mapping[str, Any]) -> Schedule:
        """Read `{"zone": "Europe/Berlin", "windows": [{"days": ["mon"], "from": "22:00", "to": "06:00"}]}`.

        Raises:
            BadInputError: it is not of this form; the message says where.
        """
        zone, windows = given.get("zone"), given.get("windows")
        if not isinstance(zone, str) or not _is_zone(zone):
            raise BadInputError("schedule: zone: give a time zone such as Europe/Berlin or UTC.")
        if not isinstance(windows, Sequence) or isinstance(windows, str) or not 1 <= len(windows) <= MAX_WINDOWS:
            raise BadInputError(f"schedule: windows: give 1 to {MAX_WINDOWS}; without a schedule it is always.")
        return cls(zone, tuple(_window(number, one) for number, one in enumerate(windows, 1)))

    def as_json(self) -> dict[str, Any]:
        """As `parse` reads it."""
        windows = [
            {"days": [DAYS[day] for day in sorted(one.days)], "from": _clock(one.begin), "to": _clock(one.end)}
            for one in self.windows
        ]
        return {"zone": self.zone, "windows": windows}

    def is_on(self, at: datetime) -> bool:
        """Whether an aware time lies in one of the windows."""
        local = at.astimezone(_zone(self.zone))
        minute = local.hour * 60 + local.minute
        return any(window.holds(local.weekday(), minute) for window in self.windows)


@lru_cache(maxsize=256)
def _parsed(zone: str, windows: tuple[tuple[tuple[str, ...], str, str], ...]) -> Schedule:
    rows = [{"days": days, "from": begin, "to": end} for days, begin, end in windows]
    return Schedule.parse({"zone": zone, "windows": rows})


def is_on(stored: Mapping[str, Any] | None, at_us: int) -> bool:
    """Whether a watchlist with this schedule, as it is stored, is looked for at a time; without one it always is."""
    if stored is None:
        return True
    windows = tuple((tuple(one["days"]), one["from"], one["to"]) for one in stored["windows"])
    return _parsed(stored["zone"], windows).is_on(to_datetime(at_us))


def _window(number: int, given: object) -> Window:
    where = f"schedule: window {number}"
    if not isinstance(given, Mapping):
        raise BadInputError(f"{where}: give days, from and to.")
    days = given.get("days")
    if not isinstance(days, Sequence) or isinstance(days, str) or not days or any(day not in DAYS for day in days):
        raise BadInputError(f"{where}: days: give some of {', '.join(DAYS)}.")
    begin, end = (_minutes(where, name, given.get(name)) for name in ("from", "to"))
    if begin in (DAY_MINUTES, end):
        raise BadInputError(
            f"{where}: it begins at {given['from']} and ends at {given['to']}; all day is 00:00 to 24:00."
        )
    return Window(frozenset(DAYS.index(day) for day in days), begin, end)


def _minutes(where: str, name: str, given: object) -> int:
    if not isinstance(given, str) or not _TIME.fullmatch(given):
        raise BadInputError(f"{where}: {name}: give a time such as 08:30.")
    return int(given[:2]) * 60 + int(given[3:])


def _clock(minutes: int) -> str:
    return f"{minutes // 60:02}:{minutes % 60:02}"


def _is_zone(name: str) -> bool:
    if not _ZONE.fullmatch(name):
        return False
    try:
        _zone(name)
    except (LookupError, ValueError, OSError):
        return False
    return True


@lru_cache(maxsize=64)
def _zone(name: str) -> ZoneInfo:
    return ZoneInfo(name)
