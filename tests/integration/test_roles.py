"""Every route × every role × own and foreign: nobody gets at what is not theirs, nor learns that it is there.

It goes over the routes that there are. One whose address has a parameter that `World` does not know fails.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import numpy as np
import pytest
from fastapi import FastAPI
from fastapi.params import File, Form
from fastapi.routing import RouteContext, iter_route_contexts
from sqlalchemy import update
from sqlalchemy.engine import make_url
from sqlalchemy.orm import Session

from lookout.accounts.rights import ROLE_SCOPES, SCOPES
from lookout.clock import now_us
from lookout.settings import Settings
from lookout.stores.pieces import PieceWriter
from lookout.stores.registry import Registry
from lookout.stores.registry.tables import (
    Alert,
    AlertSighting,
    CameraRow,
    Delivery,
    Export,
    Import,
    Segment,
    Sighting,
    StoredCrop,
    User,
    Video,
    Webhook,
)
from lookout.stores.templates import pack
from search.app import create_app
from search.parts import Parts
from search.security import OPEN, OPEN_BELOW, Allowed
from tests import servers
from tests.wall import parts_on, put_alert, put_picture, put_reference, put_target, token_of

#: Of what is the user's own there is nothing to show here: no ingest runs, nothing was tried, nothing failed.
NOTHING_THERE = {
    "/api/v1/cameras/{camera_id}/picture",
    "/api/v1/cameras/tests/{test_id}",
    "/cameras/{camera_id}/picture",
    "/cameras/tests/{test_id}",
    "/system/dead-letters/{letter_id}/replay",
}
#: What a program cannot do: it is about the session of a browser.
OF_A_SESSION = {"/account/password"}
#: Parameters of addresses with an own and a foreign value: what belongs to a watchlist or a camera group.
FOREIGN = (
    "watchlist_id", "target_id", "alert_id", "webhook_id", "delivery_id", "import_id", "camera_id", "crop_id",
    "reference_id", "photo_id", "sighting_id", "segment_id", "video_id", "export_id",
)  # fmt: skip
#: And those that belong to somebody or to nobody.
OTHERS = ("user_id", "token_id", "test_id", "letter_id")
#: What fits a field of a request by its name, where a value made from its description would not do.
SAMPLES: dict[str, Any] = {
    "name": "sample",
    "role": "analyst",
    "purpose": "a test",
    "legal_basis": "a test",
    "scopes": ["alerts:read"],
    "verdict": "confirmed",
    "reason": "a test",
    "url": "https://127.0.0.1:1/hook",
    "version": 1,
    "camera_groups": ["group-own"],
    "watchlist": "watchlist-own",
    "watchlist_id": "watchlist-own",
    "watchlists": None,
    "days": 1,
    "group": "group-own",
    "transport": "tcp",
    "sighting": "sighting-own",
}
CAMERA_SAMPLES = {"url": "rtsp://127.0.0.1:1/none"}


@dataclass
class World:
    """A service, a home with one of each thing own and foreign, and a program of each role."""

    app: FastAPI
    parts: Parts
    seeded: Path
    home: Path
    headers: dict[str, dict[str, str]]
    values: dict[str, str]

    def reset(self) -> None:
        """Begin anew, as a request may have removed something."""
        self.parts.registry.close()
        shutil.rmtree(self.home)
        shutil.copytree(self.seeded, self.home)
        self.parts.__dict__["registry"] = Registry(self.parts.settings.database)

    def path(
        self, template: str, foreign: frozenset[str] = frozenset(), missing: bool = False, role: str = "admin"
    ) -> str:
        """A route's address, with a role's own things but for some."""
        filled = template
        for name in parameters(template):
            kind = name.removesuffix("_id").replace("photo", "reference")
            if name in FOREIGN:
                own = f"export-{role}" if kind == "export" else f"{kind}-own"  # an export is one user's
                value = own if name not in foreign else f"{kind}-none" if missing else f"{kind}-foreign"
            elif name in OTHERS:
                value = self.values[name]
            else:
                pytest.fail(f"{template}: say in {__name__} what there is of {name}, own and foreign")
            filled = filled.replace("{" + name + "}", value)
        return filled


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory, valkey_server: servers.Server) -> Iterator[World]:
    seeded, home = tmp_path_factory.mktemp("seeded"), tmp_path_factory.mktemp("home")
    headers, values = seed(seeded, valkey_server.url)
    shutil.rmtree(home)
    shutil.copytree(seeded, home)
    parts = parts_on(Registry(make_url(f"sqlite:///{home / 'registry.db'}")), home, redis_url=valkey_server.url)
    made = World(create_app(parts), parts, seeded, home, headers, values)
    yield made
    parts.registry.close()
    parts.redis.close()


def seed(home: Path, redis_url: str) -> tuple[dict[str, dict[str, str]], dict[str, str]]:
    registry = Registry(make_url(f"sqlite:///{home / 'registry.db'}"))
    registry.migrate()
    parts = parts_on(registry, home, redis_url=redis_url)
    sealed = parts.keyring.seal
    with registry.transaction() as session:
        for whose in ("own", "foreign"):
            put_target(session, f"watchlist-{whose}", f"target-{whose}")
            face = put_reference(session, f"target-{whose}", f"faces/{whose}.jpg")
            session.flush()
            face.id = f"reference-{whose}"
            face.template = pack(np.eye(1, 128, dtype=np.float32)[0], parts.keyring, f"references/{face.id}")
            session.flush()
            session.add(
                CameraRow(
                    id=f"camera-{whose}", name="Camera", url=sealed(b"rtsp://a:1/b", f"cameras/camera-{whose}"),
                    camera_group=f"group-{whose}", analysed_fps=5, transport="tcp", masks=[], created_at_us=now_us(),
                )
            )  # fmt: skip
            alert = put_alert(
                session, f"target-{whose}", f"alert-{whose}", group=f"group-{whose}", camera=f"camera-{whose}",
                reference_id=f"reference-{whose}", frame_blob=f"frames/{whose}.jpg", frame_box=[0.1, 0.1, 0.2, 0.2],
            )  # fmt: skip
            crop = session.get_one(StoredCrop, alert.crop_id)
            session.add(
                Webhook(
                    id=f"webhook-{whose}", watchlist_id=f"watchlist-{whose}", url="http://127.0.0.1:1/hook",
                    secret=sealed(b"whsec_eA==", f"webhooks/webhook-{whose}"), created_at_us=now_us(),
                )
            )  # fmt: skip
            session.flush()
            session.add(
                Delivery(
                    id=f"delivery-{whose}", webhook_id=f"webhook-{whose}", alert_id=alert.id, payload={"type": "alert"},
                    state="dead", next_attempt_at_us=0, created_at_us=now_us(),
                )
            )  # fmt: skip
            session.add(
                Import(
                    id=f"import-{whose}", watchlist_id=f"watchlist-{whose}", source="photos.zip", state="done",
                    created_by="somebody", created_at_us=now_us(),
                )
            )  # fmt: skip
            for blob in (f"faces/{whose}.jpg", f"photos/faces/{whose}.jpg", f"frames/{whose}.jpg", crop.blob or ""):
                put_picture(parts.blobs, blob)
            rename_seen(session, alert, crop, whose)
            put_footage(session, parts.settings.footage_folder, whose, alert.last_seen_at_us)
        headers = {
            role: token_of(session, f"the-{role}", role, watchlists=["watchlist-own"], groups=["group-own"])
            for role in ROLE_SCOPES
        }
        for role in ROLE_SCOPES:
            put_export(session, parts, role, session.query(User).filter_by(name=f"the-{role}").one(), "own")
        token_of(session, "the-stranger", "analyst")
        put_export(session, parts, "foreign", session.query(User).filter_by(name="the-stranger").one(), "foreign")
        # So that an admin may change the other one.
        user = session.query(User).filter_by(name="the-analyst").one()
        values = {"user_id": user.id, "token_id": "none", "test_id": "none", "letter_id": "none"}
    registry.close()
    parts.registry.close()
    return headers, values


def rename_seen(session: Session, alert: Alert, crop: StoredCrop, whose: str) -> None:
    """Give an alert's sighting and crop names that tell whose they are."""
    seen = session.get_one(Sighting, crop.sighting_id)
    put_video(session, whose, seen.started_at_us)
    named = Sighting(
        id=f"sighting-{whose}", camera_id=seen.camera_id, camera_group=seen.camera_group, model=seen.model,
        started_at_us=seen.started_at_us, ended_at_us=seen.ended_at_us, template_sum=b"", best_quality=1,
        created_at_us=seen.created_at_us,
    )  # fmt: skip
    session.add(named)
    session.flush()
    session.add(
        StoredCrop(
            id=f"crop-{whose}", sighting_id=named.id, captured_at_us=crop.captured_at_us, quality=crop.quality,
            box_xyxy=[0.1, 0.1, 0.2, 0.2], landmarks=[], blob=crop.blob,
        )
    )  # fmt: skip
    session.execute(update(AlertSighting).where(AlertSighting.alert_id == alert.id).values(sighting_id=named.id))
    session.flush()
    alert.crop_id = f"crop-{whose}"
    session.flush()
    session.delete(crop)
    session.flush()
    session.delete(seen)
    session.flush()


