"""The audit log: written once, changed never."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Index, String
from sqlalchemy.orm import Mapped, mapped_column

from lookout.stores.registry.tables.base import Base


class AuditEntry(Base):
    """Who did what, when, from where, and why. Triggers of the database refuse to change or delete one.

    It holds ids, never names of targets, pictures or templates: it outlives their erasure.
    """

    __tablename__ = "audit_entries"
    __table_args__ = (Index("ix_audit_entries_subject", "subject", "subject_id"),)

    #: 1, 2, 3 … without a gap.
    number: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    at_us: Mapped[int] = mapped_column(index=True)
    #: Name of the user, `system` for what Lookout did by itself, `cli:NAME` for commands on the machine.
    actor: Mapped[str] = mapped_column(String(100), index=True)
    #: How: `session`, `token`, `cli`, `system`.
    via: Mapped[str] = mapped_column(String(20))
    address: Mapped[str] = mapped_column(String(100), default="")
    #: What was done, `noun.verb` in the past: `target.viewed`, `alert.confirmed`.
    action: Mapped[str] = mapped_column(String(60), index=True)
    #: To what: kind and id.
    subject: Mapped[str] = mapped_column(String(40))
    subject_id: Mapped[str] = mapped_column(String(64), default="")
    #: The reference database that it concerns, if any.
    watchlist_id: Mapped[str | None] = mapped_column(String(32), index=True)
    detail: Mapped[dict[str, Any]]
    reason: Mapped[str] = mapped_column(String(1000), default="")
    #: SHA-256 of the entry before, and of this one with it; see `lookout.audit`.
    previous_hash: Mapped[str] = mapped_column(String(64))
    hash: Mapped[str] = mapped_column(String(64))
