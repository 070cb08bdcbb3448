"""One part of a file: decoded, searched for faces, kept as footage."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from fractions import Fraction

import av
import av.error
from av.container.input import InputContainer
from av.video.stream import VideoStream

from ingest.activity import Unwatched
from ingest.analysis import Analysis
from ingest.indexing.files import Timeline, frame_us, open_video, packet_us, packets
from ingest.indexing.handing import Handing
from ingest.indexing.orders import PartDone, PartOrder, Scanned
from ingest.indexing.segments import Footage, NoFootage, footage
from ingest.indexing.upright import Upright
from ingest.source import Frame
from lookout.faces.detector import Detector
from lookout.footage.folder import FootageFolder, Piece

#: Crops wait for workers for this long: a day.
CROP_DEADLINE_S = 86_400.0
#: As many places of broken frames are told.
MAX_PLACES = 20
PROGRESS_EVERY_S = 0.5
#: Where a seek led past the part's begin, it is tried again from so much earlier.
SEEK_BACK_US = (0, 5_000_000, 60_000_000)
#: Of a stream with so many more frames than are searched, those that no other needs are not decoded.
SPARE_FRAMES = 2.5


@dataclass(slots=True)
class _Broken:
    frames: int = 0
    at_s: list[float] = field(default_factory=list)

    def add(self, at_us: int) -> None:
        self.frames += 1
        place = round(max(0, at_us) / 1e6, 2)
        if len(self.at_s) < MAX_PLACES and (not self.at_s or place - self.at_s[-1] >= 1):
            self.at_s.append(place)


def search_part(
    order: PartOrder, detector: Detector, handing: Handing, folder: FootageFolder, told: Callable[[int], None]
) -> PartDone:
    """Search a part; when this returns, its crops are in Redis and its footage is finished.

    Args:
        order: which.
        detector: finds faces.
        handing: takes the crops.
        folder: takes the footage.
        told: is called now and then with how much is done, in microseconds.

    Raises:
        BadInputError: the file cannot be opened any more.
        UnavailableError: the disk is full.
    """
    analysis = Analysis(
        order.camera, detector, handing.put, Unwatched(), crop_deadline_s=CROP_DEADLINE_S,
        video_id=order.video_id, part=order.number,
    )  # fmt: skip
    with open_video(order.path) as (container, stream):
        kept = _footage(order, stream, folder)
        try:
            broken = _Part(order, container, stream, analysis, kept, told).run()
            kept.close()
        except BaseException:
            kept.discard()
            raise
    analysis.finish()
    handing.flush()
    return PartDone(crops=handing.count, broken_frames=broken.frames, broken_at_s=broken.at_s)


class _Part:
    def __init__(
        self, order: PartOrder, container: InputContainer, stream: VideoStream, analysis: Analysis, kept: Footage,
        told: Callable[[int], None],
    ) -> None:  # fmt: skip
        self._order, self._container, self._stream = order, container, stream
        self._analysis, self._kept, self._told = analysis, kept, told
        self._scanned: Scanned = order.scanned
        self._end_us = order.until_us if order.until_us is not None else 1 << 62
        self._upright = Upright()
        self._transcodes = not self._scanned.playable
        self._count = 0
        self._told_at = time.monotonic()
        self.broken = _Broken()

    def run(self) -> _Broken:
        """Go through the part."""
        codec = self._stream.codec_context
        saves = not self._transcodes and self._scanned.rate >= SPARE_FRAMES * self._order.camera.analysed_fps
        if saves:
            codec.skip_frame = "NONREF"
        codec.options = {**codec.options, "skip_loop_filter": "noref"}
        timeline = Timeline()
        at_us = self._order.from_us
        ended = False
        for packet in self._positioned():
            timeline.mend(packet)
            found_us = packet_us(packet)
            at_us = at_us if found_us is None else found_us - self._scanned.first_us
            try:
                pictures = codec.decode(packet)
            except av.error.FFmpegError:
                if self._order.from_us <= at_us < self._end_us:
                    self.broken.add(at_us)
                pictures = []
            for picture in pictures:
                self._show(picture, at_us)
            if packet.size and not self._transcodes and self._scanned.timed:
                # From the next part's first key frame on, packets are that part's.
                ended = ended or (packet.is_keyframe and at_us >= self._end_us)
                if not ended and at_us >= self._order.from_us:
                    self._kept.packet(packet, at_us)
            if self._is_over(packet.dts, packet.time_base):
                break
        return self.broken

    def _show(self, picture: av.VideoFrame, packet_at_us: int) -> None:
        if self._scanned.timed:
            raw_us = frame_us(picture)
            at_us = packet_at_us if raw_us is None else raw_us - self._scanned.first_us
        else:
            at_us = int(self._count * 1e6 / self._scanned.rate)
        self._count += 1
        if not self._order.from_us <= at_us < self._end_us:
            return
        if picture.is_corrupt:
            self.broken.add(at_us)
            return
        captured_at_us = self._order.started_at_us + at_us
        if self._transcodes or self._analysis.is_due(captured_at_us):
            upright = self._upright.turn(picture)
            if self._transcodes:
                self._kept.frame(upright, at_us)
            self._analysis.process(Frame(upright, captured_at_us, 0, 0))
        if time.monotonic() - self._told_at >= PROGRESS_EVERY_S:
            self._told_at = time.monotonic()
            self._told(at_us - self._order.from_us)

    def _is_over(self, dts: int | None, time_base: Fraction | None) -> bool:
        """Whether nothing of the part can come any more: frames leave the decoder after their decoding time."""
        if dts is None or time_base is None or not self._scanned.timed:
            return False
        return dts * time_base * 1_000_000 - self._scanned.first_us >= self._end_us + 1_000_000

    def _positioned(self) -> Iterator[av.Packet[VideoStream]]:
        """Packets from the part's begin on, or from a little before."""
        begin_us = self._order.from_us
        if begin_us == 0:
            yield from packets(self._container, self._stream)
            return
        for back_us in SEEK_BACK_US:
            wanted_us = begin_us + self._scanned.first_us - back_us
            ticks = int(Fraction(wanted_us, 1_000_000) / (self._stream.time_base or Fraction(1, 1_000_000))) + 1
            try:
                self._container.seek(ticks, stream=self._stream, backward=True)
            except av.error.FFmpegError:
                continue
            found = packets(self._container, self._stream)
            first = next(found, None)
            at_us = None if first is None else packet_us(first)
            if first is not None and at_us is not None and at_us - self._scanned.first_us <= begin_us:
                yield first
                yield from found
                return
        self._container.seek(0, stream=self._stream, backward=True, any_frame=True)
        yield from packets(self._container, self._stream)


def _footage(order: PartOrder, stream: VideoStream, folder: FootageFolder) -> Footage:
    if order.camera.matched_only:
        return NoFootage()

    def piece(started_us: int, ended_us: int, codec: str) -> Piece:
        begin_us = order.started_at_us
        return Piece(order.camera.id, begin_us + started_us, begin_us + ended_us, codec, order.video_id)

    copied = order.scanned.playable
    return footage(folder, stream, video_id=order.video_id, number=order.number, piece=piece, copied=copied)
