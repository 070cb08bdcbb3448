"""Who may do what: users, how they sign in, and what was promised to repeated requests."""

from __future__ import annotations

from typing import Any

from sqlalchemy import CheckConstraint, ForeignKey, String
from sqlalchemy.orm import Mapped, mapped_column, relationship

from lookout.stores.registry.tables.base import Base, new_id

ROLES = ("operator", "analyst", "auditor", "admin")


class User(Base):
    """A person with an account. It is disabled, not deleted: the audit names it."""

    __tablename__ = "users"
    __table_args__ = (CheckConstraint("role IN ('operator', 'analyst', 'auditor', 'admin')", name="role"),)

    id: Mapped[str] = mapped_column(String(32), primary_key=True, default=new_id)
    name: Mapped[str] = mapped_column(String(60), unique=True)
    role: Mapped[str] = mapped_column(String(20))
    #: Argon2id with its parameters and salt; empty until the one-time link was used.
    password_hash: Mapped[str | None] = mapped_column(String(200))
    #: Watchlists and camera groups that the user has a right to; empty: all.
    watchlist_ids: Mapped[list[str] | None]
    camera_groups: Mapped[list[str] | None]
    #: Wrong passwords since the last right one.
    failed_attempts: Mapped[int] = mapped_column(default=0)
    locked_until_us: Mapped[int | None]
    disabled_at_us: Mapped[int | None]
    #: Counts its changes.
    version: Mapped[int] = mapped_column(default=1)
    created_at_us: Mapped[int]


class UserSession(Base):
    """A browser that is signed in. Only the hash of what its cookie holds is known."""

    __tablename__ = "sessions"

    token_hash: Mapped[str] = mapped_column(String(64), primary_key=True)
    user_id: Mapped[str] = mapped_column(ForeignKey(User.id), index=True)
    created_at_us: Mapped[int]
    last_used_at_us: Mapped[int]
    expires_at_us: Mapped[int] = mapped_column(index=True)
    address: Mapped[str] = mapped_column(String(100))

    user: Mapped[User] = relationship()


class ApiToken(Base):
    """A personal token for programs; only its hash is known."""

    __tablename__ = "api_tokens"

    id: Mapped[str] = mapped_column(String(32), primary_key=True, default=new_id)
    token_hash: Mapped[str] = mapped_column(String(64), unique=True)
    user_id: Mapped[str] = mapped_column(ForeignKey(User.id), index=True)
    name: Mapped[str] = mapped_column(String(100))
    #: What it may be used for, at most what its user may.
    scopes: Mapped[list[str]] = mapped_column(default=list)
    created_at_us: Mapped[int]
    expires_at_us: Mapped[int | None]
    last_used_at_us: Mapped[int | None]

    user: Mapped[User] = relationship()


class OneTimeLink(Base):
    """Lets a user set a password, once. Only the hash of what the link holds is known."""

    __tablename__ = "one_time_links"

    token_hash: Mapped[str] = mapped_column(String(64), primary_key=True)
    user_id: Mapped[str] = mapped_column(ForeignKey(User.id), index=True)
    expires_at_us: Mapped[int]

    user: Mapped[User] = relationship()


class IdempotencyKey(Base):
    """What a request that made something was answered, for when it comes again."""

    __tablename__ = "idempotency_keys"

    user_id: Mapped[str] = mapped_column(ForeignKey(User.id), primary_key=True)
    key: Mapped[str] = mapped_column(String(200), primary_key=True)
    #: SHA-256 of method, path and body.
    fingerprint: Mapped[str] = mapped_column(String(64))
    status: Mapped[int]
    answer: Mapped[dict[str, Any]]
    created_at_us: Mapped[int] = mapped_column(index=True)
