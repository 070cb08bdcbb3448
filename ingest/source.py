"""A camera's frames: connect, demultiplex, decode, stamp."""

from __future__ import annotations

import errno
import struct
import threading
import time
from collections.abc import Generator, Iterator
from dataclasses import dataclass
from functools import partial
from typing import cast
from urllib.parse import urlsplit
from urllib.request import url2pathname

import av
import av.error
from av.audio.stream import AudioStream
from av.container.input import InputContainer
from av.packet import Packet
from av.video.codeccontext import VideoCodecContext
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from ingest.clock import CaptureClock
from ingest.recording import Recorder
from lookout.camera_settings import Camera
from lookout.clock import now_us
from lookout.errors import CameraError
from lookout.logging import redact

OPEN_TIMEOUT_S = 8.0
#: FFmpeg gives up on a silent server after twice this time.
READ_TIMEOUT_S = 5.0
#: Frames in a row that cannot be decoded until the stream is given up: four seconds of a common camera.
MAX_BAD_FRAMES = 100
#: JPEG pictures over HTTP carry no time: FFmpeg counts 25 a second, however many the camera sends.
UNTIMED = ("mpjpeg", "mjpeg")
#: A recording starts over a frame after its last one; one that is shorter than this, say a picture, after this time.
FRAME_US = 40_000
MIN_PLAY_US = 1_000_000


@dataclass(frozen=True, slots=True, eq=False)
class Frame:
    """One decoded frame.

    Attributes:
        picture: as decoded, full size; any pixel format.
        captured_at_us: UTC microseconds.
        behind_us: how much later it came than the stream's fastest frames: what ingest lags.
        camera_offset_us: how far the camera's own clock is behind the arrival of its frames.
        codec: what it was encoded in.
    """

    picture: VideoFrame
    captured_at_us: int
    behind_us: int
    camera_offset_us: int
    codec: str = ""


class BadFrame:
    """A frame that could not be decoded."""


def read_frames(camera: Camera, stop: threading.Event, recorder: Recorder | None = None) -> Generator[Frame | BadFrame]:
    """Connect and yield frames until the stream ends, `stop` is set, or an error is raised. A recording has no end.

    Args:
        camera: whose.
        stop: ends it.
        recorder: gets the packets too.

    Raises:
        CameraError: the camera cannot be reached, or what comes is no video.
    """
    heard_at = time.monotonic()
    try:
        for frame in (_play if camera.is_recording else _receive)(camera, stop, recorder):
            yield frame
            heard_at = time.monotonic()
    except (av.error.FFmpegError, OSError, ValueError) as error:
        raise _explained(camera, error, time.monotonic() - heard_at) from error
    finally:
        if recorder is not None:
            recorder.end()


def _receive(camera: Camera, stop: threading.Event, recorder: Recorder | None) -> Iterator[Frame | BadFrame]:
    """Frames of a stream, as they come."""
    clock = CaptureClock()
    options = {"rtsp_transport": camera.transport, "timeout": str(int(READ_TIMEOUT_S * 1e6))}
    with av.open(camera.url, options=options, timeout=(OPEN_TIMEOUT_S, READ_TIMEOUT_S)) as container:
        timed = container.format.name not in UNTIMED
        for packet, pictures in _decode(camera, container, stop, recorder):
            _observe_rtcp(packet, clock)
            frames: list[Frame | BadFrame] = []
            for picture in pictures or ():
                pts_us = _microseconds(picture) if timed else None
                if timed and pts_us is None:
                    continue  # RTSP's first frame comes before FFmpeg has its time line
                captured_at_us = clock.stamp(pts_us, now_us())
                frames.append(
                    Frame(picture, captured_at_us, clock.behind_us, clock.camera_offset_us, _codec(container))
                )
            if recorder is not None:  # once the clock knows of the frame, and before anybody takes time over it
                recorder.take(packet, partial(clock.at, arrival_us=now_us()))
            yield from frames if pictures is not None else [BadFrame()]


def _play(camera: Camera, stop: threading.Event, recorder: Recorder | None) -> Iterator[Frame | BadFrame]:
    """Frames of a recording in real time, again and again. Who cannot keep up with it falls behind."""
    path = url2pathname(urlsplit(camera.url).path)
    starts_at_us = now_us()
    while not stop.is_set():
        first_us: int | None = None
        captured_at_us = starts_at_us
        with av.open(f"file:{path}") as container:
            for packet, pictures in _decode(camera, container, stop, recorder):
                if recorder is not None:
                    recorder.take(packet, partial(_played_at, starts_at_us, first_us))
                if pictures is None:
                    yield BadFrame()
                for picture in pictures or ():
                    pts_us = _microseconds(picture) or 0
                    first_us = pts_us if first_us is None else first_us
                    captured_at_us = starts_at_us + pts_us - first_us
                    stop.wait(max(0.0, (captured_at_us - now_us()) / 1e6))
                    yield Frame(picture, captured_at_us, max(0, now_us() - captured_at_us), 0, _codec(container))
        if first_us is None:
            raise CameraError(f"{camera.id}: {camera.url}: no frame of it can be decoded.", reason="not_video")
        starts_at_us = max(captured_at_us + FRAME_US, starts_at_us + MIN_PLAY_US)


