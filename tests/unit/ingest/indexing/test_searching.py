"""Files as people have them: what is looked at, when it was captured, and which footage comes of it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import cast

import av
import numpy as np
import pytest
from av.video.stream import VideoStream
from numpy.typing import NDArray

from ingest.indexing.orders import PartDone, PartOrder, Scanned
from ingest.indexing.planning import parts_of
from ingest.indexing.scanning import scan
from ingest.indexing.searching import search_part
from lookout.camera_settings import make_camera
from lookout.errors import BadInputError
from lookout.faces.detector import Detection
from lookout.footage.folder import FootageFolder, Piece
from lookout.messages import Crop

START_US = 1_793_516_400_000_000
FPS = 25
SIZE = (320, 240)


def picture(number: int, size: tuple[int, int] = SIZE) -> av.VideoFrame:
    """A frame that shows its number: 12 bits as black and white columns, over a bright row at its top."""
    width, height = size
    luma = np.full((height, width), 128, np.uint8)
    column = width // 12
    for bit in range(12):
        luma[height // 3 :, bit * column : (bit + 1) * column] = 235 if number >> bit & 1 else 20
    luma[: height // 6] = 255
    return av.VideoFrame.from_ndarray(np.dstack([luma] * 3), format="bgr24").reformat(format="yuv420p")


def number_of(luma: NDArray[np.uint8]) -> int:
    """The number that a frame shows."""
    height, width = luma.shape
    column = width // 12
    row = luma[height * 2 // 3]
    return sum((int(row[bit * column + column // 2]) > 128) << bit for bit in range(12))


def write(
    path: Path,
    frames: int,
    *,
    codec: str = "libx264",
    rotation: int = 0,
    size: tuple[int, int] = SIZE,
    late_s: int = 0,
    options: dict[str, str] | None = None,
) -> Path:
    """A video of numbered frames, whose clock begins `late_s` seconds late."""
    options = {"preset": "ultrafast", "g": "25"} if options is None else options
    with av.open(str(path), "w") as container:
        stream = cast(
            "VideoStream", container.add_stream(codec, rate=FPS, options=options if codec == "libx264" else {})
        )
        stream.width, stream.height = size
        stream.pix_fmt = "yuvj420p" if codec == "mjpeg" else "yuv420p"
        if rotation:
            stream.set_display_rotation(rotation)
        for number in range(frames):
            frame = picture(number, size)
            frame.pts, frame.time_base = number + late_s * FPS, Fraction(1, FPS)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


@dataclass
class Seen:
    """In the place of the detector: keeps the sizes of what it is shown, and finds nothing."""

    shapes: list[tuple[int, ...]] = field(default_factory=list)

    def detect(self, bgr: NDArray[np.uint8]) -> list[Detection]:
        self.shapes.append(bgr.shape)
        return []


class Handing:
    """In the place of Redis."""

    count = 0

    def put(self, crop: Crop, _frame_jpeg: bytes) -> None:
        raise AssertionError(crop)

    def flush(self) -> None: ...


def search(path: Path, root: Path, scanned: Scanned | None = None, *, matched_only: bool = False) -> list[PartDone]:
    """All parts of a file, one after the other."""
    scanned = scanned or scan(str(path))
    camera = make_camera(id="gate", url="files:", matched_only=matched_only)
    done = []
    for number, (begin_us, end_us) in enumerate(parts_of(scanned)):
        order = PartOrder(
            path=str(path), video_id="video", number=number, camera=camera, detector="yunet", started_at_us=START_US,
            scanned=scanned, from_us=begin_us, until_us=end_us,
        )  # fmt: skip
        done.append(search_part(order, Seen(), Handing(), FootageFolder(root), lambda _: None))  # type: ignore[arg-type]
    return done


def pieces(root: Path) -> list[tuple[Path, Piece]]:
    return list(FootageFolder(root).new())


def check_footage(root: Path, frames: int, *, tolerance: int = 1) -> None:
    """Each moment of the video is shown by the piece whose time it is, within a frame."""
    found = pieces(root)
    shown = {path: list(_shown(path)) for path, _ in found}
    for number in range(frames):
        at_us = START_US + number * 1_000_000 // FPS
        path, piece = next((path, piece) for path, piece in reversed(found) if piece.started_at_us <= at_us)
        assert at_us <= piece.ended_at_us
        seen = [what for when_us, what in shown[path] if when_us <= at_us - piece.started_at_us + 1]
        assert abs(seen[-1] - number) <= tolerance, (number, piece)


def _shown(path: Path) -> Iterator[tuple[int, int]]:
    """When a player shows which number, in microseconds from the file's start."""
    with av.open(str(path)) as container:
        for frame in container.decode(video=0):
            assert frame.time is not None
            yield int(frame.time * 1e6), number_of(frame.to_ndarray(format="gray").astype(np.uint8))


