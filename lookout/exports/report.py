"""The report of an export: one HTML page that needs no other file, runs no script, and prints well.

HTML, not PDF: it holds the pictures, every browser shows and prints it, also to a PDF, it can be searched and read
aloud, and it needs no library that would have to be kept up to date.
"""

from __future__ import annotations

import base64
import json
from dataclasses import asdict, dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from lookout.clock import isoformat, to_datetime
from lookout.faces.models import TemplateModel
from lookout.sightings.query import DEFAULT_RATE

NAME = "report.html"
MANIFEST = "manifest.json"
#: `schema` of the manifest; raised when a reader would have to read it in another way.
SCHEMA = 1


@dataclass(frozen=True, slots=True)
class SourceFile:
    """A segment of footage that a clip was made of."""

    segment: str
    started_at: str
    ended_at: str
    codec: str
    size: int
    sha256: str


@dataclass(frozen=True, slots=True)
class ClipFile:
    """A clip in the archive. `started_at` is its first frame."""

    file: str
    sha256: str
    size: int
    camera: str
    camera_name: str
    video: str | None
    started_at: str
    ended_at: str
    wanted_from: str
    wanted_to: str
    width: int
    height: int
    frames: int
    encoded_again: bool
    masks: int
    faces_blurred: bool
    moments: list[int]
    sources: list[SourceFile]


@dataclass(frozen=True, slots=True)
class CropFile:
    """A picture of a face in the archive."""

    file: str
    sha256: str
    crop: str
    captured_at: str
    quality: float
    best: bool


@dataclass(frozen=True, slots=True)
class MomentEntry:
    """A sighting of the export; `rate`: the share of strangers' comparisons that reach its score; None: not known."""

    number: int
    sighting: str
    score: float
    rate: float | None
    model: str
    camera: str
    camera_name: str
    camera_group: str
    video: str | None
    started_at: str
    ended_at: str
    crops: list[CropFile]
    clips: list[str]


@dataclass(frozen=True, slots=True)
class GapEntry:
    """A time of which there is no footage."""

    camera: str
    video: str | None
    began_at: str
    ended_at: str
    why: str


@dataclass(frozen=True, slots=True)
class Model:
    """What recognised the faces, the score from which a search shows a match, and what that stands for."""

    name: str
    threshold: float
    rate: float


@dataclass(slots=True)
class Contents:
    """All that the report tells; the manifest holds the same for programs."""

    export: str
    created_by: str
    created_at: str
    made_at: str
    reason: str
    zone: str
    blur_others: bool
    audit_entry: int | None
    model: Model
    moments: list[MomentEntry] = field(default_factory=list)
    gone: list[dict[str, Any]] = field(default_factory=list)
    clips: list[ClipFile] = field(default_factory=list)
    gaps: list[GapEntry] = field(default_factory=list)


def model_of(model: TemplateModel) -> Model:
    """What the report tells of a model."""
    return Model(model.name, round(model.calibration.score_at(DEFAULT_RATE), 4), DEFAULT_RATE)


def manifest(contents: Contents) -> bytes:
    """The contents as JSON."""
    return json.dumps({"schema": SCHEMA, **asdict(contents)}, indent=1, ensure_ascii=False).encode() + b"\n"


def report(contents: Contents, pictures: dict[str, bytes], hashes: dict[str, str]) -> bytes:
    """The report.

    Args:
        contents: what it tells.
        pictures: JPEGs by their names in the archive.
        hashes: SHA-256 of the archive's other files by their names.
    """
    template = _environment(contents.zone).get_template(NAME)
    shown = {name: "data:image/jpeg;base64," + base64.b64encode(jpeg).decode() for name, jpeg in pictures.items()}
    return template.render(export=contents, pictures=shown, hashes=hashes).encode()


def _environment(zone: str) -> Environment:
    made = Environment(
        loader=FileSystemLoader(Path(__file__).parent / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    local = ZoneInfo(zone)
    made.filters["utc"] = lambda iso: iso.replace("T", " ").replace("Z", " UTC")
    made.filters["local"] = lambda iso: _local(iso, local)
    made.filters["one_in"] = lambda rate: f"1 in {int(float(f'{1 / rate:.1e}')):,}".replace(",", " ")
    made.filters["megabytes"] = lambda size: f"{size / 1e6:.1f} MB"
    return made


def _local(iso: str, zone: ZoneInfo) -> str:
    at = datetime.fromisoformat(iso).astimezone(zone)
    return at.isoformat(sep=" ", timespec="milliseconds")


def stamp(at_us: int) -> str:
    """A time for the name of a file: `20261101T080000Z`."""
    return f"{to_datetime(at_us):%Y%m%dT%H%M%SZ}"


def when(at_us: int) -> str:
    """A time as the manifest tells it."""
    return isoformat(at_us)
