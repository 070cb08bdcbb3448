"""A large file, sealed in pieces, so that one of a gigabyte needs no gigabyte of memory."""

from __future__ import annotations

import io
from functools import lru_cache

from lookout.stores.blobs import Blobs

PIECE_BYTES = 8_000_000
#: Pieces held opened while it is read: of an archive its end, which lists its files, and where the reader is.
HELD = 4


class PieceWriter:
    """Takes a file as it comes; what `close` returns names it in the registry."""

    def __init__(self, blobs: Blobs, name: str) -> None:
        self._blobs, self._name = blobs, name
        self._waiting = bytearray()
        self._size = 0

    def write(self, data: bytes) -> None:
        """Store the next bytes.

        Raises:
            UnavailableError: the blob store takes them not.
        """
        self._waiting += data
        while len(self._waiting) >= PIECE_BYTES:
            self._put(PIECE_BYTES)

    def close(self) -> str:
        """Store what is left; returns the blob's name with the size."""
        if self._waiting:
            self._put(len(self._waiting))
        return f"{self._name}/{self._size}"

    def discard(self) -> None:
        """Delete what was stored."""
        delete_pieces(self._blobs, f"{self._name}/{self._size}")

    def _put(self, count: int) -> None:
        piece = bytes(self._waiting[:count])
        del self._waiting[:count]
        self._blobs.write(_piece(self._name, self._size // PIECE_BYTES), piece)
        self._size += count


class PieceFile(io.RawIOBase):
    """A file in pieces, to be read like any other."""

    def __init__(self, blobs: Blobs, blob: str) -> None:
        self._name, _, size = blob.rpartition("/")
        self._size = int(size)
        self._at = 0
        self._piece = lru_cache(maxsize=HELD)(lambda number: blobs.read(_piece(self._name, number)))

    def readable(self) -> bool:
        """It is."""
        return True

    def seekable(self) -> bool:
        """It is."""
        return True

    def tell(self) -> int:
        """Where it is read next."""
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Go elsewhere."""
        start = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._size}[whence]
        self._at = max(0, start + offset)
        return self._at

    def read(self, size: int = -1) -> bytes:
        """The next bytes, fewer only at the end."""
        end = self._size if size < 0 else min(self._size, self._at + size)
        found = bytearray()
        while self._at < end:
            number, start = divmod(self._at, PIECE_BYTES)
            part = self._piece(number)[start : start + end - self._at]
            if not part:
                break
            found += part
            self._at += len(part)
        return bytes(found)


def delete_pieces(blobs: Blobs, blob: str) -> None:
    """Remove all pieces of a file."""
    name, _, size = blob.rpartition("/")
    for number in range(-(-int(size) // PIECE_BYTES)):
        blobs.delete(_piece(name, number))


def _piece(name: str, number: int) -> str:
    return f"{name}/{number:06}"
