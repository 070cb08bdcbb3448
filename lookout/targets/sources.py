"""Where a bulk import takes its photos from: a folder, a CSV or a ZIP.

Nothing is unpacked to disk. What an archive says of itself is believed only as far as it can do no harm.
"""

from __future__ import annotations

import csv
import io
import os
import re
import struct
import zipfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath
from typing import BinaryIO, Protocol

from lookout.errors import BadInputError, PhotoError
from lookout.faces.photos import MAX_BYTES, read_photo

MAX_PHOTOS = 100_000
MAX_CSV_BYTES = 50_000_000
#: How much larger than the archive its members may be. Photos hardly shrink in a ZIP; bitmaps do by ten or more.
MAX_RATIO = 200
#: Of a ZIP's own table of contents: it is read whole.
MAX_CONTENTS_BYTES = 50_000_000
_COUNTED = re.compile(r"_\d+$")
_IGNORED = ("__MACOSX", "Thumbs.db", "desktop.ini")


@dataclass(frozen=True, slots=True)
class Entry:
    """One photo of an import.

    Attributes:
        person: whose, as the source has it.
        file: its path in the source.
    """

    person: str
    file: str
    reference_number: str = ""
    note: str = ""
    valid_until_us: int | None = None


class Source(Protocol):
    """Photos with the names of those they show."""

    def entries(self) -> list[Entry]:
        """All photos, in an order that is always the same."""

    def read(self, file: str) -> bytes:
        """A photo's bytes; any thread may ask.

        Raises:
            PhotoError: it cannot be read, or is too large.
        """

    def close(self) -> None:
        """Give back what it holds open."""


def open_source(path: Path) -> Source:
    """The folder, CSV or ZIP at a path.

    Raises:
        BadInputError: it is none of these.
    """
    if path.is_dir():
        return FolderSource(path)
    if not path.is_file():
        raise BadInputError(f"{path} is not there; name a folder, a CSV or a ZIP.")
    if zipfile.is_zipfile(path):
        file = path.open("rb")
        try:
            return ZipSource(file, path.name)
        except BaseException:
            file.close()
            raise
    if path.suffix.lower() == ".csv":
        return FolderSource(path.parent, path)
    raise BadInputError(f"{path} is neither a folder nor a CSV nor a ZIP.")


class FolderSource:
    """Photos in a folder and its sub-folders, or those that a CSV in it names."""

    def __init__(self, root: Path, table: Path | None = None) -> None:
        self._root, self._table = root, table

    def entries(self) -> list[Entry]:
        """All photos, by name."""
        if self._table is not None:
            try:
                with self._table.open("rb") as file:
                    data = file.read(MAX_CSV_BYTES + 1)
            except OSError as error:
                raise BadInputError(f"{self._table} cannot be read: {error.strerror}.") from error
            return _from_table(data, self._table.name, PurePosixPath())
        names = []
        for folder, folders, files in os.walk(self._root):
            folders.sort()
            names += [Path(folder, name).relative_to(self._root).as_posix() for name in files]
            _refuse_too_many(len(names))
        return _from_names(sorted(names), self.read)

    def read(self, file: str) -> bytes:
        """A photo's bytes."""
        if _leads_out(file):
            raise PhotoError(f"{file} lies outside of the folder: put it there.", reasons=["unreadable"])
        return read_photo(self._root / file)

    def close(self) -> None:
        """It holds nothing open."""


class ZipSource:
    """Photos in a ZIP, laid out as in a folder, or those that a CSV in it names."""

    def __init__(self, file: BinaryIO, name: str) -> None:
        """Open an archive.

        Raises:
            BadInputError: it is no ZIP, or one that claims to hold too much.
        """
        self._name = name
        self._file = file
        size = _check_contents(file, name)
        try:
            self._zip = zipfile.ZipFile(file)
        except (zipfile.BadZipFile, ValueError, OSError, struct.error) as error:
            raise BadInputError(f"{name} is damaged: {error}.") from error
        members = [member for member in self._zip.infolist() if not member.is_dir()]
        _refuse_too_many(len(members))
        if sum(member.file_size for member in members) > MAX_RATIO * max(size, 1_000_000):
            raise BadInputError(f"{name} claims to hold more than {MAX_RATIO} times its own size: that is no album.")
        self._members = {member.filename: member for member in members}

    def entries(self) -> list[Entry]:
        """All photos, by name."""
        return _from_names(sorted(self._members), self.read)

    def read(self, file: str) -> bytes:
        """A photo's bytes."""
        member = self._members.get(file)
        if member is None:
            raise PhotoError(f"{file} is not in {self._name}.", reasons=["unreadable"])
        if member.file_size > MAX_BYTES:
            raise PhotoError(f"{file} is larger than {MAX_BYTES / 1e6:.0f} MB.", reasons=["too_large"])
        if member.flag_bits & 1 or member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise PhotoError(f"{file} is encrypted or compressed in a rare way.", reasons=["unreadable"])
        try:
            with self._zip.open(member) as opened:
                # One that lies about its size is cut off, and then is larger than it may be.
                return opened.read(MAX_BYTES + 1)
        except (
            zipfile.BadZipFile,
            zlib.error,
            EOFError,
            OSError,
            ValueError,
            NotImplementedError,
            RuntimeError,
        ) as error:
            raise PhotoError(f"{file} is damaged in {self._name}.", reasons=["damaged"]) from error

    def close(self) -> None:
        """Close the archive."""
        self._zip.close()
        self._file.close()


