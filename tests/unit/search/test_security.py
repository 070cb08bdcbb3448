"""Who gets through to the service, and what a browser is told to beware of."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import pytest
from fastapi import Body, Depends, FastAPI
from fastapi.testclient import TestClient
from sqlalchemy.engine import make_url

from lookout.accounts import sessions, users
from lookout.accounts.rights import Identity
from lookout.audit import SYSTEM
from lookout.errors import BadInputError, LookoutError, PhotoError, UnavailableError
from lookout.stores.registry import Registry
from search.app import create_app
from search.parts import Parts
from search.security import COOKIE, MAX_OPEN_BYTES, Allowed
from tests.wall import parts_on, token_of

PASSWORD = "several words are fine"
OWN = {"Sec-Fetch-Site": "same-origin"}
Headers = dict[str, str]


@pytest.fixture
def parts(registry: Registry, tmp_path: Path) -> Iterator[Parts]:
    made = parts_on(registry, tmp_path)
    yield made
    made.registry.close()
    made.redis.close()


@pytest.fixture
def app(parts: Parts) -> FastAPI:
    """The service, with some routes more that fail in every way."""
    made = create_app(parts)

    @made.get("/fail/{how}")
    @made.get("/api/v1/fail/{how}")
    def fail(how: str, who: Annotated[Identity, Depends(Allowed())]) -> None:
        raise {
            "bad": BadInputError("the value is bad"),
            "photo": PhotoError("the photo is bad", reasons=["small", "dark"]),
            "away": UnavailableError("a part is away"),
            "other": LookoutError("something else"),
            "unknown": RuntimeError("a password in a traceback"),
        }[how]

    @made.post("/api/v1/echo")
    def echo(who: Annotated[Identity, Depends(Allowed("alerts:judge"))], body: Annotated[Any, Body()]) -> Any:
        return {"who": who.name, "body": body}

    return made


@pytest.fixture
def client(app: FastAPI) -> Iterator[TestClient]:
    with TestClient(app, raise_server_exceptions=False, follow_redirects=False) as made:
        yield made


@pytest.fixture
def anna(registry: Registry) -> Headers:
    with registry.transaction() as session:
        return token_of(session, "anna")


@pytest.fixture
def cookie(registry: Registry) -> Headers:
    """The cookie of a browser in which an analyst is signed in."""
    with registry.transaction() as session:
        user = users.create_user(session, SYSTEM, name="berta", role="analyst")
        users.use_link(session, users_link(session, user), PASSWORD, address="")
    return {"Cookie": f"{COOKIE}={sessions.sign_in(registry, 'berta', PASSWORD, address='')}"}


def users_link(session: Any, user: Any) -> str:
    secret = users.make_link(session, SYSTEM, user)
    session.flush()
    return secret


@pytest.mark.parametrize("path", ["/healthz", "/metrics", "/sign-in", "/static/app.css", "/static/theme.js"])
def test_some_paths_are_open(client: TestClient, path: str) -> None:
    assert client.get(path).status_code == 200


@pytest.mark.parametrize("headers", [{}, {"Cookie": f"{COOKIE}=lks_of_nobody"}, {"Cookie": f"{COOKIE}="}])
@pytest.mark.parametrize("path", ["/", "/alerts", "/users", "/nowhere", "/healthz/x", "/sign-in/x", "/Static/app.css"])
def test_whoever_is_not_signed_in_is_sent_to_do_so(client: TestClient, path: str, headers: Headers) -> None:
    answer = client.get(path, params={"page": "2"}, headers=headers)

    assert answer.status_code == 303
    assert answer.headers["location"].startswith("/sign-in?next=%2F")
    assert answer.headers["location"].endswith("%3Fpage%3D2")


def test_a_part_of_a_page_sends_the_whole_page_there(client: TestClient) -> None:
    answer = client.get("/alerts", headers={"HX-Request": "true"})

    assert (answer.status_code, answer.headers["hx-redirect"]) == (401, "/sign-in")


@pytest.mark.parametrize("path", ["/api/v1/users", "/api/v1/nowhere", "/openapi.json"])
@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Authorization": "Bearer wrong"},
        {"Authorization": "Bearer "},
        {"Authorization": "Bearer"},
        {"Authorization": "Basic YTpi"},
        {"Authorization": "nonsense"},
        {"Authorization": ""},
        {"Authorization": "Bearer \xff"},
    ],
)
def test_programs_are_told_to_authenticate(client: TestClient, path: str, headers: Headers) -> None:
    answer = client.get(path, headers={name.encode(): value.encode("latin-1") for name, value in headers.items()})

    assert answer.status_code == 401
    assert answer.headers["www-authenticate"] == "Bearer"
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["status"] == 401


@pytest.mark.parametrize("sent", ["Bearer wrong", "", "Basic x"])
def test_a_token_that_is_sent_counts_alone(client: TestClient, cookie: Headers, sent: str) -> None:
    """Also because a request with one is not asked where it comes from."""
    assert client.get("/api/v1/tokens", headers=cookie).status_code == 200
    assert client.get("/api/v1/tokens", headers=cookie | {"Authorization": sent}).status_code == 401


def test_the_scope_is_asked_for(client: TestClient, anna: Headers, cookie: Headers) -> None:
    assert client.post("/api/v1/echo", headers=anna, json=1).json() == {"who": "anna", "body": 1}
    refused = client.post("/api/v1/echo", headers=cookie | OWN, json=1)
    assert refused.status_code == 403
    assert (
        refused.json()["detail"] == "berta may not confirm and reject alerts, and hold them; an admin can change that."
    )
    assert client.get("/users", headers=cookie).status_code == 403


def test_a_scope_that_there_is_not_is_found_at_import() -> None:
    with pytest.raises(AssertionError):
        Allowed("alerts:eat")


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Sec-Fetch-Site": "same-origin"}, 422),
        ({"Sec-Fetch-Site": "none"}, 422),
        ({"Sec-Fetch-Site": "same-site"}, 403),
        ({"Sec-Fetch-Site": "cross-site"}, 403),
        ({"Sec-Fetch-Site": "cross-site", "Origin": "http://testserver"}, 403),
        ({"Origin": "http://testserver"}, 422),
        ({"Origin": "http://testserver:81"}, 403),
        ({"Origin": "http://testserver.example.org"}, 403),
        ({"Origin": "null"}, 403),
        ({}, 403),
    ],
)
@pytest.mark.parametrize("path", ["/account/tokens", "/api/v1/tokens", "/sign-in"])
def test_a_browser_changes_something_only_from_our_own_page(
    client: TestClient, cookie: Headers, headers: Headers, status: int, path: str
) -> None:
    """What is let through has an empty body here, which is then refused."""
    answer = client.post(path, headers=cookie | headers)

    assert answer.status_code == status


def test_a_link_from_another_site_can_be_followed(client: TestClient, cookie: Headers) -> None:
    assert client.get("/account", headers=cookie | {"Sec-Fetch-Site": "cross-site"}).status_code == 200


def test_programs_need_not_say_where_they_come_from(client: TestClient, anna: Headers) -> None:
    answer = client.post("/api/v1/tokens", headers=anna | {"Sec-Fetch-Site": "cross-site"}, json={})

    assert answer.status_code == 422


@pytest.mark.parametrize(
    ("path", "signed_in"),
    [
        ("/sign-in", False), ("/static/app.css", False), ("/static/none", False), ("/healthz", False),
        ("/readyz", False), ("/alerts", False), ("/api/v1/users", False), ("/account", True), ("/users", True),
        ("/nowhere", True), ("/fail/unknown", True), ("/api/v1/fail/unknown", True), ("/api/v1/fail/away", True),
    ],
)  # fmt: skip
def test_every_answer_keeps_a_browser_safe(client: TestClient, cookie: Headers, path: str, signed_in: bool) -> None:
    headers = client.get(path, headers=cookie if signed_in else {}).headers

    policy = headers["content-security-policy"]
    assert "default-src 'self'" in policy
    assert "frame-ancestors 'none'" in policy
    assert "unsafe" not in policy
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["referrer-policy"] == "same-origin"
    assert headers["cache-control"] == ("no-cache" if path.startswith("/static/") else "no-store")
    assert "strict-transport-security" not in headers


def test_under_tls_browsers_are_told_to_stay_there(app: FastAPI) -> None:
    with TestClient(app, base_url="https://testserver") as client:
        assert "strict-transport-security" in client.get("/sign-in").headers


@pytest.mark.parametrize("path", ["/api/v1/echo", "/account/tokens"])
@pytest.mark.parametrize("signed_in", [False, True])
def test_no_byte_is_read_of_whoever_may_not_send_it(app: FastAPI, cookie: Headers, path: str, signed_in: bool) -> None:
    """Not of one who is not signed in, and not from another site."""
    sent: list[Any] = []

    async def receive() -> Any:
        raise AssertionError("the body was read")

    async def send(message: Any) -> None:
        sent.append(message)

    headers = [(b"host", b"testserver"), (b"content-length", b"1000000000")]
    headers += [(b"cookie", cookie["Cookie"].encode())] if signed_in else []
    scope = {
        "type": "http", "method": "POST", "path": path, "raw_path": path.encode(), "query_string": b"", "root_path": "",
        "scheme": "http", "http_version": "1.1", "headers": headers, "client": ("192.0.2.1", 1), "server": ("s", 80),
    }  # fmt: skip
    asyncio.run(app(scope, receive, send))

    assert sent[0]["status"] in ((403,) if signed_in else (401, 303))


def test_little_is_read_of_strangers(client: TestClient) -> None:
    answer = client.post("/sign-in", headers=OWN, data={"name": "a", "password": "x" * MAX_OPEN_BYTES})
    streamed = client.post(
        "/sign-in",
        headers=OWN | {"Content-Type": "application/x-www-form-urlencoded"},
        content=(b"x" * 1024 for _ in range(1024)),
    )

    assert answer.status_code == streamed.status_code == 413


@pytest.mark.parametrize("path", ["/api/v1/users/a%00b", "/api/v1/audit?actor=a%00", "/users/%00", "/sign-in?next=%00"])
def test_addresses_have_no_nul(client: TestClient, anna: Headers, path: str) -> None:
    """PostgreSQL cannot keep it, so nothing that is asked for has one."""
    assert client.get(path, headers=anna).status_code == 404


@pytest.mark.parametrize(
    ("how", "status", "detail"),
    [
        ("bad", 422, "the value is bad"),
        ("photo", 422, "the photo is bad"),
        ("away", 503, "a part is away"),
        ("other", 500, "something else"),
        ("unknown", 500, "Lookout failed; the log of `search` tells why."),
    ],
)
def test_errors_are_problems_for_programs_and_pages_for_people(
    client: TestClient, anna: Headers, cookie: Headers, how: str, status: int, detail: str
) -> None:
    problem = client.get(f"/api/v1/fail/{how}", headers=anna)
    page = client.get(f"/fail/{how}", headers=cookie)
    note = client.get(f"/fail/{how}", headers=cookie | {"HX-Request": "true"})

    assert problem.status_code == page.status_code == note.status_code == status
    assert problem.headers["content-type"] == "application/problem+json"
    assert (problem.json()["status"], problem.json()["detail"]) == (status, detail)
    assert problem.json().get("reasons") == (["small", "dark"] if how == "photo" else None)
    assert detail in page.text
    assert "<html" in page.text
    assert detail in note.text
    assert "<html" not in note.text
    assert (note.headers["hx-retarget"], note.headers["hx-reswap"]) == ("#notes", "innerHTML")
    assert "password" not in problem.text + page.text + note.text


def test_a_wrong_request_names_its_fields(client: TestClient, anna: Headers) -> None:
    problem = client.post("/api/v1/tokens", headers=anna, json={"name": "", "scopes": [], "days": 0}).json()

    assert {one["field"] for one in problem["errors"]} == {"body.name", "body.scopes", "body.days"}


def test_while_the_registry_is_away_nobody_gets_in(parts: Parts, client: TestClient, cookie: Headers) -> None:
    parts.registry.close()
    parts.__dict__["registry"] = Registry(make_url("postgresql+psycopg://127.0.0.1:1/none"))

    assert client.get("/api/v1/tokens", headers=cookie).status_code == 503
    assert client.get("/healthz", headers=cookie).status_code == 200
    assert client.get("/static/app.css", headers=cookie).status_code == 200
