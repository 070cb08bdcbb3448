"""Errors as RFC 9457 problem details, and as pages for people."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from sqlalchemy.exc import DataError
from starlette.exceptions import HTTPException

from lookout.errors import (
    BadInputError,
    ConflictError,
    LookoutError,
    NotFoundError,
    PhotoError,
    RefusedError,
    StaleError,
    UnavailableError,
)
from search.web import pages

_STATUS: dict[type[LookoutError], HTTPStatus] = {
    BadInputError: HTTPStatus.UNPROCESSABLE_ENTITY,
    NotFoundError: HTTPStatus.NOT_FOUND,
    ConflictError: HTTPStatus.CONFLICT,
    RefusedError: HTTPStatus.FORBIDDEN,
    StaleError: HTTPStatus.PRECONDITION_FAILED,
    UnavailableError: HTTPStatus.SERVICE_UNAVAILABLE,
}


def problem(status: HTTPStatus, detail: str, *, headers: dict[str, str] | None = None, **members: Any) -> JSONResponse:
    """A problem document of `application/problem+json`."""
    body = {"type": "about:blank", "title": status.phrase, "status": status.value, "detail": detail, **members}
    return JSONResponse(body, status.value, headers=headers, media_type="application/problem+json")


def wants_page(request: Request) -> bool:
    """Whether a person looks at the answer."""
    path = request.url.path
    return not path.startswith("/api/") and path not in ("/healthz", "/readyz", "/metrics", "/openapi.json")


def answer(request: Request, error: Exception) -> Response:
    """An error as a page or as a problem document."""
    members: dict[str, Any] = {}
    headers: dict[str, str] = {}
    match error:
        case RequestValidationError():
            status = HTTPStatus.UNPROCESSABLE_ENTITY
            faults = [{"field": ".".join(map(str, one["loc"])), "message": one["msg"]} for one in error.errors()]
            detail = "; ".join(f"{fault['field']}: {fault['message']}" for fault in faults)
            members["errors"] = faults
        case HTTPException():
            status, detail = HTTPStatus(error.status_code), str(error.detail)
            headers = dict(error.headers or {})
        case LookoutError():
            found = next((code for kind, code in _STATUS.items() if isinstance(error, kind)), None)
            status, detail = found or HTTPStatus.INTERNAL_SERVER_ERROR, str(error)
            if isinstance(error, PhotoError):
                members["reasons"] = list(error.reasons)
        case DataError():
            status = HTTPStatus.UNPROCESSABLE_ENTITY
            detail = "A value cannot be stored: it holds a NUL character, or is too long or too large."
        case _:
            status, detail = HTTPStatus.INTERNAL_SERVER_ERROR, "Lookout failed; the log of `search` tells why."
    if wants_page(request):
        return pages.problem(request, status, detail, headers)
    return problem(status, detail, headers=headers, **members)


def install(app: FastAPI) -> None:
    """Answer every error of an app so."""

    async def handle(request: Request, error: Exception) -> Response:
        return answer(request, error)

    for kind in (LookoutError, HTTPException, RequestValidationError, DataError):
        app.add_exception_handler(kind, handle)
