"""Holds: an alert that somebody still needs does not expire, nor do its sightings, their pictures and its footage."""

from __future__ import annotations

from sqlalchemy import Select, select
from sqlalchemy.orm import Session

from lookout import audit
from lookout.alerts.records import MAX_REASON, event
from lookout.audit import Actor
from lookout.clock import now_us
from lookout.errors import ConflictError
from lookout.stores.registry.tables import Alert, AlertSighting, Sighting
from lookout.texts import clean


def hold(session: Session, actor: Actor, alert: Alert, reason: str) -> None:
    """Hold an alert. What is held already stays as it is.

    Args:
        session: of `Registry.transaction`.
        actor: who needs it.
        alert: locked, see `lookout.alerts.records.find_alert`.
        reason: what for; must be given.

    Raises:
        BadInputError: the reason is missing or too long.
        ConflictError: the target was erased, so there is nothing left to hold.
    """
    reason = clean("reason", reason, MAX_REASON, required=True)
    if alert.target.erased_at_us is not None:
        raise ConflictError("the target was erased with its pictures: there is nothing left to hold.")
    if alert.held_at_us is None:
        alert.held_at_us, alert.held_by = now_us(), actor.name
        _tell(session, actor, alert, "alert.held", reason)


def release(session: Session, actor: Actor, alert: Alert, reason: str) -> None:
    """Hold an alert no longer: what is older than retention says goes with the next sweep.

    Args:
        session: of `Registry.transaction`.
        actor: who needs it no longer.
        alert: locked, see `lookout.alerts.records.find_alert`.
        reason: why; must be given.

    Raises:
        BadInputError: the reason is missing or too long.
    """
    reason = clean("reason", reason, MAX_REASON, required=True)
    if alert.held_at_us is not None:
        alert.held_at_us = alert.held_by = None
        _tell(session, actor, alert, "alert.released", reason)


def held_sightings() -> Select[Sighting]:
    """The sightings of alerts that are held."""
    held = select(AlertSighting.sighting_id).join(Alert, Alert.id == AlertSighting.alert_id)
    return select(Sighting).where(Sighting.id.in_(held.where(Alert.held_at_us.is_not(None))))


def _tell(session: Session, actor: Actor, alert: Alert, action: str, reason: str) -> None:
    session.flush()
    event(session, alert.id, "updated")
    detail = {"target": alert.target_id}
    watchlist_id = alert.target.watchlist_id
    audit.record(session, actor, action, "alert", alert.id, watchlist_id=watchlist_id, detail=detail, reason=reason)
