"""`cameras.toml`: which streams to watch."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Annotated, Literal
from urllib.parse import urlsplit

import msgspec

from lookout.errors import CameraFileError
from lookout.logging import redact

SCHEMES = ("rtsp", "rtsps", "http", "https", "file")


class Camera(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One stream.

    Attributes:
        id: short name of small letters, digits, `-` and `_`; never changed, as everything stored refers to it.
        url: `rtsp://…`, or `file:///…` for a recording that is played again and again in real time.
        name: what people call it; the id where it is left out.
        group: cameras of one group share their alerts; the id where it is left out.
        analysed_fps: frames a second that are searched for faces.
        transport: how RTSP carries the video.
    """

    id: Annotated[str, msgspec.Meta(pattern=r"^[a-z0-9][a-z0-9_-]*\Z", max_length=60)]
    url: Annotated[str, msgspec.Meta(min_length=1, max_length=2000)]
    name: Annotated[str, msgspec.Meta(max_length=100)] = ""
    group: Annotated[str, msgspec.Meta(max_length=60)] = ""
    analysed_fps: Annotated[float, msgspec.Meta(gt=0, le=30)] = 5.0
    transport: Literal["tcp", "udp"] = "tcp"

    def __post_init__(self) -> None:
        """Fill what follows from the id, and refuse a URL nobody can open."""
        if not self.name:
            msgspec.structs.force_setattr(self, "name", self.id)
        if not self.group:
            msgspec.structs.force_setattr(self, "group", self.id)
        parts = urlsplit(self.url)
        if parts.scheme not in SCHEMES or not (parts.hostname or parts.scheme == "file"):
            raise ValueError(f"Expected a URL like `rtsp://host/path`, got `{redact(self.url)}` in field `url`")

    def __repr__(self) -> str:
        """Without the password that the URL may carry."""
        return f"Camera(id={self.id!r}, url={redact(self.url)!r}, group={self.group!r})"


class _File(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    camera: list[Camera]


def load_cameras(path: Path) -> list[Camera]:
    """Read and check a camera file.

    Raises:
        CameraFileError: it is absent, no TOML, or a field does not hold; the message names line and field.
    """
    try:
        text = path.read_text("utf-8")
    except FileNotFoundError as error:
        raise CameraFileError(
            f"{path} does not exist. Write one [[camera]] block a stream, with id and url; docs/cameras.md shows how."
        ) from error
    except (OSError, UnicodeDecodeError) as error:
        raise CameraFileError(f"{path} cannot be read as UTF-8 text: {error}") from error
    try:
        tomllib.loads(text)
        cameras = msgspec.toml.decode(text, type=_File).camera
    except tomllib.TOMLDecodeError as error:
        raise CameraFileError(f"{path} is no valid TOML: {error}") from error
    except msgspec.ValidationError as error:
        raise CameraFileError(_explain(path, text, str(error))) from error
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
    what, _, where = message.partition(" - at ")
    block = re.search(r"camera\[(\d+)\]", where)
    index = int(block[1]) if block else None
    inside = re.search(r"\]\.(\w+)", where) or re.search(r"field `(\w+)`", what)
    field = inside[1] if inside else "camera"
    place = f", line {_line(text, index, field)}" if index is not None else ""
    return f"{path}{place}: field `{field}`: {what}. Fields are {', '.join(Camera.__struct_fields__)}."


def _line(text: str, index: int, field: str) -> int:
    """Line of a field in the n-th [[camera]] block; of the block's head if the field is missing."""
    block, head = -1, 1
    for number, line in enumerate(text.splitlines(), 1):
        if re.match(r"\s*\[\[\s*camera\s*\]\]", line):
            block += 1
            if block == index:
                head = number
        elif block == index and re.match(rf"\s*[\"']?{re.escape(field)}[\"']?\s*=", line):
            return number
    return head
