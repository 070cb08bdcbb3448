"""Alerts, and what people say of them."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal

from fastapi import Depends, Header, Path, Query
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field
from sqlalchemy.orm import Session

from lookout.accounts.rights import Identity
from lookout.alerts.records import MAX_REASON, find_alert, record_view
from lookout.alerts.verdicts import Word, judge, words_of
from lookout.alerts.wall import MAX_CROPS, Card, Filters, candidates_of, cards, crops_of, newest
from lookout.clock import isoformat
from lookout.stores.registry.tables import Alert, StoredCrop
from search.api import api_router, paging
from search.parts import Parts, parts_of
from search.security import Allowed

router = api_router(tag="alerts")
WithParts = Annotated[Parts, Depends(parts_of)]
Reader = Annotated[Identity, Depends(Allowed("alerts:read"))]
Judge = Annotated[Identity, Depends(Allowed("alerts:judge"))]
Id = Annotated[str, Path(max_length=64, pattern=r"^[\w-]+$")]
NO_NUL = r"^[^\x00]*$"
Tier = Literal["possible", "likely"]
State = Literal["open", "closed"]
Verdicts = Literal["unverified", "confirmed", "rejected"]
Name = Annotated[str, Query(max_length=100, pattern=NO_NUL)]

NOT_FOUND: dict[int | str, dict[str, Any]] = {
    404: {"description": "There is none, or no right to its watchlist or its camera group."}
}
ERASED: dict[int | str, dict[str, Any]] = {
    409: {"description": "The target was erased, so there is nothing left to look at."}
}


class Named(BaseModel):
    """Something with an id and a name."""

    id: str
    name: str


class HeldOut(BaseModel):
    """Somebody needs an alert longer than its watchlist keeps it."""

    since: str
    by: str = Field(description="name of the user")


class AlertOut(BaseModel):
    """One target on one camera group as one episode."""

    id: str
    verdict: Verdicts = Field(description="`unverified` until people have judged it: nobody may act on it before")
    target: Named
    watchlist: Named
    camera: str = Field(description="id of the camera where the episode was first seen")
    camera_group: str
    tier: Tier
    score: float = Field(description="cosine of the best match")
    threshold: float = Field(description="cosine from which the tier begins")
    crop: str | None = Field(description="id of the best crop; null when it is gone")
    first_captured_at: str = Field(description="RFC 3339, UTC, as are all times")
    last_seen_at: str
    closed_at: str | None = Field(description="null while the episode lasts")
    stored_at: str
    latency_ms: int = Field(description="from capture to stored, of the first crop")
    retrospective: bool = Field(description="found later, in a video that was handed in: the person was there then")
    updates: int = Field(description="better matches since it opened")
    sightings: int = Field(description="how many belong to it")
    erased: bool = Field(description="the target was erased, and all pictures with it")
    held: HeldOut | None = Field(description="it does not expire while it is held; null: it is not held")
    due_at: str | None = Field(description="until when somebody should judge it; null if nobody waits for that")
    overdue: bool = Field(description="that time has passed")
    persons_needed: int = Field(description="how many persons must agree on it")


class AlertPage(BaseModel):
    """Alerts, newest first."""

    items: list[AlertOut]
    next: str | None = Field(description="`cursor` of the next page; null on the last one")


class CropOut(BaseModel):
    """A picture of a face in an alert."""

    id: str
    sighting: str
    camera: str
    captured_at: str
    quality: float = Field(description="0 to 1")


class CandidateOut(BaseModel):
    """Another target whom the face resembled."""

    target: Named
    watchlist: Named
    score: float = Field(description="cosine")


class VerdictOut(BaseModel):
    """What one person said of an alert."""

    user: str
    verdict: Literal["confirmed", "rejected"]
    reason: str
    at: str


class AlertDetail(AlertOut):
    """An alert with all that belongs to it."""

    crops: list[CropOut] = Field(description=f"in time order, {MAX_CROPS} at most")
    candidates: list[CandidateOut] = Field(description="who else the face resembled, best first")
    history: list[VerdictOut] = Field(description="all that people said, in time order")


class VerdictIn(BaseModel):
    """What you say of an alert."""

    model_config = ConfigDict(extra="forbid")

    verdict: Literal["confirmed", "rejected"]
    reason: Annotated[
        str,
        Field(
            max_length=MAX_REASON,
            pattern=NO_NUL,
            description="needed to reject, and where the watchlist demands it",
        ),
    ] = ""


def filters(
    watchlist: Annotated[Name, Query(description="id or name")] = "",
    target: Annotated[Name, Query(description="id")] = "",
    camera: Annotated[Name, Query(description="id of the camera where it was first seen")] = "",
    group: Annotated[Name, Query(description="camera group")] = "",
    tier: Tier | None = None,
    verdict: Verdicts | None = None,
    state: Annotated[State | None, Query(description="whether the episode still lasts")] = None,
    since: Annotated[AwareDatetime | None, Query(description="stored then or later")] = None,
    until: Annotated[AwareDatetime | None, Query(description="stored before")] = None,
) -> Filters:
    """Which alerts are wanted."""
    return Filters(
        watchlist=watchlist,
        target=target,
        camera=camera,
        group=group,
        tier=tier or "",
        verdict=verdict or "",
        state=state or "",
        since_us=None if since is None else _microseconds(since),
        until_us=None if until is None else _microseconds(until),
    )


@router.get("/alerts", response_model=AlertPage)
def list_alerts(
    parts: WithParts,
    who: Reader,
    wanted: Annotated[Filters, Depends(filters)],
    limit: paging.Limit = 100,
    cursor: paging.Cursor = None,
) -> dict[str, Any]:
    """Alerts that you may see, newest first."""
    with parts.registry.reading() as session:
        found, following = read_page(session, who, wanted, limit=limit, cursor=cursor)
    return {"items": [card.describe() for card in found], "next": following}


def read_page(
    session: Session, who: Identity, wanted: Filters, *, limit: int, cursor: str | None
) -> tuple[list[Card], str | None]:
    """A page of alerts, and the cursor of the next one, None after the last.

    Raises:
        BadInputError: the cursor is none.
    """
    older = paging.older_than(cursor, Alert.stored_at_us, Alert.id)
    found = newest(session, who, wanted, older, limit + 1)
    if len(found) <= limit:
        return found, None
    last = found[limit - 1].alert
    return found[:limit], paging.cursor(last.stored_at_us, last.id)


@router.get("/alerts/{alert_id}", response_model=AlertDetail, responses=NOT_FOUND)
def get_alert(
    parts: WithParts,
    who: Reader,
    alert_id: Id,
    x_reason: Annotated[
        str,
        Header(max_length=MAX_REASON, pattern=NO_NUL, description="why; needed where the watchlist demands it"),
    ] = "",
) -> dict[str, Any]:
    """An alert with all that belongs to it. That you looked is written to the audit log."""
    with parts.registry.transaction() as session:
        alert = find_alert(session, who, alert_id)
        record_view(session, who.actor, alert, x_reason)
        return detail(session, who, alert)


@router.post("/alerts/{alert_id}/verdicts", response_model=AlertDetail, responses=NOT_FOUND | ERASED)
def post_verdict(parts: WithParts, who: Judge, alert_id: Id, given: VerdictIn) -> dict[str, Any]:
    """Confirm or reject an alert. Your later word replaces your earlier one; the history keeps both."""
    with parts.registry.transaction() as session:
        alert = find_alert(session, who, alert_id, lock=True)
        judge(session, who.actor, who.user_id, alert, given.verdict, given.reason)
        return detail(session, who, alert)


def detail(session: Session, who: Identity, alert: Alert) -> dict[str, Any]:
    """An alert as `AlertDetail`."""
    (card,) = cards(session, [alert])
    return card.describe() | {
        "crops": [_crop(crop) for crop in crops_of(session, alert)],
        "candidates": [
            {
                "target": {"id": one.target.id, "name": one.target.name},
                "watchlist": {"id": one.target.watchlist.id, "name": one.target.watchlist.name},
                "score": round(one.score, 4),
            }
            for one in candidates_of(session, who, alert)
        ],
        "history": [_word(word) for word in words_of(session, [alert.id])[alert.id]],
    }


def _crop(crop: StoredCrop) -> dict[str, Any]:
    return {
        "id": crop.id,
        "sighting": crop.sighting_id,
        "camera": crop.sighting.camera_id,
        "captured_at": isoformat(crop.captured_at_us),
        "quality": round(crop.quality, 3),
    }


def _word(word: Word) -> dict[str, Any]:
    return {"user": word.user, "verdict": word.verdict, "reason": word.reason, "at": isoformat(word.at_us)}


def _microseconds(at: datetime) -> int:
    return round(at.timestamp() * 1e6)
