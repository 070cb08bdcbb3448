"""A camera as people set it up, and `cameras.toml`, by which many are set up at once. Ingest reads this without SQL."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

import msgspec

from lookout.errors import BadInputError, CameraFileError
from lookout.logging import redact

SCHEMES = ("rtsp", "rtsps", "http", "https", "file")
RETENTION_HOURS = 72
#: The URL of a camera that has no stream: its videos are handed in as files.
FILES_ONLY = "files:"
FOOTAGE_HOURS = 72
FOOTAGE_GB = 50.0
MAX_MASKS, MIN_POINTS, MAX_POINTS = 50, 3, 100

#: No control characters: names are shown in lines, and PostgreSQL keeps no NUL.
_LINE = r"^[^\x00-\x1f\x7f]*\Z"
Share = Annotated[float, msgspec.Meta(ge=0, le=1)]
Polygon = Annotated[tuple[tuple[Share, Share], ...], msgspec.Meta(min_length=MIN_POINTS, max_length=MAX_POINTS)]


class Camera(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One stream.

    Attributes:
        id: short name of small letters, digits, `-` and `_`; never changed, as everything stored refers to it.
        url: `rtsp://…`, or `file:///…` for a recording that is played again and again in real time, or `files:` for
            one without a stream, whose videos are handed in.
        name: what people call it; the id where it is left out.
        group: cameras of one group share their alerts; the id where it is left out.
        analysed_fps: frames a second that are searched for faces.
        transport: how RTSP carries the video.
        masks: polygons whose inside is never looked at; points are shares of the picture's width and height, 0..1.
        retention_hours: how long sightings of people on no watchlist are kept.
        matched_only: whether nothing is stored of people on no watchlist.
        record: whether its video is kept as footage.
        record_audio: whether its sound is kept with it.
        footage_hours: how long footage is kept, and
        footage_gb: how much of it, in 10^9 bytes; the oldest goes first.
        enabled: whether it is watched.
    """

    id: Annotated[str, msgspec.Meta(pattern=r"^[a-z0-9][a-z0-9_-]*\Z", max_length=60)]
    url: Annotated[str, msgspec.Meta(min_length=1, max_length=2000, pattern=_LINE)]
    name: Annotated[str, msgspec.Meta(max_length=100, pattern=_LINE)] = ""
    group: Annotated[str, msgspec.Meta(max_length=60, pattern=_LINE)] = ""
    analysed_fps: Annotated[float, msgspec.Meta(ge=0.1, le=30)] = 5.0
    transport: Literal["tcp", "udp"] = "tcp"
    masks: Annotated[tuple[Polygon, ...], msgspec.Meta(max_length=MAX_MASKS)] = ()
    retention_hours: Annotated[int, msgspec.Meta(ge=1, le=8760)] = RETENTION_HOURS
    matched_only: bool = False
    record: bool = False
    record_audio: bool = False
    footage_hours: Annotated[int, msgspec.Meta(ge=1, le=8760)] = FOOTAGE_HOURS
    footage_gb: Annotated[float, msgspec.Meta(ge=0.01, le=1_000_000)] = FOOTAGE_GB
    enabled: bool = True

    def __post_init__(self) -> None:
        """Fill what follows from the id, and refuse a URL nobody can open."""
        if not self.name.strip():
            msgspec.structs.force_setattr(self, "name", self.id)
        if not self.group.strip():
            msgspec.structs.force_setattr(self, "group", self.id)
        if self.record and self.matched_only:
            raise ValueError(
                "Expected `false` where `matched_only` is set: footage shows people who match nobody, got `true` in "
                "field `record`"
            )
        if not _can_be_opened(self.url):
            raise ValueError(
                "Expected a URL like `rtsp://user:password@host:554/path` or `file:///path` (in a password, %2F stands "
                f"for `/` and %40 for `@`), got `{redact(self.url)}` in field `url`"
            )

    @property
    def has_stream(self) -> bool:
        """Whether there is something to watch."""
        return self.url != FILES_ONLY

    @property
    def is_recording(self) -> bool:
        """Whether it is a file, to be played as if it were a camera."""
        return urlsplit(self.url).scheme == "file"

    def __repr__(self) -> str:
        """Without the password that the URL may carry."""
        return f"Camera(id={self.id!r}, url={redact(self.url)!r}, group={self.group!r})"


