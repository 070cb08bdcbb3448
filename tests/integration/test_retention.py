"""What has served its time goes from every store, what is needed stays, whatever is killed in between."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from sqlalchemy import event, insert, select, update

from lookout import audit
from lookout.accounts.users import create_user
from lookout.alerts.holds import hold, release
from lookout.alerts.verdicts import judge
from lookout.clock import now_us
from lookout.errors import UnavailableError
from lookout.footage.folder import FootageFolder, Piece
from lookout.footage.segments import register_new
from lookout.sightings import removal
from lookout.stores.registry.tables import (
    Alert,
    AlertEvent,
    AlertSighting,
    AuditEntry,
    CameraRow,
    Delivery,
    Export,
    RejectedPair,
    Segment,
    Sighting,
    StoredCrop,
    Verdict,
    Video,
    Webhook,
    new_id,
)
from lookout.stores.sweeps import finished_at_us, has_rest
from lookout.stores.vectors import SightingRow, Where
from tests.people import MODEL, crop, man_a, woman_b
from tests.wall import put_alert, put_target
from tests.workplace import Workplace
from workers import retention
from workers.crops import process
from workers.sweeps import footage as footage_sweep
from workers.sweeps import sightings as sightings_sweep
from workers.sweeps.turn import Turn

HOUR = 3_600_000_000
DAY = 24 * HOUR
MINUTE = 60_000_000


@pytest.fixture
def place(workplace: Workplace) -> Workplace:
    """A workplace whose Milvus is ready."""
    workplace.update_index()
    return workplace


def sweep(place: Workplace, seconds: float = 30) -> Turn:
    """One run to the end."""
    turn = Turn(seconds)
    retention.run(place.parts, turn)
    return turn


def put_camera(place: Workplace, name: str, **fields: Any) -> None:
    with place.registry.transaction() as session:
        session.add(
            CameraRow(id=name, name=name, url=b"", camera_group="g", analysed_fps=5, transport="tcp", created_at_us=0,
                      **fields)
        )  # fmt: skip


def put_sighting(place: Workplace, name: str, *, camera: str, age: int, ended: int | None = None, **fields: Any) -> str:
    """A sighting in all stores, with one crop; `age` since it was stored, `ended` since it ended."""
    at_us = now_us()
    blob = f"crops/2026-01-01/{name}.jpg"
    place.parts.blobs.write(blob, b"a picture")
    template = np.zeros((1, place.parts.model.dimension), np.float32)
    template[0, hash(name) % 100] = 1
    ended_at_us = at_us - (age if ended is None else ended)
    row = SightingRow(name, camera, "g", ended_at_us, ended_at_us)
    place.parts.vectors.upsert_sightings(MODEL, [row], template)
    with place.registry.transaction() as session:
        session.add(
            Sighting(
                id=name, camera_id=camera, camera_group="g", started_at_us=ended_at_us - 1000, ended_at_us=ended_at_us,
                model="m", template_sum=b"", best_quality=1, indexed=True, created_at_us=at_us - age, **fields,
            )
        )  # fmt: skip
        session.flush()
        session.add(
            StoredCrop(id=f"c-{name}", sighting_id=name, captured_at_us=ended_at_us, quality=1, box_xyxy=[],
                       landmarks=[], blob=blob)
        )  # fmt: skip
    return name


def in_milvus(place: Workplace) -> set[str]:
    query = np.ones((1, place.parts.model.dimension), np.float32)
    ours = {row.id for row in place.rows(Sighting)} | {"old", "young", "gone", "a", "b"}
    return {hit.id for hit in place.parts.vectors.search_sightings(MODEL, query, 1000)[0]} & ours


def files(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.rglob("*") if path.is_file())


def ids(rows: Sequence[Any]) -> list[str]:
    return sorted(row.id for row in rows)


def entries(place: Workplace, action: str) -> list[AuditEntry]:
    return [row for row in place.rows(AuditEntry) if row.action == action]


# ---- Sightings ----


def test_expired_sightings_leave_every_store(place: Workplace) -> None:
    put_camera(place, "cam", retention_hours=2)
    put_sighting(place, "old", camera="cam", age=3 * HOUR)
    put_sighting(place, "young", camera="cam", age=HOUR)

    turn = sweep(place)

    assert ids(place.rows(Sighting)) == ["young"]
    assert ids(place.rows(StoredCrop)) == ["c-young"]
    assert files(place.settings.home / "blobs") == ["young.jpg"]
    assert in_milvus(place) == {"young"}
    assert turn.swept == {"sightings": 1, "crops": 1}
    (entry,) = entries(place, "retention.swept")
    assert (entry.actor, entry.detail) == ("system", {"sightings": 1, "crops": 1})


def test_each_camera_has_its_own_time_and_a_removed_one_the_default(place: Workplace) -> None:
    put_camera(place, "short", retention_hours=1)
    put_camera(place, "long", retention_hours=100)
    for camera, age in (("short", 2), ("long", 99), ("long", 101), ("removed", 71), ("removed", 73)):
        put_sighting(place, f"{camera}{age}", camera=camera, age=age * HOUR)

    sweep(place)

    assert ids(place.rows(Sighting)) == ["long99", "removed71"]


def test_who_is_still_seen_stays(place: Workplace) -> None:
    put_camera(place, "cam", retention_hours=1)
    put_sighting(place, "old", camera="cam", age=2 * HOUR, ended=HOUR // 2)
    sweep(place)
    assert ids(place.rows(Sighting)) == ["old"]


def put_video(
    place: Workplace, name: str, camera: str, *, finished: int | None, state: str = "done", **given: Any
) -> str:
    now = now_us()
    with place.registry.transaction() as session:
        session.add(
            Video(
                id=name, camera_id=camera, sha256=name, file_name="f.mp4", size=1, started_at_us=0, duration_us=1,
                width=1, height=1, codec="h264", analysed_fps=5, state=state, parts=1, created_by="anna",
                created_at_us=now - (finished or 0), finished_at_us=None if finished is None else now - finished,
                **given,
            )
        )  # fmt: skip
    return name


def test_the_time_of_a_handed_in_videos_sightings_begins_when_it_was_indexed(place: Workplace) -> None:
    put_camera(place, "cam", retention_hours=72)
    video = put_video(place, "v", "cam", finished=HOUR)
    put_sighting(place, "a", camera="cam", age=HOUR, ended=365 * DAY, video_id=video)
    put_sighting(place, "b", camera="cam", age=73 * HOUR, ended=365 * DAY, video_id=video)
    sweep(place)
    assert ids(place.rows(Sighting)) == ["a"]


def test_what_an_alert_has_stays_however_old_it_is(place: Workplace) -> None:
    with place.registry.transaction() as session:
        put_target(session, "w", "t", retention_days=30)
        put_alert(session, "t", "alert", at_us=now_us() - 29 * DAY)
    assert sweep(place).swept == {}
    assert len(place.rows(StoredCrop)) == 1


def test_many_go_in_small_transactions_and_runs(place: Workplace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sightings_sweep, "BATCH", 10)
    rows = [
        {"id": f"s{number}", "camera_id": f"cam{number % 3}", "camera_group": "g", "started_at_us": 0, "ended_at_us": 0,
         "model": "m", "template_sum": b"", "best_quality": 1, "created_at_us": number // 7}
        for number in range(300)
    ]  # fmt: skip
    with place.registry.transaction() as session:
        session.execute(insert(Sighting), rows)
        put_target(session, "w", "t", retention_days=3000)
        session.add(kept := put_alert(session, "t", "alert", at_us=now_us() - 29 * DAY, sightings=0))
        session.add_all(AlertSighting(alert_id=kept.id, sighting_id=f"s{n}", score=0.6) for n in range(90))

    runs = [sweep(place, seconds=0.05) for _ in range(3)]
    assert sum(run.swept.get("sightings", 0) for run in runs) > 0
    sweep(place)

    assert ids(place.rows(Sighting)) == sorted(f"s{number}" for number in range(90))
    assert sum(entry.detail["sightings"] for entry in entries(place, "retention.swept")) == 210


def test_killed_between_the_stores_and_the_rows_the_next_run_goes_on(
    place: Workplace, monkeypatch: pytest.MonkeyPatch
) -> None:
    put_sighting(place, "old", camera="cam", age=80 * HOUR)
    with monkeypatch.context() as patch:
        patch.setattr(sightings_sweep, "remove_rows", die)
        with pytest.raises(Killed):
            sweep(place)
    assert (ids(place.rows(Sighting)), files(place.settings.home / "blobs")) == (["old"], [])
    sweep(place)
    assert place.rows(Sighting) == []


class Killed(BaseException):
    """As if the process had been."""


def die(*_: object, **__: object) -> None:
    raise Killed


def test_one_that_came_to_life_again_stays_and_is_told_to_milvus_anew(
    place: Workplace, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A worker adds a crop while the sweep has deleted the pictures, and not yet the row."""
    put_sighting(place, "old", camera="cam", age=80 * HOUR)
    empty = removal.empty_stores

    def then_it_is_seen(*args: Any) -> None:
        empty(*args)
        with place.registry.transaction() as session:
            session.execute(update(Sighting).values(ended_at_us=now_us(), indexed=True))
            session.add(
                StoredCrop(id="new", sighting_id="old", captured_at_us=now_us(), quality=1, box_xyxy=[], landmarks=[],
                           blob="crops/new.jpg")
            )  # fmt: skip

    monkeypatch.setattr(sightings_sweep, "empty_stores", then_it_is_seen)
    sweep(place)
    (sighting,) = place.rows(Sighting)
    assert not sighting.indexed
    assert {row.id: row.blob for row in place.rows(StoredCrop)} == {"c-old": None, "new": "crops/new.jpg"}


