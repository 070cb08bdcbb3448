"""A part's video as footage: pieces of a minute that play by themselves, copied where browsers play the codec."""

from __future__ import annotations

import contextlib
import errno
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path
from typing import Protocol

import av
import av.error
from av.container.output import OutputContainer
from av.packet import Packet
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from ingest.indexing.files import microseconds
from lookout.errors import UnavailableError
from lookout.footage.folder import SUFFIX, FootageFolder, Piece

SEGMENT_US = 60_000_000
#: A transcoded piece has a key frame this often, so that players find any second.
KEY_FRAME_EVERY_US = 2_000_000
_TICKS = Fraction(1, 1_000_000)

#: Hands on a finished file: it, begin and end since the video's first frame, codec.
Finish = Callable[[Path, int, int, str], None]


class Footage(Protocol):
    """Takes what a part is made of. All times are microseconds since the video's first frame."""

    def packet(self, packet: Packet[VideoStream], at_us: int) -> None:
        """The next packet, in decoding order."""

    def frame(self, picture: VideoFrame, at_us: int) -> None:
        """The next frame, upright."""

    def close(self) -> None:
        """Finish what is open."""

    def discard(self) -> None:
        """Throw away what is open."""


class NoFootage:
    """Keeps nothing: of a camera that stores nothing of people who match nobody."""

    def packet(self, packet: Packet[VideoStream], at_us: int) -> None:
        """Nothing."""

    def frame(self, picture: VideoFrame, at_us: int) -> None:
        """Nothing."""

    def close(self) -> None:
        """Nothing."""

    discard = close


class _Open:
    """A file that is being written."""

    def __init__(self, path: Path, started_us: int) -> None:
        self.path, self.started_us, self.ended_us = path, started_us, started_us
        self.container: OutputContainer = av.open(str(path), "w", format="mp4", options={"movflags": "faststart"})


class _Segments:
    """Files one after the other."""

    def __init__(self, folder: Path, name: str, finish: Finish) -> None:
        self._folder, self._name, self._finish = folder, name, finish
        self._open: _Open | None = None

    def _begin(self, started_us: int) -> _Open:
        with disk_errors():
            self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            self._open = _Open(self._folder / f"{self._name}-{started_us}{SUFFIX}", started_us)
        return self._open

    def _end(self, codec: str) -> None:
        opened, self._open = self._open, None
        if opened is not None:
            with disk_errors():
                opened.container.close()
            self._finish(opened.path, opened.started_us, opened.ended_us, codec)

    def discard(self) -> None:
        """Throw away what is open."""
        opened, self._open = self._open, None
        if opened is not None:
            with contextlib.suppress(av.error.FFmpegError, OSError):
                opened.container.close()
            opened.path.unlink(missing_ok=True)


class Copied(_Segments):
    """Packets as they are, in files that begin with a key frame."""

    def __init__(self, folder: Path, name: str, finish: Finish, stream: VideoStream) -> None:
        super().__init__(folder, name, finish)
        self._stream = stream
        self._codec = stream.codec_context.name
        self._written: VideoStream | None = None
        self._zero = self._last_dts = 0

    def packet(self, packet: Packet[VideoStream], at_us: int) -> None:
        """Write a packet; what comes before the first key frame cannot be played, and is left out."""
        if packet.is_keyframe and (self._open is None or at_us - self._open.started_us >= SEGMENT_US):
            self.close()
            opened = self._begin(at_us)
            self._written = opened.container.add_stream_from_template(self._stream)
            self._zero, self._last_dts = packet.pts or 0, -(1 << 62)
        opened_now = self._open
        if opened_now is None or self._written is None or at_us < opened_now.started_us or packet.pts is None:
            return
        length_us = microseconds(packet.duration, packet.time_base) if packet.duration else 0
        opened_now.ended_us = max(opened_now.ended_us, at_us + length_us)
        packet.pts -= self._zero
        packet.dts = packet.pts if packet.dts is None else packet.dts - self._zero
        if packet.dts <= self._last_dts or packet.dts > packet.pts:
            return  # no player could order it
        self._last_dts = packet.dts
        packet.stream = self._written
        with disk_errors():
            opened_now.container.mux(packet)

    def frame(self, picture: VideoFrame, at_us: int) -> None:
        """Nothing: its packet was written."""

    def close(self) -> None:
        """Finish what is open."""
        self._end(self._codec)


