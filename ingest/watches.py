"""The cameras that this process watches."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping, Set

from ingest.watch import NewAnalysis, Watch
from lookout.camera_settings import Camera
from lookout.footage.folder import FootageFolder
from lookout.stores.cameras import CameraBoard

log = logging.getLogger(__name__)


class Watches:
    """Follows which cameras there are and which of them are this process' to watch. For one thread."""

    def __init__(self, new_analysis: NewAnalysis, footage: FootageFolder) -> None:
        self._new_analysis = new_analysis
        self._footage = footage
        self._watches: dict[str, Watch] = {}
        #: Whose old pictures may show what they no longer should.
        self._outdated: set[str] = set()

    def follow(self, cameras: Mapping[str, Camera], held: Set[str]) -> None:
        """Watch the cameras whose leases are held, as they are set up now, and no others."""
        wanted = held & cameras.keys()
        for name in self._watches.keys() - wanted:
            log.info("%s: %s", name, "left to another process" if name in cameras else "gone")
            if name not in cameras:
                self._outdated.add(name)
            self._watches.pop(name).stop()
        for name in sorted(wanted):
            watch = self._watches.get(name)
            if watch is None or _must_restart(watch.camera, cameras[name]):
                log.info("%s: %s", name, "taken" if watch is None else "changed")
                if watch is not None:
                    watch.stop()
                    self._outdated.add(name)
                self._watches[name] = Watch(cameras[name], self._new_analysis, self._footage, after=watch)
                self._watches[name].start()
        for watch in self._watches.values():
            watch.check()

    def show(self, board: CameraBoard, process: str) -> None:
        """Tell how the cameras are, and put up new pictures of those that are live.

        Raises:
            UnavailableError: Redis does not answer.
        """
        for name in list(self._outdated):
            board.forget(name)
            self._outdated.discard(name)
        board.put_statuses([watch.status(process) for watch in self._watches.values()])
        for name, watch in self._watches.items():
            picture = watch.activity.take_picture()
            if picture is not None and watch.state == "live":
                board.put_picture(name, picture)

    def stop(self, timeout_s: float) -> None:
        """Have all cameras end their tracks."""
        for watch in self._watches.values():
            watch.stop()
        deadline = time.monotonic() + timeout_s
        for watch in self._watches.values():
            watch.join(max(0.0, deadline - time.monotonic()))


#: What a watch was made for. The rest, how long what is stored is kept among it, is the business of others.
_WATCHED = ("url", "transport", "group", "analysed_fps", "masks", "matched_only", "record", "record_audio")


def _must_restart(before: Camera, now: Camera) -> bool:
    return any(getattr(before, field) != getattr(now, field) for field in _WATCHED)
