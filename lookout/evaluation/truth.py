"""What is known of recordings: which file each camera's is, and who is on which camera when."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import url2pathname

from lookout.camera_settings import Camera, load_cameras
from lookout.errors import BadInputError
from lookout.evaluation.protocols import read_rows

COLUMNS = ("identity", "camera", "start_s", "end_s")


@dataclass(frozen=True, slots=True)
class Recording:
    """A camera, and the file that stands for what it saw."""

    camera: Camera
    file: Path


@dataclass(frozen=True, slots=True)
class Appearance:
    """Somebody can be seen on a camera: from when to when, in seconds from the recordings' beginning."""

    identity: str
    camera: str
    start_s: float
    end_s: float


def read_recordings(file: Path) -> list[Recording]:
    """Read a camera file whose cameras are recordings: `file:///path`, or `file:path` from the folder of the file.

    Raises:
        BadInputError: it does not hold, names a stream, or a recording is not there.
    """
    recordings = []
    for camera in load_cameras(file):
        parts = urlsplit(camera.url)
        if not camera.is_recording or parts.netloc not in ("", "localhost"):
            raise BadInputError(
                f"{file}: camera {camera.id} is no recording: record its stream first, then name the file, as "
                "file:///folder/video.mp4, or as file:video.mp4 beside this list."
            )
        found = file.absolute().parent / url2pathname(parts.path)
        if not found.is_file():
            raise BadInputError(f"{file}: camera {camera.id}: {found} is not there; correct its url.")
        recordings.append(Recording(camera, found))
    return recordings


def read_truth(file: Path, cameras: Collection[str]) -> list[Appearance]:
    """Read a CSV with the columns identity, camera, start_s, end_s.

    Args:
        file: identities are the names of targets; those of others are strangers.
        cameras: the ids that there are.

    Raises:
        BadInputError: the file does not hold; the message names the line.
    """
    found = []
    for line, row in read_rows(file, COLUMNS):
        where = f"{file}:{line}"
        identity, camera, start, end = ((row[column] or "").strip() for column in COLUMNS)
        if None in row or not identity:
            raise BadInputError(f"{where}: {', '.join(COLUMNS)} are expected, none of them empty.")
        if camera not in cameras:
            raise BadInputError(f"{where}: there is no camera {camera!r}; the camera file has {', '.join(cameras)}.")
        start_s, end_s = _seconds(where, start), _seconds(where, end)
        if end_s <= start_s:
            raise BadInputError(
                f"{where}: it ends at {end} s, before it begins or as it does: exchange or correct them."
            )
        found.append(Appearance(identity, camera, start_s, end_s))
    if not found:
        raise BadInputError(f"{file}: it names nobody: write a line for each time that somebody can be seen.")
    return found


def listed_of(file: Path, truth: Sequence[Appearance], people: Collection[str]) -> list[Appearance]:
    """The appearances of people on a watchlist.

    Raises:
        BadInputError: there are none.
    """
    listed = [one for one in truth if one.identity in people]
    if not listed:
        raise BadInputError(
            f"{file}: nobody in it is on a watchlist. Its identities must be names of targets; these are "
            f"{', '.join(sorted(people)[:5])}{', …' if len(people) > 5 else ''}."
        )
    return listed


def too_late(file: Path, truth: Sequence[Appearance], seconds: Mapping[str, float]) -> list[str]:
    """Remarks on appearances that begin after the recording of their camera ended: nobody can find them.

    Args:
        file: where they stand.
        truth: the appearances.
        seconds: camera -> how long its recording is.
    """
    return [
        f"{file}: {one.identity} appears on {one.camera} at {one.start_s:g} s, but its recording ends at "
        f"{seconds[one.camera]:.1f} s: correct it."
        for one in truth
        if one.start_s >= seconds[one.camera]
    ]


def _seconds(where: str, text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not (math.isfinite(value) and value >= 0):
        raise BadInputError(f"{where}: {text!r} is no time: give seconds from the recording's beginning, such as 12.5.")
    return value
