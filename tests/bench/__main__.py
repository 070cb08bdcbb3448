"""`make bench`: what the machine does, as a table. Not a test: nothing here can fail for being slow."""

from __future__ import annotations

import itertools
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator

import cv2
import numpy as np

from lookout.faces.models import asset_cache, load_detector, load_embedder
from lookout.settings import Settings
from tests.bench import enrolment, indexing, lists, retention, search, wall
from tests.people import MODEL

DEMO_SECONDS = 60


def main() -> None:
    """Print each figure as it is known."""
    for name, figure in itertools.chain(faces(), operators(), analysts(), demo(), retention.measure().items()):
        print(f"{name:<75} {figure}", flush=True)  # noqa: T201


def faces() -> Iterator[tuple[str, str]]:
    """Milliseconds of detection and embedding on one thread."""
    settings = Settings()
    detector, embedder = load_detector(settings, "yunet"), load_embedder(settings, MODEL)
    photo = cv2.imread(str(asset_cache(settings).media("single_face.jpg")))
    assert photo is not None
    bgr = photo.astype(np.uint8)
    (face,) = detector.detect(bgr)
    aligned = embedder.align(bgr, face.landmarks)
    for width, height in ((320, 320), (640, 384), (1280, 736)):
        picture = cv2.resize(bgr, (width, height)).astype(np.uint8)
        yield f"detect {width} x {height}", _milliseconds(lambda picture=picture: detector.detect(picture))  # type: ignore[misc]
    for batch in (1, 16):
        yield f"embed {batch}", _milliseconds(lambda batch=batch: embedder.embed([aligned] * batch))  # type: ignore[misc]


def operators() -> Iterator[tuple[str, str]]:
    """What operators wait for: enrolment, lists, the wall."""
    for measure in (enrolment.measure, lists.measure, wall.measure):
        for name, figure in measure().items():
            yield name, f"{figure:.0f}"


def analysts() -> Iterator[tuple[str, str]]:
    """What analysts wait for: files that are indexed, and searches."""
    for measure in (indexing.measure, search.measure):
        for name, figure in measure().items():
            yield name, f"{figure:.1f}"


def demo() -> Iterator[tuple[str, str]]:
    """The demo's floors. A short silence makes each appearance of man A an alert of its own, so that there is a p95."""
    with tempfile.TemporaryDirectory() as home:
        began = time.monotonic()
        run = subprocess.run(
            [sys.executable, "-m", "lookout", "demo", "--seconds", str(DEMO_SECONDS), "--json"],
            env={**os.environ, "LOOKOUT_HOME": home, "LOOKOUT_ALERT_SILENCE_S": "1"},
            stdout=subprocess.PIPE, text=True, check=False,
        )  # fmt: skip
    report = json.loads(run.stdout)
    latencies = sorted(alert["latency_ms"] for alert in report["alerts"])
    yield "demo: exit code (0: man A alone was alerted)", str(run.returncode)
    yield "demo: ready after", f"{report['start_seconds']} s"
    yield "demo: alerts", str(len(latencies))
    if len(latencies) > 1:
        p95 = statistics.quantiles(latencies, n=20, method="inclusive")[-1]
        yield (
            "demo: capture to stored alert, median / p95 / longest",
            (f"{statistics.median(latencies):.0f} / {p95:.0f} / {latencies[-1]} ms"),
        )
    yield "demo: crops", ", ".join(f"{count} {what}" for what, count in report["crops"].items())
    yield "demo: longest queue", str(report["queue_depth_max"])
    for process in report["processes"]:
        yield f"demo: {process['name']}", f"{process['rss_mb']} MB, {process['cpu_s']} CPU s"
    yield "demo: all in all", f"{time.monotonic() - began:.0f} s"


def _milliseconds(function: Callable[[], object], seconds: float = 2.0) -> str:
    function()
    times = []
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        started = time.perf_counter()
        function()
        times.append(1000 * (time.perf_counter() - started))
    return f"{statistics.median(times):.1f} ms (median of {len(times)})"


if __name__ == "__main__":
    main()
