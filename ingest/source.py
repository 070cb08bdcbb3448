"""A camera's frames: connect, demultiplex, decode, stamp."""

from __future__ import annotations

import struct
import threading
from collections.abc import Iterator
from dataclasses import dataclass

import av
import av.error
from av.packet import Packet
from av.video.frame import VideoFrame

from ingest.cameras import Camera
from ingest.clock import CaptureClock
from lookout.clock import now_us
from lookout.errors import CameraError
from lookout.logging import redact

OPEN_TIMEOUT_S = 8.0
#: FFmpeg gives up on a silent server after twice this time.
READ_TIMEOUT_S = 5.0
#: Frames in a row that cannot be decoded until the stream is given up: four seconds of a common camera.
MAX_BAD_FRAMES = 100


@dataclass(frozen=True, slots=True, eq=False)
class Frame:
    """One decoded frame.

    Attributes:
        picture: as decoded, full size; any pixel format.
        captured_at_us: UTC microseconds.
        behind_us: how much later it came than the stream's fastest frames: what ingest lags.
        camera_offset_us: how far the camera's own clock is behind the arrival of its frames.
    """

    picture: VideoFrame
    captured_at_us: int
    behind_us: int
    camera_offset_us: int


class BadFrame:
    """A frame that could not be decoded."""


def read_frames(camera: Camera, stop: threading.Event) -> Iterator[Frame | BadFrame]:
    """Connect and yield frames until the stream ends, `stop` is set, or an error is raised.

    Raises:
        CameraError: the camera cannot be reached, or what comes is no video.
    """
    live = not camera.url.startswith("file:")
    options = {"rtsp_transport": camera.transport, "timeout": str(int(READ_TIMEOUT_S * 1e6))} if live else {}
    try:
        with av.open(camera.url, options=options, timeout=(OPEN_TIMEOUT_S, READ_TIMEOUT_S)) as container:
            if not container.streams.video:
                raise CameraError(f"{camera.id}: {redact(camera.url)} carries no video.", reason="not_video")
            stream = container.streams.video[0]
            stream.codec_context.thread_count = 1  # cameras are many, cores are few
            clock = CaptureClock()
            started_us = now_us()
            bad = 0
            for packet in container.demux(stream):
                if stop.is_set():
                    return
                if live:
                    _observe_rtcp(packet, clock)
                try:
                    pictures = packet.decode()
                except av.error.InvalidDataError:
                    bad += 1
                    if bad > MAX_BAD_FRAMES:
                        raise
                    yield BadFrame()
                    continue
                for picture in pictures:
                    if not isinstance(picture, VideoFrame):
                        continue
                    bad = 0
                    pts_us = _microseconds(picture)
                    if live:
                        captured_at_us = clock.stamp(pts_us, now_us())
                    else:
                        captured_at_us = started_us + (pts_us or 0)
                        stop.wait(max(0.0, (captured_at_us - now_us()) / 1e6))
                    yield Frame(picture, captured_at_us, clock.behind_us, clock.camera_offset_us)
    except (av.error.FFmpegError, OSError, ValueError) as error:
        raise _explained(camera, error) from error


def _observe_rtcp(packet: Packet, clock: CaptureClock) -> None:
    if packet.pts is None or packet.time_base is None or not packet.has_sidedata("prft"):
        return
    # AVProducerReferenceTime: int64 wall clock in microseconds, int32 flags (libavcodec/defs.h).
    (wall_us,) = struct.unpack_from("<q", bytes(packet.get_sidedata("prft")))
    clock.observe_rtcp(int(packet.pts * packet.time_base * 1_000_000), wall_us)


def _microseconds(picture: VideoFrame) -> int | None:
    if picture.pts is None or picture.time_base is None:
        return None
    return int(picture.pts * picture.time_base * 1_000_000)


#: What FFmpeg raises, its label for metrics, and what helps.
_CAUSES: tuple[tuple[tuple[type[BaseException], ...], str, str], ...] = (
    ((av.error.HTTPUnauthorizedError, av.error.HTTPForbiddenError), "unauthorised", "user or password is wrong"),
    ((av.error.HTTPNotFoundError,), "not_found", "the camera has no stream of that path; look into its manual"),
    ((FileNotFoundError,), "not_found", "there is no such file or stream"),
    ((ConnectionRefusedError,), "refused", "nothing listens on that address and port; is it switched on?"),
    ((TimeoutError, av.error.ExitError), "timeout", "it does not answer; look at power, cable and firewall"),
    ((av.error.EOFError, ConnectionError, BrokenPipeError), "closed", "it closed the connection"),
    ((av.error.InvalidDataError, av.error.DecoderNotFoundError), "not_video", "what it sends is no video"),
)


def _explained(camera: Camera, error: BaseException) -> CameraError:
    url = redact(camera.url)
    for types, reason, advice in _CAUSES:
        if isinstance(error, types):
            return CameraError(f"{camera.id}: {url}: {advice}.", reason=reason)
    return CameraError(f"{camera.id}: {url}: {redact(str(error))}.", reason="other")
