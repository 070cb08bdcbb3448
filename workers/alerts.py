"""Matches to alerts in the registry, and their events to the outbox."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass

from sqlalchemy import select
from sqlalchemy.orm import Session, joinedload

from lookout.alerts import describe
from lookout.clock import now_us
from lookout.messages import Crop
from lookout.stores.registry.tables import TIERS, Alert, AlertSighting, Delivery, Target, Webhook, new_id
from workers.episodes import Episode, Step, closes_at, place
from workers.matching import Match

OPENED, UPDATED, CLOSED = "alert.opened", "alert.updated", "alert.closed"


@dataclass(frozen=True, slots=True)
class Opened:
    """An alert that a transaction opened, for the metrics."""

    alert_id: str
    watchlist: str
    tier: str
    latency_s: float


def record(session: Session, match: Match, crop: Crop, *, silence_us: int) -> Opened | None:
    """Open or continue the episode of a match; None if it was continued, or the target was erased meanwhile.

    The target's row is locked, so two workers never open the same episode; call it in the order of target ids.
    """
    target = session.scalar(select(Target).where(Target.id == match.target_id).with_for_update())
    if target is None:
        return None
    at_us = crop.captured_at_us
    alerts = list(
        session.scalars(
            select(Alert)
            .where(Alert.target_id == match.target_id, Alert.camera_group == crop.camera_group)
            .where((Alert.closed_at_us.is_(None)) | (Alert.last_seen_at_us >= at_us - silence_us))
            # So that `close_silent` does not close what is continued here, nor the other way round.
            .with_for_update()
        )
    )
    episodes = [Episode(one.first_captured_at_us, one.last_seen_at_us, one.closed_at_us is None) for one in alerts]
    step, index = place(episodes, at_us, silence_us)
    if index is not None:
        _continue(session, alerts[index], match, crop, silence_us)
        return None
    if step is Step.OPEN:
        for silent in alerts:
            if silent.closed_at_us is None:
                _close(session, silent, silence_us)
    now = now_us()
    last_seen_at_us = max(at_us, crop.track_seen_at_us)
    alert = Alert(
        id=new_id(),
        target_id=match.target_id,
        camera_group=crop.camera_group,
        camera_id=crop.camera_id,
        tier=match.tier,
        score=match.score,
        threshold=match.threshold,
        reference_id=match.reference_id,
        crop_id=crop.id,
        first_captured_at_us=at_us,
        last_seen_at_us=last_seen_at_us,
        latency_us=now - at_us,
        stored_at_us=now,
        closed_at_us=closes_at(last_seen_at_us, silence_us) if step is Step.OPEN_CLOSED else None,
    )
    session.add(alert)
    session.flush()
    session.add(AlertSighting(alert_id=alert.id, sighting_id=crop.track_id, score=match.score))
    session.flush()
    _enqueue(session, alert, OPENED)
    return Opened(alert.id, match.watchlist, match.tier, (now - at_us) / 1e6)


def close_silent(session: Session, *, silence_us: int) -> int:
    """Close the episodes that have been silent for long enough; returns how many."""
    now = now_us()
    silent = session.scalars(
        select(Alert)
        .where(Alert.closed_at_us.is_(None), Alert.last_seen_at_us < now - silence_us)
        .order_by(Alert.target_id)
        .with_for_update(skip_locked=True)
    ).all()
    for alert in silent:
        _close(session, alert, silence_us)
    return len(silent)


def _continue(session: Session, alert: Alert, match: Match, crop: Crop, silence_us: int) -> None:
    alert.first_captured_at_us = min(alert.first_captured_at_us, crop.captured_at_us)
    alert.last_seen_at_us = max(alert.last_seen_at_us, crop.captured_at_us, crop.track_seen_at_us)
    if alert.closed_at_us is not None:
        # Lagging workers: it was closed before this crop of it arrived.
        ends = closes_at(alert.last_seen_at_us, silence_us)
        runs_on = ends > now_us() and not _other_runs(session, alert)
        alert.closed_at_us = None if runs_on else max(ends, alert.closed_at_us)
    sighting = session.get(AlertSighting, (alert.id, crop.track_id))
    if sighting is None:
        session.add(AlertSighting(alert_id=alert.id, sighting_id=crop.track_id, score=match.score))
    else:
        sighting.score = max(sighting.score, match.score)
    if match.score > alert.score:
        alert.score, alert.crop_id, alert.reference_id = match.score, crop.id, match.reference_id
        if TIERS.index(match.tier) >= TIERS.index(alert.tier):
            alert.tier, alert.threshold = match.tier, match.threshold
        alert.updates += 1
        session.flush()
        _enqueue(session, alert, UPDATED)


def _other_runs(session: Session, alert: Alert) -> bool:
    other = select(Alert.id).where(
        Alert.target_id == alert.target_id, Alert.camera_group == alert.camera_group, Alert.closed_at_us.is_(None)
    )
    return session.scalar(other.limit(1)) is not None


def _close(session: Session, alert: Alert, silence_us: int) -> None:
    alert.closed_at_us = closes_at(alert.last_seen_at_us, silence_us)
    session.flush()
    _enqueue(session, alert, CLOSED)


def _enqueue(session: Session, alert: Alert, event: str) -> None:
    """Put an event into the outbox, one row a webhook; its id is derived, so the same event is never there twice."""
    target = session.scalars(
        select(Target).where(Target.id == alert.target_id).options(joinedload(Target.watchlist))
    ).one()
    now = now_us()
    for webhook in _webhooks(session, target.watchlist_id):
        key = f"{webhook.id}/{alert.id}/{event}/{alert.updates}/{alert.closed_at_us}"
        delivery_id = hashlib.blake2b(key.encode(), digest_size=16).hexdigest()
        session.merge(
            Delivery(
                id=delivery_id,
                webhook_id=webhook.id,
                alert_id=alert.id,
                payload={"type": event, "id": delivery_id, "alert": describe(alert, target)},
                next_attempt_at_us=now,
                created_at_us=now,
            )
        )


def _webhooks(session: Session, watchlist_id: str) -> Iterable[Webhook]:
    return session.scalars(select(Webhook).where(Webhook.watchlist_id == watchlist_id)).all()