def put_video(session: Session, whose: str, at_us: int) -> None:
    """A video that was handed in, and is being searched."""
    session.add(
        Video(
            id=f"video-{whose}", camera_id=f"camera-{whose}", sha256=whose, file_name="film.mp4", size=1,
            started_at_us=at_us, duration_us=1, width=1, height=1, codec="h264", analysed_fps=5, state="running",
            parts=1, created_by="somebody", created_at_us=at_us,
        )
    )  # fmt: skip
    session.flush()


def put_footage(session: Session, folder: Path, whose: str, at_us: int) -> None:
    """Two segments, one of them around a moment."""
    for number, segment_id in enumerate((f"segment-{whose}", f"next-{whose}")):
        begin_us = at_us - 1_000_000 + number * 60_000_000
        name = f"{segment_id}.mp4"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"film")
        session.add(
            Segment(
                id=segment_id, camera_id=f"camera-{whose}", started_at_us=begin_us, ended_at_us=begin_us + 60_000_000,
                name=name, codec="h264", size=4,
            )
        )  # fmt: skip
    session.flush()


def put_export(session: Session, parts: Parts, name: str, user: User, whose: str) -> None:
    """An export that is done."""
    file = PieceWriter(parts.blobs, f"exports/{name}")
    file.write(b"zip")
    session.add(
        Export(
            id=f"export-{name}", user_id=user.id, created_by=user.name, reason="a test", state="done",
            moments=[{"sighting": f"sighting-{whose}", "score": 0.6}], blob=file.close(), size=3,
            created_at_us=now_us(),
        )
    )  # fmt: skip
    session.flush()


