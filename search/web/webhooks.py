"""The pages of a watchlist's webhooks: who gets its alerts, whether they arrive, and what was given up."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Form, Request
from fastapi.responses import Response
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from lookout.accounts.rights import Identity
from lookout.alerts import webhooks
from lookout.clock import now_us
from lookout.errors import NotFoundError
from lookout.logging import redact
from lookout.stores.registry.tables import Delivery, Watchlist, Webhook
from lookout.targets.people import get_watchlist
from search.api.deliveries import Id, State, WithParts, read_log
from search.api.paging import Cursor
from search.security import Allowed
from search.web import pages

router = APIRouter(include_in_schema=False)
Who = Annotated[Identity, Depends(Allowed("webhooks:write"))]
LOG_ROWS = 25
#: From then on the page says that no worker takes the test, and later it waits no longer.
SLOW_S = 10
PATIENCE_S = 120


@router.get("/watchlists/{watchlist_id}/webhooks")
def show_webhooks(request: Request, parts: WithParts, who: Who, watchlist_id: Id) -> Response:
    """All webhooks of a watchlist."""
    with parts.registry.reading() as session:
        watchlist = get_watchlist(session, who, watchlist_id)
        return pages.page(request, "webhooks/list.html", **_list(session, watchlist))


@router.post("/watchlists/{watchlist_id}/webhooks")
def add_webhook(
    request: Request,
    parts: WithParts,
    who: Who,
    watchlist_id: Id,
    url: Annotated[str, Form(max_length=webhooks.MAX_URL)] = "",
) -> Response:
    """Add one, and show its secret."""
    with parts.registry.transaction() as session:
        watchlist = get_watchlist(session, who, watchlist_id)
        webhook, secret = webhooks.create_webhook(session, who.actor, parts.keyring, watchlist, url)
        values = _list(session, watchlist) | {"secret": secret, "added": webhook}
    return pages.page(request, _part(request, "list"), **values)


@router.get("/watchlists/{watchlist_id}/webhooks/{webhook_id}")
def show_webhook(
    request: Request,
    parts: WithParts,
    who: Who,
    watchlist_id: Id,
    webhook_id: Id,
    state: State | None = None,
    cursor: Cursor = None,
) -> Response:
    """One webhook with its log."""
    with parts.registry.reading() as session:
        webhook = _webhook(session, who, watchlist_id, webhook_id)
        return pages.page(request, "webhooks/one.html", **_one(session, webhook, state=state, cursor=cursor))


@router.get("/watchlists/{watchlist_id}/webhooks/{webhook_id}/log")
def show_log(
    request: Request, parts: WithParts, who: Who, watchlist_id: Id, webhook_id: Id, state: State | None = None
) -> Response:
    """The newest page of the log, for htmx."""
    with parts.registry.reading() as session:
        webhook = _webhook(session, who, watchlist_id, webhook_id)
        return pages.page(request, "webhooks/log.html", **_one(session, webhook, state=state, cursor=None))


@router.post("/watchlists/{watchlist_id}/webhooks/{webhook_id}/enabled")
def set_enabled(
    request: Request,
    parts: WithParts,
    who: Who,
    watchlist_id: Id,
    webhook_id: Id,
    enabled: Annotated[bool, Form()],
) -> Response:
    """Stop sending, or go on."""
    with parts.registry.transaction() as session:
        webhook = _webhook(session, who, watchlist_id, webhook_id, lock=True)
        webhooks.change(session, who.actor, webhook, enabled=enabled)
        values = _one(session, webhook)
    return pages.page(request, _part(request, "one"), **values)


@router.post("/watchlists/{watchlist_id}/webhooks/{webhook_id}/secret")
def rotate_secret(request: Request, parts: WithParts, who: Who, watchlist_id: Id, webhook_id: Id) -> Response:
    """Make a new secret, and show it."""
    with parts.registry.transaction() as session:
        webhook = _webhook(session, who, watchlist_id, webhook_id, lock=True)
        secret = webhooks.rotate_secret(session, who.actor, parts.keyring, webhook)
        values = _one(session, webhook) | {"secret": secret}
    return pages.page(request, _part(request, "one"), **values)


@router.post("/watchlists/{watchlist_id}/webhooks/{webhook_id}/remove")
def remove_webhook(request: Request, parts: WithParts, who: Who, watchlist_id: Id, webhook_id: Id) -> Response:
    """Remove it with its log."""
    with parts.registry.transaction() as session:
        webhooks.remove(session, who.actor, _webhook(session, who, watchlist_id, webhook_id, lock=True))
    return pages.go_to(request, f"/watchlists/{watchlist_id}/webhooks")


@router.post("/watchlists/{watchlist_id}/webhooks/{webhook_id}/test")
def send_test(request: Request, parts: WithParts, who: Who, watchlist_id: Id, webhook_id: Id) -> Response:
    """Send a test; what is shown then asks for its outcome until it is known."""
    with parts.registry.transaction() as session:
        webhook = _webhook(session, who, watchlist_id, webhook_id, lock=True)
        delivery = webhooks.send_test(session, who.actor, webhook)
        values = _one(session, webhook) | _outcome(delivery)
    return pages.page(request, "webhooks/outcome.html" if _by_htmx(request) else "webhooks/one.html", **values)


@router.get("/watchlists/{watchlist_id}/webhooks/{webhook_id}/deliveries/{delivery_id}")
def show_outcome(
    request: Request, parts: WithParts, who: Who, watchlist_id: Id, webhook_id: Id, delivery_id: Id
) -> Response:
    """What became of a test, for htmx."""
    with parts.registry.reading() as session:
        webhook = _webhook(session, who, watchlist_id, webhook_id)
        delivery = _delivery(session, who, webhook, delivery_id)
        values = {"base": _base(webhook)} | _outcome(delivery)
    # The log shows it then, too.
    headers = {"HX-Trigger": "logged"} if delivery.state != "pending" else None
    return pages.page(request, "webhooks/outcome.html", headers=headers, **values)


@router.post("/watchlists/{watchlist_id}/webhooks/{webhook_id}/deliveries/{delivery_id}/replay")
def replay(request: Request, parts: WithParts, who: Who, watchlist_id: Id, webhook_id: Id, delivery_id: Id) -> Response:
    """Send a dead letter again."""
    with parts.registry.transaction() as session:
        webhook = _webhook(session, who, watchlist_id, webhook_id)
        webhooks.replay(session, who.actor, _delivery(session, who, webhook, delivery_id, lock=True))
        session.flush()
        values = _one(session, webhook) | {"replayed": 1}
    return pages.page(request, _part(request, "one", "log"), **values)


@router.post("/watchlists/{watchlist_id}/webhooks/{webhook_id}/replay")
def replay_dead(request: Request, parts: WithParts, who: Who, watchlist_id: Id, webhook_id: Id) -> Response:
    """Send all dead letters again."""
    with parts.registry.transaction() as session:
        webhook = _webhook(session, who, watchlist_id, webhook_id, lock=True)
        count = webhooks.replay_dead(session, who.actor, webhook)
        session.flush()
        values = _one(session, webhook) | {"replayed": count}
    return pages.page(request, _part(request, "one", "log"), **values)


def _list(session: Session, watchlist: Watchlist) -> dict[str, Any]:
    found = session.scalars(
        select(Webhook).where(Webhook.watchlist_id == watchlist.id).order_by(Webhook.created_at_us, Webhook.id)
    ).all()
    return {
        "watchlist": watchlist,
        "webhooks": found,
        "counts": _counts(session, found),
        "redact": redact,
        "secret": None,
        "added": None,
    }


def _one(
    session: Session, webhook: Webhook, *, state: State | None = None, cursor: str | None = None
) -> dict[str, Any]:
    deliveries, following = read_log(session, webhook.id, state=state, cursor=cursor, limit=LOG_ROWS)
    return {
        "watchlist": webhook.watchlist,
        "webhook": webhook,
        "url": redact(webhook.url),
        "base": _base(webhook),
        "counts": _counts(session, [webhook]),
        "deliveries": deliveries,
        "following": following,
        "state": state,
        "cursor": cursor,
        "secret": None,
        "replayed": None,
        "delivery": None,
    }


def _outcome(delivery: Delivery) -> dict[str, Any]:
    waited_s = (now_us() - delivery.created_at_us) / 1e6
    return {"delivery": delivery, "slow": waited_s > SLOW_S, "given_up": waited_s > PATIENCE_S}


def _counts(session: Session, found: Sequence[Webhook]) -> dict[tuple[str, str], int]:
    """How many deliveries of each webhook wait, and how many dead letters it has, but for tests."""
    rows = session.execute(
        select(Delivery.webhook_id, Delivery.state, func.count())
        .where(Delivery.webhook_id.in_([one.id for one in found]), Delivery.state.in_(["pending", "dead"]))
        .where(Delivery.alert_id.is_not(None))
        .group_by(Delivery.webhook_id, Delivery.state)
    )
    return {(webhook_id, state): count for webhook_id, state, count in rows}


def _webhook(session: Session, who: Identity, watchlist_id: str, webhook_id: str, *, lock: bool = False) -> Webhook:
    webhook = webhooks.visible_webhook(session, who, webhook_id, lock=lock)
    if webhook.watchlist_id != watchlist_id:
        raise NotFoundError(f"there is no webhook {webhook_id}.")
    return webhook


def _delivery(session: Session, who: Identity, webhook: Webhook, delivery_id: str, *, lock: bool = False) -> Delivery:
    delivery = webhooks.visible_delivery(session, who, delivery_id, lock=lock)
    if delivery.webhook_id != webhook.id:
        raise NotFoundError(f"there is no delivery {delivery_id}.")
    return delivery


def _base(webhook: Webhook) -> str:
    return f"/watchlists/{webhook.watchlist_id}/webhooks/{webhook.id}"


def _by_htmx(request: Request) -> bool:
    return "hx-request" in request.headers


def _part(request: Request, whole: str, part: str | None = None) -> str:
    """The template of a page, or of the part of it that htmx puts in."""
    return f"webhooks/{part or whole + '_part'}.html" if _by_htmx(request) else f"webhooks/{whole}.html"
