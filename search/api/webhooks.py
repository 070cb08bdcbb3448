"""Webhooks of a watchlist: where its alerts are sent."""

from __future__ import annotations

import hashlib
from http import HTTPStatus
from typing import Annotated, Any

from fastapi import Depends, Path, Request, Response
from pydantic import BaseModel, ConfigDict, Field
from sqlalchemy import select
from sqlalchemy.orm import Session

from lookout.accounts.rights import Identity
from lookout.alerts import webhooks
from lookout.clock import isoformat
from lookout.errors import BadInputError
from lookout.logging import redact
from lookout.stores.registry.tables import Webhook
from lookout.targets.people import get_watchlist
from search.api import api_router, paging
from search.api.deliveries import DeliveryOut, as_delivery
from search.api.once import Key, fingerprint, once
from search.api.versions import IfMatch, check_version, set_etag
from search.parts import Parts, parts_of
from search.security import Allowed

router = api_router(tag="webhooks")
WithParts = Annotated[Parts, Depends(parts_of)]
Who = Annotated[Identity, Depends(Allowed("webhooks:write"))]
Id = Annotated[str, Path(max_length=64, pattern=r"^[\w-]+$")]
Url = Annotated[
    str,
    Field(
        min_length=1,
        max_length=webhooks.MAX_URL,
        pattern=r"^[^\x00]*$",
        description="`https://` or `http://`; its credentials, if any, are not shown again",
        examples=["https://example.org/hooks/lookout"],
    ),
]
NOT_FOUND: dict[int | str, dict[str, Any]] = {404: {"description": "There is none, or no right to its watchlist."}}
CONFLICT: dict[int | str, dict[str, Any]] = {409: {"description": "The watchlist has that URL already."}}
STALE: dict[int | str, dict[str, Any]] = {412: {"description": "Somebody else changed it meanwhile."}}
DISABLED: dict[int | str, dict[str, Any]] = {409: {"description": "The webhook is disabled."}}


class WebhookIn(BaseModel):
    """A webhook to be made."""

    model_config = ConfigDict(extra="forbid")

    url: Url


class WebhookChange(BaseModel):
    """What is to be changed; what is left out stays."""

    model_config = ConfigDict(extra="forbid")

    url: Url | None = None
    enabled: bool | None = Field(None, description="whether alerts are sent; what waits already waits on")


class WebhookOut(BaseModel):
    """A webhook."""

    id: str
    watchlist: str = Field(description="id of the watchlist whose alerts it gets")
    url: str = Field(description="without its credentials")
    enabled: bool
    created_at: str = Field(description="RFC 3339, UTC")


class CreatedWebhook(WebhookOut):
    """A webhook just made."""

    secret: str | None = Field(
        description="`whsec_…`, which verifies what it gets; shown only now, and null if this request is a repeated one"
    )


class WebhookSecret(BaseModel):
    """A new secret."""

    secret: str = Field(description="`whsec_…`, which verifies what the webhook gets from now on; shown only now")


class WebhookPage(BaseModel):
    """Webhooks, newest first."""

    items: list[WebhookOut]
    next: str | None = Field(description="`cursor` of the next page; null on the last one")


@router.get("/watchlists/{watchlist_id}/webhooks", response_model=WebhookPage, responses=NOT_FOUND)
def list_webhooks(
    parts: WithParts, who: Who, watchlist_id: Id, limit: paging.Limit = 50, cursor: paging.Cursor = None
) -> dict[str, Any]:
    """Webhooks of a watchlist."""
    after = paging.older_than(cursor, Webhook.created_at_us, Webhook.id)
    newest = (Webhook.created_at_us.desc(), Webhook.id.desc())
    query = select(Webhook).where(Webhook.watchlist_id == watchlist_id, *([] if after is None else [after]))
    with parts.registry.reading() as session:
        get_watchlist(session, who, watchlist_id)
        found = session.scalars(query.order_by(*newest).limit(limit + 1)).all()
    last = found[:limit][-1:]
    following = paging.cursor(last[0].created_at_us, last[0].id) if last else None
    return paging.page([as_webhook(one) for one in found], limit, following)