@pytest.mark.parametrize("part", ["blobs", "vectors"])
def test_a_store_that_is_away_keeps_rows_and_lets_other_sweeps_go_on(
    place: Workplace, monkeypatch: pytest.MonkeyPatch, part: str
) -> None:
    put_sighting(place, "old", camera="cam", age=80 * HOUR)
    put_video(place, "v", "cam", finished=80 * HOUR)

    def away(*_: object) -> None:
        raise UnavailableError("away")

    with monkeypatch.context() as patch:
        patch.setattr(getattr(place.parts, part), "delete", away)
        sweep(place)
    assert (len(place.rows(Sighting)), place.rows(Video)) == (1, [])
    sweep(place)
    assert place.rows(Sighting) == []


def test_queries_use_an_index(place: Workplace) -> None:
    if place.registry.engine.dialect.name != "sqlite":
        pytest.skip("an empty PostgreSQL always scans")
    put_sighting(place, "old", camera="cam", age=80 * HOUR)
    asked: list[tuple[str, Any]] = []

    def note(_c: Any, _cursor: Any, statement: str, parameters: Any, *_: Any) -> None:
        asked.append((statement, parameters))

    event.listen(place.parts.registry.engine, "before_cursor_execute", note)
    sweep(place)
    event.remove(place.parts.registry.engine, "before_cursor_execute", note)
    scans = []
    with place.registry.reading() as session:
        for statement, parameters in asked:
            if statement.lstrip().startswith(("SELECT", "DELETE", "UPDATE")):
                plan = session.connection().exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", parameters).all()
                scans += [row[3] for row in plan if row[3].startswith(("SCAN sightings", "SCAN crops"))]
    assert asked
    assert scans == []


