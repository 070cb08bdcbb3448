"""Clips cut out of footage: what they begin with, what they hold, what is covered in them."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from lookout.exports.clips import Cut, NothingThereError, cut
from lookout.exports.footage import Source
from lookout.exports.painting import Painter
from lookout.masks import Masks

BEGIN_US = 1_790_000_000_000_000
FPS, WIDTH, HEIGHT = 25, 320, 240
KEY_EVERY = 50
#: The left upper quarter.
QUARTER = ((0.0, 0.0), (0.5, 0.0), (0.5, 0.5), (0.0, 0.5))


def film(
    path: Path,
    seconds: float,
    *,
    first: int = 0,
    codec: str = "libx264",
    size: tuple[int, int] = (WIDTH, HEIGHT),
    bf: int = 0,
    options: dict[str, str] | None = None,
) -> Source:
    """Footage in which each frame's brightness tells its number; a key frame every two seconds."""
    given = {"g": str(KEY_EVERY), "bf": str(bf), "sc_threshold": "0", "preset": "ultrafast", **(options or {})}
    if codec == "libx265":
        given = {"x265-params": f"keyint={KEY_EVERY}:min-keyint={KEY_EVERY}:scenecut=0:log-level=none"}
    with av.open(str(path), "w", format="mp4") as output:
        stream = output.add_stream(codec, rate=FPS)
        assert isinstance(stream, VideoStream)
        stream.width, stream.height, stream.pix_fmt = *size, "yuvj420p" if codec == "mjpeg" else "yuv420p"
        stream.options = dict(given) if codec.startswith("libx26") else {}
        for number in range(round(seconds * FPS)):
            pixels = np.full((size[1], size[0], 3), brightness(first + number), np.uint8)
            frame = VideoFrame.from_ndarray(pixels, format="bgr24")
            frame.pts, frame.time_base = number, Fraction(1, FPS)
            output.mux(stream.encode(frame))
        output.mux(stream.encode(None))
    return Source(path, BEGIN_US + first * 1_000_000 // FPS)


def brightness(number: int) -> int:
    return 40 + number * 7 % 180


def decoded(path: Path) -> tuple[list[float], list[np.ndarray]]:
    """Times from the beginning, and pixels of all frames."""
    with av.open(str(path)) as container:
        found = [(frame.time or 0.0, frame.to_ndarray(format="bgr24")) for frame in container.decode(video=0)]
    return [time for time, _ in found], [pixels for _, pixels in found]


def make(sources: Sequence[Source], begin_s: float, end_s: float, target: Path, painter: Painter | None = None) -> Cut:
    begin_us, end_us = (BEGIN_US + round(at_s * 1e6) for at_s in (begin_s, end_s))
    return cut(sources, begin_us, end_us, target, painter, lambda _: None)


def numbers(pictures: Sequence[np.ndarray], first: int) -> None:
    """Each frame is the one that follows on the one before."""
    for index, pixels in enumerate(pictures):
        assert abs(float(pixels[-20:, -20:].mean()) - brightness(first + index)) < 4, index


@pytest.mark.parametrize(("codec", "bf"), [("libx264", 0), ("libx264", 2), ("libx265", 0)])
def test_without_anything_to_cover_it_is_copied_from_the_key_frame_before(tmp_path: Path, codec: str, bf: int) -> None:
    source = film(tmp_path / "a.mp4", 10, codec=codec, bf=bf)

    made = make([source], 5.0, 7.0, tmp_path / "clip.mp4")

    times, pictures = decoded(tmp_path / "clip.mp4")
    assert made.copied
    assert made.started_at_us == BEGIN_US + 4_000_000
    assert times[0] == 0
    assert times[-1] == pytest.approx(3, abs=0.25)  # frames whose order is not that of the file: one more or two
    assert made.frames == len(times)
    numbers(pictures[:75], 100)


def test_several_segments_become_one_clip(tmp_path: Path) -> None:
    sources = [film(tmp_path / f"{number}.mp4", 4, first=100 * number) for number in range(3)]

    made = make(sources, 3.0, 9.0, tmp_path / "clip.mp4")

    times, pictures = decoded(tmp_path / "clip.mp4")
    assert made.copied
    assert made.started_at_us == BEGIN_US + 2_000_000
    assert np.allclose(np.diff(times), 0.04, atol=0.001)
    assert len(times) == 7 * FPS
    numbers(pictures, 50)


def test_segments_that_differ_are_encoded_again_into_one_clip(tmp_path: Path) -> None:
    sources = [film(tmp_path / "a.mp4", 4), film(tmp_path / "b.mp4", 4, first=100, size=(640, 480))]

    made = make(sources, 3.0, 6.0, tmp_path / "clip.mp4")

    times, pictures = decoded(tmp_path / "clip.mp4")
    assert not made.copied
    assert (made.width, made.height) == (WIDTH, HEIGHT)
    assert made.started_at_us == BEGIN_US + 3_000_000
    assert len(times) == 3 * FPS
    numbers(pictures, 75)


def test_a_codec_that_players_do_not_take_is_encoded_again(tmp_path: Path) -> None:
    source = film(tmp_path / "a.mp4", 4, codec="mjpeg")

    made = make([source], 1.0, 2.0, tmp_path / "clip.mp4")

    with av.open(str(tmp_path / "clip.mp4")) as clip:
        assert clip.streams.video[0].codec_context.name == "h264"
    assert not made.copied
    assert made.started_at_us == BEGIN_US + 1_000_000


def test_its_index_stands_before_its_pictures(tmp_path: Path) -> None:
    source = film(tmp_path / "a.mp4", 4)

    make([source], 1.0, 3.0, tmp_path / "copied.mp4")
    make([source], 1.0, 3.0, tmp_path / "painted.mp4", Painter(Masks((QUARTER,))))

    for name in ("copied.mp4", "painted.mp4"):
        data = (tmp_path / name).read_bytes()
        assert data.index(b"moov") < data.index(b"mdat"), name


def test_masks_are_black_in_every_frame_and_the_rest_is_as_it_was(tmp_path: Path) -> None:
    source = film(tmp_path / "a.mp4", 6)

    made = make([source], 2.5, 4.5, tmp_path / "clip.mp4", Painter(Masks((QUARTER,))))

    times, pictures = decoded(tmp_path / "clip.mp4")
    assert not made.copied
    assert made.started_at_us == BEGIN_US + 2_500_000 + 20_000  # the frame that comes next
    assert len(times) == 50
    for pixels in pictures:
        assert pixels[: HEIGHT // 2, : WIDTH // 2].max() <= 8
    numbers(pictures, 63)


def test_a_picture_with_odd_sides_is_masked_too(tmp_path: Path) -> None:
    source = film(tmp_path / "a.mp4", 2, codec="mjpeg", size=(321, 241))

    made = make([source], 0.0, 2.0, tmp_path / "clip.mp4", Painter(Masks((QUARTER,))))

    _, pictures = decoded(tmp_path / "clip.mp4")
    assert (made.width, made.height) == (320, 240)
    assert all(pixels[:118, :158].max() <= 8 for pixels in pictures)


def test_a_file_that_is_cut_off_gives_what_can_be_read(tmp_path: Path) -> None:
    options = {"movflags": "frag_keyframe+empty_moov+default_base_moof"}
    source = film(tmp_path / "whole.mp4", 8)
    with (
        av.open(str(source.path)) as whole,
        av.open(str(tmp_path / "a.mp4"), "w", format="mp4", options=options) as out,
    ):
        stream = out.add_stream_from_template(whole.streams.video[0])
        for packet in whole.demux(video=0):
            if packet.dts is not None:
                packet.stream = stream
                out.mux(packet)
    data = (tmp_path / "a.mp4").read_bytes()
    (tmp_path / "a.mp4").write_bytes(data[: len(data) * 3 // 4])

    made = make([Source(tmp_path / "a.mp4", BEGIN_US)], 1.0, 8.0, tmp_path / "clip.mp4")

    times, _ = decoded(tmp_path / "clip.mp4")
    assert 2 <= times[-1] <= 7
    assert made.started_at_us == BEGIN_US


@pytest.mark.parametrize("content", [b"", b"no video", bytes(10_000)])
def test_what_is_no_video_gives_nothing_and_leaves_nothing(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.mp4").write_bytes(content)

    with pytest.raises(NothingThereError):
        make([Source(tmp_path / "a.mp4", BEGIN_US)], 0.0, 1.0, tmp_path / "clip.mp4")

    assert not (tmp_path / "clip.mp4").exists()
