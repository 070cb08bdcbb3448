"""Keeps one camera watched: connects, reads, and comes back after every failure."""

from __future__ import annotations

import logging
import random
import threading
import time
from collections.abc import Callable

from ingest.analysis import Analysis
from ingest.cameras import Camera
from ingest.source import BadFrame, read_frames
from lookout.errors import CameraError
from lookout.metrics import (
    CAMERA_CLOCK_OFFSET,
    CAMERA_RECONNECTS,
    FRAMES_DECODED,
    FRAMES_SKIPPED,
    set_camera_state,
)

log = logging.getLogger(__name__)

FIRST_RETRY_S = 0.5
MAX_RETRY_S = 30.0
#: A connection that lasted this long was good: the next failure starts with a short wait again.
GOOD_CONNECTION_S = 10.0
#: No frame for this long, though connected.
STALLED_S = 3.0


class Watch:
    """One camera's thread and its state: `connecting`, `live`, `stalled`, `offline`."""

    def __init__(self, camera: Camera, new_analysis: Callable[[Camera], Analysis]) -> None:
        self.camera = camera
        self._new_analysis = new_analysis
        self._stop = threading.Event()
        self._frame_at = 0.0
        self.state = "connecting"
        self._thread = threading.Thread(target=self._run, name=f"camera-{camera.id}", daemon=True)

    def start(self) -> None:
        """Begin to watch."""
        self._show("connecting")
        self._thread.start()

    def stop(self) -> None:
        """Ask the thread to end its tracks and leave."""
        self._stop.set()

    def join(self, timeout_s: float) -> bool:
        """Wait for the thread; whether it left."""
        self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def check(self) -> None:
        """Notice that a connected camera has fallen silent. Called by the process' main loop."""
        if self.state == "live" and time.monotonic() - self._frame_at > STALLED_S:
            log.warning("%s: no frame for %.0f s", self.camera.id, STALLED_S)
            self._show("stalled")

    def _run(self) -> None:
        failures = 0
        while not self._stop.is_set():
            self._show("connecting")
            connected_at = time.monotonic()
            try:
                self._read()
                reason = "the stream ended"
            except CameraError as error:
                reason = str(error)
            except Exception:
                # Whatever a camera sends, it takes only its own connection down.
                log.exception("%s: failed", self.camera.id)
                reason = "an error in Lookout, see the log"
            if self._stop.is_set():
                return
            self._show("offline")
            failures = 1 if time.monotonic() - connected_at > GOOD_CONNECTION_S else failures + 1
            wait_s = retry_delay_s(failures, random.random())  # noqa: S311 - jitter, not a secret
            log.warning("%s; next try in %.1f s", reason, wait_s)
            CAMERA_RECONNECTS.labels(self.camera.id).inc()
            self._stop.wait(wait_s)

    def _read(self) -> None:
        analysis = self._new_analysis(self.camera)
        name = self.camera.id
        try:
            for frame in read_frames(self.camera, self._stop):
                self._frame_at = time.monotonic()
                if self.state != "live":
                    log.info("%s: live", name)
                    self._show("live")
                if isinstance(frame, BadFrame):
                    FRAMES_SKIPPED.labels(name, "corrupt").inc()
                    continue
                FRAMES_DECODED.labels(name).inc()
                CAMERA_CLOCK_OFFSET.labels(name).set(frame.camera_offset_us / 1e6)
                analysis.process(frame)
        finally:
            analysis.finish()

    def _show(self, state: str) -> None:
        self.state = state
        set_camera_state(self.camera.id, state)


def retry_delay_s(failures: int, jitter: float) -> float:
    """Wait before the next connection: doubled from failure to failure, capped, and spread by `jitter` in 0..1.

    The spread keeps a hundred cameras behind one switch from coming back in the same instant.
    """
    longest = min(MAX_RETRY_S, FIRST_RETRY_S * 2 ** min(failures - 1, 10))
    return longest * (0.5 + 0.5 * jitter)