def test_a_video_with_b_frames_becomes_footage_that_shows_each_moment(tmp_path: Path) -> None:
    frames = 40 * FPS
    path = write(tmp_path / "video.mp4", frames, options={"preset": "veryfast", "g": "50", "bf": "3"})
    scanned = scan(str(path))
    assert scanned.playable
    assert (scanned.codec, scanned.width, scanned.height) == ("h264", *SIZE)
    assert scanned.duration_us == pytest.approx(40_000_000, abs=80_000)
    assert len(parts_of(scanned)) == 3
    done = search(path, tmp_path / "footage")
    assert [one.broken_frames for one in done] == [0, 0, 0]
    found = pieces(tmp_path / "footage")
    assert len(found) == 3
    assert all(piece.codec == "h264" and piece.video_id == "video" for _, piece in found)
    for (_, before), (_, after) in pairwise(found):
        assert abs(after.started_at_us - before.ended_at_us) <= 1_000_000 // FPS
    check_footage(tmp_path / "footage", frames)


def test_what_browsers_cannot_play_is_encoded_again(tmp_path: Path) -> None:
    path = write(tmp_path / "video.avi", 100, codec="mpeg4")
    assert not scan(str(path)).playable
    search(path, tmp_path / "footage")
    ((_, piece),) = pieces(tmp_path / "footage")
    assert piece.codec == "h264"
    check_footage(tmp_path / "footage", 100)


@pytest.mark.parametrize("rotation", [90, -90, 180])
def test_a_phone_clip_is_looked_at_upright_and_so_is_its_footage(tmp_path: Path, rotation: int) -> None:
    path = write(tmp_path / "phone.mp4", 50, rotation=rotation)
    scanned = scan(str(path))
    turned = rotation != 180
    assert (scanned.width, scanned.height) == (SIZE[::-1] if turned else SIZE)
    search(path, tmp_path / "footage", scanned)
    ((footage, _),) = pieces(tmp_path / "footage")
    with av.open(str(footage)) as container:
        frame = next(container.decode(video=0))
    assert frame.rotation == 0
    assert (frame.width, frame.height) == (scanned.width, scanned.height)


def test_a_turned_frame_is_upright(tmp_path: Path) -> None:
    from ingest.indexing.upright import Upright

    path = write(tmp_path / "phone.mp4", 2, rotation=-90)
    with av.open(str(path)) as container:
        frame = next(container.decode(video=0))
    luma = Upright().turn(frame).to_ndarray(format="gray")
    assert luma.shape == (SIZE[0], SIZE[1])
    # Clockwise by a quarter: what was the bright row at the top is the column on the right.
    assert luma[:, -10].mean() > 240
    assert luma[:, 10].mean() < 240


def test_a_file_without_times_is_counted_at_its_frame_rate(tmp_path: Path) -> None:
    path = write(tmp_path / "raw.h264", 60)
    scanned = scan(str(path))
    assert not scanned.timed
    assert scanned.rate == FPS
    assert scanned.duration_us == pytest.approx(60e6 / FPS, abs=50_000)
    search(path, tmp_path / "footage", scanned)
    check_footage(tmp_path / "footage", 60)


