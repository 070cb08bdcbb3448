"""Webhooks and their log through the API and the page, on each database."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient
from httpx2 import Response
from sqlalchemy import select

from lookout.accounts import sessions, users
from lookout.accounts.rights import ROLE_SCOPES
from lookout.audit import SYSTEM
from lookout.clock import now_us
from lookout.sealing import Keyring
from lookout.secret_files import read_or_make, secret_path
from lookout.settings import Settings
from lookout.stores.registry import Registry
from lookout.stores.registry.tables import Alert, AuditEntry, Delivery, Target, Watchlist
from search.app import create_app
from search.parts import Parts
from tests.receiver import Receiver, documented_check, listening
from workers.deliveries import deliver, due

HOOKS = "/api/v1/watchlists/mine/webhooks"


@dataclass
class Service:
    """The service, asked by one user or another."""

    client: TestClient
    parts: Parts

    def token(self, role: str, *, watchlists: list[str] | None = None) -> str:
        """A new user's token with all rights of the role."""
        with self.parts.registry.transaction() as session:
            name = f"{role}{now_us()}"
            user = users.create_user(session, SYSTEM, name=name, role=role, watchlist_ids=watchlists)
            scopes = sorted(ROLE_SCOPES[role])
            return sessions.create_token(session, SYSTEM, user, name="test", scopes=scopes, days=1)[1]

    def ask(self, method: str, path: str, **given: Any) -> Response:
        """A request with the token of the client's headers."""
        answer: Response = self.client.request(method, path, **given)
        return answer

    def hook(self, url: str) -> dict[str, Any]:
        """Add a webhook; returns the answer with its secret."""
        answer = self.ask("POST", HOOKS, json={"url": url})
        assert answer.status_code == 201, answer.text
        made: dict[str, Any] = answer.json()
        return made

    def work(self) -> None:
        """Do what the workers do every second."""
        for delivery_id in due(self.parts.registry):
            deliver(self.parts.registry, self.parts.keyring, delivery_id)

    def fill(self, webhook_id: str, count: int, state: str = "dead") -> None:
        """Deliveries d0, d1 … of an alert, two and two put by in the same instant."""
        with self.parts.registry.transaction() as session:
            if session.get(Target, "t") is None:
                session.add(Target(id="t", watchlist_id="mine", name="Anna", created_at_us=0))
                session.flush()
                session.add(
                    Alert(
                        id="a", target_id="t", camera_group="door", camera_id="door", tier="likely", score=0.7,
                        threshold=0.6, first_captured_at_us=0, last_seen_at_us=0, latency_us=1, stored_at_us=0,
                    )
                )  # fmt: skip
                session.flush()
            for number in range(count):
                session.add(
                    Delivery(
                        id=f"d{number}", webhook_id=webhook_id, alert_id="a", payload={"type": "alert.opened"},
                        state=state, attempts=16, next_attempt_at_us=0, last_attempt_at_us=1, last_error="HTTP 500",
                        created_at_us=number // 2,
                    )
                )  # fmt: skip

    def audited(self) -> list[tuple[str, str]]:
        """What was done to webhooks and deliveries, and to which."""
        with self.parts.registry.reading() as session:
            entries = session.scalars(
                select(AuditEntry).where(AuditEntry.subject.in_(["webhook", "delivery"])).order_by(AuditEntry.number)
            )
            return [(entry.action, entry.subject_id) for entry in entries]


@pytest.fixture
def service(registry: Registry, tmp_path: Path) -> Iterator[Service]:
    """Asked by an admin, unless a test says otherwise; with the watchlists `mine` and `other`."""
    read_or_make(secret_path(tmp_path, "data_keys"), Keyring.new_key)
    parts = Parts(Settings(home=tmp_path, database_url=registry.url.render_as_string(hide_password=False)))
    with registry.transaction() as session:
        for name in ("mine", "other"):
            session.add(Watchlist(id=name, name=name, purpose="p", legal_basis="l", created_at_us=0))
    with TestClient(create_app(parts), raise_server_exceptions=False) as client:
        made = Service(client, parts)
        client.headers["Authorization"] = f"Bearer {made.token('admin')}"
        yield made
    parts.registry.close()


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with listening() as made:
        yield made


