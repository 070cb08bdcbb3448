"""The ZIP of an export, written straight into sealed pieces: it never lies on a disk as it is."""

from __future__ import annotations

import hashlib
import io
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from lookout.clock import to_datetime
from lookout.errors import UnavailableError
from lookout.exports.work import ExportError, Tick
from lookout.stores.blobs import Blobs
from lookout.stores.pieces import PieceWriter

SUMS = "SHA256SUMS"
CHUNK = 1_000_000
#: What a ZIP adds to each of its files at most, and to all of them.
OVERHEAD = 1_000


@dataclass(frozen=True, slots=True)
class Member:
    """A file of the archive: its name there, and its content or where that lies."""

    name: str
    content: bytes | Path

    @property
    def size(self) -> int:
        """In bytes."""
        return self.content.stat().st_size if isinstance(self.content, Path) else len(self.content)


@dataclass(frozen=True, slots=True)
class Archive:
    """A ZIP as it was stored."""

    blob: str
    size: int
    sha256: str


def sha256_of(content: bytes | Path) -> str:
    """SHA-256 of a file: 64 hexadecimal digits."""
    if isinstance(content, bytes):
        return hashlib.sha256(content).hexdigest()
    with content.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def sums(hashes: Mapping[str, str]) -> bytes:
    """Hashes by the names of files, as `sha256sum -c` reads them."""
    return "".join(f"{sha256}  {name}\n" for name, sha256 in sorted(hashes.items())).encode()


def most_bytes(members: Sequence[Member]) -> int:
    """The size that a ZIP of these files does not exceed."""
    return sum(member.size + OVERHEAD for member in members) + OVERHEAD


def write_archive(blobs: Blobs, name: str, members: Sequence[Member], made_at_us: int, tick: Tick) -> Archive:
    """Write the ZIP; on an error nothing of it is left.

    Args:
        blobs: where to.
        name: of the pieces.
        members: its files, in order.
        made_at_us: the time that they bear.
        tick: told the share that is done.

    Raises:
        ExportError: the blob store takes it not.
    """
    writer = PieceWriter(blobs, name)
    try:
        sink = _Sink(writer)
        total, done = sum(member.size for member in members) or 1, 0
        # Clips and pictures are compressed already.
        with zipfile.ZipFile(sink, "w", zipfile.ZIP_STORED) as archive:
            for member in members:
                info = zipfile.ZipInfo(member.name, to_datetime(made_at_us).timetuple()[:6])
                info.external_attr = 0o600 << 16
                info.file_size = member.size
                with archive.open(info, "w") as file, _reading(member.content) as source:
                    while chunk := source.read(CHUNK):
                        file.write(chunk)
                        done += len(chunk)
                        tick(done / total)
        return Archive(writer.close(), sink.tell(), sink.sha256)
    except UnavailableError as error:
        writer.discard()
        raise ExportError(str(error)) from error
    except BaseException:
        writer.discard()
        raise


def _reading(content: bytes | Path) -> io.BufferedIOBase:
    return io.BytesIO(content) if isinstance(content, bytes) else content.open("rb")


class _Sink(io.RawIOBase):
    """A file that is only written: into sealed pieces, and counted and hashed on the way."""

    def __init__(self, writer: PieceWriter) -> None:
        self._writer = writer
        self._hash = hashlib.sha256()
        self._written = 0

    def writable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return False

    def tell(self) -> int:
        return self._written

    def write(self, data: object) -> int:
        piece = bytes(memoryview(data))  # type: ignore[arg-type]
        self._writer.write(piece)
        self._hash.update(piece)
        self._written += len(piece)
        return len(piece)

    @property
    def sha256(self) -> str:
        """Of all that was written."""
        return self._hash.hexdigest()
