"""Housekeeping. Each task comes every second, so whatever a part that is away prevents is left to the next one."""

from __future__ import annotations

import contextlib
import logging
import threading
from collections.abc import Iterator

from celery import Celery

from lookout.errors import UnavailableError
from lookout.queue import DELIVER, DELIVERIES
from lookout.stores.index import prepare_index, update_index
from workers import alerts, deliveries
from workers.parts import Parts

log = logging.getLogger(__name__)

_updating = threading.Lock()


def close_episodes(parts: Parts) -> None:
    """Close the alerts of people whom nobody has seen for long enough."""
    with left_to_the_next(), parts.registry.transaction() as session:
        closed = alerts.close_silent(session, silence_us=int(parts.settings.alert_silence_s * 1e6))
        if closed:
            log.info("%d alerts closed", closed)


def bring_index_up_to_date(parts: Parts) -> None:
    """Tell Milvus what the registry has new, and what it has no more."""
    if not _updating.acquire(blocking=False):
        return  # a Milvus that hangs holds up one thread, not all of them
    try:
        with left_to_the_next():
            model = parts.settings.embedder
            prepare_index(parts.registry, parts.vectors, model, parts.contract.dimension)
            changed = update_index(parts.registry, parts.vectors, model)
            if changed:
                log.info("%d references written to or removed from Milvus", changed)
    finally:
        _updating.release()


def relay_deliveries(app: Celery, parts: Parts) -> None:
    """Send the deliveries whose time has come to the workers."""
    with left_to_the_next():
        # While receivers are slow the same ones would be sent again and again.
        if parts.redis.llen(DELIVERIES) == 0:
            for delivery_id in deliveries.due(parts.registry):
                app.send_task(DELIVER, args=[delivery_id], retry=False)


@contextlib.contextmanager
def left_to_the_next() -> Iterator[None]:
    """Give up while a part is away."""
    try:
        yield
    except UnavailableError as error:
        log.warning("%s", error)
