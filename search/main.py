"""The search process: Uvicorn with the HTTP service."""

from __future__ import annotations

import logging

import uvicorn

from lookout.logging import configure_logging
from lookout.settings import Settings
from lookout.stores.blobs import Blobs
from lookout.stores.redis import connect
from lookout.stores.registry import Registry
from lookout.stores.vectors import Vectors
from lookout.tokens import api_token
from search.app import create_app

log = logging.getLogger(__name__)


def run(settings: Settings, *, host: str, port: int) -> None:
    """Serve until SIGTERM or SIGINT."""
    configure_logging("search")
    app = create_app(
        registry=Registry(settings.database),
        redis=connect(settings),
        vectors=Vectors(settings.milvus_uri),
        blobs=Blobs(settings.blobs),
        api_token=api_token(settings),
    )
    uvicorn.run(
        app, host=host, port=port, log_config=None, access_log=False, server_header=False, timeout_graceful_shutdown=2
    )
