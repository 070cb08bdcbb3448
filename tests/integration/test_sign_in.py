"""Signing in through the pages, and what people see of accounts and of the audit there."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient
from redis import Redis
from sqlalchemy.engine import make_url

from lookout import audit
from lookout.accounts import users
from lookout.audit import SYSTEM
from lookout.stores.registry import Registry
from lookout.stores.registry.tables import User
from search import main
from search.app import create_app
from search.parts import Parts
from search.security import COOKIE
from tests.servers import Server
from tests.wall import parts_on, put_target

PASSWORD = "several words are fine"
OWN = {"Sec-Fetch-Site": "same-origin"}


@pytest.fixture
def parts(tmp_path: Path, redis: Redis, valkey_server: Server) -> Iterator[Parts]:
    registry = Registry(make_url(f"sqlite:///{tmp_path / 'registry.db'}"))
    registry.migrate()
    made = parts_on(registry, tmp_path, redis_url=valkey_server.url)
    yield made
    made.registry.close()
    made.redis.close()


@pytest.fixture
def client(parts: Parts) -> Iterator[TestClient]:
    with TestClient(create_app(parts), headers=OWN, follow_redirects=False) as made:
        yield made


def invite(parts: Parts, name: str = "anna", role: str = "operator", **rights: Any) -> str:
    """Make a user; returns the path of the one-time link."""
    with parts.registry.transaction() as session:
        user = users.create_user(session, SYSTEM, name=name, role=role, **rights)
        return f"/welcome/{users.make_link(session, SYSTEM, user)}"


def sign_in(client: TestClient, parts: Parts, name: str = "anna", role: str = "operator", **rights: Any) -> None:
    assert client.post(invite(parts, name, role, **rights), data={"password": PASSWORD}).status_code == 303


def test_a_link_sets_the_password_and_signs_in_once(client: TestClient, parts: Parts) -> None:
    link = invite(parts)
    assert "Welcome, anna" in client.get(link).text
    weak = client.post(link, data={"password": "too short"})
    assert (weak.status_code, COOKIE in weak.cookies) == (422, False)
    assert "15 to 200 characters" in weak.text

    begun = client.post(link, data={"password": PASSWORD})

    assert (begun.status_code, begun.headers["location"]) == (303, "/")
    assert client.get("/").headers["location"] == "/alerts"
    assert client.get(link).status_code == client.post(link, data={"password": PASSWORD}).status_code == 404


@pytest.mark.parametrize(
    ("scheme", "public", "secure"), [("http", "http", False), ("https", "http", True), ("http", "https", True)]
)
def test_the_cookie_is_out_of_reach_of_scripts_and_other_sites(
    parts: Parts, scheme: str, public: str, secure: bool
) -> None:
    link = invite(parts)
    parts.settings = parts.settings.model_copy(update={"public_url": f"{public}://testserver"})
    with TestClient(create_app(parts), base_url=f"{scheme}://testserver", headers=OWN) as client:
        begun = client.post(link, data={"password": PASSWORD}, follow_redirects=False)
        sent = {"Cookie": f"{COOKIE}={begun.cookies[COOKIE]}"}  # which the client keeps back where it is for TLS
        ended = client.post("/sign-out", headers=sent, follow_redirects=False)

    for answer in (begun, ended):
        flags = {flag.strip().lower() for flag in answer.headers["set-cookie"].split(";")}
        assert {"httponly", "samesite=lax", "path=/"} <= flags
        assert ("secure" in flags) == secure


@pytest.mark.parametrize(
    ("wanted", "goes"),
    [
        ("/alerts?page=2", "/alerts?page=2"),
        ("", "/"),
        ("//example.org", "/"),
        ("/\\example.org", "/"),
        ("https://example.org", "/"),
        ("javascript:alert(1)", "/"),
    ],
)
def test_signing_in_leads_to_the_page_that_was_wanted_but_never_elsewhere(
    client: TestClient, parts: Parts, wanted: str, goes: str
) -> None:
    sign_in(client, parts)
    client.cookies.clear()

    answer = client.post("/sign-in", data={"name": " Anna ", "password": PASSWORD, "next": wanted})

    assert (answer.status_code, answer.headers["location"]) == (303, goes)


def test_signing_out_ends_the_session(client: TestClient, parts: Parts) -> None:
    sign_in(client, parts)
    kept = client.cookies[COOKIE]
    assert client.get("/account").status_code == 200

    assert client.post("/sign-out").headers["location"] == "/sign-in"

    client.cookies.set(COOKIE, kept)
    assert client.get("/account").headers["location"].startswith("/sign-in")


def test_an_address_has_twenty_attempts_a_minute(client: TestClient, parts: Parts, redis: Redis) -> None:
    sign_in(client, parts)
    client.cookies.clear()

    statuses = [
        client.post("/sign-in", data={"name": f"user{number}", "password": "x"}).status_code for number in range(20)
    ]

    assert statuses == [401] * 19 + [429]  # the link counted as well
    right = client.post("/sign-in", data={"name": "anna", "password": PASSWORD})
    assert right.status_code == 429
    assert right.headers["retry-after"] == "60"
    assert client.post("/welcome/lkl_guessed", data={"password": PASSWORD}).status_code == 429
    redis.flushall()
    assert client.post("/sign-in", data={"name": "anna", "password": PASSWORD}).status_code == 303


def test_while_redis_is_away_people_get_in(parts: Parts) -> None:
    link = invite(parts)
    parts.__dict__["redis"] = Redis.from_url("redis://127.0.0.1:1", socket_connect_timeout=1)

    with TestClient(create_app(parts), headers=OWN, follow_redirects=False) as client:
        assert client.post(link, data={"password": PASSWORD}).status_code == 303


def test_the_first_start_prints_a_link_once(parts: Parts, capsys: pytest.CaptureFixture[str]) -> None:
    main._welcome_first_admin(parts, 8123)
    main._welcome_first_admin(parts, 8123)

    (said,) = capsys.readouterr().out.splitlines()
    assert re.search(r"open http://127\.0\.0\.1:8123/welcome/lkl_\S{43} to set the password of `admin`", said)


def test_before_the_registry_is_migrated_no_link_is_printed(
    parts: Parts, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    parts.registry.close()
    parts.__dict__["registry"] = Registry(make_url(f"sqlite:///{tmp_path / 'another.db'}"))

    main._welcome_first_admin(parts, 8123)

    assert capsys.readouterr().out == ""


def test_an_admin_adds_changes_and_shuts_out_users(client: TestClient, parts: Parts) -> None:
    with parts.registry.transaction() as session:
        put_target(session, "w", "t")
    sign_in(client, parts, "root", "admin")
    made = client.post("/users", data={"name": "Ben", "role": "operator", "watchlists": ["w"], "all_groups": "true"})
    assert re.search(r"/welcome/lkl_\S{43}<", made.text)
    assert "list w" in made.text
    with parts.registry.reading() as session:
        ben = users.find_user(session, "ben")
        assert (ben.watchlist_ids, ben.camera_groups) == (["w"], None)
    page = client.get(f"/users/{ben.id}")
    assert 'value="w" checked' in page.text

    form = {"role": "analyst", "all_watchlists": "true", "groups": ["door"], "version": "1"}
    assert client.post(f"/users/{ben.id}", data=form).headers["location"] == "/users"
    assert client.post(f"/users/{ben.id}", data=form).status_code == 412
    assert client.post(f"/users/{ben.id}", data=form | {"version": "2", "disabled": "true"}).status_code == 303
    with parts.registry.reading() as session:
        ben = session.get_one(User, ben.id)
        assert (ben.role, ben.watchlist_ids, ben.camera_groups) == ("analyst", None, ["door"])
        assert ben.disabled_at_us is not None
    assert client.post(f"/users/{ben.id}/link").status_code == 422
    assert client.get("/users/nobody").status_code == 404


def test_ones_own_account(client: TestClient, parts: Parts) -> None:
    sign_in(client, parts)
    made = client.post("/account/tokens", data={"name": "report", "scopes": ["alerts:read"], "days": "7"})
    found = re.search(r"lkt_[\w-]{43}", made.text)
    assert found
    assert found[0] not in client.get("/account").text
    token = re.search(r"/account/tokens/(\w+)/revoke", made.text)
    assert token
    with TestClient(client.app) as program:
        bearer = {"Authorization": f"Bearer {found[0]}"}
        # A token cannot help itself to more through the page.
        more = {"name": "more", "scopes": ["alerts:judge"], "days": "7"}
        assert program.post("/account/tokens", headers=bearer, data=more).status_code == 422
        passwords = {"old": PASSWORD, "new": "quite another password"}
        assert program.post("/account/password", headers=bearer, data=passwords).status_code == 403
        assert "No tokens yet" in client.post(f"/account/tokens/{token[1]}/revoke").text
        assert program.get("/api/v1/tokens", headers=bearer).status_code == 401

    with TestClient(client.app, headers=OWN, follow_redirects=False) as elsewhere:
        elsewhere.post("/sign-in", data={"name": "anna", "password": PASSWORD})
        assert elsewhere.get("/account").status_code == 200
        client.post("/account/sessions/end-others")
        assert elsewhere.get("/account").status_code == 303
        elsewhere.cookies.clear()
        elsewhere.post("/sign-in", data={"name": "anna", "password": PASSWORD})
        assert client.post("/account/password", data={"old": "wrong", "new": "quite another one"}).status_code == 403
        changed = client.post("/account/password", data={"old": PASSWORD, "new": "quite another password"})
        assert changed.status_code == 200
        assert client.get("/account").status_code == 200
        assert elsewhere.get("/account").status_code == 303


def test_the_audit_reads_as_sentences_and_names_targets_only_to_who_may_see_them(
    client: TestClient, parts: Parts
) -> None:
    with parts.registry.transaction() as session:
        put_target(session, "w", "t")
        for _ in range(120):
            audit.record(session, SYSTEM, "target.viewed", "target", "t", watchlist_id="w", reason="<b>why</b>")
        audit.record(session, SYSTEM, "moon.painted", "moon", "m", detail={"target": "t"})
    sign_in(client, parts, "auditor", "auditor")
    assert client.get("/").headers["location"] == "/audit"

    page = client.get("/audit").text

    assert "system looked at target t" in page
    assert "system: painted moon m" in page
    assert "auditor signed in" in page
    assert "list w" in page
    assert "person t" not in page
    assert "&lt;b&gt;why" in page
    older = re.search(r'href="(/audit\?before=\d+)"', page)
    assert older
    assert client.get(older[1]).text.count("<tr>") == 1 + 125 - 100
    assert "Whole: 125 entries" in client.get("/audit/verification").text
    assert client.get("/audit", params={"since": "2026-02-31", "until": "9999-12-31"}).status_code == 200
    assert "Nothing is written here that fits" in client.get("/audit", params={"actor": "nobody"}).text

    sign_in(client, parts, "root", "admin")
    assert "system looked at target person t" in client.get("/audit").text
