"""Enrolment through all stores: a photo becomes a reference, a target can be removed without a trace."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from lookout.clock import now_us
from lookout.errors import ConflictError, NotFoundError
from lookout.faces.photos import decode_photo, read_photo
from lookout.stores.blobs import Blobs
from lookout.stores.registry import Registry
from lookout.stores.registry.tables import (
    Alert,
    AlertSighting,
    Delivery,
    IndexRemoval,
    Reference,
    Target,
    Watchlist,
    new_id,
)
from lookout.stores.templates import pack

if TYPE_CHECKING:
    from lookout.faces.detector import YuNet
    from lookout.faces.embedder import Embedder
    from lookout.faces.enrolment import EnrolledFace

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, eq=False)
class Photo:
    """A photo that can be a reference: its bytes as they came, and the face in it."""

    data: bytes
    face: EnrolledFace


def read_photos(paths: Sequence[Path], detector: YuNet, embedder: Embedder, *, face: int | None = None) -> list[Photo]:
    """Read and judge photos, all before anything is stored.

    Raises:
        PhotoError: one of them cannot be a reference; the message says which and why.
    """
    from lookout.faces.enrolment import enrol_photo

    photos = []
    for path in paths:
        data = read_photo(path)
        photos.append(Photo(data, enrol_photo(decode_photo(data, path.name), path.name, detector, embedder, face=face)))
    return photos


def add_target(
    registry: Registry, blobs: Blobs, *, watchlist: str, name: str, photos: Sequence[Photo], model: str
) -> Target:
    """Put a person with photos on a watchlist, or give one who is there further photos.

    The references become matchable when `lookout.stores.index.update_index` has run.

    Raises:
        NotFoundError: no such watchlist.
        ConflictError: the target has one of these photos already.
    """
    written: list[str] = []
    try:
        with registry.transaction() as session:
            # Locked, so that of two who enrol the same photo the second sees the first's.
            target = _target(session, find_watchlist(session, watchlist, lock=True), name)
            for photo in photos:
                reference = _reference(target, photo, model)
                blobs.write(reference.photo_blob, photo.data)
                written.append(reference.photo_blob)
                target.references.append(reference)
    except BaseException:
        for blob in written:
            blobs.delete(blob)
        raise
    return target


@dataclass(frozen=True, slots=True)
class Removal:
    """What went with a target."""

    references: int
    alerts: int


def remove_target(registry: Registry, blobs: Blobs, *, watchlist: str, name: str) -> Removal:
    """Remove a person with photos, templates and alerts. From the commit on no worker can match the person.

    Raises:
        NotFoundError: no such watchlist or target.
        UnavailableError: a photo could not be deleted; the target is still there, so that it can be removed again.
    """
    with registry.transaction() as session:
        found = session.scalar(
            select(Target)
            .where(Target.watchlist_id == find_watchlist(session, watchlist, lock=True).id, Target.name == name)
            .with_for_update()
        )
        if found is None:
            raise NotFoundError(
                f"there is no target {name} on watchlist {watchlist}; `lookout targets list` shows all."
            )
        references = session.scalars(select(Reference).where(Reference.target_id == found.id)).all()
        alerts = list(session.scalars(select(Alert.id).where(Alert.target_id == found.id)))
        for table in (Delivery, AlertSighting):
            session.execute(delete(table).where(table.alert_id.in_(alerts)))
        session.execute(delete(Alert).where(Alert.id.in_(alerts)))
        for reference in references:
            session.merge(IndexRemoval(reference_id=reference.id))
            session.delete(reference)
        session.flush()
        session.delete(found)
        session.flush()
        # Before the commit: afterwards nobody would know of a photo that could not be deleted.
        for reference in references:
            blobs.delete(reference.photo_blob)
    return Removal(len(references), len(alerts))


def find_watchlist(session: Session, name: str, *, lock: bool = False) -> Watchlist:
    """The watchlist of a name; locked, nobody else changes its targets until the transaction ends.

    Raises:
        NotFoundError: there is none.
    """
    query = select(Watchlist).where(Watchlist.name == name)
    watchlist = session.scalar(query.with_for_update() if lock else query)
    if watchlist is None:
        raise NotFoundError(f"there is no watchlist {name}; make it with `lookout watchlist create`.")
    return watchlist


def _target(session: Session, watchlist: Watchlist, name: str) -> Target:
    target = session.scalar(select(Target).where(Target.watchlist_id == watchlist.id, Target.name == name))
    if target is None:
        target = Target(id=new_id(), watchlist_id=watchlist.id, name=name, created_at_us=now_us())
        target.references = []
        session.add(target)
        session.flush()
    return target


def _reference(target: Target, photo: Photo, model: str) -> Reference:
    digest = hashlib.sha256(photo.data).hexdigest()
    if any(known.photo_sha256 == digest for known in target.references):
        raise ConflictError(f"{target.name} has this photo already; each photo is enrolled once.")
    reference_id = new_id()
    return Reference(
        id=reference_id,
        photo_blob=f"photos/{target.id}/{reference_id}",
        photo_sha256=digest,
        box_xyxy=[round(float(v), 1) for v in photo.face.detection.box_xyxy],
        landmarks=[[round(float(v), 2) for v in point] for point in photo.face.detection.landmarks],
        quality=photo.face.quality.value,
        model=model,
        template=pack(photo.face.template),
        created_at_us=now_us(),
    )