# ---- Alerts ----


def put_old_alert(
    place: Workplace, name: str, age: int, *, watchlist: str = "w", days: int = 30, **fields: Any
) -> None:
    """An alert with a sighting, a frame, an event, a verdict and a delivery."""
    at_us = now_us() - age
    frame = f"frames/2026-01-01/{name}.jpg"
    place.parts.blobs.write(frame, b"a frame")
    place.parts.blobs.write(f"crops/cs{name}0.jpg", b"a picture")
    with place.registry.transaction() as session:
        put_target(session, watchlist, f"t{name}", retention_days=days)
        put_alert(session, f"t{name}", name, at_us=at_us, frame_blob=frame, **fields)
        session.flush()
        user = (
            session.scalar(select(Verdict.user_id)) or create_user(session, audit.SYSTEM, name="u", role="operator").id
        )
        session.add(Verdict(id=new_id(), alert_id=name, user_id=user, verdict="confirmed", at_us=at_us))
        webhook = session.scalar(select(Webhook))
        if webhook is None:
            webhook = Webhook(id="h", watchlist_id=watchlist, url="http://127.0.0.1:1", secret=b"", created_at_us=0)
            session.add(webhook)
            session.flush()
        session.add(
            Delivery(id=new_id(), webhook_id="h", alert_id=name, payload={}, next_attempt_at_us=0, created_at_us=0)
        )


