"""The page of one's own account: tokens, sessions, password."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Form, Path, Request
from fastapi.responses import Response
from sqlalchemy.orm import Session

from lookout import audit
from lookout.accounts import sessions, users
from lookout.accounts.passwords import MAX_CHARACTERS, MIN_CHARACTERS
from lookout.accounts.rights import SCOPES, Identity
from lookout.accounts.secrets import digest
from lookout.clock import now_us
from search import limits
from search.parts import Parts, parts_of
from search.security import COOKIE, SignedIn, address_of
from search.web import pages

router = APIRouter(include_in_schema=False)
WithParts = Annotated[Parts, Depends(parts_of)]
Password = Annotated[str, Form(max_length=MAX_CHARACTERS)]


@router.get("/account")
def show_account(request: Request, parts: WithParts, who: SignedIn) -> Response:
    """One's own account."""
    with parts.registry.reading() as session:
        return pages.page(
            request,
            "account/page.html",
            scopes={scope: text for scope, text in SCOPES.items() if who.may(scope)},
            shortest=MIN_CHARACTERS,
            longest=MAX_CHARACTERS,
            longest_days=sessions.MAX_TOKEN_DAYS,
            **_tokens(session, who),
            **_sessions(session, who, request),
        )


@router.post("/account/tokens")
def create_token(
    request: Request,
    parts: WithParts,
    who: SignedIn,
    name: Annotated[str, Form(max_length=100)],
    scopes: Annotated[list[Annotated[str, Form(max_length=40)]] | None, Form()] = None,
    days: Annotated[int | None, Form(ge=1, le=sessions.MAX_TOKEN_DAYS)] = None,
) -> Response:
    """Make a token, and show its secret."""
    with parts.registry.transaction() as session:
        user = users.get_user(session, who.user_id, lock=True)
        token, secret = sessions.create_token(
            session, who.actor, user, name=name, scopes=scopes or [], days=days, at_most=who.scopes
        )
        shown = _tokens(session, who)
    return pages.page(request, "account/token_made.html", token=token, secret=secret, **shown)


@router.post("/account/tokens/{token_id}/revoke")
def revoke_token(
    request: Request, parts: WithParts, who: SignedIn, token_id: Annotated[str, Path(max_length=64)]
) -> Response:
    """End a token."""
    with parts.registry.transaction() as session:
        sessions.revoke_token(session, who.actor, who.user_id, token_id)
        session.flush()
        return pages.page(request, "account/tokens.html", **_tokens(session, who))


@router.post("/account/sessions/end-others")
def end_other_sessions(request: Request, parts: WithParts, who: SignedIn) -> Response:
    """End all sessions but this one."""
    with parts.registry.transaction() as session:
        ended = sessions.end_other_sessions(session, who.user_id, request.cookies.get(COOKIE, ""))
        audit.record(session, who.actor, "sessions.ended", "user", who.user_id, detail={"count": ended})
        return pages.page(request, "account/sessions.html", **_sessions(session, who, request))


@router.post("/account/password")
def change_password(
    request: Request,
    parts: WithParts,
    who: SignedIn,
    old: Password,
    new: Password,
) -> Response:
    """Set another password; the other sessions end."""
    limits.sign_in(parts.redis, address_of(request))
    secret = request.cookies.get(COOKIE, "")
    sessions.change_password(parts.registry, secret, old, new, address=address_of(request))
    with parts.registry.reading() as session:
        return pages.page(request, "account/password_changed.html", **_sessions(session, who, request))


def _tokens(session: Session, who: Identity) -> dict[str, Any]:
    return {"tokens": sessions.tokens_of(session, who.user_id), "now_us": now_us()}


def _sessions(session: Session, who: Identity, request: Request) -> dict[str, Any]:
    return {
        "sessions": sessions.sessions_of(session, who.user_id),
        "this": digest(request.cookies.get(COOKIE, "")),
    }
