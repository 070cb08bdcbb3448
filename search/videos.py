"""Videos that people send: streamed to the disk as they come, never decoded here."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import shutil
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import IO

from fastapi import Request
from starlette.concurrency import run_in_threadpool

from lookout import videos
from lookout.accounts.rights import Identity
from lookout.errors import BadInputError, UnavailableError
from lookout.stores.registry.tables import Video, new_id
from lookout.videos import Handed
from search.parts import Parts
from search.uploads import file_name, limited

#: Written at a time.
BLOCK = 4_000_000


class _Upload:
    """A file in the uploads folder, which no other user of the machine may read; hashed while it is written."""

    def __init__(self, folder: Path, expected: int) -> None:
        with _disk_errors():
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            if shutil.disk_usage(folder).free < expected + videos.MIN_FREE_BYTES:
                raise UnavailableError("the disk for footage is full: make room, or lower retention.")
            self.name = new_id()
            self.path = folder / self.name
            self._part = folder / f"{self.name}.part"
            self._part.touch(mode=0o600, exist_ok=False)
            self._file: IO[bytes] = self._part.open("wb")
        self._hash = hashlib.sha256()
        self.size = 0

    def write(self, data: bytes) -> None:
        """Add to it."""
        self._hash.update(data)
        self.size += len(data)
        with _disk_errors():
            self._file.write(data)

    def close(self) -> str:
        """It is whole; returns its sha256.

        Raises:
            BadInputError: it is empty.
        """
        if not self.size:
            raise BadInputError("send the video as the body of the request; this one is empty.")
        with _disk_errors():
            self._file.close()
            self._part.rename(self.path)
        return self._hash.hexdigest()

    def discard(self) -> None:
        """It is not needed."""
        with contextlib.suppress(OSError):
            self._file.close()
        self._part.unlink(missing_ok=True)
        self.path.unlink(missing_ok=True)


async def receive(
    request: Request, parts: Parts, who: Identity, *, camera: str, start: datetime, fps: float, name: str
) -> tuple[Video, bool]:
    """Take a video, which is the body.

    Args:
        request: carries it.
        parts: of the service.
        who: sends it.
        camera: id or name of the camera that recorded it.
        start: when it begins; without a zone it is UTC.
        fps: frames a second to search.
        name: of the file.

    Returns:
        The video, and whether it is new; the same file of the same camera and time is taken once.

    Raises:
        BadInputError: it begins in the future, is empty, or too many wait.
        NotFoundError: the camera is not one that `who` may hand in for.
        UnavailableError: the disk is full.
        HTTPException: 413 it is too large.
    """
    started_at_us = _microseconds(start)
    videos.check_start(started_at_us)
    await run_in_threadpool(_check_camera, parts, who, camera)
    said = request.headers.get("content-length", "")
    folder = parts.settings.uploads_folder
    upload = await run_in_threadpool(_Upload, folder, int(said) if said.isdigit() and len(said) < 16 else 0)
    try:
        block = bytearray()
        async for piece in limited(request, videos.MAX_BYTES):
            block += piece
            if len(block) >= BLOCK:
                await run_in_threadpool(upload.write, bytes(block))
                block.clear()
        await run_in_threadpool(upload.write, bytes(block))
        sha256 = await run_in_threadpool(upload.close)
        shown = file_name(name or "video")
        handed = Handed(shown, sha256, upload.size, started_at_us, fps, upload.name)
        video, new = await run_in_threadpool(_hand_in, parts, who, camera, handed)
    except BaseException:
        await run_in_threadpool(upload.discard)
        raise
    if video.upload != upload.name:
        await run_in_threadpool(upload.discard)
    return video, new


def _check_camera(parts: Parts, who: Identity, camera: str) -> None:
    """Say what is wrong before twenty gigabytes are sent; nothing is made yet."""
    with parts.registry.reading() as session:
        if videos.known_camera(session, camera, who=who) is None:
            videos.check_new_camera(camera, who=who)


def _hand_in(parts: Parts, who: Identity, camera: str, handed: Handed) -> tuple[Video, bool]:
    with parts.registry.transaction() as session:
        row, _ = videos.camera_for(session, who.actor, parts.keyring, camera, who=who)
        video, todo = videos.hand_in(session, who.actor, row, handed)
        return video, todo and video.upload == handed.upload


def _microseconds(start: datetime) -> int:
    at = start if start.tzinfo else start.replace(tzinfo=UTC)
    try:
        return int(at.timestamp() * 1e6)
    except (ValueError, OverflowError) as error:
        raise BadInputError("start: give a time after 1970.") from error


@contextlib.contextmanager
def _disk_errors() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        why = "is full: make room, or lower retention" if full else f"cannot be written: {error.strerror}"
        raise UnavailableError(f"the disk for footage {why}.") from error
