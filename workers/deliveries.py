"""The outbox to webhooks: at least once, signed, retried, and given up where nobody answers for a day.

Signed after the Standard Webhooks specification, so that receivers can verify with its libraries: HMAC-SHA256 over
`id.timestamp.body`, where the id is the idempotency key and the timestamp ends replays.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import hmac
import json
import logging
import random
import socket
import threading
from dataclasses import dataclass
from typing import Any

import httpx2
from sqlalchemy import select
from sqlalchemy.orm import joinedload

from lookout.alerts.webhooks import is_link_local, open_secret
from lookout.clock import now_us
from lookout.errors import SealError
from lookout.logging import redact
from lookout.metrics import DELIVERIES
from lookout.sealing import Keyring
from lookout.stores.registry import Registry
from lookout.stores.registry.tables import Delivery, Webhook

log = logging.getLogger(__name__)

#: For connecting, and for each part that is sent or received.
TIMEOUT_S = 10.0
#: For all of it, once connected: a receiver that sends a byte now and then holds up nobody.
ATTEMPT_S = 30.0
#: An attempt is over by then. If its worker died in it, the delivery is due again.
LEASE_S = 60.0
FIRST_RETRY_S = 2.0
MAX_RETRY_S = 6 * 3600.0
#: 2 s, 4 s, 8 s … : the last attempt comes about 15 hours after the first.
MAX_ATTEMPTS = 16
#: Somebody waits for what becomes of a test.
TEST_ATTEMPTS = 1
DUE_AT_ONCE = 100


@dataclass(frozen=True, slots=True)
class _Attempt:
    """One attempt of a delivery, as it was when it was claimed."""

    webhook: Webhook
    body: bytes
    number: int
    is_last: bool


def due(registry: Registry) -> list[str]:
    """Ids of the deliveries whose time has come, oldest first. Those of disabled webhooks wait."""
    with registry.reading() as session:
        return list(
            session.scalars(
                select(Delivery.id)
                .join(Webhook)
                .where(Delivery.state == "pending", Delivery.next_attempt_at_us <= now_us(), Webhook.enabled)
                .order_by(Delivery.next_attempt_at_us)
                .limit(DUE_AT_ONCE)
            )
        )


def deliver(registry: Registry, keyring: Keyring, delivery_id: str) -> None:
    """Try one delivery. Whoever comes second while it is tried finds it not due, and leaves."""
    attempt = _claim(registry, delivery_id)
    if attempt is None:
        return
    error = _post(attempt, keyring, delivery_id)
    with registry.transaction() as session:
        delivery = session.get(Delivery, delivery_id, with_for_update=True)
        if delivery is None:
            return  # erased or removed meanwhile
        if error is None:
            delivery.state, delivery.last_error = "delivered", None
        elif delivery.state == "pending":
            delivery.last_error = error
            delivery.state = "dead" if attempt.is_last else "pending"
            delay_s = retry_delay_s(attempt.number, random.random())  # noqa: S311 - jitter, not a secret
            delivery.next_attempt_at_us = now_us() + int(delay_s * 1e6)
    DELIVERIES.labels("delivered" if error is None else "dead" if attempt.is_last else "failed").inc()
    if error is not None:
        log.warning(
            "delivery %s to %s failed (attempt %d): %s", delivery_id, redact(attempt.webhook.url), attempt.number, error
        )


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


def _claim(registry: Registry, delivery_id: str) -> _Attempt | None:
    """Take a delivery for an attempt; None if it is not due, or of a disabled webhook."""
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
        if not delivery.webhook.enabled:
            return None
        delivery.attempts += 1
        delivery.last_attempt_at_us = now
        delivery.next_attempt_at_us = now + int(LEASE_S * 1e6)
        body = json.dumps(delivery.payload, separators=(",", ":"), sort_keys=True).encode()
        most = TEST_ATTEMPTS if delivery.alert_id is None else MAX_ATTEMPTS
        return _Attempt(delivery.webhook, body, delivery.attempts, delivery.attempts >= most)


def _post(attempt: _Attempt, keyring: Keyring, delivery_id: str) -> str | None:
    """Send; None if it was taken, else what went wrong."""
    try:
        secret = open_secret(keyring, attempt.webhook)
    except SealError as error:
        return str(error)[:500]  # nobody would take what is not signed
    timestamp_s = now_us() // 1_000_000
    headers = {
        "content-type": "application/json",
        "idempotency-key": delivery_id,
        "webhook-id": delivery_id,
        "webhook-timestamp": str(timestamp_s),
        "webhook-signature": sign(secret, delivery_id, timestamp_s, attempt.body),
    }
    watch = _Watch()
    url, body, traced = attempt.webhook.url, attempt.body, {"trace": watch.see}
    try:
        # Redirects are not followed: they would lead where nobody allowed it. Only the begin of the answer is read:
        # what follows says nothing, and may never end.
        with (
            contextlib.closing(watch),
            httpx2.Client(timeout=TIMEOUT_S, follow_redirects=False) as client,
            client.stream("POST", url, content=body, headers=headers, extensions=traced) as answer,
        ):
            return None if answer.is_success else f"HTTP {answer.status_code}"
    except _RefusedAddressError as error:
        return str(error)
    except (httpx2.HTTPError, httpx2.InvalidURL, OSError) as error:
        if watch.ran_out:
            return f"no whole answer within {ATTEMPT_S:.0f} s"
        return f"{type(error).__name__}: {redact(str(error))}"[:500]


class _RefusedAddressError(Exception):
    """The connection leads where no webhook goes."""


class _Watch:
    """Looks at the connection of an attempt: before a byte is sent where it leads, later for how long it lasts."""

    def __init__(self) -> None:
        self.ran_out = False
        self._socket: socket.socket | None = None
        self._timer: threading.Timer | None = None

    def see(self, event: str, info: dict[str, Any]) -> None:
        """What the HTTP client calls at each step.

        Raises:
            _RefusedAddressError: the address is link-local, whatever name it had.
        """
        if event != "connection.connect_tcp.complete":
            return
        stream = info["return_value"]
        address = stream.get_extra_info("server_addr")[0]
        if is_link_local(address):
            stream.close()
            raise _RefusedAddressError(f"not sent: {address} is link-local, where machines get their credentials")
        # A copy, which is good for the whole connection also when TLS has taken the first one over.
        self._socket = stream.get_extra_info("socket").dup()
        self._timer = threading.Timer(ATTEMPT_S, self._end)
        self._timer.daemon = True
        self._timer.start()

    def close(self) -> None:
        """Look no more."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer.join()
        if self._socket is not None:
            self._socket.close()

    def _end(self) -> None:
        self.ran_out = True
        if self._socket is not None:
            with contextlib.suppress(OSError):
                self._socket.shutdown(socket.SHUT_RDWR)
