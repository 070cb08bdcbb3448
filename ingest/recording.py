"""Keeps a camera's video as footage: its packets as they come, in segments. Nothing is decoded or encoded for it.

A recorder that fails says so and tries again; it never takes its camera down.
"""

from __future__ import annotations

import contextlib
import errno
import logging
import time
from collections.abc import Callable
from typing import cast

from av.audio.stream import AudioStream
from av.container.input import InputContainer
from av.packet import Packet
from av.video.stream import VideoStream

from ingest.activity import Activity
from ingest.parameters import is_annex_b, parameter_sets
from ingest.repair import repair_camera, repair_file
from ingest.segment import SOUND, Segment
from lookout.camera_settings import Camera
from lookout.errors import UnavailableError
from lookout.footage.folder import FootageFolder, Piece
from lookout.metrics import FOOTAGE_BYTES, FOOTAGE_SEGMENTS

log = logging.getLogger(__name__)

SEGMENT_S = 60.0
#: A camera that sends no key frame for so many segments' time waits for its next one: a segment is kept in order in
#: memory as long as it is open.
LONGEST = 10
#: No segment begins while less is free: what is on the way to other files must find room, and the registry too.
MIN_FREE_BYTES = 1_000_000_000
#: How long the disk is left alone after a failure.
RETRY_S = 30.0
#: However often a camera changes its picture or its clock, no more segments begin than these in one segment's time.
MOST = 60
#: A clock that jumps by more begins a new segment; what is less only moves the open one.
MAX_STEP_US = 1_000_000
#: So long the start of a segment follows the clock wherever it goes: that of a new time line is still being found.
SETTLE_US = 1_000_000

CODECS = ("h264", "hevc")
RECORDING, UNSUPPORTED, DISK_FULL, FAILED, OFF = "recording", "unsupported", "disk_full", "failed", "off"
_FULL = (errno.ENOSPC, errno.EDQUOT)

#: Tells when a moment of the stream was captured, as far as it is known now; both in microseconds.
WallClock = Callable[[int], int]


