"""Holds on alerts: what belongs to one that is held does not expire."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import Header
from pydantic import BaseModel, ConfigDict, Field

from lookout.alerts.holds import hold, release
from lookout.alerts.records import MAX_REASON, find_alert
from search.api import api_router
from search.api.alerts import ERASED, NO_NUL, NOT_FOUND, AlertDetail, Id, Judge, WithParts, detail

router = api_router(tag="alerts")


class HoldIn(BaseModel):
    """Why an alert is needed longer than its watchlist keeps it."""

    model_config = ConfigDict(extra="forbid")

    reason: Annotated[
        str, Field(min_length=1, max_length=MAX_REASON, pattern=NO_NUL, description="kept in the audit log")
    ]


@router.put("/alerts/{alert_id}/hold", response_model=AlertDetail, responses=NOT_FOUND | ERASED)
def put_hold(parts: WithParts, who: Judge, alert_id: Id, given: HoldIn) -> dict[str, Any]:
    """Hold an alert: it does not expire, nor do its sightings, their pictures and the footage around them.

    One that is held already stays held by whoever held it first. Erasing the target ends a hold.
    """
    with parts.registry.transaction() as session:
        alert = find_alert(session, who, alert_id, lock=True)
        hold(session, who.actor, alert, given.reason)
        return detail(session, who, alert)


@router.delete("/alerts/{alert_id}/hold", response_model=AlertDetail, responses=NOT_FOUND)
def delete_hold(
    parts: WithParts,
    who: Judge,
    alert_id: Id,
    x_reason: Annotated[
        str, Header(min_length=1, max_length=MAX_REASON, pattern=NO_NUL, description="why; kept in the audit log")
    ],
) -> dict[str, Any]:
    """Hold an alert no longer: what is older than retention says goes soon. One that is not held stays as it is."""
    with parts.registry.transaction() as session:
        alert = find_alert(session, who, alert_id, lock=True)
        release(session, who.actor, alert, x_reason)
        return detail(session, who, alert)
