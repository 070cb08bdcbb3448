"""What becomes of a camera's packets. No server and no real time: clips are fed as fast as they are read."""

from __future__ import annotations

import contextlib
import errno
import itertools
import os
import subprocess
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any, cast

import av
import numpy as np
import pytest
from av.audio.stream import AudioStream
from av.packet import Packet
from av.video.codeccontext import VideoCodecContext
from av.video.stream import VideoStream

from ingest import recording, segment
from ingest.activity import Activity
from ingest.recording import Recorder
from lookout.camera_settings import Camera
from lookout.errors import UnavailableError
from lookout.footage.folder import FootageFolder, Piece
from tests.servers import wait_until

FPS, KEY_EVERY = 25, 10
FRAME_US = 1_000_000 // FPS
STARTED_US = 1_800_000_000_000_000
OPTIONS = {
    "libx264": {"bf": "0", "preset": "ultrafast", "g": str(KEY_EVERY)},
    "libx265": {
        "preset": "ultrafast",
        "x265-params": f"keyint={KEY_EVERY}:min-keyint={KEY_EVERY}:bframes=0:log-level=none",
    },
    "mjpeg": {},
}


def pictures(count: int, size: tuple[int, int]) -> Iterator[av.VideoFrame]:
    for number in range(count):
        noise = np.random.default_rng(number).integers(0, 255, (size[1], size[0], 3), np.uint8)
        frame = av.VideoFrame.from_ndarray(noise, format="bgr24").reformat(format="yuv420p")
        frame.pts, frame.time_base = number, Fraction(1, FPS)
        yield frame


