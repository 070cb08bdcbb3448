"""`lookout index`: files searched for faces as if a camera had recorded them."""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import os
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, cast

from redis import Redis
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn

from ingest.indexing.children import Children
from ingest.indexing.indexer import Indexer
from ingest.indexing.orders import Scanned
from lookout import videos
from lookout.audit import Actor
from lookout.clock import isoformat
from lookout.errors import (
    EXIT_BAD_INPUT,
    BadInputError,
    ConflictError,
    LookoutError,
    NotFoundError,
    SealError,
    UnavailableError,
)
from lookout.sealing import Keyring, keyring
from lookout.settings import Settings
from lookout.stores.redis import connect, redis_errors
from lookout.stores.registry import Registry
from lookout.stores.registry.tables import CameraRow, Video
from lookout.stores.vectors import Vectors
from lookout.videos import Handed, Pace

#: How long a sign of life of a worker is waited for: each second one of them starts the housekeeping.
SIGN_OF_LIFE_S = 5.0
SIGN_OF_LIFE = "pulse:lookout.close_episodes"
EXIT_FAILED, EXIT_INTERRUPTED = 1, 130
_BLOCK = 1 << 20


@dataclass
class Result:
    """What becomes of one file."""

    path: Path
    sha256: str = ""
    scanned: Scanned | None = None
    started_at_us: int = 0
    video: Video | None = None
    already: str = ""
    error: LookoutError | None = None
    warnings: list[str] = field(default_factory=list)
    rate: float = 0.0


def run(
    settings: Settings, *, actor: Actor, files: Sequence[Path], camera: str, start: str | None, fps: float,
    workers: int | None, as_json: bool,
) -> int:  # fmt: skip
    """Index files; returns the exit code.

    Raises:
        BadInputError: the start is no time, or lies in the future.
        UnavailableError: no system runs that could store what is found.
    """
    logging.getLogger().setLevel(logging.ERROR)
    started_at_us = None if start is None else read_start(start)
    if started_at_us is not None:
        videos.check_start(started_at_us)
    registry, redis, ring = Registry(settings.database), connect(settings), keyring(settings)
    check_running(settings, registry, redis)
    count = workers or os.cpu_count() or 1
    children = Children(settings, count, settings.home / "logs" / "index.log")
    stop = threading.Event()
    command = _Command(registry, ring, actor, Indexer(settings, registry, redis, children, stop), fps)
    shown = _Shown(as_json=as_json)
    if started_at_us is not None and start is not None and datetime.fromisoformat(start).tzinfo is None:
        shown.say(f"--start has no zone: taken as this machine's time, {isoformat(started_at_us)}")
    results = [Result(path) for path in files]
    try:
        with shown:
            command.run(results, camera, started_at_us, count, shown)
    except KeyboardInterrupt:
        stop.set()
        children.close()
        command.put_back(results)
        shown.say("stopped; the same command goes on where it was")
        return EXIT_INTERRUPTED
    finally:
        stop.set()
        children.close()
    return shown.report(registry, results)


class _Command:
    """The steps of the command."""

    def __init__(self, registry: Registry, ring: Keyring, actor: Actor, indexer: Indexer, fps: float) -> None:
        self._registry, self._ring, self._actor, self._indexer, self._fps = registry, ring, actor, indexer, fps

    def run(self, results: list[Result], camera: str, start_us: int | None, count: int, shown: _Shown) -> None:
        """Look at all files, then take and index those that can be."""
        with _threads(max(count, 1)) as threads:
            for future in [threads.submit(self._look, one, shown) for one in results]:
                _finished(future)
            _place(results, start_us)
            good = [one for one in results if one.error is None]
            if good:
                row = self._camera(camera, shown)
                for one in good:
                    self._take(one, cast("Scanned", one.scanned), row)
            for future in [
                threads.submit(self._index, one, one.video, one.scanned, shown)
                for one in good
                if one.video is not None and one.scanned is not None and one.error is None and not one.already
            ]:
                _finished(future)

    def put_back(self, results: list[Result]) -> None:
        """Say that nobody works on them any more."""
        for one in results:
            if one.video is not None:
                with contextlib.suppress(LookoutError), self._registry.transaction() as session:
                    video = session.get(Video, one.video.id, with_for_update=True)
                    if video is not None and video.state == "running":
                        video.state = "waiting"

    def _camera(self, name: str, shown: _Shown) -> CameraRow:
        with self._registry.transaction() as session:
            row, made = videos.camera_for(session, self._actor, self._ring, name)
        if made:
            shown.say(f"camera {row.id} was added; it has no stream, and its group is {row.camera_group}")
        return row

    def _look(self, one: Result, shown: _Shown) -> None:
        with _told(one):
            shown.begin(one)
            one.sha256 = sha256_of(one.path)
            one.scanned = self._indexer.scan(str(one.path.absolute()))

    def _take(self, one: Result, scanned: Scanned, row: CameraRow) -> None:
        with _told(one), self._registry.transaction() as session:
            handed = Handed(one.path.name, one.sha256, one.path.stat().st_size, one.started_at_us, self._fps)
            one.video, new = videos.hand_in(session, self._actor, row, handed)
            if not new:
                one.already = videos.already(one.video)
                return
            end_us = one.started_at_us + scanned.duration_us
            others = videos.overlaps(session, row.id, one.video.id, one.started_at_us, end_us)
            if others:
                one.warnings.append(f"overlaps in time with {', '.join(others[:3])}")
            one.warnings += warnings_of(scanned)

    def _index(self, one: Result, video: Video, scanned: Scanned, shown: _Shown) -> None:
        began = time.monotonic()
        with _told(one):
            try:
                path = str(one.path.absolute())
                self._indexer.index(self._actor, video.id, path, scanned, lambda pace: shown.pace(one, pace))
            except BadInputError as error:
                with self._registry.transaction() as session:
                    videos.fail(session, self._actor, session.get_one(Video, video.id), str(error))
                raise
        one.rate = scanned.duration_us / 1e6 / (time.monotonic() - began)


