"""One file of footage while it is written: packets as they came, in fragments that survive a crash."""

from __future__ import annotations

import contextlib
import io
import os
import secrets
from fractions import Fraction
from pathlib import Path

import av
from av.audio.stream import AudioStream
from av.packet import Packet
from av.video.stream import VideoStream

from ingest.repair import lock, open_name

#: `hybrid_fragmented`: fragments while it is written, so that a killed process loses only the open one; closed, it is
#: a common MP4 with an index of all frames at its end, in which a player finds any second at once. A fragment ends
#: after this time or size even if the camera sends no key frame for an hour: it is kept in memory until then.
#: Negative offsets let B-frames begin at 0 too.
OPTIONS = {
    "movflags": "hybrid_fragmented+frag_keyframe+empty_moov+default_base_moof+negative_cts_offsets",
    "frag_duration": "2000000",
    "frag_size": "10000000",
    "flush_packets": "1",
    # How long one stream waits for packets of the other.
    "max_interleave_delta": "1000000",
}
#: The sample entry that browsers play H.265 of.
TAGS = {"hevc": "hvc1"}
#: Sound that MP4 carries; what others send (G.711 most of all) is left out.
SOUND = frozenset({"aac", "mp3", "opus", "ac3", "eac3", "alac", "flac"})
#: Sound that is further from the video than this belongs to no common time line.
MAX_APART_US = 5_000_000
#: A start that is told better by no more than this is not worth another name.
RENAME_US = 20_000


class OpenFile(io.RawIOBase):
    """What FFmpeg writes to. It is claimed while it is open, counts its bytes, and can be left as it is."""

    def __init__(self, path: Path) -> None:
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        self._file = os.fdopen(fd, "r+b", buffering=0)
        self.written = 0
        self._left = False
        lock(self._file)

    def leave(self) -> None:
        """Take everything that comes now, and write none of it."""
        self._left = True

    def writable(self) -> bool:
        """It is."""
        return True

    def seekable(self) -> bool:
        """It is."""
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Go elsewhere."""
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        """Where it is written next."""
        return self._file.tell()

    def write(self, data: bytes) -> int:  # type: ignore[override]
        """Write all of it.

        Raises:
            OSError: the disk takes it not.
        """
        rest = memoryview(data)
        while rest and not self._left:
            count = self._file.write(rest)
            self.written += count
            rest = rest[count:]
        return len(data)

    def close(self) -> None:
        """Give up the claim."""
        self._file.close()
        super().close()


class Segment:
    """A file that begins at a key frame, whose time line begins at 0 with it.

    Attributes:
        path: where it lies now.
        codec: of its video.
        started_at_us: when its first frame was captured, as it is known now.
        zero: the first frame's time on the stream's time line, in units of its time base.
        sets: the parameter sets that its video begins with.
    """

    def __init__(
        self,
        folder: Path,
        video: VideoStream,
        audio: AudioStream | None,
        *,
        started_at_us: int,
        zero: int,
        sets: bytes,
        extradata: bytes | None,
    ) -> None:
        self.codec = video.codec_context.name
        self._token = secrets.token_hex(4)
        self._named_us = self.started_at_us = started_at_us
        self._base = _time_base(video)
        self.zero, self.sets = zero, sets
        self._end = self._last = zero
        #: The least time that a stream's next packet may have, by the stream's index.
        self._next: dict[int, int] = {}
        self._frame = 0
        self.path = folder / open_name(started_at_us, self.codec, self._token)
        self._file = OpenFile(self.path)
        try:
            self._output = av.open(self._file, "w", format="mp4", options=OPTIONS)
            self._streams = self._add_streams(video, audio, extradata)
        except BaseException:
            self.leave()
            raise

    @property
    def written(self) -> int:
        """Bytes so far."""
        return self._file.written

    @property
    def length_us(self) -> int:
        """From its first frame to the end of its last one."""
        return int((self._end - self.zero) * self._base * 1_000_000)

    def write(self, packet: Packet[VideoStream]) -> None:
        """Add a video packet that has its times. FFmpeg takes it over: read it before.

        Raises:
            OSError, FFmpegError: it cannot be written.
        """
        assert packet.dts is not None  # noqa: S101 - the recorder drops those without
        assert packet.pts is not None  # noqa: S101
        frame = packet.duration or max(0, packet.dts - self._last) or self._frame
        self._frame, self._last = frame, packet.dts
        self._end = max(self._end, packet.pts + frame)
        self._mux(packet, self.zero)

    def write_sound(self, packet: Packet[AudioStream]) -> None:
        """Add an audio packet, unless it is none of this segment's time.

        Raises:
            OSError, FFmpegError: it cannot be written.
        """
        base = packet.time_base
        if packet.pts is None or packet.dts is None or base is None:
            return
        apart_us = (packet.dts * base - self._last * self._base) * 1_000_000
        zero = int(self.zero * self._base / base)
        if packet.dts >= zero and abs(apart_us) <= MAX_APART_US:
            self._mux(packet, zero)

    def rename(self) -> None:
        """Tell by the name where its time line begins, if that is known better now: a crash leaves nothing else.

        Raises:
            OSError: it cannot be renamed.
        """
        if abs(self.started_at_us - self._named_us) > RENAME_US:
            target = self.path.with_name(open_name(self.started_at_us, self.codec, self._token))
            self.path.rename(target)
            self.path, self._named_us = target, self.started_at_us

    def end(self) -> None:
        """Write what makes it whole. The claim on it holds until `release`.

        Raises:
            OSError, FFmpegError: it cannot be written.
        """
        self._output.close()

    def leave(self) -> None:
        """Leave the file as it is on the disk, to be repaired."""
        self._file.leave()
        with contextlib.suppress(Exception):  # FFmpeg has its own view of a file that was left
            self._output.close()
        self.release()

    def release(self) -> None:
        """Give up the claim on the file."""
        with contextlib.suppress(OSError):
            self._file.close()

    def _mux(self, packet: Packet[AudioStream] | Packet[VideoStream], zero: int) -> None:
        assert packet.dts is not None  # noqa: S101
        assert packet.pts is not None  # noqa: S101
        source = packet.stream.index
        # Times must grow, and some servers repeat them or stamp B-frames in their order of arrival.
        dts = max(packet.dts - zero, self._next.get(source, packet.dts - zero))
        packet.dts, packet.pts = dts, max(packet.pts - zero, dts)
        self._next[source] = dts + 1
        packet.stream = self._streams[source]
        self._output.mux(packet)

    def _add_streams(
        self, video: VideoStream, audio: AudioStream | None, extradata: bytes | None
    ) -> dict[int, AudioStream | VideoStream]:
        made = self._output.add_stream_from_template(video, opaque=True)
        if self.codec in TAGS:
            made.codec_context.codec_tag = TAGS[self.codec]
        # As they are now: those of the connection's start may be of another picture.
        made.codec_context.width, made.codec_context.height = video.codec_context.width, video.codec_context.height
        if extradata is not None:
            made.codec_context.extradata = extradata
        streams: dict[int, AudioStream | VideoStream] = {video.index: made}
        if audio is not None:
            streams[audio.index] = self._output.add_stream_from_template(audio)
        return streams


def _time_base(stream: VideoStream) -> Fraction:
    if stream.time_base is None:
        raise ValueError("its video has no time base")
    return stream.time_base
