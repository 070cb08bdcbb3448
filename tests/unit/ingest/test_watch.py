from __future__ import annotations

import itertools
import logging
import threading
from collections.abc import Generator, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import REGISTRY

from ingest import watch as watch_module
from ingest.activity import Activity
from ingest.analysis import Analysis
from ingest.recording import Recorder
from ingest.source import BadFrame, Frame
from ingest.watch import FIRST_RETRY_S, MAX_RETRY_S, Watch, retry_delay_s
from lookout.camera_settings import Camera
from lookout.errors import CameraError
from lookout.footage.folder import FootageFolder
from tests.servers import wait_until

#: Each test has a camera of its own, as metrics outlive it.
NUMBERS = itertools.count()

failures = st.integers(1, 10**9)
jitters = st.floats(0, 1)


@given(failures, jitters)
def test_a_retry_is_capped_and_never_at_once(failures: int, jitter: float) -> None:
    assert FIRST_RETRY_S / 2 <= retry_delay_s(failures, jitter) <= MAX_RETRY_S


@given(failures, jitters)
def test_each_failure_waits_at_least_as_long_as_the_one_before(failures: int, jitter: float) -> None:
    before, after = retry_delay_s(failures, jitter), retry_delay_s(failures + 1, jitter)

    assert before <= after <= 2 * before


@given(failures)
def test_the_spread_is_half_of_the_wait(failures: int) -> None:
    shortest, longest = retry_delay_s(failures, 0), retry_delay_s(failures, 1)

    assert shortest == longest / 2
    assert shortest < retry_delay_s(failures, 0.5) < longest


@pytest.mark.parametrize(("failures", "longest"), [(1, 0.5), (2, 1), (3, 2), (6, 16), (7, 30), (99, 30)])
def test_retries(failures: int, longest: float) -> None:
    assert retry_delay_s(failures, 1) == longest


class FakeAnalysis:
    """Takes frames and remembers."""

    def __init__(self) -> None:
        self.frames: list[Frame] = []
        self.finished = False
        self.error: Exception | None = None

    def process(self, frame: Frame) -> None:
        if self.error:
            raise self.error
        self.frames.append(frame)

    def finish(self) -> None:
        self.finished = True


class Stage:
    """A watch whose camera does what a test says, connection by connection."""

    def __init__(self, name: str, folder: Path) -> None:
        self.camera = Camera(id=name, url="rtsp://admin:geheim@host/path")
        self.analyses: list[FakeAnalysis] = []
        self.watch = Watch(self.camera, self._new_analysis, FootageFolder(folder))
        self.recorders: list[Recorder] = []
        #: With how many failures a wait was asked for.
        self.waits: list[int] = []
        self._script: list[Frame | BadFrame | Exception | None] = []
        self._changed = threading.Condition()

    def send(self, *items: Frame | BadFrame | Exception | None) -> None:
        """What comes next from the camera: a frame, an error, or None for the stream's end."""
        with self._changed:
            self._script += items
            self._changed.notify()

    def read_frames(self, camera: Camera, stop: threading.Event, recorder: Recorder) -> Generator[Frame | BadFrame]:
        assert camera is self.camera
        self.recorders.append(recorder)
        while not stop.is_set():
            with self._changed:
                assert self._changed.wait_for(lambda: bool(self._script), timeout=20), "the test sent nothing more"
                item = self._script.pop(0)
            if item is None:
                return
            if isinstance(item, Exception):
                raise item
            yield item

    def retry_delay_s(self, failures: int, jitter: float) -> float:
        assert 0 <= jitter < 1
        self.waits.append(failures)
        return 0.0

    def shown(self) -> str:
        """The state that the metric shows; empty if it shows none."""
        found = {
            state: REGISTRY.get_sample_value("lookout_camera_state", {"camera": self.camera.id, "state": state})
            for state in ("connecting", "live", "stalled", "offline")
        }
        assert len(set(found.values()) - {0.0, 1.0, None}) == 0
        return " ".join(state for state, value in found.items() if value)

    def count(self, name: str, **labels: str) -> float | None:
        return REGISTRY.get_sample_value(f"lookout_{name}", {"camera": self.camera.id, **labels})

    def wait_for(self, state: str) -> None:
        wait_until(lambda: self.watch.state == state, what=f"{self.camera.id} {state}")

    def _new_analysis(self, camera: Camera, activity: Activity) -> Analysis:
        assert activity is self.watch.activity
        assert camera is self.camera
        self.analyses.append(FakeAnalysis())
        return cast("Analysis", self.analyses[-1])


PICTURE = SimpleNamespace(width=640, height=360)


def frame(offset_us: int = 0) -> Frame:
    return Frame(cast("Any", PICTURE), 1_800_000_000_000_000, 0, offset_us, "h264")


@pytest.fixture
def stage(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Stage]:
    made = Stage(f"camera-{next(NUMBERS)}", tmp_path)
    monkeypatch.setattr(watch_module, "read_frames", made.read_frames)
    monkeypatch.setattr(watch_module, "retry_delay_s", made.retry_delay_s)
    made.watch.start()
    yield made
    made.watch.stop()
    made.send(None)
    assert made.watch.join(10)


