"""The HTTP API below `/api/v1`, a module a noun."""

from __future__ import annotations

from fastapi import APIRouter, Security

from search.security import bearer, cookie


def api_router(*, tag: str) -> APIRouter:
    """A router of the API: its description says how to authenticate."""
    return APIRouter(prefix="/api/v1", tags=[tag], dependencies=[Security(bearer), Security(cookie)])
