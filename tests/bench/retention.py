"""The sweep of many expired sightings, while the demo's cameras are watched on the same registry.

The floor: a million sightings swept without a frame of ingest dropped for it.
Run alone: `python -m tests.bench.retention 1000000`, with a second figure for the seconds after which it ends.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.request import urlopen

import msgspec
import numpy as np
from prometheus_client.parser import text_string_to_metric_families

from deploy.local.parts import Endpoints
from lookout.clock import now_us
from lookout.faces.models import template_model
from lookout.settings import Settings, endpoints_path
from lookout.stores.redis import connect
from lookout.stores.vectors import SightingRow, Vectors
from tests.people import MODEL
from tests.servers import wait_until

SIZE = 20_000
#: Pictures that really lie in the blob store, and templates in Milvus Lite, which holds all in memory.
PICTURES, TEMPLATES = 20_000, 100_000
CAMERAS = 10
BASELINE_S = 30
HOUR_US = 3_600_000_000
RESTS = "sweep:rests"
SIGHTING = (
    "INSERT INTO sightings (id, camera_id, camera_group, started_at_us, ended_at_us, model, template_sum, best_quality,"
    " indexed, created_at_us) VALUES (?, ?, 'bench', ?, ?, ?, ?, 1.0, 1, ?)"
)
CROP = (
    "INSERT INTO crops (id, sighting_id, captured_at_us, quality, box_xyxy, landmarks, blob)"
    " VALUES (?, ?, ?, 1.0, '[1,2,3,4]', '[[1,2],[1,2],[1,2],[1,2],[1,2]]', ?)"
)


def measure(size: int = SIZE, seconds: float = 3600) -> dict[str, str]:
    """What the sweep does in so many seconds at most, and what others feel of it."""
    with tempfile.TemporaryDirectory() as folder, _demo(Path(folder)) as home:
        settings = Settings(home=home)
        redis = connect(settings)
        redis.set(RESTS, 1)  # until all is there
        began = time.monotonic()
        _seed(settings, size)
        figures = {f"retention: seeded {size:,} sightings": f"{time.monotonic() - began:.0f} s"}
        before = Phase(settings)
        time.sleep(BASELINE_S)
        figures |= before.figures("before")
        during = Phase(settings)
        redis.delete(RESTS)
        with contextlib.suppress(AssertionError):
            wait_until(lambda: redis.exists(RESTS), seconds, what="all swept")
        left = _rows(settings, "SELECT count(*) FROM sightings WHERE camera_group = 'bench'")[0][0]
        took = during.elapsed_s
        figures |= during.figures("during")
        redis.close()
    return figures | {
        "retention: sightings that are left": str(left),
        "retention: sightings a second, with its pauses": f"{(size - left) / took:.0f}",
        "retention: time": f"{took:.0f} s",
    }


class Phase:
    """A span of time, what ingest dropped in it, how long alerts took, and how long a writer waits for SQLite."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._began, self._began_us = time.monotonic(), now_us()
        self._dropped = _dropped(settings)
        self._waits: list[float] = []
        self._stop = threading.Event()
        self._probe = threading.Thread(target=self._wait_for_the_lock, daemon=True)
        self._probe.start()

    @property
    def elapsed_s(self) -> float:
        """How long it has been."""
        return time.monotonic() - self._began

    def figures(self, name: str) -> dict[str, str]:
        """End it; what it was like."""
        self._stop.set()
        self._probe.join(60)
        latencies = np.array(
            _rows(self._settings, f"SELECT latency_us / 1000.0 FROM alerts WHERE stored_at_us >= {self._began_us}")  # noqa: S608
        ).ravel()
        waits = np.array(self._waits) * 1000
        now = _dropped(self._settings)
        dropped = {what: count - self._dropped.get(what, 0) for what, count in now.items()}
        told = {
            f"retention: {name}: alerts, latency median / p95 / longest": (
                f"{len(latencies)}, {_quantiles(latencies)}" if len(latencies) else "none"
            ),
            f"retention: {name}: wait to write in SQLite, median / p95 / longest": _quantiles(waits),
        }
        return told | {f"retention: {name}: {what}": f"{count:.0f}" for what, count in sorted(dropped.items())}

    def _wait_for_the_lock(self) -> None:
        with contextlib.closing(_connect(self._settings)) as connection:
            while not self._stop.wait(0.02):
                began = time.monotonic()
                connection.execute("BEGIN IMMEDIATE")
                self._waits.append(time.monotonic() - began)
                connection.execute("ROLLBACK")


