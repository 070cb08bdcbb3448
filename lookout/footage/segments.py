"""Segments in the registry: put there from the footage folder, and found by the moment they show."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import select
from sqlalchemy.orm import Session

from lookout.footage.folder import FootageFolder
from lookout.messages import segment_id
from lookout.stores.registry import Registry
from lookout.stores.registry.tables import Segment, Video

#: Files registered in one go.
BATCH = 500


def register_new(registry: Registry, folder: FootageFolder) -> int:
    """Put finished files into the registry and then where it says they are; returns how many.

    A process killed between the two leaves a file that is registered again, which changes nothing.

    Raises:
        UnavailableError: the registry or the folder cannot be used.
    """
    count = 0
    for path, piece in folder.new():
        if count == BATCH:
            break
        with registry.transaction() as session:
            # A video that was removed meanwhile takes its pieces along.
            known = not piece.video_id or session.get(Video, piece.video_id) is not None
            key = segment_id(piece.camera_id, piece.video_id, piece.started_at_us)
            if known and session.get(Segment, key) is None:
                session.add(
                    Segment(
                        id=key,
                        camera_id=piece.camera_id,
                        started_at_us=piece.started_at_us,
                        ended_at_us=piece.ended_at_us,
                        name=piece.kept_name,
                        codec=piece.codec,
                        size=path.stat().st_size,
                        video_id=piece.video_id or None,
                    )
                )
        if known:
            folder.keep(path, piece)
        else:
            path.unlink(missing_ok=True)
        count += 1
    return count


def find_segment(session: Session, camera_id: str, at_us: int, video_id: str | None = None) -> Segment | None:
    """The piece of footage that shows a moment; None if there is none.

    Args:
        session: of the registry.
        camera_id: whose.
        at_us: when.
        video_id: the video that the moment was found in, as several may overlap; None: recorded live.
    """
    query = (
        select(Segment)
        .where(
            Segment.camera_id == camera_id,
            Segment.started_at_us <= at_us,
            Segment.ended_at_us >= at_us,
            Segment.video_id == video_id if video_id is not None else Segment.video_id.is_(None),
        )
        .order_by(Segment.started_at_us.desc())
        .limit(1)
    )
    return session.scalar(query)


def segments_between(
    session: Session, camera_id: str, start_us: int, end_us: int, video_id: str | None = None
) -> Sequence[Segment]:
    """The pieces of footage that show some of a span of time, in order."""
    query = (
        select(Segment)
        .where(
            Segment.camera_id == camera_id,
            Segment.started_at_us < end_us,
            Segment.ended_at_us > start_us,
            Segment.video_id == video_id if video_id is not None else Segment.video_id.is_(None),
        )
        .order_by(Segment.started_at_us)
    )
    return session.scalars(query).all()
