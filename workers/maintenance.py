"""Housekeeping. Each task comes every second, so whatever a part that is away prevents is left to the next one."""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections.abc import Iterator

from celery import Celery
from sqlalchemy import delete

from lookout.accounts.sessions import forget_ended
from lookout.alerts.webhooks import forget_old
from lookout.cameras import publish_cameras
from lookout.clock import now_us
from lookout.errors import SealError, UnavailableError
from lookout.footage.segments import register_new
from lookout.queue import DELIVER, DELIVERIES
from lookout.stores.index import prepare_index, update_index, update_sightings
from lookout.stores.registry.tables import AlertEvent
from workers import alerts, deliveries
from workers.parts import Parts

log = logging.getLogger(__name__)

#: A page that was away for longer is loaded anew.
KEEP_EVENTS_S = 7 * 24 * 3600

#: How long sightings are written at a time: less than after what a task is given to another worker.
SIGHTINGS_S = 4.0

_updating = threading.Lock()
_registering = threading.Lock()
_writing = threading.Lock()


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
            # Not as it was a moment ago: the aliases must not go back.
            parts.models.forget()
            model = parts.model
            prepare_index(parts.registry, parts.vectors, model.name, model.dimension)
            changed = update_index(parts.registry, parts.vectors, parts.keyring, model.name)
            if changed:
                log.info("%d targets written to or removed from Milvus", changed)
    finally:
        _updating.release()


def bring_sightings_up_to_date(parts: Parts) -> None:
    """Tell Milvus the sightings that a killed worker left, or that it has lost; the rest of many comes next time."""
    if not _writing.acquire(blocking=False):
        return
    try:
        with left_to_the_next():
            written = update_sightings(
                parts.registry,
                parts.vectors,
                parts.keyring,
                parts.model.name,
                deadline=time.monotonic() + SIGHTINGS_S,
            )
            if written:
                log.info("%d sightings written to Milvus", written)
    finally:
        _writing.release()


def tell_cameras(parts: Parts) -> None:
    """Tell ingest which cameras there are: it may not ask the registry itself."""
    with left_to_the_next():
        publish_cameras(parts.registry, parts.redis, parts.keyring)


def register_footage(parts: Parts) -> None:
    """Put the footage that ingest finished into the registry."""
    if not _registering.acquire(blocking=False):
        return
    try:
        with left_to_the_next():
            register_new(parts.registry, parts.footage)
    finally:
        _registering.release()


def tidy(parts: Parts) -> None:
    """Remove what has served its time: sessions, the log of deliveries, events that no page will ask for."""
    with left_to_the_next(), parts.registry.transaction() as session:
        forget_ended(session)
        forget_old(session)
        session.execute(delete(AlertEvent).where(AlertEvent.at_us < now_us() - KEEP_EVENTS_S * 1_000_000))


def relay_deliveries(app: Celery, parts: Parts) -> None:
    """Send the deliveries whose time has come to the workers."""
    with left_to_the_next():
        # While receivers are slow the same ones would be sent again and again.
        if parts.redis.llen(DELIVERIES) == 0:
            for delivery_id in deliveries.due(parts.registry):
                app.send_task(DELIVER, args=[delivery_id], retry=False)


@contextlib.contextmanager
def left_to_the_next() -> Iterator[None]:
    """Give up while a part or a key is away."""
    try:
        yield
    except (UnavailableError, SealError) as error:
        log.warning("%s", error)
