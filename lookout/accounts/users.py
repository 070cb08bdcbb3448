"""Users: made, changed, disabled; and the one-time link by which they set a password."""

from __future__ import annotations

import re
from collections.abc import Sequence

from sqlalchemy import delete, func, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from lookout import audit
from lookout.accounts.passwords import hash_password
from lookout.accounts.secrets import digest, new_secret
from lookout.audit import Actor
from lookout.clock import now_us
from lookout.errors import BadInputError, ConflictError, NotFoundError
from lookout.settings import Settings
from lookout.stores.registry.tables import (
    ROLES,
    ApiToken,
    OneTimeLink,
    User,
    UserSession,
    Watchlist,
    new_id,
)
from lookout.texts import clean

LINK_HOURS = 24
#: Of watchlists and camera groups that a user has a right to.
MAX_RIGHTS = 1000
NAME = re.compile(r"^[a-z0-9][a-z0-9._@-]{0,59}$")


def create_user(
    session: Session,
    actor: Actor,
    *,
    name: str,
    role: str,
    watchlist_ids: Sequence[str] | None = None,
    camera_groups: Sequence[str] | None = None,
) -> User:
    """Make a user, who sets a password by a one-time link.

    Args:
        session: of `Registry.transaction`.
        actor: who makes it.
        name: small letters, digits and `. _ @ -`.
        role: one of `ROLES`.
        watchlist_ids: those with a right to; None: all.
        camera_groups: those with a right to; None: all.

    Raises:
        BadInputError: the name or the role is none, or there is no such watchlist.
        ConflictError: there is a user of that name.
    """
    if not NAME.fullmatch(name):
        raise BadInputError("name: use 1 to 60 small letters, digits and . _ @ - beginning with a letter or a digit.")
    user = User(id=new_id(), name=name, created_at_us=now_us())
    _give_rights(session, user, role, watchlist_ids, camera_groups)
    try:
        with session.begin_nested():
            session.add(user)
    except IntegrityError as error:
        raise ConflictError(f"there is a user {name} already; choose another name.") from error
    audit.record(session, actor, "user.created", "user", user.id, detail=_rights(user) | {"name": name})
    return user


def find_user(session: Session, name: str) -> User:
    """The user of a name, locked until the transaction ends.

    Raises:
        NotFoundError: there is none.
    """
    user = session.scalar(select(User).where(User.name == name).with_for_update())
    if user is None:
        raise NotFoundError(f"there is no user {name}; `lookout users list` shows all.")
    return user


def get_user(session: Session, user_id: str, *, lock: bool = False) -> User:
    """The user of an id; locked until the transaction ends, if it is to be changed.

    Raises:
        NotFoundError: there is none.
    """
    user = session.get(User, user_id, with_for_update=lock or None)
    if user is None:
        raise NotFoundError(f"there is no user {user_id}.")
    return user


def change_user(
    session: Session,
    actor: Actor,
    user: User,
    *,
    role: str,
    watchlist_ids: Sequence[str] | None,
    camera_groups: Sequence[str] | None,
    disabled: bool,
) -> None:
    """Give a user another role and other rights, or none at all. What runs under the old ones ends at once.

    Raises:
        BadInputError: the role is none, there is no such watchlist, or nobody could administer Lookout any more.
    """
    if user.role == "admin" and (role != "admin" or disabled) and user.disabled_at_us is None:
        others = select(User.id).where(User.role == "admin", User.disabled_at_us.is_(None), User.id != user.id)
        # Locked, so that the last two admins cannot disable one another at the same time.
        if not session.scalars(others.with_for_update()).all():
            raise BadInputError(f"{user.name} is the only admin left: make another one first.")
    _give_rights(session, user, role, watchlist_ids, camera_groups)
    if disabled and user.disabled_at_us is None:
        user.disabled_at_us = now_us()
        for table in (UserSession, OneTimeLink, ApiToken):
            session.execute(delete(table).where(table.user_id == user.id))
    elif not disabled:
        user.disabled_at_us = None
    user.version += 1
    audit.record(session, actor, "user.changed", "user", user.id, detail=_rights(user) | {"disabled": disabled})


