"""The HTTP service."""

from __future__ import annotations

import base64
import binascii
import hmac
from http import HTTPStatus
from typing import Annotated, Any

from fastapi import Depends, FastAPI, Query, Response
from fastapi.responses import JSONResponse
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, ProcessCollector, generate_latest
from pydantic import SecretStr
from redis import Redis
from sqlalchemy import and_, or_, select
from sqlalchemy.orm import joinedload
from starlette.exceptions import HTTPException

from lookout.alerts import describe
from lookout.errors import BadInputError
from lookout.health import check_parts
from lookout.metrics import QueueCollector
from lookout.stores.blobs import Blobs
from lookout.stores.registry import Registry
from lookout.stores.registry.tables import Alert, Target, Watchlist
from lookout.stores.vectors import Vectors
from search import problems

MAX_LIMIT = 500
bearer = HTTPBearer(auto_error=False, description="The token made at first start.")


def create_app(*, registry: Registry, redis: Redis, vectors: Vectors, blobs: Blobs, api_token: SecretStr) -> FastAPI:
    """The service on its parts."""
    app = FastAPI(title="Lookout", version="1", docs_url=None, redoc_url=None)
    problems.install(app)
    metrics = CollectorRegistry()
    metrics.register(QueueCollector(redis))
    ProcessCollector(registry=metrics)

    def authenticate(given: Annotated[HTTPAuthorizationCredentials | None, Depends(bearer)]) -> None:
        known = api_token.get_secret_value().encode()
        if given is None or not hmac.compare_digest(given.credentials.encode(), known):
            raise HTTPException(
                HTTPStatus.UNAUTHORIZED,
                "Send the API token as `Authorization: Bearer …`; `lookout serve` says where it is kept.",
                {"WWW-Authenticate": "Bearer"},
            )

    @app.get("/healthz")
    async def healthz() -> dict[str, str]:
        """This process lives."""
        return {"status": "ok"}

    @app.get("/readyz")
    def readyz() -> JSONResponse:
        """Whether all parts answer, and which do not."""
        faults = check_parts(registry, redis, vectors, blobs)
        if not any(faults.values()):
            return JSONResponse({"status": "ready", "parts": dict.fromkeys(faults, "ok")})
        missing = ", ".join(part for part, fault in faults.items() if fault)
        return problems.problem(
            HTTPStatus.SERVICE_UNAVAILABLE,
            f"not ready: {missing}",
            parts={part: fault or "ok" for part, fault in faults.items()},
        )

    @app.get("/metrics")
    def prometheus() -> Response:
        """Metrics of the queues and of this process."""
        return Response(generate_latest(metrics), media_type=CONTENT_TYPE_LATEST)

    @app.get("/api/v1/alerts", dependencies=[Depends(authenticate)])
    def list_alerts(
        limit: Annotated[int, Query(ge=1, le=MAX_LIMIT)] = 100,
        cursor: Annotated[str | None, Query(max_length=200)] = None,
        watchlist: Annotated[str | None, Query(max_length=100, description="name of a watchlist")] = None,
    ) -> dict[str, Any]:
        """Alerts, newest first. `next` is the cursor of the following page, null on the last one."""
        query = (
            select(Alert)
            .options(joinedload(Alert.target).joinedload(Target.watchlist))
            .order_by(Alert.stored_at_us.desc(), Alert.id.desc())
            .limit(limit + 1)
        )
        if watchlist is not None:
            query = query.join(Alert.target).join(Target.watchlist).where(Watchlist.name == watchlist)
        if cursor is not None:
            at_us, last_id = _read_cursor(cursor)
            query = query.where(or_(Alert.stored_at_us < at_us, and_(Alert.stored_at_us == at_us, Alert.id < last_id)))
        with registry.reading() as session:
            found = list(session.scalars(query))
            page = found[:limit]
            return {
                "alerts": [describe(alert, alert.target) for alert in page],
                "next": _cursor(page[-1]) if len(found) > limit else None,
            }

    return app


def _cursor(alert: Alert) -> str:
    return base64.urlsafe_b64encode(f"{alert.stored_at_us}/{alert.id}".encode()).decode()


def _read_cursor(cursor: str) -> tuple[int, str]:
    try:
        at_us, _, alert_id = base64.urlsafe_b64decode(cursor).decode().partition("/")
        found = int(at_us)
    except (binascii.Error, ValueError) as error:
        raise BadInputError("cursor: this is none that Lookout gave; begin without one.") from error
    if not -(2**63) <= found < 2**63 or not alert_id:
        raise BadInputError("cursor: this is none that Lookout gave; begin without one.")
    return found, alert_id