def test_the_secret_is_shown_once_and_verifies_the_test(service: Service, receiver: Receiver) -> None:
    made = service.hook(receiver.url)
    secret = made.pop("secret")
    path = f"/api/v1/webhooks/{made['id']}"
    assert service.ask("GET", path).json() == made
    assert service.ask("GET", HOOKS).json() == {"items": [made], "next": None}
    assert secret not in service.ask("GET", HOOKS).text

    sent = service.ask("POST", f"{path}/test")
    assert sent.status_code == 201
    assert sent.json()["state"] == "pending"
    service.work()
    (request,) = receiver.requests
    assert request.event["type"] == "webhook.test"
    assert documented_check()(secret, request.headers, request.body)
    outcome = service.ask("GET", f"/api/v1/deliveries/{sent.json()['id']}").json()
    assert (outcome["state"], outcome["type"], outcome["alert"]) == ("delivered", "webhook.test", None)
    assert outcome["last_attempt_at"].endswith("Z")
    assert outcome["next_attempt_at"] is None

    renewed = service.ask("POST", f"{path}/secret").json()["secret"]
    service.ask("POST", f"{path}/test")
    service.work()
    assert documented_check()(renewed, receiver.requests[1].headers, receiver.requests[1].body)
    assert [action for action, _ in service.audited()] == [
        "webhook.created", "webhook.tested", "webhook.changed", "webhook.tested"
    ]  # fmt: skip


def test_a_repeated_request_makes_one_webhook_and_hides_the_secret(service: Service) -> None:
    given = {"json": {"url": "https://example.org/hook"}, "headers": {"Idempotency-Key": "k"}}
    first, second = service.ask("POST", HOOKS, **given), service.ask("POST", HOOKS, **given)
    assert (first.status_code, second.status_code) == (201, 201)
    assert second.json() == first.json() | {"secret": None}
    assert len(service.ask("GET", HOOKS).json()["items"]) == 1
    assert service.ask("POST", HOOKS, json=given["json"]).status_code == 409


def test_credentials_of_a_url_are_not_shown_again(service: Service) -> None:
    made = service.hook("https://user:hush@example.org/hook?token=hush2")
    assert made["url"] == "https://…@example.org/hook?token=…"
    path = f"/api/v1/webhooks/{made['id']}"
    refused = service.ask("PATCH", path, json={"url": made["url"]}, headers={"If-Match": "*"})
    assert refused.status_code == 422, "what was shown is not what was meant"
    conflict = service.ask("POST", HOOKS, json={"url": "https://user:hush@example.org/hook?token=hush2"})
    assert conflict.status_code == 409
    with service.parts.registry.reading() as session:
        audited = str([entry.detail for entry in session.scalars(select(AuditEntry))])
    assert "hush" not in conflict.text + refused.text + audited


def test_a_change_needs_the_version_it_is_of(service: Service) -> None:
    path = f"/api/v1/webhooks/{service.hook('https://example.org/hook')['id']}"
    etag = service.ask("GET", path).headers["etag"]
    assert service.ask("PATCH", path, json={"enabled": False}).status_code == 422
    changed = service.ask("PATCH", path, json={"enabled": False}, headers={"If-Match": etag})
    assert changed.json()["enabled"] is False
    assert service.ask("PATCH", path, json={"enabled": True}, headers={"If-Match": etag}).status_code == 412
    etag = changed.headers["etag"]
    moved = service.ask("PATCH", path, json={"url": "https://example.org/new"}, headers={"If-Match": etag})
    assert (moved.json()["url"], moved.json()["enabled"]) == ("https://example.org/new", False)
    assert service.ask("POST", f"{path}/test").status_code == 409, "it is disabled"
    assert service.ask("PATCH", path, json={}, headers={"If-Match": "*"}).status_code == 422
    service.hook("https://example.org/taken")
    taken = service.ask("PATCH", path, json={"url": "https://example.org/taken"}, headers={"If-Match": "*"})
    assert taken.status_code == 409


def test_a_removed_webhook_is_gone(service: Service) -> None:
    made = service.hook("https://example.org/hook")
    service.fill(made["id"], 3)
    assert service.ask("DELETE", f"/api/v1/webhooks/{made['id']}").status_code == 204
    assert service.ask("GET", f"/api/v1/webhooks/{made['id']}").status_code == 404
    assert service.ask("GET", "/api/v1/deliveries/d0").status_code == 404
    assert service.audited()[-1] == ("webhook.removed", made["id"])


