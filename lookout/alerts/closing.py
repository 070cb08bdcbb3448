"""The end of an alert, whoever brings it: silence, a later episode, or people who rejected it."""

from __future__ import annotations

from sqlalchemy import select
from sqlalchemy.orm import Session

from lookout import audit
from lookout.alerts import webhooks
from lookout.alerts.records import event
from lookout.clock import isoformat
from lookout.stores.registry.tables import Alert, AlertSighting, Target


def close(session: Session, alert: Alert, at_us: int) -> None:
    """Close a running alert, and tell pages, webhooks and the audit."""
    alert.closed_at_us = at_us
    session.flush()
    event(session, alert.id, "closed")
    webhooks.enqueue(session, alert, webhooks.CLOSED)
    record_period(session, alert)


def record_period(session: Session, alert: Alert) -> None:
    """Write the whole of a closed alert to the audit: from when to when, and which sightings it was."""
    sightings = session.scalars(
        select(AlertSighting.sighting_id).where(AlertSighting.alert_id == alert.id).order_by(AlertSighting.sighting_id)
    )
    audit.record(
        session,
        audit.SYSTEM,
        "alert.closed",
        "alert",
        alert.id,
        watchlist_id=session.scalar(select(Target.watchlist_id).where(Target.id == alert.target_id)),
        detail={
            "first_captured_at": isoformat(alert.first_captured_at_us),
            "last_seen_at": isoformat(alert.last_seen_at_us),
            "sightings": list(sightings),
        },
    )
