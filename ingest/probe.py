"""Tries the URLs that people want to add as cameras. The service that they talk to decodes nothing from outside."""

from __future__ import annotations

import contextlib
import logging
import threading
import time

from ingest.snapshot import Snapshot
from ingest.source import Frame, read_frames
from lookout.errors import CameraError, SealError, UnavailableError
from lookout.masks import Masks
from lookout.stores.cameras import CameraBoard, CameraTest, TestResult

log = logging.getLogger(__name__)

#: How long the queue is listened to at once; below the timeout of the connection.
LISTEN_S = 1.0
#: Frames are looked at for so long, to tell how many come a second.
LOOK_S = 2.0
#: What comes late is no use to the one who waits: connecting may take eight seconds before.
TIMEOUT_S = 10.0
RETRY_S = 1.0


def run(board: CameraBoard, stop: threading.Event) -> None:
    """Answer tests, one at a time, until told to stop. One thread of an ingest process."""
    while not stop.is_set():
        try:
            test = board.take_test(LISTEN_S)
            if test is not None:
                board.answer_test(try_camera(test, stop))
        except UnavailableError:
            stop.wait(RETRY_S)
        except SealError as error:
            log.warning("the test of a camera was dropped: %s", error)


def try_camera(test: CameraTest, stop: threading.Event) -> TestResult:
    """Connect to a camera and look at its frames for a moment."""
    frames: list[int] = []
    last: Frame | None = None
    began = time.monotonic()
    first_at = 0.0
    try:
        with contextlib.closing(read_frames(test.camera, stop)) as stream:
            for frame in stream:
                now = time.monotonic()
                if isinstance(frame, Frame):
                    first_at = first_at or now
                    last = frame
                    frames.append(frame.captured_at_us)
                if now - began > TIMEOUT_S or (first_at and now - first_at > LOOK_S):
                    break
        if last is not None:
            return _success(test, last, frames)
        reason, message = "not_video", "no frame of it can be decoded."
    except CameraError as error:
        reason, message = error.reason, str(error).removeprefix(f"{test.camera.id}: ")
    except Exception:
        # Whatever a stranger's stream does, it takes only its own test down.
        log.exception("a test failed")
        reason, message = "fault", "an error in Lookout; see the log of ingest."
    return TestResult(id=test.id, state="failed", asked_at_us=test.asked_at_us, reason=reason, message=message)


def _success(test: CameraTest, last: Frame, frames: list[int]) -> TestResult:
    passed_s = (frames[-1] - frames[0]) / 1e6
    return TestResult(
        id=test.id,
        state="ok",
        asked_at_us=test.asked_at_us,
        width=last.picture.width,
        height=last.picture.height,
        codec=last.codec,
        fps=round((len(frames) - 1) / passed_s, 1) if passed_s > 0 else 0.0,
        jpeg=Snapshot(last.picture, Masks(test.camera.masks)).jpeg(),
    )
