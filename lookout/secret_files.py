"""Secrets that a home makes for itself at their first use."""

from __future__ import annotations

import contextlib
import logging
import os
import tempfile
from collections.abc import Callable
from pathlib import Path

log = logging.getLogger(__name__)


def secret_path(home: Path, name: str) -> Path:
    """Where a home keeps a secret."""
    return home / "secrets" / name


def read_or_make(path: Path, make: Callable[[], str]) -> str:
    """The text of a secret file that only its owner can read, made if it is missing.

    Of processes that make it at once one wins, and all get what it made.
    """
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    if not path.exists():
        descriptor, part = tempfile.mkstemp(prefix=f"{path.name}.", suffix=".part", dir=path.parent)  # mode 0600
        try:
            with os.fdopen(descriptor, "w") as file:
                file.write(make())
                # On the disk before it is used: what a lost key has sealed is lost.
                file.flush()
                os.fsync(file.fileno())
            # Whole before it has its name, and never over one that another process made.
            with contextlib.suppress(FileExistsError):
                os.link(part, path)
                _sync(path.parent)
                log.info("%s made", path)
        finally:
            Path(part).unlink()
    return path.read_text().strip()


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
