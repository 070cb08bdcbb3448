"""Webhooks: where a watchlist's alerts are sent, and the outbox of what is sent there.

Each event is a row of `Delivery`, written in the transaction in which it happened; `workers.deliveries` sends it.
"""

from __future__ import annotations

import base64
import hashlib
import ipaddress
import secrets

from sqlalchemy import delete, func, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session, joinedload

from lookout import audit
from lookout.accounts.rights import Identity
from lookout.alerts.records import describe
from lookout.audit import Actor
from lookout.clock import isoformat, now_us
from lookout.errors import BadInputError, ConflictError, NotFoundError
from lookout.logging import redact
from lookout.sealing import Keyring
from lookout.stores.registry.tables import Alert, Delivery, Target, Verdict, Watchlist, Webhook, new_id

OPENED, UPDATED, CLOSED, JUDGED = "alert.opened", "alert.updated", "alert.closed", "alert.judged"
#: Sent because somebody wants to see whether it arrives; of no alert.
TEST = "webhook.test"
MAX_URL = 2000
#: Of a watchlist; each event is stored once for each of them.
MAX_WEBHOOKS = 20
#: The log of deliveries goes back this far.
KEEP_LOG_S = 30 * 24 * 3600


def check_url(url: str) -> str:
    """A webhook's URL in its normal form.

    Raises:
        BadInputError: it is none; the message shows nothing of its credentials.
    """
    import httpx2

    shown = redact(url.strip())[:100]
    if not shown:
        raise BadInputError("url: say where the alerts are to be sent, https://…")
    if "…" in url:
        raise BadInputError("url: write it in full; where Lookout shows it, its credentials are left out.")
    try:
        parts = httpx2.URL(url.strip())
        host, port, normal = parts.host, parts.port, str(parts)
        # What is sent must be possible in a header, too.
        normal.encode("ascii")
    except (httpx2.InvalidURL, ValueError) as error:
        raise BadInputError(f"url: {shown} is no URL.") from error
    if parts.scheme not in ("http", "https") or not host:
        raise BadInputError(f"url: {shown} is no URL of a webhook: it begins with https:// or http:// and a host.")
    if port is not None and not 0 < port < 65536:
        raise BadInputError(f"url: {shown} has no port from 1 to 65535.")
    if len(normal) > MAX_URL:
        raise BadInputError(f"url: it has more than {MAX_URL} characters.")
    if is_link_local(host):
        raise BadInputError(f"url: {shown} is link-local, where machines get their credentials; no webhook goes there.")
    return normal


def is_link_local(address: str) -> bool:
    """Whether an IP address belongs to 169.254.0.0/16 or fe80::/10; a name never does.

    There clouds hand out the credentials of their machines, and no receiver is ever there.
    """
    try:
        found = ipaddress.ip_address(address)
    except ValueError:
        return False
    mapped = found.ipv4_mapped if isinstance(found, ipaddress.IPv6Address) else None
    return (mapped or found).is_link_local


def create_webhook(
    session: Session, actor: Actor, keyring: Keyring, watchlist: Watchlist, url: str
) -> tuple[Webhook, str]:
    """Have a watchlist's alerts sent to a URL; returns the webhook and its secret, which is shown once.

    Raises:
        BadInputError: the URL is none.
        ConflictError: the watchlist has that one already, or `MAX_WEBHOOKS`.
    """
    if (session.scalar(select(func.count()).where(Webhook.watchlist_id == watchlist.id)) or 0) >= MAX_WEBHOOKS:
        raise ConflictError(f"this watchlist has {MAX_WEBHOOKS} webhooks, and more are not allowed: remove one first.")
    webhook = Webhook(id=new_id(), watchlist_id=watchlist.id, url=check_url(url), enabled=True, created_at_us=now_us())
    secret = _set_secret(webhook, keyring)
    try:
        with session.begin_nested():
            session.add(webhook)
    except IntegrityError as error:
        raise _there_already(url) from error
    _record(session, actor, "webhook.created", webhook, url=redact(webhook.url))
    return webhook, secret


