"""Clips: footage of a span as an MP4 that begins at 0 and plays while it loads, without sound.

Where nothing is to be painted its packets are copied, from the key frame before the span; otherwise, and where that is
not possible, it is decoded and encoded again, and begins at the span's first frame.
"""

from __future__ import annotations

import errno
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
from av.container.output import OutputContainer
from av.packet import Packet
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from lookout.exports.footage import TOLERANCE_US, Clock, Source, frames, key_before, opened, readable
from lookout.exports.painting import Painter, Planes, planes_of
from lookout.exports.work import ExportError, Tick

#: Codecs that players take in an MP4, with the tag that they ask for.
COPIED = {"h264": "avc1", "hevc": "hvc1"}
ENCODER = "libx264"
ENCODING = {"crf": "20", "preset": "veryfast", "g": "50"}
CLOCK = Fraction(1, 90_000)
#: The index stands before the pictures, so that a player begins at once.
MP4 = {"movflags": "+faststart"}
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


@dataclass(frozen=True, slots=True)
class Cut:
    """A clip as it was made: its first frame was taken at `started_at_us`, the clip ends at `ended_at_us`."""

    started_at_us: int
    ended_at_us: int
    copied: bool
    width: int
    height: int
    frames: int


class CannotCopyError(Exception):
    """The footage has to be encoded again."""


class NothingThereError(Exception):
    """The footage holds no frame of the span that can be read."""


def cut(
    sources: Sequence[Source], begin_us: int, end_us: int, target: Path, painter: Painter | None, tick: Tick
) -> Cut:
    """Write a clip.

    Args:
        sources: segments of one recording without a seam, in order.
        begin_us: from when on they are wanted.
        end_us: until when.
        target: the file to write.
        painter: covers what must not be seen; None: nothing must be covered.
        tick: told the share that is done.

    Raises:
        NothingThereError: no frame can be read.
        ExportError: the disk is full.
    """
    try:
        if painter is None:
            try:
                return _copy(sources, begin_us, end_us, target)
            except CannotCopyError:
                target.unlink(missing_ok=True)
        return _encode(sources, begin_us, end_us, target, painter, tick)
    except (av.error.FFmpegError, OSError, ValueError) as error:
        target.unlink(missing_ok=True)
        if isinstance(error, OSError) and error.errno in FULL:
            raise ExportError("the disk of the footage folder is full: make room, then export again.") from error
        raise NothingThereError(str(error)) from error


def _copy(sources: Sequence[Source], begin_us: int, end_us: int, target: Path) -> Cut:
    key = key_before(sources[0], begin_us)
    if key is None:
        raise CannotCopyError
    with av.open(str(target), "w", format="mp4", options=MP4) as output:
        writer: _Copier | None = None
        for source in sources:
            with opened(source) as (container, stream, clock):
                if writer is None:
                    writer = _Copier(output, stream, clock.at_us(key))
                writer.check(stream)
                begun = source is not sources[0]
                for packet in readable(container, stream):
                    begun = begun or packet.pts == key
                    if not begun or packet.pts is None or packet.dts is None:
                        continue
                    if clock.at_us(packet.dts) >= end_us:
                        break
                    writer.write(packet, clock)
        if writer is None or not writer.frames:
            raise NothingThereError("no frame can be read")
        return writer.close()


class _Copier:
    """Puts packets of several files into one."""

    def __init__(self, output: OutputContainer, stream: VideoStream, started_at_us: int) -> None:
        context = stream.codec_context
        if context.name not in COPIED:
            raise CannotCopyError
        self._output, self._context = output, context
        self._like = (context.name, context.width, context.height, context.extradata)
        self._stream = output.add_stream_from_template(stream)
        self._stream.codec_context.codec_tag = COPIED[context.name]
        self._stream.time_base = CLOCK
        self._started_at_us = self._ended_at_us = started_at_us
        self._last_dts: int | None = None
        self.frames = 0

    def check(self, stream: VideoStream) -> None:
        """Whether another file can go on where the one before ended.

        Raises:
            CannotCopyError: a player would need other settings for it.
        """
        context = stream.codec_context
        if (context.name, context.width, context.height, context.extradata) != self._like:
            raise CannotCopyError

    def write(self, packet: Packet[VideoStream], clock: Clock) -> None:
        """Append a packet at its wall clock."""
        assert packet.pts is not None and packet.dts is not None  # noqa: S101, PT018 - the caller has looked
        at_us = clock.at_us(packet.pts)
        if at_us < self._started_at_us:
            return  # it belongs to a key frame before: nobody could decode it
        dts = self._ticks(clock.at_us(packet.dts))
        if self._last_dts is not None:
            dts = max(dts, self._last_dts + 1)
        self._last_dts = dts
        length_us = round((packet.duration or 0) * clock.time_base * 1_000_000)
        self._ended_at_us = max(self._ended_at_us, at_us + length_us)
        packet.stream = self._stream
        packet.pts, packet.dts = max(self._ticks(at_us), dts), dts
        packet.duration = round(length_us * CLOCK.denominator / 1_000_000)
        packet.time_base = CLOCK
        self._output.mux(packet)
        self.frames += 1

    def close(self) -> Cut:
        """What was written."""
        size = self._context.width, self._context.height
        return Cut(self._started_at_us, self._ended_at_us, True, *size, self.frames)

    def _ticks(self, at_us: int) -> int:
        return round((at_us - self._started_at_us) * CLOCK.denominator / 1_000_000)


def _encode(
    sources: Sequence[Source], begin_us: int, end_us: int, target: Path, painter: Painter | None, tick: Tick
) -> Cut:
    if painter is not None:
        painter.begin()
    stream: VideoStream | None = None
    started_at_us = last_us = begin_us
    count = 0
    with av.open(str(target), "w", format="mp4", options=MP4) as output:
        for at_us, frame in frames(sources, begin_us, end_us):
            planes = planes_of(frame)
            if painter is not None:
                painter.paint(planes)
            picture = planes.frame()
            if stream is None:
                started_at_us = at_us
                stream = _encoder(output, planes, frame)
            if (picture.width, picture.height) != (stream.width, stream.height):
                picture = picture.reformat(stream.width, stream.height)
            picture.pts = round((at_us - started_at_us) * CLOCK.denominator / 1_000_000)
            picture.time_base = CLOCK
            output.mux(stream.encode(picture))
            count, last_us = count + 1, at_us
            tick((at_us - begin_us) / max(1, end_us - begin_us))
        if stream is None:
            raise NothingThereError("no frame can be read")
        output.mux(stream.encode(None))
        length_us = (last_us - started_at_us) // (count - 1) if count > 1 else TOLERANCE_US
        return Cut(started_at_us, last_us + length_us, False, stream.width, stream.height, count)


def _encoder(output: OutputContainer, planes: Planes, like: VideoFrame) -> VideoStream:
    stream = output.add_stream(ENCODER, rate=25)
    assert isinstance(stream, VideoStream)  # noqa: S101 - for the type checker: libx264 makes video
    stream.width, stream.height, stream.pix_fmt = planes.width, planes.height, "yuv420p"
    stream.time_base = stream.codec_context.time_base = CLOCK
    stream.codec_context.color_range = like.color_range
    stream.codec_context.colorspace = like.colorspace
    stream.options = dict(ENCODING)
    return stream