def write_clip(
    path: Path,
    *,
    codec: str = "libx264",
    count: int = 60,
    size: tuple[int, int] = (64, 48),
    sound: str = "",
    options: dict[str, str] | None = None,
) -> Path:
    """A clip of noise, of which each frame is another one."""
    with av.open(path, "w") as output:
        stream = output.add_stream(codec, rate=FPS)
        assert isinstance(stream, VideoStream)
        stream.width, stream.height = size
        stream.pix_fmt = "yuvj420p" if codec == "mjpeg" else "yuv420p"
        stream.options = {**(OPTIONS[codec] if options is None else options)}
        audio = output.add_stream(sound, rate=8000) if sound else None
        assert audio is None or isinstance(audio, AudioStream)
        for frame in pictures(count, size):
            output.mux(stream.encode(frame.reformat(format=stream.pix_fmt)))
            if audio is not None:
                tone = av.AudioFrame(format="s16", layout="mono", samples=8000 // FPS)
                tone.planes[0].update(bytes(2 * 8000 // FPS))
                tone.sample_rate, tone.pts, tone.time_base = 8000, (frame.pts or 0) * 8000 // FPS, Fraction(1, 8000)
                output.mux(audio.encode(tone))
        output.mux(stream.encode(None))
        if audio is not None:
            output.mux(audio.encode(None))
    return path


class Bench:
    """A recorder with what it needs, and what it made."""

    def __init__(self, root: Path, **fields: Any) -> None:
        self.folder = FootageFolder(root)
        self.activity = Activity()
        camera = Camera(id="yard", url="rtsp://host/path", **{"record": True, **fields})
        self.recorder = Recorder(camera, self.folder, self.activity, segment_s=1, min_free_bytes=0, retry_s=0.0)

    @property
    def state(self) -> str:
        return self.activity.recording

    def feed(
        self,
        clip: Path,
        wall: Callable[[int], int] = lambda pts_us: STARTED_US + pts_us,
        shift: Callable[[int], int] = lambda _: 0,
        after: Callable[[int], None] = lambda _: None,
    ) -> int:
        """One connection; `shift` moves a packet's time, in frames. Returns how many frames were decoded."""
        decoded = 0
        with av.open(clip) as container:
            video = container.streams.video[0]
            sound = self.recorder.begin(container)
            number = 0
            for packet in container.demux(video, *([sound] if sound is not None else [])):
                if packet.stream.type == "audio":
                    self.recorder.take_sound(cast("Packet[AudioStream]", packet))
                    continue
                decoded += len(video.codec_context.decode(packet))
                if packet.pts is not None and packet.dts is not None and video.time_base is not None:
                    offset = round(shift(number) / (FPS * video.time_base))
                    packet.pts, packet.dts = packet.pts + offset, packet.dts + offset
                self.recorder.take(cast("Packet[VideoStream]", packet), wall)
                after(number)
                number += 1
            self.recorder.end()
        return decoded

    def pieces(self) -> list[tuple[Path, Piece]]:
        return list(self.folder.new())

    def frames(self) -> list[list[int]]:
        """The times of the frames of each finished file, in milliseconds; each of them decodes."""
        found = []
        for path, _ in self.pieces():
            with av.open(path) as container:
                found.append([round(1000 * (frame.time or 0.0)) for frame in container.decode(video=0)])
        return found


@pytest.fixture(autouse=True)
def no_real_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Clips are fed faster than segments may begin."""
    monkeypatch.setattr(recording, "MOST", 10**9)


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path / "footage")


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_clip(tmp_path_factory.mktemp("clips") / "noise.mp4")


def assert_no_gap(pieces: list[tuple[Path, Piece]], count: int) -> None:
    for (_, before), (_, after) in itertools.pairwise(pieces):
        assert abs(after.started_at_us - before.ended_at_us) <= FRAME_US
    assert sum(piece.ended_at_us - piece.started_at_us for _, piece in pieces) == count * FRAME_US


def test_segments_begin_at_key_frames_at_0_and_leave_no_gap(bench: Bench, clip: Path) -> None:
    assert bench.feed(clip) == 60

    assert bench.frames() == [list(range(0, 1200, 40)), list(range(0, 1200, 40))], "the first key frame after a second"
    assert_no_gap(bench.pieces(), 60)
    assert bench.pieces()[0][1].started_at_us == STARTED_US
    assert {path.stat().st_mode & 0o777 for path, _ in bench.pieces()} == {0o600}
    assert (bench.state, bench.activity.recording_message) == ("off", "")


def test_it_says_that_it_records(bench: Bench, clip: Path) -> None:
    states = []
    bench.feed(clip, after=lambda _: states.append(bench.state))
    assert set(states) == {"recording"}


def test_a_camera_that_is_not_to_be_recorded_is_not(tmp_path: Path, clip: Path) -> None:
    bench = Bench(tmp_path, record=False)
    bench.feed(clip)
    assert (bench.pieces(), bench.state) == ([], "off")
    assert not (tmp_path / "open").exists()


def test_h265_gets_the_tag_that_browsers_play(bench: Bench, tmp_path: Path) -> None:
    bench.feed(write_clip(tmp_path / "hevc.mp4", codec="libx265"))

    assert [len(times) for times in bench.frames()] == [30, 30]
    for path, piece in bench.pieces():
        assert piece.codec == "hevc"
        with av.open(path) as container:
            assert container.streams.video[0].codec_context.codec_tag == "hvc1"


@pytest.mark.parametrize(
    ("codec", "options"),
    [
        ("libx264", {"bf": "2", "g": "20", "b_strategy": "0", "sc_threshold": "0"}),
        ("libx265", {"x265-params": "keyint=20:min-keyint=20:bframes=2:b-adapt=0:open-gop=0:log-level=none"}),
    ],
)
def test_frames_out_of_order(bench: Bench, tmp_path: Path, codec: str, options: dict[str, str]) -> None:
    bench.feed(write_clip(tmp_path / "b.mp4", codec=codec, options=options))

    assert bench.frames() == [list(range(0, 1600, 40)), list(range(0, 800, 40))]
    assert_no_gap(bench.pieces(), 60)


def test_a_codec_that_mp4_players_do_not_know_is_told_and_no_error(bench: Bench, tmp_path: Path) -> None:
    assert bench.feed(write_clip(tmp_path / "jpeg.mov", codec="mjpeg")) == 60

    assert bench.state == "unsupported"
    assert "mjpeg" in bench.activity.recording_message
    assert bench.pieces() == []


def streams(path: Path) -> list[str]:
    with av.open(path) as container:
        return [stream.type for stream in container.streams]


def test_sound_is_left_out_unless_asked_for(tmp_path: Path) -> None:
    loud = write_clip(tmp_path / "aac.mp4", sound="aac")

    silent = Bench(tmp_path / "silent")
    silent.feed(loud)
    assert [streams(path) for path, _ in silent.pieces()] == [["video"]] * 2

    heard = Bench(tmp_path / "heard", record_audio=True)
    heard.feed(loud)
    assert [streams(path) for path, _ in heard.pieces()] == [["video", "audio"]] * 2
    assert [len(times) for times in heard.frames()] == [30, 30]
    for path, _ in heard.pieces():
        with av.open(path) as container:
            assert sum(frame.samples for frame in container.decode(audio=0)) / 8000 == pytest.approx(1.2, abs=0.3)


@pytest.mark.parametrize(("sound", "says"), [("pcm_mulaw", "carries no pcm_mulaw"), ("", "the camera sends none")])
def test_sound_that_cannot_be_kept_is_told(tmp_path: Path, sound: str, says: str) -> None:
    bench = Bench(tmp_path / "footage", record_audio=True)
    messages = []

    bench.feed(
        write_clip(tmp_path / "clip.mov", sound=sound),
        after=lambda _: messages.append(bench.activity.recording_message),
    )

    assert says in messages[0]
    assert [streams(path) for path, _ in bench.pieces()] == [["video"]] * 2


def write_two_sizes(path: Path) -> None:
    """An H.264 stream whose picture changes its size at frame 15, each key frame with its parameter sets."""
    with path.open("wb") as output:
        for size in ((64, 48), (96, 64)):
            encoder = av.CodecContext.create("libx264", "w")
            assert isinstance(encoder, VideoCodecContext)
            encoder.width, encoder.height, encoder.pix_fmt = *size, "yuv420p"
            encoder.time_base, encoder.framerate = Fraction(1, FPS), Fraction(FPS)
            encoder.options = {"g": str(KEY_EVERY), "bf": "0", "x264-params": "repeat-headers=1:annexb=1"}
            for frame in [*pictures(15, size), None]:
                for packet in encoder.encode(frame):
                    output.write(bytes(packet))


def test_a_picture_of_another_size_begins_another_segment(bench: Bench, tmp_path: Path) -> None:
    write_two_sizes(tmp_path / "stream.h264")
    # As RTSP brings it: start codes and times, and what is said of the codec is of the first size.
    with av.open(tmp_path / "stream.h264") as source, av.open(tmp_path / "clip.ts", "w", format="mpegts") as output:
        stream = output.add_stream_from_template(source.streams.video[0], opaque=True)
        number = 0
        for packet in source.demux(video=0):
            if packet.size:
                packet.pts = packet.dts = number * 90_000 // FPS
                packet.time_base, packet.stream = Fraction(1, 90_000), stream
                output.mux(packet)
                number += 1

    bench.feed(tmp_path / "clip.ts")

    sizes = []
    for path, _ in bench.pieces():
        with av.open(path) as container:
            stated = container.streams.video[0].codec_context
            sizes.append((stated.width, stated.height, {(f.width, f.height) for f in container.decode(video=0)}))
    assert sizes == [(64, 48, {(64, 48)}), (96, 64, {(96, 64)})]


def test_a_camera_cannot_make_files_without_end(bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each frame a key frame of another time line: a file a frame, if there were no bound."""
    monkeypatch.setattr(recording, "MOST", 1)
    every = write_clip(tmp_path / "keys.mp4", options={**OPTIONS["libx264"], "g": "1"})

    bench.feed(every, shift=lambda number: 100 * number)

    assert len(bench.pieces()) == 1


# ---- the clock ----


def test_the_start_is_what_the_clock_says_at_the_end(bench: Bench, clip: Path) -> None:
    """The first arrivals were slow by 300 ms; then the clock learned."""
    known = iter(range(300_000, -1, -20_000))

    bench.feed(clip, wall=lambda pts_us: STARTED_US + pts_us + next(known, 0))

    assert bench.pieces()[0][1].started_at_us == STARTED_US
    assert_no_gap(bench.pieces(), 60)


def test_the_name_of_the_open_file_learns_too(bench: Bench, clip: Path) -> None:
    names: set[str] = set()

    def look(number: int) -> None:
        if number in {1, 25}:
            names.update(path.name.split("-")[0] for path in bench.folder.open_folder("yard").iterdir())

    known = iter([400_000] * 5)
    bench.feed(clip, wall=lambda pts_us: STARTED_US + pts_us + next(known, 0), after=look)

    assert names == {str(STARTED_US + 400_000), str(STARTED_US)}


@pytest.mark.parametrize("jump_us", [-3_000_000, 3_600_000_000])
def test_a_clock_that_is_set_begins_another_segment(tmp_path: Path, jump_us: int) -> None:
    bench = Bench(tmp_path / "footage")
    long = write_clip(tmp_path / "long.mp4", count=150, options={**OPTIONS["libx264"], "g": "50"})
    passed = itertools.count()
    set_at = 2 * FPS - 15  # of the first segment, which is open until frame 50

    bench.recorder._segment_us = 10_000_000
    bench.feed(long, wall=lambda pts_us: STARTED_US + pts_us + (jump_us if next(passed) > set_at else 0))

    found = sorted((piece.started_at_us - STARTED_US, piece.ended_at_us - STARTED_US) for _, piece in bench.pieces())
    assert found == sorted([(0, 2_000_000), (2_000_000 + jump_us, 6_000_000 + jump_us)])


@pytest.mark.parametrize("jump", [-1000, 90_000])
def test_a_time_line_that_jumps_begins_another_segment(bench: Bench, clip: Path, jump: int) -> None:
    bench.feed(clip, shift=lambda number: 2000 + (jump if number >= 25 else 0))

    starts = [piece.started_at_us - STARTED_US for _, piece in bench.pieces()]
    before, after = 2000 * FRAME_US, (2000 + 30 + jump) * FRAME_US
    assert starts == sorted([before, after])
    assert sorted(len(times) for times in bench.frames()) == [25, 30], (
        "what comes before the next key frame is left out"
    )


def test_times_that_are_repeated_do_no_harm(bench: Bench, clip: Path) -> None:
    bench.feed(clip, shift=lambda number: -3 if number % 7 == 5 else 0)

    assert sum(len(times) for times in bench.frames()) == 60
    assert bench.state == "off"


# ---- the disk ----


def test_a_disk_that_is_nearly_full_is_not_filled(tmp_path: Path, clip: Path) -> None:
    bench = Bench(tmp_path / "footage")
    bench.recorder._min_free_bytes = 10**18

    states = set()
    assert bench.feed(clip, after=lambda _: states.add(bench.state)) == 60

    assert states == {"disk_full"}
    assert "The disk of the footage is full (only" in bench.activity.recording_message
    assert bench.pieces() == []


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 400 kB."""
    place = tmp_path / "disk"
    place.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=400k", "lookout-test", str(place)], capture_output=True, check=False
    )
    if mounted.returncode != 0:
        pytest.skip(f"no file system can be mounted here: {mounted.stderr.decode().strip()}")
    yield place
    subprocess.run(["umount", "--lazy", str(place)], check=True)


def test_a_disk_that_runs_full(small_disk: Path, tmp_path: Path) -> None:
    """A picture of noise takes some 30 kB: ten and more fit, sixty do not."""
    noise = write_clip(tmp_path / "large.mp4", size=(192, 144), options={**OPTIONS["libx264"], "crf": "10"})
    assert noise.stat().st_size > 800_000
    bench = Bench(small_disk)
    bench.recorder._retry_s = 60.0
    assert bench.feed(noise) == 60, "frames go on"

    assert bench.state == "disk_full"
    assert "No space left on device" in bench.activity.recording_message
    assert list(bench.folder.open_folder("yard").iterdir()) == []
    times = bench.frames()
    assert 0 < sum(len(one) for one in times) < 60, "what was whole is kept, and decodes"

    for path, _ in bench.pieces():
        path.unlink()
    bench.recorder._opens_at = 0.0  # the wait is over
    states = set()
    bench.feed(write_clip(tmp_path / "small.mp4", count=20), after=lambda _: states.add(bench.state))
    assert states == {"recording"}


@pytest.mark.parametrize("number", [errno.EIO, errno.EDQUOT, errno.EROFS])
def test_a_disk_that_fails(bench: Bench, clip: Path, monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    write = segment.OpenFile.write

    def fail(file: segment.OpenFile, data: bytes) -> int:
        if file.written > 40_000:
            raise OSError(number, os.strerror(number))
        return write(file, data)

    monkeypatch.setattr(segment.OpenFile, "write", fail)
    bench.recorder._retry_s = 60.0

    assert bench.feed(clip) == 60

    assert bench.state == ("disk_full" if number == errno.EDQUOT else "failed")
    assert os.strerror(number) in bench.activity.recording_message
    assert "tried again every 60 s" in bench.activity.recording_message
    assert sum(len(times) for times in bench.frames()) > 0


def test_a_finished_file_that_cannot_be_handed_on_is_not_lost(
    bench: Bench, clip: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(path: Path, piece: Piece) -> None:
        raise UnavailableError("the footage folder cannot be used.")

    with monkeypatch.context() as patched:
        patched.setattr(bench.folder, "finish", refuse)
        bench.feed(clip)
        assert bench.state == "failed"
        assert bench.pieces() == []

    bench.recorder.repair()
    assert sum(len(times) for times in bench.frames()) >= 30


def test_a_fault_of_ours_takes_only_the_recording_down(
    bench: Bench, clip: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(segment.Segment, "write", lambda *_: 1 / 0)
    assert bench.feed(clip) == 60
    assert bench.state == "failed"


def test_nothing_is_left_open(tmp_path: Path, clip: Path) -> None:
    before = set(Path("/proc/self/fd").iterdir())
    for number in range(3):
        bench = Bench(tmp_path / str(number))
        with contextlib.suppress(ZeroDivisionError):
            bench.feed(clip)
    wait_until(lambda: len(set(Path("/proc/self/fd").iterdir()) - before) == 0, 5, "files to be closed")
