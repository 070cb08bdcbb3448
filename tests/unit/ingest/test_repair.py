from __future__ import annotations

import io
import itertools
import struct
import threading
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from av.video.stream import VideoStream
from hypothesis import given
from hypothesis import strategies as st

from ingest.activity import Activity
from ingest.recording import Recorder
from ingest.repair import boxes, open_name, parse_open_name, repair_all, repair_camera, whole_length
from ingest.source import read_frames
from lookout.camera_settings import Camera
from lookout.footage.folder import FootageFolder

FPS, FRAMES, KEY_EVERY = 25, 60, 10
STARTED_US = 1_800_000_000_000_000


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("clip") / "noise.mp4"
    with av.open(path, "w") as output:
        stream = output.add_stream("libx264", rate=FPS)
        assert isinstance(stream, VideoStream)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        stream.options = {"g": str(KEY_EVERY), "bf": "0", "preset": "ultrafast"}
        for number in range(FRAMES):
            noise = np.random.default_rng(number).integers(0, 255, (48, 64, 3), np.uint8)
            frame = av.VideoFrame.from_ndarray(noise, format="bgr24")
            frame.pts, frame.time_base = number, Fraction(1, FPS)
            output.mux(stream.encode(frame))
        output.mux(stream.encode(None))
    return path


