"""Signing in and out, and who a session or a token belongs to."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import delete, func, select, update
from sqlalchemy.orm import Session

from lookout import audit
from lookout.accounts.passwords import hash_password, is_right
from lookout.accounts.rights import ROLE_SCOPES, SCOPES, Identity, identity
from lookout.accounts.secrets import digest, new_secret
from lookout.audit import Actor
from lookout.clock import now_us
from lookout.errors import BadInputError, NotFoundError, RefusedError
from lookout.stores.registry import Registry
from lookout.stores.registry.tables import ApiToken, User, UserSession, new_id
from lookout.texts import clean

#: A session ends after this time, and earlier when nothing was asked for so long.
SESSION_S = 12 * 3600
IDLE_S = 2 * 3600
#: How exactly the last use is known: writing it at every request would cost more than it tells.
USE_RESOLUTION_S = 60
#: From this many wrong passwords on the account is locked: a minute, then twice as long each time.
ATTEMPTS = 5
FIRST_LOCK_S = 60
MAX_LOCK_S = 3600
#: Of one user, and how long they hold at most.
MAX_TOKENS = 100
MAX_TOKEN_DAYS = 3650

_REFUSED = "user or password is wrong, or the account is locked for a while after wrong passwords."


def sign_in(registry: Registry, name: str, password: str, *, address: str) -> str:
    """Check a password and begin a session; returns the secret for the browser's cookie.

    Raises:
        RefusedError: user or password is wrong, or the account is locked. Which one is not told.
    """
    with registry.reading() as session:
        found = session.execute(select(User.id, User.password_hash).where(User.name == name)).first()
    # Outside of the transaction, as it takes a tenth of a second on purpose.
    right = is_right(password, found.password_hash if found is not None else None)
    with registry.transaction() as session:
        user = None if found is None else session.get(User, found.id, with_for_update=True)
        now = now_us()
        usable = user is not None and user.disabled_at_us is None and (user.locked_until_us or 0) <= now
        if user is not None and usable and right:
            user.failed_attempts, user.locked_until_us = 0, None
            secret = _begin(session, user, address)
            audit.record(session, Actor(user.name, "session", address), "session.begun", "user", user.id)
            return secret
        if user is not None and usable:
            _count_wrong(user, now)
        # What was typed as a name may be a password: only names of users are written down.
        subject = user.id if user is not None else ""
        actor = Actor("unknown" if user is None else user.name, "session", address)
        audit.record(session, actor, "session.refused", "user", subject, detail={"locked": not usable})
    raise RefusedError(_REFUSED)


def change_password(registry: Registry, secret: str, old: str, new: str, *, address: str) -> None:
    """Give the user of a session another password; all other sessions of the user end.

    Args:
        registry: the registry.
        secret: of the session.
        old: the password so far; wrong ones count as at signing in.
        new: the new one.
        address: where the request came from.

    Raises:
        BadInputError: the new password is too weak.
        RefusedError: the old one is wrong, the account is locked, or the session has ended.
    """
    with registry.reading() as session:
        found = session.get(UserSession, digest(secret))
        if found is None:
            raise RefusedError("sign in again: this session has ended.")
        user_id, name, stored = found.user_id, found.user.name, found.user.password_hash
    hashed = hash_password(new, user=name)
    right = is_right(old, stored)
    with registry.transaction() as session:
        user = session.get_one(User, user_id, with_for_update=True)
        actor, now = Actor(name, "session", address), now_us()
        usable = user.disabled_at_us is None and (user.locked_until_us or 0) <= now
        if usable and right and user.password_hash == stored:
            user.password_hash, user.failed_attempts = hashed, 0
            end_other_sessions(session, user_id, secret)
            audit.record(session, actor, "password.changed", "user", user_id)
            return
        if usable:
            _count_wrong(user, now)
        audit.record(session, actor, "password.refused", "user", user_id, detail={"locked": not usable})
    raise RefusedError("the old password is wrong, or the account is locked for a while after wrong passwords.")


def begin_session(registry: Registry, user: User, *, address: str) -> str:
    """Begin a session for a user who has just set a password by a one-time link."""
    with registry.transaction() as session:
        secret = _begin(session, user, address)
        audit.record(session, Actor(user.name, "session", address), "session.begun", "user", user.id)
        return secret


def sign_out(registry: Registry, secret: str) -> None:
    """End a session; one that is not there does no harm."""
    with registry.transaction() as session:
        found = session.get(UserSession, digest(secret))
        if found is not None:
            actor = Actor(found.user.name, "session", found.address)
            audit.record(session, actor, "session.ended", "user", found.user_id)
            session.delete(found)


def of_session(registry: Registry, secret: str, *, address: str) -> Identity | None:
    """Who is signed in with a cookie's secret; None if the session has ended."""
    now = now_us()
    with registry.reading() as session:
        found = session.get(UserSession, digest(secret))
        if found is None or found.user.disabled_at_us is not None:
            return None
        if found.expires_at_us <= now or found.last_used_at_us + IDLE_S * 1_000_000 <= now:
            return None
        who = identity(found.user, via="session", address=address)
        key, last_used_at_us = found.token_hash, found.last_used_at_us
    if now - last_used_at_us >= USE_RESOLUTION_S * 1_000_000:
        with registry.transaction() as session:
            session.execute(update(UserSession).where(UserSession.token_hash == key).values(last_used_at_us=now))
    return who