def test_expired_alerts_go_with_all_that_belongs_to_them(place: Workplace) -> None:
    put_old_alert(place, "gone", 31 * DAY)
    put_old_alert(place, "young", 29 * DAY)
    put_old_alert(place, "other", 31 * DAY, watchlist="v", days=60)

    sweep(place)

    assert ids(place.rows(Alert)) == ["other", "young"]
    parts = (AlertEvent.alert_id, Verdict.alert_id, AlertSighting.alert_id, Delivery.alert_id)
    with place.registry.reading() as session:
        assert [sorted(map(str, session.scalars(select(column)))) for column in parts] == [["other", "young"]] * 4
    assert ids(place.rows(Sighting)) == ["sother0", "syoung0"]
    assert {"gone.jpg"}.isdisjoint(files(place.settings.home / "blobs" / "frames"))
    told = [entry for entry in entries(place, "retention.swept") if entry.subject == "alerts"]
    assert [(entry.watchlist_id, entry.detail) for entry in told] == [("w", {"alerts": ["gone"]})]
    with place.registry.reading() as session:
        assert audit.verify(session).fault == ""


def test_a_running_alert_and_one_of_a_video_indexed_lately_stay(place: Workplace) -> None:
    put_old_alert(place, "running", 31 * DAY, open_=True)
    put_old_alert(place, "indexed", 31 * DAY, stored_at_us=now_us() - DAY, retrospective=True)
    sweep(place)
    assert ids(place.rows(Alert)) == ["indexed", "running"]


def test_a_sighting_that_a_younger_alert_has_stays_with_it(place: Workplace) -> None:
    put_old_alert(place, "gone", 31 * DAY)
    put_old_alert(place, "young", 29 * DAY, sightings=0)
    with place.registry.transaction() as session:
        session.add(AlertSighting(alert_id="young", sighting_id="sgone0", score=0.6))
    sweep(place)
    assert (ids(place.rows(Alert)), ids(place.rows(Sighting))) == (["young"], ["sgone0"])


def test_a_held_alert_stays_until_it_is_released(place: Workplace) -> None:
    put_old_alert(place, "kept", 31 * DAY)
    with place.registry.transaction() as session:
        hold(session, audit.SYSTEM, session.get_one(Alert, "kept"), "the court asked for it")
    sweep(place)
    assert (ids(place.rows(Alert)), len(place.rows(StoredCrop))) == (["kept"], 1)
    with place.registry.transaction() as session:
        release(session, audit.SYSTEM, session.get_one(Alert, "kept"), "the case is closed")
    sweep(place)
    assert (place.rows(Alert), place.rows(StoredCrop)) == ([], [])
    assert [entries(place, f"alert.{verb}")[0].reason for verb in ("held", "released")] == [
        "the court asked for it",
        "the case is closed",
    ]


def test_what_people_rejected_is_forgotten_with_its_time(place: Workplace) -> None:
    put_old_alert(place, "gone", 31 * DAY)
    put_old_alert(place, "young", 29 * DAY)
    with place.registry.transaction() as session:
        user = session.scalars(select(Verdict.user_id)).first()
        for name in ("gone", "young"):
            judge(session, audit.SYSTEM, str(user), session.get_one(Alert, name), "rejected", "not them")
        session.execute(update(RejectedPair).values(at_us=now_us() - 31 * DAY))
    sweep(place)
    assert [row.sighting_id for row in place.rows(RejectedPair)] == ["syoung0"]


# ---- Footage ----


def put_segment(
    place: Workplace, camera: str, ago: int, *, minutes: int = 1, size: int = 1000, video: str = "", at_us: int = 0
) -> str:
    """A segment that was registered as ingest does; returns its file's name."""
    folder = FootageFolder(place.settings.footage_folder)
    started = (at_us or now_us()) - ago
    piece = Piece(camera, started, started + minutes * MINUTE, "h264", video)
    path = folder.open_folder(camera) / "x.mp4"
    path.write_bytes(bytes(size))
    folder.finish(path, piece)
    register_new(place.registry, folder)
    return piece.file_name


def kept(place: Workplace) -> list[str]:
    """Names of the files, after a look that each has its row and each row its file."""
    found = files(place.settings.footage_folder / "kept")
    assert sorted(Path(row.name).name for row in place.rows(Segment)) == found
    return found


def test_footage_goes_after_its_cameras_hours(place: Workplace) -> None:
    put_camera(place, "cam", footage_hours=2)
    put_segment(place, "cam", 3 * HOUR)
    young = put_segment(place, "cam", HOUR)
    put_segment(place, "removed", 73 * HOUR)
    default = put_segment(place, "removed", 71 * HOUR)

    turn = sweep(place)

    assert kept(place) == sorted([young, default])
    assert turn.swept == {"segments": 2}
    assert entries(place, "retention.swept")[0].detail == {"segments": 2, "bytes": 2000}
    assert [path for path in (place.settings.footage_folder / "kept").glob("*/*") if not any(path.iterdir())] == []


