"""The detector that finds faces on all cameras, which may be changed while they are watched."""

from __future__ import annotations

import logging
import time

import numpy as np
from numpy.typing import NDArray

from lookout.errors import LookoutError
from lookout.faces.detector import SCORE_THRESHOLD, Detection, Detector
from lookout.faces.models import load_detector
from lookout.settings import Settings

log = logging.getLogger(__name__)

#: How long it waits after one that could not be loaded: what is missing must be downloaded.
RETRY_S = 30.0


class ChosenDetector(Detector):
    """The detector in use. Cameras' threads detect; one thread, that which starts them, chooses."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._name = ""
        self._loaded: Detector | None = None
        self._failed, self._retry_at = "", 0.0

    def choose(self, name: str) -> bool:
        """Use a detector from now on; whether there is one to work with.

        What is used already is used on where the new one cannot be loaded.
        """
        if name != self._name and (name != self._failed or time.monotonic() >= self._retry_at):
            try:
                self._loaded = load_detector(self._settings, name)
                self._name = name
                log.info("faces are found by %s", name)
            except LookoutError as error:
                self._failed, self._retry_at = name, time.monotonic() + RETRY_S
                log.error("the detector %s cannot be used: %s", name, error)  # noqa: TRY400 - the message says it all
        return self._loaded is not None

    def detect(self, bgr: NDArray[np.uint8], *, score_threshold: float = SCORE_THRESHOLD) -> list[Detection]:
        """Find faces in a BGR picture `(H, W, 3)` of 0..255, best score first.

        Raises:
            RuntimeError: none was chosen yet.
        """
        if self._loaded is None:
            raise RuntimeError("no detector was chosen yet")
        return self._loaded.detect(bgr, score_threshold=score_threshold)
