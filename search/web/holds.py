"""The button that holds an alert, and the one that ends that."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Form, Request
from fastapi.responses import Response

from lookout.accounts.rights import Identity
from lookout.alerts.holds import hold, release
from lookout.alerts.records import MAX_REASON, find_alert
from lookout.alerts.wall import cards
from search.api.alerts import Id, WithParts
from search.security import Allowed
from search.web import pages

router = APIRouter(include_in_schema=False)
Judge = Annotated[Identity, Depends(Allowed("alerts:judge"))]
Reason = Annotated[str, Form(max_length=MAX_REASON)]


@router.post("/alerts/{alert_id}/hold")
def post_hold(request: Request, parts: WithParts, who: Judge, alert_id: Id, reason: Reason = "") -> Response:
    """Hold; answers that part of the alert's page."""
    with parts.registry.transaction() as session:
        alert = find_alert(session, who, alert_id, lock=True)
        hold(session, who.actor, alert, reason)
        (card,) = cards(session, [alert])
    return pages.page(request, "alerts/hold.html", card=card)


@router.post("/alerts/{alert_id}/release")
def post_release(request: Request, parts: WithParts, who: Judge, alert_id: Id, reason: Reason = "") -> Response:
    """Hold no longer; answers the same part."""
    with parts.registry.transaction() as session:
        alert = find_alert(session, who, alert_id, lock=True)
        release(session, who.actor, alert, reason)
        (card,) = cards(session, [alert])
    return pages.page(request, "alerts/hold.html", card=card)
