"""Deliveries: what was sent to a webhook, what is still to be sent, and what was given up."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Literal

from fastapi import Depends, Path, Query
from pydantic import BaseModel, Field
from sqlalchemy import select
from sqlalchemy.orm import Session

from lookout.accounts.rights import Identity
from lookout.alerts import webhooks
from lookout.clock import isoformat
from lookout.stores.registry.tables import Delivery
from search.api import api_router, paging
from search.parts import Parts, parts_of
from search.security import Allowed

router = api_router(tag="deliveries")
WithParts = Annotated[Parts, Depends(parts_of)]
Who = Annotated[Identity, Depends(Allowed("webhooks:write"))]
Id = Annotated[str, Path(max_length=64, pattern=r"^[\w-]+$")]
State = Literal["pending", "delivered", "dead"]
NOT_FOUND: dict[int | str, dict[str, Any]] = {404: {"description": "There is none, or no right to its watchlist."}}
NOT_DEAD: dict[int | str, dict[str, Any]] = {409: {"description": "It is no dead letter."}}


class DeliveryOut(BaseModel):
    """One event to one webhook. Its id is the receiver's idempotency key."""

    id: str
    webhook: str
    alert: str | None = Field(description="null for a test")
    type: str = Field(description="`alert.opened`, `alert.updated`, `alert.closed`, `alert.judged`, `webhook.test`")
    state: State = Field(description="`dead`: given up, can be replayed")
    attempts: int
    created_at: str = Field(description="RFC 3339, UTC, as are all times")
    last_attempt_at: str | None
    last_error: str | None = Field(description="what went wrong at the last attempt; null if nothing did")
    next_attempt_at: str | None = Field(description="null when there will be none")


class DeliveryPage(BaseModel):
    """A webhook's log, newest first."""

    items: list[DeliveryOut]
    next: str | None = Field(description="`cursor` of the next page; null on the last one")


class Replayed(BaseModel):
    """How many dead letters are sent again."""

    replayed: int


@router.get("/webhooks/{webhook_id}/deliveries", response_model=DeliveryPage, responses=NOT_FOUND)
def list_deliveries(
    parts: WithParts,
    who: Who,
    webhook_id: Id,
    state: Annotated[State | None, Query(description="only these")] = None,
    limit: paging.Limit = 50,
    cursor: paging.Cursor = None,
) -> dict[str, Any]:
    """A webhook's log."""
    with parts.registry.reading() as session:
        webhooks.visible_webhook(session, who, webhook_id)
        found, following = read_log(session, webhook_id, state=state, cursor=cursor, limit=limit)
    return {"items": [as_delivery(one) for one in found], "next": following}


def read_log(
    session: Session, webhook_id: str, *, state: State | None, cursor: str | None, limit: int
) -> tuple[Sequence[Delivery], str | None]:
    """A page of a webhook's log, newest first, and the cursor of the next one, None after the last.

    Raises:
        BadInputError: the cursor is none.
    """
    after = paging.older_than(cursor, Delivery.created_at_us, Delivery.id)
    query = select(Delivery).where(Delivery.webhook_id == webhook_id, *([] if after is None else [after]))
    if state is not None:
        query = query.where(Delivery.state == state)
    newest = (Delivery.created_at_us.desc(), Delivery.id.desc())
    found = session.scalars(query.order_by(*newest).limit(limit + 1)).all()
    if len(found) <= limit:
        return found, None
    last = found[limit - 1]
    return found[:limit], paging.cursor(last.created_at_us, last.id)


@router.post("/webhooks/{webhook_id}/deliveries/replay", response_model=Replayed, responses=NOT_FOUND)
def replay_dead(parts: WithParts, who: Who, webhook_id: Id) -> dict[str, int]:
    """Send all dead letters of a webhook again."""
    with parts.registry.transaction() as session:
        webhook = webhooks.visible_webhook(session, who, webhook_id, lock=True)
        return {"replayed": webhooks.replay_dead(session, who.actor, webhook)}


@router.get("/deliveries/{delivery_id}", response_model=DeliveryOut, responses=NOT_FOUND)
def get_delivery(parts: WithParts, who: Who, delivery_id: Id) -> dict[str, Any]:
    """A delivery."""
    with parts.registry.reading() as session:
        return as_delivery(webhooks.visible_delivery(session, who, delivery_id))


@router.post("/deliveries/{delivery_id}/replay", response_model=DeliveryOut, responses=NOT_FOUND | NOT_DEAD)
def replay_delivery(parts: WithParts, who: Who, delivery_id: Id) -> dict[str, Any]:
    """Send a dead letter again."""
    with parts.registry.transaction() as session:
        delivery = webhooks.visible_delivery(session, who, delivery_id, lock=True)
        webhooks.replay(session, who.actor, delivery)
        return as_delivery(delivery)


def as_delivery(delivery: Delivery) -> dict[str, Any]:
    """A delivery as JSON, without what was sent: that is the alert."""
    last, comes = delivery.last_attempt_at_us, delivery.state == "pending"
    return {
        "id": delivery.id,
        "webhook": delivery.webhook_id,
        "alert": delivery.alert_id,
        "type": delivery.payload["type"],
        "state": delivery.state,
        "attempts": delivery.attempts,
        "created_at": isoformat(delivery.created_at_us),
        "last_attempt_at": None if last is None else isoformat(last),
        "last_error": delivery.last_error,
        "next_attempt_at": isoformat(delivery.next_attempt_at_us) if comes else None,
    }
