"""Pictures to templates, by the same steps as photos of the watchlist and crops of the cameras."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lookout.errors import PhotoError
from lookout.faces.detector import Detection, Detector
from lookout.faces.embedder import AlignedFace, Embedder
from lookout.faces.enrolment import find_faces
from lookout.faces.photos import decode_photo, read_photo
from lookout.faces.quality import Quality, assess

Floats = NDArray[np.float32]

#: Pictures whose faces are embedded in one call.
CHUNK = 32


@dataclass(frozen=True, slots=True, eq=False)
class Face:
    """The face that a picture is about.

    Attributes:
        template: `(D,)` of length 1.
        width_px: of its box.
        quality: as the gates see it.
    """

    template: Floats
    width_px: float
    quality: Quality


@dataclass(frozen=True, slots=True, eq=False)
class Pictures:
    """What became of all pictures, by their paths below the folder.

    Attributes:
        faces: of those in which one was found.
        failures: why there is none in the others: failures to acquire.
        sha256: of all pictures' names and contents, in their order: the same set has the same.
    """

    faces: Mapping[str, Face]
    failures: Mapping[str, str]
    sha256: str


@dataclass(frozen=True, slots=True, eq=False)
class _Seen:
    digest: bytes
    aligned: AlignedFace | None = None
    width_px: float = 0.0
    quality: Quality | None = None
    problem: str = ""


def embed_pictures(
    folder: Path,
    paths: Iterable[str],
    detector: Detector,
    embedder: Embedder,
    *,
    threads: int = 2,
    advance: Callable[[int], None] = lambda _count: None,
) -> Pictures:
    """Find the face in the middle of each picture and make its template, whatever the gates say of it.

    Args:
        folder: where the pictures lie.
        paths: below it; a picture that is named often is looked at once.
        detector: finds faces as it does in photos that are enrolled.
        embedder: makes the templates; used by the caller's thread alone.
        threads: pictures that are decoded and searched at a time.
        advance: told how many more are done.
    """
    wanted = sorted(set(paths))
    faces: dict[str, Face] = {}
    failures: dict[str, str] = {}
    digest = hashlib.sha256()
    with ThreadPoolExecutor(threads) as pool:
        seen = pool.map(lambda path: _look(folder / path, detector, embedder), wanted)
        named = zip(wanted, seen, strict=True)
        while chunk := list(islice(named, CHUNK)):
            for path, one in chunk:
                digest.update(path.encode() + b"\0" + one.digest)
            faces |= _embedded(chunk, embedder)
            failures |= {path: one.problem for path, one in chunk if one.aligned is None}
            advance(len(chunk))
    return Pictures(faces, failures, digest.hexdigest())


def _look(file: Path, detector: Detector, embedder: Embedder) -> _Seen:
    data = b""
    try:
        data = read_photo(file)
        bgr = decode_photo(data, file.name)
    except PhotoError as error:
        return _Seen(hashlib.sha256(data).digest(), problem=str(error))
    found = in_the_middle(find_faces(bgr, detector), (bgr.shape[1], bgr.shape[0]))
    digest = hashlib.sha256(data).digest()
    if found is None:
        return _Seen(digest, problem="no face found")
    return _Seen(digest, embedder.align(bgr, found.landmarks), found.width_px, assess(bgr, found))


def in_the_middle(faces: Sequence[Detection], size_wh: tuple[int, int]) -> Detection | None:
    """The face that a picture is about: the one nearest to its centre; others are passers-by."""

    def from_centre(face: Detection) -> float:
        return float(np.hypot(*((face.box_xyxy[:2] + face.box_xyxy[2:]) / 2 - np.array(size_wh) / 2)))

    return min(faces, key=from_centre, default=None)


def _embedded(chunk: Sequence[tuple[str, _Seen]], embedder: Embedder) -> dict[str, Face]:
    good = [(path, one.aligned, one.width_px, one.quality) for path, one in chunk]
    faces = [(path, aligned, width, quality) for path, aligned, width, quality in good if aligned and quality]
    templates = embedder.embed([aligned for _, aligned, _, _ in faces])
    return {
        path: Face(template, width, quality)
        for (path, _, width, quality), template in zip(faces, templates, strict=True)
    }
