"""The token that opens the API, made at first start."""

from __future__ import annotations

import logging
import os
import secrets

from pydantic import SecretStr

from lookout.settings import Settings

log = logging.getLogger(__name__)


def api_token(settings: Settings) -> SecretStr:
    """The token of the settings, or the one in `<home>/secrets/api_token`, which only the owner can read."""
    if settings.api_token is not None:
        return settings.api_token
    path = settings.home / "secrets" / "api_token"
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    try:
        # Whole before it has its name, and never over one that another process made.
        part = path.with_name(f"{path.name}.{os.getpid()}.part")
        with os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(secrets.token_urlsafe(32))
        try:
            os.link(part, path)
            log.info("API token made in %s", path)
        finally:
            part.unlink()
    except FileExistsError:
        pass
    return SecretStr(path.read_text().strip())
