"""Counters over restarts."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from prometheus_client import CollectorRegistry, Counter, Gauge, start_http_server

from deploy.local.meter import Meter


class Process:
    """A process that offers metrics, and can begin again at 0 on its port."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.server, _ = start_http_server(0, "127.0.0.1", self.registry)
        self.url = f"http://127.0.0.1:{self.server.server_port}/metrics"
        self.begin_again()

    def begin_again(self) -> None:
        for collector in list(self.registry._collector_to_names):
            self.registry.unregister(collector)
        self.frames = Counter("frames_total", "Frames.", ["camera"], registry=self.registry)
        self.state = Gauge("lookout_camera_state", "State.", ["camera", "state"], registry=self.registry)


@pytest.fixture
def process() -> Iterator[Process]:
    made = Process()
    yield made
    made.server.shutdown()
    made.server.server_close()


def test_counters_add_up_over_restarts(process: Process) -> None:
    meter = Meter({"ingest": process.url})
    process.frames.labels("door").inc(10)
    meter.read()
    process.frames.labels("door").inc(5)
    meter.read()
    process.begin_again()
    process.frames.labels("door").inc(3)
    process.frames.labels("yard").inc(2)
    meter.read()

    assert meter.total("frames_total", camera="door") == 18
    assert meter.total("frames_total") == 20
    assert meter.total("frames_total", camera="nowhere") == 0
    meter.close()


def test_a_process_that_does_not_answer_keeps_its_numbers(process: Process) -> None:
    meter = Meter({"ingest": process.url, "gone": "http://127.0.0.1:1/metrics"})
    process.frames.labels("door").inc(10)
    process.state.labels("door", "live").set(1)
    process.state.labels("door", "offline").set(0)
    meter.read()

    assert meter.total("frames_total", camera="door") == 10
    assert meter.camera_state("door") == "live"
    assert meter.camera_state("nowhere") == "unknown"
    assert meter.gauge("lookout_camera_state", camera="door", state="live") == 1
    assert meter.gauge("nothing") == 0
    meter.close()
