"""The alert wall, live, and the page of an alert."""

from __future__ import annotations

from datetime import UTC, datetime
from http import HTTPStatus
from typing import Annotated, Any
from urllib.parse import urlencode

from fastapi import APIRouter, Depends, Form, Query, Request
from fastapi.responses import Response
from sqlalchemy import select
from sqlalchemy.orm import Session

from lookout import audit
from lookout.accounts.rights import Identity
from lookout.alerts.records import MAX_REASON, find_alert, record_view
from lookout.alerts.verdicts import judge, words_of
from lookout.alerts.wall import (
    Card,
    Filters,
    Happened,
    candidates_of,
    cards,
    crops_of,
    newest_event,
    references_of,
)
from lookout.errors import BadInputError
from lookout.stores.registry.tables import TIERS, VERDICTS, CameraRow, Target, Watchlist
from search import live
from search.api.alerts import Id, WithParts, read_page
from search.api.paging import Cursor
from search.parts import Parts
from search.security import Allowed
from search.web import pages

router = APIRouter(include_in_schema=False)
Reader = Annotated[Identity, Depends(Allowed("alerts:read"))]
Judge = Annotated[Identity, Depends(Allowed("alerts:judge"))]
Wanted = Annotated[str, Query(max_length=100)]
Reason = Annotated[str, Form(max_length=MAX_REASON)]
PAGE = 48


def asked(
    watchlist: Wanted = "",
    target: Wanted = "",
    camera: Wanted = "",
    group: Wanted = "",
    tier: Wanted = "",
    verdict: Wanted = "",
    state: Wanted = "",
    since: Wanted = "",
    until: Wanted = "",
) -> dict[str, str]:
    """What the address asks for, as it stands there; what cannot be is left out."""
    given = {
        "watchlist": watchlist,
        "target": target,
        "camera": camera,
        "group": group,
        "tier": tier if tier in TIERS else "",
        "verdict": verdict if verdict in VERDICTS else "",
        "state": state if state in ("open", "closed") else "",
        "since": since if _microseconds(since) is not None else "",
        "until": until if _microseconds(until) is not None else "",
    }
    return {name: value for name, value in given.items() if value and "\0" not in value}


Asked = Annotated[dict[str, str], Depends(asked)]


@router.get("/alerts")
def show_wall(request: Request, parts: WithParts, who: Reader, given: Asked, cursor: Cursor = None) -> Response:
    """The wall; of htmx only more of its cards."""
    part = request.headers.get("hx-request") is not None
    with parts.registry.reading() as session:
        # Before the cards: what happens in between comes twice rather than never.
        last_event = newest_event(session)
        found, following = read_page(session, who, _filters(given), limit=PAGE, cursor=cursor)
        values: dict[str, Any] = {
            "cards": found,
            "asked": given,
            "query": urlencode(given),
            "older": None if following is None else urlencode({**given, "cursor": following}),
        }
        if part:
            return pages.page(request, "alerts/cards.html", **values)
        values |= _choices(session, who, given) | {"last_event": last_event, "first_page": cursor is None}
    with parts.registry.transaction() as session:
        audit.record(session, who.actor, "wall.opened", "wall", watchlist_id=values["watchlist_id"])
    return pages.page(request, "alerts/wall.html", **values)


@router.get("/alerts/stream")
async def stream_cards(
    request: Request, who: Reader, given: Asked, last_event_id: live.LastEventId = None, after: live.After = None
) -> live.Stream:
    """The cards that are new or have changed, as HTML; of a card that the filters no longer want, its id."""
    filters = _filters(given)

    def render(happened: Happened) -> tuple[str, str]:
        if not filters.match(happened.card.alert):
            return "removed", happened.card.alert.id
        return happened.kind, _card(request, happened.card).strip()

    return live.stream(request, who, after if last_event_id is None else last_event_id, render)


@router.get("/alerts/{alert_id}")
def show_alert(request: Request, parts: WithParts, who: Reader, alert_id: Id) -> Response:
    """An alert with all that belongs to it; or the question why, where the watchlist demands a reason."""
    return _alert(request, parts, who, alert_id, None)


@router.post("/alerts/{alert_id}")
def show_alert_for(request: Request, parts: WithParts, who: Reader, alert_id: Id, reason: Reason = "") -> Response:
    """The same, with a reason."""
    return _alert(request, parts, who, alert_id, reason)


@router.post("/alerts/{alert_id}/verdicts")
def post_verdict(
    request: Request,
    parts: WithParts,
    who: Judge,
    alert_id: Id,
    verdict: Annotated[str, Form(max_length=20)],
    reason: Reason = "",
    whole: Annotated[bool, Form()] = False,
) -> Response:
    """Confirm or reject; answers the card, or the judgement of the alert's own page."""
    with parts.registry.transaction() as session:
        alert = find_alert(session, who, alert_id, lock=True)
        judge(session, who.actor, who.user_id, alert, verdict, reason)
        (card,) = cards(session, [alert])
        history = words_of(session, [alert_id])[alert_id]
    if whole:
        return pages.page(request, "alerts/judgement.html", card=card, history=history)
    return pages.page(request, "alerts/card.html", card=card)


def _alert(request: Request, parts: Parts, who: Identity, alert_id: str, reason: str | None) -> Response:
    with parts.registry.transaction() as session:
        alert = find_alert(session, who, alert_id)
        try:
            record_view(session, who.actor, alert, reason or "")
        except BadInputError as error:
            fault = "" if reason is None else str(error)
            status = HTTPStatus.UNPROCESSABLE_ENTITY if fault else HTTPStatus.OK
            return pages.page(request, "alerts/why.html", status=status, alert=alert, fault=fault)
        (card,) = cards(session, [alert])
        values: dict[str, Any] = {
            "card": card,
            "history": words_of(session, [alert_id])[alert_id],
            "crops": crops_of(session, alert),
            "candidates": candidates_of(session, who, alert),
            "references": references_of(session, alert),
        }
    return pages.page(request, "alerts/alert.html", **values)


def _card(request: Request, card: Card) -> str:
    return bytes(pages.page(request, "alerts/card.html", card=card).body).decode()


def _filters(given: dict[str, str]) -> Filters:
    plain = {name: value for name, value in given.items() if name not in ("since", "until")}
    return Filters(
        **plain,
        since_us=_microseconds(given.get("since", "")),
        until_us=_microseconds(given.get("until", "")),
    )


def _choices(session: Session, who: Identity, given: dict[str, str]) -> dict[str, Any]:
    """What the filters offer: only what there is a right to."""
    lists = select(Watchlist.id, Watchlist.name).where(Watchlist.archived_at_us.is_(None)).order_by(Watchlist.name)
    cameras = select(CameraRow.id, CameraRow.name, CameraRow.camera_group).order_by(CameraRow.name)
    named = [row for row in session.execute(lists) if who.sees_watchlist(row.id)]
    found = [row for row in session.execute(cameras) if who.sees_group(row.camera_group)]
    wanted = given.get("watchlist")
    target = session.get(Target, given["target"]) if "target" in given else None
    return {
        "watchlists": named,
        "watchlist_id": next((row.id for row in named if wanted in (row.id, row.name)), None),
        "cameras": found,
        "groups": sorted({row.camera_group for row in found}),
        "only_target": target if target is not None and who.sees_watchlist(target.watchlist_id) else None,
    }


def _microseconds(given: str) -> int | None:
    """A time of ISO 8601, of UTC if nothing else is said; None if it is none."""
    try:
        at = datetime.fromisoformat(given)
        return round((at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp() * 1e6)
    except (ValueError, OverflowError):
        return None
