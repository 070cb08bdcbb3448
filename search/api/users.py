"""Users: their roles and rights, and the one-time links by which they set a password."""

from __future__ import annotations

from http import HTTPStatus
from typing import Annotated, Any, Literal

from fastapi import Depends, Path, Request, Response
from pydantic import BaseModel, ConfigDict, Field
from sqlalchemy import select
from sqlalchemy.orm import Session

from lookout.accounts import users
from lookout.accounts.rights import Identity
from lookout.clock import isoformat
from lookout.stores.registry.tables import User
from search.api import api_router, paging
from search.api.once import Key, fingerprint, once
from search.api.versions import IfMatch, check_version, set_etag
from search.parts import Parts, parts_of
from search.security import Allowed

router = api_router(tag="users")
WithParts = Annotated[Parts, Depends(parts_of)]
MAY_CHANGE = Allowed("users:write")
Who = Annotated[Identity, Depends(MAY_CHANGE)]
Id = Annotated[str, Path(max_length=64, pattern=r"^[\w-]+$")]
Role = Literal["operator", "analyst", "auditor", "admin"]
WatchlistIds = Annotated[
    list[Annotated[str, Field(max_length=32, pattern=r"^[\w-]+$")]] | None,
    Field(max_length=users.MAX_RIGHTS, description="ids of the watchlists with a right to; null: all"),
]
Groups = Annotated[
    list[Annotated[str, Field(min_length=1, max_length=60, pattern=r"^[^\x00]*$")]] | None,
    Field(max_length=users.MAX_RIGHTS, description="camera groups with a right to; null: all"),
]
NOT_FOUND: dict[int | str, dict[str, Any]] = {404: {"description": "There is no such user."}}
CONFLICT: dict[int | str, dict[str, Any]] = {409: {"description": "There is a user of that name."}}
STALE: dict[int | str, dict[str, Any]] = {412: {"description": "Somebody else changed the user meanwhile."}}


class UserIn(BaseModel):
    """A user to be made."""

    model_config = ConfigDict(extra="forbid")

    name: str = Field(pattern=users.NAME.pattern, max_length=60, examples=["anna"])
    role: Role
    watchlists: WatchlistIds = None
    camera_groups: Groups = None


class UserChange(BaseModel):
    """All that can be changed of a user; what runs under the old rights ends at once."""

    model_config = ConfigDict(extra="forbid")

    role: Role
    watchlists: WatchlistIds
    camera_groups: Groups
    disabled: bool = Field(description="whether the user may not sign in; sessions and tokens end")


class UserOut(BaseModel):
    """A user."""

    id: str
    name: str
    role: Role
    watchlists: WatchlistIds
    camera_groups: Groups
    has_password: bool = Field(description="whether the one-time link was used")
    disabled_at: str | None = Field(description="RFC 3339, UTC")
    locked_until: str | None = Field(description="since wrong passwords; RFC 3339, UTC")
    created_at: str = Field(description="RFC 3339, UTC")


class Link(BaseModel):
    """A one-time link."""

    link: str | None = Field(description="shown only now, and null if this request is a repeated one")
    link_hours: int = Field(description="how long it can be used")


class CreatedUser(UserOut, Link):
    """A user just made, with the link by which to set a password."""


class UserPage(BaseModel):
    """Users, newest first."""

    items: list[UserOut]
    next: str | None = Field(description="`cursor` of the next page; null on the last one")


@router.get("/users", response_model=UserPage, dependencies=[Depends(MAY_CHANGE)])
def list_users(parts: WithParts, limit: paging.Limit = 50, cursor: paging.Cursor = None) -> dict[str, Any]:
    """All users, the disabled ones as well."""
    after = paging.older_than(cursor, User.created_at_us, User.id)
    query = select(User).where(*([] if after is None else [after]))
    with parts.registry.reading() as session:
        found = session.scalars(query.order_by(User.created_at_us.desc(), User.id.desc()).limit(limit + 1)).all()
    last = found[:limit][-1:]
    following = paging.cursor(last[0].created_at_us, last[0].id) if last else None
    return paging.page([as_user(one) for one in found], limit, following)


@router.post("/users", response_model=CreatedUser, status_code=HTTPStatus.CREATED, responses=CONFLICT)
def create_user(request: Request, parts: WithParts, who: Who, body: UserIn, key: Key = None) -> Response:
    """Make a user, who sets a password by the link of the answer."""

    def make(session: Session) -> dict[str, Any]:
        user = users.create_user(
            session,
            who.actor,
            name=body.name,
            role=body.role,
            watchlist_ids=body.watchlists,
            camera_groups=body.camera_groups,
        )
        return as_user(user) | _as_link(parts, users.make_link(session, who.actor, user))

    sent = fingerprint(request, body.model_dump_json().encode())
    return once(parts.registry, who, key, sent, make, shown_once=("link",))


@router.get("/users/{user_id}", response_model=UserOut, responses=NOT_FOUND, dependencies=[Depends(MAY_CHANGE)])
def get_user(response: Response, parts: WithParts, user_id: Id) -> dict[str, Any]:
    """A user."""
    with parts.registry.reading() as session:
        user = users.get_user(session, user_id)
        set_etag(response, user.version)
        return as_user(user)


@router.put("/users/{user_id}", response_model=UserOut, responses=NOT_FOUND | STALE)
def change_user(
    response: Response, parts: WithParts, who: Who, user_id: Id, body: UserChange, if_match: IfMatch = None
) -> dict[str, Any]:
    """Give a user another role and other rights, disable or enable."""
    with parts.registry.transaction() as session:
        user = users.get_user(session, user_id, lock=True)
        check_version(if_match, user.version)
        users.change_user(
            session,
            who.actor,
            user,
            role=body.role,
            watchlist_ids=body.watchlists,
            camera_groups=body.camera_groups,
            disabled=body.disabled,
        )
        set_etag(response, user.version)
        return as_user(user)


@router.post("/users/{user_id}/link", response_model=Link, responses=NOT_FOUND)
def make_link(parts: WithParts, who: Who, user_id: Id) -> dict[str, Any]:
    """A new one-time link by which a user sets a new password; earlier ones end."""
    with parts.registry.transaction() as session:
        return _as_link(parts, users.make_link(session, who.actor, users.get_user(session, user_id, lock=True)))


@router.post("/users/{user_id}/unlock", response_model=UserOut, responses=NOT_FOUND)
def unlock(parts: WithParts, who: Who, user_id: Id) -> dict[str, Any]:
    """Let a user sign in again, whose account wrong passwords have locked."""
    with parts.registry.transaction() as session:
        user = users.get_user(session, user_id, lock=True)
        users.unlock_user(session, who.actor, user)
        return as_user(user)


def as_user(user: User) -> dict[str, Any]:
    """A user as JSON."""
    return {
        "id": user.id,
        "name": user.name,
        "role": user.role,
        "watchlists": user.watchlist_ids,
        "camera_groups": user.camera_groups,
        "has_password": user.password_hash is not None,
        "disabled_at": None if user.disabled_at_us is None else isoformat(user.disabled_at_us),
        "locked_until": isoformat(user.locked_until_us) if users.is_locked(user) and user.locked_until_us else None,
        "created_at": isoformat(user.created_at_us),
    }


def _as_link(parts: Parts, secret: str) -> dict[str, Any]:
    return {"link": users.link_url(parts.settings, secret), "link_hours": users.LINK_HOURS}
