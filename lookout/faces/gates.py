"""What a face must have to be enrolled and to be matched. A watchlist may ask for less, or for more."""

from __future__ import annotations

from dataclasses import dataclass

#: The quality from which a face is good enough, where nothing else is said; docs/accuracy.md, "Quality", has the
#: figures.
USABLE = 0.5
#: Below it the true accept rate at a false accept rate of 1e-4 falls under 0.92; a reference meets every passer-by.
MIN_WIDTH_PX = 40


@dataclass(frozen=True, slots=True)
class Gates:
    """The least width of a face's box in pixels, and the least quality, 0..1."""

    min_face_px: int = MIN_WIDTH_PX
    min_quality: float = USABLE


#: Where nothing else is said.
USUAL = Gates()
