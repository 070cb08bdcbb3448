"""A video file: opened safely, its packets in order, each with a time that never goes back."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from fractions import Fraction

import av
import av.error
from av.container.input import InputContainer
from av.packet import Packet
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from lookout.errors import BadInputError

#: They open further files, or devices: an uploaded playlist must not name files of this machine.
_INDIRECT = ("concat", "dash", "hls", "image2", "lavfi", "rtsp", "sdp", "tty", "webm_dash_manifest", "imf", "rtp")
#: A step forward of no more than this is a pause of the recording; a larger one, or one back, is a clock that jumped.
MAX_PAUSE_US = 3_600_000_000
MAX_BACK_US = 1_000_000
#: Read errors in a row after which the rest of a file is given up.
MAX_READ_ERRORS = 200
#: Disposition of a cover picture in a sound file.
_ATTACHED_PIC = 0x400


@contextlib.contextmanager
def open_video(path: str) -> Iterator[tuple[InputContainer, VideoStream]]:
    """A file and its video.

    Raises:
        BadInputError: it cannot be read, is no video, or has no video track.
    """
    formats = ",".join(sorted(av.formats_available - set(_INDIRECT)))
    options = {"protocol_whitelist": "file", "format_whitelist": formats}
    try:
        container = av.open(f"file:{path}", options=options)
    except FileNotFoundError as error:
        raise BadInputError("there is no such file.") from error
    except PermissionError as error:
        raise BadInputError("it may not be read; look at its owner and mode.") from error
    except (av.error.FFmpegError, OSError, ValueError) as error:
        raise BadInputError("it is no video that FFmpeg can read; is it whole, and was it played before?") from error
    with container:
        streams = [one for one in container.streams.video if not int(one.disposition) & _ATTACHED_PIC]
        if not streams:
            raise BadInputError("it has no video track; hand in the file that has the pictures.")
        stream = max(streams, key=lambda one: one.width * one.height if one.codec_context else 0)
        if stream.codec_context is None:
            raise BadInputError("its video is of a format nobody knows; convert it, say to H.264 in an MP4.")
        stream.codec_context.thread_count = 1
        yield container, stream


def packets(container: InputContainer, stream: VideoStream) -> Iterator[Packet[VideoStream]]:
    """Its packets, the last one empty so that it flushes the decoder; damage of the container is stepped over."""
    errors = 0
    while True:
        try:
            for packet in container.demux(stream):
                errors = 0
                yield packet
        except av.error.FFmpegError:
            errors += 1
            if errors > MAX_READ_ERRORS:
                return
        else:
            return


def microseconds(ticks: int, time_base: Fraction) -> int:
    """Ticks of a time base as microseconds."""
    return ticks * time_base.numerator * 1_000_000 // time_base.denominator


def packet_us(packet: Packet[VideoStream]) -> int | None:
    """When a packet is shown, by the file's own time; when it is decoded, if that is all it says; None: nothing."""
    ticks = packet.pts if packet.pts is not None else packet.dts
    return None if ticks is None or packet.time_base is None else microseconds(ticks, packet.time_base)


class Timeline:
    """Puts right the times of packets, in the order in which they are decoded, so that they never go back."""

    def __init__(self) -> None:
        self._offset_us = 0
        self._last_us: int | None = None
        self._step_us = 40_000

    def mend(self, packet: Packet[VideoStream]) -> bool:
        """Shift a packet's times where the clock has jumped before; whether it jumps here."""
        if packet.time_base is None or (packet.pts is None and packet.dts is None):
            return False
        ticks = packet.dts if packet.dts is not None else packet.pts
        at_us = microseconds(ticks or 0, packet.time_base) + self._offset_us
        jumped = self._last_us is not None and not -MAX_BACK_US <= at_us - self._last_us <= MAX_PAUSE_US
        if jumped and self._last_us is not None:
            self._offset_us += self._last_us + self._step_us - at_us
            at_us = self._last_us + self._step_us
        elif self._last_us is not None and 0 < at_us - self._last_us < 1_000_000:
            self._step_us = at_us - self._last_us
        self._last_us = at_us
        if self._offset_us:
            shift = round(Fraction(self._offset_us, 1_000_000) / packet.time_base)
            packet.pts = None if packet.pts is None else packet.pts + shift
            packet.dts = None if packet.dts is None else packet.dts + shift
        return jumped


def frame_us(picture: VideoFrame) -> int | None:
    """When a frame is shown, by the file's own time."""
    ticks = picture.pts if picture.pts is not None else picture.dts
    return None if ticks is None or picture.time_base is None else microseconds(ticks, picture.time_base)