def change(
    session: Session, actor: Actor, webhook: Webhook, *, url: str | None = None, enabled: bool | None = None
) -> None:
    """Send elsewhere, or stop and go on. While it is disabled nothing new is put by for it; what waits already waits.

    Raises:
        BadInputError: the URL is none.
        ConflictError: the watchlist has that one already.
    """
    changes: dict[str, object] = {}
    if url is not None and (normal := check_url(url)) != webhook.url:
        try:
            with session.begin_nested():
                webhook.url = normal
        except IntegrityError as error:
            raise _there_already(url) from error
        changes["url"] = redact(normal)
    if enabled is not None and enabled != webhook.enabled:
        webhook.enabled = changes["enabled"] = enabled
    if changes:
        _record(session, actor, "webhook.changed", webhook, **changes)


def rotate_secret(session: Session, actor: Actor, keyring: Keyring, webhook: Webhook) -> str:
    """Give a webhook a new secret, which is shown once. From now on everything is signed with it."""
    secret = _set_secret(webhook, keyring)
    _record(session, actor, "webhook.changed", webhook, secret="rotated")  # noqa: S106 - says only that it was
    return secret


def remove(session: Session, actor: Actor, webhook: Webhook) -> None:
    """Remove a webhook with its log, and with what was still to be sent."""
    # Whoever writes deliveries to it holds it until then: none can be left over.
    session.execute(select(Webhook.id).where(Webhook.id == webhook.id).with_for_update())
    session.execute(delete(Delivery).where(Delivery.webhook_id == webhook.id))
    session.delete(webhook)
    _record(session, actor, "webhook.removed", webhook, url=redact(webhook.url))


def open_secret(keyring: Keyring, webhook: Webhook) -> str:
    """What signs a webhook's deliveries: `whsec_` and base64 of the key.

    Raises:
        SealError: it cannot be opened.
    """
    return keyring.open(webhook.secret, _place(webhook)).decode()


def enqueue(session: Session, alert: Alert, event: str) -> None:
    """Put an event of an alert into the outbox, one row for each enabled webhook of its watchlist.

    The rows' ids are derived, so the same event is never there twice. Call it after the change that it tells.
    """
    session.flush()
    target = session.scalars(
        select(Target).where(Target.id == alert.target_id).options(joinedload(Target.watchlist))
    ).one()
    happened = f"{alert.id}/{event}/{alert.updates}/{alert.closed_at_us}"
    if event == JUDGED:
        happened += f"/{session.scalar(select(func.count()).where(Verdict.alert_id == alert.id))}"
    now = now_us()
    # Held, so that none is removed before this is written.
    webhooks = session.scalars(
        select(Webhook)
        .where(Webhook.watchlist_id == target.watchlist_id, Webhook.enabled)
        .order_by(Webhook.id)
        .with_for_update(read=True, key_share=True)
    ).all()
    for webhook in webhooks:
        delivery_id = hashlib.blake2b(f"{webhook.id}/{happened}".encode(), digest_size=16).hexdigest()
        if session.get(Delivery, delivery_id) is None:
            session.add(
                Delivery(
                    id=delivery_id,
                    webhook_id=webhook.id,
                    alert_id=alert.id,
                    payload={"type": event, "id": delivery_id, "alert": describe(alert, target)},
                    next_attempt_at_us=now,
                    created_at_us=now,
                )
            )
    session.flush()


