"""The service `lookout indexer`: works on videos that were uploaded, one after the other."""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import threading
from pathlib import Path

from sqlalchemy import select

from ingest.indexing.children import Children
from ingest.indexing.indexer import CancelledByUserError, Indexer
from lookout import videos
from lookout.audit import Actor
from lookout.errors import ConflictError, LookoutError, UnavailableError
from lookout.logging import configure_logging
from lookout.settings import Settings
from lookout.stores.redis import connect
from lookout.stores.registry import Registry
from lookout.stores.registry.tables import Video

log = logging.getLogger(__name__)

POLL_S = 1.0
#: A file in `<home>/run` that is touched this often while the process lives: it listens on no port.
SIGN_OF_LIFE, SIGN_EVERY_S = "indexer", 5.0


def run(settings: Settings, *, workers: int | None = None) -> None:
    """Index what is uploaded until SIGTERM or SIGINT."""
    configure_logging("indexer")
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    sign = settings.home / "run" / SIGN_OF_LIFE
    sign.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    threading.Thread(target=_live, args=(sign, stop), daemon=True).start()
    log.info("ready")
    Service(settings, Registry(settings.database), workers or os.cpu_count() or 1, stop).run()
    log.info("stopped")


def _live(sign: Path, stop: threading.Event) -> None:
    while True:
        with contextlib.suppress(OSError):
            sign.touch()
        if stop.wait(SIGN_EVERY_S):
            return


class Service:
    """Looks for work, and does it. Children run only while there is some."""

    def __init__(self, settings: Settings, registry: Registry, workers: int, stop: threading.Event) -> None:
        self._settings, self._registry, self._workers, self._stop = settings, registry, workers, stop
        self._redis = connect(settings)

    def run(self) -> None:
        """Work until told to stop."""
        while not self._stop.is_set():
            try:
                self.work()
            except LookoutError as error:
                log.warning("videos wait: %s", error)
            self._stop.wait(POLL_S)

    def work(self) -> None:
        """Work on all uploads that no other process works on, the oldest first.

        Raises:
            UnavailableError: a part is away.
        """
        with self._registry.reading() as session:
            query = select(Video).where(Video.upload.is_not(None)).order_by(Video.created_at_us)
            waiting = list(session.scalars(query))
        if not waiting:
            return
        children = Children(self._settings, self._workers)
        ending = threading.Thread(target=self._close_when_stopped, args=(children,), daemon=True)
        ending.start()
        try:
            indexer = Indexer(self._settings, self._registry, self._redis, children, self._stop)
            for video in waiting:
                if not self._stop.is_set():
                    self._take(indexer, video)
        finally:
            children.close()

    def _take(self, indexer: Indexer, video: Video) -> None:
        path = self._settings.uploads_folder / (video.upload or "")
        actor = Actor(video.created_by, "session")
        try:
            if video.state in videos.UNFINISHED:
                self._index(indexer, actor, video, path)
        except ConflictError:
            return  # another process works on it
        except CancelledByUserError:
            log.info("video %s: cancelled", video.id)
        except UnavailableError:
            raise
        except LookoutError as error:
            self._fail(actor, video, str(error))
        except Exception:
            # Tried again it would fail again, and hold up all others.
            log.exception("video %s failed", video.id)
            self._fail(actor, video, "Lookout failed; the log of `indexer` tells why.")
        self._forget(indexer, video, path)

    def _index(self, indexer: Indexer, actor: Actor, video: Video, path: Path) -> None:
        if not path.is_file():
            raise LookoutError("the uploaded file is gone; upload it again.")
        log.info("video %s: begins", video.id)
        scanned = indexer.scan(str(path))
        indexer.index(actor, video.id, str(path), scanned, lambda _: None)
        log.info("video %s: done", video.id)

    def _fail(self, actor: Actor, video: Video, why: str) -> None:
        log.warning("video %s: %s", video.id, why)
        with self._registry.transaction() as session:
            row = session.get(Video, video.id, with_for_update=True)
            if row is not None and row.state in videos.UNFINISHED:
                videos.fail(session, actor, row, why)

    def _forget(self, indexer: Indexer, video: Video, path: Path) -> None:
        """The file is needed no more: its footage is kept, without sound."""
        with self._registry.transaction() as session:
            row = session.get(Video, video.id, with_for_update=True)
            if row is not None:
                if row.state in videos.UNFINISHED or row.upload != video.upload:
                    return  # it was handed in again meanwhile
                row.upload = None
        path.unlink(missing_ok=True)
        indexer.forget(video.id)

    def _close_when_stopped(self, children: Children) -> None:
        self._stop.wait()
        children.close()
