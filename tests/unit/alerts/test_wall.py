"""Filters say of an alert in hand what they say in SQL: else a card would come live that the page does not list."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import pytest
from sqlalchemy import select
from sqlalchemy.engine import make_url

from lookout.alerts.wall import Filters
from lookout.stores.registry import Registry
from lookout.stores.registry.tables import Alert
from tests.wall import put_alert, put_target


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    """Alerts of all kinds."""
    made = Registry(make_url(f"sqlite:///{tmp_path_factory.mktemp('wall') / 'registry.db'}"))
    made.migrate()
    kinds = itertools.product(("a", "b"), ("g", "h"), ("possible", "likely"), ("unverified", "rejected"), (True, False))
    with made.transaction() as session:
        for name in ("a", "b"):
            put_target(session, name, f"of {name}")
        for number, (name, group, tier, verdict, open_) in enumerate(kinds):
            camera = f"camera of {group}"
            put_alert(
                session, f"of {name}", f"{number}", group=group, camera=camera, at_us=number, tier=tier,
                # Only one open episode of a target and group is possible.
                verdict=verdict, open_=open_ and (tier, verdict) == ("likely", "unverified"),
            )  # fmt: skip
    yield made
    made.close()


@pytest.mark.parametrize(
    ("filters", "count"),
    [
        (Filters(), 32),
        (Filters(watchlist="a"), 16),
        (Filters(watchlist="list a"), 16),
        (Filters(watchlist="nowhere"), 0),
        (Filters(target="of b"), 16),
        (Filters(camera="camera of g"), 16),
        (Filters(group="h", tier="likely"), 8),
        (Filters(verdict="rejected"), 16),
        (Filters(state="open"), 4),
        (Filters(state="closed"), 28),
        (Filters(since_us=10), 22),
        (Filters(until_us=10), 10),
        (Filters(since_us=10, until_us=12, watchlist="a", group="g"), 0),
        (Filters(since_us=0, until_us=8, watchlist="a", group="g", tier="likely", verdict="unverified"), 2),
    ],
)
def test_filters(registry: Registry, filters: Filters, count: int) -> None:
    with registry.reading() as session:
        in_sql = set(session.scalars(select(Alert.id).join(Alert.target).where(*filters.conditions())))
        in_hand = {alert.id for alert in session.scalars(select(Alert)) if filters.match(alert)}

    assert in_sql == in_hand
    assert len(in_sql) == count
