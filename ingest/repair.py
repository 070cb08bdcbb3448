"""Files that a process left open when it was killed: what is whole of them is kept, the rest is cut off.

An open file is `ftyp`, maybe `free`, `moov`, and then pairs of `moof` and `mdat`. When it is closed FFmpeg makes one
`mdat` of all that, by writing over the header of the last `free`, and appends another `moov` that lists every frame.
Nothing that is read here is trusted: a disk may have kept any part of what was written.
"""

from __future__ import annotations

import contextlib
import fcntl
import logging
import os
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import av
import av.error

from lookout.errors import UnavailableError
from lookout.footage.folder import SUFFIX, FootageFolder, Piece

log = logging.getLogger(__name__)

_HEADER = struct.Struct(">I4s")
_LARGE = struct.Struct(">Q")
#: Within so many bytes the first `moov` follows the header that was written over.
_MOOV_WITHIN = 256
_MAX_CODEC = 10


@dataclass(frozen=True, slots=True)
class Box:
    """A box of an MP4 file that is whole: its type, where it begins and ends, in bytes."""

    kind: bytes
    start: int
    end: int


def open_name(started_at_us: int, codec: str, token: str) -> str:
    """Name of a file that is being written: all that must be known of it after a crash, and a part of its own."""
    return f"{started_at_us}-{codec}-{token}{SUFFIX}"


def parse_open_name(name: str) -> tuple[int, str] | None:
    """Start and codec of a file that is being written; None if it is not one of Lookout's."""
    fields = name.removesuffix(SUFFIX).split("-")
    known = len(fields) == 3 and name.endswith(SUFFIX) and fields[0].isascii() and fields[0].isdecimal()
    if not known or len(fields[0]) > 18 or not (fields[1].isalnum() and len(fields[1]) <= _MAX_CODEC):
        return None
    return int(fields[0]), fields[1]


def repair_all(folder: FootageFolder) -> None:
    """Repair what no process writes any more, of cameras that nobody watches as well."""
    with contextlib.suppress(OSError):
        for camera in sorted((folder.root / "open").iterdir()):
            repair_camera(folder, camera.name)


def repair_camera(folder: FootageFolder, camera_id: str) -> int:
    """Repair what was left of a camera and no process writes any more; returns how many files were kept.

    What goes wrong is logged, and left to the next time.
    """
    count = 0
    with contextlib.suppress(FileNotFoundError):
        for path in sorted((folder.root / "open" / camera_id).iterdir()):
            try:
                count += repair_file(folder, camera_id, path)
            except (OSError, UnavailableError) as error:
                log.warning("%s: %s could not be repaired: %s", camera_id, path.name, error)
    return count


def repair_file(folder: FootageFolder, camera_id: str, path: Path) -> bool:
    """Cut off what is not whole, and hand on what is left; whether something was.

    A file that a process writes, or that is none of Lookout's, is left alone.

    Raises:
        OSError: the disk does not let it.
        UnavailableError: it cannot be handed on.
    """
    known = parse_open_name(path.name)
    if known is None or path.is_symlink():
        return False
    with path.open("r+b") as file:
        if not lock(file) or not _is_at(file, path):
            return False  # somebody writes it, or was faster
        whole = whole_length(file)
        if whole:
            os.truncate(file.fileno(), whole)
        started_at_us, codec = known
        span = _span_us(path) if whole else None
        if span is None:
            log.warning("%s: nothing is whole of %s", camera_id, path.name)
            path.unlink()
            return False
        # The name tells when the first frame was captured; that is not always at 0 of a file that was never closed.
        first_us, end_us = span
        piece = Piece(camera_id, started_at_us - first_us, started_at_us - first_us + end_us, codec)
        folder.finish(path, piece)
    log.info("%s: %.1f s of footage repaired", camera_id, (end_us - first_us) / 1e6)
    return True


def lock(file: BinaryIO) -> bool:
    """Claim a file for as long as it is open; whether nobody else has."""
    try:
        fcntl.flock(file.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def whole_length(file: BinaryIO) -> int:
    """How many bytes from the start play by themselves; 0 if none do.

    One that died while it was closed is made an open one again.
    """
    size = file.seek(0, os.SEEK_END)
    _reopen(file, size)
    end = 0
    before = b""
    has_moov = has_frames = False
    for box in boxes(file, size):
        if box.kind == b"moov":
            has_moov = True
            if has_frames:  # at the end of a file that was closed
                return box.end
        elif box.kind == b"mdat":
            has_frames = True
            if has_moov and before == b"moof":
                end = box.end
        elif box.kind not in (b"ftyp", b"free", b"moof", b"styp", b"sidx"):
            break
        before = box.kind
    return end


def boxes(file: BinaryIO, size: int, start: int = 0) -> Iterator[Box]:
    """The boxes one after the other, up to the first that is not whole. Each is 8 bytes or more, so there is an end."""
    while start + _HEADER.size <= size:
        file.seek(start)
        header = file.read(_HEADER.size + _LARGE.size)
        if len(header) < _HEADER.size:
            return
        length, kind = _HEADER.unpack_from(header)
        smallest = _HEADER.size
        if length == 1:
            if len(header) < _HEADER.size + _LARGE.size:
                return
            (length,) = _LARGE.unpack_from(header, _HEADER.size)
            smallest += _LARGE.size
        if length < smallest or length > size - start:
            return
        yield Box(kind, start, start + length)
        start += length


def _reopen(file: BinaryIO, size: int) -> None:
    """Undo the first half of closing, if the second one, which is the `moov` at the end, is missing."""
    place = 0
    kinds = []
    for box in boxes(file, size):
        kinds.append(box.kind)
        if box.kind in (b"moov", b"moof"):
            return
        place = box.start if box.kind == b"mdat" else box.end
    # The `mdat` over all fragments, which is whole or not.
    file.seek(place)
    head = file.read(_HEADER.size + _MOOV_WITHIN)
    if len(head) < _HEADER.size or head[4:8] != b"mdat":
        return
    moov = head.find(b"moov", _HEADER.size) - 4
    if moov >= _HEADER.size:
        file.seek(place)
        file.write(_HEADER.pack(moov, b"free"))
        file.flush()


def _is_at(file: BinaryIO, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(file.fileno()), path.stat())
    except FileNotFoundError:
        return False


def _span_us(path: Path) -> tuple[int, int] | None:
    """When a file's video starts and ends on its own time line; None if nothing of it can be read."""
    try:
        with av.open(f"file:{path}") as container:
            if not container.streams.video:
                return None
            stream = container.streams.video[0]
            start, duration, base = stream.start_time, stream.duration, stream.time_base
    except (av.error.FFmpegError, ValueError):
        return None
    if start is None or not duration or base is None or duration < 0:
        return None
    return int(start * base * 1_000_000), int((start + duration) * base * 1_000_000)