def send_test(session: Session, actor: Actor, webhook: Webhook) -> Delivery:
    """Have a test sent at once, and once only.

    Raises:
        ConflictError: the webhook is disabled.
    """
    if not webhook.enabled:
        raise ConflictError("this webhook is disabled, so nothing is sent: enable it first.")
    now = now_us()
    delivery_id = new_id()
    watchlist = webhook.watchlist
    payload = {
        "type": TEST,
        "id": delivery_id,
        "watchlist": {"id": watchlist.id, "name": watchlist.name},
        "sent_at": isoformat(now),
    }
    delivery = Delivery(
        id=delivery_id,
        webhook_id=webhook.id,
        payload=payload,
        state="pending",
        attempts=0,
        next_attempt_at_us=now,
        created_at_us=now,
    )
    session.add(delivery)
    session.flush()
    _record(session, actor, "webhook.tested", webhook, delivery=delivery_id)
    return delivery


def replay(session: Session, actor: Actor, delivery: Delivery) -> None:
    """Send a dead letter again, as often as a new one.

    Raises:
        ConflictError: it is none.
    """
    if delivery.state != "dead":
        raise ConflictError(f"this delivery is {delivery.state}, no dead letter: only those can be sent again.")
    _revive(delivery)
    audit.record(
        session, actor, "delivery.replayed", "delivery", delivery.id, watchlist_id=delivery.webhook.watchlist_id
    )


def replay_dead(session: Session, actor: Actor, webhook: Webhook) -> int:
    """Send all dead letters of a webhook again, but for tests; returns how many."""
    dead = session.scalars(
        select(Delivery)
        .where(Delivery.webhook_id == webhook.id, Delivery.state == "dead", Delivery.alert_id.is_not(None))
        .with_for_update()
    ).all()
    for delivery in dead:
        _revive(delivery)
    if dead:
        _record(session, actor, "delivery.replayed", webhook, count=len(dead))
    return len(dead)


def forget_old(session: Session) -> None:
    """Remove from the log what is older than `KEEP_LOG_S`, but for what is still to be sent."""
    old = Delivery.created_at_us < now_us() - KEEP_LOG_S * 1_000_000
    session.execute(delete(Delivery).where(old, Delivery.state != "pending"))


def visible_webhook(session: Session, who: Identity, webhook_id: str, *, lock: bool = False) -> Webhook:
    """A webhook, if there is a right to its watchlist; locked until the transaction ends if it is to be changed.

    Raises:
        NotFoundError: there is none, or no right to it; which one is not told.
    """
    query = select(Webhook).where(Webhook.id == webhook_id)
    webhook = session.scalar(query.with_for_update() if lock else query)
    if webhook is None or not who.sees_watchlist(webhook.watchlist_id):
        raise NotFoundError(f"there is no webhook {webhook_id}.")
    return webhook


def visible_delivery(session: Session, who: Identity, delivery_id: str, *, lock: bool = False) -> Delivery:
    """A delivery, if there is a right to its watchlist; locked until the transaction ends if it is to be changed.

    Raises:
        NotFoundError: there is none, or no right to it; which one is not told.
    """
    query = select(Delivery).where(Delivery.id == delivery_id).options(joinedload(Delivery.webhook))
    delivery = session.scalar(query.with_for_update(of=Delivery) if lock else query)
    if delivery is None or not who.sees_watchlist(delivery.webhook.watchlist_id):
        raise NotFoundError(f"there is no delivery {delivery_id}.")
    return delivery


def _revive(delivery: Delivery) -> None:
    delivery.state, delivery.attempts, delivery.next_attempt_at_us = "pending", 0, now_us()


def _set_secret(webhook: Webhook, keyring: Keyring) -> str:
    secret = "whsec_" + base64.b64encode(secrets.token_bytes(32)).decode()
    webhook.secret = keyring.seal(secret.encode(), _place(webhook))
    return secret


def _place(webhook: Webhook) -> str:
    return f"webhooks/{webhook.id}"


def _there_already(url: str) -> ConflictError:
    return ConflictError(f"this watchlist has the webhook {redact(url.strip())[:100]} already.")


def _record(session: Session, actor: Actor, action: str, webhook: Webhook, **detail: object) -> None:
    audit.record(session, actor, action, "webhook", webhook.id, watchlist_id=webhook.watchlist_id, detail=detail)