class Transcoded(_Segments):
    """Frames as H.264, upright; a file has one size."""

    def __init__(self, folder: Path, name: str, finish: Finish) -> None:
        super().__init__(folder, name, finish)
        self._stream: VideoStream | None = None
        self._size = (0, 0)
        self._last_us = self._key_us = 0

    def packet(self, packet: Packet[VideoStream], at_us: int) -> None:
        """Nothing: its frames are written."""

    def frame(self, picture: VideoFrame, at_us: int) -> None:
        """Encode a frame."""
        size = (picture.width, picture.height)
        if self._open is None or size != self._size or at_us - self._open.started_us >= SEGMENT_US:
            self.close()
            self._size, self._last_us = size, -1
            self._stream = self._encoder(self._begin(at_us), *size)
            self._key_us = -KEY_FRAME_EVERY_US
        opened, stream = self._open, self._stream
        if opened is None or stream is None or at_us - opened.started_us <= self._last_us:
            return
        self._last_us = at_us - opened.started_us
        even = picture.reformat(width=stream.width, height=stream.height, format="yuv420p")
        even.pts, even.time_base = self._last_us, _TICKS
        is_key = self._last_us - self._key_us >= KEY_FRAME_EVERY_US
        even.pict_type = av.video.frame.PictureType.I if is_key else av.video.frame.PictureType.NONE
        self._key_us = self._last_us if is_key else self._key_us
        opened.ended_us = at_us
        with disk_errors():
            opened.container.mux(stream.encode(even))

    def close(self) -> None:
        """Finish what is open."""
        if self._open is not None and self._stream is not None:
            with disk_errors():
                self._open.container.mux(self._stream.encode(None))
        self._end("h264")

    @staticmethod
    def _encoder(opened: _Open, width: int, height: int) -> VideoStream:
        options = {"preset": "veryfast", "bf": "0", "forced-idr": "1"}
        stream = opened.container.add_stream("libx264", rate=25, options=options)
        # Half the pixels have colours: an odd one is scaled away.
        stream.width, stream.height, stream.pix_fmt = max(2, width // 2 * 2), max(2, height // 2 * 2), "yuv420p"
        stream.codec_context.time_base = stream.time_base = _TICKS
        stream.codec_context.thread_count = 1
        return stream


def footage(
    folder: FootageFolder,
    stream: VideoStream,
    *,
    video_id: str,
    number: int,
    piece: Callable[[int, int, str], Piece],
    copied: bool,
) -> Copied | Transcoded:
    """The footage of a part.

    Args:
        folder: where finished pieces go.
        stream: where the packets come from.
        video_id: whose part.
        number: which part.
        piece: what a finished file is, of its begin and end since the first frame, and its codec.
        copied: whether browsers play it as it is.
    """

    def finish(path: Path, started_us: int, ended_us: int, codec: str) -> None:
        folder.finish(path, piece(started_us, ended_us, codec))

    place, name = working_folder(folder, video_id), str(number)
    return Copied(place, name, finish, stream) if copied else Transcoded(place, name, finish)


def working_folder(folder: FootageFolder, video_id: str) -> Path:
    """Where a video's pieces are while they are written; on the footage's file system, so that they can be moved."""
    return folder.root / "indexing" / video_id


@contextlib.contextmanager
def disk_errors() -> Iterator[None]:
    """Tell a full disk from other errors of writing.

    Raises:
        UnavailableError: the disk is full.
    """
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise UnavailableError("the disk for footage is full: make room, or lower retention.") from error
        raise
