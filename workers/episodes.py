"""When a match opens an alert, when it continues one, and when an alert ends. Pure logic.

An alert is an episode: one target on one camera group, from its first match until nobody has seen the person for the
time of silence. Time here is capture time, so that lagging workers change nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum


@dataclass(frozen=True, slots=True)
class Episode:
    """What an alert's row says of time."""

    first_captured_at_us: int
    last_seen_at_us: int
    is_open: bool


class Step(Enum):
    """What a match means for the episodes of its target and camera group."""

    OPEN = "open"
    #: It belongs to the past, while a later episode runs: stored, and closed at once.
    OPEN_CLOSED = "open_closed"
    CONTINUE = "continue"


def place(episodes: Sequence[Episode], captured_at_us: int, silence_us: int) -> tuple[Step, int | None]:
    """Find the episode that a match at `captured_at_us` belongs to.

    Returns:
        The step and, for CONTINUE, the index of the episode.
    """
    near = [
        index
        for index, episode in enumerate(episodes)
        if episode.first_captured_at_us - silence_us <= captured_at_us <= episode.last_seen_at_us + silence_us
    ]
    if near:
        return Step.CONTINUE, max(near, key=lambda index: episodes[index].last_seen_at_us)
    later_runs = any(episode.is_open and episode.first_captured_at_us > captured_at_us for episode in episodes)
    return (Step.OPEN_CLOSED if later_runs else Step.OPEN), None


def closes_at(last_seen_at_us: int, silence_us: int) -> int:
    """When an episode ends if nobody sees the person again."""
    return last_seen_at_us + silence_us
