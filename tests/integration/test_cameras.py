"""Cameras in the registry, over the API, on the page, and what ingest is told of them; on each database."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient
from pydantic import SecretStr
from redis import Redis
from sqlalchemy import select

from lookout import cameras
from lookout.accounts import sessions, users
from lookout.accounts.rights import ROLE_SCOPES
from lookout.audit import SYSTEM
from lookout.camera_settings import make_camera
from lookout.clock import now_us
from lookout.errors import BadInputError, ConflictError, NotFoundError
from lookout.sealing import Keyring
from lookout.secret_files import read_or_make, secret_path
from lookout.settings import Settings
from lookout.stores.cameras import CameraBoard, CameraPicture, CameraSet, CameraStatus, SeenFace, TestResult
from lookout.stores.registry import Registry
from lookout.stores.registry.tables import AuditEntry, CameraRow
from search.app import create_app
from search.parts import Parts
from search.security import COOKIE
from search.web.cameras import parse_masks, write_masks
from tests import servers
from tests.servers import wait_until

KEYRING = Keyring.parse(Keyring.new_key())
PASSWORD = "geheim"
URL = f"rtsp://admin:{PASSWORD}@192.0.2.1:554/main"
SHOWN = "rtsp://…@192.0.2.1:554/main"
TRIANGLE = [[0.1, 0.1], [0.5, 0.1], [0.3, 0.6]]
CAMERAS = "/api/v1/cameras"


def camera(camera_id: str = "door", /, **fields: Any) -> cameras.Camera:
    return make_camera(**{"id": camera_id, "url": URL, **fields})


def audited(registry: Registry) -> list[tuple[str, str, dict[str, Any]]]:
    with registry.reading() as session:
        entries = session.scalars(
            select(AuditEntry).where(AuditEntry.subject == "camera").order_by(AuditEntry.number)
        ).all()
    assert PASSWORD not in str([(entry.detail, entry.reason) for entry in entries])
    return [(entry.action, entry.subject_id, entry.detail) for entry in entries]


# ---- the registry ----


def test_a_camera_is_made_changed_and_removed(registry: Registry) -> None:
    with registry.transaction() as session:
        row = cameras.create_camera(session, SYSTEM, KEYRING, camera(masks=[TRIANGLE], matched_only=True))
        assert PASSWORD.encode() not in row.url
    with registry.transaction() as session:
        row = cameras.find_camera(session, "door", for_update=True)
        assert cameras.camera_of(row, KEYRING) == camera(masks=[TRIANGLE], matched_only=True)
        assert cameras.change_camera(session, SYSTEM, KEYRING, row, camera(masks=[TRIANGLE], matched_only=True)) == []
        changed = cameras.change_camera(
            session, SYSTEM, KEYRING, row, camera(url=f"{URL}2", group="hall", enabled=False)
        )
        assert set(changed) == {"url", "camera_group", "masks", "matched_only", "enabled"}
        assert row.version == 2
        with pytest.raises(BadInputError, match="keeps its id"):
            cameras.change_camera(session, SYSTEM, KEYRING, row, camera("other"))
    with registry.transaction() as session:
        cameras.remove_camera(session, SYSTEM, cameras.find_camera(session, "door"))
    with registry.reading() as session, pytest.raises(NotFoundError):
        cameras.find_camera(session, "door")
    actions = audited(registry)
    assert [action for action, _, _ in actions] == ["camera.created", "camera.changed", "camera.removed"]
    assert set(actions[1][2]["fields"]) == set(changed)


def test_ids_are_unique_and_some_are_taken(registry: Registry) -> None:
    with registry.transaction() as session:
        cameras.create_camera(session, SYSTEM, KEYRING, camera())
    with pytest.raises(ConflictError), registry.transaction() as session:
        cameras.create_camera(session, SYSTEM, KEYRING, camera())
    with pytest.raises(BadInputError), registry.transaction() as session:
        cameras.create_camera(session, SYSTEM, KEYRING, camera("new"))


def test_an_import_adds_and_changes_and_removes_nothing(registry: Registry) -> None:
    first = cameras.import_cameras(registry, KEYRING, SYSTEM, [camera("a"), camera("b")])
    second = cameras.import_cameras(registry, KEYRING, SYSTEM, [camera("b", name="B"), camera("c")])
    third = cameras.import_cameras(registry, KEYRING, SYSTEM, [camera("b", name="B"), camera("c")])

    assert (first, second, third) == (
        cameras.ImportCounts(2, 0, 0),
        cameras.ImportCounts(1, 1, 0),
        cameras.ImportCounts(0, 0, 2),
    )
    with registry.reading() as session:
        assert [row.name for row in cameras.list_cameras(session)] == ["a", "B", "c"]
    with pytest.raises(BadInputError):
        cameras.import_cameras(registry, KEYRING, SYSTEM, [camera("d"), camera("tests")])
    with registry.reading() as session, pytest.raises(NotFoundError):
        cameras.find_camera(session, "d")


@pytest.mark.parametrize(
    ("given", "becomes"),
    [
        (SHOWN, URL),
        ("rtsp://192.0.2.1:554/main", URL),
        (URL, URL),
        ("rtsp://other:word@192.0.2.1:554/main", "rtsp://other:word@192.0.2.1:554/main"),
        ("rtsp://192.0.2.2:554/main", "rtsp://192.0.2.2:554/main"),
        ("rtsp://192.0.2.1/main", "rtsp://192.0.2.1/main"),
        ("rtsp://192.0.2.1:554/main2", "rtsp://192.0.2.1:554/main2"),
        ("http://192.0.2.1:554/main", "http://192.0.2.1:554/main"),
    ],
)
def test_credentials_stay_only_where_the_address_does(given: str, becomes: str) -> None:
    row = CameraRow(id="door", url=KEYRING.seal(URL.encode(), "cameras/door"))

    assert cameras.completed_url(given, row, KEYRING) == becomes
    assert cameras.shown_url(row, KEYRING) == SHOWN
    for elsewhere in ("rtsp://…@192.0.2.2:554/main", "rtsp://…@192.0.2.1/main", "https://…@192.0.2.1:554/main"):
        with pytest.raises(BadInputError, match="given again"):
            cameras.completed_url(elsewhere, row, KEYRING)


def test_a_password_in_the_query_stays_as_well() -> None:
    url = f"http://192.0.2.1/video?user=admin&pwd={PASSWORD}"
    row = CameraRow(id="door", url=KEYRING.seal(url.encode(), "cameras/door"))

    shown = cameras.shown_url(row, KEYRING)
    assert PASSWORD not in shown
    assert cameras.completed_url(shown, row, KEYRING) == url


# ---- what ingest is told ----


def test_enabled_cameras_are_published_when_they_change(registry: Registry, redis: Redis) -> None:
    board = CameraBoard(redis, KEYRING)

    def told() -> CameraSet:
        found = board.read(board.sealed())
        assert found is not None
        return found

    assert cameras.publish_cameras(registry, redis, KEYRING)
    assert told().cameras == []
    assert not cameras.publish_cameras(registry, redis, KEYRING)

    cameras.import_cameras(
        registry, KEYRING, SYSTEM, [camera("b", masks=[TRIANGLE]), camera("a"), camera("c", enabled=False)]
    )
    before = told().version
    assert cameras.publish_cameras(registry, redis, KEYRING)
    assert told().cameras == [camera("a"), camera("b", masks=[TRIANGLE])]
    assert told().version > before
    assert PASSWORD.encode() not in (board.sealed() or b"")

    for lost in (redis.delete, lambda key: redis.set(key, b"nonsense")):
        lost("cameras")
        assert cameras.publish_cameras(registry, redis, KEYRING)
        assert len(told().cameras) == 2
    assert cameras.publish_cameras(registry, redis, Keyring.parse(Keyring.new_key())), "what it cannot open it replaces"


def test_what_is_told_is_never_older_than_what_was_told(registry: Registry, redis: Redis) -> None:
    """Several processes publish while cameras are added."""
    stop = threading.Event()

    def publish() -> None:
        with Redis(connection_pool=redis.connection_pool) as mine:
            while not stop.is_set():
                cameras.publish_cameras(registry, mine, KEYRING)

    board = CameraBoard(redis, KEYRING)
    threads = [threading.Thread(target=publish) for _ in range(2)]
    for thread in threads:
        thread.start()
    try:
        most = 0
        for number in range(8):
            cameras.import_cameras(registry, KEYRING, SYSTEM, [camera(f"camera-{number}")])
            cameras.publish_cameras(registry, redis, KEYRING)
            found = board.read(board.sealed())
            assert found is not None
            assert len(found.cameras) >= most
            most = len(found.cameras)
    finally:
        stop.set()
        for thread in threads:
            thread.join(10)
    cameras.publish_cameras(registry, redis, KEYRING)
    found = board.read(board.sealed())
    assert found is not None
    assert len(found.cameras) == 8


def test_a_camera_that_cannot_be_opened_takes_no_other_down(registry: Registry, redis: Redis) -> None:
    cameras.import_cameras(registry, KEYRING, SYSTEM, [camera("good"), camera("bad")])
    with registry.transaction() as session:
        cameras.find_camera(session, "bad").url = b"LK1 broken"

    assert cameras.publish_cameras(registry, redis, KEYRING)

    board = CameraBoard(redis, KEYRING)
    assert board.read(board.sealed()) == CameraSet(0, [camera("good")], "yunet")


def test_a_test_that_nobody_takes_ends(redis: Redis) -> None:
    board = CameraBoard(redis, KEYRING)
    assert board.ask_test("a" * 32, camera()).reason == "no_ingest"
    assert board.take_test(0.1) is None

    redis.zadd("ingest:processes", {"p": int(redis.time()[0])})
    assert board.ask_test("b" * 32, camera()).state == "waiting"
    taken = board.take_test(1)
    assert taken is not None
    assert taken.camera == camera()
    board.answer_test(TestResult(id=taken.id, state="waiting", asked_at_us=now_us() - 60_000_000))
    late = board.test_result(taken.id)
    assert late is not None
    assert (late.state, late.reason) == ("failed", "no_answer")


# ---- the API ----


class Service:
    """The service, and users of it."""

    def __init__(self, parts: Parts) -> None:
        self.parts = parts
        self.client = TestClient(create_app(parts), raise_server_exceptions=False)
        self.board = CameraBoard(parts.redis, parts.keyring)

    def token(self, role: str = "admin", groups: list[str] | None = None) -> dict[str, str]:
        with self.parts.registry.transaction() as session:
            user = users.create_user(session, SYSTEM, name=f"{role}{now_us()}", role=role, camera_groups=groups)
            scopes = sorted(ROLE_SCOPES[role])
            secret = sessions.create_token(session, SYSTEM, user, name="test", scopes=scopes, days=1)[1]
        return {"Authorization": f"Bearer {secret}"}

    def browser(self, role: str = "admin", groups: list[str] | None = None) -> TestClient:
        with self.parts.registry.transaction() as session:
            user = users.create_user(session, SYSTEM, name=f"{role}{now_us()}", role=role, camera_groups=groups)
        secret = sessions.begin_session(self.parts.registry, user, address="")
        made = TestClient(self.client.app, headers={"Sec-Fetch-Site": "same-origin"}, raise_server_exceptions=False)
        made.cookies.set(COOKIE, secret)
        return made

    def show(self, name: str) -> None:
        """A camera that is live, with a picture."""
        self.board.put_statuses(
            [CameraStatus(id=name, state="live", since_us=now_us(), frames_per_s=25.0, codec="h264")]
        )
        self.board.put_picture(name, CameraPicture(now_us(), b"\xff\xd8jpeg", [SeenFace((0.1, 0.2, 0.3, 0.4), True)]))


@pytest.fixture
def service(registry: Registry, redis: Redis, valkey_server: servers.Server, tmp_path: Path) -> Iterator[Service]:
    read_or_make(secret_path(tmp_path, "data_keys"), Keyring.new_key)
    url = registry.url.render_as_string(hide_password=False)
    parts = Parts(Settings(home=tmp_path, redis_url=SecretStr(valkey_server.url), database_url=url))
    yield Service(parts)
    parts.redis.close()
    parts.registry.close()


def test_a_cameras_life_over_the_api(service: Service) -> None:
    admin = service.token()
    ask: Callable[..., Any] = lambda method, path="", **given: service.client.request(  # noqa: E731
        method, CAMERAS + path, headers={**admin, **given.pop("headers", {})}, **given
    )
    made = ask("POST", json={"id": "door", "url": URL, "group": "hall"}, headers={"Idempotency-Key": "one"})
    assert made.status_code == 201, made.text
    assert made.json()["url"] == SHOWN
    assert made.json()["status"]["state"] == "waiting"
    again = ask("POST", json={"id": "door", "url": URL, "group": "hall"}, headers={"Idempotency-Key": "one"})
    assert (again.status_code, again.json()) == (201, made.json())
    assert ask("POST", json={"id": "door", "url": URL}).status_code == 409
    published = service.board.read(service.board.sealed())
    assert published is not None
    assert [one.url for one in published.cameras] == [URL], "ingest is told at once"

    shown = ask("GET", "/door")
    change = {"url": SHOWN, "group": "hall", "masks": [TRIANGLE], "matched_only": True}
    assert ask("PUT", "/door", json=change).status_code == 422
    assert ask("PUT", "/door", json=change, headers={"If-Match": '"7"'}).status_code == 412
    changed = ask("PUT", "/door", json=change, headers={"If-Match": shown.headers["etag"]})
    assert changed.status_code == 200, changed.text
    assert (changed.json()["masks"], changed.json()["version"]) == ([TRIANGLE], 2)
    assert changed.headers["etag"] == '"2"'
    elsewhere = {**change, "url": "rtsp://…@192.0.2.9/main"}
    assert ask("PUT", "/door", json=elsewhere, headers={"If-Match": "*"}).status_code == 422
    published = service.board.read(service.board.sealed())
    assert published is not None
    [told] = published.cameras
    assert (told.url, told.matched_only, len(told.masks)) == (URL, True, 1)

    service.show("door")
    assert ask("GET", "/door/status").json()["codec"] == "h264"
    [item] = ask("GET", "").json()["items"]
    assert (item["id"], item["status"]["state"], item["url"]) == ("door", "live", SHOWN)
    assert ask("GET", "/door/picture").content == b"\xff\xd8jpeg"
    ask("GET", "/door/picture")

    assert ask("DELETE", "/door").status_code == 204
    assert ask("GET", "/door").status_code == 404
    assert [action for action, _, _ in audited(service.parts.registry)] == [
        *("camera.created", "camera.changed", "camera.viewed", "camera.removed")
    ]


@pytest.mark.parametrize(
    "fault",
    [
        {"url": "gopher://admin:geheim@host"},
        {"url": "rtsp://host/\x00"},
        {"id": "Door"},
        {"id": "new"},
        {"name": "a\x00b"},
        {"masks": [[[0, 0], [1, 1]]]},
        {"masks": [[[0, 0], [1, 1], [2, 0]]]},
        {"analysed_fps": 0},
        {"retention_hours": 2**70},
        {"grupp": "typo"},
    ],
)
def test_what_does_not_hold_is_said(service: Service, fault: dict[str, Any]) -> None:
    answer = service.client.post(CAMERAS, headers=service.token(), json={"id": "door", "url": URL} | fault)

    assert answer.status_code == 422
    assert PASSWORD not in answer.text


def test_other_groups_do_not_exist(service: Service) -> None:
    ring = service.parts.keyring
    cameras.import_cameras(
        service.parts.registry, ring, SYSTEM, [camera("in", group="hall"), camera("out", group="yard")]
    )
    mine = service.token("admin", ["hall"])
    service.show("out")

    def ask(method: str, path: str, **given: Any) -> Any:
        headers = {**mine, "If-Match": "*"}
        return service.client.request(method, f"{CAMERAS}{path}", headers=headers, **given)

    assert [item["id"] for item in ask("GET", "").json()["items"]] == ["in"]
    assert ask("GET", "?group=yard").json()["items"] == []
    for method, path in [
        ("GET", "{}"),
        ("GET", "{}/status"),
        ("GET", "{}/picture"),
        ("PUT", "{}"),
        ("DELETE", "{}"),
    ]:
        given = {"json": {"url": URL}} if method == "PUT" else {}
        foreign, absent = (ask(method, "/" + path.format(name), **given) for name in ("out", "none"))
        assert foreign.status_code == absent.status_code == 404
        assert foreign.json()["detail"].replace("out", "none") == absent.json()["detail"]
    assert ask("POST", "", json={"id": "x", "url": URL, "group": "yard"}).status_code == 403
    assert ask("PUT", "/in", json={"url": URL, "group": "yard"}).status_code == 403
    assert ask("POST", "/tests", json={"url": SHOWN, "camera_id": "out"}).status_code == 404
    reader = service.token("operator", ["hall"])
    assert service.client.get(f"{CAMERAS}/in", headers=reader).status_code == 200
    assert service.client.delete(f"{CAMERAS}/in", headers=reader).status_code == 403


def test_a_list_in_pages(service: Service) -> None:
    cameras.import_cameras(service.parts.registry, service.parts.keyring, SYSTEM, [camera(f"c{n}") for n in range(5)])
    admin = service.token()
    seen: list[str] = []
    following: str | None = ""
    while following is not None:
        query = f"?limit=2&cursor={following}" if following else "?limit=2"
        answer = service.client.get(f"{CAMERAS}{query}", headers=admin).json()
        seen += [item["id"] for item in answer["items"]]
        following = answer["next"]
    assert sorted(seen) == [f"c{n}" for n in range(5)]
    assert len(seen) == 5


def test_a_test_over_the_api_uses_what_is_stored(service: Service) -> None:
    admin = service.token()
    cameras.import_cameras(service.parts.registry, service.parts.keyring, SYSTEM, [camera(masks=[TRIANGLE])])
    nobody = service.client.post(f"{CAMERAS}/tests", headers=admin, json={"url": URL})
    assert (nobody.status_code, nobody.json()["reason"]) == (202, "no_ingest")

    service.parts.redis.zadd("ingest:processes", {"p": int(service.parts.redis.time()[0])})
    asked = service.client.post(f"{CAMERAS}/tests", headers=admin, json={"url": SHOWN, "camera_id": "door"})
    taken = service.board.take_test(1)
    assert taken is not None
    assert taken.camera.url == URL
    assert len(taken.camera.masks) == 1
    result = TestResult(
        id=taken.id, state="ok", asked_at_us=taken.asked_at_us, width=64, height=36, codec="h264", fps=25
    )
    service.board.answer_test(result)
    found = service.client.get(f"{CAMERAS}/tests/{asked.json()['id']}", headers=admin)
    assert (found.json()["state"], found.json()["fps"]) == ("ok", 25)
    assert service.client.get(f"{CAMERAS}/tests/none", headers=admin).status_code == 404


def test_redis_away_stops_no_change(service: Service, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    away = Parts(service.parts.settings.model_copy(update={"redis_url": SecretStr("redis://127.0.0.1:1/0")}))
    admin = service.token()
    client = TestClient(create_app(away), raise_server_exceptions=False)

    assert client.post(CAMERAS, headers=admin, json={"id": "door", "url": URL}).status_code == 201
    assert client.get(f"{CAMERAS}/door", headers=admin).json()["status"]["state"] == "waiting"
    assert client.delete(f"{CAMERAS}/door", headers=admin).status_code == 204
    away.registry.close()


# ---- the page ----

FORM = {"url": URL, "analysed_fps": "5", "transport": "tcp", "retention_hours": "72", "enabled": "true"}


def test_a_cameras_life_on_the_page(service: Service) -> None:
    browser = service.browser()
    assert "No cameras yet" in browser.get("/cameras").text
    assert "Test the address" in browser.get("/cameras/new").text

    made = browser.post("/cameras", data={**FORM, "id": "door", "name": "<b>Door</b>"}, follow_redirects=False)
    assert (made.status_code, made.headers["location"]) == (303, "/cameras/door")
    service.show("door")
    for path in ("/cameras", "/cameras/cards", "/cameras/door", "/cameras/door/live"):
        page = browser.get(path)
        assert page.status_code == 200
        assert "/cameras/door/picture?at=" in page.text
        assert '<rect class="sent" x="10.0" y="20.0"' in page.text
        assert PASSWORD not in page.text
        assert "<b>Door" not in page.text
    assert browser.get("/cameras/door/picture?at=1").content == b"\xff\xd8jpeg"

    form = {**FORM, "url": SHOWN, "version": "1", "masks": "10,10 50,10 30,60\n\n"}
    browser.post("/cameras/door", data=form)
    with service.parts.registry.reading() as session:
        row = cameras.find_camera(session, "door")
        found = cameras.camera_of(row, service.parts.keyring)
    assert found.url == URL
    assert row.masks == [TRIANGLE]
    stale = browser.post("/cameras/door", data=form, headers={"HX-Request": "true"})
    assert stale.status_code == 412
    assert stale.headers["hx-retarget"] == "#notes"

    assert "There is no camera here" in browser.get("/cameras?group=none").text
    gone = browser.post("/cameras/door/remove", headers={"HX-Request": "true"})
    assert gone.headers["hx-redirect"] == "/cameras"
    actions = [action for action, _, _ in audited(service.parts.registry)]
    assert actions == ["camera.created", "camera.viewed", "camera.changed", "camera.removed"]


def show_recording(service: Service, name: str, recording: str, message: str = "") -> None:
    shown = CameraStatus(id=name, state="live", since_us=now_us(), recording=recording, recording_message=message)
    service.board.put_statuses([shown])


def test_footage_over_the_api(service: Service) -> None:
    admin = service.token()
    new = {"id": "door", "url": URL, "record": True, "footage_hours": 24, "footage_gb": 1.5}
    made = service.client.post(CAMERAS, json=new, headers=admin)
    assert made.status_code == 201, made.text
    assert {name: made.json()[name] for name in new if name != "url"} == {k: v for k, v in new.items() if k != "url"}
    assert made.json()["record_audio"] is False
    published = service.board.read(service.board.sealed())
    assert published is not None
    assert published.cameras[0].record

    for wrong in ({"matched_only": True}, {"footage_hours": 0}, {"footage_gb": 0}, {"footage_hours": 10**20}):
        answer = service.client.post(CAMERAS, json={**new, "id": "other", **wrong}, headers=admin)
        assert answer.status_code == 422, wrong

    show_recording(service, "door", "disk_full", "The disk is full.")
    status = service.client.get(f"{CAMERAS}/door/status", headers=admin).json()
    assert (status["recording"], status["recording_message"]) == ("disk_full", "The disk is full.")


@pytest.mark.parametrize(
    ("recording", "message", "tag"),
    [
        ("off", "", "not recording"),
        ("recording", "Without its sound.", "recording"),
        ("unsupported", "Set it to H.264.", "cannot be recorded"),
        ("disk_full", "The disk is full.", "disk full"),
        ("failed", "The disk fails.", "recording fails"),
    ],
)
def test_footage_on_the_page(service: Service, recording: str, message: str, tag: str) -> None:
    browser = service.browser()
    browser.post("/cameras", data={**FORM, "id": "door", "record": "true", "footage_hours": "24", "footage_gb": "1.5"})
    with service.parts.registry.reading() as session:
        row = cameras.find_camera(session, "door")
        assert (row.record, row.record_audio, row.footage_hours, row.footage_gb) == (True, False, 24, 1.5)

    show_recording(service, "door", recording, message)

    for path in ("/cameras/cards", "/cameras/door/live"):
        page = browser.get(path).text
        assert f">{tag}</span>" in page
        assert message in page
    form = browser.get("/cameras/door").text
    assert 'name="record" value="true" aria-describedby="record-hint" checked' in form
    assert 'name="footage_gb" type="number" min="0.01" max="1000000" step="any" required value="1.5"' in form
    refused = browser.post("/cameras", data={**FORM, "id": "gate", "record": "true", "matched_only": "true"})
    assert refused.status_code == 422


def test_a_camera_whose_videos_are_handed_in(service: Service) -> None:
    admin, browser = service.token(), service.browser()
    made = service.client.post(CAMERAS, json={"id": "phone", "url": "files:"}, headers=admin)

    assert (made.status_code, made.json()["url"], made.json()["status"]["state"]) == (201, "files:", "files")
    published = service.board.read(service.board.sealed())
    assert published is None or published.cameras == []
    assert "its videos are handed in" in browser.get("/cameras/cards").text
    assert "lookout index" in browser.get("/cameras/phone").text
    assert "It has no stream that could be tried" in browser.post("/cameras/tests", data={"url": "files:"}).text
    version = made.json()["version"]
    changed = service.client.put(
        f"{CAMERAS}/phone", json={"url": "files:", "name": "Phones"}, headers={**admin, "If-Match": f'"{version}"'}
    )
    assert (changed.status_code, changed.json()["name"]) == (200, "Phones")


def test_a_test_on_the_page(service: Service) -> None:
    browser = service.browser()
    assert "No ingest process runs" in browser.post("/cameras/tests", data={"url": URL}).text

    service.parts.redis.zadd("ingest:processes", {"p": int(service.parts.redis.time()[0])})
    asked = browser.post("/cameras/tests", data={"url": URL}).text
    assert 'hx-trigger="load delay' in asked
    taken = service.board.take_test(1)
    assert taken is not None
    service.board.answer_test(TestResult(id=taken.id, state="ok", asked_at_us=now_us(), width=64, height=36, jpeg=b"x"))
    wait_until(lambda: "64 × 36" in browser.get(f"/cameras/tests/{taken.id}").text, 5, "the result")
    assert "data:image/jpeg;base64,eA==" in browser.get(f"/cameras/tests/{taken.id}").text


def test_readers_see_no_form(service: Service) -> None:
    cameras.import_cameras(
        service.parts.registry, service.parts.keyring, SYSTEM, [camera("in", group="hall"), camera("out", group="yard")]
    )
    reader = service.browser("analyst", ["hall"])

    assert "/cameras/out" not in reader.get("/cameras").text
    assert "<form" not in reader.get("/cameras/in").text.split("<main", 1)[1]
    for path in ("/cameras/out", "/cameras/out/live", "/cameras/out/picture", "/cameras/none"):
        assert reader.get(path).status_code == 404
    assert reader.get("/cameras/new").status_code == 403
    assert reader.post("/cameras/in", data={**FORM, "version": "1"}).status_code == 403
    assert reader.post("/cameras/in/remove").status_code == 403
    assert "yard" not in reader.get("/cameras").text


@pytest.mark.parametrize(
    "text", ["1,1 2,2", "1,1 2,2 x", "1,1 2,2 3", "1,1 2,2 101,3", "1,1 2,2 nan,3", "-1,0 5,5 9,9"]
)
def test_masks_that_are_none(text: str) -> None:
    with pytest.raises(BadInputError, match="masks: line 2"):
        parse_masks(f"0,0 10,0 10,10\n{text}")


def test_masks_are_read_as_they_are_written() -> None:
    masks = [TRIANGLE, [[0.0, 0.0], [1.0, 0.0], [1.0, 1.0], [0.0, 0.3333]]]

    assert parse_masks(write_masks(masks)) == masks
