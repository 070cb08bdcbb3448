"""Alerts over HTTP: who sees which, their pictures, and what people say of them."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import select

from lookout.clock import now_us
from lookout.stores.registry import Registry
from lookout.stores.registry.tables import (
    Alert,
    AlertEvent,
    AuditEntry,
    Delivery,
    RejectedPair,
    Target,
    Verdict,
    Webhook,
)
from search.app import create_app
from search.parts import Parts
from tests.wall import parts_on, put_alert, put_picture, put_reference, put_target, token_of

Headers = dict[str, str]


@pytest.fixture
def parts(registry: Registry, tmp_path: Path) -> Parts:
    return parts_on(registry, tmp_path)


@pytest.fixture
def client(parts: Parts) -> Iterator[TestClient]:
    with TestClient(create_app(parts)) as made:
        yield made
    parts.registry.close()
    parts.redis.close()


@pytest.fixture
def anna(registry: Registry) -> Headers:
    """An operator who sees all."""
    with registry.transaction() as session:
        return token_of(session, "anna")


def judge(client: TestClient, who: Headers, alert: str, verdict: str, reason: str = "") -> Any:
    return client.post(f"/api/v1/alerts/{alert}/verdicts", headers=who, json={"verdict": verdict, "reason": reason})


def audit_of(registry: Registry, action: str) -> list[AuditEntry]:
    with registry.reading() as session:
        return list(session.scalars(select(AuditEntry).where(AuditEntry.action == action).order_by(AuditEntry.number)))


def test_an_alert_says_all_and_is_unverified(client: TestClient, registry: Registry, anna: Headers) -> None:
    with registry.transaction() as session:
        put_target(session, "w", "t")
        put_alert(session, "t", "a", at_us=0, sightings=2)

    (alert,) = client.get("/api/v1/alerts", headers=anna).json()["items"]

    assert alert == {
        "id": "a",
        "verdict": "unverified",
        "held": None,
        "target": {"id": "t", "name": "person t"},
        "watchlist": {"id": "w", "name": "list w"},
        "camera": "entrance",
        "camera_group": "doors",
        "tier": "likely",
        "score": 0.64,
        "threshold": 0.6,
        "crop": "ca0",
        "first_captured_at": "1970-01-01T00:00:00.000Z",
        "last_seen_at": "1970-01-01T00:00:00.000Z",
        "closed_at": "1970-01-01T00:00:00.000Z",
        "stored_at": "1970-01-01T00:00:00.000Z",
        "latency_ms": 200,
        "retrospective": False,
        "updates": 0,
        "sightings": 2,
        "erased": False,
        "due_at": None,
        "overdue": False,
        "persons_needed": 1,
    }


@pytest.mark.parametrize("limit", [1, 2, 3, 7, 500])
def test_pages_hold_each_alert_once_newest_first(
    client: TestClient, registry: Registry, anna: Headers, limit: int
) -> None:
    with registry.transaction() as session:
        put_target(session, "w", "t")
        for number in range(7):
            # Two and two were stored in the same instant, as a batch does.
            put_alert(session, "t", f"{number}", at_us=number // 2)
    seen: list[str] = []
    cursor = None

    for _ in range(8):
        params = {"limit": limit} | ({"cursor": cursor} if cursor else {})
        page = client.get("/api/v1/alerts", params=params, headers=anna).json()
        seen += [alert["id"] for alert in page["items"]]
        cursor = page["next"]
        if cursor is None:
            break

    assert seen == ["6", "5", "4", "3", "2", "1", "0"]


@pytest.mark.parametrize("watchlists", [None, [], ["w"], ["v"], ["w", "v"]])
@pytest.mark.parametrize("groups", [None, [], ["doors"], ["yard"], ["doors", "yard"]])
def test_only_the_right_to_both_shows_an_alert(
    client: TestClient, parts: Parts, registry: Registry, watchlists: list[str] | None, groups: list[str] | None
) -> None:
    with registry.transaction() as session:
        for name in ("w", "v"):
            put_target(session, name, name)
        places = list(itertools.product(("w", "v"), ("doors", "yard")))
        for watchlist, group in places:
            reference = put_reference(session, watchlist, f"faces/{watchlist}-{group}")
            put_alert(
                session, watchlist, f"{watchlist}-{group}", group=group, reference_id=reference.id,
                frame_blob="frames/f",
            )  # fmt: skip
            for blob in (reference.face_blob, f"crops/c{watchlist}-{group}0.jpg", "frames/f"):
                put_picture(parts.blobs, blob)
        who = token_of(session, "ben", watchlists=watchlists, groups=groups)
    mine = {
        f"{w}-{g}" for w, g in places if (watchlists is None or w in watchlists) and (groups is None or g in groups)
    }

    listed = {alert["id"] for alert in client.get("/api/v1/alerts", headers=who).json()["items"]}

    assert listed == mine
    for watchlist, group in places:
        alert = f"{watchlist}-{group}"
        ways = ["", "/crop", f"/crops/c{alert}0/picture", "/frame", "/reference"]
        answers = [client.get(f"/api/v1/alerts/{alert}{way}", headers=who) for way in ways]
        answers.append(judge(client, who, alert, "confirmed"))
        assert {answer.status_code for answer in answers} == {200 if alert in mine else 404}, alert
        if alert not in mine:
            # As if there were none.
            nothing = client.get("/api/v1/alerts/nothing", headers=who).json()["detail"]
            assert {answer.json()["detail"] for answer in (answers[0], answers[-1])} == {
                nothing.replace("nothing", alert)
            }


def test_a_picture_of_another_alert_is_not_shown(client: TestClient, parts: Parts, registry: Registry) -> None:
    with registry.transaction() as session:
        for name in ("w", "v"):
            put_target(session, name, name)
            reference = put_reference(session, name, f"faces/{name}")
            put_picture(parts.blobs, f"faces/{name}")
            put_alert(session, name, f"of-{name}", reference_id=reference.id)
            put_picture(parts.blobs, f"crops/cof-{name}0.jpg")
        who = token_of(session, "ben", watchlists=["w"])

    def status(path: str) -> int:
        return client.get(f"/api/v1/alerts/of-w/{path}", headers=who).status_code

    assert status("crops/cof-w0/picture") == 200
    assert status("crops/cof-v0/picture") == 404
    assert status(f"references/{reference.id}/picture") == 404


@pytest.mark.parametrize("role", ["auditor", "analyst"])
def test_roles(client: TestClient, registry: Registry, role: str) -> None:
    with registry.transaction() as session:
        put_target(session, "w", "t")
        put_alert(session, "t", "a")
        who = token_of(session, "cem", role)

    assert client.get("/api/v1/alerts", headers=who).status_code == (200 if role == "analyst" else 403)
    assert (
        client.get("/api/v1/alerts/events", headers=who | {"X": ""}).status_code == 403 if role == "auditor" else True
    )
    assert judge(client, who, "a", "confirmed").status_code == 403


def test_detail_tells_crops_history_and_only_candidates_one_may_see(client: TestClient, registry: Registry) -> None:
    with registry.transaction() as session:
        for watchlist, name in (("w", "t"), ("w", "alike"), ("v", "hidden"), ("w", "gone")):
            put_target(session, watchlist, name)
        session.get_one(Target, "gone").erased_at_us = 1
        others = [{"target": name, "score": score} for name, score in
                  (("t", 0.64), ("hidden", 0.5), ("alike", 0.4), ("gone", 0.3))]  # fmt: skip
        put_alert(session, "t", "a", at_us=0, sightings=3, candidates=others)
        who = token_of(session, "ben", watchlists=["w"])
    judge(client, who, "a", "rejected", "another nose")

    found = client.get("/api/v1/alerts/a", headers=who).json()

    assert [crop["id"] for crop in found["crops"]] == ["ca0", "ca1", "ca2"]
    assert [(one["target"]["id"], one["score"]) for one in found["candidates"]] == [("alike", 0.4)]
    assert [(one["user"], one["verdict"], one["reason"]) for one in found["history"]] == [
        ("ben", "rejected", "another nose")
    ]
    assert found["verdict"] == "rejected"


def test_opening_an_alert_is_audited_and_asks_why_where_demanded(
    client: TestClient, registry: Registry, anna: Headers
) -> None:
    with registry.transaction() as session:
        put_target(session, "w", "t", reason_required=True)
        put_alert(session, "t", "a")

    refused = client.get("/api/v1/alerts/a", headers=anna)
    opened = client.get("/api/v1/alerts/a", headers=anna | {"X-Reason": "case 12"})

    assert refused.status_code == 422
    assert "reason" in refused.json()["detail"]
    assert opened.status_code == 200
    (entry,) = audit_of(registry, "alert.viewed")
    assert (entry.actor, entry.subject, entry.subject_id, entry.watchlist_id) == ("anna", "alert", "a", "w")
    assert entry.reason == "case 12"
    assert entry.detail == {"target": "t"}


def test_a_verdict_is_kept_told_and_audited(client: TestClient, registry: Registry, anna: Headers) -> None:
    with registry.transaction() as session:
        put_target(session, "w", "t")
        put_alert(session, "t", "a", sightings=2)

    rejected = judge(client, anna, "a", "rejected", "another nose")
    with registry.reading() as session:
        pairs = set(session.scalars(select(RejectedPair.sighting_id).where(RejectedPair.target_id == "t")))
    confirmed = judge(client, anna, "a", "confirmed")

    assert rejected.json()["verdict"] == "rejected"
    assert pairs == {"sa0", "sa1"}
    assert confirmed.json()["verdict"] == "confirmed"
    assert [one["verdict"] for one in confirmed.json()["history"]] == ["rejected", "confirmed"]
    with registry.reading() as session:
        assert session.scalars(select(RejectedPair)).all() == []
        alert = session.get_one(Alert, "a")
        assert alert.verdict == "confirmed"
        assert alert.judged_at_us is not None
        assert list(session.scalars(select(AlertEvent.kind).order_by(AlertEvent.id))) == ["opened", "judged", "judged"]
    (entry,) = audit_of(registry, "alert.rejected")
    assert (entry.subject_id, entry.watchlist_id, entry.reason) == ("a", "w", "another nose")
    assert entry.detail == {"target": "t", "final": True}
    assert len(audit_of(registry, "alert.confirmed")) == 1


def test_the_same_said_again_changes_nothing(client: TestClient, registry: Registry, anna: Headers) -> None:
    with registry.transaction() as session:
        put_target(session, "w", "t")
        put_alert(session, "t", "a")

    for _ in range(3):
        assert judge(client, anna, "a", "confirmed").status_code == 200

    with registry.reading() as session:
        assert len(session.scalars(select(Verdict)).all()) == 1
    assert len(audit_of(registry, "alert.confirmed")) == 1


@pytest.mark.parametrize(
    ("demanded", "verdict", "reason", "status"),
    [
        (False, "rejected", "", 422),
        (False, "rejected", "   ", 422),
        (False, "rejected", "no", 200),
        (False, "confirmed", "", 200),
        (True, "confirmed", "", 422),
        (True, "confirmed", "seen closely", 200),
        (False, "unverified", "no", 422),
        (False, "rejected", "x" * 1001, 422),
        (False, "rejected", "a\0b", 422),
    ],
)
def test_when_a_reason_is_needed(
    client: TestClient, registry: Registry, anna: Headers, demanded: bool, verdict: str, reason: str, status: int
) -> None:
    with registry.transaction() as session:
        put_target(session, "w", "t", reason_required=demanded)
        put_alert(session, "t", "a")

    answer = judge(client, anna, "a", verdict, reason)

    assert answer.status_code == status
    if status != 200:
        assert answer.headers["content-type"] == "application/problem+json"
        with registry.reading() as session:
            assert session.get_one(Alert, "a").verdict == "unverified"


def test_two_persons_must_agree_where_the_tier_demands_it(
    client: TestClient, registry: Registry, anna: Headers
) -> None:
    with registry.transaction() as session:
        put_target(session, "w", "t", two_person_tiers=["likely"])
        put_alert(session, "t", "a")
        put_alert(session, "t", "b", tier="possible")
        ben = token_of(session, "ben")

    def verdict_after(who: Headers, verdict: str) -> str:
        answer = judge(client, who, "a", verdict, "looked")
        assert answer.status_code == 200
        return str(answer.json()["verdict"])

    assert verdict_after(anna, "confirmed") == "unverified"
    assert verdict_after(anna, "rejected") == "unverified"  # one person, twice
    assert verdict_after(ben, "confirmed") == "unverified"  # they disagree
    assert verdict_after(ben, "rejected") == "rejected"
    assert verdict_after(anna, "confirmed") == "unverified"  # no longer
    with registry.reading() as session:
        assert session.scalars(select(RejectedPair)).all() == []
        assert session.get_one(Alert, "a").judged_at_us is None
    assert verdict_after(ben, "confirmed") == "confirmed"
    assert [entry.detail["final"] for entry in audit_of(registry, "alert.confirmed")] == [False, False, False, True]
    assert judge(client, anna, "b", "confirmed").json()["verdict"] == "confirmed"


def test_overdue_is_what_nobody_judged_in_time(client: TestClient, registry: Registry, anna: Headers) -> None:
    with registry.transaction() as session:
        put_target(session, "w", "t", acknowledge_within_s=60)
        put_alert(session, "t", "late", at_us=now_us() - 61_000_000)
        put_alert(session, "t", "judged", at_us=now_us() - 61_000_000)
        put_alert(session, "t", "fresh")
    judge(client, anna, "judged", "confirmed")

    items = client.get("/api/v1/alerts", headers=anna).json()["items"]

    assert {item["id"]: item["overdue"] for item in items} == {"late": True, "judged": False, "fresh": False}
    assert {item["id"]: item["due_at"] is not None for item in items} == {"late": True, "judged": False, "fresh": True}


def test_an_erased_alert_has_no_picture_and_cannot_be_judged(
    client: TestClient, registry: Registry, anna: Headers
) -> None:
    with registry.transaction() as session:
        target = put_target(session, "w", "t")
        put_alert(session, "t", "a", sightings=0)
        target.erased_at_us, target.name = 1, "erased t"

    assert client.get("/api/v1/alerts/a", headers=anna).json()["erased"] is True
    for way in ("crop", "crops/ca0/picture", "frame", "reference"):
        answer = client.get(f"/api/v1/alerts/a/{way}", headers=anna)
        assert answer.status_code == 404
        assert answer.headers["content-type"] == "application/problem+json"
    assert judge(client, anna, "a", "confirmed").status_code == 409


def test_a_picture_that_is_gone_from_the_store_is_a_problem_without_its_name(
    client: TestClient, registry: Registry, anna: Headers
) -> None:
    with registry.transaction() as session:
        put_target(session, "w", "t")
        put_alert(session, "t", "a")

    answer = client.get("/api/v1/alerts/a/crop", headers=anna)

    assert answer.status_code == 404
    assert "crops/" not in answer.text


def test_pictures_are_jpegs_that_no_cache_keeps(
    client: TestClient, parts: Parts, registry: Registry, anna: Headers
) -> None:
    with registry.transaction() as session:
        put_target(session, "w", "t")
        put_alert(session, "t", "a")
    jpeg = put_picture(parts.blobs, "crops/ca0.jpg")

    answer = client.get("/api/v1/alerts/a/crop", headers=anna)

    assert answer.content == jpeg
    assert answer.headers["content-type"] == "image/jpeg"
    assert answer.headers["cache-control"] == "no-store"


@pytest.mark.parametrize(
    ("params", "says"),
    [
        ({"limit": "0"}, "limit"),
        ({"limit": "501"}, "limit"),
        ({"cursor": "x"}, "cursor"),
        ({"cursor": "AAAA"}, "cursor"),
        ({"watchlist": "x" * 101}, "watchlist"),
        ({"tier": "certain"}, "tier"),
        ({"since": "yesterday"}, "since"),
        ({"since": "2026-11-23T10:00:00"}, "since"),
    ],
)
def test_bad_questions_are_told_what_is_wrong(
    client: TestClient, anna: Headers, params: dict[str, str], says: str
) -> None:
    answer = client.get("/api/v1/alerts", params=params, headers=anna)

    assert answer.status_code == 422
    assert answer.headers["content-type"] == "application/problem+json"
    assert says in answer.json()["detail"]


@pytest.mark.parametrize("since", ["0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00"])
def test_times_at_the_edges(client: TestClient, anna: Headers, since: str) -> None:
    assert client.get("/api/v1/alerts", params={"since": since}, headers=anna).status_code == 200


def test_webhooks_are_told_when_an_alert_is_judged_and_not_before(
    client: TestClient, registry: Registry, anna: Headers
) -> None:
    with registry.transaction() as session:
        put_target(session, "w", "t", two_person_tiers=["likely"])
        put_alert(session, "t", "a")
        session.add(Webhook(id="h", watchlist_id="w", url="https://example.org", secret=b"", created_at_us=0))
        ben = token_of(session, "ben")

    judge(client, anna, "a", "confirmed")
    judge(client, ben, "a", "confirmed")

    with registry.reading() as session:
        (delivery,) = session.scalars(select(Delivery)).all()
    assert delivery.payload["type"] == "alert.judged"
    assert delivery.payload["alert"]["verdict"] == "confirmed"
