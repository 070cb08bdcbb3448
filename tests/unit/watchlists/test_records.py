from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from lookout.stores.registry.tables import Target, Watchlist
from lookout.watchlists.records import is_active

NOON = 1_700_000_000_000_000


@dataclass(frozen=True)
class Case:
    """All that decides whether a target is looked for."""

    archived_at_us: int | None = None
    camera_groups: tuple[str, ...] = ()
    schedule: dict[str, Any] | None = None
    valid_from_us: int | None = None
    valid_until_us: int | None = None
    snoozed_until_us: int | None = None
    erased_at_us: int | None = None
    group: str = "doors"
    at_us: int = NOON

    def active(self) -> bool:
        watchlist = Watchlist(
            archived_at_us=self.archived_at_us, camera_groups=list(self.camera_groups), schedule=self.schedule
        )
        target = Target(
            valid_from_us=self.valid_from_us,
            valid_until_us=self.valid_until_us,
            snoozed_until_us=self.snoozed_until_us,
            erased_at_us=self.erased_at_us,
        )
        return is_active(watchlist, target, self.group, self.at_us)


moments = st.integers(0, 4_000_000_000_000_000)
maybe = st.none() | moments
cases = st.builds(
    Case,
    archived_at_us=st.none() | moments,
    camera_groups=st.lists(st.sampled_from(["doors", "yard", "lobby"]), max_size=2).map(tuple),
    schedule=st.none()
    | st.just({"zone": "UTC", "windows": [{"days": ["mon", "thu", "sat"], "from": "20:00", "to": "08:00"}]}),
    valid_from_us=maybe,
    valid_until_us=maybe,
    snoozed_until_us=maybe,
    erased_at_us=st.none() | moments,
    group=st.sampled_from(["doors", "yard"]),
    at_us=moments,
)


def test_who_has_no_limits_is_always_looked_for() -> None:
    assert Case().active()


@given(cases)
def test_each_reason_alone_is_enough_not_to_be_looked_for(case: Case) -> None:
    assert not replace(case, archived_at_us=1).active()
    assert not replace(case, erased_at_us=1).active()
    assert not replace(case, camera_groups=("elsewhere",)).active()
    assert not replace(case, valid_from_us=case.at_us + 1).active()
    assert not replace(case, valid_until_us=case.at_us).active()
    assert not replace(case, snoozed_until_us=case.at_us + 1).active()


@given(cases)
def test_taking_limits_away_makes_nobody_inactive(case: Case) -> None:
    if case.active():
        assert replace(case, schedule=None).active()
        assert replace(case, valid_from_us=None).active()
        assert replace(case, valid_until_us=None).active()
        assert replace(case, snoozed_until_us=None).active()
        assert replace(case, camera_groups=()).active()


@given(cases)
def test_validity_begins_with_its_first_microsecond_and_ends_before_its_last(case: Case) -> None:
    free = Case(at_us=case.at_us)
    assert replace(free, valid_from_us=case.at_us).active()
    assert replace(free, valid_until_us=case.at_us + 1).active()
    assert replace(free, snoozed_until_us=case.at_us).active()
