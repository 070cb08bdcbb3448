"""What several commands open."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from lookout.settings import Settings
from lookout.stores.registry import Registry


@contextlib.contextmanager
def open_registry(settings: Settings) -> Iterator[Registry]:
    """The registry, at the current schema. SQLite's is made at its first use."""
    registry = Registry(settings.database)
    try:
        if not registry.is_current():
            registry.migrate()
        yield registry
    finally:
        registry.close()
