"""What parent and child say to each other: a line of JSON each."""

from __future__ import annotations

import msgspec

from lookout.camera_settings import Camera


class ScanOrder(msgspec.Struct, frozen=True, tag="scan"):
    """Read a file's packets, and tell what it is."""

    path: str


class Scanned(msgspec.Struct, frozen=True, kw_only=True, tag="scanned"):
    """What a file is. Times are microseconds.

    Attributes:
        codec: of its video, as FFmpeg calls it.
        width, height: as it is shown, upright.
        first_us: the file's own time of its first frame.
        duration_us: from the first frame to the end of the last.
        timed: whether its packets carry times; if not, frames are counted at `rate`.
        rate: frames a second that it says it has; 0: it does not say.
        keys_us: times since the first frame at which decoding can begin, at least a second apart.
        jumps_at_s: where its clock jumps; from there on, times go on from what was before.
        created_us: when it says it was recorded; None: it does not.
        playable: whether browsers play its video as it is, in an MP4, and upright.
    """

    codec: str
    width: int
    height: int
    first_us: int
    duration_us: int
    timed: bool
    rate: float
    keys_us: list[int]
    jumps_at_s: list[float]
    created_us: int | None
    playable: bool

    @property
    def can_seek(self) -> bool:
        """Whether its parts can be found: times lead to places in the file."""
        return self.timed and not self.jumps_at_s


class PartOrder(msgspec.Struct, frozen=True, kw_only=True, tag="part"):
    """Search a part of a file, and keep it as footage.

    Attributes:
        video_id, number: whose part, and the how manieth; ids of what is found are derived from both.
        camera: as which it is indexed; `analysed_fps` is what was asked for.
        detector: which finds its faces.
        started_at_us: wall clock of the file's first frame.
        from_us, until_us: the part, since the first frame; None: to the end.
    """

    path: str
    video_id: str
    number: int
    camera: Camera
    detector: str
    started_at_us: int
    scanned: Scanned
    from_us: int
    until_us: int | None


class Progress(msgspec.Struct, frozen=True, tag="progress"):
    """How far a part is: microseconds of it that are done."""

    done_us: int


class PartDone(msgspec.Struct, frozen=True, kw_only=True, tag="done"):
    """A part is searched, and its crops are in Redis.

    Attributes:
        crops: how many were found.
        broken_frames: how many could not be decoded.
        broken_at_s: the first places of them, in seconds since the file's first frame.
    """

    crops: int
    broken_frames: int = 0
    broken_at_s: list[float] = []


class Refused(msgspec.Struct, frozen=True, tag="refused"):
    """It did not work: `bad_input`, `unavailable` or `fault`, and why."""

    kind: str
    message: str


Order = ScanOrder | PartOrder
Report = Scanned | Progress | PartDone | Refused

encode = msgspec.json.Encoder().encode
decode_order = msgspec.json.Decoder(Order).decode
decode_report = msgspec.json.Decoder(Report).decode