def read_start(text: str) -> int:
    """A time as microseconds; without a zone it is this machine's.

    Raises:
        BadInputError: it is none.
    """
    try:
        return int(datetime.fromisoformat(text).astimezone().timestamp() * 1e6)
    except (ValueError, OverflowError) as error:
        raise BadInputError(f"--start: {text} is no time; write it as 2026-11-01T08:00:00+01:00.") from error


def sha256_of(path: Path) -> str:
    """The hash of a file's content.

    Raises:
        BadInputError: it cannot be read, or is empty.
    """
    found = hashlib.sha256()
    try:
        if path.stat().st_size == 0:
            raise BadInputError("it is empty; was it copied whole?")
        with path.open("rb") as file:
            while block := file.read(_BLOCK):
                found.update(block)
    except OSError as error:
        raise BadInputError(f"it cannot be read: {error.strerror}.") from error
    return found.hexdigest()


def warnings_of(scanned: Scanned) -> list[str]:
    """What of a file is not as it should be."""
    found = []
    if not scanned.timed:
        found.append(f"has no timestamps: {scanned.rate:g} frames a second are assumed")
    if scanned.jumps_at_s:
        places = ", ".join(f"{at_s:g} s" for at_s in scanned.jumps_at_s[:5])
        found.append(f"its clock jumps at {places}: time goes on from what was before")
    return found


def check_running(settings: Settings, registry: Registry, redis: Redis) -> None:
    """Make sure that what is found can be stored.

    Raises:
        UnavailableError: a part is away, or no worker shows a sign of life.
    """
    remedy = "start Lookout first: `lookout up --detach`."
    vectors = Vectors(settings.milvus_uri)
    try:
        with redis_errors():
            redis.ping()
        vectors.check()
    except UnavailableError as error:
        raise UnavailableError(f"no Lookout runs that could store what is found ({error}); {remedy}") from error
    finally:
        vectors.close()
    if not registry.is_current():
        raise UnavailableError("the registry does not answer, or is of another version: run `lookout migrate`.")
    deadline = time.monotonic() + SIGN_OF_LIFE_S
    while not redis.exists(SIGN_OF_LIFE):
        if time.monotonic() > deadline:
            raise UnavailableError(f"no worker runs that could store what is found; {remedy}")
        time.sleep(0.05)


def _place(results: list[Result], start_us: int | None) -> None:
    """When each file begins: the first at the start that was given, each further one where the one before ends."""
    at_us = start_us
    for one in results:
        if one.scanned is None or one.error is not None:
            at_us = None if start_us is not None else at_us  # nobody knows how long it would have been
            if start_us is not None and at_us is None and one is not results[-1]:
                _cannot_follow(results[results.index(one) + 1 :])
                return
            continue
        begin_us = at_us if start_us is not None else one.scanned.created_us
        if begin_us is None:
            one.error = BadInputError("it does not say when it was recorded: give --start.")
            continue
        one.started_at_us = begin_us
        if start_us is not None:
            at_us = begin_us + one.scanned.duration_us


