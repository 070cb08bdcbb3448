"""Footage as people look at it: the piece that shows a moment, what lies over it, and that it was looked at.

A piece belongs to the group that its camera is in now. Of a camera that was removed nobody knows the masks any more, so
its footage is for those alone whose rights are not limited to groups.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from redis import Redis
from sqlalchemy import select
from sqlalchemy.orm import Session

from lookout import audit
from lookout.accounts.rights import Identity
from lookout.clock import isoformat
from lookout.errors import NotFoundError
from lookout.footage.folder import FootageFolder
from lookout.footage.segments import find_segment, segments_between
from lookout.sightings.records import get_sighting
from lookout.stores.redis import redis_errors
from lookout.stores.registry import Registry
from lookout.stores.registry.tables import CameraRow, Segment, StoredCrop

#: For so long one who plays a piece is one viewer of it, however many requests the player makes.
PLAY_S = 300
GONE = "the footage is gone: it was not recorded, or its time is over."
END = "the footage ends here."


@dataclass(frozen=True, slots=True)
class FaceMark:
    """Where a face is at a moment: `box_xyxy` in pixels of the full-size frame."""

    at_us: int
    box_xyxy: tuple[float, float, float, float]


@dataclass(frozen=True, slots=True, eq=False)
class Moment:
    """A piece of footage, and where to begin in it.

    Attributes:
        at_us: the moment; within the segment.
        camera_name: what people call the camera; the id if it was removed.
        masks: privacy masks: polygons whose points are shares of the frame's width and height.
        marks: the faces of the sighting that was asked for, also outside of this segment.
    """

    segment: Segment
    at_us: int
    camera_name: str
    masks: Sequence[Sequence[Sequence[float]]]
    marks: tuple[FaceMark, ...] = ()

    @property
    def offset_s(self) -> float:
        """Seconds from the start of the segment."""
        return (self.at_us - self.segment.started_at_us) / 1e6


def get_segment(session: Session, who: Identity, segment_id: str) -> Segment:
    """A piece of footage with a right to.

    Raises:
        NotFoundError: there is none, or no right to its camera.
    """
    segment = None if "\0" in segment_id else session.get(Segment, segment_id)
    if segment is None or not _sees_camera(session, who, segment.camera_id):
        raise NotFoundError(GONE)
    return segment


def best_crop(session: Session, sighting_id: str) -> StoredCrop | None:
    """The crop of a sighting that shows the face best, of those whose picture is left if there are any."""
    query = select(StoredCrop).where(StoredCrop.sighting_id == sighting_id)
    # The one that a search shows, see `lookout.sightings.found`.
    order = (StoredCrop.blob.is_(None), StoredCrop.quality.desc(), StoredCrop.id.desc())
    return session.scalar(query.order_by(*order).limit(1))


def moment_of(session: Session, folder: FootageFolder, who: Identity, sighting_id: str) -> Moment:
    """The footage of a sighting, at its best crop; if that is gone, at what is left of the sighting.

    Raises:
        NotFoundError: there is no such sighting, no right to it, or its footage is gone.
    """
    sighting = get_sighting(session, who, sighting_id)
    if not _sees_camera(session, who, sighting.camera_id):
        raise NotFoundError(GONE)
    crop = best_crop(session, sighting.id)
    at_us = sighting.started_at_us if crop is None else crop.captured_at_us
    first = find_segment(session, sighting.camera_id, at_us, sighting.video_id)
    others = segments_between(
        session, sighting.camera_id, sighting.started_at_us, sighting.ended_at_us + 1, sighting.video_id
    )
    for segment in (*([first] if first else []), *others):
        if _is_there(folder, segment):
            begin_us = min(max(at_us, segment.started_at_us), segment.ended_at_us)
            return _moment(session, segment, begin_us, _marks(session, sighting.id))
    raise NotFoundError(GONE)


def moment_at(
    session: Session, folder: FootageFolder, who: Identity, camera_id: str, at_us: int, video_id: str | None = None
) -> Moment:
    """The footage of a camera at a moment, or the next that there is after it.

    Args:
        session: of the registry.
        folder: where the footage lies.
        who: asks.
        camera_id: whose.
        at_us: when.
        video_id: the handed-in video to be played, as several may overlap; None: recorded live.

    Raises:
        NotFoundError: there is no right to the camera, or no such footage.
    """
    if not _sees_camera(session, who, camera_id):
        raise NotFoundError(GONE)
    segment = find_segment(session, camera_id, at_us, video_id)
    if segment is None or not _is_there(folder, segment):
        segment = _next(session, folder, camera_id, at_us, video_id)
    return _moment(session, segment, max(at_us, segment.started_at_us))


def moment_after(session: Session, folder: FootageFolder, who: Identity, segment_id: str) -> Moment:
    """The begin of the piece that follows on one.

    Raises:
        NotFoundError: there is none, or no right to it.
    """
    before = get_segment(session, who, segment_id)
    segment = _next(session, folder, before.camera_id, before.started_at_us, before.video_id)
    return _moment(session, segment, segment.started_at_us)


def record_play(registry: Registry, redis: Redis, who: Identity, segment: Segment) -> None:
    """Write down that somebody plays a piece of footage: when it begins, and every few minutes while it goes on.

    Raises:
        UnavailableError: Redis or the registry does not answer.
    """
    with redis_errors():
        is_new = redis.set(f"footage:played:{segment.id}:{who.user_id}", 1, ex=PLAY_S, nx=True)
    if is_new:
        detail = {"camera": segment.camera_id, "at": isoformat(segment.started_at_us), "video": segment.video_id}
        with registry.transaction() as session:
            audit.record(session, who.actor, "footage.played", "segment", segment.id, detail=detail)


def _sees_camera(session: Session, who: Identity, camera_id: str) -> bool:
    camera = None if "\0" in camera_id else session.get(CameraRow, camera_id)
    return who.camera_groups is None if camera is None else who.sees_group(camera.camera_group)


def _next(session: Session, folder: FootageFolder, camera_id: str, after_us: int, video_id: str | None) -> Segment:
    query = select(Segment).where(
        Segment.camera_id == camera_id,
        Segment.started_at_us > after_us,
        Segment.video_id == video_id if video_id is not None else Segment.video_id.is_(None),
    )
    for segment in session.scalars(query.order_by(Segment.started_at_us).limit(3)):
        if _is_there(folder, segment):
            return segment
    raise NotFoundError(END)


def _is_there(folder: FootageFolder, segment: Segment) -> bool:
    try:
        folder.path(segment.name)
    except NotFoundError:
        return False
    return True


def _moment(session: Session, segment: Segment, at_us: int, marks: tuple[FaceMark, ...] = ()) -> Moment:
    camera = session.get(CameraRow, segment.camera_id)
    name, masks = (segment.camera_id, []) if camera is None else (camera.name, camera.masks)
    return Moment(segment, at_us, name, masks, marks)


def _marks(session: Session, sighting_id: str) -> tuple[FaceMark, ...]:
    query = select(StoredCrop.captured_at_us, StoredCrop.box_xyxy).where(StoredCrop.sighting_id == sighting_id)
    rows = session.execute(query.order_by(StoredCrop.captured_at_us))
    # A crop of which nobody knows where it was has no box.
    return tuple(FaceMark(at_us, (box[0], box[1], box[2], box[3])) for at_us, box in rows if len(box) == 4)
