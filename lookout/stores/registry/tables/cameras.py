"""Cameras as people set them up."""

from __future__ import annotations

from sqlalchemy import CheckConstraint, LargeBinary, String
from sqlalchemy.orm import Mapped, mapped_column

from lookout.stores.registry.tables.base import Base


class CameraRow(Base):
    """A stream; `lookout.cameras.Camera` is what services work with."""

    __tablename__ = "cameras"
    __table_args__ = (CheckConstraint("transport IN ('tcp', 'udp')", name="transport"),)

    id: Mapped[str] = mapped_column(String(60), primary_key=True)
    name: Mapped[str] = mapped_column(String(100))
    #: Sealed, as it may hold a password.
    url: Mapped[bytes] = mapped_column(LargeBinary)
    camera_group: Mapped[str] = mapped_column(String(60))
    analysed_fps: Mapped[float]
    transport: Mapped[str] = mapped_column(String(3))
    #: Polygons whose inside is never looked at; points are shares of the frame's width and height.
    masks: Mapped[list[list[list[float]]]] = mapped_column(default=list)
    #: How long sightings of people on no watchlist are kept.
    retention_hours: Mapped[int] = mapped_column(default=72)
    #: Whether nothing is stored of people on no watchlist.
    matched_only: Mapped[bool] = mapped_column(default=False)
    #: Whether its video is kept as footage, with its sound if that is wanted too.
    record: Mapped[bool] = mapped_column(default=False)
    record_audio: Mapped[bool] = mapped_column(default=False)
    #: How long, and how much of it.
    footage_hours: Mapped[int] = mapped_column(default=72)
    footage_gb: Mapped[float] = mapped_column(default=50.0)
    enabled: Mapped[bool] = mapped_column(default=True)
    #: Counts its changes.
    version: Mapped[int] = mapped_column(default=1)
    created_at_us: Mapped[int]
