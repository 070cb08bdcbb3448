"""Logs: one line an event on standard error; no camera password, no token, no picture ever in them."""

from __future__ import annotations

import logging
import re
import sys
import time

_CREDENTIALS = re.compile(r"(?P<scheme>[a-zA-Z][a-zA-Z0-9+.-]*://)[^/@\s]*@")


def redact(text: str) -> str:
    """Text without the user and password that its URLs carry."""
    return _CREDENTIALS.sub(r"\g<scheme>…@", text)


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
    for noisy in ("httpx", "httpcore", "alembic", "celery.app.trace", "celery.worker.strategy"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
    logging.captureWarnings(True)
