"""Exports that people asked for, made one at a time, and taken up again when their worker was killed."""

from __future__ import annotations

import contextlib
import logging
import shutil
import threading
import time

from celery import Celery
from redis.exceptions import LockError, RedisError
from redis.lock import Lock
from sqlalchemy import select

from lookout.errors import LookoutError, UnavailableError
from lookout.exports.making import Maker, make
from lookout.exports.work import StoppedError
from lookout.faces.models import load_detector
from lookout.footage.folder import FootageFolder
from lookout.queue import EXPORT, EXPORTS
from lookout.stores.pieces import delete_pieces
from lookout.stores.registry.tables import Export, new_id
from workers.maintenance import left_to_the_next
from workers.parts import Parts

log = logging.getLogger(__name__)

#: Housekeeping, on its queue, which is the default.
RELAY_EXPORTS = "lookout.relay_exports"
#: After it another worker may take an export over whose worker was killed.
LOCK_S = 60
#: How often the lock is held on to, and the progress told.
TELL_S = 1.0
#: One that failed this often without a word, as it took its worker down or a part was away, is given up.
MAX_ATTEMPTS = 4
ATTEMPTS_S = 24 * 3600

#: One at a time: it is all the work that a core can do, and other queues have their threads, too.
_busy = threading.Lock()


def relay(app: Celery, parts: Parts) -> None:
    """Send the exports that nobody works on to the workers, and remove what killed ones left on the disk."""
    with left_to_the_next():
        with parts.registry.reading() as session:
            query = select(Export.id).where(Export.state.in_(("waiting", "running")))
            ids = list(session.scalars(query.order_by(Export.created_at_us)))
        # While a worker is busy the same ones would be sent again and again.
        if ids and parts.redis.llen(EXPORTS) == 0:
            for export_id in ids:
                if not parts.redis.exists(lock_name(export_id)):
                    app.send_task(EXPORT, args=[export_id], retry=False)
                    break
        _sweep_folders(parts)


def export(parts: Parts, export_id: str) -> None:
    """Make one, unless it is done, gone, or in the hands of another worker."""
    if not _busy.acquire(blocking=False):
        return  # it is sent again
    try:
        with left_to_the_next():
            lock = parts.redis.lock(lock_name(export_id), timeout=LOCK_S, blocking=False, thread_local=False)
            if lock.acquire():
                try:
                    _export(parts, export_id, lock)
                finally:
                    with contextlib.suppress(LockError, RedisError):
                        lock.release()
    except RedisError as error:
        log.warning("%s", error)
    finally:
        _busy.release()


def lock_name(export_id: str) -> str:
    """The key in Redis that says that a worker has an export."""
    return f"lookout:export:{export_id}"


def _export(parts: Parts, export_id: str, lock: Lock) -> None:
    with parts.registry.transaction() as session:
        row = session.get(Export, export_id, with_for_update=True)
        if row is None or row.state not in ("waiting", "running"):
            return
        row.state, row.progress = "running", 0.0
    attempts = parts.redis.incr(f"{lock_name(export_id)}:attempts")
    parts.redis.expire(f"{lock_name(export_id)}:attempts", ATTEMPTS_S)
    if attempts > MAX_ATTEMPTS:
        _fail(parts, export_id, "it took its worker down each time; the log of `worker` tells more")
        return
    settings = parts.settings
    maker = Maker(
        parts.registry,
        parts.blobs,
        FootageFolder(settings.footage_folder),
        parts.model,
        settings.footage_folder / "exports" / f"{export_id}.{new_id()}",
        lambda: load_detector(settings, parts.models().detector),
    )
    try:
        make(maker, export_id, _Progress(parts, export_id, lock))
        log.info("export %s is done", export_id)
    except StoppedError:
        log.info("export %s was removed, or went to another worker", export_id)
    except UnavailableError as error:
        if attempts < MAX_ATTEMPTS:
            raise
        _fail(parts, export_id, str(error))
    except LookoutError as error:
        _fail(parts, export_id, str(error))
    except OSError as error:
        _fail(parts, export_id, f"the footage folder cannot be used: {error.strerror or error}.")
    except RedisError:
        raise
    except Exception:
        log.exception("export %s failed", export_id)
        _fail(parts, export_id, "Lookout failed; the log of `worker` tells why.")


class _Progress:
    """Tells the registry how far an export is, and Redis that its worker lives."""

    def __init__(self, parts: Parts, export_id: str, lock: Lock) -> None:
        self._parts, self._export_id, self._lock = parts, export_id, lock
        self._told_s = 0.0

    def __call__(self, share: float) -> None:
        """Tell it, once in a while.

        Raises:
            StoppedError: it is somebody else's now, or was removed.
        """
        if time.monotonic() - self._told_s < TELL_S:
            return
        self._told_s = time.monotonic()
        try:
            self._lock.reacquire()
        except LockError as error:
            raise StoppedError from error
        with self._parts.registry.transaction() as session:
            row = session.get(Export, self._export_id)
            if row is None or row.state != "running":
                raise StoppedError
            row.progress = share


def _fail(parts: Parts, export_id: str, error: str) -> None:
    log.error("export %s failed: %s", export_id, error)
    with parts.registry.transaction() as session:
        row = session.get(Export, export_id, with_for_update=True)
        if row is None or row.state != "running":
            return
        if row.blob:
            delete_pieces(parts.blobs, row.blob)
        row.state, row.error, row.blob = "failed", error[:500], None


def _sweep_folders(parts: Parts) -> None:
    """Remove the folders of exports that no worker has: their clips lie there as they are."""
    for folder in (parts.settings.footage_folder / "exports").glob("*"):
        if not parts.redis.exists(lock_name(folder.name.partition(".")[0])):
            shutil.rmtree(folder, ignore_errors=True)