def parameters(template: str) -> list[str]:
    return [part.split("}")[0].split(":")[0] for part in template.split("{")[1:]]


def scopes_of(route: RouteContext) -> set[str]:
    """The scopes that a route asks for, also by what it depends on."""

    def below(dependant: Any) -> Iterator[str]:
        for one in dependant.dependencies:
            if isinstance(one.call, Allowed):
                yield one.call.scope
            yield from below(one)

    return set(below(route.dependant))


def is_open(path: str) -> bool:
    return path in OPEN or path.startswith(OPEN_BELOW)


def all_routes() -> list[tuple[str, str]]:
    """Method and path of each route but the static files, which are open, and the API's description."""
    found = []
    for route in iter_route_contexts(create_app(Parts(Settings())).routes):
        path = route.path or ""
        if path not in ("/static", "/openapi.json"):
            found += [(method, path) for method in sorted(route.methods or ())]
    assert len(found) > 50
    return found


ROUTES = all_routes()
CLOSED = [(method, path) for method, path in ROUTES if not is_open(path)]


def route_of(app: FastAPI, method: str, path: str) -> RouteContext:
    found = [
        one for one in iter_route_contexts(app.routes) if one.path == path and one.methods and method in one.methods
    ]
    assert len(found) == 1, f"{method} {path} is there {len(found)} times"
    return found[0]


