from __future__ import annotations

import io
import logging
import re
import sys
import warnings
from collections.abc import Iterator

import pytest

from lookout.logging import configure_logging, redact


@pytest.mark.parametrize(
    ("text", "redacted"),
    [
        ("rtsp://admin:secret@camera.example/1", "rtsp://…@camera.example/1"),
        ("rtsp://admin@camera.example/1", "rtsp://…@camera.example/1"),
        ("rtsp://admin:se@cret/@camera.example/1", "rtsp://…@camera.example/1"),
        ("redis://:secret@127.0.0.1:6379/0", "redis://…@127.0.0.1:6379/0"),
        ("postgresql+psycopg://lookout:secret@db/lookout", "postgresql+psycopg://…@db/lookout"),
        ("cannot open 'rtsp://a:secret@b/1': refused", "cannot open 'rtsp://…@b/1': refused"),
        ("http://camera/video?user=admin&password=secret", "http://camera/video?user=admin&password=…"),
        ("http://camera/video?PWD=secret&channel=1", "http://camera/video?PWD=…&channel=1"),
        ("https://hooks.example/in?token=secret", "https://hooks.example/in?token=…"),
        ("rtsp://camera.example/1", "rtsp://camera.example/1"),
        ("write to someone@example.org", "write to someone@example.org"),
        ("rtsp://camera.example/1 someone@example.org", "rtsp://camera.example/1 someone@example.org"),
        ("nothing to hide", "nothing to hide"),
    ],
)
def test_redacts_credentials(text: str, redacted: str) -> None:
    assert redact(text) == redacted
    assert redact(redacted) == redacted


@pytest.fixture
def logged(monkeypatch: pytest.MonkeyPatch) -> Iterator[io.StringIO]:
    """Where a service with our logging writes."""
    root = logging.getLogger()
    before = root.handlers[:], root.level
    stderr = io.StringIO()
    with monkeypatch.context() as patch:
        patch.setattr(sys, "stderr", stderr)
        configure_logging("ingest")
    yield stderr
    logging.captureWarnings(False)
    root.handlers[:], level = before
    root.setLevel(level)


def test_an_event_is_one_line_with_time_service_and_level(logged: io.StringIO) -> None:
    logging.getLogger("ingest.watch").warning("%s: refused", "entrance")
    assert re.fullmatch(
        r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z ingest WARNING ingest\.watch: entrance: refused\n", logged.getvalue()
    )


def test_no_way_into_the_log_carries_a_password(logged: io.StringIO) -> None:
    log = logging.getLogger("test")
    url = "rtsp://admin:secret@camera.example/1"

    def open_camera() -> None:
        raise ConnectionError(f"cannot open {url}")

    log.info("opening %s", url)
    log.info(url)
    try:
        open_camera()
    except ConnectionError:
        log.exception("failed")
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        warnings.warn(f"{url} is slow", stacklevel=1)

    assert "secret" not in logged.getvalue()
    assert logged.getvalue().count("rtsp://…@camera.example/1") == 4
