"""The HTTP service on a registry; the other parts are away."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from fastapi.testclient import TestClient
from sqlalchemy.engine import make_url

from lookout.stores.registry import Registry
from search.app import create_app
from tests.wall import parts_on, token_of


@pytest.fixture
def registry(tmp_path: Path) -> Iterator[Registry]:
    made = Registry(make_url(f"sqlite:///{tmp_path / 'registry.db'}"))
    made.migrate()
    yield made
    made.close()


@pytest.fixture
def client(registry: Registry, tmp_path: Path) -> Iterator[TestClient]:
    """Olga, an operator."""
    parts = parts_on(registry, tmp_path)
    with registry.transaction() as session:
        headers = token_of(session, "olga")
    yield TestClient(create_app(parts), headers=headers)
    parts.registry.close()
    parts.redis.close()
