"""How long pages with lists take when there is much to list. The floor: 200 ms at 100,000 alerts and 10,000 targets."""

from __future__ import annotations

import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

from fastapi.testclient import TestClient
from sqlalchemy import insert
from sqlalchemy.engine import make_url

from lookout.clock import now_us
from lookout.stores.registry import Registry
from lookout.stores.registry.tables import (
    Alert,
    AlertEvent,
    AlertSighting,
    CameraRow,
    Sighting,
    StoredCrop,
    Target,
    Watchlist,
)
from search.app import create_app
from tests.wall import parts_on, token_of

ALERTS, TARGETS, WATCHLISTS, CAMERAS = 100_000, 10_000, 20, 100
PAGES = {
    "wall": "/alerts",
    "wall, unverified": "/alerts?verdict=unverified",
    "wall, a watchlist": "/alerts?watchlist=w3",
    "wall, a watchlist without alerts": "/alerts?watchlist=empty",
    "wall, a target": "/alerts?target=t77",
    "wall, a camera": "/alerts?camera=c9",
    "wall, running": "/alerts?state=open",
    "wall, an hour": "/alerts?since=2020-01-01T00:00:00Z&until=2020-01-01T01:00:00Z",
    "alerts (API), 100": "/api/v1/alerts",
    "alerts (API), 500": "/api/v1/alerts?limit=500",
    "an alert": "/alerts/a99999",
}
ROUNDS = 7


def measure(pages: dict[str, str] | None = None) -> dict[str, float]:
    """Milliseconds that pages take in the median, on SQLite, for who sees all and for who sees one watchlist only."""
    with tempfile.TemporaryDirectory() as folder:
        registry = Registry(make_url(f"sqlite:///{folder}/registry.db"))
        registry.migrate()
        seed(registry)
        with registry.transaction() as session:
            who = {
                "": token_of(session, "anna", "admin"),
                " (few rights)": token_of(session, "ben", watchlists=["w3"], groups=["g9"]),
                " (no rights)": token_of(session, "cem", watchlists=[], groups=[]),
            }
        parts = parts_on(registry, Path(folder))
        taken = {}
        with TestClient(create_app(parts)) as client:
            for name, path in (pages or PAGES).items():
                for rights, headers in who.items():
                    taken[name + rights] = _milliseconds(client, path, headers)
        parts.registry.close()
        parts.redis.close()
        registry.close()
    return taken


def seed(registry: Registry) -> None:
    """Fill a registry."""
    now = now_us()
    watchlist = {"purpose": "p", "legal_basis": "l", "created_at_us": 0, "acknowledge_within_s": 60}
    _insert(registry, Watchlist, [{"id": name, "name": f"list {name}", **watchlist} for name in _watchlists()])
    camera = {"url": b"", "analysed_fps": 5, "transport": "tcp", "masks": [], "created_at_us": 0}
    _insert(registry, CameraRow, [
        {"id": f"c{number}", "name": f"Camera {number}", "camera_group": f"g{number % 10}", **camera}
        for number in range(CAMERAS)
    ])  # fmt: skip
    _insert(registry, Target, [
        {"id": f"t{number}", "watchlist_id": f"w{number % WATCHLISTS}", "name": f"Person {number}",
         "created_at_us": number, "template": bytes(800), "model": "m", "indexed": True}
        for number in range(TARGETS)
    ])  # fmt: skip
    numbers = range(ALERTS)
    sighting = {"started_at_us": 0, "ended_at_us": 0, "model": "m", "template_sum": bytes(800), "best_quality": 1}
    _insert(registry, Sighting, [
        {"id": f"s{number}", "camera_id": f"c{number % CAMERAS}", "camera_group": f"g{number % 10}",
         "created_at_us": number, **sighting} for number in numbers
    ])  # fmt: skip
    crop = {"captured_at_us": 0, "quality": 1.0, "box_xyxy": [], "landmarks": [], "blob": "crops/none.jpg"}
    _insert(registry, StoredCrop, [{"id": f"k{number}", "sighting_id": f"s{number}", **crop} for number in numbers])
    _insert(registry, Alert, [
        {"id": f"a{number}", "target_id": f"t{number * 7 % TARGETS}", "camera_group": f"g{number % 10}",
         "camera_id": f"c{number % CAMERAS}", "tier": ("likely", "possible")[number % 2], "score": 0.64,
         "threshold": 0.6, "crop_id": f"k{number}", "candidates": [], "first_captured_at_us": number,
         "last_seen_at_us": number, "latency_us": 1, "stored_at_us": now - (ALERTS - number) * 1_000_000,
         "closed_at_us": None if number % 1000 == 0 and number < 1000 * 8 else number + 1,
         "verdict": "unverified" if number % 10 == 0 else "confirmed"}
        for number in numbers
    ])  # fmt: skip
    _insert(registry, AlertSighting, [
        {"alert_id": f"a{number}", "sighting_id": f"s{number}", "score": 0.6} for number in numbers
    ])  # fmt: skip
    _insert(registry, AlertEvent, [{"alert_id": f"a{n}", "kind": "opened", "at_us": n} for n in numbers])


def _watchlists() -> list[str]:
    return [*(f"w{number}" for number in range(WATCHLISTS)), "empty"]


def _insert(registry: Registry, table: Any, rows: list[dict[str, Any]]) -> None:
    with registry.transaction() as session:
        for start in range(0, len(rows), 10_000):
            session.execute(insert(table), rows[start : start + 10_000])


def _milliseconds(client: TestClient, path: str, headers: dict[str, str]) -> float:
    times = []
    for _ in range(ROUNDS):
        started = time.perf_counter()
        answer = client.get(path, headers=headers)
        times.append(1000 * (time.perf_counter() - started))
        assert answer.status_code in (200, 404), answer.text
    return round(statistics.median(times[1:]), 1)


if __name__ == "__main__":
    for name, milliseconds in measure().items():
        print(f"{name:<58} {milliseconds} ms")  # noqa: T201