def _quantiles(figures: np.ndarray) -> str:
    return " / ".join(f"{figure:.0f}" for figure in (*np.quantile(figures, (0.5, 0.95)), figures.max())) + " ms"


def _dropped(settings: Settings) -> dict[str, float]:
    """What ingest counts, without the frames of still scenes."""
    found: dict[str, float] = {}
    endpoints = msgspec.json.decode(endpoints_path(settings.home).read_bytes(), type=Endpoints)
    with urlopen(endpoints.ingest_metrics_url, timeout=10) as answer:  # noqa: S310 - loopback
        families = list(text_string_to_metric_families(answer.read().decode()))
    for sample in (sample for family in families for sample in family.samples):
        if sample.name in ("lookout_frames_skipped_total", "lookout_crops_shed_total", "lookout_frames_analysed_total"):
            what = f"{sample.name.removeprefix('lookout_')} {sample.labels.get('reason', '')}"
            found[what] = found.get(what, 0) + sample.value
    return found


def _seed(settings: Settings, size: int) -> None:
    now = now_us()
    template = os.urandom(850)
    names = [os.urandom(16).hex() for _ in range(size)]
    with contextlib.closing(_connect(settings)) as connection:
        connection.execute("PRAGMA cache_size = -400000")
        for start in range(0, size, 20_000):
            connection.execute("BEGIN IMMEDIATE")
            some = list(enumerate(names))[start : start + 20_000]
            at = {name: now - 100 * HOUR_US + number * 20 * HOUR_US // size for number, name in some}
            connection.executemany(
                SIGHTING,
                (
                    (name, f"bench{number % CAMERAS}", at[name], at[name], MODEL, template, at[name])
                    for number, name in some
                ),
            )
            connection.executemany(CROP, ((f"{name[::-1]}", name, at[name], _blob(name)) for _, name in some))
            connection.execute("COMMIT")
    for name in names[:PICTURES]:
        path = settings.home / "blobs" / _blob(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(bytes(4000))
    vectors = Vectors(settings.milvus_uri)
    dimension = template_model(settings, MODEL).dimension
    for start in range(0, min(len(names), TEMPLATES), 5000):
        rows = [SightingRow(name, "bench0", "bench", 0, 0) for name in names[start : start + 5000]]
        templates = np.random.default_rng(start).normal(size=(len(rows), dimension)).astype(np.float32)
        vectors.upsert_sightings(MODEL, rows, templates / np.linalg.norm(templates, axis=1, keepdims=True))
    vectors.close()


def _blob(name: str) -> str:
    return f"crops/2026-01-{int(name[:2], 16) % 28 + 1:02}/{name}.jpg"


def _connect(settings: Settings) -> sqlite3.Connection:
    path = settings.database.database
    assert path is not None
    connection = sqlite3.connect(path, timeout=60, isolation_level=None)
    connection.execute("PRAGMA synchronous=NORMAL")
    return connection


def _rows(settings: Settings, query: str) -> list[tuple[float, ...]]:
    with contextlib.closing(_connect(settings)) as connection:
        return connection.execute(query).fetchall()


@contextlib.contextmanager
def _demo(folder: Path) -> Iterator[Path]:
    """The demo; a short silence makes each appearance of man A an alert of its own."""
    env = {**os.environ, "LOOKOUT_HOME": str(folder), "LOOKOUT_ALERT_SILENCE_S": "1"}
    with (folder / "demo.log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "lookout", "demo"], env=env, stdout=log, stderr=log, start_new_session=True
        )
    home = folder / "demo"
    try:
        wait_until(lambda: _has_alerts(home), 300, what="the demo's first alert")
        yield home
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait(10)


def _has_alerts(home: Path) -> bool:
    if not (home / "registry.db").exists():
        return False
    with contextlib.suppress(sqlite3.OperationalError):
        return bool(_rows(Settings(home=home), "SELECT 1 FROM alerts LIMIT 1"))
    return False


if __name__ == "__main__":
    for name, figure in measure(*map(int, sys.argv[1:])).items():
        print(f"{name:<90} {figure}", flush=True)  # noqa: T201
