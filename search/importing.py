"""Imports of uploaded archives, one after the other, on a thread of the search process.

What runs is a row; any search process takes up what none is working on, also after a restart.
"""

from __future__ import annotations

import contextlib
import logging
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI
from redis.exceptions import LockError, RedisError
from redis.lock import Lock
from sqlalchemy import select

from lookout.audit import Actor
from lookout.errors import LookoutError, UnavailableError
from lookout.stores.index import prepare_index
from lookout.stores.pieces import PieceFile, delete_pieces
from lookout.stores.registry.tables import Import
from lookout.targets.enrolment import Enroller
from lookout.targets.imports import Models, fail_import, run_import
from lookout.targets.sources import ZipSource
from search.indexing import index_now
from search.parts import Parts

log = logging.getLogger(__name__)

#: How often it looks for work when nobody tells it.
PAUSE_S = 2.0
#: After it another process may take an import over whose process was killed.
LOCK_S = 120.0


class Importer:
    """Works on the running imports until it is stopped."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="importer", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """End after the batch in hand; the rest is done after the next start."""
        self._stop.set()
        self._thread.join(timeout=10)

    def _run(self) -> None:
        self._warm_up()
        while not self._stop.is_set():
            try:
                self.work()
            except (LookoutError, RedisError) as error:
                log.warning("imports wait: %s", error)
            self._stop.wait(PAUSE_S)

    def _warm_up(self) -> None:
        """Have models and collections ready before the first person comes."""
        try:
            self._parts.faces.load()
            model = self._parts.model
            prepare_index(self._parts.registry, self._parts.vectors, model.name, model.dimension)
        except LookoutError as error:
            log.warning("not everything is ready yet: %s", error)

    def work(self) -> None:
        """Work on all running imports that no other process works on."""
        with self._parts.registry.reading() as session:
            # Also what was cancelled meanwhile: its archive goes.
            query = select(Import).where(Import.blob.is_not(None))
            waiting = list(session.scalars(query.order_by(Import.created_at_us)))
        for importing in waiting:
            lock = self._parts.redis.lock(f"lookout:import:{importing.id}", timeout=LOCK_S, blocking=False)
            if self._stop.is_set() or not lock.acquire():
                continue
            try:
                self._import(importing, lock)
            finally:
                try:
                    lock.release()
                except LockError:
                    log.warning("import %s took longer than its lock", importing.id)

    def _import(self, importing: Import, lock: Lock) -> None:
        parts = self._parts
        actor = Actor(importing.created_by, "session")
        by = Enroller(actor, parts.blobs, parts.keyring, parts.model)
        blob = importing.blob or ""
        try:
            if importing.state == "running" and not self._finish(importing, by, blob, lock):
                return
        except UnavailableError:
            raise
        except LookoutError as error:
            fail_import(parts.registry, actor, importing.id, str(error))
        except Exception:
            # Tried again it would fail again, and hold up all others.
            log.exception("import %s failed", importing.id)
            fail_import(parts.registry, actor, importing.id, "Lookout failed; the log of `search` tells why.")
        with parts.registry.transaction() as session:
            session.get_one(Import, importing.id).blob = None
        delete_pieces(parts.blobs, blob)

    def _finish(self, importing: Import, by: Enroller, blob: str, lock: Lock) -> bool:
        """Import what is left; False if the process is to end before."""
        parts = self._parts
        opened = ZipSource(PieceFile(parts.blobs, blob), importing.source)  # type: ignore[arg-type]
        # An embedder of its own: enrolments by people need not wait. One thread leaves them the other core.
        models = Models(*parts.models().load(parts.settings), threads=1)
        with contextlib.closing(opened) as source:
            for _ in run_import(parts.registry, by, importing.id, source, models):
                index_now(parts)
                lock.reacquire()
                if self._stop.is_set():
                    return False
        return True


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    """Import while the service runs."""
    importer = Importer(app.state.parts)
    importer.start()
    try:
        yield
    finally:
        importer.stop()
