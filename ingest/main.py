"""The ingest process: holds leases, watches its cameras, publishes crops."""

from __future__ import annotations

import logging
import signal
import threading
import time
from collections.abc import Callable, Sequence, Set
from pathlib import Path

from ingest.analysis import Analysis
from ingest.cameras import Camera, load_cameras
from ingest.leases import TICK_S, Leases, wait_for_redis
from ingest.outbox import Outbox
from ingest.publisher import Publisher
from ingest.watch import Watch
from lookout.faces.models import load_detector
from lookout.logging import configure_logging
from lookout.metrics import CROPS_SHED, serve_metrics
from lookout.queue import celery_app
from lookout.settings import Settings
from lookout.stores.redis import connect

log = logging.getLogger(__name__)

#: How long SIGTERM leaves for cameras to end their tracks, for the batch on its way, and for the last crops. Where a
#: camera does not answer all of the first passes: FFmpeg cannot be told to give up.
STOP_CAMERAS_S = 1.0
STOP_PUBLISHING_S = 0.5
DRAIN_S = 0.8


class Watches:
    """The cameras that this process watches."""

    def __init__(self, cameras: Sequence[Camera], new_analysis: Callable[[Camera], Analysis]) -> None:
        self._cameras = {camera.id: camera for camera in cameras}
        self._new_analysis = new_analysis
        self._watches: dict[str, Watch] = {}

    def follow(self, held: Set[str]) -> None:
        """Watch the cameras whose leases are held, and no others."""
        for name in held - self._watches.keys():
            log.info("%s: taken", name)
            self._watches[name] = Watch(self._cameras[name], self._new_analysis)
            self._watches[name].start()
        for name in self._watches.keys() - held:
            log.info("%s: left to another process", name)
            self._watches.pop(name).stop()
        for watch in self._watches.values():
            watch.check()

    def stop(self, timeout_s: float) -> None:
        """Have all cameras end their tracks."""
        for watch in self._watches.values():
            watch.stop()
        deadline = time.monotonic() + timeout_s
        for watch in self._watches.values():
            watch.join(max(0.0, deadline - time.monotonic()))


def run(settings: Settings, *, cameras_file: Path, metrics_host: str, metrics_port: int) -> None:
    """Watch cameras until SIGTERM or SIGINT."""
    configure_logging("ingest")
    cameras = load_cameras(cameras_file)
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    port = serve_metrics(metrics_host, metrics_port)
    log.info("%d cameras in %s, metrics on port %d", len(cameras), cameras_file, port)

    detector = load_detector(settings)
    redis = connect(settings)
    wait_for_redis(redis, stop)
    outbox = Outbox()
    publisher = Publisher(outbox, redis, celery_app(settings), queue_limit=settings.queue_limit)
    publishing = threading.Thread(target=publisher.run, args=(stop,), name="publisher", daemon=True)
    publishing.start()

    def new_analysis(camera: Camera) -> Analysis:
        return Analysis(camera, detector, outbox.put, crop_deadline_s=settings.crop_deadline_s)

    leases = Leases(redis, [camera.id for camera in cameras])
    watches = Watches(cameras, new_analysis)
    while not stop.is_set():
        watches.follow(leases.tick())
        stop.wait(TICK_S)

    log.info("stopping")
    watches.stop(STOP_CAMERAS_S)
    publishing.join(STOP_PUBLISHING_S)
    left = publisher.drain(DRAIN_S)
    if left:
        CROPS_SHED.labels("stopped").inc(left)
        log.warning("%d crops could not be published", left)
    leases.release_all()
    log.info("stopped")
