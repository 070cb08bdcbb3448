"""Alerts go when their watchlist's time is up; what remains of one is what the audit tells."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import delete, exists, select

from lookout import audit
from lookout.stores.registry.tables import (
    Alert,
    AlertEvent,
    AlertSighting,
    Delivery,
    RejectedPair,
    Sighting,
    Target,
    Verdict,
    Watchlist,
)
from workers.parts import Parts
from workers.sweeps.turn import Turn

DAY_US = 24 * 3_600_000_000
#: Alerts that go in one transaction: their frames go with them, and the audit names each.
BATCH = 50
#: What belongs to an alert and goes before it.
_PARTS = (Delivery, AlertEvent, Verdict, AlertSighting)


def sweep_alerts(parts: Parts, turn: Turn, now: int) -> bool:
    """Remove what has expired, judged or not, and their frames; returns whether nothing is left of it.

    Their sightings are then of people on no watchlist, if no other alert has them, and go as such.

    Raises:
        UnavailableError: a store does not answer.
    """
    with parts.registry.reading() as session:
        watchlists = session.execute(select(Watchlist.id, Watchlist.retention_days).order_by(Watchlist.id)).all()
    for watchlist_id, days in watchlists:
        before = now - days * DAY_US
        found = _find_expired(parts, watchlist_id, before)
        for start in range(0, len(found), BATCH):
            if turn.is_over:
                return False
            _remove(parts, turn, watchlist_id, before, found[start : start + BATCH])
    return True


def sweep_pairs(parts: Parts, turn: Turn, now: int) -> bool:
    """Forget what people said of sightings that are gone, after as long as alerts are kept; returns True.

    Raises:
        UnavailableError: the registry does not answer.
    """
    expired = (
        select(RejectedPair.target_id, RejectedPair.sighting_id)
        .join(Target, Target.id == RejectedPair.target_id)
        .join(Target.watchlist)
        .where(RejectedPair.at_us < now - Watchlist.retention_days * DAY_US)
        .where(~exists().where(Sighting.id == RejectedPair.sighting_id))
    )
    with parts.registry.reading() as session:
        pairs = session.execute(expired).all()
    for start in range(0, len(pairs), BATCH):
        with turn.write(parts.registry, BATCH) as session:
            for target_id, sighting_id in pairs[start : start + BATCH]:
                session.delete(session.get_one(RejectedPair, (target_id, sighting_id)))
    return True


def _find_expired(parts: Parts, watchlist_id: str, before: int) -> Sequence[str]:
    """Those that have ended and were stored before: one of an old video was stored when that was indexed."""
    query = (
        select(Alert.id)
        .join(Target, Target.id == Alert.target_id)
        .where(
            Target.watchlist_id == watchlist_id,
            Alert.stored_at_us < before,
            Alert.closed_at_us < before,
            Alert.held_at_us.is_(None),
        )
        .order_by(Alert.stored_at_us)
    )
    with parts.registry.reading() as session:
        return session.scalars(query).all()


def _remove(parts: Parts, turn: Turn, watchlist_id: str, before: int, ids: Sequence[str]) -> None:
    with turn.write(parts.registry, len(ids)) as session:
        # Looked at again, now that they are locked: somebody may hold one, or it may go on.
        locked = session.execute(
            select(Alert.id, Alert.frame_blob)
            .where(Alert.id.in_(ids), Alert.closed_at_us < before, Alert.held_at_us.is_(None))
            .order_by(Alert.target_id)
            .with_for_update(skip_locked=True)
        ).all()
        gone = [row.id for row in locked]
        if not gone:
            return
        for table in _PARTS:
            session.execute(delete(table).where(table.alert_id.in_(gone)))
        session.execute(delete(Alert).where(Alert.id.in_(gone)))
        detail = {"alerts": gone}
        audit.record(session, audit.SYSTEM, "retention.swept", "alerts", watchlist_id=watchlist_id, detail=detail)
        # Before the commit: afterwards nobody would know of what could not be deleted.
        for row in locked:
            if row.frame_blob:
                parts.blobs.delete(row.frame_blob)
    turn.count(alerts=len(gone))