def test_the_oldest_footage_goes_where_there_is_too_much(place: Workplace) -> None:
    put_camera(place, "cam", footage_gb=0.00001)  # 10,000 bytes
    names = [put_segment(place, "cam", (10 - number) * HOUR, size=4000) for number in range(5)]
    other = put_segment(place, "other", 10 * HOUR, size=40_000)
    sweep(place)
    assert kept(place) == sorted([*names[-2:], other])


def test_the_footage_of_a_held_alert_stays(place: Workplace) -> None:
    put_camera(place, "cam", footage_hours=1, footage_gb=0.000001)
    seen_at = now_us() - 5 * HOUR
    put_old_alert(place, "kept", 0, camera="cam")
    with place.registry.transaction() as session:
        session.execute(update(Sighting).values(started_at_us=seen_at, ended_at_us=seen_at + 10))
        hold(session, audit.SYSTEM, session.get_one(Alert, "kept"), "needed")
    shown = [put_segment(place, "cam", ago, at_us=seen_at) for ago in (90 * 1_000_000, 30 * 1_000_000, -50 * 1_000_000)]
    put_segment(place, "cam", 3 * MINUTE, at_us=seen_at)
    put_segment(place, "cam", -2 * MINUTE, at_us=seen_at)
    put_segment(place, "elsewhere", 100 * HOUR, at_us=seen_at)

    sweep(place)
    assert kept(place) == sorted(shown)

    with place.registry.transaction() as session:
        release(session, audit.SYSTEM, session.get_one(Alert, "kept"), "no more")
    sweep(place)
    assert kept(place) == []


def test_the_time_of_a_handed_in_videos_footage_begins_when_it_was_indexed(place: Workplace) -> None:
    put_camera(place, "cam", footage_hours=2, retention_hours=2)
    names = {}
    for video, finished, state in (("old", 3 * HOUR, "done"), ("young", HOUR, "done"), ("at-work", None, "running")):
        put_video(place, video.replace("-", ""), "cam", finished=finished, state=state)
        names[video] = put_segment(place, "cam", 365 * DAY, video=video.replace("-", ""))
    with place.registry.transaction() as session:
        session.execute(update(Video).where(Video.id == "atwork").values(created_at_us=now_us() - 9 * HOUR))
    sweep(place)
    assert kept(place) == sorted([names["young"], names["at-work"]])
    assert ids(place.rows(Video)) == ["atwork", "young"]


