"""The Celery tasks: thin, with what happens when they fail."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable
from functools import partial
from typing import ParamSpec, TypeVar

from celery import Celery, Task
from celery.exceptions import Reject
from tenacity import Retrying, before_sleep_log, retry_if_exception_type, stop_after_delay, wait_exponential

from lookout.clock import now_us
from lookout.errors import UnavailableError
from lookout.messages import DeadLetter
from lookout.metrics import CROPS_FAILED
from lookout.queue import (
    CLOSE_EPISODES,
    DELIVER,
    EMBED_CROPS,
    EXPORT,
    INDEX_SIGHTINGS,
    PUBLISH_CAMERAS,
    REGISTER_FOOTAGE,
    RELAY_DELIVERIES,
    SWEEP,
    TIDY,
    UPDATE_INDEX,
)
from workers import deliveries, exports, maintenance, retention
from workers.parts import Parts

log = logging.getLogger(__name__)

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")

#: A message that failed this often is not tried again. Counted in Redis, so that one that kills its worker counts too.
MAX_ATTEMPTS = 4
#: How long a task waits for a part that is away, before its message goes back to the queue. A worker that is asked to
#: end waits for its tasks.
PATIENCE_S = 2.0


#: Housekeeping: how often it runs, in seconds, and what it does.
HOUSEKEEPING: dict[str, tuple[float, Callable[[Celery, Parts], None]]] = {
    CLOSE_EPISODES: (1.0, lambda _, parts: maintenance.close_episodes(parts)),
    RELAY_DELIVERIES: (1.0, maintenance.relay_deliveries),
    UPDATE_INDEX: (1.0, lambda _, parts: maintenance.bring_index_up_to_date(parts)),
    INDEX_SIGHTINGS: (3.0, lambda _, parts: maintenance.bring_sightings_up_to_date(parts)),
    PUBLISH_CAMERAS: (1.0, lambda _, parts: maintenance.tell_cameras(parts)),
    REGISTER_FOOTAGE: (1.0, lambda _, parts: maintenance.register_footage(parts)),
    exports.RELAY_EXPORTS: (1.0, exports.relay),
    TIDY: (600.0, lambda _, parts: maintenance.tidy(parts)),
    SWEEP: (retention.INTERVAL_S, lambda _, parts: retention.sweep(parts)),
}


def register(app: Celery, parts: Parts) -> None:
    """Define the tasks of a worker on these parts."""

    @app.task(name=EMBED_CROPS, bind=True)
    def embed_crops(task: Task[[list[str]], None], ids: list[str]) -> None:
        try:
            work_off(app, parts, str(task.request.id), ids)
        except Exception as error:  # noqa: BLE001 - whatever it is, it is in the log, and the message comes again
            raise Reject(str(error), requeue=True) from None

    @app.task(name=DELIVER)
    def deliver(delivery_id: str) -> None:
        with maintenance.left_to_the_next():
            deliveries.deliver(parts.registry, parts.keyring, delivery_id)

    # Acknowledged at once: it takes longer than others wait for one, and what was not finished is relayed again.
    @app.task(name=EXPORT, acks_late=False)
    def export(export_id: str) -> None:
        exports.export(parts, export_id)

    for name, (_, work) in HOUSEKEEPING.items():
        _keep_house(app, name, partial(work, app, parts))


def _keep_house(app: Celery, name: str, work: Callable[[], None]) -> None:
    @app.task(name=name)
    def run() -> None:
        work()


def work_off(app: Celery, parts: Parts, message_id: str, ids: list[str]) -> None:
    """Do the work of one message that names crops; give it up when it has failed too often.

    Raises:
        Exception: it failed, and is worth another attempt.
    """
    attempts = patiently(parts.dead_letters.count_attempt, message_id)
    if attempts > MAX_ATTEMPTS:
        give_up(app, parts, message_id, ids, "it took its worker down each time", attempts - 1)
        return
    try:
        # A part that is away is no fault of the message: wait here, where nothing else could be done either.
        patiently(process_crops, parts, ids)
    except UnavailableError:
        with contextlib.suppress(UnavailableError):
            parts.dead_letters.forget_attempts(message_id)
        raise
    except Exception as error:
        log.exception("message %s failed (attempt %d)", message_id, attempts)
        if attempts < MAX_ATTEMPTS:
            raise
        give_up(app, parts, message_id, ids, f"{type(error).__name__}: {error}", attempts)


def give_up(app: Celery, parts: Parts, message_id: str, ids: list[str], error: str, attempts: int) -> None:
    """Make a dead letter of a message that names one crop; take others apart, as one bad crop is no other's fault."""
    if len(ids) > 1:
        log.error("message %s is taken apart after %d attempts: %s", message_id, attempts, error)
        for crop_id in ids:
            app.send_task(EMBED_CROPS, args=[[crop_id]], retry=False)
        return
    parts.dead_letters.bury(
        DeadLetter(id=message_id, crop_ids=ids, error=error[:500], attempts=attempts, failed_at_us=now_us())
    )
    CROPS_FAILED.inc(len(ids))
    log.error("message %s is a dead letter after %d attempts: %s", message_id, attempts, error)


def process_crops(parts: Parts, ids: list[str]) -> None:
    """Do the work. Imported here, as OpenVINO must not be loaded in the process that forks the others."""
    from workers.crops import process

    process(parts, ids)


def patiently(function: Callable[Arguments, Result], *args: Arguments.args, **kwargs: Arguments.kwargs) -> Result:
    """Call a function, again and again while a part that it needs is away, for `PATIENCE_S` at most."""
    attempts = Retrying(
        retry=retry_if_exception_type(UnavailableError),
        wait=wait_exponential(multiplier=0.2, max=0.8),
        stop=stop_after_delay(PATIENCE_S),
        before_sleep=before_sleep_log(log, logging.WARNING),
        reraise=True,
    )
    return attempts(function, *args, **kwargs)
