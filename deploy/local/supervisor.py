"""Starts processes, waits until they are ready, restarts those that die, and ends them all.

Supervisors from packages restart processes, but none of them waits for readiness in order and also leaves nothing
behind when it is killed itself; the latter is the kernel's work here (`setpriv --pdeathsig`, of util-linux).
"""

from __future__ import annotations

import contextlib
import logging
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from lookout.errors import EXIT_BAD_INPUT, BadInputError, LookoutError

log = logging.getLogger(__name__)

#: A process that dies sooner than this after its start waits before the next one, longer each time.
SETTLED_S = 10.0
FIRST_RESTART_S = 0.1
MAX_RESTART_S = 10.0
#: At its next start a process puts a longer log aside; one such is kept.
MAX_LOG_BYTES = 10_000_000


@dataclass(slots=True)
class Child:
    """One process to keep running.

    Attributes:
        name: for people, and for its log `<name>.log`.
        argv: what to run.
        ready: whether it does its work now.
        env: added to the supervisor's environment.
        stop_s: how long it may take to end after SIGTERM.
        peak_rss: the most memory it and its children held together, in bytes.
        cpu_s: processor time of it, its children and its predecessors.
        restarts: how often it had to be started again.
        was_ready: whether it has been ready once.
    """

    name: str
    argv: Sequence[str]
    ready: Callable[[], bool]
    env: Mapping[str, str] = field(default_factory=dict)
    stop_s: float = 1.5
    peak_rss: int = 0
    cpu_s: float = 0.0
    restarts: int = 0
    was_ready: bool = False
    _process: subprocess.Popen[bytes] | None = None
    _started_at: float = 0.0
    _start_again_at: float = 0.0
    _quick_deaths: int = 0
    _log_begins: int = 0
    _cpu_by_pid: dict[tuple[int, float], float] = field(default_factory=dict)

    @property
    def pid(self) -> int | None:
        """Its process id, None while it is down."""
        return None if self._process is None else self._process.pid

    @property
    def was_started(self) -> bool:
        """Whether it has ever been started."""
        return self._started_at > 0

    def start(self, logs: Path) -> None:
        """Start it in a session of its own, so that Ctrl-C reaches only the supervisor."""
        path = logs / f"{self.name}.log"
        if path.exists() and path.stat().st_size > MAX_LOG_BYTES:
            path.replace(path.with_suffix(".log.1"))
        with path.open("ab") as output:
            self._log_begins = output.tell()
            self._process = subprocess.Popen(
                # The kernel kills it when its parent dies, however that dies. Not by a function between fork and exec:
                # libraries with threads of their own may crash there.
                ["setpriv", "--pdeathsig", "KILL", "--", *self.argv],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env={**os.environ, **self.env},
                start_new_session=True,
            )
        self._started_at = time.monotonic()

    def keep_running(self, logs: Path) -> None:
        """Restart it if it died.

        Raises:
            BadInputError: it found its arguments or files wrong at its start; no restart mends that.
        """
        now = time.monotonic()
        if self._process is not None:
            code = self._process.poll()
            if code is None:
                return
            self._process = None
            quick = now - self._started_at < SETTLED_S
            self._quick_deaths = self._quick_deaths + 1 if quick else 0
            delay_s = min(MAX_RESTART_S, FIRST_RESTART_S * 2**self._quick_deaths)
            self._start_again_at = now + delay_s
            if code == EXIT_BAD_INPUT and not self.was_ready:
                raise BadInputError(f"{self.name} cannot start:\n{self.tail(logs)}")
            log.warning("%s ended with code %d; starting it again in %.1f s", self.name, code, delay_s)
        if now >= self._start_again_at:
            self.restarts += 1
            self.start(logs)

    def tail(self, logs: Path, lines: int = 15) -> str:
        """The end of its log since its last start."""
        text = (logs / f"{self.name}.log").read_bytes()[self._log_begins :].decode("utf-8", "replace")
        return "\n".join(text.splitlines()[-lines:])

    def measure(self) -> None:
        """Take memory and processor time of it and its children."""
        if self.pid is None:
            return
        rss = 0
        try:
            process = psutil.Process(self.pid)
            for one in (process, *process.children(recursive=True)):
                with one.oneshot():
                    rss += one.memory_info().rss
                    times = one.cpu_times()
                    self._cpu_by_pid[one.pid, one.create_time()] = times.user + times.system
        except psutil.NoSuchProcess:
            return
        self.peak_rss = max(self.peak_rss, rss)
        self.cpu_s = sum(self._cpu_by_pid.values())

    def terminate(self) -> None:
        """Ask it to end."""
        if self._process is not None and self._process.poll() is None:
            self._process.terminate()

    def end(self, deadline: float) -> None:
        """Wait until it has ended; kill it and all its children at the deadline."""
        if self._process is None:
            return
        try:
            self._process.wait(max(0.0, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            log.info("%s takes too long to end: killed", self.name)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)  # it leads its group; whoever is left in it goes, too
        self._process.wait()
        self._process = None


class Supervisor:
    """The processes of one system, in stages: a stage starts when the one before is ready."""

    def __init__(self, stages: Sequence[Sequence[Child]], logs: Path) -> None:
        if shutil.which("setpriv") is None:
            raise BadInputError("the command setpriv is missing: apt-get install util-linux.")
        self._stages = stages
        self._logs = logs
        logs.mkdir(parents=True, exist_ok=True)

    @property
    def children(self) -> list[Child]:
        """All processes, in the order of their start."""
        return [child for stage in self._stages for child in stage]

    def start(self, timeout_s: float, *, stopping: Callable[[], bool] = lambda: False) -> None:
        """Start all, each stage when the one before is ready.

        Raises:
            LookoutError: one does not become ready in time; all are ended.
        """
        deadline = time.monotonic() + timeout_s
        try:
            for stage in self._stages:
                for child in stage:
                    child.start(self._logs)
                self._wait(stage, deadline, stopping)
        except BaseException:
            self.stop()
            raise

    def _wait(self, stage: Sequence[Child], deadline: float, stopping: Callable[[], bool]) -> None:
        waiting = list(stage)
        while waiting and not stopping():
            self.tick()
            for child in waiting:
                child.was_ready = child.pid is not None and child.ready()
            waiting = [child for child in waiting if not child.was_ready]
            if waiting and time.monotonic() > deadline:
                child = waiting[0]
                raise LookoutError(
                    f"{child.name} did not become ready in time. Its log says:\n{child.tail(self._logs)}"
                )
            time.sleep(0.02)

    def tick(self) -> None:
        """Restart what died. Call it often."""
        for child in self.children:
            if child.was_started:
                child.keep_running(self._logs)

    def measure(self) -> None:
        """Take memory and processor time of all."""
        for child in self.children:
            child.measure()

    def stop(self) -> None:
        """End all within some four seconds: those who produce first, so that the others finish what they were given."""
        for stage in reversed(self._stages):
            for child in stage:
                child.terminate()
            started = time.monotonic()
            for child in stage:
                child.end(started + child.stop_s)
