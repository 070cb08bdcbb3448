"""Errors as RFC 9457 problem details."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from lookout.errors import BadInputError, ConflictError, LookoutError, NotFoundError, UnavailableError

_STATUS: dict[type[LookoutError], HTTPStatus] = {
    BadInputError: HTTPStatus.UNPROCESSABLE_ENTITY,
    NotFoundError: HTTPStatus.NOT_FOUND,
    ConflictError: HTTPStatus.CONFLICT,
    UnavailableError: HTTPStatus.SERVICE_UNAVAILABLE,
}


def problem(status: HTTPStatus, detail: str, *, headers: dict[str, str] | None = None, **members: Any) -> JSONResponse:
    """A problem document of `application/problem+json`."""
    body = {"type": "about:blank", "title": status.phrase, "status": status.value, "detail": detail, **members}
    return JSONResponse(body, status.value, headers=headers, media_type="application/problem+json")


def install(app: FastAPI) -> None:
    """Answer every error of an app by a problem document."""

    @app.exception_handler(LookoutError)
    async def of_ours(_request: Request, error: LookoutError) -> JSONResponse:
        status = next((code for kind, code in _STATUS.items() if isinstance(error, kind)), None)
        return problem(status or HTTPStatus.INTERNAL_SERVER_ERROR, str(error))

    @app.exception_handler(HTTPException)
    async def of_http(_request: Request, error: HTTPException) -> JSONResponse:
        return problem(HTTPStatus(error.status_code), str(error.detail), headers=dict(error.headers or {}))

    @app.exception_handler(RequestValidationError)
    async def of_input(_request: Request, error: RequestValidationError) -> JSONResponse:
        faults = [{"field": ".".join(map(str, one["loc"])), "message": one["msg"]} for one in error.errors()]
        detail = "; ".join(f"{fault['field']}: {fault['message']}" for fault in faults)
        return problem(HTTPStatus.UNPROCESSABLE_ENTITY, detail, errors=faults)