@pytest.fixture(scope="module")
def files(clip: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[bytes, bytes]:
    """A file as a killed process leaves it, and one that was closed."""
    root = tmp_path_factory.mktemp("footage")
    folder = FootageFolder(root)
    recorder = Recorder(Camera(id="yard", url=clip.as_uri(), record=True), folder, Activity(), min_free_bytes=0)
    with av.open(clip) as container:
        recorder.begin(container)
        for packet in container.demux(container.streams.video[0]):
            recorder.take(packet, lambda pts_us: STARTED_US + pts_us)
        (path,) = folder.open_folder("yard").iterdir()
        left = path.read_bytes()
        recorder.end()
    ((path, piece),) = folder.new()
    assert (piece.started_at_us, piece.ended_at_us) == (STARTED_US, STARTED_US + FRAMES * 1_000_000 // FPS)
    return left, path.read_bytes()


def fragment_ends(data: bytes) -> list[int]:
    found = list(boxes(io.BytesIO(data), len(data)))
    return [box.end for before, box in itertools.pairwise(found) if (before.kind, box.kind) == (b"moof", b"mdat")]


def frames(path: Path) -> int:
    with av.open(path) as container:
        return sum(1 for _ in container.decode(video=0))


def left_open(tmp_path: Path, data: bytes, name: str = open_name(STARTED_US, "h264", "0a")) -> FootageFolder:
    folder = FootageFolder(tmp_path / "footage")
    (folder.open_folder("yard") / name).write_bytes(data)
    return folder


def test_fragments_are_on_the_disk_while_a_file_is_written(files: tuple[bytes, bytes]) -> None:
    assert len(fragment_ends(files[0])) == FRAMES // KEY_EVERY - 1


@given(st.data())
def test_a_file_that_was_cut_anywhere_keeps_its_whole_fragments(
    files: tuple[bytes, bytes], data: st.DataObject
) -> None:
    left = files[0]
    cut = data.draw(st.integers(0, len(left)))

    kept = whole_length(io.BytesIO(left[:cut]))

    assert kept == max([end for end in fragment_ends(left) if end <= cut], default=0)


@given(st.data())
def test_a_file_that_died_while_it_was_closed_keeps_all(files: tuple[bytes, bytes], data: st.DataObject) -> None:
    closed = files[1]
    *_, mdat, moov = boxes(io.BytesIO(closed), len(closed))
    assert (mdat.kind, moov.kind, moov.end) == (b"mdat", b"moov", len(closed))
    cut = data.draw(st.integers(mdat.end, len(closed) - 1))

    file = io.BytesIO(closed[:cut])

    assert whole_length(file) == mdat.end == fragment_ends(file.getvalue())[-1]
    assert whole_length(io.BytesIO(closed)) == len(closed)


@given(st.data())
def test_nothing_that_a_disk_may_hold_is_trusted(files: tuple[bytes, bytes], data: st.DataObject) -> None:
    broken = bytearray(data.draw(st.sampled_from(files)))
    for _ in range(data.draw(st.integers(1, 5))):
        at = data.draw(st.integers(0, len(broken) - 1))
        patch = data.draw(st.binary(min_size=1, max_size=16) | st.just(b"\xff" * 8) | st.just(b"\0" * 4096))
        broken[at : at + len(patch)] = patch

    assert 0 <= whole_length(io.BytesIO(bytes(broken))) <= len(broken)


@given(st.binary(max_size=400))
def test_any_bytes(data: bytes) -> None:
    assert 0 <= whole_length(io.BytesIO(data)) <= len(data)


@given(st.lists(st.tuples(st.integers(0, 2**32 - 1), st.sampled_from([b"ftyp", b"moov", b"moof", b"mdat", b"free"]))))
def test_sizes_that_lie(heads: list[tuple[int, bytes]]) -> None:
    data = b"".join(struct.pack(">I4s", size, kind) for size, kind in heads)

    found = list(boxes(io.BytesIO(data), len(data)))

    assert all(0 <= box.start < box.end <= len(data) for box in found)
    assert len(found) <= len(heads)


@pytest.mark.parametrize("share", [1.0, 0.7, 0.35])
def test_what_is_left_of_a_file_plays_and_tells_its_time(
    files: tuple[bytes, bytes], tmp_path: Path, share: float
) -> None:
    left = files[0][: int(len(files[0]) * share)]
    whole = len(fragment_ends(left)) * KEY_EVERY
    folder = left_open(tmp_path, left)

    assert repair_camera(folder, "yard") == 1

    ((path, piece),) = folder.new()
    assert frames(path) == whole > 0
    assert (piece.camera_id, piece.codec) == ("yard", "h264")
    assert (piece.started_at_us, piece.ended_at_us) == (STARTED_US, STARTED_US + whole * 1_000_000 // FPS)
    assert list(folder.open_folder("yard").iterdir()) == []


def test_one_that_died_while_it_was_closed_plays(files: tuple[bytes, bytes], tmp_path: Path) -> None:
    folder = left_open(tmp_path, files[1][:-100])

    repair_all(folder)

    ((path, _),) = folder.new()
    # The last fragment is written while a file is closed.
    assert frames(path) == FRAMES


@pytest.mark.parametrize("length", [0, 7, 300, 900])
def test_a_file_of_which_nothing_is_whole_is_dropped(files: tuple[bytes, bytes], tmp_path: Path, length: int) -> None:
    folder = left_open(tmp_path, files[0][:length])

    assert repair_camera(folder, "yard") == 0

    assert list(folder.new()) == []
    assert list(folder.open_folder("yard").iterdir()) == []


def test_what_is_none_of_ours_is_left_alone(files: tuple[bytes, bytes], tmp_path: Path) -> None:
    folder = left_open(tmp_path, files[0], "holiday.mp4")
    (folder.open_folder("yard") / open_name(1, "h264", "0b")).symlink_to(folder.open_folder("yard") / "holiday.mp4")

    assert repair_camera(folder, "yard") == repair_camera(folder, "none") == 0

    assert len(list(folder.open_folder("yard").iterdir())) == 2


def test_a_file_that_is_being_written_is_not_touched(clip: Path, tmp_path: Path) -> None:
    folder = FootageFolder(tmp_path)
    camera = Camera(id="yard", url=clip.as_uri(), record=True)
    recorder = Recorder(camera, folder, Activity(), min_free_bytes=0)
    reading = read_frames(camera, threading.Event(), recorder)
    next(reading)
    (path,) = folder.open_folder("yard").iterdir()

    assert repair_camera(folder, "yard") == 0
    assert path.exists()

    reading.close()
    assert len(list(folder.new())) == 1


@given(st.integers(0, 10**17), st.sampled_from(["h264", "hevc"]), st.from_regex(r"[0-9a-f]{8}", fullmatch=True))
def test_names(started_at_us: int, codec: str, token: str) -> None:
    assert parse_open_name(open_name(started_at_us, codec, token)) == (started_at_us, codec)


@given(st.text(max_size=40) | st.from_regex(r"[0-9²-]{1,30}\.mp4", fullmatch=True))
def test_other_names(name: str) -> None:
    found = parse_open_name(name)
    assert found is None or found[0] >= 0
