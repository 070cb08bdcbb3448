"""Keeps one camera watched: connects, reads, and comes back after every failure."""

from __future__ import annotations

import contextlib
import logging
import random
import threading
import time
from collections.abc import Callable

from ingest.activity import Activity
from ingest.analysis import Analysis
from ingest.recording import Recorder
from ingest.source import BadFrame, Frame, read_frames
from lookout.camera_settings import Camera
from lookout.clock import now_us
from lookout.errors import CameraError
from lookout.footage.folder import FootageFolder
from lookout.metrics import (
    CAMERA_CLOCK_OFFSET,
    CAMERA_RECONNECTS,
    CAMERA_STATE,
    CAMERA_STATES,
    FRAMES_DECODED,
    FRAMES_SKIPPED,
    RECORDING_STATE,
    RECORDING_STATES,
    set_camera_state,
    set_recording_state,
)
from lookout.stores.cameras import CameraStatus

log = logging.getLogger(__name__)

FIRST_RETRY_S = 0.5
MAX_RETRY_S = 30.0
#: A connection that sent frames for this long was good: the next failure starts with a short wait again.
GOOD_CONNECTION_S = 10.0
#: No frame for this long, though connected.
STALLED_S = 3.0
#: How long a changed camera waits for its old connection to end: many cameras serve few at a time.
HANDOVER_S = 10.0

NewAnalysis = Callable[[Camera, Activity], Analysis]


class Watch:
    """One camera's thread and its state: `connecting`, `live`, `stalled`, `offline`."""

    def __init__(
        self, camera: Camera, new_analysis: NewAnalysis, footage: FootageFolder, *, after: Watch | None = None
    ) -> None:
        self.camera = camera
        self.state = "connecting"
        self.activity = Activity()
        self._recorder = Recorder(camera, footage, self.activity)
        self._since_us = now_us()
        self._reason = self._message = ""
        self._after = after
        self._new_analysis = new_analysis
        self._stop = threading.Event()
        #: Guards the state and the gauges. Once stopped, the camera's next watch may own them.
        self._gauges = threading.Lock()
        self._live_at = 0.0
        self._frame_at = 0.0
        self._thread = threading.Thread(target=self._run, name=f"camera-{camera.id}", daemon=True)

    def start(self) -> None:
        """Begin to watch."""
        CAMERA_RECONNECTS.labels(self.camera.id)  # so that the metric shows 0 and not nothing
        self._show("connecting")
        self._thread.start()

    def stop(self) -> None:
        """Ask the thread to end its tracks and leave; the camera's state is no longer this process' to show."""
        with self._gauges:
            self._stop.set()
            for state in CAMERA_STATES:
                CAMERA_STATE.remove(self.camera.id, state)
            for state in RECORDING_STATES:
                RECORDING_STATE.remove(self.camera.id, state)
            CAMERA_CLOCK_OFFSET.remove(self.camera.id)

    def join(self, timeout_s: float) -> bool:
        """Wait for the thread; whether it left."""
        self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def check(self) -> None:
        """Notice that a connected camera has fallen silent, and how its recording fares. Called by the main loop."""
        with self._gauges:
            if not self._stop.is_set():
                set_recording_state(self.camera.id, self.activity.recording)
        if time.monotonic() - self._frame_at > STALLED_S and self._show("stalled", instead_of="live"):
            log.warning("%s: no frame for %.0f s", self.camera.id, STALLED_S)

    def status(self, process: str) -> CameraStatus:
        """How it is, for the page of cameras. Called by the process' main loop."""
        frames, analysed, faces = self.activity.rates()
        with self._gauges:
            return CameraStatus(
                id=self.camera.id,
                state=self.state,
                since_us=self._since_us,
                reason=self._reason,
                message=self._message,
                frames_per_s=round(frames, 1),
                analysed_per_s=round(analysed, 1),
                faces_per_min=round(faces, 1),
                width=self.activity.width,
                height=self.activity.height,
                codec=self.activity.codec,
                clock_offset_ms=round(self.activity.clock_offset_us / 1000),
                recording=self.activity.recording,
                recording_message=self.activity.recording_message,
                process=process,
            )

    def _run(self) -> None:
        if self._after is not None:
            self._after.join(HANDOVER_S)
            self._after = None
        self._recorder.repair()
        failures = 0
        while not self._stop.is_set():
            self._show("connecting")
            self._live_at = self._frame_at = 0.0
            try:
                self._read()
                reason, message = "ended", f"{self.camera.id}: the stream ended."
            except CameraError as error:
                reason, message = error.reason, str(error)
            except Exception:
                # Whatever a camera sends, it takes only its own connection down.
                log.exception("%s: failed", self.camera.id)
                reason, message = "fault", f"{self.camera.id}: an error in Lookout, see its log."
            if self._stop.is_set():
                return
            self._reason, self._message = reason, message.removeprefix(f"{self.camera.id}: ")
            self._show("offline")
            failures = 1 if self._frame_at - self._live_at > GOOD_CONNECTION_S else failures + 1
            wait_s = retry_delay_s(failures, random.random())  # noqa: S311 - jitter, not a secret
            log.warning("%s Next try in %.1f s.", message, wait_s)
            if not self._stop.wait(wait_s):
                CAMERA_RECONNECTS.labels(self.camera.id).inc()

    def _read(self) -> None:
        analysis = self._new_analysis(self.camera, self.activity)
        try:
            with contextlib.closing(read_frames(self.camera, self._stop, self._recorder)) as frames:
                for frame in frames:
                    self._take(frame, analysis)
        finally:
            analysis.finish()

    def _take(self, frame: Frame | BadFrame, analysis: Analysis) -> None:
        name = self.camera.id
        self._frame_at = time.monotonic()
        self._live_at = self._live_at or self._frame_at
        if self.state != "live" and self._show("live"):
            log.info("%s: live", name)
        if isinstance(frame, BadFrame):
            FRAMES_SKIPPED.labels(name, "corrupt").inc()
            return
        FRAMES_DECODED.labels(name).inc()
        self.activity.frames += 1
        self.activity.width, self.activity.height = frame.picture.width, frame.picture.height
        self.activity.codec, self.activity.clock_offset_us = frame.codec, frame.camera_offset_us
        with self._gauges:
            if not self._stop.is_set():
                CAMERA_CLOCK_OFFSET.labels(name).set(frame.camera_offset_us / 1e6)
        analysis.process(frame)

    def _show(self, state: str, *, instead_of: str | None = None) -> bool:
        """Show the state, or do so if it is another one now; whether it was done."""
        with self._gauges:
            if self._stop.is_set() or instead_of not in {None, self.state}:
                return False
            if self.state != state:
                self.state, self._since_us = state, now_us()
            set_camera_state(self.camera.id, state)
            return True


def retry_delay_s(failures: int, jitter: float) -> float:
    """Wait before the next connection: doubled from failure to failure, capped, and spread by `jitter` in 0..1.

    The spread keeps a hundred cameras behind one switch from coming back in the same instant.
    """
    longest = min(MAX_RETRY_S, FIRST_RETRY_S * 2.0 ** min(failures - 1, 10))
    return longest * (0.5 + 0.5 * jitter)
