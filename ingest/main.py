"""The ingest process: follows which cameras there are, holds leases, watches its cameras, publishes crops."""

from __future__ import annotations

import logging
import signal
import threading

from ingest import probe
from ingest.activity import Activity
from ingest.analysis import Analysis
from ingest.detection import ChosenDetector
from ingest.leases import TICK_S, Leases, wait_for_redis
from ingest.outbox import Outbox
from ingest.publisher import Publisher
from ingest.repair import repair_all
from ingest.watches import Watches
from lookout.camera_settings import Camera
from lookout.errors import UnavailableError
from lookout.footage.folder import FootageFolder
from lookout.logging import configure_logging
from lookout.metrics import CROPS_SHED, serve_metrics
from lookout.queue import celery_app
from lookout.sealing import keyring
from lookout.settings import Settings
from lookout.stores.cameras import CameraBoard, CameraSet
from lookout.stores.redis import connect

log = logging.getLogger(__name__)

#: How long SIGTERM leaves for cameras to end their tracks, for the batch on its way, and for the last crops. Where a
#: camera does not answer all of the first passes: FFmpeg cannot be told to give up.
STOP_CAMERAS_S = 1.0
STOP_PUBLISHING_S = 0.5
DRAIN_S = 0.8


class Published:
    """Which cameras there are, as the services that may read the registry tell it. For one thread."""

    def __init__(self, board: CameraBoard, detector: ChosenDetector) -> None:
        self._board, self._detector = board, detector
        self._sealed: bytes | None = None
        self._told: CameraSet | None = None
        self.cameras: dict[str, Camera] = {}

    def read(self) -> None:
        """Learn what is new. What was told last holds on while nothing is there, or nothing that can be read.

        Raises:
            UnavailableError: Redis does not answer.
        """
        sealed = self._board.sealed()
        if sealed is not None and sealed != self._sealed:
            self._sealed = sealed
            found = self._board.read(sealed)
            if found is None:
                log.error("the cameras cannot be read: the data keys, or the version of Lookout, are not search's")
            else:
                self._told = found
                log.info("%d cameras to watch", len(found.cameras))
        if self._told is not None and self._detector.choose(self._told.detector):
            self.cameras = {camera.id: camera for camera in self._told.cameras}


def run(settings: Settings, *, metrics_host: str, metrics_port: int) -> None:
    """Watch cameras until SIGTERM or SIGINT."""
    configure_logging("ingest")
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    log.info("metrics on port %d", serve_metrics(metrics_host, metrics_port))

    ring = keyring(settings)
    detector = ChosenDetector(settings)
    redis = connect(settings)
    wait_for_redis(redis, stop)
    outbox = Outbox()
    publisher = Publisher(outbox, redis, ring, celery_app(settings), queue_limit=settings.queue_limit)
    publishing = threading.Thread(target=publisher.run, args=(stop,), name="publisher", daemon=True)
    publishing.start()
    board = CameraBoard(redis, ring)
    threading.Thread(target=probe.run, args=(board, stop), name="probe", daemon=True).start()

    def new_analysis(camera: Camera, activity: Activity) -> Analysis:
        return Analysis(camera, detector, outbox.put, activity, crop_deadline_s=settings.crop_deadline_s)

    footage = FootageFolder(settings.footage_folder)
    # Beside the watches, which repair their own: it may be much after a power cut.
    threading.Thread(target=repair_all, args=(footage,), name="repair", daemon=True).start()
    leases, watches = Leases(redis), Watches(new_analysis, footage)
    _watch(Published(board, detector), board, leases, watches, stop)

    log.info("stopping")
    watches.stop(STOP_CAMERAS_S)
    publishing.join(STOP_PUBLISHING_S)
    left = publisher.drain(DRAIN_S)
    if left:
        CROPS_SHED.labels("stopped").inc(left)
        log.warning("%d crops could not be published", left)
    leases.release_all()
    log.info("stopped")


def _watch(published: Published, board: CameraBoard, leases: Leases, watches: Watches, stop: threading.Event) -> None:
    """Once a second: learn which cameras there are, settle whose they are, watch ours, and tell how they are.

    While Redis is away all goes on as it was.
    """
    while not stop.is_set():
        try:
            published.read()
            held = leases.tick(published.cameras)
            watches.follow(published.cameras, held)
            watches.show(board, leases.process)
        except UnavailableError:
            watches.follow(published.cameras, leases.held)
        stop.wait(TICK_S)
