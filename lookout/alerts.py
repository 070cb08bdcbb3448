"""How an alert is told to the outside, the same in webhooks and in the API."""

from __future__ import annotations

from typing import Any

from lookout.clock import isoformat
from lookout.stores.registry.tables import Alert, Target


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
        "updates": alert.updates,
    }
