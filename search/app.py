"""The HTTP service, put together."""

from __future__ import annotations

from http import HTTPStatus
from pathlib import Path
from typing import Annotated

from fastapi import APIRouter, Depends, FastAPI, Request, Response
from fastapi.responses import FileResponse, JSONResponse
from fastapi.staticfiles import StaticFiles
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, ProcessCollector, generate_latest

from lookout.health import check_parts
from lookout.metrics import QueueCollector
from search import live, problems
from search.api import (
    alerts,
    audit,
    cameras,
    deliveries,
    erasure,
    events,
    exports,
    footage,
    holds,
    imports,
    photos,
    pictures,
    search,
    sightings,
    targets,
    tokens,
    users,
    videos,
    watchlists,
    webhooks,
)
from search.parts import Parts, parts_of
from search.security import Gate
from search.web import account, sign_in
from search.web import alerts as alerts_pages
from search.web import audit as audit_pages
from search.web import cameras as cameras_pages
from search.web import dead_letters as dead_letters_pages
from search.web import erasure as erasure_pages
from search.web import exports as exports_pages
from search.web import footage as footage_pages
from search.web import holds as holds_pages
from search.web import imports as imports_pages
from search.web import pivot as pivot_pages
from search.web import search as search_pages
from search.web import targets as targets_pages
from search.web import users as users_pages
from search.web import videos as videos_pages
from search.web import watchlists as watchlists_pages
from search.web import webhooks as webhooks_pages

STATIC = Path(__file__).parent / "web" / "static"
#: Pages: each module has a `router`.
WEB = (
    watchlists_pages,
    targets_pages,
    imports_pages,
    exports_pages,
    sign_in,
    alerts_pages,
    holds_pages,
    erasure_pages,
    webhooks_pages,
    dead_letters_pages,
    users_pages,
    account,
    audit_pages,
    cameras_pages,
    videos_pages,
    search_pages,
    footage_pages,
    pivot_pages,
)
#: The API: each module has a `router`.
API = (
    watchlists,
    targets,
    photos,
    imports,
    exports,
    events,
    alerts,
    holds,
    pictures,
    erasure,
    webhooks,
    deliveries,
    users,
    tokens,
    audit,
    cameras,
    footage,
    search,
    sightings,
    videos,
)


# Not within `create_app`: FastAPI remembers all functions that it serves, and with them would keep parts and models of
# a service that has ended.
own = APIRouter(include_in_schema=False)
WithParts = Annotated[Parts, Depends(parts_of)]


@own.get("/healthz")
async def healthz() -> dict[str, str]:
    """This process lives."""
    return {"status": "ok"}


@own.get("/readyz")
def readyz(parts: WithParts) -> JSONResponse:
    """Whether all parts answer, and which do not."""
    faults = check_parts(parts.registry, parts.redis, parts.vectors, parts.blobs)
    if not any(faults.values()):
        return JSONResponse({"status": "ready", "parts": dict.fromkeys(faults, "ok")})
    missing = ", ".join(part for part, fault in faults.items() if fault)
    return problems.problem(
        HTTPStatus.SERVICE_UNAVAILABLE,
        f"not ready: {missing}",
        parts={part: fault or "ok" for part, fault in faults.items()},
    )


@own.get("/metrics")
def prometheus(request: Request) -> Response:
    """Metrics of the queues and of this process."""
    return Response(generate_latest(request.app.state.metrics), media_type=CONTENT_TYPE_LATEST)


@own.get("/static/htmx.min.js")
def htmx(parts: WithParts) -> FileResponse:
    """The one script that is not Lookout's own, from the cache of verified assets."""
    return FileResponse(parts.assets.media("htmx.min.js"), headers={"Cache-Control": "max-age=3600"})


def create_app(parts: Parts) -> FastAPI:
    """The service on its parts."""
    app = FastAPI(
        title="Lookout",
        version="1",
        docs_url=None,
        redoc_url=None,
        openapi_url="/openapi.json",
        lifespan=live.lifespan,
    )
    app.state.parts = parts
    app.state.hub = live.Hub(parts.registry)
    problems.install(app)
    app.add_middleware(Gate)
    app.state.metrics = CollectorRegistry()
    app.state.metrics.register(QueueCollector(parts.redis))
    ProcessCollector(registry=app.state.metrics)
    app.include_router(own)
    for module in (*API, *WEB):
        app.include_router(module.router)
    app.mount("/static", StaticFiles(directory=STATIC), name="static")
    return app
