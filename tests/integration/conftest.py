"""Real servers, one a session where tests leave nothing behind, a fresh one where they break it."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from pydantic import SecretStr
from redis import Redis
from sqlalchemy.engine import make_url

from lookout.faces.assets import AssetCache
from lookout.faces.embedder import Embedder
from lookout.faces.models import open_embedder
from lookout.sealing import Keyring
from lookout.secret_files import read_or_make, secret_path
from lookout.settings import Settings
from lookout.stores.registry import Registry
from tests import servers
from tests.people import MODEL
from tests.workplace import Workplace


@pytest.fixture(scope="session")
def valkey_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[servers.Server]:
    """One Valkey for all tests; use `redis`, which empties it first. Do not kill it: use `servers.valkey`."""
    with servers.valkey(tmp_path_factory.mktemp("valkey")) as server:
        yield server


@pytest.fixture
def redis(valkey_server: servers.Server) -> Iterator[Redis]:
    """A client of an empty Valkey."""
    with Redis.from_url(valkey_server.url) as client:
        client.flushall()
        yield client


@pytest.fixture(scope="session")
def milvus_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[servers.Server]:
    """One Milvus Lite for all tests: give each test its own model name, as collections are named after it."""
    with servers.milvus(tmp_path_factory.mktemp("milvus")) as server:
        yield server


@pytest.fixture(scope="session")
def postgres_url() -> Iterator[str]:
    """A PostgreSQL of Debian."""
    binaries = servers.postgres_binaries()
    if binaries is None:
        pytest.skip("PostgreSQL's server is not installed: apt-get install postgresql")
    with servers.postgres(binaries) as url:
        yield url


@pytest.fixture(params=["sqlite", "postgresql"])
def registry(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Registry]:
    """An empty, migrated registry, on each database."""
    if request.param == "sqlite":
        made = Registry(make_url(f"sqlite:///{tmp_path / 'registry.db'}"))
    else:
        url = make_url(request.getfixturevalue("postgres_url"))
        # A schema of its own: databases take a second to make.
        schema = f"test_{uuid.uuid4().hex}"
        made = Registry(url.update_query_dict({"options": f"-csearch_path={schema}"}))
        with made.engine.begin() as connection:
            connection.exec_driver_sql(f"CREATE SCHEMA {schema}")
    made.migrate()
    yield made
    made.close()


@pytest.fixture(scope="session")
def embedder(assets: AssetCache) -> Embedder:
    """One for all tests, as it takes a while to compile."""
    return open_embedder(assets, MODEL)


@pytest.fixture
def workplace(
    registry: Registry,
    redis: Redis,
    valkey_server: servers.Server,
    milvus_server: servers.Server,
    tmp_path: Path,
    assets: AssetCache,
    embedder: Embedder,
) -> Iterator[Workplace]:
    """What a worker works with: an empty registry of each kind, an empty Valkey, Milvus, and nobody enrolled."""
    # Put there, as where a database is named no keys are made.
    read_or_make(secret_path(tmp_path, "data_keys"), Keyring.new_key)
    settings = Settings(
        home=tmp_path,
        redis_url=SecretStr(valkey_server.url),
        milvus_uri=milvus_server.url,
        database_url=registry.url.render_as_string(hide_password=False),
    )
    made = Workplace(settings, registry, assets)
    made.parts.loaded = embedder
    yield made
    made.close()
