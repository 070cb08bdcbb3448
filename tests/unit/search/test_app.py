"""The service's own state; the other parts are away."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Iterator
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from lookout.stores.registry import Registry
from search.app import create_app
from tests.wall import parts_on


@pytest.fixture
def client(registry: Registry, tmp_path: Path) -> Iterator[TestClient]:
    parts = parts_on(registry, tmp_path)
    with TestClient(create_app(parts), raise_server_exceptions=False) as made:
        yield made
    parts.registry.close()
    parts.redis.close()


def test_healthz_needs_no_token_and_no_part(client: TestClient) -> None:
    answer = client.get("/healthz")

    assert answer.status_code == 200
    assert answer.json() == {"status": "ok"}


def test_readyz_says_which_part_is_not_ready(client: TestClient) -> None:
    answer = client.get("/readyz")

    assert answer.status_code == 503
    assert answer.headers["content-type"] == "application/problem+json"
    problem = answer.json()
    assert problem["detail"] == "not ready: redis, milvus"
    assert problem["parts"]["registry"] == "ok"
    assert problem["parts"]["blobs"] == "ok"
    assert "does not answer" in problem["parts"]["redis"]
    assert "does not answer" in problem["parts"]["milvus"]


def test_metrics_are_offered_while_redis_is_away(client: TestClient) -> None:
    answer = client.get("/metrics")

    assert answer.status_code == 200
    assert "process_resident_memory_bytes" in answer.text


def test_a_service_that_ended_leaves_nothing_in_memory(
    registry: Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its models are large, and FastAPI remembers what it served."""
    # pytest keeps the warning of a Milvus that is away, and with its traceback everything.
    monkeypatch.setattr("search.importing.Importer._warm_up", lambda _: None)
    parts = parts_on(registry, tmp_path)
    gone = weakref.ref(parts)
    with TestClient(create_app(parts)) as client:
        assert client.get("/healthz").status_code == 200
    parts.registry.close()
    parts.redis.close()

    del parts, client
    gc.collect()

    assert gone() is None
