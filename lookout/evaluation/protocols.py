"""Who shall be compared with whom: LFW's lists of pairs, and lists of galleries and probes."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from lookout.errors import BadInputError

ROLES = ("gallery", "probe_known", "probe_unknown", "distractor_gallery")
COLUMNS = ("identity", "role", "path")
MAX_FILE_BYTES = 64 * 1024 * 1024
#: What pictures are called, in the order in which they are looked for: lists of pairs name none.
SUFFIXES = (".jpg", ".jpeg", ".png", ".webp")
#: `str.isdigit` takes ², too, and `int` refuses thousands of digits.
NUMBER = re.compile(r"[0-9]{1,9}")


@dataclass(frozen=True, slots=True)
class Pair:
    """Two pictures, by their paths below the folder of pictures, and of whom they are.

    Attributes:
        people: both identities; the same one twice if it is a mated pair.
    """

    first: str
    second: str
    people: tuple[str, str]

    @property
    def mated(self) -> bool:
        """Whether both are of one person."""
        return self.people[0] == self.people[1]


@dataclass(frozen=True, slots=True)
class Entry:
    """A picture of a protocol, by its path below the folder of pictures, and what it is for."""

    identity: str
    role: str
    path: str


def read_pairs(file: Path, images: Path) -> list[list[Pair]]:
    """Read pairs in the format of Labeled Faces in the Wild: one list a fold.

    The first line says how many folds there are and how many pairs of each sort a fold has, or only the latter. Then
    each fold's mated pairs `name number number` and its non-mated ones `name number name number`. Picture 3 of a person
    is `name/name_0003.jpg`.

    Raises:
        BadInputError: the file does not hold; the message names its line.
    """
    lines = read_text(file).splitlines()
    numbers = lines[0].split() if lines else []
    if not 1 <= len(numbers) <= 2 or not all(NUMBER.fullmatch(number) and int(number) for number in numbers):
        raise BadInputError(f"{file}:1: the number of folds and of pairs are expected, such as `10 300`.")
    folds, size = (1, int(numbers[0])) if len(numbers) == 1 else map(int, numbers)
    rows = [(number, line.split()) for number, line in enumerate(lines[1:], 2) if line.strip()]
    if len(rows) != folds * 2 * size:
        raise BadInputError(
            f"{file}: {folds} folds of {size} mated and {size} non-mated pairs were announced, {len(rows)} pairs found."
        )
    pairs = []
    for place, (number, words) in enumerate(rows):
        mated = place % (2 * size) < size
        if len(words) != (3 if mated else 4):
            expected = "`name number number`" if mated else "`name number name number`"
            raise BadInputError(f"{file}:{number}: {expected} is expected here.")
        second = words[0] if mated else words[2]
        if not mated and words[0] == second:
            raise BadInputError(f"{file}:{number}: {second} twice, where two people are expected.")
        paths = [_numbered(file, number, images, *named) for named in ((words[0], words[1]), (second, words[-1]))]
        pairs.append(Pair(paths[0], paths[1], (words[0], second)))
    return [pairs[start : start + 2 * size] for start in range(0, len(pairs), 2 * size)]


def read_protocol(file: Path, *, distractors: bool = False) -> list[Entry]:
    """Read a CSV with the columns identity, role, path: who is on the watchlist, and who passes.

    Args:
        file: roles are `ROLES`; a person of the gallery may have several pictures.
        distractors: whether the distractors are part of the gallery; otherwise they are left out.

    Raises:
        BadInputError: the file does not hold, or says of somebody that they are listed and not listed; the message
            names the line.
    """
    entries = []
    for line, row in read_rows(file, COLUMNS):
        identity, role, path = (row[column] or "" for column in COLUMNS)
        if None in row or not identity or not path:
            raise BadInputError(f"{file}:{line}: {', '.join(COLUMNS)} are expected, none of them empty.")
        if role not in ROLES:
            raise BadInputError(f"{file}:{line}: there is no role {role!r}; choose {', '.join(ROLES)}.")
        entries.append(Entry(identity, role, _inside(file, line, path)))
    used = [entry for entry in entries if distractors or entry.role != "distractor_gallery"]
    _check_roles(file, used)
    return used


def read_groups(file: Path) -> dict[str, str]:
    """Read a CSV with the columns identity, group: to which group each person belongs.

    Raises:
        BadInputError: the file does not hold; the message names the line.
    """
    groups: dict[str, str] = {}
    for line, row in read_rows(file, ("identity", "group")):
        identity, group = row["identity"], row["group"]
        if not identity or not group or None in row:
            raise BadInputError(f"{file}:{line}: identity and group are expected, none of them empty.")
        if groups.setdefault(identity, group) != group:
            raise BadInputError(f"{file}:{line}: {identity} is in the group {groups[identity]} already.")
    return groups


def _check_roles(file: Path, entries: list[Entry]) -> None:
    of = {role: {entry.identity for entry in entries if entry.role == role} for role in ROLES}
    gallery = of["gallery"] | of["distractor_gallery"]
    if both := sorted(gallery & of["probe_unknown"]):
        raise BadInputError(f"{file}: {both[0]} is in the gallery and among the unknown probes.")
    if missing := sorted(of["probe_known"] - of["gallery"]):
        raise BadInputError(f"{file}: {missing[0]} is a known probe and has no picture in the gallery.")
    for role in ("gallery", "probe_known", "probe_unknown"):
        if not of[role]:
            raise BadInputError(f"{file}: nobody has the role {role}.")


def _numbered(file: Path, line: int, images: Path, name: str, number: str) -> str:
    if not NUMBER.fullmatch(number):
        raise BadInputError(f"{file}:{line}: {number!r} is not the number of a picture.")
    stem = _inside(file, line, f"{name}/{name}_{int(number):04d}")
    return next((stem + end for end in SUFFIXES if _is_file(images / (stem + end))), stem + SUFFIXES[0])


def _inside(file: Path, line: int, path: str) -> str:
    if PurePosixPath(path).is_absolute() or ".." in PurePosixPath(path).parts or "\x00" in path:
        raise BadInputError(f"{file}:{line}: {path!r} does not lie in the folder of pictures.")
    return path


def _is_file(file: Path) -> bool:
    try:
        return file.is_file()
    except OSError:  # a name longer than any can be
        return False


def read_rows(file: Path, columns: Sequence[str]) -> Iterator[tuple[int, dict[Any, Any]]]:
    """The rows of a CSV with these columns, each with the number of its line.

    Raises:
        BadInputError: it has others, or is no CSV.
    """
    rows = csv.DictReader(read_text(file).splitlines())
    try:
        if tuple(rows.fieldnames or ()) != tuple(columns):
            raise BadInputError(f"{file}:1: the columns must be {', '.join(columns)}.")
        for row in rows:
            yield rows.line_num, row
    except csv.Error as error:
        raise BadInputError(f"{file}:{rows.line_num}: this is no CSV: {error}.") from error


def read_text(file: Path) -> str:
    """A list as text.

    Raises:
        BadInputError: it cannot be read, or is too large to be one.
    """
    try:
        if file.stat().st_size > MAX_FILE_BYTES:
            raise BadInputError(f"{file}: more than {MAX_FILE_BYTES // 2**20} MB are no list.")
        return file.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise BadInputError(f"{file} cannot be read: {error}.") from error
