"""Starts processes, waits until they are ready, restarts those that die, and ends them all.

Supervisors from packages restart processes, but none of them waits for readiness in order and also leaves nothing
behind when it is killed itself; the latter is the kernel's work here (`die_with_parent`).
"""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from lookout.errors import LookoutError
from lookout.process import die_with_parent

log = logging.getLogger(__name__)

#: A process that dies sooner than this after its start waits before the next one, longer each time.
SETTLED_S = 10.0
FIRST_RESTART_S = 0.1
MAX_RESTART_S = 10.0


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
    """

    name: str
    argv: Sequence[str]
    ready: Callable[[], bool]
    env: Mapping[str, str] = field(default_factory=dict)
    stop_s: float = 1.5
    peak_rss: int = 0
    cpu_s: float = 0.0
    restarts: int = 0
    _process: subprocess.Popen[bytes] | None = None
    _started_at: float = 0.0
    _start_again_at: float = 0.0
    _quick_deaths: int = 0
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
        with (logs / f"{self.name}.log").open("ab") as output:
            self._process = subprocess.Popen(
                list(self.argv),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env={**os.environ, **self.env},
                start_new_session=True,
                # Between fork and exec: it calls one function of libc and allocates nothing.
                preexec_fn=die_with_parent,  # noqa: PLW1509
            )
        self._started_at = time.monotonic()

    def keep_running(self, logs: Path) -> None:
        """Restart it if it died."""
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
            log.warning("%s ended with code %d; starting it again in %.1f s", self.name, code, delay_s)
        if now >= self._start_again_at:
            self.restarts += 1
            self.start(logs)

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
            waiting = [child for child in waiting if child.pid is None or not child.ready()]
            if waiting and time.monotonic() > deadline:
                name = waiting[0].name
                raise LookoutError(f"{name} did not become ready in time. Its log says:\n{self.tail(name)}")
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

    def tail(self, name: str, lines: int = 15) -> str:
        """The end of a process' log."""
        path = self._logs / f"{name}.log"
        text = path.read_text("utf-8", "replace") if path.exists() else ""
        return "\n".join(text.splitlines()[-lines:])
