"""Matches to alerts in the registry, and their events to the outbox."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from dataclasses import dataclass

from sqlalchemy import select
from sqlalchemy.orm import Session

from lookout import audit
from lookout.alerts.closing import close, record_period
from lookout.alerts.records import event
from lookout.alerts.webhooks import enqueue
from lookout.clock import isoformat, now_us, to_datetime
from lookout.errors import UnavailableError
from lookout.messages import Crop
from lookout.metrics import BLOB_ERRORS
from lookout.stores.registry.tables import TIERS, Alert, AlertSighting, Target, new_id
from workers.episodes import Episode, Step, closes_at, place
from workers.matching import Match
from workers.parts import Parts

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Opened:
    """An alert that a transaction opened, for the metrics."""

    alert_id: str
    watchlist: str
    tier: str
    latency_s: float
    #: Whether it was found in a video that was handed in later: its latency says nothing then.
    retrospective: bool


def lock_targets(session: Session, ids: Iterable[str]) -> set[str]:
    """Lock targets until the transaction ends; returns the ids of those that were not erased meanwhile.

    In one order everywhere and before anything else, so that no two transactions wait for one another.
    """
    query = select(Target.id, Target.erased_at_us).where(Target.id.in_(ids)).order_by(Target.id).with_for_update()
    return {row.id for row in session.execute(query) if row.erased_at_us is None}


def record(session: Session, parts: Parts, match: Match, crop: Crop) -> Opened | None:
    """Open or continue the episode of a match; None if it was continued.

    The target is locked by `lock_targets`, so two workers never open the same episode.
    """
    at_us = crop.captured_at_us
    silence_us = _silence_us(parts)
    alerts = list(
        session.scalars(
            select(Alert)
            .where(Alert.target_id == match.target_id, Alert.camera_group == crop.camera_group)
            # What people rejected is over: who comes then may be the target, and must not vanish in it.
            .where(Alert.verdict != "rejected")
            .where((Alert.closed_at_us.is_(None)) | (Alert.last_seen_at_us >= at_us - silence_us))
            # So that `close_silent` does not close what is continued here, nor the other way round.
            .with_for_update()
        )
    )
    episodes = [Episode(one.first_captured_at_us, one.last_seen_at_us, one.closed_at_us is None) for one in alerts]
    step, index = place(episodes, at_us, silence_us)
    if index is not None:
        _continue(session, parts, alerts[index], match, crop)
        return None
    if step is Step.OPEN:
        for silent in alerts:
            if silent.closed_at_us is None:
                close(session, silent, closes_at(silent.last_seen_at_us, silence_us))
    now = now_us()
    last_seen_at_us = max(at_us, crop.track_seen_at_us)
    alert = Alert(
        id=new_id(),
        target_id=match.target_id,
        camera_group=crop.camera_group,
        camera_id=crop.camera_id,
        tier=match.tier,
        threshold=match.threshold,
        first_captured_at_us=at_us,
        last_seen_at_us=last_seen_at_us,
        latency_us=now - at_us,
        stored_at_us=now,
        retrospective=bool(crop.video_id),
        closed_at_us=closes_at(last_seen_at_us, silence_us) if step is Step.OPEN_CLOSED else None,
        updates=0,
    )
    _show(parts, alert, match, crop)
    session.add(alert)
    session.flush()
    session.add(AlertSighting(alert_id=alert.id, sighting_id=crop.track_id, score=match.score))
    session.flush()
    _tell(session, alert, "opened")
    _audit_opened(session, parts, alert, crop)
    if alert.closed_at_us is not None:
        record_period(session, alert)
    return Opened(alert.id, match.watchlist, match.tier, (now - at_us) / 1e6, retrospective=bool(crop.video_id))


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
        close(session, alert, closes_at(alert.last_seen_at_us, silence_us))
    return len(silent)


def _continue(session: Session, parts: Parts, alert: Alert, match: Match, crop: Crop) -> None:
    silence_us = _silence_us(parts)
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
        if TIERS.index(match.tier) >= TIERS.index(alert.tier):
            alert.tier, alert.threshold = match.tier, match.threshold
        _show(parts, alert, match, crop)
        alert.updates += 1
        session.flush()
        _tell(session, alert, "updated")
    elif sighting is None:
        session.flush()
        event(session, alert.id, "updated")  # its count of sightings; no news for webhooks


def _show(parts: Parts, alert: Alert, match: Match, crop: Crop) -> None:
    """Show the alert by this crop, the best so far, with its frame and whom else it resembles."""
    alert.score, alert.crop_id, alert.reference_id = match.score, crop.id, match.reference_id
    alert.candidates = [{"target": target_id, "score": score} for target_id, score in match.candidates]
    name = alert.frame_blob or f"frames/{to_datetime(crop.captured_at_us):%Y-%m-%d}/{alert.id}.jpg"
    if _write_frame(parts, crop, name):
        alert.frame_blob, alert.frame_box = name, list(crop.frame_box)


def _write_frame(parts: Parts, crop: Crop, name: str) -> bool:
    """Store the whole frame of a crop; False if it is gone or the store is full: the alert is worth more."""
    try:
        jpeg = parts.crops.get_frame(crop.frame_id) if crop.frame_id else None
        if jpeg is not None:
            parts.blobs.write(name, jpeg)
    except UnavailableError as error:
        BLOB_ERRORS.inc()
        log.error("the frame of crop %s is lost: %s", crop.id, error)  # noqa: TRY400 - the message says it all
        return False
    return jpeg is not None


def _other_runs(session: Session, alert: Alert) -> bool:
    other = select(Alert.id).where(
        Alert.target_id == alert.target_id, Alert.camera_group == alert.camera_group, Alert.closed_at_us.is_(None)
    )
    return session.scalar(other.limit(1)) is not None


def _tell(session: Session, alert: Alert, kind: str) -> None:
    """Tell pages and webhooks."""
    event(session, alert.id, kind)
    enqueue(session, alert, f"alert.{kind}")


def _audit_opened(session: Session, parts: Parts, alert: Alert, crop: Crop) -> None:
    audit.record(
        session,
        audit.SYSTEM,
        "alert.opened",
        "alert",
        alert.id,
        watchlist_id=session.scalar(select(Target.watchlist_id).where(Target.id == alert.target_id)),
        detail={
            "target": alert.target_id,
            "sighting": crop.track_id,
            "crop": crop.id,
            "camera": alert.camera_id,
            "camera_group": alert.camera_group,
            "tier": alert.tier,
            "score": round(alert.score, 4),
            "threshold": round(alert.threshold, 4),
            "first_captured_at": isoformat(alert.first_captured_at_us),
            "model": parts.model.name,
        },
    )


def _silence_us(parts: Parts) -> int:
    return int(parts.settings.alert_silence_s * 1e6)