def sample(  # noqa: C901, PLR0911 - a case for each kind of JSON
    schema: dict[str, Any], definitions: dict[str, Any], name: str = "", camera: bool = False
) -> Any:
    """A value that a description of JSON allows."""
    if camera and name in CAMERA_SAMPLES:
        return CAMERA_SAMPLES[name]
    if name in SAMPLES:
        return SAMPLES[name]
    if "$ref" in schema:
        return sample(definitions[schema["$ref"].rpartition("/")[2]], definitions, camera=camera)
    for key in ("anyOf", "oneOf", "allOf"):
        if key in schema:
            return sample(schema[key][0], definitions, camera=camera)
    if "enum" in schema or "const" in schema:
        return schema.get("const", *schema.get("enum", [None])[:1])
    match schema.get("type"):
        case "object":
            required = schema.get("required", [])
            fields = schema.get("properties", {})
            wanted = {*required, *SAMPLES} & set(fields)
            return {one: sample(fields[one], definitions, one, camera) for one in fields if one in wanted}
        case "array":
            return [sample(schema["items"], definitions, camera=camera) for _ in range(schema.get("minItems", 0))]
        case "string":
            return "x" * schema.get("minLength", 1)
        case "integer" | "number":
            return schema.get("minimum", schema.get("exclusiveMinimum", 0) + 1)
        case "boolean":
            return True
    return None


def multipart(fields: dict[str, Any], schemas: dict[str, Any]) -> tuple[bytes, str]:
    """A form with files in it."""
    lines = []
    for name, value in fields.items():
        if value is not None:
            is_file = "format" in schemas.get(name, {})
            head = f'Content-Disposition: form-data; name="{name}"' + ('; filename="a.jpg"' if is_file else "")
            lines += ["--limit", head, "", str(value)]
    return "\r\n".join([*lines, "--limit--", ""]).encode(), "multipart/form-data; boundary=limit"


def body_of(route: RouteContext) -> tuple[bytes, str]:
    """The smallest body that a route takes, and its type."""
    field = route.body_field
    if field is None:
        # Some read a form by themselves; for others it is no harm.
        return multipart({"name": SAMPLES["name"]}, {})
    from pydantic import TypeAdapter

    schema = TypeAdapter(field.field_info.annotation).json_schema()
    value = sample(schema, schema.get("$defs", {}), camera="/cameras" in (route.path or ""))
    if isinstance(field.field_info, File):
        return multipart(value, schema["properties"])
    if isinstance(field.field_info, Form):
        given = {name: one for name, one in value.items() if one is not None}
        return urlencode(given, doseq=True).encode(), "application/x-www-form-urlencoded"
    return json.dumps(value).encode(), "application/json"


@dataclass
class Answer:
    status: int
    text: str


def ask(world: World, method: str, path: str, headers: dict[str, str], body: tuple[bytes, str] = (b"", "")) -> Answer:
    """Send a request; of an answer that never ends only the beginning is taken."""
    sent: list[Any] = []
    begun = asyncio.Event()

    async def run() -> None:
        received = iter([{"type": "http.request", "body": body[0], "more_body": False}])

        async def receive() -> Any:
            for one in received:
                return one
            await asyncio.Event().wait()
            return None

        async def send(message: Any) -> None:
            sent.append(message)
            if message["type"] == "http.response.start" and (b"text/event-stream") in str(message["headers"]).encode():
                begun.set()

        fields = {**headers, "host": "testserver", "content-type": body[1], "sec-fetch-site": "same-origin"}
        fields["x-reason"] = "a test"
        if method in ("PUT", "PATCH", "DELETE", "POST"):
            fields["if-match"] = "*"
        scope = {
            "type": "http", "method": method, "path": path, "raw_path": path.encode(), "query_string": b"",
            "root_path": "", "scheme": "http", "http_version": "1.1", "client": ("192.0.2.1", 1),
            "server": ("testserver", 80), "state": {},
            "headers": [(name.lower().encode(), value.encode()) for name, value in fields.items() if value],
        }  # fmt: skip
        whole = asyncio.ensure_future(world.app(scope, receive, send))
        beginning = asyncio.ensure_future(begun.wait())
        await asyncio.wait({whole, beginning}, timeout=20, return_when=asyncio.FIRST_COMPLETED)
        for task in (beginning, whole):
            if not task.done():
                task.cancel()
        faults = [one for one in await asyncio.gather(whole, beginning, return_exceptions=True) if one]
        # The fault itself tells more than that there was one.
        if faults and isinstance(faults[0], Exception):
            raise faults[0]

    asyncio.run(run())
    assert sent, f"{method} {path} was not answered"
    text = b"".join(one.get("body", b"") for one in sent[1:]).decode("utf-8", "replace")
    return Answer(sent[0]["status"], text)