def _cannot_follow(results: list[Result]) -> None:
    for one in results:
        one.error = one.error or BadInputError("when it begins is not known, as a file before it cannot be read.")


@contextlib.contextmanager
def _told(one: Result) -> Iterator[None]:
    """Keep what is wrong with a file, so that the others are indexed."""
    try:
        yield
    except LookoutError as error:
        one.error = error


@contextlib.contextmanager
def _threads(count: int) -> Iterator[ThreadPoolExecutor]:
    """Threads that nobody waits for after Ctrl-C: their children are ended first."""
    threads = ThreadPoolExecutor(count)
    try:
        yield threads
    finally:
        threads.shutdown(wait=False, cancel_futures=True)


def _finished(future: Future[None]) -> None:
    """Wait in small steps, so that Ctrl-C is heard."""
    while not wait([future], 0.2).done:
        continue
    future.result()


class _Shown:
    """What people see: a bar a file, then a line a file; or one JSON object."""

    def __init__(self, *, as_json: bool) -> None:
        self._json = as_json
        self._out = Console(soft_wrap=True, highlight=False, markup=False)
        self._err = Console(stderr=True, soft_wrap=True, highlight=False, markup=False)
        self._progress = Progress(
            TextColumn("{task.description}", markup=False), BarColumn(), TaskProgressColumn(),
            TextColumn("{task.fields[pace]}"), console=self._err, disable=as_json,
        )  # fmt: skip
        self._tasks: dict[Path, Any] = {}

    def __enter__(self) -> None:
        self._progress.start()

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def say(self, text: str) -> None:
        """A remark; beside the JSON object, not in it."""
        self._err.print(text)

    def begin(self, one: Result) -> None:
        """Show a file."""
        self._tasks[one.path] = self._progress.add_task(one.path.name, total=1.0, pace="reading")

    def pace(self, one: Result, pace: Pace) -> None:
        """Show how a file gets on."""
        left = "" if pace.left_s is None else f", {_duration(pace.left_s)} left"
        self._progress.update(self._tasks[one.path], completed=pace.share, pace=f"{pace.rate:.1f}x real time{left}")

    def report(self, registry: Registry, results: list[Result]) -> int:
        """Say what came of all; returns the exit code."""
        with registry.reading() as session:
            rows = [None if one.video is None else session.get(Video, one.video.id) for one in results]
            found = videos.counts(session, [row.id for row in rows if row is not None])
        described = [_describe(one, row, found) for one, row in zip(results, rows, strict=True)]
        if self._json:
            self._out.print(json.dumps({"videos": described}, indent=2, ensure_ascii=False))
        else:
            for one in described:
                self._out.print(_line(one))
        errors = [one.error for one in results if one.error is not None]
        bad = any(isinstance(error, BadInputError | ConflictError | NotFoundError | SealError) for error in errors)
        return EXIT_BAD_INPUT if bad else EXIT_FAILED if errors else 0


def _describe(one: Result, row: Video | None, found: dict[str, videos.Counts]) -> dict[str, Any]:
    counted = videos.Counts(0, 0) if row is None else found[row.id]
    return {
        "file": str(one.path),
        "id": None if row is None else row.id,
        "camera": None if row is None else row.camera_id,
        "state": "refused" if row is None else row.state,
        "started_at": None if row is None else isoformat(row.started_at_us),
        "duration_s": 0.0 if row is None else round(row.duration_us / 1e6, 3),
        "crops": 0 if row is None else row.crops,
        "sightings": counted.sightings,
        "alerts": counted.alerts,
        "broken_frames": 0 if row is None else row.broken_frames,
        "broken_at_s": [] if row is None else row.broken_at_s,
        "rate": round(one.rate, 2),
        "already": one.already or None,
        "warnings": one.warnings,
        "error": None if one.error is None else str(one.error),
    }


def _line(one: dict[str, Any]) -> str:
    if one["error"]:
        return f"{one['file']}: {one['error']}"
    if one["already"]:
        return f"{one['file']} {one['already']}"
    text = (
        f"{one['file']}: {one['state']} as camera {one['camera']} from {one['started_at']}, "
        f"{_duration(one['duration_s'])} at {one['rate']:.1f}x real time: {one['sightings']} sightings, "
        f"{one['alerts']} alerts"
    )
    if one["broken_frames"]:
        places = ", ".join(f"{at_s:g} s" for at_s in one["broken_at_s"][:5])
        text += f"; {one['broken_frames']} broken frames left out, at {places}"
    return "\n".join([text, *(f"  {warning}" for warning in one["warnings"])])


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
