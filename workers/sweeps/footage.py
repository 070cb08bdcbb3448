"""Footage goes when its camera's time is up, or when there is more than the camera may have; the oldest goes first."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

from sqlalchemy import ColumnElement, Row, Select, case, delete, func, select
from sqlalchemy.orm import Session

from lookout import audit
from lookout.alerts.holds import held_sightings
from lookout.camera_settings import FOOTAGE_GB, FOOTAGE_HOURS
from lookout.footage.folder import FootageFolder
from lookout.stores.registry.tables import CameraRow, Segment, Video
from workers.parts import Parts
from workers.sweeps.sightings import HOUR_US, camera_ids
from workers.sweeps.turn import Turn

GB = 1_000_000_000
#: Footage around what is held that stays with it.
MARGIN_US = 60_000_000
#: Files that go before their rows.
BATCH = 200

Place = tuple[str, str | None]
Found = Row[str, str, int, int, int, str | None, int]


@dataclass(frozen=True, slots=True)
class Limits:
    """What a camera may keep: how long, in hours, and how much, in bytes."""

    hours: int = FOOTAGE_HOURS
    size: float = FOOTAGE_GB * GB


class Held:
    """The footage of alerts that are held."""

    def __init__(self, session: Session) -> None:
        self._spans: dict[Place, list[tuple[int, int]]] = {}
        for one in session.scalars(held_sightings()):
            span = (one.started_at_us - MARGIN_US, one.ended_at_us + MARGIN_US)
            self._spans.setdefault((one.camera_id, one.video_id), []).append(span)

    def keeps(self, camera_id: str, segment: Found) -> bool:
        """Whether a segment shows some of it."""
        spans = self._spans.get((camera_id, segment.video_id), ())
        return any(start <= segment.ended_at_us and segment.started_at_us <= end for start, end in spans)


def sweep_footage(parts: Parts, turn: Turn, now: int) -> bool:
    """Remove what has expired or is too much; returns whether nothing is left of it.

    A file goes before its row: one killed in between leaves a row that the next run finds again, never a file that
    nobody knows.

    Raises:
        UnavailableError: the registry or the folder cannot be used.
    """
    folder = FootageFolder(parts.settings.footage_folder)
    while not turn.is_over:
        with parts.registry.reading() as session:
            found = list(islice(find_expired(session, now), BATCH))
        if not found:
            return True
        with turn.work():
            for segment in found:
                folder.delete(segment.name)
        _remove_rows(parts, turn, found)
    return False


def find_expired(session: Session, now: int) -> Iterator[Found]:
    """Segments that are to go, of all cameras, the oldest of each first."""
    rows = session.execute(select(CameraRow.id, CameraRow.footage_hours, CameraRow.footage_gb)).all()
    limits = {row.id: Limits(row.footage_hours, row.footage_gb * GB) for row in rows}
    held = Held(session)
    for camera_id in camera_ids(session, Segment.camera_id):
        limit = limits.get(camera_id, Limits())
        before = now - limit.hours * HOUR_US
        size = session.scalar(select(func.sum(Segment.size)).where(Segment.camera_id == camera_id)) or 0
        excess = float(size) - limit.size
        for segment in session.execute(_oldest(camera_id, now, None if excess > 0 else before)):
            if segment.since_us >= before and excess <= 0:
                break
            if not held.keeps(camera_id, segment):
                excess -= segment.size
                yield segment


def _since(now: int) -> ColumnElement[int]:
    """When a segment's time begins: when it was recorded, or when its video was indexed, and not before."""
    working = Video.state.in_(("waiting", "running"))
    indexed = case((working, now), else_=func.coalesce(Video.finished_at_us, Video.created_at_us))
    return case((Segment.video_id.is_(None), Segment.ended_at_us), else_=indexed)


def _oldest(camera_id: str, now: int, before: int | None) -> Select[str, str, int, int, int, str | None, int]:
    since = _since(now).label("since_us")
    query = (
        select(
            Segment.id, Segment.name, Segment.size, Segment.started_at_us, Segment.ended_at_us, Segment.video_id, since
        )
        .outerjoin(Video, Video.id == Segment.video_id)
        .where(Segment.camera_id == camera_id)
        .order_by(since, Segment.started_at_us)
    )
    return query if before is None else query.where(since < before)


def _remove_rows(parts: Parts, turn: Turn, gone: Sequence[Found]) -> None:
    with turn.write(parts.registry, len(gone)) as session:
        session.execute(delete(Segment).where(Segment.id.in_([segment.id for segment in gone])))
        detail = {"segments": len(gone), "bytes": sum(segment.size for segment in gone)}
        audit.record(session, audit.SYSTEM, "retention.swept", "footage", detail=detail)
    turn.count(segments=len(gone))