@pytest.mark.parametrize("limit", [1, 2, 3, 500])
def test_the_log_has_each_delivery_once_newest_first(service: Service, limit: int) -> None:
    made = service.hook("https://example.org/hook")
    service.fill(made["id"], 7)
    seen: list[str] = []
    cursor = None
    for _ in range(8):
        params = {"limit": limit} | ({"cursor": cursor} if cursor else {})
        page = service.ask("GET", f"/api/v1/webhooks/{made['id']}/deliveries", params=params).json()
        seen += [one["id"] for one in page["items"]]
        cursor = page["next"]
        if cursor is None:
            break
    assert seen == [f"d{number}" for number in (6, 5, 4, 3, 2, 1, 0)]


def test_dead_letters_are_sent_again(service: Service, receiver: Receiver) -> None:
    made = service.hook(receiver.url)
    service.fill(made["id"], 3)
    log = f"/api/v1/webhooks/{made['id']}/deliveries"
    again = service.ask("POST", "/api/v1/deliveries/d1/replay")
    assert (again.status_code, again.json()["state"], again.json()["attempts"]) == (200, "pending", 0)
    assert service.ask("POST", "/api/v1/deliveries/d1/replay").status_code == 409
    assert [one["id"] for one in service.ask("GET", log, params={"state": "dead"}).json()["items"]] == ["d2", "d0"]
    assert service.ask("POST", f"{log}/replay").json() == {"replayed": 2}
    assert service.ask("POST", f"{log}/replay").json() == {"replayed": 0}
    service.work()
    assert {request.headers["webhook-id"] for request in receiver.requests} == {"d0", "d1", "d2"}
    assert service.audited()[1:] == [("delivery.replayed", "d1"), ("delivery.replayed", made["id"])]


def routes(webhook_id: str) -> list[tuple[str, str]]:
    """All of the API and the page, for a webhook of `mine` with the delivery `d0`."""
    hook, page = f"/api/v1/webhooks/{webhook_id}", f"/watchlists/mine/webhooks/{webhook_id}"
    return [
        ("GET", HOOKS), ("POST", HOOKS), ("GET", hook), ("PATCH", hook), ("POST", f"{hook}/test"),
        ("POST", f"{hook}/secret"), ("GET", f"{hook}/deliveries"), ("POST", f"{hook}/deliveries/replay"),
        ("GET", "/api/v1/deliveries/d0"), ("POST", "/api/v1/deliveries/d0/replay"), ("DELETE", hook),
        ("GET", "/watchlists/mine/webhooks"), ("POST", "/watchlists/mine/webhooks"), ("GET", page),
        ("GET", f"{page}/log"), ("POST", f"{page}/enabled"), ("POST", f"{page}/secret"), ("POST", f"{page}/test"),
        ("GET", f"{page}/deliveries/d0"), ("POST", f"{page}/deliveries/d0/replay"), ("POST", f"{page}/replay"),
        ("POST", f"{page}/remove"),
    ]  # fmt: skip


def ask_all(service: Service, token: str, webhook_id: str) -> dict[str, int]:
    """How each route answers one who has the token."""
    answers = {}
    for method, path in routes(webhook_id):
        given: dict[str, Any] = {"headers": {"Authorization": f"Bearer {token}"}}
        if path.startswith("/api/"):
            given["json"] = {"url": "https://example.org/new"}
            given["headers"]["If-Match"] = "*"
        else:
            given["data"] = {"url": "https://example.org/new", "enabled": "true"}
        answer = service.ask(method, path, **given)
        assert "example.org" not in answer.text
        answers[f"{method} {path}"] = answer.status_code
    return answers


@pytest.mark.parametrize("registry", ["sqlite"], indirect=True)
@pytest.mark.parametrize("role", ["operator", "analyst", "auditor"])
def test_only_admins_see_where_alerts_go(service: Service, role: str) -> None:
    made = service.hook("https://example.org/hook")
    service.fill(made["id"], 1)
    assert set(ask_all(service, service.token(role), made["id"]).values()) == {403}


