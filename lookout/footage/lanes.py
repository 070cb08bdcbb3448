"""What of a span of time was recorded: a lane a camera, whose gaps are where there is no footage."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from lookout.accounts.rights import Identity
from lookout.errors import BadInputError
from lookout.stores.registry.tables import CameraRow, Segment, Video

#: Pieces whose ends are nearer than this belong to one recording: cameras reconnect, and a key frame must come.
JOIN_US = 2_000_000
#: As much as is looked at in one go: eight days of a camera have 11,520 pieces of a minute.
MAX_SPAN_US = 8 * 86_400_000_000


@dataclass(frozen=True, slots=True)
class Span:
    """Footage without a gap.

    Attributes:
        video_id, video_name: the handed-in video that it is; None: recorded live.
    """

    started_at_us: int
    ended_at_us: int
    codec: str
    video_id: str | None
    video_name: str | None


@dataclass(frozen=True, slots=True)
class Lane:
    """A camera's footage, in time order."""

    camera_id: str
    camera_name: str
    spans: tuple[Span, ...]


def lanes(session: Session, who: Identity, since_us: int, until_us: int, camera_id: str | None = None) -> list[Lane]:
    """What was recorded within a span of time by the cameras that `who` sees, by their names; none without footage.

    Raises:
        BadInputError: the span ends before it begins, or is longer than eight days.
    """
    if not 0 < until_us - since_us <= MAX_SPAN_US:
        raise BadInputError("until: give a time after `since`, at most eight days later.")
    query = (
        select(Segment, CameraRow.name, Video.file_name)
        .outerjoin(CameraRow, CameraRow.id == Segment.camera_id)
        .outerjoin(Video, Video.id == Segment.video_id)
        .where(Segment.started_at_us < until_us, Segment.ended_at_us > since_us)
        .order_by(Segment.camera_id, Segment.video_id, Segment.started_at_us)
    )
    if who.camera_groups is not None:
        query = query.where(CameraRow.camera_group.in_(who.camera_groups))
    if camera_id is not None:
        query = query.where(Segment.camera_id == camera_id)
    found: dict[tuple[str, str], list[tuple[Segment, str | None]]] = {}
    for segment, camera_name, video_name in session.execute(query):
        found.setdefault((segment.camera_id, camera_name or segment.camera_id), []).append((segment, video_name))
    made = [Lane(camera, name, _joined(segments)) for (camera, name), segments in found.items()]
    return sorted(made, key=lambda lane: (lane.camera_name.lower(), lane.camera_id))


def newest_footage_us(session: Session, who: Identity) -> int | None:
    """When the newest that `who` may see begins; None if there is none."""
    query = select(func.max(Segment.started_at_us)).outerjoin(CameraRow, CameraRow.id == Segment.camera_id)
    if who.camera_groups is not None:
        query = query.where(CameraRow.camera_group.in_(who.camera_groups))
    return session.scalar(query)


def _joined(segments: Iterable[tuple[Segment, str | None]]) -> tuple[Span, ...]:
    spans: list[Span] = []
    for segment, video_name in segments:
        last = spans[-1] if spans else None
        if (
            last is not None
            and (last.video_id, last.codec) == (segment.video_id, segment.codec)
            and segment.started_at_us - last.ended_at_us <= JOIN_US
        ):
            ended_at_us = max(last.ended_at_us, segment.ended_at_us)
            spans[-1] = Span(last.started_at_us, ended_at_us, last.codec, last.video_id, last.video_name)
        else:
            spans.append(Span(segment.started_at_us, segment.ended_at_us, segment.codec, segment.video_id, video_name))
    return tuple(sorted(spans, key=lambda span: span.started_at_us))
