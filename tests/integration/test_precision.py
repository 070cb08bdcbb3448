from __future__ import annotations

from sqlalchemy import event

from lookout.alerts.precision import Precision, precision_of
from lookout.stores.registry import Registry
from lookout.stores.registry.tables import Alert
from tests.wall import put_alert, put_target

#: Alerts of each target: tier, verdict, how many.
ALERTS = {
    "anna": [("likely", "confirmed", 3), ("likely", "rejected", 1), ("likely", "unverified", 4)],
    "ben": [("likely", "confirmed", 2), ("possible", "rejected", 5)],
    "erased": [("likely", "rejected", 2), ("possible", "confirmed", 7)],
    "cleo": [("possible", "confirmed", 1), ("possible", "unverified", 2)],
}
WATCHLISTS = {"anna": "w", "ben": "w", "erased": "w", "cleo": "v"}


def put_all(registry: Registry) -> None:
    with registry.transaction() as session:
        for name, alerts in ALERTS.items():
            target = put_target(session, WATCHLISTS[name], name)
            for tier, verdict, count in alerts:
                for number in range(count):
                    alert = f"{name}-{tier}-{verdict}-{number}"
                    put_alert(session, name, alert, tier=tier, verdict=verdict, sightings=0, tell=False)
            if name == "erased":
                target.erased_at_us = 1
        put_target(session, "empty", "nobody")


def test_verdicts_count_by_watchlist_and_tier(registry: Registry) -> None:
    put_all(registry)

    with registry.reading() as session:
        found = precision_of(session, ["w", "v", "empty", "nosuch"])
        only = precision_of(session, ["v"])
        assert precision_of(session, []) == {}

    none = {"possible": Precision(0, 0), "likely": Precision(0, 0)}
    assert found == {
        "w": {"possible": Precision(0, 5), "likely": Precision(5, 1)},
        "v": {"possible": Precision(1, 0), "likely": Precision(0, 0)},
        "empty": none,
        "nosuch": none,
    }
    assert only == {"v": found["v"]}


def test_a_verdict_that_is_changed_or_an_alert_that_expired_is_counted_as_it_is_now(registry: Registry) -> None:
    put_all(registry)
    with registry.transaction() as session:
        session.get_one(Alert, "anna-likely-rejected-0").verdict = "confirmed"
        session.delete(session.get_one(Alert, "ben-likely-confirmed-0"))

    with registry.reading() as session:
        assert precision_of(session, ["w"])["w"]["likely"] == Precision(5, 0)


def test_however_many_watchlists_are_asked_of_in_one_query(registry: Registry) -> None:
    put_all(registry)
    asked: list[str] = []
    event.listen(registry.engine, "before_cursor_execute", lambda *given: asked.append(given[2]))

    with registry.reading() as session:
        precision_of(session, ["w", "v", "empty"])

    assert len([query for query in asked if "alerts" in query]) == 1
