"""A photo to a reference: exactly one good face, or a refusal that says why and what would help."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from lookout.errors import PhotoError
from lookout.faces.detector import Detection, Detector
from lookout.faces.embedder import AlignedFace, Embedder
from lookout.faces.gates import USUAL, Gates
from lookout.faces.geometry import Floats
from lookout.faces.quality import Quality, assess
from lookout.faces.remedies import REMEDIES, remedies

#: Sizes of the detector's copies of a photo. The first shows a face that fills the picture: in the second it would be
#: wider than the detector knows faces, which then finds none, or a few poor ones in parts of it. The second shows small
#: faces.
OVERVIEW_PX, DETAIL_PX = 400, 1280
#: A face this wide in the overview, with this score, spares the second copy: whatever is not ignored beside it has a
#: fifth of its width, 20 pixels, and is seen there too (recall from 16 pixels on 0.996). On photos of groups and of
#: nobody it changes no answer; beside 259 portraits (LFW enlarged to 1000 pixels) 11 "faces" are lost: 8 were none
#: (hands, cloth, a dog), 3 were heads cut off by the edge (see also `tests/accuracy/test_enrolment.py`).
PORTRAIT_PX, PORTRAIT_SCORE = 100.0, 0.8


@dataclass(frozen=True, slots=True, eq=False)
class EnrolledFace:
    """One face of a photo, fit to be a reference.

    Attributes:
        detection: where it is, in pixels of the decoded photo.
        quality: its quality.
        template: `(D,)` float32 of length 1.
        model: the embedder that made the template.
    """

    detection: Detection
    quality: Quality
    template: Floats
    model: str


@dataclass(frozen=True, slots=True, eq=False)
class ExaminedFace:
    """One face of a photo, good or not.

    Attributes:
        detection: where it is, in pixels of the decoded, upright photo.
        quality: its quality.
        reasons: why it cannot be a reference: those of its quality, and `small` already below the gates' width.
        template: `(D,)` float32 of length 1; None if it cannot be a reference.
        model: the embedder that made the template.
        gates: which it was held against.
    """

    detection: Detection
    quality: Quality
    reasons: tuple[str, ...]
    template: Floats | None = None
    model: str = ""
    gates: Gates = USUAL

    @property
    def accepted(self) -> bool:
        """Whether it can be a reference."""
        return not self.reasons

    @property
    def remedies(self) -> tuple[str, ...]:
        """What would help, one for each reason."""
        return remedies(self.reasons, self.gates)


@dataclass(frozen=True, slots=True, eq=False)
class Examination:
    """What a photo shows, or why it cannot be looked at.

    Attributes:
        name: what the photo is called in messages.
        size_wh: width and height in pixels of the decoded, upright photo, which all boxes refer to; (0, 0) if unread.
        faces: from left to right; those below a fifth of the widest are left out.
        unread: why the file could not be read or decoded.
    """

    name: str
    size_wh: tuple[int, int]
    faces: tuple[ExaminedFace, ...]
    unread: PhotoError | None = None

    def problem(self, face: int | None = None) -> PhotoError | None:
        """Why the photo cannot be enrolled, with that face chosen; None if it can.

        Args:
            face: which of several faces, counted from 1 from left to right.

        Returns:
            the error that `enrol_photo` would raise; its `reasons` are those of the file, `no_face`, `several_faces`,
            or those of the only or chosen face.
        """
        if self.unread is not None:
            return self.unread
        count = len(self.faces)
        if not count:
            return PhotoError(f"{self.name}: no face found. {_sentence('no_face')}", reasons=["no_face"])
        if face is None and count > 1:
            places = "; ".join(f"{n}: {_place(found.detection)}" for n, found in enumerate(self.faces, 1))
            return PhotoError(
                f"{self.name}: {count} faces found ({places}). Choose one with --face 1…{count}, "
                "counted from the left.",
                reasons=["several_faces"],
            )
        if face is not None and not 1 <= face <= count:
            return PhotoError(
                f"{self.name}: there is no face {face}; {count} found, counted from the left.", reasons=["no_face"]
            )
        chosen = self.faces[(face or 1) - 1]
        if chosen.accepted:
            return None
        return PhotoError(
            f"{self.name}: the face ({chosen.detection.width_px:.0f} pixels wide) is not good enough "
            f"({', '.join(chosen.reasons)}): {'; '.join(chosen.remedies)}.",
            reasons=chosen.reasons,
        )

    def choose(self, face: int | None = None) -> EnrolledFace:
        """The only face, or the chosen one of several, counted from 1 from left to right.

        Raises:
            PhotoError: no face, several and none chosen, one that is not good enough, or an unread file.
        """
        if problem := self.problem(face):
            raise problem
        chosen = self.faces[(face or 1) - 1]
        if chosen.template is None:
            raise ValueError("choose from what `examine` returned: here nothing is embedded yet")
        return EnrolledFace(chosen.detection, chosen.quality, chosen.template, chosen.model)


@dataclass(frozen=True, slots=True, eq=False)
class Glance:
    """A photo examined but for its templates, without its pixels.

    Attributes:
        examination: all faces, none with a template.
        aligned: the accepted faces as the embedder takes them, from left to right.
    """

    examination: Examination
    aligned: tuple[AlignedFace, ...] = ()


def glance(bgr: NDArray[np.uint8], name: str, detector: Detector, embedder: Embedder, gates: Gates = USUAL) -> Glance:
    """Find and judge the faces of a decoded photo, BGR `(H, W, 3)`. Any thread may do so: nothing is embedded."""
    faces = tuple(_judge(bgr, detection, gates) for detection in find_faces(bgr, detector))
    aligned = tuple(embedder.align(bgr, face.detection.landmarks) for face in faces if face.accepted)
    return Glance(Examination(name, (bgr.shape[1], bgr.shape[0]), faces), aligned)


def complete(glances: Sequence[Glance], embedder: Embedder) -> list[Examination]:
    """The examinations with their templates, all of them embedded in one call."""
    templates = iter(embedder.embed([aligned for seen in glances for aligned in seen.aligned]))
    return [
        replace(
            seen.examination,
            faces=tuple(
                replace(face, template=next(templates), model=embedder.name) if face.accepted else face
                for face in seen.examination.faces
            ),
        )
        for seen in glances
    ]


def examine(bgr: NDArray[np.uint8], name: str, detector: Detector, embedder: Embedder) -> Examination:
    """Find, judge and embed all faces of a decoded photo, BGR `(H, W, 3)`. It refuses nothing: the result says why.

    Args:
        bgr: the photo.
        name: what to call it in messages.
        detector: finds the faces.
        embedder: makes the templates of those that can be references, in one call.
    """
    return complete([glance(bgr, name, detector, embedder)], embedder)[0]


def enrol_photo(
    bgr: NDArray[np.uint8],
    name: str,
    detector: Detector,
    embedder: Embedder,
    *,
    face: int | None = None,
    gates: Gates = USUAL,
) -> EnrolledFace:
    """Turn a decoded photo, BGR `(H, W, 3)`, into a reference.

    Args:
        bgr: the photo.
        name: what to call it in messages.
        detector: finds the faces.
        embedder: makes the template, of the enrolled face alone: nobody else in the photo is made recognisable.
        face: which of several faces, counted from 1 from left to right.
        gates: what it must have.

    Raises:
        PhotoError: no face, several and none chosen, or one that is not good enough.
    """
    examination = glance(bgr, name, detector, embedder, gates).examination
    if problem := examination.problem(face):
        raise problem
    chosen = examination.faces[(face or 1) - 1]
    (template,) = embedder.embed([embedder.align(bgr, chosen.detection.landmarks)])
    return EnrolledFace(chosen.detection, chosen.quality, template, embedder.name)


def _judge(bgr: NDArray[np.uint8], detection: Detection, gates: Gates) -> ExaminedFace:
    quality = assess(bgr, detection, gates.min_quality)
    return ExaminedFace(detection, quality, refusals(quality, detection.width_px, gates), gates=gates)


def refusals(quality: Quality, width_px: float, gates: Gates = USUAL) -> tuple[str, ...]:
    """Why a face cannot be a reference; empty if it can. The quality was assessed with the gates' least one."""
    reasons = quality.reasons
    return ("small", *reasons) if width_px < gates.min_face_px and "small" not in reasons else reasons