@pytest.mark.parametrize("step", ["delete", "_remove_rows"])
def test_killed_while_footage_goes_neither_file_nor_row_is_left_for_ever(
    place: Workplace, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    for number in range(4):
        put_segment(place, "cam", (80 + number) * HOUR)
    delete = FootageFolder.delete
    done: list[str] = []

    def killed_half_way(folder: FootageFolder, name: str) -> None:
        if len(done) == 2:
            raise Killed
        done.append(name)
        delete(folder, name)

    with monkeypatch.context() as patch:
        if step == "delete":
            patch.setattr(FootageFolder, "delete", killed_half_way)
        else:
            patch.setattr(footage_sweep, "_remove_rows", die)
        with pytest.raises(Killed):
            sweep(place)
    assert len(place.rows(Segment)) == 4, "a row without its file is found again"
    sweep(place)
    assert kept(place) == []


def test_files_that_the_registry_does_not_name_go_once_a_day(place: Workplace) -> None:
    named = put_segment(place, "cam", HOUR)
    folder = place.settings.footage_folder / "kept" / "cam" / "2026-01-01"
    folder.mkdir(parents=True)
    hour_old = time.time() - 2 * 3600
    for name in ("1000-2000-h264-live.mp4", "notours.txt", "3000-4000-h264-live.mp4"):
        (folder / name).touch()
        os.utime(folder / name, (hour_old, hour_old))
    (folder / "5000-6000-h264-live.mp4").touch()

    turn = sweep(place)

    assert turn.swept == {"orphans": 2}
    assert files(place.settings.footage_folder / "kept") == sorted([named, "notours.txt", "5000-6000-h264-live.mp4"])
    (folder / "1000-2000-h264-live.mp4").touch()
    os.utime(folder / "1000-2000-h264-live.mp4", (hour_old, hour_old))
    assert sweep(place).swept == {}


# ---- What people left behind ----


def test_exports_go_after_seven_days(place: Workplace) -> None:
    with place.registry.transaction() as session:
        for name, age in (("old", 8), ("young", 6)):
            session.add(
                Export(id=name, user_id="u", created_by="u", reason="r", moments=[], state="done",
                       created_at_us=now_us() - age * DAY)
            )  # fmt: skip
    sweep(place)
    assert ids(place.rows(Export)) == ["young"]


def test_uploads_that_no_video_waits_for_go_after_an_hour(place: Workplace) -> None:
    folder = place.settings.uploads_folder
    folder.mkdir(parents=True)
    put_video(place, "waits", "cam", finished=None, state="waiting", upload="waits.mp4")
    put_video(place, "done", "cam", finished=2 * HOUR, upload="done.mp4")
    for name in ("waits.mp4", "done.mp4", "nobodys.part", "new.part"):
        (folder / name).touch()
        if name != "new.part":
            os.utime(folder / name, (time.time() - 2 * 3600,) * 2)
    sweep(place)
    assert files(folder) == ["new.part", "waits.mp4"]


def test_a_video_of_which_something_is_left_stays_known(place: Workplace) -> None:
    put_camera(place, "cam", retention_hours=1, footage_hours=100)
    for name, finished in (("empty", 101), ("lately", 99), ("footage", 101)):
        put_video(place, name, "cam", finished=finished * HOUR)
    seen = put_sighting(place, "a", camera="cam", age=0, video_id="footage")
    sweep(place)
    assert ids(place.rows(Video)) == ["footage", "lately"]
    with place.registry.transaction() as session:
        session.execute(update(Sighting).where(Sighting.id == seen).values(created_at_us=0))
    sweep(place)
    assert ids(place.rows(Video)) == ["lately"]


# ---- The task ----


def test_it_rests_when_nothing_is_left_and_says_so(place: Workplace) -> None:
    put_sighting(place, "old", camera="cam", age=80 * HOUR)
    assert finished_at_us(place.parts.redis) is None
    retention.sweep(place.parts)
    assert place.rows(Sighting) == []
    assert has_rest(place.parts.redis)
    assert now_us() - (finished_at_us(place.parts.redis) or 0) < 30_000_000
    put_sighting(place, "old", camera="cam", age=80 * HOUR)
    retention.sweep(place.parts)
    assert len(place.rows(Sighting)) == 1, "it rests"


def test_two_never_sweep_at_once(place: Workplace, monkeypatch: pytest.MonkeyPatch) -> None:
    entered, leave = threading.Event(), threading.Event()
    runs = []

    def slow(*_: object) -> bool:
        runs.append(1)
        entered.set()
        return leave.wait(10)

    monkeypatch.setattr(retention, "SWEEPS", (slow,))
    first = threading.Thread(target=retention.sweep, args=(place.parts,))
    first.start()
    assert entered.wait(10)
    retention.sweep(place.parts)
    leave.set()
    first.join(10)
    assert len(runs) == 1


# ---- Matches only ----


def test_of_who_matches_nobody_a_camera_of_matches_only_keeps_nothing(place: Workplace) -> None:
    place.enrol_man_a()
    strangers = [crop(face, track=1, number=n) for n, face in enumerate(woman_b(place.assets)[:2])]
    private = [msgspec.structs.replace(one, matched_only=True) for one in strangers]

    process(place.parts, place.put(*private))

    assert (place.rows(Sighting), place.rows(StoredCrop), place.rows(Alert)) == ([], [], [])
    assert files(place.settings.home / "blobs" / "crops") == []
    assert place.parts.vectors.count_sightings(MODEL, Where(cameras=[private[0].camera_id])) == 0


def test_a_track_that_matches_later_is_kept_from_then_on(place: Workplace) -> None:
    blurred = msgspec.structs.replace(crop(woman_b(place.assets)[0], track=1, number=0), matched_only=True)
    clear = msgspec.structs.replace(crop(man_a(place.assets)[0], track=1, number=1), matched_only=True)
    place.enrol_man_a()

    process(place.parts, place.put(blurred))
    process(place.parts, place.put(clear))

    assert ids(place.rows(Sighting)) == [clear.track_id]
    assert ids(place.rows(StoredCrop)) == [clear.id]
    assert len(place.rows(Alert)) == 1