@pytest.mark.parametrize("seconds", [0, 20_000])
def test_a_clock_that_jumps_is_told_and_time_goes_on(tmp_path: Path, seconds: int) -> None:
    first = write(tmp_path / "first.ts", 50).read_bytes()
    second = write(tmp_path / "second.ts", 50, late_s=seconds).read_bytes()
    path = tmp_path / "both.ts"
    path.write_bytes(first + second)
    scanned = scan(str(path))
    assert scanned.duration_us == pytest.approx(4_000_000, abs=300_000)
    assert scanned.jumps_at_s == [pytest.approx(2.0, abs=0.2)]
    assert parts_of(scanned) == [(0, None)]
    (done,) = search(path, tmp_path / "footage", scanned)
    assert done.broken_frames <= 2
    assert max(piece.ended_at_us for _, piece in pieces(tmp_path / "footage")) < START_US + 5_000_000


def test_what_is_there_of_a_cut_off_file_is_searched(tmp_path: Path) -> None:
    whole = write(tmp_path / "whole.mkv", 200).read_bytes()
    path = tmp_path / "cut.mkv"
    path.write_bytes(whole[: len(whole) // 2])
    scanned = scan(str(path))
    assert 1_000_000 < scanned.duration_us < 7_000_000
    search(path, tmp_path / "footage", scanned)
    assert pieces(tmp_path / "footage")


def test_broken_parts_are_told_and_the_rest_is_searched(tmp_path: Path) -> None:
    data = bytearray(write(tmp_path / "whole.ts", 250).read_bytes())
    middle = len(data) // 2
    for begin in range(middle, middle + 40 * 188, 188):
        data[begin + 20 : begin + 188] = bytes(168)
    path = tmp_path / "broken.ts"
    path.write_bytes(data)
    (done,) = search(path, tmp_path / "footage")
    assert done.broken_frames > 0
    assert 2 < done.broken_at_s[0] < 8


def test_a_size_that_changes_midway_is_searched(tmp_path: Path) -> None:
    first = write(tmp_path / "a.ts", 50).read_bytes()
    second = write(tmp_path / "b.ts", 50, size=(640, 480)).read_bytes()
    path = tmp_path / "both.ts"
    path.write_bytes(first + second)
    scanned = scan(str(path))
    assert scanned.duration_us == pytest.approx(4_000_000, abs=300_000)
    done = search(path, tmp_path / "footage", scanned)
    assert sum(one.broken_frames for one in done) <= 2


def test_no_footage_is_kept_of_a_camera_that_stores_nothing_of_others(tmp_path: Path) -> None:
    path = write(tmp_path / "video.mp4", 50)
    search(path, tmp_path / "footage", matched_only=True)
    assert not pieces(tmp_path / "footage")


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("empty.mp4", b"", "no video that FFmpeg can read"),
        ("photo.mp4", bytes(range(256)) * 40, "no video that FFmpeg can read"),
        ("list.m3u8", b"#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\n/etc/passwd\n", "no video that FFmpeg can read"),
        ("list.txt", b"ffconcat version 1.0\nfile /etc/passwd\n", "no video"),
    ],
)
def test_what_is_no_video_is_refused(tmp_path: Path, name: str, content: bytes, says: str) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(BadInputError, match=says):
        scan(str(path))


def test_sound_alone_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "sound.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("aac", rate=8000)
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
        frame.sample_rate, frame.pts = 8000, 0
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    with pytest.raises(BadInputError, match="no video track"):
        scan(str(path))


def test_ten_hours_are_parts_that_begin_at_key_frames() -> None:
    scanned = Scanned(
        codec="h264", width=1920, height=1080, first_us=0, duration_us=36_000_000_000, timed=True, rate=25.0,
        keys_us=list(range(0, 36_000_000_000, 2_000_000)), jumps_at_s=[], created_us=None, playable=True,
    )  # fmt: skip
    parts = parts_of(scanned)
    assert len(parts) == 600
    assert parts[0] == (0, 60_000_000)
    assert parts[-1][1] is None
    assert all(before[1] == after[0] for before, after in pairwise(parts))
