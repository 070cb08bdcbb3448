"""What a search starts from: photos of a person, a sighting, or a target. Each becomes a template.

What brings OpenVINO is imported where it is used: no command that does not look at faces should wait for it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from sqlalchemy.orm import Session

from lookout.accounts.rights import Identity
from lookout.errors import BadInputError, NotFoundError, PhotoError
from lookout.faces.models import TemplateModel
from lookout.faces.photos import decode_photo, read_photo
from lookout.models_in_use import ModelSwitchedError
from lookout.sealing import Keyring
from lookout.sightings.records import get_sighting
from lookout.stores.registry.tables import Target
from lookout.stores.templates import LEAST_WEIGHT, sighting_place, target_place, unpack
from lookout.targets.photos import sha256_of

if TYPE_CHECKING:
    from lookout.faces.detector import Detector
    from lookout.faces.embedder import AlignedFace, Embedder

Floats = NDArray[np.float32]


@dataclass(frozen=True, slots=True, eq=False)
class QueryFace:
    """The face that is searched for, in one photo.

    Attributes:
        name: of the photo, for messages.
        sha256: of the photo's bytes.
        template: `(D,)` float32 of length 1.
        quality: 0..1.
        warning: why the search may miss the person; empty if the face is good.
        model: the embedder that made the template.
    """

    name: str
    sha256: str
    template: Floats
    quality: float
    warning: str
    model: str


@dataclass(frozen=True, slots=True, eq=False)
class ChosenFace:
    """A face of a photo before it is embedded: `aligned` is as the embedder takes it; the rest is as in `QueryFace`."""

    name: str
    aligned: AlignedFace
    quality: float
    warning: str


def choose_face(
    bgr: NDArray[np.uint8], name: str, detector: Detector, embedder: Embedder, *, face: int | None = None
) -> ChosenFace:
    """The face of a decoded photo, BGR `(H, W, 3)`; also one that is too poor to be enrolled. Any thread may do so.

    Args:
        bgr: the photo.
        name: what to call it in messages.
        detector: finds the faces.
        embedder: says how a face is aligned.
        face: which of several faces, counted from 1 from left to right.

    Raises:
        PhotoError: no face, or several and none chosen.
    """
    from lookout.faces.enrolment import glance

    examination = glance(bgr, name, detector, embedder).examination
    problem = examination.problem(face)
    if problem is not None and not set(problem.reasons).isdisjoint(("no_face", "several_faces")):
        raise problem
    chosen = examination.faces[(face or 1) - 1]
    warning = ""
    if not chosen.accepted:
        warning = (
            f"{name}: the face is poor ({', '.join(chosen.reasons)}), so the search may miss the person: "
            f"{'; '.join(chosen.remedies)}."
        )
    return ChosenFace(name, embedder.align(bgr, chosen.detection.landmarks), chosen.quality.value, warning)


def embedded(chosen: ChosenFace, sha256: str, embedder: Embedder) -> QueryFace:
    """The face with its template, of this face alone: nobody else in the photo is made recognisable."""
    (template,) = embedder.embed([chosen.aligned])
    return QueryFace(chosen.name, sha256, template, chosen.quality, chosen.warning, embedder.name)


def read_faces(
    paths: Sequence[Path], detector: Detector, embedder: Embedder, *, face: int | None = None
) -> list[QueryFace]:
    """The faces of photo files.

    Raises:
        PhotoError: one cannot be read, shows no face, or several and none was chosen.
    """
    found = []
    for path in paths:
        data = read_photo(path)
        chosen = choose_face(decode_photo(data, path.name), path.name, detector, embedder, face=face)
        found.append(embedded(chosen, sha256_of(data), embedder))
    return found


def of_photos(faces: Sequence[QueryFace], model: TemplateModel) -> Floats:
    """One template `(D,)` of all photos of a person, combined as a target's are.

    Combined rather than searched one by one with the best score taken: a stranger would have as many chances to
    resemble one of them as there are photos, and the threshold's stated rate would no longer hold.

    Raises:
        PhotoError: one of them may show somebody else.
        ModelSwitchedError: another embedder has come into use meanwhile.
    """
    from lookout.faces.combining import STRANGER_RATE, combine

    if not faces:
        raise BadInputError("photos: send at least one.")
    if any(face.model != model.name for face in faces):
        raise ModelSwitchedError(f"the embedder {model.name} has come into use meanwhile: search again.")
    least = model.calibration.score_at(STRANGER_RATE)
    weights = [max(face.quality, LEAST_WEIGHT) for face in faces]
    combined = combine(np.stack([face.template for face in faces]), weights, least)
    if combined.outliers:
        names = ", ".join(faces[index].name for index in combined.outliers)
        raise PhotoError(
            f"{names}: this may be somebody else than the other photos show. Search with photos of one person; "
            "where there are several faces, choose the person's in each.",
            reasons=["disagrees"],
        )
    return combined.template


def of_sighting(session: Session, who: Identity | None, keyring: Keyring, sighting_id: str, model: str) -> Floats:
    """The template `(D,)` of a sighting.

    Raises:
        NotFoundError: there is none, or no right to its camera group.
        BadInputError: another model made its template.
    """
    from lookout.faces.embedder import normalised

    sighting = get_sighting(session, who, sighting_id)
    if sighting.model != model:
        raise BadInputError(
            f"sighting {sighting_id} was made with the model {sighting.model}, in use is {model}: search with its crop."
        )
    return normalised(unpack(sighting.template_sum, keyring, sighting_place(sighting.id)))


def of_target(session: Session, who: Identity | None, keyring: Keyring, target_id: str, model: str) -> Floats:
    """The template `(D,)` of a target, of all photos that agree.

    Raises:
        NotFoundError: there is none, it was erased, or there is no right to its watchlist.
        BadInputError: it has no photo, or another model made its template.
    """
    target = None if "\0" in target_id else session.get(Target, target_id)
    hidden = (
        who is not None
        and target is not None
        and not (who.may("watchlists:read") and who.sees_watchlist(target.watchlist_id))
    )
    if target is None or hidden or target.erased_at_us is not None:
        raise NotFoundError(f"there is no target {target_id}.")
    if target.template is None:
        raise BadInputError(f"target {target_id} has no photo to search with: add one first.")
    if target.model != model:
        raise BadInputError(f"target {target_id} was enrolled with the model {target.model}, in use is {model}.")
    return unpack(target.template, keyring, target_place(target.id))
