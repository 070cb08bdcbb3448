"""The search process: Uvicorn with the HTTP service."""

from __future__ import annotations

import logging
from typing import Any

import uvicorn

from lookout.accounts.users import first_admin
from lookout.errors import UnavailableError
from lookout.logging import configure_logging
from lookout.settings import Settings
from search.app import create_app
from search.parts import Parts

log = logging.getLogger(__name__)


def run(settings: Settings, *, host: str, port: int) -> None:
    """Serve until SIGTERM or SIGINT."""
    configure_logging("search")
    parts = Parts(settings)
    _welcome_first_admin(parts, port)
    uvicorn.run(
        create_app(parts),
        host=host,
        port=port,
        log_config=None,
        access_log=False,
        server_header=False,
        forwarded_allow_ips=settings.proxies,
        timeout_graceful_shutdown=2,
    )


def _welcome_first_admin(parts: Parts, port: int) -> None:
    """Where there is no user yet, make one and print the link to begin with. It is said once, here."""
    if not parts.registry.is_current():
        log.warning("whether there is a user cannot be asked: run `lookout migrate`, then start again")
        return
    try:
        with parts.registry.transaction() as session:
            secret = first_admin(session)
    except UnavailableError as error:
        log.warning("whether there is a user cannot be asked: %s", error)
        return
    if secret is not None:
        settings = parts.settings
        url = settings.public_url if "public_url" in settings.model_fields_set else f"http://127.0.0.1:{port}"
        # Not through the log, which may go to places where a link that opens Lookout has no business.
        print(f"first start: open {url}/welcome/{secret} to set the password of `admin`", flush=True)  # noqa: T201


def openapi() -> dict[str, Any]:
    """The description of the API, OpenAPI 3.1."""
    return create_app(Parts(Settings())).openapi()
