"""Child processes, from the parent's side: each does one order at a time, and is replaced when it breaks."""

from __future__ import annotations

import contextlib
import logging
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import IO

from ingest.indexing.orders import Order, PartDone, Progress, Refused, Report, Scanned, decode_report, encode
from lookout.errors import BadInputError, LookoutError, UnavailableError
from lookout.settings import Settings

log = logging.getLogger(__name__)

#: How often an order that takes its child down is tried.
ATTEMPTS = 2

Told = Callable[[int], None]


class BrokenError(LookoutError):
    """An order fails again and again, whoever does it: the file is at fault in a way that nothing else told."""


class Children:
    """So many child processes."""

    def __init__(self, settings: Settings, count: int, log_file: Path | None = None) -> None:
        """Children are started when there is something to do.

        Args:
            settings: what they are told, without the database.
            count: how many orders at a time.
            log_file: where their log goes; None: to the parent's.
        """
        self._env = _environment(settings)
        self._log_file = log_file
        self._threads = ThreadPoolExecutor(count, thread_name_prefix="child")
        self._local = threading.local()
        self._running: set[subprocess.Popen[bytes]] = set()
        self._lock = threading.Lock()
        self._closed = False

    def submit(self, order: Order, told: Told) -> Future[Scanned | PartDone]:
        """Have something done.

        Args:
            order: what.
            told: is called with how much of it is done; what it raises ends the order.
        """
        return self._threads.submit(self._do, order, told)

    def close(self) -> None:
        """End all children, whatever they do."""
        with self._lock:
            self._closed = True
            running = list(self._running)
        for process in running:
            _end(process)
        self._threads.shutdown(wait=True, cancel_futures=True)

    def _do(self, order: Order, told: Told) -> Scanned | PartDone:
        for attempt in range(1, ATTEMPTS + 1):
            process = self._process()
            try:
                report = _ask(process, order, told)
            except BaseException:
                self._drop(process)
                raise
            if report is None or (isinstance(report, Refused) and report.kind == "fault"):
                self._drop(process)
                if self._closed:
                    break
                why = "it died" if report is None else report.message
                log.warning("a child failed (attempt %d): %s", attempt, why)
                continue
            if isinstance(report, Refused):
                raise (BadInputError if report.kind == "bad_input" else UnavailableError)(report.message)
            return report
        if self._closed:
            raise UnavailableError("the indexing was stopped; start it again, and it goes on.")
        raise BrokenError("it cannot be decoded: the process that tries ends each time.")

    def _process(self) -> subprocess.Popen[bytes]:
        process: subprocess.Popen[bytes] | None = getattr(self._local, "process", None)
        if process is not None and process.poll() is None:
            return process
        with self._lock:
            if self._closed:
                raise UnavailableError("the indexing was stopped; start it again, and it goes on.")
            with self._errors() as errors:
                process = subprocess.Popen(
                    [sys.executable, "-m", "ingest.indexing.child"],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=errors,
                    env=self._env,
                    start_new_session=True,  # Ctrl-C is the parent's: it ends its children in order
                )
            self._running.add(process)
        self._local.process = process
        return process

    def _drop(self, process: subprocess.Popen[bytes]) -> None:
        self._local.process = None
        with self._lock:
            self._running.discard(process)
        _end(process)

    @contextlib.contextmanager
    def _errors(self) -> Iterator[IO[bytes] | None]:
        if self._log_file is None:
            yield None
            return
        self._log_file.parent.mkdir(parents=True, exist_ok=True)
        with self._log_file.open("ab") as file:
            yield file


def _ask(process: subprocess.Popen[bytes], order: Order, told: Told) -> Scanned | PartDone | Refused | None:
    """What a child answers; None if it dies."""
    orders, reports = process.stdin, process.stdout
    if orders is None or reports is None:
        return None
    try:
        orders.write(encode(order) + b"\n")
        orders.flush()
        for line in reports:
            report: Report = decode_report(line)
            if not isinstance(report, Progress):
                return report
            told(report.done_us)
    except (OSError, ValueError):  # ValueError: its pipes were closed meanwhile
        return None
    return None


def _end(process: subprocess.Popen[bytes]) -> None:
    with contextlib.suppress(ProcessLookupError):
        process.kill()  # nothing is lost: what it had in hand is done again
    process.wait()
    for pipe in (process.stdin, process.stdout):
        if pipe is not None:
            with contextlib.suppress(OSError, ValueError):
                pipe.close()


def _environment(settings: Settings) -> dict[str, str]:
    """What a child is told: all but the database."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("LOOKOUT_DATABASE")}
    keys = settings.data_keys
    return {
        **kept,
        **({} if keys is None else {"LOOKOUT_DATA_KEYS": keys.get_secret_value()}),
        "LOOKOUT_HOME": str(settings.home.absolute()),
        "LOOKOUT_CACHE": str(settings.cache.absolute()),
        "LOOKOUT_FOOTAGE": str(settings.footage_folder),
        "LOOKOUT_REDIS_URL": settings.redis_url.get_secret_value(),
        "LOOKOUT_QUEUE_LIMIT": str(settings.queue_limit),
        "LOOKOUT_INFERENCE_THREADS": str(settings.inference_threads),
    }