def _played_at(starts_at_us: int, first_us: int | None, pts_us: int) -> int:
    return starts_at_us if first_us is None else starts_at_us + pts_us - first_us


def _decode(
    camera: Camera, container: InputContainer, stop: threading.Event, recorder: Recorder | None
) -> Iterator[tuple[Packet[VideoStream], list[VideoFrame] | None]]:
    """Packets of video, each with the pictures it completes; with None if it cannot be decoded."""
    if not container.streams.video:
        raise CameraError(f"{camera.id}: {redact(camera.url)} carries no video.", reason="not_video")
    stream = container.streams.video[0]
    codec: VideoCodecContext | None = stream.codec_context
    if codec is None:
        raise CameraError(f"{camera.id}: {redact(camera.url)} is of a video format nobody knows.", reason="not_video")
    codec.thread_count = 1  # cameras are many, cores are few
    bad = 0
    sound = recorder.begin(container) if recorder is not None else None
    for received in container.demux(stream, *([sound] if sound is not None else [])):
        if stop.is_set():
            return
        if received.stream.index != stream.index:
            if recorder is not None:
                recorder.take_sound(cast("Packet[AudioStream]", received))
            continue
        packet = cast("Packet[VideoStream]", received)
        try:
            pictures = codec.decode(packet)
        except av.error.InvalidDataError:
            bad += 1
            if bad > MAX_BAD_FRAMES:
                raise
            yield packet, None
        else:
            bad = 0 if pictures else bad
            yield packet, pictures


def _codec(container: InputContainer) -> str:
    return str(container.streams.video[0].codec_context.name)


def _observe_rtcp(packet: Packet[VideoStream], clock: CaptureClock) -> None:
    if packet.pts is None or packet.time_base is None or not packet.has_sidedata("prft"):
        return
    # AVProducerReferenceTime: int64 wall clock in microseconds, int32 flags (libavcodec/defs.h).
    (wall_us,) = struct.unpack_from("<q", bytes(packet.get_sidedata("prft")))
    clock.observe_rtcp(int(packet.pts * packet.time_base * 1_000_000), wall_us)


def _microseconds(picture: VideoFrame) -> int | None:
    if picture.pts is None or picture.time_base is None:
        return None
    return int(picture.pts * picture.time_base * 1_000_000)


SILENT = "it does not answer; look at power, cable and firewall."
#: EIO is what FFmpeg makes of a host name that cannot be resolved.
_UNREACHABLE = (errno.EIO, errno.EHOSTUNREACH, errno.ENETUNREACH)
#: What FFmpeg raises, its label for metrics, and what helps.
_CAUSES: tuple[tuple[tuple[type[BaseException], ...], str, str], ...] = (
    ((av.error.HTTPUnauthorizedError, av.error.HTTPForbiddenError), "unauthorised", "user or password is wrong."),
    ((av.error.HTTPNotFoundError,), "not_found", "the camera has no stream of that path; look into its manual."),
    ((FileNotFoundError,), "not_found", "there is no such file or stream."),
    ((ConnectionRefusedError,), "refused", "nothing listens on that address and port; is it switched on?"),
    ((TimeoutError, av.error.ExitError), "timeout", SILENT),
    ((av.error.EOFError, ConnectionError), "closed", "it closed the connection."),
    ((av.error.InvalidDataError, av.error.DecoderNotFoundError), "not_video", "it hung up, or what comes is no video."),
)


def _explained(camera: Camera, error: BaseException, silent_s: float) -> CameraError:
    place = f"{camera.id}: {redact(camera.url)}"
    if not camera.is_recording and silent_s >= READ_TIMEOUT_S:
        # FFmpeg calls a silence many names: invalid data after OPTIONS, a missing permission after PLAY.
        return CameraError(f"{place}: {SILENT}", reason="timeout")
    for types, reason, advice in _CAUSES:
        if isinstance(error, types):
            return CameraError(f"{place}: {advice}", reason=reason)
    if isinstance(error, av.error.HTTPError | av.error.HTTPClientError):
        return CameraError(f"{place}: {error.strerror}; look into the camera's log.", reason="rejected")
    if isinstance(error, OSError) and error.errno in _UNREACHABLE:
        return CameraError(f"{place}: no way there; is the name or address right?", reason="unreachable")
    what = (error.strerror if isinstance(error, av.error.FFmpegError | OSError) else None) or str(error)
    return CameraError(f"{place}: {redact(what)}.", reason="other")
