"""A target's photos in all stores, and the template that they make together."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import event, select
from sqlalchemy.orm import Session

from lookout.clock import now_us
from lookout.errors import ConflictError
from lookout.faces.models import TemplateModel
from lookout.models_in_use import ModelSwitchedError, hold_embedder
from lookout.sealing import Keyring
from lookout.stores.blobs import Blobs
from lookout.stores.registry.tables import IndexRemoval, Reference, Target, new_id
from lookout.stores.templates import LEAST_WEIGHT, pack, reference_place, target_place, unpack_many
from lookout.targets.photos import Photo

Floats = NDArray[np.float32]


class DisagreesError(ConflictError):
    """Photos that may show somebody else than the target's others.

    Attributes:
        photos: positions of them among those that were to be added.
        known: ids of references that no longer agree with the others.
    """

    def __init__(self, message: str, *, photos: Sequence[int], known: Sequence[str]) -> None:
        super().__init__(message)
        self.photos = tuple(photos)
        self.known = tuple(known)


def new_reference(target_id: str, photo: Photo, keyring: Keyring, model: TemplateModel) -> Reference:
    """A reference of a target, not yet in any store.

    Raises:
        ModelSwitchedError: another model made the photo's template.
    """
    if photo.face.model != model.name:
        raise ModelSwitchedError(
            f"the embedder {model.name} has come into use since {photo.name} was looked at: try again."
        )
    reference_id = new_id()
    return Reference(
        id=reference_id,
        target_id=target_id,
        photo_blob=f"photos/{target_id}/{reference_id}",
        face_blob=f"photos/{target_id}/{reference_id}.face",
        photo_sha256=photo.sha256,
        box_xyxy=[round(float(v), 1) for v in photo.face.detection.box_xyxy],
        landmarks=[[round(float(v), 2) for v in point] for point in photo.face.detection.landmarks],
        quality=photo.face.quality.value,
        model=model.name,
        template=pack(photo.face.template, keyring, reference_place(reference_id)),
        in_template=True,
        confirmed=False,
        created_at_us=now_us(),
    )


def write_pictures(blobs: Blobs, reference: Reference, photo: Photo) -> None:
    """Store the photo and its cut-out face.

    Raises:
        UnavailableError: the blob store takes them not.
    """
    blobs.write(reference.photo_blob, photo.data)
    blobs.write(reference.face_blob, photo.face_jpeg)


def undo_pictures(session: Session, blobs: Blobs, references: Iterable[Reference]) -> None:
    """Should the transaction fail, delete the pictures of the references that are in the list by then."""

    def delete(_: Session) -> None:
        for reference in references:
            blobs.delete(reference.photo_blob)
            blobs.delete(reference.face_blob)

    event.listen(session, "after_rollback", delete)


def known_photos(session: Session, target: Target) -> set[str]:
    """SHA-256 of the photos that a target has."""
    return set(session.scalars(select(Reference.photo_sha256).where(Reference.target_id == target.id)))


def recombine(session: Session, keyring: Keyring, target: Target, model: TemplateModel) -> list[Reference]:
    """Make a target's template anew of its photos; returns those that disagree with the others and are left out.

    Whoever calls it has the target locked, and runs `lookout.stores.index.update_index` after the commit.

    Raises:
        SealError: a photo's template cannot be decrypted.
        ModelSwitchedError: another embedder has come into use meanwhile.
    """
    hold_embedder(session, model.name)
    session.flush()
    query = select(Reference).where(Reference.target_id == target.id, Reference.model == model.name)
    references = list(session.scalars(query.order_by(Reference.created_at_us, Reference.id)))
    target.indexed = False
    if not references:
        if target.template is not None:
            session.merge(IndexRemoval(target_id=target.id))
        target.template = target.model = None
        return []
    templates = unpack_many({reference_place(one.id): one.template for one in references}, keyring)
    confirmed = {number for number, one in enumerate(references) if one.confirmed}
    template, outliers = combined(templates, [one.quality for one in references], model, confirmed)
    for number, one in enumerate(references):
        one.in_template = number not in outliers
    target.template = pack(template, keyring, target_place(target.id))
    target.model = model.name
    return [references[number] for number in outliers]


def combined(
    templates: Floats, qualities: Sequence[float], model: TemplateModel, confirmed: Collection[int] = ()
) -> tuple[Floats, tuple[int, ...]]:
    """The template of photos `(N, D)` of one person, and the positions of those that are left out of it."""
    # It imports OpenVINO, which takes a third of a second: only who combines should wait for it.
    from lookout.faces.combining import STRANGER_RATE, combine

    weights = [max(quality, LEAST_WEIGHT) for quality in qualities]
    found = combine(templates, weights, model.calibration.score_at(STRANGER_RATE), confirmed=confirmed)
    return found.template, found.outliers


def confirm(
    session: Session, keyring: Keyring, target: Target, references: Iterable[Reference], model: TemplateModel
) -> None:
    """Take photos that disagree into the template all the same: a person said that all of them show the target."""
    wanted = {reference.id for reference in references}
    session.flush()
    for reference in session.scalars(select(Reference).where(Reference.target_id == target.id)):
        # Of two that disagree the other one would be left out if only this one were confirmed.
        if reference.in_template or reference.id in wanted:
            reference.confirmed = True
    recombine(session, keyring, target, model)
