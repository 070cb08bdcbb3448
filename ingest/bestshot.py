"""Which pictures of a track are worth a worker's time: the first at once, a clearly better one, its best at the end.

Of a track without a usable picture the best of the others comes at the end: it was there, and nobody is alerted.

While a track lasts its best picture since the last one is sent now and then, so that an alert does not fall silent
while the person still stands there.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Generic, TypeVar

from lookout.faces.gates import USABLE

#: By how much quality must rise to be clearly better, 0..1.
CLEARLY_BETTER = 0.15
#: A better picture is not sent sooner after the last one.
MIN_GAP_US = 600_000
#: Half an alert's silence and more: an episode stays open while the track lasts.
REFRESH_US = 10_000_000

Shot = TypeVar("Shot")


class Choice(Enum):
    """What to do with a picture just taken."""

    DISCARD = "discard"
    KEEP = "keep"
    PUBLISH = "publish"


@dataclass(slots=True)
class BestShot(Generic[Shot]):
    """The choice for one track.

    Attributes:
        kept: the best picture since the last publication.
    """

    kept: Shot | None = None
    _kept_quality: float = -1.0
    _published_quality: float | None = None
    _published_at_us: int = 0

    def choose(self, quality: float, at_us: int) -> Choice:
        """Judge a picture by its quality; on KEEP and PUBLISH the caller says `keep` or `published`."""
        if self._published_quality is None and quality >= USABLE:
            return Choice.PUBLISH
        if self._published_quality is None:
            return Choice.KEEP if quality > self._kept_quality else Choice.DISCARD
        waited_us = at_us - self._published_at_us
        if waited_us >= MIN_GAP_US and quality >= self._published_quality + CLEARLY_BETTER:
            return Choice.PUBLISH
        return Choice.KEEP if quality > self._kept_quality else Choice.DISCARD

    def is_due(self, at_us: int) -> bool:
        """Whether the kept picture should be sent now because the last one was long ago."""
        published = self._published_quality is not None
        return published and self.kept is not None and at_us - self._published_at_us >= REFRESH_US

    def keep(self, shot: Shot, quality: float) -> None:
        """Remember a picture as the best since the last publication."""
        self.kept, self._kept_quality = shot, quality

    def published(self, quality: float, at_us: int) -> None:
        """A picture was sent."""
        self._published_quality = max(quality, self._published_quality or 0.0)
        self._published_at_us = at_us
        self.kept, self._kept_quality = None, -1.0

    def take(self) -> tuple[Shot, float] | None:
        """The kept picture and its quality, at the end or when it is due; it is kept no more."""
        if self.kept is None:
            return None
        taken = self.kept, self._kept_quality
        self.kept, self._kept_quality = None, -1.0
        return taken