class Recorder:
    """Records one camera, connection by connection. Its state is in the camera's activity. For one thread.

    The start of a segment is what the clock says of its first frame when the segment ends, and not when it begins: the
    clock learns in the first seconds of a connection (of arrivals that were faster, of the camera's own time), and the
    frames after it are stamped with what it learned, so a frame is found where the segment's time line has it. What was
    stamped before, in those first seconds, may be off by as much as the clock was.
    """

    def __init__(
        self,
        camera: Camera,
        folder: FootageFolder,
        activity: Activity,
        *,
        segment_s: float = SEGMENT_S,
        min_free_bytes: int = MIN_FREE_BYTES,
        retry_s: float = RETRY_S,
    ) -> None:
        self._camera = camera
        self._folder = folder
        self._activity = activity
        self._segment_us = int(segment_s * 1e6)
        self._min_free_bytes = min_free_bytes
        self._retry_s = retry_s
        self._video: VideoStream | None = None
        self._audio: AudioStream | None = None
        #: What is missing of its sound.
        self._silence = ""
        self._segment: Segment | None = None
        self._jumped = False
        self._opens_at = 0.0
        self._last: tuple[int, float] | None = None
        self._first: Packet[VideoStream] | None = None

    def repair(self) -> None:
        """Hand on what was left of this camera by a process that was killed."""
        try:
            repair_camera(self._folder, self._camera.id)
        except Exception:  # whatever was left, the camera goes on
            log.exception("%s: the footage that was left open could not be repaired", self._camera.id)

    def begin(self, container: InputContainer) -> AudioStream | None:
        """Begin with a connection; returns the sound that is to be recorded with its video."""
        self.end()
        self._last = None
        if not self._camera.record:
            return None
        video = container.streams.video[0]
        codec = video.codec_context.name
        if codec not in CODECS or video.time_base is None:
            self._show(UNSUPPORTED, f"Video in {codec} cannot be recorded: set the camera to H.264 or H.265.")
            return None
        self._video = video
        self._audio = self._sound(container)
        return self._audio

    def take(self, packet: Packet[VideoStream], wall: WallClock) -> None:
        """Record a packet, which is used up. It has been decoded already, so its stream knows its picture."""
        if self._video is not None and packet.size:
            try:
                self._take(packet, wall)
            except Exception as error:  # noqa: BLE001 - whatever it is, the camera goes on
                self._give_up(error)

    def take_sound(self, packet: Packet[AudioStream]) -> None:
        """Record a packet of the stream that `begin` returned; it is used up."""
        if self._segment is not None and packet.size:
            try:
                self._segment.write_sound(packet)
            except Exception as error:  # noqa: BLE001 - whatever it is, the camera goes on
                self._give_up(error)

    def end(self) -> None:
        """The connection ended."""
        try:
            self._close()
        except Exception as error:  # noqa: BLE001 - whatever it is, the camera goes on
            self._give_up(error)
        self._video = self._audio = self._first = None
        if self._activity.recording == RECORDING:
            self._show(OFF)

    def _take(self, packet: Packet[VideoStream], wall: WallClock) -> None:
        first, self._first = self._first, None
        if packet.pts is None or packet.dts is None:
            # The first packet of RTSP comes before FFmpeg has a time line. It is a key frame, and too good to lose.
            self._first = packet if packet.is_keyframe and self._last is None else None
            return
        if first is not None and packet.duration:
            first.pts, first.dts = packet.pts - packet.duration, packet.dts - packet.duration
            self._write(first, wall)
        self._write(packet, wall)

    def _write(self, packet: Packet[VideoStream], wall: WallClock) -> None:
        if self._segment is not None and self._must_end(packet, wall):
            self._close()
        self._last = _times(packet)
        if self._segment is None:
            if not packet.is_keyframe or time.monotonic() < self._opens_at:
                return
            self._open(packet, wall)
        segment = cast("Segment", self._segment)
        if packet.is_keyframe:
            segment.rename()
        before = segment.written
        segment.write(packet)
        FOOTAGE_BYTES.labels(self._camera.id).inc(segment.written - before)

    def _must_end(self, packet: Packet[VideoStream], wall: WallClock) -> bool:
        """Whether the open segment ends before this packet; moves its start along with the clock."""
        segment = cast("Segment", self._segment)
        if self._is_break(packet):
            return True
        self._follow(segment, wall)
        if not packet.is_keyframe:
            return segment.length_us > LONGEST * self._segment_us
        sets = self._sets(packet)
        changed = bool(sets) and sets != segment.sets
        return self._jumped or changed or segment.length_us >= self._segment_us

    def _is_break(self, packet: Packet[VideoStream]) -> bool:
        """Whether the stream's own time goes back, or further ahead than time passed: another time line."""
        if self._last is None:
            return False
        (dts_us, now), (last_us, last_now) = _times(packet), self._last
        step_us = dts_us - last_us
        return step_us < -MAX_STEP_US or step_us > MAX_STEP_US + (now - last_now) * 1_000_000

    def _follow(self, segment: Segment, wall: WallClock) -> None:
        started_at_us = wall(_microseconds(segment.zero, self._video))
        if segment.length_us < SETTLE_US or abs(started_at_us - segment.started_at_us) <= MAX_STEP_US:
            segment.started_at_us = started_at_us
        else:
            self._jumped = True

    def _open(self, packet: Packet[VideoStream], wall: WallClock) -> None:
        video = cast("VideoStream", self._video)
        self.repair()  # what could not be handed on before
        free = self._folder.free_bytes()
        if free < self._min_free_bytes:
            raise OSError(errno.ENOSPC, f"only {free / 1e9:.1f} GB are free")
        sets = self._sets(packet)
        in_band = sets if sets and is_annex_b(video.codec_context.extradata or b"") else None
        zero = cast("int", packet.pts)
        self._jumped = False
        self._segment = Segment(
            self._folder.open_folder(self._camera.id),
            video,
            self._audio,
            started_at_us=wall(_microseconds(zero, video)),
            zero=zero,
            sets=sets,
            extradata=in_band,
        )
        self._opens_at = time.monotonic() + self._segment_us / 1e6 / MOST
        if self._activity.recording != RECORDING:
            log.info("%s: recording", self._camera.id)
        self._show(RECORDING, self._silence)

    def _close(self) -> None:
        segment = self._segment
        if segment is None:
            return
        before = segment.written
        segment.end()
        # From here on it is whole: if it cannot be handed on now, it is repaired later.
        self._segment = None
        FOOTAGE_BYTES.labels(self._camera.id).inc(segment.written - before)
        try:
            start = segment.started_at_us
            piece = Piece(self._camera.id, start, start + segment.length_us, segment.codec)
            self._folder.finish(segment.path, piece)
        finally:
            segment.release()
        FOOTAGE_SEGMENTS.labels(self._camera.id).inc()

    def _give_up(self, error: Exception) -> None:
        """Keep what is whole of the open segment, say what is wrong, and leave the disk alone for a while."""
        segment, self._segment = self._segment, None
        self._opens_at = time.monotonic() + self._retry_s
        cause = error.__cause__ if isinstance(error, UnavailableError) else error
        full = isinstance(cause, OSError) and cause.errno in _FULL
        what = (cause.strerror if isinstance(cause, OSError) else None) or str(error)
        again = f"It is tried again every {self._retry_s:.0f} s."
        if full:
            self._show(DISK_FULL, f"The disk of the footage is full ({what}): have less kept, or give it more. {again}")
        else:
            self._show(FAILED, f"The footage cannot be written: {what}. {again}")
        log.warning("%s: %s", self._camera.id, self._activity.recording_message, exc_info=_is_ours(error))
        if segment is not None:
            segment.leave()
            with contextlib.suppress(OSError, UnavailableError):  # left to the next segment's start
                repair_file(self._folder, self._camera.id, segment.path)

    def _sound(self, container: InputContainer) -> AudioStream | None:
        self._silence = ""
        if not self._camera.record_audio:
            return None
        for stream in container.streams.audio:
            if stream.codec_context.name in SOUND:
                return stream
            self._silence = f"Without its sound: MP4 carries no {stream.codec_context.name}; set the camera to AAC."
        self._silence = self._silence or "Without sound: the camera sends none."
        return None

    def _sets(self, packet: Packet[VideoStream]) -> bytes:
        codec = cast("VideoStream", self._video).codec_context
        return parameter_sets(codec.name, codec.extradata or b"", bytes(packet))

    def _show(self, state: str, message: str = "") -> None:
        self._activity.recording, self._activity.recording_message = state, message


def _is_ours(error: Exception) -> bool:
    """Whether it is a fault of Lookout, whose place is worth knowing."""
    return not isinstance(error, OSError | UnavailableError)


def _times(packet: Packet[VideoStream]) -> tuple[int, float]:
    return _microseconds(cast("int", packet.dts), packet), time.monotonic()


def _microseconds(value: int, of: Packet[VideoStream] | VideoStream | None) -> int:
    base = of.time_base if of is not None else None
    return int(value * base * 1_000_000) if base is not None else 0
