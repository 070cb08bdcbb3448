"""The models that look at photos which people send; loaded once in each process."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING

from lookout.errors import PhotoError
from lookout.faces.gates import USUAL, Gates
from lookout.faces.models import load_detector, load_embedder
from lookout.faces.photos import decode_photo
from lookout.models_in_use import ModelsInUse
from lookout.settings import Settings
from lookout.targets.photos import Photo, cut_face, preview, sha256_of

if TYPE_CHECKING:
    from lookout.faces.detector import Detector
    from lookout.faces.embedder import Embedder
    from lookout.faces.enrolment import Examination
    from lookout.sightings.sources import QueryFace

#: Photos decoded and searched at a time: one of 64 megapixels takes a gigabyte meanwhile.
AT_A_TIME = 2


@dataclass(frozen=True, slots=True, eq=False)
class Seen:
    """What a photo shows, for the person who sent it.

    Attributes:
        preview: the photo upright, reduced, as a JPEG; empty if it could not be read.
    """

    examination: Examination
    preview: bytes


class Faces:
    """Detector and embedder for any number of threads."""

    def __init__(self, settings: Settings, models: ModelsInUse) -> None:
        self._settings, self._in_use = settings, models
        self._loading = threading.Lock()
        self._embedding = threading.Lock()
        self._looking = threading.BoundedSemaphore(AT_A_TIME)
        self._detector: tuple[str, Detector] | None = None
        self._embedder: Embedder | None = None

    def load(self) -> tuple[Detector, Embedder]:
        """The models in use, loaded if nobody has done so yet.

        Raises:
            AssetError: they cannot be fetched or loaded.
            UnavailableError: the registry does not answer.
        """
        used = self._in_use()
        with self._loading:
            if self._detector is None or self._detector[0] != used.detector:
                self._detector = (used.detector, load_detector(self._settings, used.detector))
            if self._embedder is None or self._embedder.name != used.embedder.name:
                self._embedder = load_embedder(self._settings, used.embedder.name)
            return self._detector[1], self._embedder

    def examine(self, data: bytes, name: str, gates: Gates = USUAL) -> Seen:
        """Find and judge all faces of a photo. It refuses nothing: the result says why.

        Args:
            data: the file's bytes.
            name: what to call it in messages.
            gates: what a face must have.
        """
        from lookout.faces.enrolment import Examination, complete, glance

        detector, embedder = self.load()
        with self._looking:
            try:
                bgr = decode_photo(data, name)
            except PhotoError as error:
                return Seen(Examination(name, (0, 0), (), PhotoError(str(error), reasons=error.reasons)), b"")
            glimpse, small = glance(bgr, name, detector, embedder, gates), preview(bgr)
        with self._embedding:
            (examination,) = complete([glimpse], embedder)
        return Seen(examination, small)

    def enrol(self, data: bytes, name: str, face: int | None, gates: Gates) -> Photo:
        """Turn a photo into one that can be a reference.

        Args:
            data: the file's bytes.
            name: what to call it in messages.
            face: which of several faces, counted from 1 from left to right.
            gates: what it must have.

        Raises:
            PhotoError: it cannot be one; the message says why.
        """
        from lookout.faces.enrolment import complete, glance

        detector, embedder = self.load()
        with self._looking:
            bgr = decode_photo(data, name)
            glimpse = glance(bgr, name, detector, embedder, gates)
            if problem := glimpse.examination.problem(face):
                raise problem
            box = glimpse.examination.faces[(face or 1) - 1].detection.box_xyxy.tolist()
            jpeg = cut_face(bgr, box)
        with self._embedding:
            (examination,) = complete([glimpse], embedder)
        return Photo(name, data, examination.choose(face), jpeg)

    def to_search(self, data: bytes, name: str, face: int | None) -> QueryFace:
        """The face of a photo to search with, also one that is too poor to be enrolled.

        Args:
            data: the file's bytes.
            name: what to call it in messages.
            face: which of several faces, counted from 1 from left to right.

        Raises:
            PhotoError: the photo cannot be read, shows no face, or several and none was chosen.
        """
        from lookout.sightings.sources import choose_face, embedded

        detector, embedder = self.load()
        with self._looking:
            chosen = choose_face(decode_photo(data, name), name, detector, embedder, face=face)
        with self._embedding:
            return embedded(chosen, sha256_of(data), embedder)
