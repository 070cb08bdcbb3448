"""Users, tokens and the audit log over HTTP."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

from lookout import audit
from lookout.audit import SYSTEM
from lookout.stores.registry import Registry
from search.app import create_app
from tests.wall import parts_on, put_target, token_of

Headers = dict[str, str]


@pytest.fixture
def client(registry: Registry, tmp_path: Path) -> Iterator[TestClient]:
    parts = parts_on(registry, tmp_path, public_url="https://lookout.example.org/")
    with TestClient(create_app(parts)) as made:
        yield made
    parts.registry.close()
    parts.redis.close()


@pytest.fixture
def root(registry: Registry) -> Headers:
    with registry.transaction() as session:
        put_target(session, "w", "t")
        return token_of(session, "root", "admin")


def add(client: TestClient, who: Headers, **fields: Any) -> Any:
    return client.post("/api/v1/users", headers=who, json={"name": "anna", "role": "operator"} | fields)


def test_a_user_is_made_with_a_link_shown_once(client: TestClient, root: Headers) -> None:
    made = add(client, root | {"Idempotency-Key": "k"}, watchlists=["w"], camera_groups=["door"])
    again = add(client, root | {"Idempotency-Key": "k"}, watchlists=["w"], camera_groups=["door"])
    other = add(client, root | {"Idempotency-Key": "k"}, name="ben")

    assert made.status_code == 201
    assert made.json()["link"].startswith("https://lookout.example.org/welcome/lkl_")
    assert again.json() == made.json() | {"link": None}
    assert other.status_code == 422
    found = client.get(f"/api/v1/users/{made.json()['id']}", headers=root)
    assert found.json() == {name: made.json()[name] for name in found.json()}
    assert (found.json()["watchlists"], found.json()["camera_groups"]) == (["w"], ["door"])
    assert not found.json()["has_password"]
    assert [one["name"] for one in client.get("/api/v1/users", headers=root).json()["items"]] == ["anna", "root"]
    assert add(client, root).status_code == 409


def test_nobody_overwrites_what_somebody_else_changed(client: TestClient, root: Headers) -> None:
    user = f"/api/v1/users/{add(client, root).json()['id']}"
    read = client.get(user, headers=root).headers["etag"]
    change = {"role": "analyst", "watchlists": None, "camera_groups": None, "disabled": False}

    assert client.put(user, headers=root, json=change).status_code == 422
    first = client.put(user, headers=root | {"If-Match": read}, json=change)
    late = client.put(user, headers=root | {"If-Match": read}, json=change | {"role": "admin"})

    assert (first.status_code, first.json()["role"]) == (200, "analyst")
    assert late.status_code == 412
    newest = first.headers["etag"]
    assert newest != read
    disabled = client.put(user, headers=root | {"If-Match": newest}, json=change | {"disabled": True}).json()
    assert disabled["disabled_at"] is not None
    assert client.post(f"{user}/link", headers=root).status_code == 422
    assert client.post(f"{user}/unlock", headers=root).json()["locked_until"] is None


@pytest.mark.parametrize(
    "fields",
    [
        {"name": "Anna"},
        {"name": "a\u0000"},
        {"name": "a\n"},
        {"role": "king"},
        {"watchlists": ["nowhere"]},
        {"watchlists": ["x" * 33]},
        {"camera_groups": ["a\u0000"]},
        {"camera_groups": [" "]},
        {"camera_groups": ["x"] * 1001},
        {"password": "mine"},
    ],
)
def test_a_wrong_user_is_refused(client: TestClient, root: Headers, fields: dict[str, Any]) -> None:
    assert add(client, root, **fields).status_code == 422
    assert len(client.get("/api/v1/users", headers=root).json()["items"]) == 1


def test_everybody_has_tokens_of_their_own(client: TestClient, registry: Registry, root: Headers) -> None:
    with registry.transaction() as session:
        anna = token_of(session, "anna")
    wanted = {"name": "report", "scopes": ["alerts:read"], "days": 7}

    made = client.post("/api/v1/tokens", headers=anna, json=wanted)

    assert made.status_code == 201
    (shown,) = [one for one in client.get("/api/v1/tokens", headers=anna).json()["items"] if one["name"] == "report"]
    assert "secret" not in shown
    narrow = {"Authorization": f"Bearer {made.json()['secret']}"}
    assert client.get("/api/v1/tokens", headers=narrow).status_code == 200
    assert client.get("/api/v1/users", headers=narrow).status_code == 403
    # Not more than the token that asks, not more than the user, and only one's own.
    assert client.post("/api/v1/tokens", headers=narrow, json=wanted).status_code == 201
    assert client.post("/api/v1/tokens", headers=narrow, json=wanted | {"scopes": ["alerts:judge"]}).status_code == 422
    assert client.post("/api/v1/tokens", headers=anna, json=wanted | {"scopes": ["audit:read"]}).status_code == 422
    assert client.delete(f"/api/v1/tokens/{shown['id']}", headers=root).status_code == 404
    assert client.delete(f"/api/v1/tokens/{shown['id']}", headers=anna).status_code == 204
    assert client.get("/api/v1/tokens", headers=narrow).status_code == 401


def test_the_log_is_read_in_pages_without_gap_or_repeat(client: TestClient, registry: Registry, root: Headers) -> None:
    for number in range(10):
        with registry.transaction() as session:
            audit.record(session, SYSTEM, "target.viewed", "target", f"t{number}", watchlist_id="w")
    seen: list[str] = []
    cursor = None

    while True:
        params: dict[str, Any] = {"limit": 3, "action": "target.viewed"} | ({"cursor": cursor} if cursor else {})
        page = client.get("/api/v1/audit", headers=root, params=params).json()
        seen += [one["subject_id"] for one in page["items"]]
        cursor = page["next"]
        with registry.transaction() as session:  # goes on meanwhile
            audit.record(session, SYSTEM, "target.viewed", "target", "late")
        if cursor is None:
            break

    assert seen == [f"t{number}" for number in reversed(range(10))]


@pytest.mark.parametrize(
    "params", [{"cursor": "x"}, {"cursor": "AAAA"}, {"limit": 0}, {"limit": 501}, {"since": "long ago"}]
)
def test_a_wrong_question_is_refused(client: TestClient, root: Headers, params: dict[str, Any]) -> None:
    assert client.get("/api/v1/audit", headers=root, params=params).status_code == 422


def test_the_log_is_verified_and_taken_out(client: TestClient, registry: Registry, root: Headers) -> None:
    found = client.get("/api/v1/audit/verification", headers=root).json()
    assert found["whole"]
    with_head = client.get("/api/v1/audit/verification", headers=root, params={"head": found["head"]}).json()
    assert with_head == found
    assert not client.get("/api/v1/audit/verification", headers=root, params={"head": "f" * 64}).json()["whole"]

    taken = client.get("/api/v1/audit/export", headers=root)

    lines = [json.loads(line) for line in taken.text.splitlines()]
    assert [line["number"] for line in lines] == list(range(1, found["entries"] + 2))
    assert (lines[-1]["action"], lines[-1]["actor"], lines[-1]["via"]) == ("audit.exported", "root", "token")
    assert taken.headers["content-disposition"] == 'attachment; filename="lookout-audit.jsonl"'
    table = client.get("/api/v1/audit/export", headers=root, params={"form": "csv", "until": "2020-01-01T00:00:00Z"})
    assert table.text.splitlines() == [",".join(lines[0] | {"at": ""}).replace("at,number", "number,at")]


def test_an_auditor_sees_of_a_foreign_watchlist_nothing(client: TestClient, registry: Registry, root: Headers) -> None:
    with registry.transaction() as session:
        put_target(session, "v", "u")
        auditor = token_of(session, "auditor", "auditor", watchlists=["v"])
        for watchlist in ("v", "w"):
            audit.record(session, SYSTEM, "target.viewed", "target", "x", watchlist_id=watchlist)

    def watchlists(path: str, **params: str) -> set[str | None]:
        answer = client.get(path, headers=auditor, params=params)
        items = answer.json()["items"] if path.endswith("audit") else map(json.loads, answer.text.splitlines())
        return {one["watchlist_id"] for one in items}

    assert watchlists("/api/v1/audit") == {None, "v"}
    assert watchlists("/api/v1/audit", watchlist="w") == set()
    assert watchlists("/api/v1/audit/export") == {None, "v"}