def find_faces(bgr: NDArray[np.uint8], detector: Detector) -> list[Detection]:
    """Faces from left to right, without those below a fifth of the widest: passers-by in a portrait's background."""
    seen = detector.detect_scaled(bgr, OVERVIEW_PX)
    reduced = min(1.0, OVERVIEW_PX / max(1, *bgr.shape[:2]))
    if reduced < 1 and not any(
        face.width_px * reduced >= PORTRAIT_PX and face.score >= PORTRAIT_SCORE for face in seen
    ):
        seen = [*seen, *detector.detect_scaled(bgr, DETAIL_PX)]
    found: list[Detection] = []
    for face in sorted(seen, key=lambda face: -face.score):
        # The same face at the other size, or a part of it taken for a face.
        if not any(_centre_within(face, better) for better in found):
            found.append(face)
    widest = max((face.width_px for face in found), default=0.0)
    return sorted((face for face in found if face.width_px >= widest / 5), key=lambda face: float(face.box_xyxy[0]))


def _centre_within(face: Detection, other: Detection) -> bool:
    x, y = (face.box_xyxy[:2] + face.box_xyxy[2:]) / 2
    x1, y1, x2, y2 = other.box_xyxy
    return bool(x1 <= x <= x2 and y1 <= y <= y2)


def _place(detection: Detection) -> str:
    x1, y1, x2, y2 = (round(float(v)) for v in detection.box_xyxy)
    return f"{x2 - x1}×{y2 - y1} pixels at {x1},{y1}"


def _sentence(reason: str) -> str:
    remedy = REMEDIES[reason]
    return f"{remedy[0].upper()}{remedy[1:]}."
