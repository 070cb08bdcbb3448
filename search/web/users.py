"""The page of users: who may do what, and the links by which they begin."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Form, Path, Request
from fastapi.responses import Response
from sqlalchemy import select
from sqlalchemy.orm import Session

from lookout.accounts import users
from lookout.accounts.rights import ROLE_SCOPES, SCOPES, Identity
from lookout.errors import StaleError
from lookout.stores.registry.tables import ROLES, CameraRow, User, Watchlist
from search.parts import Parts, parts_of
from search.security import Allowed
from search.web import pages

router = APIRouter(include_in_schema=False)
WithParts = Annotated[Parts, Depends(parts_of)]
MAY_CHANGE = Allowed("users:write")
Who = Annotated[Identity, Depends(MAY_CHANGE)]
Id = Annotated[str, Path(max_length=64)]
Name = Annotated[str, Form(max_length=60)]
Role = Annotated[str, Form(max_length=20)]
Everything = Annotated[bool, Form()]
Chosen = Annotated[list[Annotated[str, Form(max_length=60)]] | None, Form()]


@router.get("/users", dependencies=[Depends(MAY_CHANGE)])
def show_users(request: Request, parts: WithParts) -> Response:
    """All users, and the form for another one."""
    with parts.registry.reading() as session:
        return pages.page(request, "users/list.html", **_form(session), **_list(session))


@router.post("/users")
def add_user(
    request: Request,
    parts: WithParts,
    who: Who,
    name: Name,
    role: Role,
    all_watchlists: Everything = False,
    watchlists: Chosen = None,
    all_groups: Everything = False,
    groups: Chosen = None,
) -> Response:
    """Make a user, and show the one-time link."""
    with parts.registry.transaction() as session:
        user = users.create_user(
            session,
            who.actor,
            name=name.strip().lower(),
            role=role,
            watchlist_ids=None if all_watchlists else watchlists or [],
            camera_groups=None if all_groups else groups or [],
        )
        secret = users.make_link(session, who.actor, user)
        listed = _list(session)
    return pages.page(request, "users/made.html", user=user, link=users.link_url(parts.settings, secret), **listed)


@router.get("/users/{user_id}", dependencies=[Depends(MAY_CHANGE)])
def show_user(request: Request, parts: WithParts, user_id: Id) -> Response:
    """One user, to be changed."""
    with parts.registry.reading() as session:
        user = users.get_user(session, user_id)
        return pages.page(
            request, "users/one.html", user=user, locked=users.is_locked(user), hours=users.LINK_HOURS, **_form(session)
        )


@router.post("/users/{user_id}")
def change_user(
    request: Request,
    parts: WithParts,
    who: Who,
    user_id: Id,
    role: Role,
    version: Annotated[int, Form(ge=0, lt=2**62)],
    all_watchlists: Everything = False,
    watchlists: Chosen = None,
    all_groups: Everything = False,
    groups: Chosen = None,
    disabled: Annotated[bool, Form()] = False,
) -> Response:
    """Give a user another role and other rights, disable or enable."""
    with parts.registry.transaction() as session:
        user = users.get_user(session, user_id, lock=True)
        if user.version != version:
            raise StaleError("somebody changed this user meanwhile: open the page again, then change it.")
        users.change_user(
            session,
            who.actor,
            user,
            role=role,
            watchlist_ids=None if all_watchlists else watchlists or [],
            camera_groups=None if all_groups else groups or [],
            disabled=disabled,
        )
    return pages.go_to(request, "/users")


@router.post("/users/{user_id}/link")
def make_link(request: Request, parts: WithParts, who: Who, user_id: Id) -> Response:
    """Show a new one-time link."""
    with parts.registry.transaction() as session:
        user = users.get_user(session, user_id, lock=True)
        secret = users.make_link(session, who.actor, user)
    link = users.link_url(parts.settings, secret)
    return pages.page(request, "users/link.html", user=user, link=link, hours=users.LINK_HOURS)


@router.post("/users/{user_id}/unlock")
def unlock(request: Request, parts: WithParts, who: Who, user_id: Id) -> Response:
    """Let a user sign in again, whose account wrong passwords have locked."""
    with parts.registry.transaction() as session:
        users.unlock_user(session, who.actor, users.get_user(session, user_id, lock=True))
    return pages.go_to(request, f"/users/{user_id}")


def _form(session: Session) -> dict[str, Any]:
    """What there is to choose from. Rights may name a group that no camera has any more."""
    groups = set(session.scalars(select(CameraRow.camera_group).distinct()))
    for named in session.scalars(select(User.camera_groups).where(User.camera_groups.is_not(None))):
        groups.update(named or ())
    return {
        "roles": ROLES,
        "may_of": {role: [SCOPES[scope] for scope in SCOPES if scope in ROLE_SCOPES[role]] for role in ROLES},
        "lists": session.execute(select(Watchlist.id, Watchlist.name).order_by(Watchlist.name)).all(),
        "groups": sorted(groups),
    }


def _list(session: Session) -> dict[str, Any]:
    found = session.scalars(select(User).order_by(User.disabled_at_us.is_not(None), User.name)).all()
    names = dict(session.execute(select(Watchlist.id, Watchlist.name)).all())
    return {"users": found, "names": names, "is_locked": users.is_locked, "hours": users.LINK_HOURS}
