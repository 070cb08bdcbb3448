"""Signing in and out, and the one-time link by which a user sets a password."""

from __future__ import annotations

from http import HTTPStatus
from typing import Annotated

from fastapi import APIRouter, Depends, Form, Request
from fastapi.responses import RedirectResponse, Response

from lookout.accounts import sessions, users
from lookout.accounts.passwords import MIN_CHARACTERS
from lookout.accounts.rights import Identity
from lookout.errors import BadInputError, RefusedError
from search import limits
from search.parts import Parts, parts_of
from search.security import COOKIE, Allowed, SignedIn, address_of, over_tls
from search.web import pages

router = APIRouter(include_in_schema=False)
WithParts = Annotated[Parts, Depends(parts_of)]
Text = Annotated[str, Form(max_length=200)]


@router.get("/")
def first_page(who: SignedIn) -> Response:
    """Where a user's work is."""
    return RedirectResponse(first_path(who), HTTPStatus.SEE_OTHER)


def first_path(who: Identity) -> str:
    """The page that a user sees first."""
    return "/alerts" if who.may("alerts:read") else "/audit" if who.may("audit:read") else "/account"


@router.get("/sign-in")
def show_sign_in(request: Request, next: str = "/") -> Response:  # noqa: A002 - the name in the address
    """The form."""
    return pages.page(request, "sign_in.html", fault="", name="", next=next)


@router.post("/sign-in")
def sign_in(request: Request, parts: WithParts, name: Text, password: Text, next: Text = "/") -> Response:  # noqa: A002
    """Begin a session."""
    address = address_of(request)
    limits.sign_in(parts.redis, address)
    try:
        secret = sessions.sign_in(parts.registry, name.strip().lower(), password, address=address)
    except RefusedError as error:
        return pages.page(
            request, "sign_in.html", status=HTTPStatus.UNAUTHORIZED, fault=str(error), name=name, next=next
        )
    return _begin(request, secret, _own_path(next))


@router.post("/sign-out", dependencies=[Depends(Allowed())])
def sign_out(request: Request, parts: WithParts) -> Response:
    """End the session."""
    sessions.sign_out(parts.registry, request.cookies.get(COOKIE, ""))
    answer = RedirectResponse("/sign-in", HTTPStatus.SEE_OTHER)
    answer.delete_cookie(COOKIE, httponly=True, samesite="lax", secure=over_tls(request))
    return answer


@router.get("/welcome/{secret}")
def show_welcome(request: Request, parts: WithParts, secret: str) -> Response:
    """The form of a one-time link."""
    with parts.registry.reading() as session:
        name = users.link_user(session, secret).name
    return pages.page(request, "welcome.html", fault="", name=name, shortest=MIN_CHARACTERS)


@router.post("/welcome/{secret}")
def welcome(request: Request, parts: WithParts, secret: str, password: Text) -> Response:
    """Set the password and begin a session."""
    address = address_of(request)
    limits.sign_in(parts.redis, address)
    try:
        with parts.registry.transaction() as session:
            user = users.use_link(session, secret, password, address=address)
    except BadInputError as error:
        with parts.registry.reading() as session:
            name = users.link_user(session, secret).name
        status = HTTPStatus.UNPROCESSABLE_ENTITY
        return pages.page(request, "welcome.html", status=status, fault=str(error), name=name, shortest=MIN_CHARACTERS)
    return _begin(request, sessions.begin_session(parts.registry, user, address=address), "/")


def _begin(request: Request, secret: str, path: str) -> Response:
    answer = RedirectResponse(path, HTTPStatus.SEE_OTHER)
    answer.set_cookie(
        COOKIE,
        secret,
        max_age=sessions.SESSION_S,
        httponly=True,
        # Not `strict`: a link to an alert in a message should open it.
        samesite="lax",
        secure=over_tls(request),
    )
    return answer


def _own_path(path: str) -> str:
    """A path of Lookout's own; whatever leads elsewhere is the first page."""
    return path if path.startswith("/") and not path.startswith(("//", "/\\")) else "/"
