"""One video from its plan to its end: parts handed out to children, followed, and written down when they are done."""

from __future__ import annotations

import logging
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, CancelledError, Future, wait
from contextlib import contextmanager
from dataclasses import dataclass
from typing import cast

from redis import Redis
from redis.exceptions import LockError
from sqlalchemy import func, select

from ingest.indexing.children import BrokenError, Children
from ingest.indexing.handing import handed_key
from ingest.indexing.orders import PartDone, PartOrder, Scanned, ScanOrder
from ingest.indexing.planning import Span, parts_of
from ingest.indexing.segments import working_folder
from lookout import videos
from lookout.audit import Actor
from lookout.camera_settings import FILES_ONLY, Camera, make_camera
from lookout.errors import BadInputError, ConflictError, LookoutError, UnavailableError
from lookout.footage.folder import FootageFolder
from lookout.footage.segments import register_new
from lookout.models_in_use import names_in_use
from lookout.settings import Settings
from lookout.stores.crops import crop_key
from lookout.stores.dead_letters import DeadLetters
from lookout.stores.redis import redis_errors
from lookout.stores.registry import Registry
from lookout.stores.registry.tables import CameraRow, Sighting, Video
from lookout.videos import Pace

log = logging.getLogger(__name__)

TICK_S = 0.5
#: After it another process may take a video over whose process was killed.
LOCK_S = 20.0
#: Workers that store no crop of a video for this long are given up; the next run waits for them again.
WORKERS_S = 300.0
#: Milvus and the footage folder lag by so much at most; what is missing then comes by itself.
SETTLE_S = 30.0
_KEYS_AT_ONCE = 1000

Told = Callable[[Pace], None]


class CancelledByUserError(LookoutError):
    """Somebody cancelled the video, or removed it."""


@dataclass
class _Progress:
    """How far the parts are."""

    total_us: int
    before_us: int
    parts: dict[int, int]
    began: float

    def pace(self) -> Pace:
        """As it is now."""
        done_us = min(self.total_us, self.before_us + sum(self.parts.values()))
        elapsed_s = max(time.monotonic() - self.began, 0.001)
        rate = (done_us - self.before_us) / 1e6 / elapsed_s
        left_s = (self.total_us - done_us) / 1e6 / rate if rate > 0 and elapsed_s > 1 else None
        return Pace(done_us / self.total_us, rate, left_s)