def of_token(registry: Registry, secret: str, *, address: str) -> Identity | None:
    """Who a program's token belongs to, with what its scopes leave; None if it is unknown or has expired."""
    now = now_us()
    with registry.reading() as session:
        found = session.scalar(select(ApiToken).where(ApiToken.token_hash == digest(secret)))
        if found is None or found.user.disabled_at_us is not None:
            return None
        if found.expires_at_us is not None and found.expires_at_us <= now:
            return None
        who = identity(found.user, via="token", address=address, scopes=frozenset(found.scopes))
        token_id, last_used_at_us = found.id, found.last_used_at_us or 0
    if now - last_used_at_us >= USE_RESOLUTION_S * 1_000_000:
        with registry.transaction() as session:
            session.execute(update(ApiToken).where(ApiToken.id == token_id).values(last_used_at_us=now))
    return who


def create_token(
    session: Session,
    actor: Actor,
    user: User,
    *,
    name: str,
    scopes: Sequence[str],
    days: int | None,
    at_most: frozenset[str] | None = None,
) -> tuple[ApiToken, str]:
    """Make a personal token; returns it and its secret, which is shown once.

    Args:
        session: of `Registry.transaction`.
        actor: who makes it.
        user: whose it is.
        name: what it is for.
        scopes: what it may be used for.
        days: when it expires; None: never.
        at_most: what scopes there are to give, where that is less than the user may: those of the token that asks.

    Raises:
        BadInputError: a scope is none, or more than there is to give; name or days do not hold; the user is disabled
            or has too many.
    """
    name = clean("name", name, 100, required=True)
    if days is not None and not 1 <= days <= MAX_TOKEN_DAYS:
        raise BadInputError(f"days: choose 1 to {MAX_TOKEN_DAYS}, or none for a token that does not expire.")
    if user.disabled_at_us is not None:
        raise BadInputError(f"{user.name} is disabled: enable the user first.")
    if unknown := [scope for scope in scopes if scope not in SCOPES]:
        raise BadInputError(f"scopes: there is no {unknown[0]}; there are {', '.join(SCOPES)}.")
    if more := [scope for scope in scopes if scope not in ROLE_SCOPES[user.role]]:
        raise BadInputError(f"scopes: {user.name} is {user.role} and may not {more[0]}.")
    if at_most is not None and (more := [scope for scope in scopes if scope not in at_most]):
        raise BadInputError(f"scopes: who asks may not {more[0]}, so the token may not either.")
    if not scopes:
        raise BadInputError("scopes: choose at least one.")
    if (session.scalar(select(func.count()).where(ApiToken.user_id == user.id)) or 0) >= MAX_TOKENS:
        raise BadInputError(f"{user.name} has {MAX_TOKENS} tokens already: revoke one first.")
    now = now_us()
    secret = new_secret("lkt")
    token = ApiToken(
        id=new_id(),
        token_hash=digest(secret),
        user_id=user.id,
        name=name,
        scopes=list(dict.fromkeys(scopes)),
        created_at_us=now,
        expires_at_us=None if days is None else now + days * 86_400_000_000,
    )
    session.add(token)
    session.flush()
    audit.record(session, actor, "token.created", "token", token.id, detail={"user": user.id, "scopes": token.scopes})
    return token, secret


def revoke_token(session: Session, actor: Actor, user_id: str, token_id: str) -> None:
    """End a token of a user.

    Raises:
        NotFoundError: the user has none of that id.
    """
    token = session.get(ApiToken, token_id)
    if token is None or token.user_id != user_id:
        raise NotFoundError(f"there is no token {token_id}.")
    session.delete(token)
    audit.record(session, actor, "token.revoked", "token", token_id, detail={"user": user_id})


def tokens_of(session: Session, user_id: str) -> list[ApiToken]:
    """The tokens of a user, newest first."""
    query = select(ApiToken).where(ApiToken.user_id == user_id)
    return list(session.scalars(query.order_by(ApiToken.created_at_us.desc(), ApiToken.id.desc())))


def sessions_of(session: Session, user_id: str) -> list[UserSession]:
    """The sessions of a user that have not ended, the one used last first."""
    now = now_us()
    query = select(UserSession).where(
        UserSession.user_id == user_id,
        UserSession.expires_at_us > now,
        UserSession.last_used_at_us > now - IDLE_S * 1_000_000,
    )
    return list(session.scalars(query.order_by(UserSession.last_used_at_us.desc(), UserSession.token_hash)))


def end_other_sessions(session: Session, user_id: str, secret: str) -> int:
    """End all sessions of a user but the one of a secret; returns how many. The caller writes the audit entry."""
    others = delete(UserSession).where(UserSession.user_id == user_id, UserSession.token_hash != digest(secret))
    return len(session.execute(others.returning(UserSession.token_hash)).all())


def forget_ended(session: Session) -> None:
    """Remove sessions that have ended."""
    now = now_us()
    idle = UserSession.last_used_at_us < now - IDLE_S * 1_000_000
    session.execute(delete(UserSession).where((UserSession.expires_at_us <= now) | idle))


def _count_wrong(user: User, now: int) -> None:
    user.failed_attempts += 1
    over = user.failed_attempts - ATTEMPTS
    if over >= 0:
        user.locked_until_us = now + min(MAX_LOCK_S, FIRST_LOCK_S * 2 ** min(over, 10)) * 1_000_000


def _begin(session: Session, user: User, address: str) -> str:
    forget_ended(session)
    secret, now = new_secret("lks"), now_us()
    session.add(
        UserSession(
            token_hash=digest(secret),
            user_id=user.id,
            created_at_us=now,
            last_used_at_us=now,
            expires_at_us=now + SESSION_S * 1_000_000,
            address=address,
        )
    )
    return secret
