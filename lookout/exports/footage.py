"""Frames and packets of several segments as one recording, by the wall clock."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
from av.container.input import InputContainer
from av.packet import Packet
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

#: A frame a hair before a span's begin is the one that is shown at its begin.
TOLERANCE_US = 1_000


@dataclass(frozen=True, slots=True)
class Source:
    """A segment's file; its first frame was taken at `started_at_us`."""

    path: Path
    started_at_us: int


@dataclass(frozen=True, slots=True)
class Clock:
    """Turns the time stamps of a file into wall clock."""

    started_at_us: int
    first: int
    time_base: Fraction

    def at_us(self, stamp: int) -> int:
        """When that was."""
        return self.started_at_us + round((stamp - self.first) * self.time_base * 1_000_000)


@contextlib.contextmanager
def opened(source: Source) -> Iterator[tuple[InputContainer, VideoStream, Clock]]:
    """A segment's video.

    Raises:
        av.error.FFmpegError, OSError: it cannot be opened.
        ValueError: there is no video in it.
    """
    with av.open(str(source.path)) as container:
        if not container.streams.video:
            raise ValueError("there is no video in it")
        stream = container.streams.video[0]
        time_base = stream.time_base or Fraction(1, 1_000_000)
        yield container, stream, Clock(source.started_at_us, stream.start_time or 0, time_base)


def key_before(source: Source, at_us: int) -> int | None:
    """Time stamp of the last key frame until a moment; of the first one if all come later; None if there is none."""
    found: int | None = None
    with opened(source) as (container, stream, clock):
        for packet in readable(container, stream):
            if packet.is_keyframe and packet.pts is not None:
                if found is not None and clock.at_us(packet.pts) > at_us + TOLERANCE_US:
                    break
                found = packet.pts
    return found


def readable(container: InputContainer, stream: VideoStream) -> Iterator[Packet[VideoStream]]:
    """Packets of a stream, as far as the file can be read; a cut-off file ends where it is cut off."""
    packets = container.demux(stream)
    while True:
        try:
            packet = next(packets)
        except (StopIteration, av.error.FFmpegError):
            return
        if packet.dts is not None and not packet.is_corrupt:
            yield packet


def frames(sources: Sequence[Source], begin_us: int, end_us: int) -> Iterator[tuple[int, VideoFrame]]:
    """Decoded frames of a span, with the wall clock of each, in order; what is damaged is left out.

    Raises:
        av.error.FFmpegError, OSError: a file cannot be opened.
        ValueError: there is no video in one.
    """
    last_us = begin_us - TOLERANCE_US - 1
    for source in sources:
        key = key_before(source, begin_us)
        with opened(source) as (container, stream, clock):
            stream.thread_type = "AUTO"
            for frame in _decoded(container, stream, key):
                if frame.pts is None:
                    continue
                at_us = clock.at_us(frame.pts)
                if at_us >= end_us:
                    break
                if at_us > last_us:
                    last_us = at_us
                    yield at_us, frame


def _decoded(container: InputContainer, stream: VideoStream, key: int | None) -> Iterator[VideoFrame]:
    begun = False
    for packet in readable(container, stream):
        begun = begun or packet.pts == key
        if begun:
            with contextlib.suppress(av.error.FFmpegError):
                yield from packet.decode()
    with contextlib.suppress(av.error.FFmpegError):
        yield from stream.decode(None)
