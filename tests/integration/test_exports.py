"""Exports: asked for by API and page, made by a worker, downloaded, and gone without a trace."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import subprocess
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import pytest
from av.video.frame import VideoFrame
from av.video.stream import VideoStream
from fastapi.testclient import TestClient

from deploy.local.clips import prepare_clips
from lookout.accounts.rights import Identity
from lookout.audit import Actor
from lookout.clock import isoformat, now_us
from lookout.exports import records
from lookout.exports.records import KEEP_DAYS, MAX_UNFINISHED, Moment
from lookout.faces.assets import AssetCache
from lookout.faces.detector import Detector
from lookout.faces.yunet import YuNet
from lookout.footage.folder import FootageFolder, Piece
from lookout.footage.segments import register_new
from lookout.queue import celery_app
from lookout.stores.blobs import Blobs
from lookout.stores.registry.tables import AuditEntry, CameraRow, Export, Segment, Sighting, StoredCrop
from search.app import create_app
from search.parts import Parts as SearchParts
from tests.people import MODEL
from tests.servers import wait_until
from tests.wall import token_of
from tests.workplace import Workplace, worker
from workers import exports
from workers.tasks import register

#: When the footage begins.
BEGIN_US = 1_790_000_000_000_000
SEGMENT_S, SEGMENTS = 4, 3
FPS, WIDTH, HEIGHT = 25, 1280, 720
#: When man A is to be seen, on the left; woman B is there all the time, on the right.
SEEN_S = (4.3, 6.3)
#: The lower part of the picture.
MASK = [[0.0, 0.75], [1.0, 0.75], [1.0, 1.0], [0.0, 1.0]]


@dataclass(frozen=True, slots=True)
class Film:
    """Segments with man A and woman B side by side, and where man A's face is, by frame."""

    segments: tuple[bytes, ...]
    boxes: dict[int, list[float]]


@pytest.fixture(scope="session")
def detector(assets: AssetCache) -> Detector:
    return YuNet(assets.model("yunet"))


@pytest.fixture(scope="session")
def film(assets: AssetCache, detector: Detector, tmp_path_factory: pytest.TempPathFactory) -> Film:
    """Two clips side by side, 720p, in segments as ingest records them."""
    folder = tmp_path_factory.mktemp("film")
    clips = [av.open(str(prepare_clips(assets) / f"{name}.mp4")) for name in ("entrance", "lobby")]
    pictures = zip(*(clip.decode(video=0) for clip in clips), strict=False)
    segments, boxes = [], {}
    for number in range(SEGMENTS):
        path = folder / f"{number}.mp4"
        with av.open(str(path), "w", format="mp4") as output:
            stream = output.add_stream("libx264", rate=FPS)
            assert isinstance(stream, VideoStream)
            stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
            stream.options = {"g": "50", "bf": "0", "sc_threshold": "0", "preset": "veryfast"}
            for index in range(SEGMENT_S * FPS):
                canvas = np.full((HEIGHT, WIDTH, 3), 90, np.uint8)
                for side, picture in enumerate(next(pictures)):
                    small = cv2.resize(picture.to_ndarray(format="bgr24"), (640, 360), interpolation=cv2.INTER_AREA)
                    canvas[180:540, 640 * side : 640 * (side + 1)] = small
                at = number * SEGMENT_S * FPS + index
                if at % 12 == 0:
                    left = [face for face in detector.detect_scaled(canvas, 640) if face.box_xyxy[0] < 640]
                    if left:
                        boxes[at] = left[0].box_xyxy.tolist()
                frame = VideoFrame.from_ndarray(canvas, format="bgr24")
                frame.pts, frame.time_base = index, Fraction(1, FPS)
                output.mux(stream.encode(frame))
            output.mux(stream.encode(None))
        segments.append(path.read_bytes())
    for clip in clips:
        clip.close()
    assert boxes
    return Film(tuple(segments), boxes)


