"""The motion gate: still scenes pass undetected."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

#: The picture is compared at this size; a face of 40 px in a 1080p frame covers about two of its cells.
WIDTH, HEIGHT = 64, 36
#: Luma by which a cell must differ from the background, above the noise of a camera at night.
MIN_DIFFERENCE = 10.0
MIN_CELLS = 2
#: Share of the background that each frame renews: a car that parks becomes background in about 30 frames.
RENEWAL = 0.05
#: A scene is searched this often even if nothing moves, so that no gate can hide a person for long.
MAX_REST_US = 5_000_000
#: After a motion the scene stays awake: people stop and look.
AWAKE_US = 2_000_000


class MotionGate:
    """Says of each sampled frame of one camera whether it is worth a detection."""

    def __init__(self) -> None:
        self._background: NDArray[np.float32] | None = None
        self._moved_at_us = 0
        self._searched_at_us: int | None = None

    def is_open(self, luma: NDArray[np.uint8], at_us: int) -> bool:
        """Whether to search a frame.

        Args:
            luma: the frame's luma at `(HEIGHT, WIDTH)`.
            at_us: its capture time.
        """
        current = luma.astype(np.float32)
        if self._background is None:
            self._background, self._moved_at_us = current, at_us
        changed = np.abs(current - self._background) > MIN_DIFFERENCE
        cv2.accumulateWeighted(current, self._background, RENEWAL)
        if np.count_nonzero(changed) >= MIN_CELLS:
            self._moved_at_us = at_us
        awake = at_us - self._moved_at_us <= AWAKE_US
        rested = self._searched_at_us is None or at_us - self._searched_at_us >= MAX_REST_US
        if awake or rested:
            self._searched_at_us = at_us
            return True
        return False
