"""Sightings of people on no watchlist go when their camera's time is up, with their crops and templates."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from sqlalchemy import ColumnElement, exists, func, or_, select, update
from sqlalchemy.orm import InstrumentedAttribute, Session

from lookout import audit
from lookout.camera_settings import RETENTION_HOURS
from lookout.sightings.removal import empty_stores, pictures_of, remove_rows
from lookout.stores.registry.tables import AlertSighting, CameraRow, Sighting, StoredCrop
from workers.parts import Parts
from workers.sweeps.turn import Turn

HOUR_US = 3_600_000_000
#: Sightings whose pictures and templates go at once. Milvus Lite takes some 23 µs for each template, however many it
#: has, and answers no search meanwhile.
BATCH = 2000

#: What of a sighting changes when a worker adds a crop to it, or Milvus learns of it.
State = tuple[int, bool]


@dataclass(slots=True)
class Progress:
    """How far a run has come with each camera, as `created_at_us`: those that alerts keep are passed over once."""

    reached: dict[str, int] = field(default_factory=dict)


def sweep_sightings(parts: Parts, turn: Turn, now: int) -> bool:
    """Remove what has expired; returns whether nothing is left of it.

    Pictures and templates go first, outside of transactions, then the rows, some at a time. One killed in between
    leaves rows that the next run finds again.

    Raises:
        UnavailableError: a store does not answer.
    """
    progress = Progress()
    while not turn.is_over:
        with turn.work(), parts.registry.reading() as session:
            found = find_expired(session, now, progress, BATCH)
            pictures = pictures_of(session, list(found))
        if not found:
            return True
        with turn.work():
            empty_stores(parts.blobs, parts.vectors, list(found), pictures)
        if not _remove(parts, turn, found, set(pictures)):
            return True  # workers are at them: the next run looks again
    return False


def find_expired(session: Session, now: int, progress: Progress, limit: int) -> dict[str, State]:
    """Expired sightings that are part of no alert, by id, the oldest of each camera first.

    The time begins when a sighting was stored and, seen live, has ended. One of a video that was handed in would
    otherwise be gone at once.
    """
    hours: dict[str, int] = dict(session.execute(select(CameraRow.id, CameraRow.retention_hours)).all())
    found: dict[str, State] = {}
    for camera_id in camera_ids(session, Sighting.camera_id):
        before = now - hours.get(camera_id, RETENTION_HOURS) * HOUR_US
        query = (
            select(Sighting.id, Sighting.ended_at_us, Sighting.indexed, Sighting.created_at_us)
            .where(
                Sighting.camera_id == camera_id,
                Sighting.created_at_us >= progress.reached.get(camera_id, 0),
                Sighting.created_at_us < before,
                or_(Sighting.video_id.is_not(None), Sighting.ended_at_us < before),
                ~_in_an_alert(),
            )
            .order_by(Sighting.created_at_us)
            .limit(limit - len(found))
        )
        for row in session.execute(query):
            found[row.id] = (row.ended_at_us, row.indexed)
            progress.reached[camera_id] = row.created_at_us
        if len(found) >= limit:
            break
    return found


def camera_ids(session: Session, column: InstrumentedAttribute[str]) -> Iterator[str]:
    """The cameras that a table knows, from an index that begins with them, without reading all of it."""
    last = session.scalar(select(func.min(column)))
    while last is not None:
        yield last
        last = session.scalar(select(func.min(column)).where(column > last))


def _in_an_alert() -> ColumnElement[bool]:
    return exists().where(AlertSighting.sighting_id == Sighting.id)


def _remove(parts: Parts, turn: Turn, found: Mapping[str, State], pictures: set[str]) -> int:
    """Delete rows whose pictures are gone; returns how many sightings went."""
    ids = list(found)
    count = 0
    while ids:
        some, ids = ids[: turn.rows], ids[turn.rows :]
        with turn.write(parts.registry, len(some)) as session:
            gone, changed = _locked(session, {sighting_id: found[sighting_id] for sighting_id in some})
            removed = remove_rows(session, gone)
            _forget_pictures(session, changed, pictures)
            if removed.sightings:
                detail = {"sightings": removed.sightings, "crops": removed.crops}
                audit.record(session, audit.SYSTEM, "retention.swept", "sightings", detail=detail)
        turn.count(sightings=removed.sightings, crops=removed.crops)
        count += removed.sightings
    return count


def _locked(session: Session, found: Mapping[str, State]) -> tuple[list[str], list[str]]:
    """Lock sightings, as workers do before they add to one; those that are as they were found, and those that are not.

    What somebody else has locked is in neither.
    """
    query = select(Sighting.id, Sighting.ended_at_us, Sighting.indexed).where(Sighting.id.in_(found))
    locked = session.execute(query.order_by(Sighting.id).with_for_update(skip_locked=True)).all()
    linked = set(session.scalars(select(AlertSighting.sighting_id).where(AlertSighting.sighting_id.in_(found))))
    same = [row.id for row in locked if (row.ended_at_us, row.indexed) == found[row.id] and row.id not in linked]
    return same, [row.id for row in locked if row.id not in same]


def _forget_pictures(session: Session, ids: Sequence[str], pictures: set[str]) -> None:
    """Of sightings that came to life again while they went: their old pictures are gone, Milvus needs them anew."""
    for crop in session.scalars(select(StoredCrop).where(StoredCrop.sighting_id.in_(ids))):
        crop.blob = None if crop.blob in pictures else crop.blob
    session.execute(update(Sighting).where(Sighting.id.in_(ids)).values(indexed=False))