@dataclass
class Desk:
    """An analyst's desk: the service, a worker's parts, a sighting of man A and its footage."""

    place: Workplace
    client: TestClient
    headers: dict[str, str]
    footage: FootageFolder

    def ask(self, *sightings: str, blur: bool = False, headers: dict[str, str] | None = None, **more: Any) -> Any:
        body = {
            "moments": [{"sighting": one, "score": 0.71} for one in sightings],
            "reason": "case 12",
            "blur_others": blur,
            **more,
        }
        return self.client.post("/api/v1/exports", json=body, headers=headers or self.headers)

    def make(self, export_id: str) -> dict[str, Any]:
        """As a worker does."""
        exports.export(self.place.parts, export_id)
        found: dict[str, Any] = self.client.get(f"/api/v1/exports/{export_id}", headers=self.headers).json()
        return found

    def export(self, *sightings: str, **more: Any) -> tuple[dict[str, Any], zipfile.ZipFile]:
        """Ask, make, download."""
        asked = self.ask(*sightings, **more)
        assert asked.status_code == 201, asked.text
        made = self.make(asked.json()["id"])
        assert made["state"] == "done", made
        answer = self.client.get(f"/api/v1/exports/{made['id']}/file", headers=self.headers)
        assert answer.status_code == 200, answer.text
        return made, zipfile.ZipFile(io.BytesIO(answer.content))

    def actions(self) -> list[AuditEntry]:
        return [row for row in self.place.rows(AuditEntry) if row.action.startswith("export.")]


@pytest.fixture
def desk(workplace: Workplace, film: Film) -> Iterator[Desk]:
    settings = workplace.settings
    search = SearchParts(settings)
    search.__dict__["registry"] = workplace.registry
    footage = FootageFolder(settings.footage_folder)
    with workplace.registry.transaction() as session:
        session.add(camera("entrance"))
        headers = token_of(session, "anna", "analyst", groups=["doors"])
    put_footage(workplace, footage, film, "entrance")
    put_sighting(workplace, film, "a" * 32, "entrance")
    yield Desk(workplace, TestClient(create_app(search)), headers, footage)
    search.redis.close()


def camera(name: str, group: str = "doors", masks: Any = ()) -> CameraRow:
    return CameraRow(
        id=name, name=f"The {name}", url=b"", camera_group=group, analysed_fps=5, transport="tcp",
        masks=list(masks), created_at_us=0,
    )  # fmt: skip


def put_footage(place: Workplace, footage: FootageFolder, film: Film, camera_id: str) -> None:
    for number, content in enumerate(film.segments):
        begin = BEGIN_US + number * SEGMENT_S * 1_000_000
        path = footage.open_folder(camera_id) / f"{number}.mp4"
        path.write_bytes(content)
        footage.finish(path, Piece(camera_id, begin, begin + SEGMENT_S * 1_000_000, "h264"))
    assert register_new(place.registry, footage) == SEGMENTS


def put_sighting(place: Workplace, film: Film, name: str, camera_id: str, group: str = "doors") -> None:
    begin, end = (BEGIN_US + round(at_s * 1e6) for at_s in SEEN_S)
    jpeg = cv2.imencode(".jpg", np.full((80, 60, 3), 120, np.uint8))[1].tobytes()
    with place.registry.transaction() as session:
        session.add(
            Sighting(
                id=name, camera_id=camera_id, camera_group=group, started_at_us=begin, ended_at_us=end,
                model=MODEL, template_sum=b"", best_quality=0.8, created_at_us=now_us(),
            )
        )  # fmt: skip
        session.flush()
        for at, box in film.boxes.items():
            crop_id = f"{name[:20]}{at:012}"
            session.add(
                StoredCrop(
                    id=crop_id, sighting_id=name, captured_at_us=BEGIN_US + at * 1_000_000 // FPS, quality=at / 1000,
                    box_xyxy=box, landmarks=[], blob=f"crops/{crop_id}.jpg",
                )
            )  # fmt: skip
            place.parts.blobs.write(f"crops/{crop_id}.jpg", jpeg)


