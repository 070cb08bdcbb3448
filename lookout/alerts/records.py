"""Alerts: how one is told to the outside, the same in webhooks and in the API, who may see it, and its events."""

from __future__ import annotations

from typing import Any

from sqlalchemy import ColumnElement, select
from sqlalchemy.orm import Session, joinedload

from lookout import audit
from lookout.accounts.rights import Identity
from lookout.audit import Actor
from lookout.clock import isoformat, now_us
from lookout.errors import NotFoundError
from lookout.stores.registry import do_last
from lookout.stores.registry.tables import Alert, AlertEvent, Target
from lookout.texts import clean

#: Characters of a reason that somebody gives.
MAX_REASON = 1000


def event(session: Session, alert_id: str, kind: str) -> None:
    """Tell the pages that show alerts that something happened to one, in the transaction that does it.

    Events are numbered in the order of their commits: whoever has seen one has seen all before it.

    Args:
        session: of `Registry.transaction`.
        alert_id: of an alert that exists when the transaction ends.
        kind: `opened`, `updated`, `closed`, `judged` or `erased`.
    """
    at_us = now_us()

    def write(session: Session) -> None:
        session.add(AlertEvent(alert_id=alert_id, kind=kind, at_us=at_us))
        session.flush()

    do_last(session, write)


def describe(alert: Alert, target: Target) -> dict[str, Any]:
    """An alert as JSON. `verdict` is `unverified` until a person has judged it; nobody may act on it before."""
    return {
        "id": alert.id,
        "verdict": alert.verdict,
        "target": {"id": target.id, "name": target.name},
        "watchlist": {"id": target.watchlist.id, "name": target.watchlist.name},
        "camera": alert.camera_id,
        "camera_group": alert.camera_group,
        "tier": alert.tier,
        "score": round(alert.score, 4),
        "threshold": round(alert.threshold, 4),
        "crop": alert.crop_id,
        "first_captured_at": isoformat(alert.first_captured_at_us),
        "last_seen_at": isoformat(alert.last_seen_at_us),
        "closed_at": None if alert.closed_at_us is None else isoformat(alert.closed_at_us),
        "stored_at": isoformat(alert.stored_at_us),
        "latency_ms": round(alert.latency_us / 1000),
        "retrospective": alert.retrospective,
        "updates": alert.updates,
    }


def visible(who: Identity) -> list[ColumnElement[bool]]:
    """Which alerts somebody may see, for a query of `Alert` joined with its `Target`: a right to both is needed."""
    conditions: list[ColumnElement[bool]] = []
    if who.watchlists is not None:
        conditions.append(Target.watchlist_id.in_(who.watchlists))
    if who.camera_groups is not None:
        conditions.append(Alert.camera_group.in_(who.camera_groups))
    return conditions


def find_alert(session: Session, who: Identity, alert_id: str, *, lock: bool = False) -> Alert:
    """An alert that somebody may see, with its target and watchlist.

    Args:
        session: of `Registry.transaction` if it is to be locked.
        who: asks.
        alert_id: which.
        lock: nobody else changes it until the transaction ends.

    Raises:
        NotFoundError: there is none, or no right to it; which one is not told.
    """
    if lock:
        # The target before its alert, as all do who lock both.
        held = select(Target.id).join(Alert, Alert.target_id == Target.id).where(Alert.id == alert_id, *visible(who))
        session.execute(held.with_for_update(read=True, key_share=True, of=Target))
    query = (
        select(Alert)
        .join(Alert.target)
        .where(Alert.id == alert_id, *visible(who))
        .options(joinedload(Alert.target).joinedload(Target.watchlist))
    )
    alert = session.scalar(query.with_for_update(of=Alert) if lock else query)
    if alert is None:
        raise NotFoundError(f"there is no alert {alert_id}.")
    return alert


def record_view(session: Session, actor: Actor, alert: Alert, reason: str) -> None:
    """Write down that somebody looks at an alert closely.

    Raises:
        BadInputError: the watchlist demands a reason, and there is none; or it is too long.
    """
    watchlist = alert.target.watchlist
    audit.record(
        session,
        actor,
        "alert.viewed",
        "alert",
        alert.id,
        watchlist_id=watchlist.id,
        detail={"target": alert.target_id},
        reason=clean("reason", reason, MAX_REASON, required=watchlist.reason_required),
    )
