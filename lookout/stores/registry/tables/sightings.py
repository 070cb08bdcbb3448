"""Who was seen, known or not."""

from __future__ import annotations

from sqlalchemy import ForeignKey, Index, LargeBinary, String, text
from sqlalchemy.orm import Mapped, mapped_column, relationship

from lookout.stores.registry.tables.base import Base
from lookout.stores.registry.tables.footage import Video


class Sighting(Base):
    """One track as stored."""

    __tablename__ = "sightings"
    __table_args__ = (
        Index("ix_sightings_place", "camera_id", "ended_at_us"),
        Index("ix_sightings_age", "camera_id", "created_at_us"),
        Index(
            "ix_sightings_waiting",
            "model",
            sqlite_where=text("NOT indexed"),
            postgresql_where=text("NOT indexed"),
        ),
    )

    id: Mapped[str] = mapped_column(String(32), primary_key=True)
    camera_id: Mapped[str] = mapped_column(String(100))
    camera_group: Mapped[str] = mapped_column(String(100))
    started_at_us: Mapped[int] = mapped_column(index=True)
    ended_at_us: Mapped[int]
    model: Mapped[str] = mapped_column(String(100))
    #: Sum of its crops' embeddings, each weighted by its quality; brought to length 1 it is the template. Sealed.
    template_sum: Mapped[bytes] = mapped_column(LargeBinary)
    best_quality: Mapped[float]
    #: The video it was found in; empty: seen live.
    video_id: Mapped[str | None] = mapped_column(ForeignKey(Video.id), index=True)
    #: Whether Milvus has its template as it is; `lookout.stores.index` brings the two together.
    indexed: Mapped[bool] = mapped_column(default=False)
    created_at_us: Mapped[int]

    crops: Mapped[list[StoredCrop]] = relationship(back_populates="sighting", order_by="StoredCrop.captured_at_us")


class StoredCrop(Base):
    """A crop that became part of a sighting. Its row is what makes processing a crop twice harmless."""

    __tablename__ = "crops"

    id: Mapped[str] = mapped_column(String(32), primary_key=True)
    sighting_id: Mapped[str] = mapped_column(ForeignKey(Sighting.id), index=True)
    captured_at_us: Mapped[int]
    quality: Mapped[float]
    #: In pixels of the full-size frame.
    box_xyxy: Mapped[list[float]]
    #: In pixels of the crop.
    landmarks: Mapped[list[list[float]]]
    #: Empty when the blob store could not take the picture.
    blob: Mapped[str | None] = mapped_column(String(200))

    sighting: Mapped[Sighting] = relationship(back_populates="crops")