def pictures(archive: zipfile.ZipFile, name: str, folder: Path) -> list[np.ndarray]:
    path = folder / "downloaded.mp4"
    path.write_bytes(archive.read(name))
    with av.open(str(path)) as clip:
        return [frame.to_ndarray(format="bgr24") for frame in clip.decode(video=0)]


def clips_in(archive: zipfile.ZipFile) -> list[str]:
    return [name for name in archive.namelist() if name.startswith("clips/")]


def test_the_archive_holds_clip_pictures_and_report_and_its_sums_are_right(desk: Desk, tmp_path: Path) -> None:
    made, archive = desk.export("a" * 32, zone="Europe/Berlin")

    archive.extractall(tmp_path / "out")
    checked = subprocess.run(
        ["sha256sum", "--strict", "-c", "SHA256SUMS"],
        cwd=tmp_path / "out",
        capture_output=True,
        check=False,
        timeout=30,
    )
    assert checked.returncode == 0, checked.stderr
    assert len(checked.stdout.splitlines()) == len(archive.namelist()) - 1
    report = archive.read("report.html").decode()
    manifest = json.loads(archive.read("manifest.json"))
    (clip,) = manifest["clips"]
    entry = next(row for row in desk.actions() if row.action == "export.created")
    assert manifest["audit_entry"] == entry.number
    for told in ("anna", "case 12", "The entrance", "no proof", clip["sha256"], clip["sources"][0]["sha256"], "+02:00"):
        assert told in report, told
    assert "<script" not in report
    assert all(source["sha256"] == hashlib.sha256((desk.footage.root / name).read_bytes()).hexdigest()
               for source, name in zip(clip["sources"], segment_names(desk), strict=True))  # fmt: skip
    assert len(manifest["moments"][0]["crops"]) == len([name for name in archive.namelist() if "crops/" in name])
    assert made["size"]


def segment_names(desk: Desk) -> list[str]:
    return [row.name for row in sorted(desk.place.rows(Segment), key=lambda row: row.started_at_us)]


def test_a_clip_without_masks_is_copied_and_the_report_tells_its_true_begin(desk: Desk, tmp_path: Path) -> None:
    _, archive = desk.export("a" * 32)

    (clip,) = json.loads(archive.read("manifest.json"))["clips"]
    shown = pictures(archive, clip["file"], tmp_path)
    assert not clip["encoded_again"]
    # 4.3 s less 5 s is before the footage begins.
    assert clip["started_at"] == isoformat(BEGIN_US)
    assert clip["started_at"] in archive.read("report.html").decode().replace(" UTC", "Z").replace(" ", "T")
    assert len(shown) == clip["frames"]
    assert abs(len(shown) / FPS - (SEEN_S[1] + 5)) <= 0.1


