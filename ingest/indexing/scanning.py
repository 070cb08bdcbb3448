"""What a file is, from all its packets: decoding little, holding little, however long it is."""

from __future__ import annotations

from datetime import UTC, datetime

import av.error
from av.container.input import InputContainer
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from ingest.indexing.files import Timeline, microseconds, open_video, packet_us, packets
from ingest.indexing.orders import Scanned
from lookout.errors import BadInputError

#: Among so many packets the first frame is looked for, and the first time: B-frames come out of order.
FIRST_PACKETS = 500
REORDERED_PACKETS = 64
#: Places to begin decoding are remembered at this distance: 36,000 in ten hours.
KEYS_EVERY_US = 1_000_000
MAX_JUMPS = 20
#: What all browsers play in an MP4 without another encoding. H.265 is not among them: only some do, on some machines.
_PLAYABLE = {
    "h264": {"yuv420p", "yuvj420p"},
    "av1": {"yuv420p", "yuv420p10le"},
    "vp9": {"yuv420p", "yuvj420p"},
}


def scan(path: str) -> Scanned:
    """Read all packets of a file.

    Raises:
        BadInputError: it is no video, has no video track, no frame, or neither times nor a frame rate.
    """
    with open_video(path) as (container, stream):
        return _Scan(container, stream).run()


class _Scan:
    def __init__(self, container: InputContainer, stream: VideoStream) -> None:
        self._container, self._stream = container, stream
        self._picture: VideoFrame | None = None
        self._first_us: int | None = None
        self._end_us = 0
        self._keys: list[int] = []
        self._jumps: list[int] = []
        self._all_pts = True

    def run(self) -> Scanned:
        rate = float(self._stream.average_rate or self._stream.guessed_rate or 0)
        step_us = int(1e6 / rate) if rate else 40_000
        timeline, count, untimed = Timeline(), 0, 0
        for packet in packets(self._container, self._stream):
            if not packet.size:
                self._look(packet, count)
                continue
            count += 1
            self._all_pts = self._all_pts and packet.pts is not None
            jumped = timeline.mend(packet)
            at_us = packet_us(packet)
            if at_us is None:
                untimed += 1
            else:
                self._take(at_us, packet.is_keyframe, jumped=jumped, early=count <= REORDERED_PACKETS)
                length_us = microseconds(packet.duration, packet.time_base) if packet.duration else step_us
                self._end_us = max(self._end_us, at_us + length_us)
            self._look(packet, count)
        return self._result(count, untimed, rate)

    def _take(self, at_us: int, is_key: bool, *, jumped: bool, early: bool) -> None:
        if self._first_us is None or (early and at_us < self._first_us):
            self._first_us = at_us
        if jumped and len(self._jumps) < MAX_JUMPS:
            self._jumps.append(at_us)
        if is_key and (not self._keys or at_us - self._keys[-1] >= KEYS_EVERY_US):
            self._keys.append(at_us)

    def _look(self, packet: object, count: int) -> None:
        """Decode until there is a first frame: what its size is, and whether anything can be decoded at all."""
        if self._picture is None and count <= FIRST_PACKETS:
            try:
                pictures = self._stream.codec_context.decode(packet)  # type: ignore[arg-type]
            except av.error.FFmpegError:
                return
            self._picture = next(iter(pictures), None)

    def _result(self, count: int, untimed: int, rate: float) -> Scanned:
        if count == 0 or self._picture is None:
            raise BadInputError("no frame of its video can be decoded; it is damaged, or cut off before the first one.")
        timed = self._first_us is not None and untimed * 10 < count
        if not timed and not rate:
            raise BadInputError("it has neither times nor a frame rate; put it into a container, say an MP4, first.")
        first_us = self._first_us or 0 if timed else 0
        codec, picture = self._stream.codec_context.name, self._picture
        turned = picture.rotation % 180 != 0
        # What is turned is encoded upright: boxes in the player, and exports, need not know of it.
        plays = picture.rotation % 360 == 0 and picture.format.name in _PLAYABLE.get(codec, ())
        keys = [max(0, at_us - first_us) for at_us in self._keys]
        return Scanned(
            codec=codec,
            width=picture.height if turned else picture.width,
            height=picture.width if turned else picture.height,
            first_us=first_us,
            duration_us=max(1, self._end_us - first_us) if timed else max(1, int(count * 1e6 / rate)),
            timed=timed,
            rate=round(rate, 3),
            keys_us=keys if timed else [],
            jumps_at_s=[round((at_us - first_us) / 1e6, 3) for at_us in self._jumps],
            created_us=_created_us(self._container.metadata.get("creation_time", "")),
            playable=timed and self._all_pts and plays,
        )


def _created_us(text: str) -> int | None:
    """A `creation_time`; None if there is none, or one that cameras without a clock write."""
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        return None
    at = at if at.tzinfo else at.replace(tzinfo=UTC)
    return int(at.timestamp() * 1e6) if at.year > 1990 else None
