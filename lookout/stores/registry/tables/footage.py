"""Recorded footage, videos that people handed in, and what they take away of both."""

from __future__ import annotations

from typing import Any

from sqlalchemy import CheckConstraint, Double, ForeignKey, Index, String, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from lookout.stores.registry.tables.base import Base, new_id


class Video(Base):
    """A file that is, or was, searched for faces as if its camera had recorded it."""

    __tablename__ = "videos"
    __table_args__ = (
        UniqueConstraint("camera_id", "sha256", "started_at_us"),
        Index("ix_videos_page", "created_at_us", "id"),
        CheckConstraint("state IN ('waiting', 'running', 'done', 'failed', 'cancelled')", name="state"),
    )

    id: Mapped[str] = mapped_column(String(32), primary_key=True, default=new_id)
    camera_id: Mapped[str] = mapped_column(String(60), index=True)
    #: Of the whole file: it is the same under another name.
    sha256: Mapped[str] = mapped_column(String(64))
    file_name: Mapped[str] = mapped_column(String(200))
    size: Mapped[int]
    #: When its first frame was taken.
    started_at_us: Mapped[int]
    duration_us: Mapped[int]
    width: Mapped[int]
    height: Mapped[int]
    codec: Mapped[str] = mapped_column(String(40))
    #: Frames a second that are searched for faces.
    analysed_fps: Mapped[float]
    state: Mapped[str] = mapped_column(String(20), default="waiting")
    #: Why it failed, in a sentence.
    error: Mapped[str] = mapped_column(String(500), default="")
    #: The uploaded file's name in `<home>/uploads` while it waits or is worked on; empty: the file lies elsewhere.
    upload: Mapped[str | None] = mapped_column(String(200))
    #: It is worked on in parts of equal length; those that are done are not done again.
    parts: Mapped[int]
    parts_done: Mapped[list[int]] = mapped_column(default=list)
    #: Crops that were found in it.
    crops: Mapped[int] = mapped_column(default=0)
    #: Frames that could not be decoded, and the first places of them, in seconds from the start.
    broken_frames: Mapped[int] = mapped_column(default=0)
    broken_at_s: Mapped[list[float]] = mapped_column(default=list)
    created_by: Mapped[str] = mapped_column(String(100))
    created_at_us: Mapped[int]
    finished_at_us: Mapped[int | None]


class Segment(Base):
    """A piece of footage that plays by itself; the file lies in the footage folder."""

    __tablename__ = "segments"
    __table_args__ = (Index("ix_segments_place", "camera_id", "started_at_us"),)

    #: Derived from camera, video and time, so that writing one twice is seen.
    id: Mapped[str] = mapped_column(String(32), primary_key=True)
    camera_id: Mapped[str] = mapped_column(String(60))
    started_at_us: Mapped[int] = mapped_column(index=True)
    ended_at_us: Mapped[int]
    #: Relative to the footage folder.
    name: Mapped[str] = mapped_column(String(200))
    codec: Mapped[str] = mapped_column(String(40))
    size: Mapped[int]
    #: The video it is a piece of; empty: recorded live.
    video_id: Mapped[str | None] = mapped_column(ForeignKey(Video.id), index=True)


class Export(Base):
    """What somebody takes away: clips, crops and a report, in one ZIP."""

    __tablename__ = "exports"
    __table_args__ = (
        Index("ix_exports_page", "created_at_us", "id"),
        CheckConstraint("state IN ('waiting', 'running', 'done', 'failed')", name="state"),
    )

    id: Mapped[str] = mapped_column(String(32), primary_key=True, default=new_id)
    user_id: Mapped[str] = mapped_column(String(32), index=True)
    created_by: Mapped[str] = mapped_column(String(100))
    reason: Mapped[str] = mapped_column(String(1000))
    #: Whether the faces of others are blurred in its clips.
    blur_others: Mapped[bool] = mapped_column(default=False)
    #: Ids of the sightings in it, with their scores: `{"sighting": id, "score": cosine}`.
    moments: Mapped[list[dict[str, Any]]]
    state: Mapped[str] = mapped_column(String(20), default="waiting")
    #: Share of the work that is done, 0..1.
    progress: Mapped[float] = mapped_column(Double, default=0.0)
    error: Mapped[str] = mapped_column(String(500), default="")
    #: Its report tells times in UTC and in this time zone.
    zone: Mapped[str] = mapped_column(String(64), default="UTC")
    #: The ZIP, sealed in pieces, see `lookout.stores.pieces`; until it is done, what is being written at most.
    blob: Mapped[str | None] = mapped_column(String(200))
    size: Mapped[int] = mapped_column(default=0)
    sha256: Mapped[str] = mapped_column(String(64), default="")
    created_at_us: Mapped[int]
    finished_at_us: Mapped[int | None]
