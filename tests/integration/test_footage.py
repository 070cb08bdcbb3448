"""Footage over the API: any part of it, the moment of a sighting, what follows, and who may see it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx2
import pytest
from fastapi.testclient import TestClient
from sqlalchemy import select

from lookout.clock import isoformat
from lookout.faces.assets import AssetCache
from lookout.stores.registry import Registry
from lookout.stores.registry.tables import AuditEntry, CameraRow, Segment, StoredCrop
from search.app import create_app
from tests.footage import CLIP_S, put_camera, record, seed_clip
from tests.servers import Server
from tests.wall import parts_on, token_of

pytestmark = pytest.mark.timeout(120)
#: 2026-11-01T08:00:00Z
T0 = 1_793_520_000_000_000
MASK = [[0.0, 0.0], [0.5, 0.0], [0.5, 1.0]]


@dataclass
class Archive:
    """Two pieces of `entrance` that follow one another, and one of `yard` after a gap."""

    client: TestClient
    registry: Registry
    root: Path
    sightings: list[str]
    olga: dict[str, str]
    anna: dict[str, str]

    def get(self, path: str, who: dict[str, str] | None = None, **headers: str) -> httpx2.Response:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return self.client.get(f"/api/v1{path}", headers={**(self.anna if who is None else who), **named})

    def played(self) -> list[AuditEntry]:
        with self.registry.reading() as session:
            return list(session.scalars(select(AuditEntry).where(AuditEntry.action == "footage.played")))

    def segments(self, camera: str) -> list[Segment]:
        with self.registry.reading() as session:
            query = select(Segment).where(Segment.camera_id == camera).order_by(Segment.started_at_us)
            return list(session.scalars(query))


@pytest.fixture
def archive(
    registry: Registry, valkey_server: Server, redis: object, tmp_path: Path, assets: AssetCache
) -> Iterator[Archive]:
    parts = parts_on(registry, tmp_path, redis_url=valkey_server.url)
    put_camera(registry, parts.keyring, "entrance", name="Entrance", masks=[MASK])
    put_camera(registry, parts.keyring, "yard", group="yard")
    sightings = seed_clip(parts, "entrance", "entrance", T0)
    seed_clip(parts, "entrance", "yard", T0 + 600_000_000, group="yard")
    record(registry, parts.settings.footage_folder, assets, "lobby", "entrance", T0 + CLIP_S * 1_000_000)
    with registry.transaction() as session:
        olga = token_of(session, "olga", groups=["yard"])
        anna = token_of(session, "anna", "analyst")
    with TestClient(create_app(parts)) as client:
        yield Archive(client, registry, parts.settings.footage_folder, sightings, olga, anna)


def test_any_part_of_a_segment_can_be_asked_for(archive: Archive) -> None:
    (segment, _) = archive.segments("entrance")
    path = f"/footage/{segment.id}"
    data = (archive.root / segment.name).read_bytes()

    whole = archive.get(path)
    assert whole.status_code == 200
    assert whole.content == data
    assert whole.headers["content-type"] == "video/mp4"
    assert whole.headers["cache-control"] == "private, no-store"
    assert whole.headers["accept-ranges"] == "bytes"

    part = archive.get(path, Range="bytes=100-199")
    assert part.status_code == 206
    assert part.content == data[100:200]
    assert part.headers["content-range"] == f"bytes 100-199/{len(data)}"
    assert archive.get(path, Range="bytes=-50").content == data[-50:]
    several = archive.get(path, Range="bytes=0-9,20-29")
    assert several.status_code == 206
    assert several.headers["content-type"].startswith("multipart/byteranges")
    assert data[20:30] in several.content

    assert archive.get(path, Range=f"bytes={len(data)}-").status_code == 416
    # Another file by now: all of it.
    stale = archive.get(path, Range="bytes=0-9", if_range='"another"')
    assert (stale.status_code, len(stale.content)) == (200, len(data))
    same = archive.get(path, Range="bytes=0-9", if_range=whole.headers["etag"])
    assert (same.status_code, same.content) == (206, data[:10])

    head = archive.client.head(f"/api/v1{path}", headers=archive.anna)
    assert (head.status_code, head.content) == (200, b"")
    assert head.headers["content-length"] == str(len(data))


def test_playing_is_written_down_once_and_not_at_each_request(archive: Archive) -> None:
    (segment, following) = archive.segments("entrance")
    archive.client.head(f"/api/v1/footage/{segment.id}", headers=archive.anna)
    assert archive.played() == []
    for start in (0, 100, 200):
        archive.get(f"/footage/{segment.id}", Range=f"bytes={start}-{start + 10}")
    archive.get(f"/footage/{following.id}")
    first, second = archive.played()
    assert (first.actor, first.subject_id) == ("anna", segment.id)
    assert first.detail == {"camera": "entrance", "at": isoformat(T0), "video": None}
    assert second.subject_id == following.id


def test_the_moment_of_a_sighting_is_where_its_best_crop_was_taken(archive: Archive) -> None:
    sighting = archive.sightings[1]
    answer = archive.get(f"/sightings/{sighting}/footage")
    assert answer.status_code == 200
    moment = answer.json()
    with archive.registry.reading() as session:
        query = select(StoredCrop).where(StoredCrop.sighting_id == sighting).order_by(StoredCrop.quality.desc())
        best = session.scalars(query).first()
    assert best is not None
    assert moment["offset_s"] == pytest.approx((best.captured_at_us - T0) / 1e6, abs=0.001)
    assert moment["url"] == f"/api/v1/footage/{moment['segment']}"
    assert (moment["codec"], moment["camera"], moment["camera_name"]) == ("h264", "entrance", "Entrance")
    assert moment["masks"] == [MASK]
    at = {box["at_s"]: box["box"] for box in moment["boxes"]}
    assert at[moment["offset_s"]] == pytest.approx(best.box_xyxy)


def test_footage_that_is_gone_is_said_so_and_the_sighting_remains(archive: Archive) -> None:
    (segment, _) = archive.segments("entrance")
    (archive.root / segment.name).unlink()
    gone = archive.get(f"/sightings/{archive.sightings[0]}/footage")
    assert gone.status_code == 404
    assert "footage is gone" in gone.json()["detail"]
    assert gone.headers["content-type"] == "application/problem+json"
    assert archive.get(f"/footage/{segment.id}").status_code == 404
    page = archive.client.get(f"/sightings/{archive.sightings[0]}/play", headers=archive.anna)
    assert page.status_code == 200
    assert "data:image/jpeg;base64," in page.text


def test_a_camera_is_played_from_any_moment_and_goes_on(archive: Archive) -> None:
    first, second = archive.segments("entrance")
    within = archive.get(f"/footage?camera=entrance&at={isoformat(T0 + 5_000_000)}").json()
    assert (within["segment"], within["offset_s"]) == (first.id, 5.0)
    assert archive.get(f"/footage/{first.id}/next").json()["segment"] == second.id
    assert archive.get(f"/footage/{second.id}/next").status_code == 404
    # In the gap before: the next there is.
    later = archive.get(f"/footage?camera=yard&at={isoformat(T0)}").json()
    assert (later["segment"], later["offset_s"]) == (archive.segments("yard")[0].id, 0.0)
    assert archive.get(f"/footage?camera=yard&at={isoformat(T0 + 3_600_000_000)}").status_code == 404
    assert archive.get("/footage?camera=yard&at=2026-11-01T08:00:00").status_code == 422


def test_lanes_join_what_follows_and_show_gaps(archive: Archive) -> None:
    lanes = archive.get(
        f"/footage/lanes?since={isoformat(T0 - 1_000_000)}&until={isoformat(T0 + 3_600_000_000)}"
    ).json()["lanes"]
    assert [lane["camera"] for lane in lanes] == ["entrance", "yard"]
    (span,) = lanes[0]["spans"]
    assert span["started_at"] == isoformat(T0)
    assert span["ended_at"] == isoformat(archive.segments("entrance")[1].ended_at_us)
    reversed_ = archive.get(f"/footage/lanes?since={isoformat(T0)}&until={isoformat(T0 - 1)}")
    assert reversed_.status_code == 422


def test_without_a_right_to_the_camera_there_is_nothing(archive: Archive) -> None:
    entrance, yard = archive.segments("entrance")[0], archive.segments("yard")[0]
    unknown = archive.get("/footage/nosuch", archive.olga).json()
    for path in (f"/footage/{entrance.id}", f"/footage/{entrance.id}/next"):
        answer = archive.get(path, archive.olga)
        assert (answer.status_code, answer.json()) == (404, unknown)
    assert archive.get(f"/sightings/{archive.sightings[0]}/footage", archive.olga).status_code == 404
    assert archive.get(f"/footage?camera=entrance&at={isoformat(T0)}", archive.olga).status_code == 404
    assert archive.get(f"/footage/{yard.id}", archive.olga).status_code == 200
    lanes = archive.get(
        f"/footage/lanes?since={isoformat(T0)}&until={isoformat(T0 + 3_600_000_000)}", archive.olga
    ).json()
    assert [lane["camera"] for lane in lanes["lanes"]] == ["yard"]
    assert archive.client.get(f"/sightings/{archive.sightings[0]}/play", headers=archive.olga).status_code == 404
    # A camera that is gone takes its masks along: for nobody whose rights are limited.
    with archive.registry.transaction() as session:
        session.delete(session.get(CameraRow, "yard"))
    assert archive.get(f"/footage/{yard.id}", archive.olga).status_code == 404
    assert archive.get(f"/footage/{yard.id}").status_code == 200
