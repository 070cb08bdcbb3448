from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lookout.errors import BadInputError
from lookout.watchlists.schedule import DAYS, Schedule, is_on

BERLIN = ZoneInfo("Europe/Berlin")


def schedule(days: list[str], begin: str, end: str, zone: str = "Europe/Berlin") -> dict[str, Any]:
    return {"zone": zone, "windows": [{"days": days, "from": begin, "to": end}]}


def on(stored: dict[str, Any], *at: int) -> bool:
    return Schedule.parse(stored).is_on(datetime(*at, tzinfo=BERLIN))  # type: ignore[misc, arg-type]


def test_a_window_holds_from_its_begin_to_before_its_end() -> None:
    monday = schedule(["mon"], "08:30", "17:00")
    assert not on(monday, 2026, 11, 23, 8, 29, 59)
    assert on(monday, 2026, 11, 23, 8, 30)
    assert on(monday, 2026, 11, 23, 16, 59, 59)
    assert not on(monday, 2026, 11, 23, 17, 0)
    assert not on(monday, 2026, 11, 24, 12, 0)


def test_one_over_midnight_belongs_to_the_day_on_which_it_begins() -> None:
    sunday = schedule(["sun"], "22:00", "06:00")
    assert on(sunday, 2026, 11, 22, 23, 0)
    assert on(sunday, 2026, 11, 23, 5, 59), "Monday morning"
    assert not on(sunday, 2026, 11, 23, 6, 0)
    assert not on(sunday, 2026, 11, 23, 23, 0)
    assert not on(sunday, 2026, 11, 22, 5, 0), "Sunday morning belongs to Saturday"


def test_all_day() -> None:
    assert on(schedule(["mon"], "00:00", "24:00"), 2026, 11, 23, 23, 59)
    assert on(schedule(["mon"], "00:00", "24:00"), 2026, 11, 23, 0, 0)


def test_the_clocks_of_the_place_decide_in_summer_and_in_winter() -> None:
    nine = Schedule.parse(schedule(list(DAYS), "09:00", "10:00"))
    assert nine.is_on(datetime(2026, 7, 1, 7, 30, tzinfo=UTC))
    assert not nine.is_on(datetime(2026, 7, 1, 8, 30, tzinfo=UTC))
    assert nine.is_on(datetime(2026, 1, 7, 8, 30, tzinfo=UTC))
    assert not nine.is_on(datetime(2026, 1, 7, 7, 30, tzinfo=UTC))


def test_the_hour_that_comes_twice_counts_twice_and_the_one_left_out_does_not_come() -> None:
    night = Schedule.parse(schedule(["sun"], "02:00", "03:00"))

    def minutes(day: datetime) -> int:
        return sum(night.is_on(day + timedelta(minutes=minute)) for minute in range(24 * 60))

    assert minutes(datetime(2026, 10, 24, 22, tzinfo=UTC)) == 120
    assert minutes(datetime(2026, 3, 28, 23, tzinfo=UTC)) == 0
    assert minutes(datetime(2026, 6, 6, 22, tzinfo=UTC)) == 60


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({}, "zone"),
        (schedule(["mon"], "08:00", "09:00", zone="Nowhere/City"), "zone"),
        (schedule(["mon"], "08:00", "09:00", zone="../../etc/passwd"), "zone"),
        ({"zone": "UTC", "windows": []}, "windows"),
        (schedule([], "08:00", "09:00"), "days"),
        (schedule(["monday"], "08:00", "09:00"), "days"),
        (schedule(["mon"], "8:00", "09:00"), "from"),
        (schedule(["mon"], "08:00", "24:30"), "to"),
        (schedule(["mon"], "08:00", "08:00"), "all day is 00:00 to 24:00"),
        (schedule(["mon"], "24:00", "08:00"), "all day"),
    ],
)
def test_what_is_no_schedule_is_refused(given: dict[str, Any], message: str) -> None:
    with pytest.raises(BadInputError, match=message):
        Schedule.parse(given)


times = st.integers(0, 24 * 60 - 1).map(lambda minute: f"{minute // 60:02}:{minute % 60:02}")
windows = st.tuples(st.lists(st.sampled_from(DAYS), min_size=1, unique=True), times, times).filter(
    lambda one: one[1] != one[2]
)
schedules = st.builds(
    lambda zone, rows: {"zone": zone, "windows": [{"days": d, "from": f, "to": t} for d, f, t in rows]},
    st.sampled_from(["UTC", "Europe/Berlin", "America/New_York", "Asia/Kathmandu", "Australia/Lord_Howe"]),
    st.lists(windows, min_size=1, max_size=4),
)
moments = st.integers(315_000_000, 2_050_000_000).map(lambda at: datetime.fromtimestamp(at, tz=UTC))


@given(schedules)
def test_what_is_stored_is_read_the_same(stored: dict[str, Any]) -> None:
    parsed = Schedule.parse(stored)
    assert Schedule.parse(parsed.as_json()) == parsed


@given(schedules, moments)
def test_stored_and_parsed_say_the_same(stored: dict[str, Any], at: datetime) -> None:
    at_us = int(at.timestamp()) * 1_000_000
    whole = datetime.fromtimestamp(at_us / 1e6, tz=UTC)
    assert is_on(Schedule.parse(stored).as_json(), at_us) == Schedule.parse(stored).is_on(whole)


@given(schedules, schedules, moments)
def test_windows_add_up(one: dict[str, Any], other: dict[str, Any], at: datetime) -> None:
    other = {**other, "zone": one["zone"]}
    both = {"zone": one["zone"], "windows": one["windows"] + other["windows"]}
    parts = (Schedule.parse(one).is_on(at), Schedule.parse(other).is_on(at))
    assert Schedule.parse(both).is_on(at) == any(parts)


@given(windows, moments)
def test_a_window_and_the_rest_of_the_week_are_never_on_together(
    window: tuple[list[str], str, str], at: datetime
) -> None:
    """From `begin` to `end` and from `end` to the next `begin`, on all days: exactly one of the two."""
    _, begin, end = window
    inside = Schedule.parse(schedule(list(DAYS), begin, end, "UTC")).is_on(at)
    outside = Schedule.parse(schedule(list(DAYS), end, begin, "UTC")).is_on(at)
    assert inside != outside


def test_without_a_schedule_it_is_always_on() -> None:
    assert is_on(None, 0)
