"""Every metric of every service, named after Prometheus' conventions, and how a process offers them.

Under Celery's prefork the numbers of all child processes are added up through files in `PROMETHEUS_MULTIPROC_DIR`,
which must be set before this module is imported.
"""

from __future__ import annotations

import os
from collections.abc import Iterator

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    multiprocess,
    start_http_server,
)
from prometheus_client.metrics_core import GaugeMetricFamily, Metric
from prometheus_client.registry import REGISTRY, Collector
from redis import Redis
from redis.exceptions import RedisError

from lookout.errors import UnavailableError
from lookout.queue import QUEUES, backlog
from lookout.stores.dead_letters import DeadLetters
from lookout.stores.sweeps import finished_at_us

CAMERA_STATES = ("connecting", "live", "stalled", "offline")
RECORDING_STATES = ("off", "recording", "unsupported", "disk_full", "failed")

# ingest
FRAMES_DECODED = Counter("lookout_frames_decoded_total", "Frames decoded.", ["camera"])
FRAMES_ANALYSED = Counter("lookout_frames_analysed_total", "Frames searched for faces.", ["camera"])
FRAMES_SKIPPED = Counter(
    "lookout_frames_skipped_total", "Sampled frames not searched, by reason.", ["camera", "reason"]
)
FACES_DETECTED = Counter("lookout_faces_detected_total", "Faces found in frames.", ["camera"])
CROPS_PUBLISHED = Counter("lookout_crops_published_total", "Crops handed to the workers.", ["camera"])
CROPS_SHED = Counter(
    "lookout_crops_shed_total", "Crops given up before they reached the workers, by reason.", ["reason"]
)
SNAPSHOTS_SHED = Counter(
    "lookout_snapshots_shed_total",
    "Whole frames of crops given up on their way to the workers, by reason.",
    ["reason"],
)
CAMERA_STATE = Gauge("lookout_camera_state", "1 for the state a camera is in.", ["camera", "state"])
CAMERA_RECONNECTS = Counter("lookout_camera_reconnects_total", "Connections to a camera after the first.", ["camera"])
CAMERA_CLOCK_OFFSET = Gauge(
    "lookout_camera_clock_offset_seconds",
    "The camera's clock (RTCP) behind the arrival of its frames.",
    ["camera"],
)
RECORDING_STATE = Gauge("lookout_recording_state", "1 for the state a camera's recording is in.", ["camera", "state"])
FOOTAGE_BYTES = Counter("lookout_footage_bytes_total", "Footage written, in bytes.", ["camera"])
FOOTAGE_SEGMENTS = Counter("lookout_footage_segments_total", "Segments of footage finished.", ["camera"])

# workers
CROPS_EMBEDDED = Counter("lookout_crops_embedded_total", "Crops turned into embeddings.")
CROPS_EXPIRED = Counter("lookout_crops_expired_total", "Crops dropped because they were past their deadline.")
CROPS_MISSING = Counter("lookout_crops_missing_total", "Crops that were named in a message and gone from Redis.")
CROPS_FAILED = Counter("lookout_crops_failed_total", "Crops of messages that ended as dead letters.")
EMBED_SECONDS = Histogram(
    "lookout_embed_seconds",
    "Time to align and embed one batch of crops.",
    buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5),
)
MATCH_SECONDS = Histogram(
    "lookout_match_seconds",
    "Time to match one batch against the watchlists.",
    buckets=(0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10),
)
ALERT_LATENCY_SECONDS = Histogram(
    "lookout_alert_latency_seconds",
    "From capture to stored alert.",
    buckets=(0.1, 0.2, 0.35, 0.5, 0.75, 1, 1.5, 2, 3, 5, 10, 30, 60),
)
SIGHTINGS = Counter("lookout_sightings_total", "Sightings stored.")
ALERTS = Counter("lookout_alerts_total", "Alerts opened.", ["watchlist", "tier"])
BLOB_ERRORS = Counter("lookout_blob_errors_total", "Pictures that the blob store could not take.")
DELIVERIES = Counter("lookout_deliveries_total", "Webhook attempts by outcome.", ["outcome"])
SWEPT = Counter("lookout_swept_total", "What retention removed, by kind.", ["kind"])
SWEEP_SECONDS = Histogram(
    "lookout_sweep_seconds", "Time of one run of retention.", buckets=(0.01, 0.05, 0.1, 0.5, 1, 2.5, 5, 7.5, 10, 30)
)

#: Read from Redis at each scrape by whoever offers them (the search service).
QUEUE_DEPTH = "lookout_queue_depth"
DEAD_LETTERS = "lookout_dead_letters"
SWEEP_FINISHED = "lookout_sweep_finished_timestamp_seconds"


class QueueCollector(Collector):
    """The state of the queues, read when it is asked for."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis

    def collect(self) -> Iterator[Metric]:
        """Depth of each queue, dead letters, the last sweep; nothing while Redis does not answer."""
        depth = GaugeMetricFamily(QUEUE_DEPTH, "Messages that wait, with those that workers hold.", labels=["queue"])
        dead = GaugeMetricFamily(DEAD_LETTERS, "Messages that kept failing.")
        swept = GaugeMetricFamily(SWEEP_FINISHED, "When retention had removed all that had expired, as Unix time.")
        try:
            for queue in QUEUES:
                depth.add_metric([queue], backlog(self._redis, queue))
            dead.add_metric([], len(DeadLetters(self._redis).all()))
            finished_us = finished_at_us(self._redis)
        except (RedisError, UnavailableError):
            return
        yield depth
        yield dead
        if finished_us is not None:
            swept.add_metric([], finished_us / 1e6)
            yield swept


def set_camera_state(camera: str, state: str) -> None:
    """Show the one state a camera is in."""
    for name in CAMERA_STATES:
        CAMERA_STATE.labels(camera, name).set(name == state)


def set_recording_state(camera: str, state: str) -> None:
    """Show the one state a camera's recording is in."""
    for name in RECORDING_STATES:
        RECORDING_STATE.labels(camera, name).set(name == state)


def serve_metrics(host: str, port: int) -> int:
    """Offer `/metrics` of this process, and of its forked children where it has any; returns the port."""
    registry = REGISTRY
    if "PROMETHEUS_MULTIPROC_DIR" in os.environ:
        registry = CollectorRegistry()
        multiprocess.MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
    server, _thread = start_http_server(port, host, registry)
    return int(server.server_port)
