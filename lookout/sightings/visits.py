"""Visits: sightings at one camera that follow one another closely are one stay of the person."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from lookout.sightings.found import Found

#: Who is not seen for longer has left and come back.
VISIT_GAP_S = 60


@dataclass(frozen=True, slots=True)
class Visit:
    """A stay before one camera.

    Attributes:
        score: of its best sighting.
        found: its sightings, in the order of time.
    """

    camera_id: str
    started_at_us: int
    ended_at_us: int
    score: float
    found: tuple[Found, ...]


def group_visits(found: Iterable[Found], gap_us: int = VISIT_GAP_S * 1_000_000) -> tuple[Visit, ...]:
    """Group sightings by camera wherever the gap between them is at most so long; the best visit first."""
    visits: list[list[Found]] = []
    ends: list[int] = []
    for one in sorted(found, key=lambda one: (one.camera_id, one.started_at_us, one.ended_at_us, one.sighting_id)):
        if visits and visits[-1][0].camera_id == one.camera_id and one.started_at_us - ends[-1] <= gap_us:
            visits[-1].append(one)
            ends[-1] = max(ends[-1], one.ended_at_us)
        else:
            visits.append([one])
            ends.append(one.ended_at_us)
    made = [
        Visit(group[0].camera_id, group[0].started_at_us, end, max(one.score for one in group), tuple(group))
        for group, end in zip(visits, ends, strict=True)
    ]
    return tuple(sorted(made, key=lambda visit: (-visit.score, visit.started_at_us, visit.camera_id)))
