"""The child process: does what it is told on its standard input, a line an order, until that ends.

It decodes what strangers made. It gets no address of the database, and goes when its parent goes.
"""

from __future__ import annotations

import contextlib
import logging
import os
import queue
import sys
import threading

import av.logging
import cv2

from ingest.indexing.handing import Handing
from ingest.indexing.orders import Order, PartOrder, Progress, Refused, Report, decode_order, encode
from ingest.indexing.scanning import scan
from ingest.indexing.searching import search_part
from lookout.errors import BadInputError, UnavailableError
from lookout.faces.detector import Detector
from lookout.faces.models import load_detector
from lookout.footage.folder import FootageFolder
from lookout.logging import configure_logging
from lookout.queue import celery_app
from lookout.sealing import keyring
from lookout.settings import Settings
from lookout.stores.redis import connect

log = logging.getLogger(__name__)

#: Live cameras and workers go first.
NICENESS = 5


class Child:
    """What a child works with."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._detector: tuple[str, Detector] | None = None

    def do(self, order: Order) -> Report:
        """Do what an order says."""
        try:
            if isinstance(order, PartOrder):
                return self._search(order)
            return scan(order.path)
        except BadInputError as error:
            return Refused("bad_input", str(error))
        except UnavailableError as error:
            return Refused("unavailable", str(error))
        except Exception as error:
            log.exception("an order failed")
            return Refused("fault", f"{type(error).__name__}: {error}"[:300])

    def _search(self, order: PartOrder) -> Report:
        settings = self._settings
        if self._detector is None or self._detector[0] != order.detector:
            self._detector = (order.detector, load_detector(settings, order.detector))
        redis = connect(settings)
        handing = Handing(
            redis, keyring(settings), celery_app(settings), order.video_id, queue_limit=settings.queue_limit
        )
        with contextlib.closing(redis):
            folder = FootageFolder(settings.footage_folder)
            return search_part(order, self._detector[1], handing, folder, lambda done_us: say(Progress(done_us)))


def say(report: Report) -> None:
    """Tell the parent."""
    _out.write(encode(report) + b"\n")
    _out.flush()


def main() -> None:
    """Work until the parent closes the standard input, or goes."""
    os.nice(NICENESS)
    cv2.setNumThreads(1)
    av.logging.set_level(av.logging.PANIC)  # what is broken is counted and told; FFmpeg would say it line by line
    configure_logging("indexer")
    orders: queue.Queue[Order] = queue.Queue()

    def listen() -> None:
        for line in sys.stdin.buffer:
            orders.put(decode_order(line))
        os._exit(0)  # also out of the middle of a part: it is done again

    threading.Thread(target=listen, daemon=True).start()
    child = Child(Settings())
    while True:
        say(child.do(orders.get()))


if __name__ == "__main__":
    # Whatever else writes to the standard output must not get between the reports.
    _out = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    main()