def _from_names(names: list[str], read: Callable[[str], bytes]) -> list[Entry]:
    """Photos by the layout `NAME/photo.jpg`, `NAME.jpg` and `NAME_2.jpg`, or by the one CSV at the top."""
    shown = [name for name in names if not _is_ignored(name)]
    tables = [name for name in shown if name.lower().endswith(".csv")]
    top = [name for name in tables if name.count("/") == min(one.count("/") for one in tables)]
    if len(top) == 1:
        return _from_table(read(top[0]), top[0], PurePosixPath(top[0]).parent)
    return [Entry(_person(name), name) for name in shown if name not in tables]


def _person(name: str) -> str:
    path = PurePosixPath(name)
    return path.parent.name or _COUNTED.sub("", path.stem)


def _from_table(data: bytes, name: str, folder: PurePosixPath) -> list[Entry]:
    if len(data) > MAX_CSV_BYTES:
        raise BadInputError(f"{name} is larger than {MAX_CSV_BYTES / 1e6:.0f} MB.")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise BadInputError(f"{name} is not UTF-8: save it as `CSV UTF-8`.") from error
    head = text.partition("\n")[0]
    delimiter = max(",;\t", key=head.count)
    entries: list[Entry] = []
    try:
        rows = csv.DictReader(io.StringIO(text, newline=""), delimiter=delimiter)
        if missing := {"name", "photo"} - set(rows.fieldnames or ()):
            raise BadInputError(f"{name} has no column {min(missing)}; its first line names the columns.")
        for row in rows:
            _refuse_too_many(len(entries) + 1)
            entries.append(_from_row(row, f"{name}, line {rows.line_num}", folder))
    except csv.Error as error:
        raise BadInputError(f"{name}: {error}.") from error
    return entries


def _from_row(row: dict[str, str | None], where: str, folder: PurePosixPath) -> Entry:
    until = (row.get("valid_until") or "").strip()
    try:
        # A day alone is valid to its end.
        is_day = len(until) == len("2027-12-31")
        at = datetime.fromisoformat(f"{until}T23:59:59" if is_day else until) if until else None
        at_us = int((at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp() * 1e6) if at else None
    except (ValueError, OverflowError) as error:
        raise BadInputError(f"{where}: valid_until: give a date such as 2027-12-31.") from error
    photo = (row["photo"] or "").strip().replace("\\", "/")
    return Entry(
        (row["name"] or "").strip(),
        (folder / photo).as_posix(),
        (row.get("reference_number") or "").strip(),
        (row.get("note") or "").strip(),
        at_us,
    )


def _leads_out(file: str) -> bool:
    path = PurePosixPath(file)
    return path.is_absolute() or ".." in path.parts or "\0" in file


def _is_ignored(name: str) -> bool:
    return any(part.startswith(".") or part in _IGNORED for part in name.split("/"))


def _refuse_too_many(count: int) -> None:
    if count > MAX_PHOTOS:
        raise BadInputError(f"these are more than {MAX_PHOTOS} photos: import them in parts.")


def _check_contents(file: BinaryIO, name: str) -> int:
    """The size of a ZIP, whose table of contents is not larger than what may be read whole."""
    size = file.seek(0, os.SEEK_END)
    file.seek(max(0, size - 66_000))
    tail = file.read()
    at = tail.rfind(b"PK\x05\x06")
    if at < 0 or len(tail) < at + 22:
        raise BadInputError(f"{name} is no ZIP, or is cut off.")
    (contents,) = struct.unpack_from("<I", tail, at + 12)
    if contents == 0xFFFFFFFF:
        record = tail.rfind(b"PK\x06\x06", 0, at)
        contents = struct.unpack_from("<Q", tail, record + 40)[0] if 0 <= record <= len(tail) - 56 else size
    if contents > MAX_CONTENTS_BYTES:
        raise BadInputError(f"{name} claims to hold too many files: import them in parts.")
    file.seek(0)
    return size
