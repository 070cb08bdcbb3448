"""Alerts, what people said of them, and who is told."""

from __future__ import annotations

from typing import Any

from sqlalchemy import CheckConstraint, ForeignKey, Index, LargeBinary, String, UniqueConstraint, text
from sqlalchemy.orm import Mapped, mapped_column, relationship

from lookout.stores.registry.tables.accounts import User
from lookout.stores.registry.tables.base import Base, Counter, new_id
from lookout.stores.registry.tables.sightings import Sighting, StoredCrop
from lookout.stores.registry.tables.watchlists import Reference, Target, Watchlist

VERDICTS = ("unverified", "confirmed", "rejected")


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
        Index("ix_alerts_page", "stored_at_us", "id"),
        Index("ix_alerts_verdict", "verdict", "stored_at_us"),
        # Without it, deleting a crop would look through all alerts for one that shows it.
        Index("ix_alerts_crop_id", "crop_id"),
        Index(
            "ix_alerts_held",
            "held_at_us",
            sqlite_where=text("held_at_us IS NOT NULL"),
            postgresql_where=text("held_at_us IS NOT NULL"),
        ),
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
    #: The photo most alike to the crop; empty when the target was erased, as is the crop.
    reference_id: Mapped[str | None] = mapped_column(ForeignKey(Reference.id, ondelete="SET NULL"))
    crop_id: Mapped[str | None] = mapped_column(ForeignKey(StoredCrop.id))
    #: The whole frame of the crop, reduced; empty when it is gone.
    frame_blob: Mapped[str | None] = mapped_column(String(200))
    #: The face in that frame, as shares of its width and height.
    frame_box: Mapped[list[float] | None]
    #: Who else resembled the face: `{"target": id, "score": cosine}`, best first.
    candidates: Mapped[list[dict[str, Any]]] = mapped_column(default=list)
    first_captured_at_us: Mapped[int]
    last_seen_at_us: Mapped[int]
    #: Capture to stored, of the first crop.
    latency_us: Mapped[int]
    stored_at_us: Mapped[int]
    closed_at_us: Mapped[int | None] = mapped_column(index=True)
    #: Whether it was found in a video that was handed in later, not live.
    retrospective: Mapped[bool] = mapped_column(default=False)
    #: Since when, and by whom, it is held: what belongs to it, footage among it, does not expire.
    held_at_us: Mapped[int | None]
    held_by: Mapped[str | None] = mapped_column(String(100))
    #: Better matches since it opened.
    updates: Mapped[int] = mapped_column(default=0)
    verdict: Mapped[str] = mapped_column(String(20), default="unverified")
    judged_at_us: Mapped[int | None]

    target: Mapped[Target] = relationship()
    crop: Mapped[StoredCrop | None] = relationship()


class AlertSighting(Base):
    """A sighting that is part of an alert, with its best score."""

    __tablename__ = "alert_sightings"

    alert_id: Mapped[str] = mapped_column(ForeignKey(Alert.id), primary_key=True)
    sighting_id: Mapped[str] = mapped_column(ForeignKey(Sighting.id), primary_key=True, index=True)
    score: Mapped[float]


class AlertEvent(Base):
    """Something happened to an alert. Its id tells a page that was away what it missed.

    Kinds: `opened`, `updated`, `closed`, `judged`, `erased`.
    """

    __tablename__ = "alert_events"
    #: A number is never used again, also after all rows are gone.
    __table_args__ = {"sqlite_autoincrement": True}  # noqa: RUF012

    id: Mapped[int] = mapped_column(Counter, primary_key=True, autoincrement=True)
    alert_id: Mapped[str] = mapped_column(ForeignKey(Alert.id), index=True)
    kind: Mapped[str] = mapped_column(String(20))
    at_us: Mapped[int]


class Verdict(Base):
    """What one person said of an alert."""

    __tablename__ = "verdicts"
    __table_args__ = (CheckConstraint("verdict IN ('confirmed', 'rejected')", name="verdict"),)

    id: Mapped[str] = mapped_column(String(32), primary_key=True, default=new_id)
    alert_id: Mapped[str] = mapped_column(ForeignKey(Alert.id), index=True)
    user_id: Mapped[str] = mapped_column(ForeignKey(User.id))
    verdict: Mapped[str] = mapped_column(String(20))
    reason: Mapped[str] = mapped_column(String(1000), default="")
    at_us: Mapped[int]

    user: Mapped[User] = relationship()


class RejectedPair(Base):
    """A sighting of which people said that it is not the target: never matched again, and read by evaluation."""

    __tablename__ = "rejected_pairs"

    target_id: Mapped[str] = mapped_column(ForeignKey(Target.id), primary_key=True)
    sighting_id: Mapped[str] = mapped_column(String(32), primary_key=True)
    score: Mapped[float]
    at_us: Mapped[int]


class Webhook(Base):
    """Where a watchlist's alerts are sent."""

    __tablename__ = "webhooks"
    __table_args__ = (UniqueConstraint("watchlist_id", "url"),)

    id: Mapped[str] = mapped_column(String(32), primary_key=True, default=new_id)
    watchlist_id: Mapped[str] = mapped_column(ForeignKey(Watchlist.id))
    url: Mapped[str] = mapped_column(String(2000))
    #: Signs each delivery; sealed.
    secret: Mapped[bytes] = mapped_column(LargeBinary)
    enabled: Mapped[bool] = mapped_column(default=True)
    created_at_us: Mapped[int]

    watchlist: Mapped[Watchlist] = relationship()


class Delivery(Base):
    """Outbox: one event of one alert to one webhook. Its id is the receiver's idempotency key."""

    __tablename__ = "deliveries"
    __table_args__ = (
        Index("ix_deliveries_due", "state", "next_attempt_at_us"),
        Index("ix_deliveries_log", "webhook_id", "created_at_us"),
        CheckConstraint("state IN ('pending', 'delivered', 'dead')", name="state"),
    )

    id: Mapped[str] = mapped_column(String(32), primary_key=True)
    webhook_id: Mapped[str] = mapped_column(ForeignKey(Webhook.id))
    #: Empty for a test that somebody asked for.
    alert_id: Mapped[str | None] = mapped_column(ForeignKey(Alert.id), index=True)
    payload: Mapped[dict[str, Any]]
    state: Mapped[str] = mapped_column(String(20), default="pending")
    attempts: Mapped[int] = mapped_column(default=0)
    next_attempt_at_us: Mapped[int]
    last_attempt_at_us: Mapped[int | None]
    last_error: Mapped[str | None] = mapped_column(String(500))
    created_at_us: Mapped[int]

    webhook: Mapped[Webhook] = relationship()