def test_without_a_right_to_the_watchlist_there_is_nothing(service: Service) -> None:
    made = service.hook("https://example.org/hook")
    service.fill(made["id"], 1)
    token = service.token("admin", watchlists=["other"])
    answers = ask_all(service, token, made["id"])
    assert set(answers.values()) == {404}, answers
    headers = {"Authorization": f"Bearer {token}"}
    foreign = service.ask("GET", f"/api/v1/webhooks/{made['id']}", headers=headers).json()["detail"]
    none = service.ask("GET", "/api/v1/webhooks/nowhere", headers=headers).json()["detail"]
    assert foreign.replace(made["id"], "") == none.replace("nowhere", "")
    assert service.ask("GET", f"/api/v1/webhooks/{made['id']}").status_code == 200, "nothing was changed"


def test_a_webhook_is_not_found_below_another_watchlist(service: Service) -> None:
    made = service.hook("https://example.org/hook")
    assert service.ask("GET", f"/watchlists/other/webhooks/{made['id']}").status_code == 404


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", f"/api/v1/webhooks/{'x' * 65}"),
        ("GET", "/api/v1/webhooks/x/deliveries?state=lost"),
        ("GET", f"{HOOKS}?cursor=AAAA"),
        ("GET", f"{HOOKS}?limit=0"),
        ("POST", HOOKS),
    ],
)
def test_bad_questions_are_told_what_is_wrong(service: Service, method: str, path: str) -> None:
    answer = service.ask(method, path)
    assert answer.status_code == 422
    assert answer.headers["content-type"] == "application/problem+json"


def test_an_id_that_no_database_takes_is_not_found(service: Service) -> None:
    for path in ("/api/v1/webhooks/a%00b", "/api/v1/deliveries/a%00b", "/watchlists/a%00b/webhooks"):
        assert service.ask("GET", path).status_code in (404, 422)


@pytest.mark.parametrize("url", ["ftp://example.org/", "a\0b", "http://169.254.169.254/", "x" * 2001, 7, None])
def test_bad_urls_are_told_what_is_wrong(service: Service, url: object) -> None:
    answer = service.ask("POST", HOOKS, json={"url": url})
    assert answer.status_code == 422
    assert "url" in answer.json()["detail"]


def test_the_page_adds_tests_and_replays(service: Service, receiver: Receiver) -> None:
    pages = "/watchlists/mine/webhooks"
    assert "Nobody is told yet" in service.ask("GET", pages).text
    htmx = {"HX-Request": "true"}
    added = service.ask("POST", pages, data={"url": receiver.url}, headers=htmx).text
    secret = re.findall(r"whsec_[\w+/=]{20,}", added)[0]
    webhook_id = re.findall(rf"{pages}/(\w+)", added)[0]
    path = f"{pages}/{webhook_id}"
    assert secret not in service.ask("GET", pages).text + service.ask("GET", path).text

    asked = service.ask("POST", f"{path}/test", headers=htmx).text
    outcome = re.findall(r'hx-get="([^"]+)"', asked)[0]
    assert "hx-trigger" in service.ask("GET", outcome, headers=htmx).text, "asks on"
    receiver.statuses = [500]
    service.work()
    known = service.ask("GET", outcome, headers=htmx)
    assert "HTTP 500" in known.text
    assert "hx-trigger" not in known.text
    assert known.headers["hx-trigger"] == "logged"

    service.fill(webhook_id, 3)
    assert "dead letter" in service.ask("GET", f"{path}?state=dead").text
    assert "1 dead letter is sent again" in service.ask("POST", f"{path}/deliveries/d0/replay", headers=htmx).text
    assert "2 dead letters are sent again" in service.ask("POST", f"{path}/replay", headers=htmx).text
    assert "Enable" in service.ask("POST", f"{path}/enabled", data={"enabled": "false"}, headers=htmx).text
    renewed = service.ask("POST", f"{path}/secret", headers=htmx).text
    assert re.search(r"whsec_[\w+/=]{20,}", renewed)
    assert service.ask("POST", f"{path}/remove", headers=htmx).headers["hx-redirect"] == pages
    assert service.ask("GET", path).status_code == 404


def test_the_page_works_without_script(service: Service) -> None:
    added = service.ask("POST", "/watchlists/mine/webhooks", data={"url": "https://example.org/hook"})
    assert "<html" in added.text
    assert "whsec_" in added.text
    empty = service.ask("POST", "/watchlists/mine/webhooks", data={})
    assert empty.status_code == 422