@pytest.mark.parametrize(("method", "path"), ROUTES)
def test_a_route_asks_for_one_scope_or_is_open(world: World, method: str, path: str) -> None:
    found = scopes_of(route_of(world.app, method, path))

    assert len(found) == (0 if is_open(path) else 1), f"{method} {path}: {found}"


@pytest.mark.parametrize(("method", "path"), CLOSED)
def test_nobody_gets_in_without_a_name(world: World, method: str, path: str) -> None:
    filled = world.path(path)
    expected = (401,) if path.startswith("/api/") else (401, 303)

    assert ask(world, method, filled, {}).status in expected
    assert ask(world, method, filled, {"Authorization": "Bearer lkt_of_nobody"}).status == 401


@pytest.mark.parametrize(("method", "path"), CLOSED)
def test_a_role_does_what_it_may_with_its_own_and_nothing_else(world: World, method: str, path: str) -> None:
    route = route_of(world.app, method, path)
    (scope,) = scopes_of(route)
    body = body_of(route)
    foreign_sets = [
        frozenset(some)
        for count in range(1, 4)
        for some in itertools.combinations([name for name in parameters(path) if name in FOREIGN], count)
    ]
    for role, headers in world.headers.items():
        told = f"{role}: {method} {path}"
        if scope and scope not in ROLE_SCOPES[role]:
            for foreign in (frozenset(), *foreign_sets):
                answer = ask(world, method, world.path(path, foreign, role=role), headers, body)
                assert answer.status == 403, f"{told}: {answer}"
            continue
        for foreign in foreign_sets:
            answer = ask(world, method, world.path(path, foreign, role=role), headers, body)
            missing = ask(world, method, world.path(path, foreign, missing=True, role=role), headers, body)
            assert answer.status == 404, f"{told}, {set(foreign)} foreign: {answer}"
            # Not a word that tells what is foreign from what is not there.
            assert answer.text.replace("-foreign", "-none") == missing.text, told
        if path not in NOTHING_THERE | OF_A_SESSION and not path.startswith(("/api/v1/tokens/", "/account/tokens/")):
            answer = ask(world, method, world.path(path, role=role), headers, body)
            assert answer.status not in (401, 403, 404, 405, 500), f"{told}: {answer}"
        world.reset()


@pytest.mark.parametrize("path", sorted({path for method, path in CLOSED if method == "GET" and "{" not in path}))
def test_lists_and_pages_show_nothing_foreign(world: World, path: str) -> None:
    (scope,) = scopes_of(route_of(world.app, "GET", path))
    for role, headers in world.headers.items():
        # An admin gives rights to all watchlists, also to those that are not the admin's own.
        if (not scope or scope in ROLE_SCOPES[role]) and not path.startswith("/users"):
            assert "-foreign" not in ask(world, "GET", path, headers).text, f"{role}: {path}"


def test_every_scope_is_of_some_role_and_asked_for_by_some_route(world: World) -> None:
    asked = {scope for method, path in CLOSED for scope in scopes_of(route_of(world.app, method, path)) if scope}

    assert asked <= set(SCOPES)
    assert set(SCOPES) - asked == set()
    assert ROLE_SCOPES["admin"] == set(SCOPES)