def test_masks_are_black_in_every_frame(desk: Desk, film: Film, tmp_path: Path) -> None:
    with desk.place.registry.transaction() as session:
        session.add(camera("yard", masks=[MASK]))
    put_footage(desk.place, desk.footage, film, "yard")
    put_sighting(desk.place, film, "b" * 32, "yard")

    _, archive = desk.export("b" * 32)

    (clip,) = json.loads(archive.read("manifest.json"))["clips"]
    assert clip["encoded_again"]
    assert clip["masks"] == 1
    for pixels in pictures(archive, clip["file"], tmp_path):
        assert pixels[HEIGHT * 3 // 4 :].max() <= 24  # at the edge, by the encoder
        assert pixels[HEIGHT * 3 // 4 + 4 :].max() <= 8
        assert 80 <= pixels[:100].mean() <= 100


def test_the_faces_of_others_are_covered_and_the_searched_one_stays(
    desk: Desk, detector: Detector, tmp_path: Path
) -> None:
    _, archive = desk.export("a" * 32, blur=True)

    (clip,) = json.loads(archive.read("manifest.json"))["clips"]
    assert clip["faces_blurred"]
    shown = pictures(archive, clip["file"], tmp_path)
    assert len(shown) > 10 * FPS
    searched = 0
    for index, pixels in enumerate(shown):
        faces = detector.detect_scaled(pixels, 640)
        assert all(face.box_xyxy[2] < 640 for face in faces), f"a face of another in frame {index}"
        searched += bool(faces)
    assert searched >= (SEEN_S[1] - SEEN_S[0]) * FPS * 0.9


def test_footage_that_is_gone_is_told_and_the_picture_stands_in(desk: Desk) -> None:
    for name in segment_names(desk)[1:2]:
        desk.footage.delete(name)

    _, archive = desk.export("a" * 32)

    manifest = json.loads(archive.read("manifest.json"))
    (gap,) = manifest["gaps"]
    assert (gap["began_at"], gap["ended_at"]) == (isoformat(BEGIN_US + 4_000_000), isoformat(BEGIN_US + 8_000_000))
    assert len(manifest["clips"]) == 2
    assert manifest["moments"][0]["crops"]


def test_without_any_footage_there_are_pictures(desk: Desk) -> None:
    for name in segment_names(desk):
        desk.footage.delete(name)

    _, archive = desk.export("a" * 32, blur=True)

    assert not clips_in(archive)
    assert "the picture stands in" in archive.read("report.html").decode()
    assert [name for name in archive.namelist() if name.startswith("crops/")]


def test_a_camera_that_was_removed_gives_no_footage_as_its_masks_are_gone_with_it(desk: Desk) -> None:
    with desk.place.registry.transaction() as session:
        session.delete(session.get_one(CameraRow, "entrance"))

    _, archive = desk.export("a" * 32)

    assert not clips_in(archive)
    assert "privacy masks are not known" in archive.read("report.html").decode()


def test_damaged_footage_is_a_gap(desk: Desk) -> None:
    for name in segment_names(desk):
        (desk.footage.root / name).write_bytes(b"nothing that plays")

    _, archive = desk.export("a" * 32)

    assert not clips_in(archive)
    assert "damaged" in archive.read("report.html").decode()


def test_a_sighting_that_went_meanwhile_is_told(desk: Desk, film: Film) -> None:
    put_sighting(desk.place, film, "b" * 32, "entrance")
    asked = desk.ask("a" * 32, "b" * 32).json()
    with desk.place.registry.transaction() as session:
        session.query(StoredCrop).filter_by(sighting_id="b" * 32).delete()
        session.delete(session.get_one(Sighting, "b" * 32))

    desk.make(asked["id"])

    answer = desk.client.get(f"/api/v1/exports/{asked['id']}/file", headers=desk.headers)
    report = zipfile.ZipFile(io.BytesIO(answer.content)).read("report.html").decode()
    assert "was removed after the export was asked for" in report


def test_moments_that_overlap_are_one_clip(desk: Desk, film: Film) -> None:
    put_sighting(desk.place, film, "b" * 32, "entrance")

    _, archive = desk.export("a" * 32, "b" * 32)

    (clip,) = json.loads(archive.read("manifest.json"))["clips"]
    assert clip["moments"] == [1, 2]


def test_it_lies_sealed_and_no_clip_stays_on_the_disk(desk: Desk, tmp_path: Path) -> None:
    made, archive = desk.export("a" * 32)

    clip = archive.read(clips_in(archive)[0])
    pieces = list((tmp_path / "blobs" / "exports").rglob("*"))
    assert any(path.is_file() for path in pieces)
    for path in pieces:
        if path.is_file():
            content = path.read_bytes()
            assert clip[1000:1100] not in content
            assert b"PK\x03\x04" not in content
    assert not list((desk.footage.root / "exports").iterdir())
    assert made["state"] == "done"


def test_a_download_is_audited_and_says_what_it_is(desk: Desk) -> None:
    made = desk.make(desk.ask("a" * 32).json()["id"])

    answer = desk.client.get(f"/api/v1/exports/{made['id']}/file", headers=desk.headers)

    digest = hashlib.sha256(answer.content)
    assert answer.headers["etag"] == f'"{digest.hexdigest()}"'
    assert answer.headers["repr-digest"] == f"sha-256=:{base64.b64encode(digest.digest()).decode()}:"
    assert int(answer.headers["content-length"]) == len(answer.content) == made["size"]
    assert "attachment" in answer.headers["content-disposition"]
    created, downloaded = desk.actions()
    assert (created.action, downloaded.action) == ("export.created", "export.downloaded")
    assert created.reason == downloaded.reason == "case 12"
    assert created.detail["sightings"] == downloaded.detail["sightings"] == ["a" * 32]
    assert downloaded.detail["sha256"] == made["sha256"]


def test_what_is_not_done_cannot_be_downloaded(desk: Desk) -> None:
    asked = desk.ask("a" * 32).json()

    assert desk.client.get(f"/api/v1/exports/{asked['id']}/file", headers=desk.headers).status_code == 409


def test_nobody_exports_what_is_not_theirs(desk: Desk, film: Film) -> None:
    with desk.place.registry.transaction() as session:
        session.add(camera("vault", "vaults"))
        others = token_of(session, "otto", "analyst", groups=["vaults"])
        operator = token_of(session, "olga", "operator", groups=["doors"])
    put_sighting(desk.place, film, "c" * 32, "vault", "vaults")

    foreign, missing = desk.ask("c" * 32), desk.ask("d" * 32)
    assert foreign.status_code == missing.status_code == 404
    assert foreign.text.replace("c" * 32, "") == missing.text.replace("d" * 32, "")
    assert desk.ask("a" * 32, headers=operator).status_code == 403
    export_id = desk.ask("a" * 32).json()["id"]
    for path in (f"/api/v1/exports/{export_id}", f"/api/v1/exports/{export_id}/file", f"/exports/{export_id}/file"):
        assert desk.client.get(path, headers=others).status_code == 404
    assert desk.client.delete(f"/api/v1/exports/{export_id}", headers=others).status_code == 404
    assert desk.client.get("/api/v1/exports", headers=others).json()["items"] == []


def test_a_right_that_was_taken_away_ends_downloads(desk: Desk) -> None:
    made = desk.make(desk.ask("a" * 32).json()["id"])
    with desk.place.registry.transaction() as session:
        session.get_one(CameraRow, "entrance").camera_group = "vaults"

    assert desk.client.get(f"/api/v1/exports/{made['id']}/file", headers=desk.headers).status_code == 404


def test_an_admin_sees_all(desk: Desk) -> None:
    with desk.place.registry.transaction() as session:
        admin = token_of(session, "ada", "admin")
    asked = desk.ask("a" * 32).json()

    assert [one["id"] for one in desk.client.get("/api/v1/exports", headers=admin).json()["items"]] == [asked["id"]]


@pytest.mark.parametrize(
    "body",
    [
        {"moments": []},
        {"moments": [{"sighting": "a" * 32, "score": 2}]},
        {"moments": [{"sighting": "a" * 32, "score": 0.5}], "reason": " "},
        {"moments": [{"sighting": "a" * 32, "score": 0.5}], "zone": "Nowhere/Town"},
        {"moments": [{"sighting": "a" * 32, "score": 0.5}], "zone": "../etc/passwd"},
        {"moments": [{"sighting": f"{n:032}", "score": 0.5} for n in range(201)]},
    ],
)
def test_what_makes_no_sense_is_refused(desk: Desk, body: dict[str, Any]) -> None:
    answer = desk.client.post("/api/v1/exports", json={"reason": "case 12", **body}, headers=desk.headers)

    assert answer.status_code == 422, answer.text
    assert not desk.place.rows(Export)


def test_the_same_request_makes_one_export(desk: Desk) -> None:
    headers = {**desk.headers, "Idempotency-Key": "one"}

    first, second = desk.ask("a" * 32, headers=headers), desk.ask("a" * 32, headers=headers)

    assert first.json() == second.json()
    assert len(desk.place.rows(Export)) == 1


def test_nobody_fills_the_queue(desk: Desk) -> None:
    answers = [desk.ask("a" * 32).status_code for _ in range(MAX_UNFINISHED + 1)]

    assert answers == [201] * MAX_UNFINISHED + [409]


def test_a_removed_export_leaves_nothing(desk: Desk, tmp_path: Path) -> None:
    made = desk.make(desk.ask("a" * 32).json()["id"])

    assert desk.client.delete(f"/api/v1/exports/{made['id']}", headers=desk.headers).status_code == 204

    assert not desk.place.rows(Export)
    assert not [path for path in (tmp_path / "blobs" / "exports").rglob("*") if path.is_file()]
    assert desk.actions()[-1].action == "export.removed"


def test_expired_exports_are_found_and_removed(desk: Desk) -> None:
    made = desk.make(desk.ask("a" * 32).json()["id"])
    fresh = desk.ask("a" * 32).json()
    with desk.place.registry.transaction() as session:
        assert not records.expired(session)
        session.get_one(Export, made["id"]).created_at_us -= (KEEP_DAYS * 24 * 3600 + 1) * 1_000_000
        session.flush()
        (old,) = records.expired(session)
        records.remove(session, desk.place.parts.blobs, Actor("system", "system"), old, action="export.expired")

    assert [row.id for row in desk.place.rows(Export)] == [fresh["id"]]


def test_with_the_sightings_of_an_erased_person_their_exports_go(desk: Desk, film: Film, tmp_path: Path) -> None:
    put_sighting(desk.place, film, "b" * 32, "entrance")
    desk.make(desk.ask("a" * 32).json()["id"])
    other = desk.ask("b" * 32).json()

    with desk.place.registry.transaction() as session:
        assert records.remove_with_sightings(session, desk.place.parts.blobs, ["a" * 32, "none"]) == 1

    assert [row.id for row in desk.place.rows(Export)] == [other["id"]]
    assert not [path for path in (tmp_path / "blobs" / "exports").rglob("*") if path.is_file()]


def test_an_export_that_is_removed_while_it_is_made_leaves_nothing(
    desk: Desk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = desk.ask("a" * 32).json()
    write = Blobs.write

    def remove_then_write(blobs: Blobs, name: str, data: bytes) -> None:
        desk.client.delete(f"/api/v1/exports/{asked['id']}", headers=desk.headers)
        write(blobs, name, data)

    monkeypatch.setattr(Blobs, "write", remove_then_write)
    exports.export(desk.place.parts, asked["id"])

    assert not desk.place.rows(Export)
    assert not [path for path in (tmp_path / "blobs" / "exports").rglob("*") if path.is_file()]


def test_a_full_store_fails_the_export_and_leaves_nothing(
    desk: Desk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = desk.ask("a" * 32).json()
    pipe = desk.place.parts.blobs._files.pipe_file

    def full(path: str, data: bytes) -> None:
        pipe(path, data[: len(data) // 2])
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(desk.place.parts.blobs._files, "pipe_file", full)
    failed = desk.make(asked["id"])

    assert failed["state"] == "failed"
    assert "full" in failed["error"]
    assert not [path for path in (tmp_path / "blobs" / "exports").rglob("*") if path.is_file()]
    assert not list((desk.footage.root / "exports").iterdir())


def test_two_workers_never_make_the_same_one(desk: Desk) -> None:
    asked = desk.ask("a" * 32).json()
    lock = desk.place.parts.redis.lock(exports.lock_name(asked["id"]), timeout=60)
    assert lock.acquire()

    assert desk.make(asked["id"])["state"] == "waiting"

    lock.release()
    assert desk.make(asked["id"])["state"] == "done"


def test_one_whose_worker_was_killed_is_made_by_another(desk: Desk, tmp_path: Path) -> None:
    """What the killed one had written is deleted: its clips, and what was sealed of the archive."""
    asked = desk.ask("a" * 32).json()
    left = desk.footage.root / "exports" / f"{asked['id']}.dead"
    left.mkdir(parents=True)
    (left / "001.mp4").write_bytes(b"a clip")
    half = f"exports/{asked['id']}/dead"
    desk.place.parts.blobs.write(f"{half}/000000", b"a piece")
    with desk.place.registry.transaction() as session:
        row = session.get_one(Export, asked["id"])
        row.state, row.blob = "running", f"{half}/9000000"
    app = celery_app(desk.place.settings)
    register(app, desk.place.parts)

    exports.relay(app, desk.place.parts)

    assert not left.exists()
    assert desk.place.parts.redis.llen("exports") == 1
    assert desk.make(asked["id"])["state"] == "done"
    assert not (tmp_path / "blobs" / half).exists() or not list((tmp_path / "blobs" / half).iterdir())


def test_one_that_takes_its_worker_down_each_time_is_given_up(desk: Desk) -> None:
    asked = desk.ask("a" * 32).json()
    desk.place.parts.redis.set(f"{exports.lock_name(asked['id'])}:attempts", exports.MAX_ATTEMPTS)

    failed = desk.make(asked["id"])

    assert failed["state"] == "failed"
    assert "worker" in failed["error"]


def test_a_worker_process_makes_what_waits(desk: Desk) -> None:
    asked = desk.ask("a" * 32).json()

    def done() -> bool:
        state = desk.client.get(f"/api/v1/exports/{asked['id']}", headers=desk.headers).json()["state"]
        assert state != "failed"
        return bool(state == "done")

    if desk.place.registry.url.get_backend_name() != "sqlite":
        pytest.skip("one database is enough")
    with worker(desk.place.settings, "--queues", "maintenance,exports", "--concurrency", "2", wait_ready=False):
        wait_until(done, 120, "export done")


def test_the_page_asks_before_it_exports(desk: Desk) -> None:
    headers = {**desk.headers, "accept": "text/html"}
    form = {"sighting": [f"{'a' * 32}:0.71"], "reason": "case 12"}

    asked = desk.client.post("/exports", data=form, headers=headers)
    assert "Export 1 sighting" in asked.text
    assert 'name="blur_others" value="true" checked' in asked.text
    assert not desk.place.rows(Export)

    begun = desk.client.post("/exports/confirmed", data=form, headers=headers, follow_redirects=False)
    assert begun.headers["location"] == "/exports"
    (row,) = desk.place.rows(Export)
    assert not row.blur_others
    assert row.moments == [{"sighting": "a" * 32, "score": 0.71}]
    assert "case 12" in desk.client.get("/exports", headers=headers).text
    assert desk.client.post(f"/exports/{row.id}/remove", headers=headers, follow_redirects=False).status_code == 303
    assert not desk.place.rows(Export)


@pytest.mark.parametrize("sighting", ["", "abc", "abc:", "abc:x", "abc:nan", ":0.5", "abc:7"])
def test_the_page_refuses_what_is_no_moment(desk: Desk, sighting: str) -> None:
    answer = desk.client.post("/exports", data={"sighting": sighting}, headers=desk.headers)

    assert answer.status_code == 422


def test_reasons_and_names_are_text_in_the_report(desk: Desk) -> None:
    _, archive = desk.export("a" * 32, reason="<script>alert(1)</script> & more")

    report = archive.read("report.html").decode()
    assert "<script>alert" not in report
    assert "&lt;script&gt;alert(1)&lt;/script&gt; &amp; more" in report


def test_moments_are_counted_once(desk: Desk) -> None:
    who = Identity("u", "u", "admin", frozenset(), None, None, Actor("u", "session"))
    with desk.place.registry.transaction() as session:
        export = records.create(
            session, who, [Moment("a" * 32, 0.5), Moment("a" * 32, 0.7)], reason="r", blur_others=False
        )

    assert export.moments == [{"sighting": "a" * 32, "score": 0.7}]
