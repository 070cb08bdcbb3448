"""What a camera does: counted by its own thread, read by the process' main loop, shown on the page of cameras."""

from __future__ import annotations

import time
from collections import deque
from dataclasses import dataclass, field

from lookout.stores.cameras import CameraPicture

#: Rates of frames are taken over this time, those of faces over the other.
RATES_S = 10.0
FACES_S = 60.0
#: A picture is made no more often.
PICTURE_EVERY_S = 2.0


@dataclass(slots=True)
class Activity:
    """One camera's counts since it is watched.

    Attributes:
        frames, analysed, faces: decoded, searched, and found in them.
        width, height, codec, clock_offset_us: of the last frame.
        recording, recording_message: how its footage fares, as in `CameraStatus`.
        picture: the last one made, until it is taken.
    """

    frames: int = 0
    analysed: int = 0
    faces: int = 0
    width: int = 0
    height: int = 0
    codec: str = ""
    clock_offset_us: int = 0
    recording: str = "off"
    recording_message: str = ""
    picture: CameraPicture | None = None
    _pictured_at: float = -PICTURE_EVERY_S
    _samples: deque[tuple[float, int, int, int]] = field(default_factory=deque)

    def wants_picture(self) -> bool:
        """Whether it is time for a picture."""
        return time.monotonic() - self._pictured_at >= PICTURE_EVERY_S

    def show(self, picture: CameraPicture) -> None:
        """Keep a picture until it is taken."""
        self.picture, self._pictured_at = picture, time.monotonic()

    def take_picture(self) -> CameraPicture | None:
        """The picture, once."""
        picture, self.picture = self.picture, None
        return picture

    def rates(self) -> tuple[float, float, float]:
        """Frames and searched frames a second, and faces a minute; for the main loop, which calls it often."""
        now = time.monotonic()
        self._samples.append((now, self.frames, self.analysed, self.faces))
        while now - self._samples[0][0] > FACES_S:
            self._samples.popleft()
        recent = next(sample for sample in self._samples if now - sample[0] <= RATES_S)
        passed, longer = max(now - recent[0], 1.0), max(now - self._samples[0][0], 1.0)
        return (
            (self.frames - recent[1]) / passed,
            (self.analysed - recent[2]) / passed,
            60 * (self.faces - self._samples[0][3]) / longer,
        )


class Unwatched(Activity):
    """Of what nobody looks at while it goes on: no pictures are made."""

    def wants_picture(self) -> bool:
        """Never."""
        return False