def _can_be_opened(url: str) -> bool:
    try:
        parts = urlsplit(url)
        host = parts.hostname if parts.port != 0 else None
    except ValueError:  # brackets that do not match, or a port that is none
        return False
    return url == FILES_ONLY or bool(parts.path if parts.scheme == "file" else parts.scheme in SCHEMES and host)


def make_camera(**fields: Any) -> Camera:
    """A camera of these fields, checked.

    Raises:
        BadInputError: a field does not hold; the message names it.
    """
    try:
        return msgspec.convert(fields, type=Camera)
    except msgspec.ValidationError as error:
        what, _, where = str(error).partition(" - at ")
        inside = re.search(r"\$\.(\w+)", where) or re.search(r"field `([^`]+)`", what)
        raise BadInputError(f"{inside[1] if inside else 'camera'}: {what}.") from error


class _File(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    camera: list[Camera]


def load_cameras(path: Path) -> list[Camera]:
    """Read and check a camera file.

    Raises:
        CameraFileError: it is absent, no TOML, or a field does not hold; the message names line and field.
    """
    try:
        text = path.read_text("utf-8-sig")
    except FileNotFoundError as error:
        raise CameraFileError(
            f"{path} does not exist. Write one [[camera]] block a stream, with id and url; docs/cameras.md shows how."
        ) from error
    except (OSError, UnicodeDecodeError) as error:
        raise CameraFileError(f"{path} cannot be read as UTF-8 text: {error}") from error
    try:
        cameras = msgspec.convert(tomllib.loads(text), type=_File).camera
    except msgspec.ValidationError as error:
        raise CameraFileError(_explain(path, text, str(error))) from error
    except (ValueError, RecursionError) as error:  # ValueError: TOMLDecodeError, and a number of too many digits
        raise CameraFileError(f"{path} is no valid TOML: {error}") from error
    if not cameras:
        raise CameraFileError(f"{path} names no camera: write at least one [[camera]] block.")
    seen: dict[str, int] = {}
    for index, camera in enumerate(cameras):
        if camera.id in seen:
            raise CameraFileError(
                f"{path}, line {_line(text, index, 'id')}: field `id`: `{camera.id}` is used twice "
                f"(first in line {_line(text, seen[camera.id], 'id')}); every camera needs its own."
            )
        seen[camera.id] = index
    return cameras


def _explain(path: Path, text: str, message: str) -> str:
    """Put line and field in front of msgspec's message: ``Expected `str`, got `int` - at `$.camera[0].url```."""
    what, _, where = message.rpartition(" - at ") if " - at " in message else (message, "", "")
    block = re.search(r"camera\[(\d+)\]", where)
    inside = re.search(r"\]\.(\w+)", where) or re.search(r"field `([^`]+)`", what)
    field = inside[1] if inside else "camera"
    line = _line(text, int(block[1]) if block else None, field)
    # What it quotes of the file, the name of a field among it, may be an address with a password.
    return redact(
        f"{path}, line {line}: field `{field}`: {what}. A camera is a [[camera]] block of the fields "
        f"{', '.join(Camera.__struct_fields__)}."
    )


def _line(text: str, index: int | None, field: str) -> int:
    """Line of a field in the n-th [[camera]] block, of its head if the field is missing, or outside of all blocks."""
    key = rf"[\"']?{re.escape(field)}[\"']?\s*"
    block, head = -1, 1
    for number, line in enumerate(text.splitlines(), 1):
        if re.match(r"\s*\[\[\s*[\"']?camera[\"']?\s*\]\]", line):
            block += 1
            if block == index:
                head = number
        if re.match(rf"\s*{key}=", line) and block == (-1 if index is None else index):
            return number
        if index is None and re.match(rf"\s*\[\[?\s*{key}[\].]", line):
            return number
    return head
