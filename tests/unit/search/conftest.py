"""A registry for the HTTP service."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy.engine import make_url

from lookout.stores.registry import Registry


@pytest.fixture
def registry(tmp_path: Path) -> Iterator[Registry]:
    made = Registry(make_url(f"sqlite:///{tmp_path / 'registry.db'}"))
    made.migrate()
    yield made
    made.close()
