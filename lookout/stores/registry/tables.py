"""The registry's tables. Times are UTC in integer microseconds since 1970; ids are text.

Ids of sightings and crops are derived by ingest, so that writing one twice is seen; the rest are random.
"""

from __future__ import annotations

import uuid
from typing import Any

from sqlalchemy import (
    JSON,
    BigInteger,
    CheckConstraint,
    ForeignKey,
    Index,
    LargeBinary,
    MetaData,
    String,
    UniqueConstraint,
    text,
)
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship

TIERS = ("possible", "likely")


class Base(DeclarativeBase):
    """Base of all tables; constraints have names, so that migrations can change them."""

    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(table_name)s_%(column_0_N_name)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "ck": "ck_%(table_name)s_%(constraint_name)s",
            "fk": "fk_%(table_name)s_%(column_0_name)s_%(referred_table_name)s",
            "pk": "pk_%(table_name)s",
        }
    )
    type_annotation_map = {int: BigInteger, dict[str, Any]: JSON, list[str]: JSON, list[list[float]]: JSON}  # noqa: RUF012


def new_id() -> str:
    """A random id."""
    return uuid.uuid4().hex


class Watchlist(Base):
    """Named set of targets, and the ground on which people may be looked for."""

    __tablename__ = "watchlists"

    id: Mapped[str] = mapped_column(String(32), primary_key=True, default=new_id)
    name: Mapped[str] = mapped_column(String(100), unique=True)
    purpose: Mapped[str] = mapped_column(String(1000))
    legal_basis: Mapped[str] = mapped_column(String(1000))
    #: Cosine from which a match opens an alert of that tier; empty: the model's own.
    possible_threshold: Mapped[float | None]
    likely_threshold: Mapped[float | None]
    #: Camera groups it is looked for on; empty: all.
    camera_groups: Mapped[list[str]] = mapped_column(default=list)
    created_at_us: Mapped[int]

    targets: Mapped[list[Target]] = relationship(back_populates="watchlist")


class Target(Base):
    """A person on a watchlist."""

    __tablename__ = "targets"
    __table_args__ = (UniqueConstraint("watchlist_id", "name"),)

    id: Mapped[str] = mapped_column(String(32), primary_key=True, default=new_id)
    watchlist_id: Mapped[str] = mapped_column(ForeignKey(Watchlist.id))
    name: Mapped[str] = mapped_column(String(200))
    created_at_us: Mapped[int]

    watchlist: Mapped[Watchlist] = relationship(back_populates="targets")
    references: Mapped[list[Reference]] = relationship(back_populates="target")


class Reference(Base):
    """One enrolment photo of a target, with its template."""

    __tablename__ = "references"
    __table_args__ = (UniqueConstraint("target_id", "photo_sha256"),)

    id: Mapped[str] = mapped_column(String(32), primary_key=True, default=new_id)
    target_id: Mapped[str] = mapped_column(ForeignKey(Target.id), index=True)
    photo_blob: Mapped[str] = mapped_column(String(200))
    photo_sha256: Mapped[str] = mapped_column(String(64))
    box_xyxy: Mapped[list[float]] = mapped_column(JSON)
    landmarks: Mapped[list[list[float]]]
    quality: Mapped[float]
    model: Mapped[str] = mapped_column(String(100))
    template: Mapped[bytes] = mapped_column(LargeBinary)
    #: Whether Milvus has it; `lookout.stores.index` brings the two together.
    indexed: Mapped[bool] = mapped_column(default=False, index=True)
    created_at_us: Mapped[int]

    target: Mapped[Target] = relationship(back_populates="references")


class IndexRemoval(Base):
    """A reference that SQL has no more and Milvus may still have."""

    __tablename__ = "index_removals"

    reference_id: Mapped[str] = mapped_column(String(32), primary_key=True)


class Sighting(Base):
    """One track as stored."""

    __tablename__ = "sightings"

    id: Mapped[str] = mapped_column(String(32), primary_key=True)
    camera_id: Mapped[str] = mapped_column(String(100))
    camera_group: Mapped[str] = mapped_column(String(100))
    started_at_us: Mapped[int] = mapped_column(index=True)
    ended_at_us: Mapped[int]
    model: Mapped[str] = mapped_column(String(100))
    #: Sum of its crops' embeddings, each weighted by its quality; brought to length 1 it is the template.
    template_sum: Mapped[bytes] = mapped_column(LargeBinary)
    best_quality: Mapped[float]
    created_at_us: Mapped[int]

    crops: Mapped[list[StoredCrop]] = relationship(back_populates="sighting", order_by="StoredCrop.captured_at_us")


