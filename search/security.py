"""Who asks, and whether they may. Closed by default: only what is listed here is open to everybody.

Pages are used with the cookie of a session, programs send a personal token. A browser's request that changes something
must come from Lookout's own page: every browser tells where a request comes from (`Sec-Fetch-Site`, before that
`Origin`), and the cookie is not sent along from other sites (`SameSite`).
"""

from __future__ import annotations

from http import HTTPStatus
from typing import Annotated
from urllib.parse import quote, urlsplit

from fastapi import Depends, Request
from fastapi.responses import RedirectResponse, Response
from fastapi.security import APIKeyCookie, HTTPBearer
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from lookout.accounts import sessions
from lookout.accounts.rights import SCOPES, Identity
from lookout.errors import LookoutError
from search import problems
from search.parts import parts_of

COOKIE = "lookout_session"
OPEN = frozenset({"/healthz", "/readyz", "/metrics", "/sign-in"})
OPEN_BELOW = ("/static/", "/welcome/")
SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
#: What somebody may send whom Lookout does not know: a name and a password.
MAX_OPEN_BYTES = 16 * 1024

#: Nothing is loaded from elsewhere, nobody frames the page, no script stands in it.
CONTENT_SECURITY_POLICY = (
    "default-src 'self'; img-src 'self' blob: data:; object-src 'none'; base-uri 'none'; "
    "frame-ancestors 'none'; form-action 'self'"
)
_HEADERS = (
    (b"content-security-policy", CONTENT_SECURITY_POLICY.encode()),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"same-origin"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"permissions-policy", b"camera=(), microphone=(), geolocation=()"),
)

#: How the API's description tells that each operation takes either.
bearer = HTTPBearer(auto_error=False, description="A personal token, made under Account or by `lookout tokens create`.")
cookie = APIKeyCookie(name=COOKIE, auto_error=False, description="The session of a browser that is signed in.")


class Gate:
    """Lets only those in who are known, before a byte of a body is read, and adds what keeps a browser safe."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request = Request(scope)

        started = False

        async def send_with_headers(message: Message) -> None:
            nonlocal started
            if message["type"] == "http.response.start":
                started = True
                message["headers"] = _with_safe_headers(request, list(message.get("headers", [])))
            await send(message)

        scope.setdefault("state", {})["identity"] = None
        try:
            refusal = await self._refusal(request)
            answer: ASGIApp = refusal or self._app
            await answer(scope, _bounded(receive) if is_open(request) else receive, send_with_headers)
        except Exception as error:
            if not started:
                await problems.answer(request, error)(scope, receive, send_with_headers)
            raise  # to the log

    @staticmethod
    async def _refusal(request: Request) -> Response | None:
        """Find out who asks, and what they are answered if that ends it."""
        if "\0" in request.url.path or b"%00" in request.scope["query_string"]:
            return problems.answer(request, HTTPException(HTTPStatus.NOT_FOUND, "No address has a NUL character."))
        try:
            who = None if is_open(request) else await run_in_threadpool(identify, request)
        except LookoutError as error:
            return problems.answer(request, error)
        request.state.identity = who
        return _refusal(request, who)


def is_open(request: Request) -> bool:
    """Whether everybody may ask that."""
    path = request.url.path
    return path in OPEN or path.startswith(OPEN_BELOW)


def identify(request: Request) -> Identity | None:
    """Who sent a request; None if nobody known did. A token that is sent counts alone."""
    registry, address = parts_of(request).registry, address_of(request)
    if (sent := request.headers.get("authorization")) is not None:
        scheme, _, token = sent.partition(" ")
        return sessions.of_token(registry, token.strip(), address=address) if scheme.lower() == "bearer" else None
    secret = request.cookies.get(COOKIE)
    return sessions.of_session(registry, secret, address=address) if secret else None


def over_tls(request: Request) -> bool:
    """Whether the browser speaks TLS, with Uvicorn or with a proxy before it that it does not know."""
    return request.url.scheme == "https" or parts_of(request).settings.public_url.startswith("https://")


def address_of(request: Request) -> str:
    """The address that a request came from, as far as the proxies that Uvicorn trusts tell."""
    return request.client.host if request.client else ""


class Allowed:
    """Dependency of a route: who asks, if the scope is theirs; `Annotated[Identity, Depends(Allowed("alerts:read"))]`.

    An empty scope: everybody who is signed in.
    """

    def __init__(self, scope: str = "") -> None:
        assert not scope or scope in SCOPES, scope  # noqa: S101 - a slip of the pen, found at import
        self.scope = scope

    def __call__(self, request: Request) -> Identity:
        """Who asks.

        Raises:
            HTTPException: 401 if nobody is signed in, 403 if they may not.
        """
        who: Identity | None = request.state.identity
        if who is None:
            raise unauthorised()
        if self.scope and not who.may(self.scope):
            raise HTTPException(
                HTTPStatus.FORBIDDEN, f"{who.name} may not {SCOPES[self.scope]}; an admin can change that."
            )
        return who


SignedIn = Annotated[Identity, Depends(Allowed())]


def unauthorised() -> HTTPException:
    """The answer to whom Lookout does not know."""
    return HTTPException(
        HTTPStatus.UNAUTHORIZED,
        "Sign in, or send a personal token as `Authorization: Bearer …`.",
        {"WWW-Authenticate": "Bearer"},
    )


def _refusal(request: Request, who: Identity | None) -> Response | None:
    if who is None and not is_open(request):
        if problems.wants_page(request) and "authorization" not in request.headers:
            return _to_sign_in(request)
        return problems.answer(request, unauthorised())
    by_cookie = "authorization" not in request.headers
    if request.method not in SAFE_METHODS and by_cookie and not _is_own_page(request):
        return problems.answer(
            request,
            HTTPException(HTTPStatus.FORBIDDEN, "This request came from another site; open Lookout's own page."),
        )
    return None


def _with_safe_headers(request: Request, headers: list[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
    known = {name.lower() for name, _ in headers}
    headers += [header for header in _HEADERS if header[0] not in known]
    if b"cache-control" not in known:
        # Scripts and styles may be kept, but are asked for whether they are still the same.
        kept = b"no-cache" if request.url.path.startswith("/static/") else b"no-store"
        headers.append((b"cache-control", kept))
    if over_tls(request):
        headers.append((b"strict-transport-security", b"max-age=31536000"))
    return headers


def _bounded(receive: Receive) -> Receive:
    """A body that ends with an error where it gets too long."""
    size = 0

    async def receive_bounded() -> Message:
        nonlocal size
        message = await receive()
        size += len(message.get("body", b""))
        if size > MAX_OPEN_BYTES:
            raise HTTPException(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"Send at most {MAX_OPEN_BYTES} bytes.")
        return message

    return receive_bounded


def _is_own_page(request: Request) -> bool:
    site = request.headers.get("sec-fetch-site")
    if site is not None:
        return site in ("same-origin", "none")
    origin = request.headers.get("origin")
    return origin is not None and urlsplit(origin).netloc == request.headers.get("host")


def _to_sign_in(request: Request) -> Response:
    here = request.url.path + (f"?{request.url.query}" if request.url.query else "")
    if request.headers.get("hx-request"):
        # A part of a page was asked for: the whole page has to go.
        return Response(status_code=HTTPStatus.UNAUTHORIZED, headers={"HX-Redirect": "/sign-in"})
    target = f"/sign-in?next={quote(here, safe='')}" if request.method in SAFE_METHODS and here != "/" else "/sign-in"
    return RedirectResponse(target, HTTPStatus.SEE_OTHER)
