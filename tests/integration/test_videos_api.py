"""Videos sent by the API and the page: taken once, kept from others, cancelled."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

from lookout.audit import SYSTEM
from lookout.camera_settings import make_camera
from lookout.cameras import create_camera
from lookout.stores.registry import Registry
from lookout.stores.registry.tables import Video
from search.app import create_app
from search.parts import Parts
from tests.wall import parts_on, token_of

URL = "/api/v1/videos"
ASKED = {"camera": "gate", "start": "2026-11-01T08:00:00+01:00", "file_name": "clip.mp4"}


@pytest.fixture
def parts(registry: Registry, tmp_path: Path) -> Parts:
    return parts_on(registry, tmp_path)


@pytest.fixture
def client(parts: Parts) -> Iterator[TestClient]:
    with TestClient(create_app(parts)) as made:
        yield made


@pytest.fixture
def people(parts: Parts) -> dict[str, dict[str, str]]:
    """An admin, an analyst of the gate's group, one of another group, and an operator; and the camera."""
    with parts.registry.transaction() as session:
        create_camera(session, SYSTEM, parts.keyring, make_camera(id="gate", url="files:", group="doors"))
        return {
            "admin": token_of(session, "anna", "admin"),
            "analyst": token_of(session, "ben", "analyst", groups=["doors"]),
            "other": token_of(session, "cem", "analyst", groups=["yard"]),
            "operator": token_of(session, "dora", "operator"),
        }


def send(client: TestClient, who: dict[str, str], data: bytes = b"a video", **changed: Any) -> Any:
    return client.post(URL, params={**ASKED, **changed}, content=data, headers=who)


def uploads(parts: Parts) -> list[Path]:
    return sorted(parts.settings.uploads_folder.glob("*"))


def test_a_video_is_taken_once_and_lies_where_only_lookout_reads(
    client: TestClient, parts: Parts, people: dict[str, dict[str, str]]
) -> None:
    answer = send(client, people["analyst"])
    assert answer.status_code == 201, answer.text
    video = answer.json()
    assert (video["state"], video["camera"], video["file_name"], video["size"]) == ("waiting", "gate", "clip.mp4", 7)
    assert video["started_at"] == "2026-11-01T07:00:00.000Z"
    (path,) = uploads(parts)
    assert path.read_bytes() == b"a video"
    assert path.stat().st_mode & 0o777 == 0o600
    again = send(client, people["analyst"], file_name="other.mp4")
    assert (again.status_code, again.json()["id"]) == (200, video["id"])
    assert len(uploads(parts)) == 1
    assert [one["id"] for one in client.get(URL, headers=people["analyst"]).json()["items"]] == [video["id"]]


def test_who_has_no_right_to_the_camera_sees_nothing_of_it(
    client: TestClient, people: dict[str, dict[str, str]]
) -> None:
    video = send(client, people["analyst"]).json()["id"]
    assert client.get(URL, headers=people["other"]).json()["items"] == []
    missing = client.get(f"{URL}/{'0' * 32}", headers=people["other"])
    hidden = client.get(f"{URL}/{video}", headers=people["other"])
    assert (hidden.status_code, missing.status_code) == (404, 404)
    assert client.post(f"{URL}/{video}/cancellation", headers=people["other"]).status_code == 404
    assert send(client, people["other"]).status_code == 404
    assert send(client, people["other"], camera="nobody").status_code == 404
    assert send(client, people["operator"]).status_code == 403


@pytest.mark.parametrize(
    ("changed", "data", "status"),
    [
        ({"start": "2999-01-01T00:00:00Z"}, b"a video", 422),
        ({"start": "soon"}, b"a video", 422),
        ({"fps": "0"}, b"a video", 422),
        ({}, b"", 422),
        ({"camera": "a\x00b"}, b"a video", 404),
    ],
)
def test_what_cannot_be_taken_is_refused_and_leaves_nothing(
    client: TestClient,
    parts: Parts,
    people: dict[str, dict[str, str]],
    changed: dict[str, str],
    data: bytes,
    status: int,
) -> None:
    answer = send(client, people["admin"], data, **changed)
    assert answer.status_code == status, answer.text
    assert uploads(parts) == []


def test_an_admin_adds_a_camera_by_its_name_and_an_analyst_does_not(
    client: TestClient, people: dict[str, dict[str, str]]
) -> None:
    assert send(client, people["admin"], camera="Lobby West").json()["camera"] == "lobby-west"
    assert send(client, people["analyst"], camera="Lobby East").status_code == 404


def test_a_video_is_cancelled_once_and_taken_again(
    client: TestClient, parts: Parts, people: dict[str, dict[str, str]]
) -> None:
    video = send(client, people["analyst"]).json()["id"]
    assert client.post(f"{URL}/{video}/cancellation", headers=people["analyst"]).json()["state"] == "cancelled"
    assert client.post(f"{URL}/{video}/cancellation", headers=people["analyst"]).status_code == 409
    again = send(client, people["analyst"])
    assert (again.json()["id"], again.json()["state"]) == (video, "waiting")
    with parts.registry.reading() as session:
        assert (parts.settings.uploads_folder / str(session.get_one(Video, video).upload)).is_file()


def test_pages_of_the_list_follow_one_another(client: TestClient, people: dict[str, dict[str, str]]) -> None:
    made = [send(client, people["admin"], f"video {number}".encode()).json()["id"] for number in range(3)]
    first = client.get(URL, params={"limit": 2}, headers=people["admin"]).json()
    second = client.get(URL, params={"limit": 2, "cursor": first["next"]}, headers=people["admin"]).json()
    assert [one["id"] for one in first["items"] + second["items"]] == made[::-1]
    assert second["next"] is None


def test_a_full_disk_is_said(
    client: TestClient, people: dict[str, dict[str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lookout.videos.MIN_FREE_BYTES", 1 << 60)
    answer = send(client, people["admin"])
    assert answer.status_code == 503
    assert "full" in answer.json()["detail"]
