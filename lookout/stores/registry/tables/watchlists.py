"""Watchlists, the people on them, and how they came there."""

from __future__ import annotations

from datetime import date
from typing import Any

from sqlalchemy import CheckConstraint, ForeignKey, Index, LargeBinary, String, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column, relationship

from lookout.stores.registry.tables.base import Base, new_id

TIERS = ("possible", "likely")


class Watchlist(Base):
    """Named set of targets, and the ground on which people may be looked for."""

    __tablename__ = "watchlists"

    id: Mapped[str] = mapped_column(String(32), primary_key=True, default=new_id)
    name: Mapped[str] = mapped_column(String(100), unique=True)
    purpose: Mapped[str] = mapped_column(String(1000))
    legal_basis: Mapped[str] = mapped_column(String(1000))
    authorised_by: Mapped[str] = mapped_column(String(200), default="")
    #: When somebody must look whether it is still needed.
    review_on: Mapped[date | None]
    #: At most one false alert of that tier, or a higher one, when so many strangers pass: 1/FPIR.
    possible_strangers: Mapped[int] = mapped_column(default=500)
    likely_strangers: Mapped[int] = mapped_column(default=10_000)
    #: What a face must have to be matched; what is below is kept as a sighting and never alerts.
    min_face_px: Mapped[int] = mapped_column(default=40)
    min_quality: Mapped[float] = mapped_column(default=0.5)
    #: Camera groups it is looked for on; empty: all.
    camera_groups: Mapped[list[str]] = mapped_column(default=list)
    #: When it is looked for, see `lookout.watchlists.schedule`; empty: always.
    schedule: Mapped[dict[str, Any] | None]
    #: Tiers whose alerts two persons must judge alike.
    two_person_tiers: Mapped[list[str]] = mapped_column(default=list)
    #: Whether whoever looks at a target or judges an alert must say why.
    reason_required: Mapped[bool] = mapped_column(default=False)
    #: An alert that nobody judged after this time is shown as overdue.
    acknowledge_within_s: Mapped[int | None]
    #: How long its alerts and their pictures are kept.
    retention_days: Mapped[int] = mapped_column(default=30)
    #: Since when it is out of use: kept to be looked up, matched no more.
    archived_at_us: Mapped[int | None]
    #: Counts its changes.
    version: Mapped[int] = mapped_column(default=1)
    created_at_us: Mapped[int]

    targets: Mapped[list[Target]] = relationship(back_populates="watchlist")


class Target(Base):
    """A person on a watchlist. Erased, an empty row remains, to which the alerts' records still point."""

    __tablename__ = "targets"
    __table_args__ = (UniqueConstraint("watchlist_id", "name"), Index("ix_targets_page", "created_at_us", "id"))

    id: Mapped[str] = mapped_column(String(32), primary_key=True, default=new_id)
    watchlist_id: Mapped[str] = mapped_column(ForeignKey(Watchlist.id))
    name: Mapped[str] = mapped_column(String(200))
    reference_number: Mapped[str] = mapped_column(String(100), default="")
    note: Mapped[str] = mapped_column(String(2000), default="")
    #: Matched only within this time; empty: without a limit.
    valid_from_us: Mapped[int | None]
    valid_until_us: Mapped[int | None]
    #: Raises no alerts until then.
    snoozed_until_us: Mapped[int | None]
    #: Combined from those of its references that agree, sealed; empty while it has none.
    template: Mapped[bytes | None] = mapped_column(LargeBinary)
    #: Which model made the template.
    model: Mapped[str | None] = mapped_column(String(100))
    #: Whether Milvus has the template; `lookout.stores.index` brings the two together.
    indexed: Mapped[bool] = mapped_column(default=False, index=True)
    erased_at_us: Mapped[int | None]
    #: Counts its changes.
    version: Mapped[int] = mapped_column(default=1)
    created_at_us: Mapped[int]

    watchlist: Mapped[Watchlist] = relationship(back_populates="targets")
    references: Mapped[list[Reference]] = relationship(back_populates="target", order_by="Reference.created_at_us")


class Reference(Base):
    """One enrolment photo of a target, with its template."""

    __tablename__ = "references"
    __table_args__ = (UniqueConstraint("target_id", "photo_sha256"),)

    id: Mapped[str] = mapped_column(String(32), primary_key=True, default=new_id)
    target_id: Mapped[str] = mapped_column(ForeignKey(Target.id), index=True)
    #: The photo as it came.
    photo_blob: Mapped[str] = mapped_column(String(200))
    photo_sha256: Mapped[str] = mapped_column(String(64))
    #: A JPEG of the face, for pages.
    face_blob: Mapped[str] = mapped_column(String(200))
    #: In pixels of the upright photo, as are the landmarks.
    box_xyxy: Mapped[list[float]]
    landmarks: Mapped[list[list[float]]]
    quality: Mapped[float]
    model: Mapped[str] = mapped_column(String(100))
    #: Sealed.
    template: Mapped[bytes] = mapped_column(LargeBinary)
    #: Whether it agrees with the others, or a person said that it shows the target all the same. Otherwise it is no
    #: part of the target's template.
    in_template: Mapped[bool] = mapped_column(default=True)
    confirmed: Mapped[bool] = mapped_column(default=False)
    created_at_us: Mapped[int]

    target: Mapped[Target] = relationship(back_populates="references")


class IndexRemoval(Base):
    """A target whose template SQL has no more and Milvus may still have."""

    __tablename__ = "index_removals"

    target_id: Mapped[str] = mapped_column(String(32), primary_key=True)


class Import(Base):
    """A bulk import of photos into a watchlist; it goes on where it was cut off."""

    __tablename__ = "imports"
    __table_args__ = (CheckConstraint("state IN ('running', 'done', 'failed', 'cancelled')", name="state"),)

    id: Mapped[str] = mapped_column(String(32), primary_key=True, default=new_id)
    watchlist_id: Mapped[str] = mapped_column(ForeignKey(Watchlist.id))
    #: What the user calls it: a folder, a CSV or a ZIP.
    source: Mapped[str] = mapped_column(String(500))
    #: The uploaded archive, while it is needed; empty for a folder.
    blob: Mapped[str | None] = mapped_column(String(200))
    state: Mapped[str] = mapped_column(String(20), default="running")
    error: Mapped[str | None] = mapped_column(String(1000))
    created_by: Mapped[str] = mapped_column(String(100))
    created_at_us: Mapped[int]
    finished_at_us: Mapped[int | None]


class ImportItem(Base):
    """What became of one photo of an import."""

    __tablename__ = "import_items"
    __table_args__ = (CheckConstraint("state IN ('waiting', 'accepted', 'refused', 'known')", name="state"),)

    import_id: Mapped[str] = mapped_column(ForeignKey(Import.id), primary_key=True)
    position: Mapped[int] = mapped_column(primary_key=True)
    person: Mapped[str] = mapped_column(String(200))
    file: Mapped[str] = mapped_column(String(1000))
    state: Mapped[str] = mapped_column(String(20), default="waiting")
    reasons: Mapped[list[str]] = mapped_column(default=list)
    message: Mapped[str] = mapped_column(String(1000), default="")
    target_id: Mapped[str | None] = mapped_column(String(32))
