"""Files on their way to sightings and footage, with all real parts; what a worker does is done by a thread."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import cast

import pytest
from sqlalchemy import select

from ingest.indexing.children import Children
from ingest.indexing.indexer import CancelledByUserError, Indexer
from ingest.indexing.service import Service
from lookout import videos
from lookout.audit import Actor
from lookout.errors import BadInputError, UnavailableError
from lookout.faces.assets import AssetCache
from lookout.footage.segments import find_segment
from lookout.queue import CROPS
from lookout.stores.registry.tables import Alert, AuditEntry, CameraRow, Segment, Sighting, StoredCrop, Video
from lookout.videos import Handed
from tests.servers import wait_until
from tests.workplace import Workplace
from workers.crops import process

ANNA = Actor("anna", "session")
START_US = 1_793_516_400_000_000


@contextlib.contextmanager
def working(workplace: Workplace) -> Iterator[None]:
    """Do what workers do, with the parts of the test: crops that wait are embedded and stored."""
    stop = threading.Event()
    redis = workplace.parts.redis

    def work() -> None:
        while not stop.wait(0.02):
            if redis.lpop(CROPS) is not None:
                found = cast("list[bytes]", redis.keys("crop:*"))
                ids = [key.decode().removeprefix("crop:") for key in found]
                process(workplace.parts, ids)

    with ThreadPoolExecutor(1) as threads:
        done = threads.submit(work)
        try:
            yield
        finally:
            stop.set()
            done.result(30)


@contextlib.contextmanager
def indexer(workplace: Workplace, count: int = 1) -> Iterator[Indexer]:
    children = Children(workplace.settings, count)
    try:
        yield Indexer(workplace.settings, workplace.registry, workplace.parts.redis, children, threading.Event())
    finally:
        children.close()


def hand_in(workplace: Workplace, path: Path, *, camera: str = "gate", upload: str | None = None) -> Video:
    """A row for a file."""
    with workplace.registry.transaction() as session:
        row, _ = videos.camera_for(session, ANNA, workplace.parts.keyring, camera)
        handed = Handed(path.name, f"{path.name:0<64}"[:64], path.stat().st_size, START_US, 5.0, upload)
        video, _ = videos.hand_in(session, ANNA, row, handed)
    return video


def index(workplace: Workplace, path: Path, camera: str = "gate") -> Video:
    """A file from its row to its end."""
    video = hand_in(workplace, path, camera=camera)
    with indexer(workplace) as made, working(workplace):
        made.index(ANNA, video.id, str(path), made.scan(str(path)), lambda _: None)
    with workplace.registry.reading() as session:
        return session.get_one(Video, video.id)


def test_a_file_becomes_sightings_footage_and_an_alert_that_says_it_was_found_later(
    workplace: Workplace, assets: AssetCache
) -> None:
    workplace.enrol_man_a()
    video = index(workplace, assets.media("noface_face.mov"))
    assert (video.state, video.parts_done, video.broken_frames) == ("done", [0], 0)
    assert (video.width, video.height, video.codec) == (960, 540, "hevc")
    sightings = workplace.rows(Sighting)
    assert sightings
    assert all(one.video_id == video.id and one.camera_id == "gate" and one.indexed for one in sightings)
    assert all(START_US <= one.started_at_us <= START_US + video.duration_us for one in sightings)
    (alert,) = workplace.rows(Alert)
    assert alert.retrospective
    assert START_US <= alert.first_captured_at_us <= START_US + video.duration_us
    crop = workplace.rows(StoredCrop)[0]
    with workplace.registry.reading() as session:
        segment = find_segment(session, "gate", crop.captured_at_us, video.id)
        assert segment is not None
        assert (workplace.settings.footage_folder / segment.name).stat().st_size == segment.size
        actions = session.scalars(select(AuditEntry.action).order_by(AuditEntry.number)).all()
    assert [action for action in actions if action.startswith("video.")] == [
        "video.handed_in",
        "video.indexing",
        "video.indexed",
    ]
    assert not workplace.parts.redis.keys("video:*:crops")


def test_a_second_run_of_a_part_makes_the_same_ids(workplace: Workplace, assets: AssetCache) -> None:
    path = assets.media("noface_face.mov")
    video = index(workplace, path)
    before = workplace.counts()
    with workplace.registry.transaction() as session:
        row = session.get_one(Video, video.id)
        row.state, row.parts_done = "running", []  # as after a kill before it was written down
    again = index(workplace, path)
    assert again.state == "done"
    assert workplace.counts() == before
    assert len(workplace.rows(Segment)) == 1


def test_the_same_file_of_the_same_time_is_done_once_also_under_another_name(
    workplace: Workplace, assets: AssetCache
) -> None:
    video = index(workplace, assets.media("noface_face.mov"))
    with workplace.registry.transaction() as session:
        row = session.get_one(CameraRow, "gate")
        handed = Handed("other.mov", video.sha256, video.size, START_US, 5.0)
        same, todo = videos.hand_in(session, ANNA, row, handed)
        assert (same.id, todo) == (video.id, False)
        assert "as noface_face.mov" in videos.already(same)


def test_crops_wait_for_workers_and_what_is_stopped_goes_on(workplace: Workplace, assets: AssetCache) -> None:
    path = assets.media("noface_face.mov")
    video = hand_in(workplace, path)
    children = Children(workplace.settings, 1)
    stop = threading.Event()
    made = Indexer(workplace.settings, workplace.registry, workplace.parts.redis, children, stop)
    try:
        with ThreadPoolExecutor(1) as threads:
            running = threads.submit(
                lambda: made.index(ANNA, video.id, str(path), made.scan(str(path)), lambda _: None)
            )
            wait_until(lambda: workplace.rows(Video)[0].parts_done == [0], 60, "the part done")
            time.sleep(1.0)
            assert not running.done()  # nobody has stored its crops
            assert workplace.rows(Video)[0].state == "running"
            stop.set()
            with pytest.raises(UnavailableError):
                running.result(20)
    finally:
        children.close()
    assert not workplace.rows(Sighting)
    with indexer(workplace) as again, working(workplace):
        again.index(ANNA, video.id, str(path), again.scan(str(path)), lambda _: None)
    assert workplace.rows(Video)[0].state == "done"
    assert workplace.rows(Sighting)


def test_a_cancelled_video_ends(workplace: Workplace, assets: AssetCache) -> None:
    path = assets.media("noface_face.mov")
    video = hand_in(workplace, path)
    with indexer(workplace) as made, ThreadPoolExecutor(1) as threads:
        running = threads.submit(lambda: made.index(ANNA, video.id, str(path), made.scan(str(path)), lambda _: None))
        wait_until(lambda: workplace.rows(Video)[0].state == "running", 60, "running")
        with workplace.registry.transaction() as session:
            videos.cancel(session, ANNA, session.get_one(Video, video.id))
        with pytest.raises(CancelledByUserError):
            running.result(60)
    assert workplace.rows(Video)[0].state == "cancelled"


def test_the_service_indexes_an_upload_and_deletes_it(workplace: Workplace, assets: AssetCache) -> None:
    folder = workplace.settings.uploads_folder
    folder.mkdir(parents=True)
    (folder / "abc").write_bytes(assets.media("noface_face.mov").read_bytes())
    (folder / "bad").write_bytes(b"no video")
    hand_in(workplace, folder / "abc", upload="abc")
    hand_in(workplace, folder / "bad", upload="bad")
    service = Service(workplace.settings, workplace.registry, 1, threading.Event())
    with working(workplace):
        service.work()
    states = {row.file_name: (row.state, row.upload) for row in workplace.rows(Video)}
    assert states == {"abc": ("done", None), "bad": ("failed", None)}
    assert not list(folder.iterdir())
    assert "no video" in next(row.error for row in workplace.rows(Video) if row.file_name == "bad")


def test_a_camera_is_made_of_a_name(workplace: Workplace) -> None:
    with workplace.registry.transaction() as session:
        made, is_new = videos.camera_for(session, ANNA, workplace.parts.keyring, "Lobby West")
        assert (made.id, made.name, made.camera_group, is_new) == ("lobby-west", "Lobby West", "lobby-west", True)
        known, is_new = videos.camera_for(session, ANNA, workplace.parts.keyring, "Lobby West")
        assert (known.id, is_new) == ("lobby-west", False)
        with pytest.raises(BadInputError):
            videos.camera_for(session, ANNA, workplace.parts.keyring, "!!!")


def test_a_start_in_the_future_is_refused(workplace: Workplace) -> None:
    with pytest.raises(BadInputError, match="future"):
        videos.check_start(4_000_000_000_000_000)
