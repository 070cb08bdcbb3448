"""Sightings leave every store: the registry, Milvus, the blob store, and exports that hold them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from sqlalchemy import delete, select, update
from sqlalchemy.orm import Session

from lookout.exports.records import remove_with_sightings
from lookout.stores.blobs import Blobs
from lookout.stores.registry.tables import Alert, AlertSighting, Sighting, StoredCrop
from lookout.stores.vectors import SIGHTINGS, Vectors

#: SQLite takes some thousand parameters in a statement.
ROWS_PER_STATEMENT = 500


@dataclass(frozen=True, slots=True)
class Removed:
    """How much went."""

    sightings: int
    crops: int


def remove_sightings(session: Session, blobs: Blobs, vectors: Vectors, ids: Sequence[str]) -> Removed:
    """Remove sightings everywhere, before the commit: afterwards nobody would know of what could not be deleted.

    In SQLite everybody who writes waits meanwhile. Whoever removes many calls `empty_stores` first, outside of a
    transaction, and then `remove_rows`, some at a time. Exports are left alone by these two, as they expire themselves.

    Args:
        session: of `Registry.transaction`, which has locked the sightings or what they belong to.
        blobs: the pictures.
        vectors: Milvus.
        ids: of sightings; those that are gone do no harm.

    Raises:
        UnavailableError: a store does not answer; roll back and call it again.
    """
    pictures = pictures_of(session, ids)
    removed = remove_rows(session, ids)
    remove_with_sightings(session, blobs, ids)
    session.flush()
    empty_stores(blobs, vectors, ids, pictures)
    return removed


def pictures_of(session: Session, ids: Sequence[str]) -> list[str]:
    """Names of the blobs of sightings."""
    return [
        blob
        for chunk in chunks(ids)
        for blob in session.scalars(select(StoredCrop.blob).where(StoredCrop.sighting_id.in_(chunk)))
        if blob
    ]


def empty_stores(blobs: Blobs, vectors: Vectors, ids: Sequence[str], pictures: Iterable[str]) -> None:
    """Delete sightings' templates from Milvus, and pictures; what is gone already does no harm.

    Raises:
        UnavailableError: a store does not answer.
    """
    if ids:
        vectors.delete(SIGHTINGS, ids)
    for picture in pictures:
        blobs.delete(picture)


def remove_rows(session: Session, ids: Sequence[str]) -> Removed:
    """Delete sightings and their crops from the registry.

    Which of them are rejected pairs stays known, as evaluation reads it; it says nothing of a face.
    """
    count = crops = 0
    for chunk in chunks(ids):
        pictured = list(session.scalars(select(StoredCrop.id).where(StoredCrop.sighting_id.in_(chunk))))
        for some in chunks(pictured):
            # What remains are alerts of others that were rejected: the picture never showed their target.
            showing = update(Alert).where(Alert.crop_id.in_(some)).values(crop_id=None)
            session.execute(showing.execution_options(synchronize_session=False))
        session.execute(delete(AlertSighting).where(AlertSighting.sighting_id.in_(chunk)))
        session.execute(delete(StoredCrop).where(StoredCrop.sighting_id.in_(chunk)))
        gone = delete(Sighting).where(Sighting.id.in_(chunk)).returning(Sighting.id)
        count += len(session.scalars(gone).all())
        crops += len(pictured)
    return Removed(count, crops)


def chunks(ids: Sequence[str]) -> Iterator[Sequence[str]]:
    """Ids, as many at a time as a statement takes."""
    return (ids[start : start + ROWS_PER_STATEMENT] for start in range(0, len(ids), ROWS_PER_STATEMENT))
