"""What several commands open."""

from __future__ import annotations

import contextlib
import getpass
from collections.abc import Iterator

from lookout.audit import Actor
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


def cli_actor() -> Actor:
    """Whoever runs the command, for the audit: the account on this machine."""
    try:
        name = getpass.getuser()
    except (KeyError, OSError):  # a number without a name, as in containers
        name = "unknown"
    return Actor(f"cli:{name}"[:100], "cli")
