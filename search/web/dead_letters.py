"""The page of what was given up: messages to the workers, and webhooks that do not answer."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request
from fastapi.responses import Response
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from lookout.accounts.rights import Identity
from lookout.dead_letters import replay
from lookout.errors import NotFoundError
from lookout.logging import redact
from lookout.stores.crops import Crops
from lookout.stores.dead_letters import DeadLetters
from lookout.stores.registry.tables import Delivery, Watchlist, Webhook
from search.api.deliveries import Id, WithParts
from search.parts import Parts
from search.security import Allowed
from search.web import pages

router = APIRouter(include_in_schema=False)
Who = Annotated[Identity, Depends(Allowed("cameras:write"))]


@router.get("/system/dead-letters")
def show_dead_letters(request: Request, parts: WithParts, who: Who) -> Response:
    """All that was given up."""
    with parts.registry.reading() as session:
        return pages.page(request, "dead_letters.html", **_all(parts, session, who))


@router.post("/system/dead-letters/{letter_id}/replay")
def replay_letter(request: Request, parts: WithParts, who: Who, letter_id: Id) -> Response:
    """Send a message to the workers again."""
    letters = DeadLetters(parts.redis)
    letter = next((one for one in letters.all() if one.id == letter_id), None)
    if letter is None:
        raise NotFoundError(f"there is no dead letter {letter_id}.")
    with parts.registry.transaction() as session:
        lost = replay(session, who.actor, parts.settings, Crops(parts.redis, parts.keyring), letters, letter)
    with parts.registry.reading() as session:
        values = _all(parts, session, who) | {"replayed": len(letter.crop_ids) - lost, "lost": lost}
    return pages.page(request, "dead_letters.html", **values)


def _all(parts: Parts, session: Session, who: Identity) -> dict[str, Any]:
    mine = [] if who.watchlists is None else [Watchlist.id.in_(who.watchlists)]
    rows = session.execute(
        select(Webhook.id, Webhook.url, Watchlist.id.label("watchlist_id"), Watchlist.name, func.count().label("dead"))
        .join(Delivery, Delivery.webhook_id == Webhook.id)
        .join(Watchlist, Watchlist.id == Webhook.watchlist_id)
        .where(Delivery.state == "dead", Delivery.alert_id.is_not(None), *mine)
        .group_by(Webhook.id, Webhook.url, Watchlist.id, Watchlist.name)
        .order_by(Watchlist.name, Webhook.url)
    ).all()
    return {
        "letters": list(reversed(DeadLetters(parts.redis).all())),
        "webhooks": rows if who.may("webhooks:write") else [],
        "redact": redact,
        "replayed": None,
        "lost": 0,
    }
