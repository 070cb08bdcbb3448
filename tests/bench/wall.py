"""From an alert being stored to its card arriving at a page that shows the wall. The floor: p95 within 500 ms."""

from __future__ import annotations

import statistics
import tempfile
import threading
import time
from pathlib import Path

import httpx2
from sqlalchemy.engine import make_url

from lookout.stores.registry import Registry
from tests.servers import wait_until
from tests.wall import parts_on, put_alert, put_target, serve, token_of

ALERTS = 200
#: Apart, not in step with how often the service looks.
EVERY_S = 0.037


def measure() -> dict[str, float]:
    """Milliseconds from the commit to the card, over Uvicorn and SQLite: median, p95 and the longest."""
    arrived: dict[str, float] = {}
    with tempfile.TemporaryDirectory() as folder:
        registry = Registry(make_url(f"sqlite:///{folder}/registry.db"))
        registry.migrate()
        with registry.transaction() as session:
            put_target(session, "w", "t")
            headers = token_of(session, "anna")
        parts = parts_on(registry, Path(folder))
        began = threading.Event()

        def listen(url: str) -> None:
            with httpx2.stream("GET", f"{url}/alerts/stream", headers=headers, timeout=30) as answer:
                for line in answer.iter_lines():
                    if line.startswith("event: ready"):
                        began.set()
                    if line.startswith("data: <article"):
                        arrived[line.partition('id="alert-')[2].partition('"')[0]] = time.perf_counter()
                    if len(arrived) == ALERTS:
                        return

        with serve(parts) as url:
            listener = threading.Thread(target=listen, args=(url,), daemon=True)
            listener.start()
            assert began.wait(20)
            stored = {}
            for number in range(ALERTS):
                with registry.transaction() as session:
                    put_alert(session, "t", f"{number}")
                stored[f"{number}"] = time.perf_counter()
                time.sleep(EVERY_S)
            wait_until(lambda: len(arrived) == ALERTS, what="the last card")
            listener.join(5)
        parts.registry.close()
        registry.close()
    taken = sorted(1000 * (arrived[alert] - at) for alert, at in stored.items())
    p95 = statistics.quantiles(taken, n=20, method="inclusive")[-1]
    return {"median_ms": statistics.median(taken), "p95_ms": p95, "longest_ms": taken[-1]}


if __name__ == "__main__":
    print(measure())  # noqa: T201
