"""All parts that a worker needs, real ones, with man A on the watchlist; and worker processes on them."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar
from urllib.request import urlopen

import psutil
from prometheus_client.parser import text_string_to_metric_families
from sqlalchemy import func, select

from deploy.local.parts import free_ports
from lookout.audit import SYSTEM
from lookout.erasure import Erasure, erase_target
from lookout.errors import UnavailableError
from lookout.faces.assets import AssetCache
from lookout.messages import Crop
from lookout.queue import EMBED_CROPS, celery_app
from lookout.settings import Settings
from lookout.stores.index import prepare_index, update_index
from lookout.stores.registry import Registry
from lookout.stores.registry.tables import (
    Alert,
    AlertSighting,
    Base,
    Delivery,
    IndexRemoval,
    Sighting,
    StoredCrop,
    Target,
)
from lookout.stores.vectors import SIGHTINGS, TARGETS
from tests.people import MODEL, enrol_man_a
from tests.servers import wait_until
from workers import alerts
from workers.crops import process
from workers.parts import Parts

Row = TypeVar("Row", bound=Base)

#: What processing crops writes.
WRITTEN: tuple[type[Base], ...] = (Sighting, StoredCrop, Alert, AlertSighting, Delivery)


class Workplace:
    """The parts of a system, and what tests do with them and ask of them."""

    def __init__(self, settings: Settings, registry: Registry, assets: AssetCache) -> None:
        self.settings = settings
        self.registry = registry
        self.assets = assets
        self.parts = Parts(settings)

    def enrol_man_a(
        self,
        *,
        watchlist: str = "wanted",
        camera_groups: Sequence[str] = (),
        strangers: tuple[int, int] = (500, 10_000),
        webhooks: Sequence[str] = (),
    ) -> Target:
        """Put man A on a new watchlist, and tell Milvus."""
        target = enrol_man_a(
            self.registry,
            self.parts.blobs,
            self.parts.keyring,
            self.assets,
            watchlist=watchlist,
            camera_groups=camera_groups,
            strangers=strangers,
            webhooks=webhooks,
        )
        self.update_index()
        return target

    def update_index(self) -> None:
        """Bring Milvus to what the registry says."""
        prepare_index(self.registry, self.parts.vectors, MODEL, self.parts.model.dimension)
        update_index(self.registry, self.parts.vectors, self.parts.keyring, MODEL)

    def erase(self, target: Target) -> Erasure:
        """Erase a target; Milvus learns of it by `update_index`."""
        parts = self.parts
        return erase_target(
            self.registry,
            parts.blobs,
            parts.vectors,
            parts.keyring,
            parts.model,
            target_id=target.id,
            actor=SYSTEM,
        )

    def put(self, *crops: Crop) -> list[str]:
        """Crops to Redis; returns their ids."""
        self.parts.crops.put(crops)
        return [crop.id for crop in crops]

    def send(self, *crops: Crop) -> None:
        """Crops to Redis, and one message that names them."""
        celery_app(self.settings).send_task(EMBED_CROPS, args=[self.put(*crops)], retry=False)

    def rows(self, table: type[Row]) -> list[Row]:
        """All rows of a table."""
        with self.registry.reading() as session:
            return list(session.scalars(select(table)))

    def counts(self) -> dict[str, int]:
        """How many rows processing has written, by table."""
        with self.registry.reading() as session:
            return {
                table.__tablename__: session.scalar(select(func.count()).select_from(table)) or 0 for table in WRITTEN
            }

    def close(self) -> None:
        """Take what is its own out of Milvus, which others use as well, and close all connections."""
        targets = [row.id for row in self.rows(Target)] + [row.target_id for row in self.rows(IndexRemoval)]
        with contextlib.suppress(UnavailableError):
            self.parts.vectors.delete(TARGETS, targets)
            self.parts.vectors.delete(SIGHTINGS, [row.id for row in self.rows(Sighting)])
        self.parts.vectors.close()
        self.parts.redis.close()
        self.parts.registry.close()


@dataclass
class Worker:
    """A `lookout worker` process, in a process group of its own."""

    process: subprocess.Popen[bytes]
    metrics_url: str
    log_file: Path

    @property
    def log(self) -> str:
        """What it has said."""
        return self.log_file.read_text("utf-8")

    def children(self) -> list[psutil.Process]:
        """The processes that it forked."""
        return psutil.Process(self.process.pid).children(recursive=True)

    def metrics(self) -> dict[str, float]:
        """Its metrics without labels."""
        with urlopen(self.metrics_url, timeout=5) as answer:  # noqa: S310 - loopback
            families = list(text_string_to_metric_families(answer.read().decode()))
        return {sample.name: sample.value for family in families for sample in family.samples if not sample.labels}

    def kill(self) -> None:
        """As `kill -9` would, its children only by the kernel's care."""
        self.process.kill()
        self.process.wait(10)

    def end(self) -> int:
        """Ask it to end; returns its exit code."""
        self.process.terminate()
        return self.process.wait(30)


@contextlib.contextmanager
def worker(settings: Settings, *arguments: str, wait_ready: bool = True) -> Iterator[Worker]:
    """A worker process; nothing is left of it afterwards."""
    (port,) = free_ports(1)
    log_file = settings.home / f"worker-{port}.log"
    env = {
        **os.environ,
        "LOOKOUT_HOME": str(settings.home),
        "TMPDIR": str(settings.home),
        "LOOKOUT_REDIS_URL": settings.redis_url.get_secret_value(),
        "LOOKOUT_MILVUS_URI": settings.milvus_uri,
        "LOOKOUT_ALERT_SILENCE_S": str(settings.alert_silence_s),
    }
    with log_file.open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "lookout", "worker", *arguments, "--metrics-port", str(port)],
            env=env,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    started = Worker(process, f"http://127.0.0.1:{port}/metrics", log_file)
    try:
        if wait_ready:
            wait_until(lambda: " ready." in started.log or process.poll() is not None, 60, "worker ready")
            assert process.poll() is None, started.log
        yield started
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait(10)


def run(workplace: Workplace, *crops: Crop) -> list[alerts.Opened]:
    """One message that names these crops."""
    return process(workplace.parts, workplace.put(*crops))
