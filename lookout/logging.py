"""Logs: one line an event on standard error; no camera password, no token, no picture ever in them."""

from __future__ import annotations

import logging
import re
import sys
import time

# Up to the last `@`: people write passwords with `@` and `/` as they are. Too much is rather hidden than too little.
_CREDENTIALS = re.compile(r"(?P<scheme>[a-zA-Z][a-zA-Z0-9+.-]*://)\S*@")
# Some cameras want the password in the path or the query: `/user=admin&password=…`.
_PARAMETERS = re.compile(r"(?P<name>(?:pass\w*|pwd|token|secret)=)[^&\s'\"`]+", re.IGNORECASE)


def redact(text: str) -> str:
    """Text without the users and passwords that its URLs carry."""
    return _PARAMETERS.sub(r"\g<name>…", _CREDENTIALS.sub(r"\g<scheme>…@", text))


class _Formatter(logging.Formatter):
    converter = staticmethod(time.gmtime)

    def format(self, record: logging.LogRecord) -> str:
        # Whatever a library puts into a message or a traceback, URLs lose their credentials here.
        return redact(super().format(record))


def configure_logging(service: str, *, level: int = logging.INFO) -> None:
    """Send this process' logs to standard error, with the service's name and UTC times."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        _Formatter(f"%(asctime)s.%(msecs)03dZ {service} %(levelname)s %(name)s: %(message)s", "%Y-%m-%dT%H:%M:%S")
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    for noisy in ("httpx2", "httpcore2", "alembic", "celery.app.trace", "celery.worker.strategy"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
    # A malformed log call would be printed with its arguments as they are.
    logging.raiseExceptions = False
    logging.captureWarnings(True)