class StoredCrop(Base):
    """A crop that became part of a sighting. Its row is what makes processing a crop twice harmless."""

    __tablename__ = "crops"

    id: Mapped[str] = mapped_column(String(32), primary_key=True)
    sighting_id: Mapped[str] = mapped_column(ForeignKey(Sighting.id), index=True)
    captured_at_us: Mapped[int]
    quality: Mapped[float]
    box_xyxy: Mapped[list[float]] = mapped_column(JSON)
    landmarks: Mapped[list[list[float]]]
    #: Empty when the blob store could not take the picture.
    blob: Mapped[str | None] = mapped_column(String(200))

    sighting: Mapped[Sighting] = relationship(back_populates="crops")


class Alert(Base):
    """One target on one camera group as one episode."""

    __tablename__ = "alerts"
    __table_args__ = (
        Index(
            "uq_alerts_open_episode",
            "target_id",
            "camera_group",
            unique=True,
            sqlite_where=text("closed_at_us IS NULL"),
            postgresql_where=text("closed_at_us IS NULL"),
        ),
        Index("ix_alerts_episode", "target_id", "camera_group", "last_seen_at_us"),
        CheckConstraint("tier IN ('possible', 'likely')", name="tier"),
        CheckConstraint("verdict IN ('unverified', 'confirmed', 'rejected')", name="verdict"),
    )

    id: Mapped[str] = mapped_column(String(32), primary_key=True)
    target_id: Mapped[str] = mapped_column(ForeignKey(Target.id))
    camera_group: Mapped[str] = mapped_column(String(100))
    #: Where the episode was first seen.
    camera_id: Mapped[str] = mapped_column(String(100))
    tier: Mapped[str] = mapped_column(String(20))
    score: Mapped[float]
    #: The tier's threshold at that time.
    threshold: Mapped[float]
    reference_id: Mapped[str | None] = mapped_column(ForeignKey(Reference.id))
    crop_id: Mapped[str] = mapped_column(ForeignKey(StoredCrop.id))
    first_captured_at_us: Mapped[int]
    last_seen_at_us: Mapped[int]
    #: Capture to stored, of the first crop.
    latency_us: Mapped[int]
    stored_at_us: Mapped[int] = mapped_column(index=True)
    closed_at_us: Mapped[int | None] = mapped_column(index=True)
    #: Better matches since it opened.
    updates: Mapped[int] = mapped_column(default=0)
    verdict: Mapped[str] = mapped_column(String(20), default="unverified")

    target: Mapped[Target] = relationship()
    crop: Mapped[StoredCrop] = relationship()


class AlertSighting(Base):
    """A sighting that is part of an alert, with its best score."""

    __tablename__ = "alert_sightings"

    alert_id: Mapped[str] = mapped_column(ForeignKey(Alert.id), primary_key=True)
    sighting_id: Mapped[str] = mapped_column(ForeignKey(Sighting.id), primary_key=True, index=True)
    score: Mapped[float]


class Webhook(Base):
    """Where a watchlist's alerts are sent."""

    __tablename__ = "webhooks"
    __table_args__ = (UniqueConstraint("watchlist_id", "url"),)

    id: Mapped[str] = mapped_column(String(32), primary_key=True, default=new_id)
    watchlist_id: Mapped[str] = mapped_column(ForeignKey(Watchlist.id))
    url: Mapped[str] = mapped_column(String(2000))
    #: Signs each delivery; base64 of random bytes.
    secret: Mapped[str] = mapped_column(String(100))
    created_at_us: Mapped[int]


class Delivery(Base):
    """Outbox: one event of one alert to one webhook. Its id is the receiver's idempotency key."""

    __tablename__ = "deliveries"
    __table_args__ = (
        Index("ix_deliveries_due", "state", "next_attempt_at_us"),
        CheckConstraint("state IN ('pending', 'delivered', 'dead')", name="state"),
    )

    id: Mapped[str] = mapped_column(String(32), primary_key=True)
    webhook_id: Mapped[str] = mapped_column(ForeignKey(Webhook.id))
    alert_id: Mapped[str] = mapped_column(ForeignKey(Alert.id), index=True)
    payload: Mapped[dict[str, Any]]
    state: Mapped[str] = mapped_column(String(20), default="pending")
    attempts: Mapped[int] = mapped_column(default=0)
    next_attempt_at_us: Mapped[int]
    last_error: Mapped[str | None] = mapped_column(String(500))
    created_at_us: Mapped[int]

    webhook: Mapped[Webhook] = relationship()