def is_locked(user: User) -> bool:
    """Whether wrong passwords keep a user from signing in now."""
    return user.locked_until_us is not None and user.locked_until_us > now_us()


def unlock_user(session: Session, actor: Actor, user: User) -> None:
    """Let a user sign in again, whose account wrong passwords have locked."""
    user.failed_attempts, user.locked_until_us = 0, None
    audit.record(session, actor, "user.unlocked", "user", user.id)


def make_link(session: Session, actor: Actor, user: User) -> str:
    """The secret of a one-time link by which a user sets a new password; earlier links end.

    Raises:
        BadInputError: the user is disabled.
    """
    if user.disabled_at_us is not None:
        raise BadInputError(f"{user.name} is disabled: enable the user first.")
    session.execute(delete(OneTimeLink).where(OneTimeLink.user_id == user.id))
    secret = new_secret("lkl")
    expires_at_us = now_us() + LINK_HOURS * 3_600_000_000
    session.add(OneTimeLink(token_hash=digest(secret), user_id=user.id, expires_at_us=expires_at_us))
    audit.record(session, actor, "link.created", "user", user.id)
    return secret


def link_url(settings: Settings, secret: str) -> str:
    """What a user opens to use a one-time link."""
    return f"{settings.public_url}/welcome/{secret}"


def link_user(session: Session, secret: str) -> User:
    """Whose one-time link it is.

    Raises:
        NotFoundError: it was used, has expired, or never was.
    """
    link = session.get(OneTimeLink, digest(secret), with_for_update=True)
    if link is None or link.expires_at_us <= now_us() or link.user.disabled_at_us is not None:
        raise NotFoundError(
            "this link was used or has expired; ask an admin for a new one (`lookout users link NAME`)."
        )
    return link.user


def use_link(session: Session, secret: str, password: str, *, address: str) -> User:
    """Set a password by a one-time link, which ends, as do all sessions of the user.

    Raises:
        NotFoundError: the link is none.
        BadInputError: the password is too weak; the link can be used again.
    """
    user = link_user(session, secret)
    user.password_hash = hash_password(password, user=user.name)
    user.failed_attempts, user.locked_until_us = 0, None
    for table in (OneTimeLink, UserSession):
        session.execute(delete(table).where(table.user_id == user.id))
    audit.record(session, Actor(user.name, "session", address), "password.set", "user", user.id)
    return user


def first_admin(session: Session) -> str | None:
    """Where there is no user yet, make `admin`; returns the secret of the one-time link, to be shown once."""
    if session.scalar(select(func.count()).select_from(User)):
        return None
    try:
        admin = create_user(session, audit.SYSTEM, name="admin", role="admin")
    except ConflictError:  # another process was faster
        return None
    return make_link(session, audit.SYSTEM, admin)


def _give_rights(
    session: Session,
    user: User,
    role: str,
    watchlist_ids: Sequence[str] | None,
    camera_groups: Sequence[str] | None,
) -> None:
    if role not in ROLES:
        raise BadInputError(f"role: there is no role {role}; choose {', '.join(ROLES)}.")
    lists = None if watchlist_ids is None else sorted(set(watchlist_ids))
    groups = None
    if camera_groups is not None:
        groups = sorted({clean("camera_groups", one, 60, required=True) for one in camera_groups})
    if max(len(lists or ()), len(groups or ())) > MAX_RIGHTS:
        raise BadInputError(f"rights: name at most {MAX_RIGHTS} watchlists and camera groups, or give a right to all.")
    if lists:
        there = set(session.scalars(select(Watchlist.id).where(Watchlist.id.in_(lists))))
        if unknown := [one for one in lists if one not in there]:
            raise BadInputError(f"watchlists: there is no watchlist {unknown[0]}.")
    user.role, user.watchlist_ids, user.camera_groups = role, lists, groups


def _rights(user: User) -> dict[str, object]:
    return {"role": user.role, "watchlists": user.watchlist_ids, "camera_groups": user.camera_groups}
