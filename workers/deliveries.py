"""The outbox to webhooks: at least once, signed, retried, and given up where nobody answers for a day.

Signed after the Standard Webhooks specification, so that receivers can verify with its libraries: HMAC-SHA256 over
`id.timestamp.body`, where the id is the idempotency key and the timestamp ends replays.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import logging
import random

import httpx2
from sqlalchemy import select
from sqlalchemy.orm import joinedload

from lookout.clock import now_us
from lookout.logging import redact
from lookout.metrics import DELIVERIES
from lookout.stores.registry import Registry
from lookout.stores.registry.tables import Delivery

log = logging.getLogger(__name__)

#: For each of connecting, sending and the begin of an answer.
TIMEOUT_S = 10.0
#: An attempt is over by then. If its worker died in it, the delivery is due again.
LEASE_S = 60.0
FIRST_RETRY_S = 2.0
MAX_RETRY_S = 6 * 3600.0
#: 2 s, 4 s, 8 s … : the last attempt comes about 15 hours after the first.
MAX_ATTEMPTS = 16
DUE_AT_ONCE = 100


def due(registry: Registry) -> list[str]:
    """Ids of the deliveries whose time has come, oldest first."""
    with registry.reading() as session:
        return list(
            session.scalars(
                select(Delivery.id)
                .where(Delivery.state == "pending", Delivery.next_attempt_at_us <= now_us())
                .order_by(Delivery.next_attempt_at_us)
                .limit(DUE_AT_ONCE)
            )
        )


def deliver(registry: Registry, delivery_id: str) -> None:
    """Try one delivery. Whoever comes second while it is tried finds it not due, and leaves."""
    claimed = _claim(registry, delivery_id)
    if claimed is None:
        return
    url, secret, body, attempts = claimed
    error = _post(url, secret, delivery_id, body)
    with registry.transaction() as session:
        delivery = session.get(Delivery, delivery_id)
        if delivery is None:
            return  # erased meanwhile
        if error is None:
            delivery.state, delivery.last_error = "delivered", None
        elif delivery.state == "pending":
            delivery.last_error = error
            delivery.state = "dead" if attempts >= MAX_ATTEMPTS else "pending"
            delay_s = retry_delay_s(attempts, random.random())  # noqa: S311 - jitter, not a secret
            delivery.next_attempt_at_us = now_us() + int(delay_s * 1e6)
    outcome = "delivered" if error is None else ("dead" if attempts >= MAX_ATTEMPTS else "failed")
    DELIVERIES.labels(outcome).inc()
    if error is not None:
        log.warning("delivery %s to %s failed (attempt %d): %s", delivery_id, redact(url), attempts, error)


def sign(secret: str, delivery_id: str, timestamp_s: int, body: bytes) -> str:
    """The `webhook-signature` of a delivery: `v1,` and base64 of HMAC-SHA256.

    Args:
        secret: `whsec_` and base64 of the key.
        delivery_id: `webhook-id`.
        timestamp_s: `webhook-timestamp`, seconds since 1970.
        body: what is sent.
    """
    key = base64.b64decode(secret.removeprefix("whsec_"))
    digest = hmac.new(key, f"{delivery_id}.{timestamp_s}.".encode() + body, hashlib.sha256).digest()
    return "v1," + base64.b64encode(digest).decode()


def retry_delay_s(attempts: int, jitter: float) -> float:
    """Wait after the n-th attempt: doubled each time, capped, spread by `jitter` in 0..1."""
    return min(MAX_RETRY_S, FIRST_RETRY_S * 2.0 ** min(attempts - 1, 20)) * (0.75 + 0.5 * jitter)


def _claim(registry: Registry, delivery_id: str) -> tuple[str, str, bytes, int] | None:
    with registry.transaction() as session:
        delivery = session.scalar(
            select(Delivery)
            .where(Delivery.id == delivery_id)
            .options(joinedload(Delivery.webhook))
            .with_for_update(of=Delivery)
        )
        now = now_us()
        if delivery is None or delivery.state != "pending" or delivery.next_attempt_at_us > now:
            return None
        delivery.attempts += 1
        delivery.next_attempt_at_us = now + int(LEASE_S * 1e6)
        body = json.dumps(delivery.payload, separators=(",", ":"), sort_keys=True).encode()
        return delivery.webhook.url, delivery.webhook.secret, body, delivery.attempts


def _post(url: str, secret: str, delivery_id: str, body: bytes) -> str | None:
    """Send; None if it was taken, else what went wrong."""
    timestamp_s = now_us() // 1_000_000
    headers = {
        "content-type": "application/json",
        "idempotency-key": delivery_id,
        "webhook-id": delivery_id,
        "webhook-timestamp": str(timestamp_s),
        "webhook-signature": sign(secret, delivery_id, timestamp_s, body),
    }
    try:
        # Only the begin of the answer is read: what follows says nothing, and may never end.
        with httpx2.stream("POST", url, content=body, headers=headers, timeout=TIMEOUT_S) as answer:
            return None if answer.is_success else f"HTTP {answer.status_code}"
    except (httpx2.HTTPError, httpx2.InvalidURL) as error:
        return f"{type(error).__name__}: {redact(str(error))}"[:500]