class Indexer:
    """Works on videos, each by one call of `index`; several calls may run at a time."""

    def __init__(
        self, settings: Settings, registry: Registry, redis: Redis, children: Children, stop: threading.Event
    ) -> None:
        self._registry, self._redis, self._children, self._stop = registry, redis, children, stop
        self._folder = FootageFolder(settings.footage_folder)

    def scan(self, path: str) -> Scanned:
        """What a file is.

        Raises:
            BadInputError: it is no video that can be searched.
        """
        future = self._children.submit(ScanOrder(path), lambda _: self._check_stop())
        try:
            report = self._result(future)
        except BrokenError as error:
            raise BadInputError(f"{error} Repair or convert it, say with ffmpeg.") from error
        return cast("Scanned", report)

    def index(self, actor: Actor, video_id: str, path: str, scanned: Scanned, told: Told) -> None:
        """Search a video, or what is left of it, until all that was found is stored.

        Args:
            actor: for the audit.
            video_id: which.
            path: where the file is.
            scanned: what it is.
            told: is called now and then with how it gets on.

        Raises:
            ConflictError: another process works on it.
            CancelledByUserError: it was cancelled meanwhile.
            UnavailableError: a part is away, or all is to stop: called again it goes on.
        """
        with self._alone(video_id) as renew:
            spans = parts_of(scanned)
            video, camera = self._begin(actor, video_id, scanned, len(spans))
            missing = [number for number in range(len(spans)) if number not in video.parts_done]
            progress = _Progress(scanned.duration_us, 0, {}, time.monotonic())
            progress.before_us = scanned.duration_us - sum(_length_us(spans[number], scanned) for number in missing)

            def follow() -> None:
                renew()
                self._check_cancelled(video_id)
                pace = progress.pace()
                videos.tell_pace(self._redis, video_id, pace)
                told(pace)

            with self._registry.reading() as session:
                detector, _ = names_in_use(session)
            orders = [
                PartOrder(
                    path=path, video_id=video_id, number=number, camera=camera, detector=detector, scanned=scanned,
                    started_at_us=video.started_at_us, from_us=spans[number][0], until_us=spans[number][1],
                )
                for number in missing
            ]  # fmt: skip
            self._search(orders, progress, follow)
            self._settle(video_id, follow)
            with self._registry.transaction() as session:
                done = self._row(session.get(Video, video_id, with_for_update=True))
                if done.state == "running":
                    videos.finish(session, actor, done)
            self.forget(video_id)

    def forget(self, video_id: str) -> None:
        """Tidy up after a video that is done or was given up."""
        shutil.rmtree(working_folder(self._folder, video_id), ignore_errors=True)
        with redis_errors():
            self._redis.delete(handed_key(video_id))

    def _begin(self, actor: Actor, video_id: str, scanned: Scanned, parts: int) -> tuple[Video, Camera]:
        with self._registry.transaction() as session:
            video = self._row(session.get(Video, video_id, with_for_update=True))
            row = session.get(CameraRow, video.camera_id)
            if row is None:
                raise BadInputError(f"its camera, {video.camera_id}, was removed; add it again, then hand it in again.")
            if video.parts != parts:
                video.parts, video.parts_done, video.crops, video.broken_frames, video.broken_at_s = parts, [], 0, 0, []
            video.duration_us, video.codec = scanned.duration_us, scanned.codec
            video.width, video.height = scanned.width, scanned.height
            videos.begin(session, actor, video)
            # Without its address, which may hold a password that the child has no need of.
            camera = make_camera(
                id=row.id, url=FILES_ONLY, name=row.name, group=row.camera_group, analysed_fps=video.analysed_fps,
                masks=row.masks, matched_only=row.matched_only,
            )  # fmt: skip
        return video, camera

    def _search(self, orders: list[PartOrder], progress: _Progress, follow: Callable[[], None]) -> None:
        over = threading.Event()

        def telling(number: int) -> Callable[[int], None]:
            def tell(done_us: int) -> None:
                if over.is_set():
                    raise CancelledByUserError("it is over.")
                progress.parts[number] = done_us

            return tell

        futures = {self._children.submit(order, telling(order.number)): order for order in orders}
        waiting = set(futures)
        try:
            while waiting:
                done, waiting = wait(waiting, TICK_S, FIRST_COMPLETED)
                for future in done:
                    self._take(futures[future], future)
                    order = futures[future]
                    progress.parts[order.number] = _length_us((order.from_us, order.until_us), order.scanned)
                self._check_stop()
                follow()
        finally:
            over.set()  # also for the parts in hand
            for future in waiting:
                future.cancel()

    def _take(self, order: PartOrder, future: Future[Scanned | PartDone]) -> None:
        """Write down that a part is done."""
        try:
            report = cast("PartDone", self._result(future))
        except BrokenError:
            # Nothing of it can be had; the others shall not suffer from it.
            report = PartDone(crops=0, broken_frames=1, broken_at_s=[round(order.from_us / 1e6, 2)])
        with self._registry.transaction() as session:
            video = self._row(session.get(Video, order.video_id, with_for_update=True))
            videos.part_done(video, order.number, report.crops, report.broken_frames, report.broken_at_s)

    def _settle(self, video_id: str, follow: Callable[[], None]) -> None:
        """Wait until what was found can be found: footage, sightings, and their templates in Milvus."""
        deadline, before = time.monotonic() + WORKERS_S, -1
        while pending := self._pending_patiently(video_id, before):
            if pending != before:
                deadline, before = time.monotonic() + WORKERS_S, pending
            if time.monotonic() > deadline:
                raise UnavailableError(
                    f"no worker takes its {pending} last crops: look with `lookout doctor`, then start it again."
                )
            self._pause(follow)
        deadline = time.monotonic() + SETTLE_S
        while register_new(self._registry, self._folder) or self._not_indexed(video_id):
            if time.monotonic() > deadline:
                log.warning("%s: Milvus is not told of all of it yet", video_id)
                return
            self._pause(follow)

    def _pending_patiently(self, video_id: str, before: int) -> int:
        """As many as there were before, while Redis is away."""
        try:
            return self._pending(video_id)
        except UnavailableError as error:
            log.warning("%s: %s", video_id, error)
            return before

    def _pending(self, video_id: str) -> int:
        """How many crops of a video wait for workers; without those that they gave up."""
        with redis_errors():
            handed = {
                bytes(member).decode() for member in cast("set[bytes]", self._redis.smembers(handed_key(video_id)))
            }
            there: list[str] = []
            ids = sorted(handed)
            for begin in range(0, len(ids), _KEYS_AT_ONCE):
                some = ids[begin : begin + _KEYS_AT_ONCE]
                with self._redis.pipeline(transaction=False) as pipe:
                    for crop in some:
                        pipe.exists(crop_key(crop))
                    there += [crop for crop, found in zip(some, pipe.execute(), strict=True) if found]
            done = handed.difference(there)
            if done:
                for begin in range(0, len(ids := sorted(done)), _KEYS_AT_ONCE):
                    self._redis.srem(handed_key(video_id), *ids[begin : begin + _KEYS_AT_ONCE])
        if not there:
            return 0
        dead = {crop for letter in DeadLetters(self._redis).all() for crop in letter.crop_ids}
        return len(set(there) - dead)

    def _not_indexed(self, video_id: str) -> bool:
        with self._registry.reading() as session:
            _, model = names_in_use(session)
            query = select(func.count()).where(
                Sighting.video_id == video_id, Sighting.model == model, Sighting.indexed.is_(False)
            )
            return bool(session.scalar(query))

    def _pause(self, follow: Callable[[], None]) -> None:
        self._stop.wait(TICK_S)
        self._check_stop()
        follow()

    def _result(self, future: Future[Scanned | PartDone]) -> Scanned | PartDone:
        while True:
            done, _ = wait([future], TICK_S)
            if done:
                try:
                    return future.result()
                except CancelledError as error:
                    raise UnavailableError("the indexing was stopped; start it again, and it goes on.") from error
            self._check_stop()

    def _check_stop(self) -> None:
        if self._stop.is_set():
            raise UnavailableError("the indexing was stopped; start it again, and it goes on.")

    def _check_cancelled(self, video_id: str) -> None:
        with self._registry.reading() as session:
            state = session.scalar(select(Video.state).where(Video.id == video_id))
        if state != "running":
            raise CancelledByUserError("it was cancelled." if state else "it was removed.")

    @contextmanager
    def _alone(self, video_id: str) -> Iterator[Callable[[], None]]:
        """Hold a video for this process; yields what holds it longer."""
        lock = self._redis.lock(videos.lock_name(video_id), timeout=LOCK_S, blocking=False, thread_local=False)
        with redis_errors():
            if not lock.acquire():
                raise ConflictError("another process works on it right now.")
        renewed = time.monotonic()

        def renew() -> None:
            nonlocal renewed
            if time.monotonic() - renewed < LOCK_S / 4:
                return
            try:
                with redis_errors():
                    if not lock.owned():  # Redis lost it, or was away for long
                        if not lock.acquire():
                            raise ConflictError("another process has taken it over.")
                    else:
                        lock.reacquire()
                renewed = time.monotonic()
            except UnavailableError as error:
                log.warning("its lock cannot be renewed: %s", error)

        try:
            yield renew
        finally:
            try:
                lock.release()
            except (LockError, OSError):
                log.warning("the lock of video %s was lost", video_id)
            except Exception as error:  # noqa: BLE001 - Redis is away; the lock ends by itself
                log.warning("the lock of video %s ends by itself: %s", video_id, error)

    @staticmethod
    def _row(found: Video | None) -> Video:
        if found is None:
            raise CancelledByUserError("it was removed.")
        return found


def _length_us(span: Span, scanned: Scanned) -> int:
    begin_us, end_us = span
    return max(0, (scanned.duration_us if end_us is None else end_us) - begin_us)