@router.post(
    "/watchlists/{watchlist_id}/webhooks",
    response_model=CreatedWebhook,
    status_code=HTTPStatus.CREATED,
    responses=NOT_FOUND | CONFLICT,
)
def create_webhook(
    request: Request, parts: WithParts, who: Who, watchlist_id: Id, body: WebhookIn, key: Key = None
) -> Response:
    """Have a watchlist's alerts sent to a URL."""

    def make(session: Session) -> dict[str, Any]:
        watchlist = get_watchlist(session, who, watchlist_id)
        webhook, secret = webhooks.create_webhook(session, who.actor, parts.keyring, watchlist, body.url)
        return as_webhook(webhook) | {"secret": secret}

    sent = fingerprint(request, body.model_dump_json().encode())
    return once(parts.registry, who, key, sent, make, shown_once=("secret",))


@router.get("/webhooks/{webhook_id}", response_model=WebhookOut, responses=NOT_FOUND)
def get_webhook(response: Response, parts: WithParts, who: Who, webhook_id: Id) -> dict[str, Any]:
    """A webhook."""
    with parts.registry.reading() as session:
        webhook = webhooks.visible_webhook(session, who, webhook_id)
        set_etag(response, version(webhook))
        return as_webhook(webhook)


@router.patch("/webhooks/{webhook_id}", response_model=WebhookOut, responses=NOT_FOUND | CONFLICT | STALE)
def change_webhook(
    response: Response, parts: WithParts, who: Who, webhook_id: Id, body: WebhookChange, if_match: IfMatch = None
) -> dict[str, Any]:
    """Send elsewhere, or stop and go on."""
    if body.url is None and body.enabled is None:
        raise BadInputError("url, enabled: say what is to be changed.")
    with parts.registry.transaction() as session:
        webhook = webhooks.visible_webhook(session, who, webhook_id, lock=True)
        check_version(if_match, version(webhook))
        webhooks.change(session, who.actor, webhook, url=body.url, enabled=body.enabled)
        set_etag(response, version(webhook))
        return as_webhook(webhook)


@router.delete("/webhooks/{webhook_id}", status_code=HTTPStatus.NO_CONTENT, responses=NOT_FOUND)
def remove_webhook(parts: WithParts, who: Who, webhook_id: Id) -> None:
    """Remove a webhook with its log, and with what was still to be sent."""
    with parts.registry.transaction() as session:
        webhooks.remove(session, who.actor, webhooks.visible_webhook(session, who, webhook_id, lock=True))


@router.post("/webhooks/{webhook_id}/secret", response_model=WebhookSecret, responses=NOT_FOUND)
def rotate_secret(parts: WithParts, who: Who, webhook_id: Id) -> dict[str, str]:
    """Give a webhook a new secret; the one before signs nothing any more."""
    with parts.registry.transaction() as session:
        webhook = webhooks.visible_webhook(session, who, webhook_id, lock=True)
        return {"secret": webhooks.rotate_secret(session, who.actor, parts.keyring, webhook)}


@router.post(
    "/webhooks/{webhook_id}/test",
    response_model=DeliveryOut,
    status_code=HTTPStatus.CREATED,
    responses=NOT_FOUND | DISABLED,
)
def send_test(request: Request, parts: WithParts, who: Who, webhook_id: Id, key: Key = None) -> Response:
    """Send a `webhook.test`, once; ask for the delivery to see what became of it."""

    def make(session: Session) -> dict[str, Any]:
        webhook = webhooks.visible_webhook(session, who, webhook_id, lock=True)
        return as_delivery(webhooks.send_test(session, who.actor, webhook))

    return once(parts.registry, who, key, fingerprint(request, b""), make)


def as_webhook(webhook: Webhook) -> dict[str, Any]:
    """A webhook as JSON."""
    return {
        "id": webhook.id,
        "watchlist": webhook.watchlist_id,
        "url": redact(webhook.url),
        "enabled": webhook.enabled,
        "created_at": isoformat(webhook.created_at_us),
    }


def version(webhook: Webhook) -> int:
    """Tells one state of what can be edited from another."""
    state = f"{webhook.enabled} {webhook.url}".encode()
    return int.from_bytes(hashlib.blake2b(state, digest_size=6).digest())
