"""Footage of a real RTSP camera, and what is left of it when the process that writes it is killed."""

from __future__ import annotations

import contextlib
import itertools
import shutil
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import av
import pytest
from redis import Redis

from deploy.local.clips import prepare_clips
from ingest.activity import Activity
from ingest.recording import Recorder
from ingest.source import Frame, read_frames
from lookout.camera_settings import Camera
from lookout.faces.assets import AssetCache
from lookout.footage.folder import FootageFolder, Piece
from lookout.footage.segments import find_segment, register_new, segments_between
from lookout.settings import Settings
from lookout.stores.cameras import CameraBoard
from lookout.stores.registry import Registry
from lookout.stores.registry.tables import Segment
from tests import servers
from tests.integration.test_ingest_process import Ingest
from tests.servers import wait_until

FRAME_US = 40_000
#: Until then arrivals and the camera's own clock have told the time line; frames before it were stamped with less.
SETTLED_US = 3_000_000


@pytest.fixture(scope="module")
def camera_url(assets: AssetCache, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with servers.rtsp(prepare_clips(assets), tmp_path_factory.mktemp("rtsp")) as server:
        yield f"{server.url}/yard.mp4?play_count=0"


def times_us(path: Path) -> list[int]:
    """When each frame of a file is shown, by its own time line; each of them decodes."""
    with av.open(path) as container:
        assert [stream.type for stream in container.streams] == ["video"]
        return [round(1e6 * (frame.time or 0.0)) for frame in container.decode(video=0)]


def assert_no_gap(pieces: list[Piece]) -> None:
    for before, after in itertools.pairwise(pieces):
        assert abs(after.started_at_us - before.ended_at_us) <= FRAME_US


def test_a_stream_is_recorded_as_its_frames_were_stamped(camera_url: str, tmp_path: Path) -> None:
    camera = Camera(id="yard", url=camera_url, record=True)
    folder, activity = FootageFolder(tmp_path), Activity()
    stamps: list[int] = []
    deadline = time.monotonic() + 60
    reading = read_frames(camera, threading.Event(), Recorder(camera, folder, activity, segment_s=2))
    with contextlib.closing(reading) as frames:
        for frame in frames:
            assert isinstance(frame, Frame)
            stamps.append(frame.captured_at_us)
            if stamps[-1] - stamps[0] > 9_000_000:
                break
            assert time.monotonic() < deadline
        assert (activity.recording, activity.recording_message) == ("recording", "")

    pieces = [piece for _, piece in folder.new()]
    assert len(pieces) >= 4
    assert_no_gap(pieces)
    shown = []
    for path, piece in folder.new():
        times = times_us(path)
        assert times[0] == 0
        assert abs(times[-1] + FRAME_US - (piece.ended_at_us - piece.started_at_us)) <= 1
        shown += [piece.started_at_us + at for at in times]
    # The first packet has no time, so its frame is searched by nobody; the recorder keeps it.
    assert len(shown) == len(stamps) + 1
    for stamp, at in zip(stamps, shown[1:], strict=True):
        assert stamp < stamps[0] + SETTLED_US or abs(stamp - at) <= 50_000


def test_a_recording_that_is_played_is_recorded(assets: AssetCache, tmp_path: Path) -> None:
    clip = tmp_path / "short.mp4"
    with av.open(prepare_clips(assets) / "yard.mp4") as source, av.open(clip, "w") as output:
        stream = output.add_stream_from_template(source.streams.video[0], opaque=True)
        for packet in itertools.islice(source.demux(video=0), 50):
            packet.stream = stream
            output.mux(packet)
    camera = Camera(id="yard", url=clip.as_uri(), record=True)
    folder = FootageFolder(tmp_path / "footage")
    stamps = []
    reading = read_frames(camera, threading.Event(), Recorder(camera, folder, Activity()))
    with contextlib.closing(reading) as frames:
        for frame in itertools.islice(frames, 120):
            assert isinstance(frame, Frame)
            stamps.append(frame.captured_at_us)

    pieces = [piece for _, piece in folder.new()]
    assert len(pieces) == 3, "one each time it is played"
    assert_no_gap(pieces)
    shown = [piece.started_at_us + at for path, piece in folder.new() for at in times_us(path)]
    assert max(abs(stamp - at) for stamp, at in zip(stamps, shown, strict=True)) <= 1_000


def test_a_killed_process_loses_the_open_fragment_and_no_more(
    camera_url: str, valkey_server: servers.Server, redis: Redis, registry: Registry, tmp_path: Path
) -> None:
    home = tmp_path / "home"
    camera = Camera(id="yard", url=camera_url, record=True)
    folder = FootageFolder(Settings(home=home).footage_folder)
    opened = folder.root / "open" / "yard"

    def size() -> int:
        return sum(path.stat().st_size for path in opened.iterdir()) if opened.is_dir() else 0

    first = Ingest(home, valkey_server.url)
    try:
        first.watch(camera)
        wait_until(lambda: size() > 500_000, 60, what="some fragments")
        board = CameraBoard(redis, first.keyring)
        wait_until(lambda: board.statuses(["yard"])["yard"].recording == "recording", what="the state")
        metrics = first.metrics()
        assert metrics['lookout_recording_state{camera="yard",state="recording"}'] == 1
        assert metrics['lookout_footage_bytes_total{camera="yard"}'] > 400_000
    finally:
        first.process.kill()
        first.process.wait(10)
    assert register_new(registry, folder) == 0, "it was killed in the middle of its first segment"
    (left,) = opened.iterdir()
    before = left.stat().st_size
    shutil.copy(left, tmp_path / "left.mp4")

    second = Ingest(home, valkey_server.url)
    try:
        second.watch(camera)
        wait_until(lambda: list(folder.new()), 60, what="the repair")
        assert not left.exists()
        # The other process waits for the lease, and then records in a file of its own.
        wait_until(lambda: size() > 300_000, 60, what="more footage")
        second.terminate()
    finally:
        second.process.kill()
        second.process.wait(10)
    assert "Traceback" not in second.log()
    assert "s of footage repaired" in second.log()

    wait_until(lambda: register_new(registry, folder) == 0, what="all to be registered")
    with registry.reading() as session:
        found = segments_between(session, "yard", 0, 2**62)
        repaired, clean = found
        times = times_us(folder.path(repaired.name))
        assert len(times) * FRAME_US == repaired.ended_at_us - repaired.started_at_us
        assert len(times) >= 100, "two fragments of two seconds and more"
        assert repaired.size <= before
        assert len(times_us(folder.path(clean.name))) > 25
        assert repaired.ended_at_us < clean.started_at_us
        middle = repaired.started_at_us + 1_000_000
        at_middle = find_segment(session, "yard", middle)
        assert isinstance(at_middle, Segment)
        assert at_middle.id == repaired.id
    assert list(opened.iterdir()) == []
