"""Holding an alert: by whom, why, who may not, and what ends it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest

from lookout.alerts.holds import hold
from lookout.alerts.records import describe
from lookout.audit import SYSTEM
from lookout.stores.registry import Registry
from lookout.stores.registry.tables import Alert, AlertEvent, AuditEntry, Target
from tests.people import crop, man_a
from tests.wall import parts_on, put_alert, put_target, serve, token_of
from tests.workplace import Workplace
from workers.crops import process

Headers = dict[str, str]


@pytest.fixture
def users(registry: Registry) -> dict[str, Headers]:
    """Who may judge, who may only look, and who has no right to the watchlist."""
    with registry.transaction() as session:
        put_target(session, "w", "t")
        put_target(session, "v", "u")
        put_alert(session, "t", "a")
        return {
            "anna": token_of(session, "anna"),
            "ben": token_of(session, "ben", "analyst"),
            "cem": token_of(session, "cem", watchlists=["v"]),
        }


@pytest.fixture
def client(registry: Registry, tmp_path: Path) -> Iterator[httpx2.Client]:
    parts = parts_on(registry, tmp_path)
    with serve(parts) as url, httpx2.Client(base_url=url, timeout=20) as made:
        yield made
    parts.registry.close()
    parts.redis.close()


def audited(registry: Registry) -> list[tuple[str, str, str]]:
    with registry.reading() as session:
        rows = session.query(AuditEntry).filter(AuditEntry.action.in_(("alert.held", "alert.released")))
        return [(row.actor, row.action, row.reason) for row in rows.order_by(AuditEntry.number)]


def test_an_alert_is_held_and_released(registry: Registry, client: httpx2.Client, users: dict[str, Headers]) -> None:
    held = client.put("/api/v1/alerts/a/hold", json={"reason": "the court asked"}, headers=users["anna"])
    assert (held.status_code, held.json()["held"]["by"]) == (200, "anna")
    again = client.put("/api/v1/alerts/a/hold", json={"reason": "me too"}, headers=users["anna"])
    assert again.json()["held"] == held.json()["held"]
    assert client.get("/api/v1/alerts", headers=users["ben"]).json()["items"][0]["held"] == held.json()["held"]

    for _ in range(2):
        gone = client.delete("/api/v1/alerts/a/hold", headers=users["anna"] | {"X-Reason": "case closed"})
        assert (gone.status_code, gone.json()["held"]) == (200, None)

    assert audited(registry) == [
        ("anna", "alert.held", "the court asked"),
        ("anna", "alert.released", "case closed"),
    ]
    with registry.reading() as session:
        assert [event.kind for event in session.query(AlertEvent).order_by(AlertEvent.id)][-2:] == ["updated"] * 2


def test_who_may_not_holds_nothing(registry: Registry, client: httpx2.Client, users: dict[str, Headers]) -> None:
    body = {"reason": "mine"}
    assert client.put("/api/v1/alerts/a/hold", json=body, headers=users["ben"]).status_code == 403
    hidden = client.put("/api/v1/alerts/a/hold", json=body, headers=users["cem"])
    absent = client.put("/api/v1/alerts/none/hold", json=body, headers=users["anna"])
    assert (hidden.status_code, absent.status_code) == (404, 404)
    reason = {"X-Reason": "mine"}
    assert client.delete("/api/v1/alerts/a/hold", headers=users["cem"] | reason).status_code == 404
    assert audited(registry) == []


@pytest.mark.parametrize("reason", ["", "  ", "\0", "x" * 1001])
def test_a_reason_must_be_given(client: httpx2.Client, users: dict[str, Headers], reason: str) -> None:
    answer = client.put("/api/v1/alerts/a/hold", json={"reason": reason}, headers=users["anna"])
    assert answer.status_code == 422
    assert client.delete("/api/v1/alerts/a/hold", headers=users["anna"]).status_code == 422


def test_the_page_holds_and_releases(client: httpx2.Client, users: dict[str, Headers]) -> None:
    assert "Hold: keep it longer" in client.get("/alerts/a", headers=users["anna"]).text
    assert "Hold: keep it longer" not in client.get("/alerts/a", headers=users["ben"]).text
    held = client.post("/alerts/a/hold", data={"reason": "the court"}, headers=users["anna"])
    assert "by anna" in held.text
    assert "by anna" in client.get("/alerts/a", headers=users["ben"]).text
    released = client.post("/alerts/a/release", data={"reason": "over"}, headers=users["anna"])
    assert "Hold: keep it longer" in released.text
    assert client.post("/alerts/a/hold", data={"reason": " "}, headers=users["anna"]).status_code == 422


def test_webhooks_do_not_tell_who_holds(registry: Registry, users: dict[str, Headers]) -> None:
    assert users
    with registry.transaction() as session:
        alert = session.get_one(Alert, "a")
        hold(session, SYSTEM, alert, "needed")
        assert "held" not in describe(alert, session.get_one(Target, "t"))


def test_erasing_the_target_ends_a_hold_and_says_so(workplace: Workplace) -> None:
    target = workplace.enrol_man_a()
    process(workplace.parts, workplace.put(crop(man_a(workplace.assets)[0])))
    with workplace.registry.transaction() as session:
        (alert,) = session.query(Alert).all()
        hold(session, SYSTEM, alert, "the court asked")

    assert workplace.erase(target).sightings == 1

    (alert,) = workplace.rows(Alert)
    assert (alert.held_at_us, alert.held_by) == (None, None)
    assert audited(workplace.registry)[-1] == ("system", "alert.released", "the target was erased")