def test_a_connection_its_failure_and_the_next_one(stage: Stage, caplog: pytest.LogCaptureFixture) -> None:
    assert stage.shown() == "connecting"

    stage.send(frame(2_500_000), BadFrame(), frame(1_500_000))
    stage.wait_for("live")
    assert stage.shown() == "live"
    wait_until(lambda: stage.count("frames_decoded_total") == 2, what="frames")
    assert stage.count("frames_skipped_total", reason="corrupt") == 1
    wait_until(lambda: stage.count("camera_clock_offset_seconds") == 1.5, what="offset")
    assert stage.count("camera_reconnects_total") == 0

    with caplog.at_level(logging.INFO):
        stage.send(CameraError("rtsp://…@host/path: it closed the connection.", reason="closed"))
        wait_until(lambda: len(stage.analyses) == 2, what="the next connection")
        stage.wait_for("connecting")
        stage.send(frame())
        stage.wait_for("live")

    assert stage.analyses[0].finished
    assert not stage.analyses[1].finished
    assert stage.count("camera_reconnects_total") == 1
    assert any("it closed the connection. Next try in" in message for message in caplog.messages)
    assert "geheim" not in caplog.text


@pytest.mark.parametrize("end", [None, CameraError("gone.", reason="closed"), RuntimeError("a fault of ours")])
def test_whatever_ends_a_connection_there_is_a_next_one(stage: Stage, end: Exception | None) -> None:
    stage.send(frame(), end, frame(), end, frame())

    wait_until(lambda: stage.count("frames_decoded_total") == 3, what="frames of three connections")
    assert stage.count("camera_reconnects_total") == 2
    assert [one.finished for one in stage.analyses] == [True, True, False]


def test_a_fault_while_a_frame_is_analysed_takes_only_the_connection_down(
    stage: Stage, caplog: pytest.LogCaptureFixture
) -> None:
    wait_until(lambda: stage.analyses, what="the connection")
    stage.analyses[0].error = ZeroDivisionError("a frame of no size")

    stage.send(frame())
    wait_until(lambda: len(stage.analyses) == 2, what="the next connection")
    stage.send(frame())
    wait_until(lambda: stage.analyses[1].frames, what="its frame")

    assert stage.analyses[0].finished
    [record] = [record for record in caplog.records if record.exc_info]
    assert record.message.endswith("failed")


def test_waits_grow_until_a_connection_was_good(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    error = CameraError("no.", reason="refused")
    stage.send(error, error, frame(), error)
    wait_until(lambda: len(stage.waits) == 3, what="three failures")
    assert stage.waits == [1, 2, 3], "a single frame does not make a good connection"

    monkeypatch.setattr(watch_module, "GOOD_CONNECTION_S", 0.0)
    stage.send(error)
    wait_until(lambda: len(stage.waits) == 4, what="a failure")
    assert stage.waits[-1] == 4, "however long a connection took that never sent a frame"

    stage.send(frame(), frame(), error)
    wait_until(lambda: len(stage.waits) == 5, what="a failure")
    assert stage.waits[-1] == 1


def test_silence(stage: Stage, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.setattr(watch_module, "STALLED_S", 0.0)
    stage.watch.check()
    assert stage.shown() == "connecting", "who does not answer yet has not fallen silent"

    stage.send(frame())
    stage.wait_for("live")
    stage.watch.check()
    stage.watch.check()
    assert stage.shown() == "stalled"
    assert len([message for message in caplog.messages if "no frame for" in message]) == 1

    stage.send(frame())
    stage.wait_for("live")
    assert stage.shown() == "live"
    monkeypatch.setattr(watch_module, "STALLED_S", 60.0)
    stage.watch.check()
    assert stage.shown() == "live"


@pytest.mark.parametrize("live", [True, False])
def test_a_watch_that_is_left_shows_nothing_more(stage: Stage, live: bool) -> None:
    wait_until(lambda: stage.analyses, what="the connection")
    if live:
        stage.send(frame(1_000_000))
        wait_until(lambda: stage.count("camera_clock_offset_seconds") == 1, what="offset")

    stage.watch.stop()
    assert stage.shown() == ""
    # The thread may hang in a read for seconds; another process, or this one, has the camera meanwhile.
    stage.send(frame(2_000_000), None)
    assert stage.watch.join(10)

    assert stage.analyses[0].finished
    assert stage.shown() == ""
    assert stage.count("camera_clock_offset_seconds") is None
    assert stage.waits == [], "it does not come back"


def test_how_the_recording_fares_is_shown(stage: Stage) -> None:
    def shown(state: str) -> float | None:
        return stage.count("recording_state", state=state)

    stage.watch.check()
    assert (shown("off"), shown("disk_full")) == (1, 0)

    stage.watch.activity.recording, stage.watch.activity.recording_message = "disk_full", "It is full."
    stage.watch.check()
    assert (shown("off"), shown("disk_full")) == (0, 1)
    status = stage.watch.status("me")
    assert (status.recording, status.recording_message) == ("disk_full", "It is full.")

    stage.watch.stop()
    stage.watch.check()
    assert shown("disk_full") is None


def test_one_recorder_for_all_connections(stage: Stage) -> None:
    stage.send(frame(), None, frame(), None, frame())
    wait_until(lambda: len(stage.recorders) >= 3, what="three connections")
    assert len(set(map(id, stage.recorders))) == 1
