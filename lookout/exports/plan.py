"""Which footage goes into an export: moments become spans of time, those that touch become one."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from sqlalchemy import select
from sqlalchemy.orm import Session

from lookout.footage.folder import FootageFolder
from lookout.footage.segments import segments_between
from lookout.stores.registry.tables import CameraRow, Export, Segment, Sighting, StoredCrop

#: Footage shown before and after a sighting, in seconds.
CLIP_BEFORE_S = 5.0
CLIP_AFTER_S = 5.0
#: Of one sighting at most so much is shown, around its best picture.
CLIP_MOST_S = 120.0
#: Segments of one recording may lie so far apart, as a frame has no length of its own.
SEAM_S = 1.0


@dataclass(frozen=True, slots=True, eq=False)
class Seen:
    """A sighting in an export.

    Attributes:
        number: of the moment in the export, from 1 on.
        crops: in time order; `best` is the one that shows the face best, None if there is none.
    """

    number: int
    sighting: Sighting
    score: float
    crops: Sequence[StoredCrop]
    best: StoredCrop | None

    @property
    def span_us(self) -> tuple[int, int]:
        """From when to when its footage is shown."""
        most_us = int(CLIP_MOST_S * 1e6)
        begin = self.sighting.started_at_us - int(CLIP_BEFORE_S * 1e6)
        end = self.sighting.ended_at_us + int(CLIP_AFTER_S * 1e6)
        if end - begin > most_us:
            middle = self.best.captured_at_us if self.best else self.sighting.started_at_us
            begin = max(begin, min(middle - most_us // 2, end - most_us))
            end = begin + most_us
        return begin, end


@dataclass(slots=True, eq=False)
class Span:
    """Footage of one recording without a seam, wanted for some sightings."""

    camera_id: str
    video_id: str | None
    begin_us: int
    end_us: int
    seen: list[Seen] = field(default_factory=list)
    segments: Sequence[Segment] = ()


@dataclass(frozen=True, slots=True)
class Gap:
    """A span of time of which there is no footage, and why."""

    camera_id: str
    video_id: str | None
    begin_us: int
    end_us: int
    why: str


NOT_THERE = "no footage: it was not recorded, or has expired"
NO_CAMERA = "the camera was removed, so its privacy masks are not known any more"


@dataclass(slots=True, eq=False)
class Plan:
    """What an export holds."""

    seen: list[Seen]
    #: Moments whose sighting is gone by now: number and id.
    gone: list[tuple[int, str]]
    spans: list[Span]
    gaps: list[Gap]
    cameras: dict[str, CameraRow]


def plan(session: Session, export: Export, footage: FootageFolder) -> Plan:
    """Look up what there is of an export's moments: in the registry, and of footage on the disk."""
    made = Plan([], [], [], [], {})
    for number, moment in enumerate(export.moments, 1):
        sighting = session.get(Sighting, moment["sighting"])
        if sighting is None:
            made.gone.append((number, moment["sighting"]))
            continue
        query = select(StoredCrop).where(StoredCrop.sighting_id == sighting.id)
        crops = session.scalars(query.order_by(StoredCrop.captured_at_us, StoredCrop.id)).all()
        best = max(crops, key=lambda crop: crop.quality, default=None)
        made.seen.append(Seen(number, sighting, moment["score"], crops, best))
        camera = session.get(CameraRow, sighting.camera_id)
        if camera is not None:
            made.cameras[camera.id] = camera
    for wanted in joined(made.seen):
        if wanted.camera_id not in made.cameras:
            made.gaps.append(Gap(wanted.camera_id, wanted.video_id, wanted.begin_us, wanted.end_us, NO_CAMERA))
            continue
        known = segments_between(session, wanted.camera_id, wanted.begin_us, wanted.end_us, wanted.video_id)
        wanted.segments = [segment for segment in known if (footage.root / segment.name).is_file()]
        spans, gaps = divided(wanted)
        made.spans += spans
        made.gaps += gaps
    return made


def joined(seen: Iterable[Seen]) -> list[Span]:
    """Spans of the sightings; those of one recording that touch one another are one."""
    spans: list[Span] = []
    for one in sorted(seen, key=lambda one: (one.sighting.camera_id, one.sighting.video_id or "", one.span_us)):
        begin, end = one.span_us
        place = (one.sighting.camera_id, one.sighting.video_id)
        last = spans[-1] if spans else None
        if last is not None and (last.camera_id, last.video_id) == place and begin <= last.end_us:
            last.end_us = max(last.end_us, end)
            last.seen.append(one)
        else:
            spans.append(Span(*place, begin, end, [one]))
    return spans


def divided(wanted: Span) -> tuple[list[Span], list[Gap]]:
    """The parts of a span of which there is footage, and those of which there is none.

    What is missing before and after the sightings themselves, as a recording begins or ends, is no gap.
    """
    seam_us = int(SEAM_S * 1e6)
    spans: list[Span] = []
    for segment in wanted.segments:
        begin, end = max(segment.started_at_us, wanted.begin_us), min(segment.ended_at_us, wanted.end_us)
        last = spans[-1] if spans else None
        if last is not None and begin - last.end_us <= seam_us:
            last.end_us = max(last.end_us, end)
            last.segments = [*last.segments, segment]
        else:
            spans.append(Span(wanted.camera_id, wanted.video_id, begin, end, [], [segment]))
    for span in spans:
        span.seen = [one for one in wanted.seen if one.span_us[0] < span.end_us and one.span_us[1] > span.begin_us]
    needed_begin = min(max(one.sighting.started_at_us, one.span_us[0]) for one in wanted.seen)
    needed_end = max(min(one.sighting.ended_at_us, one.span_us[1]) for one in wanted.seen)
    edges = [needed_begin, *(edge for span in spans for edge in (span.begin_us, span.end_us)), needed_end]
    gaps = [
        Gap(wanted.camera_id, wanted.video_id, begin, end, NOT_THERE)
        for begin, end in zip(edges[::2], edges[1::2], strict=True)
        if end - begin > seam_us or (not spans)
    ]
    return spans, gaps
