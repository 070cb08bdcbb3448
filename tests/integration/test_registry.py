from __future__ import annotations

import os
import subprocess
import sys
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import inspect, select
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import IntegrityError

from deploy.local.parts import free_ports
from lookout.errors import UnavailableError
from lookout.stores.registry import Registry, engine
from lookout.stores.registry.tables import Alert, Base, Sighting, StoredCrop, Target, Watchlist
from tests import servers

#: What SQLite keeps content in.
FILES = ("registry.db", "registry.db-wal", "registry.db-shm")


@pytest.fixture(params=["sqlite", "postgresql"])
def empty(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[URL]:
    """A database without tables."""
    if request.param == "sqlite":
        yield make_url(f"sqlite:///{tmp_path / 'new' / 'registry.db'}")
        return
    url = make_url(request.getfixturevalue("postgres_url"))
    schema = f"test_{uuid.uuid4().hex}"
    made = Registry(url)
    with made.engine.begin() as connection:
        connection.exec_driver_sql(f"CREATE SCHEMA {schema}")
    made.close()
    yield url.update_query_dict({"options": f"-csearch_path={schema}"})


def tables(registry: Registry) -> set[str]:
    with registry.engine.connect() as connection:
        return set(inspect(connection).get_table_names()) - {"alembic_version"}


def watched_target() -> list[Base]:
    return [
        Watchlist(id="w", name="w", purpose="p", legal_basis="l", camera_groups=[], created_at_us=0),
        Target(id="t", watchlist_id="w", name="t", created_at_us=0),
        Sighting(
            id="s",
            camera_id="c",
            camera_group="g",
            started_at_us=0,
            ended_at_us=0,
            model="m",
            template_sum=b"",
            best_quality=1.0,
            created_at_us=0,
        ),
        StoredCrop(id="crop", sighting_id="s", captured_at_us=0, quality=1.0, box_xyxy=[], landmarks=[]),
    ]


def alert(name: str, *, group: str = "g", tier: str = "likely", closed_at_us: int | None = None) -> Alert:
    return Alert(
        id=name,
        target_id="t",
        camera_group=group,
        camera_id="c",
        tier=tier,
        score=0.7,
        threshold=0.6,
        crop_id="crop",
        first_captured_at_us=0,
        last_seen_at_us=0,
        latency_us=0,
        stored_at_us=0,
        closed_at_us=closed_at_us,
    )


def add_each(registry: Registry, rows: list[Base]) -> None:
    for row in rows:
        with registry.transaction() as session:
            session.add(row)


def test_migrates_an_empty_database(empty: URL) -> None:
    registry = Registry(empty)
    assert not registry.is_current()
    registry.migrate()
    assert registry.is_current()
    assert tables(registry) == set(Base.metadata.tables)
    registry.migrate()
    assert registry.is_current()
    registry.close()


def test_the_migrations_make_what_the_models_say(registry: Registry) -> None:
    with registry.engine.connect() as connection:
        context = MigrationContext.configure(
            connection, opts={"compare_type": True, "compare_server_default": True, "target_metadata": Base.metadata}
        )
        assert compare_metadata(context, Base.metadata) == []


def test_threads_may_migrate_at_once(empty: URL) -> None:
    registries = [Registry(empty) for _ in range(4)]
    with ThreadPoolExecutor(len(registries)) as pool:
        list(pool.map(Registry.migrate, registries))
    assert tables(registries[0]) == set(Base.metadata.tables)
    for registry in registries:
        assert registry.is_current()
        registry.close()


def test_processes_may_migrate_at_once(empty: URL, tmp_path: Path) -> None:
    env = {
        **os.environ,
        "LOOKOUT_HOME": str(tmp_path),
        "LOOKOUT_DATABASE_URL": empty.render_as_string(hide_password=False),
    }
    command = [sys.executable, "-m", "lookout", "migrate"]
    processes = [
        subprocess.Popen(command, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    try:
        results = [(process.communicate(timeout=60)[1], process.returncode) for process in processes]
    finally:
        for process in processes:
            process.kill()
    assert [code for _, code in results] == [0, 0], results
    registry = Registry(empty)
    assert registry.is_current()
    assert tables(registry) == set(Base.metadata.tables)
    registry.close()


def test_a_target_has_one_open_episode_a_camera_group(registry: Registry) -> None:
    add_each(registry, [*watched_target(), alert("open")])
    add_each(registry, [alert("over", closed_at_us=1), alert("long over", closed_at_us=1), alert("other", group="h")])

    with pytest.raises(IntegrityError), registry.transaction() as session:
        session.add(alert("second"))

    with registry.transaction() as session:
        session.get_one(Alert, "open").closed_at_us = 2
    add_each(registry, [alert("second")])
    with registry.reading() as session:
        running = session.scalars(select(Alert.id).where(Alert.closed_at_us.is_(None)).order_by(Alert.id)).all()
    assert running == ["other", "second"]


@pytest.mark.parametrize(
    "row",
    [
        pytest.param(alert("a", tier="certain"), id="an unknown tier"),
        pytest.param(Target(id="u", watchlist_id="nowhere", name="u", created_at_us=0), id="a target of no watchlist"),
        pytest.param(Target(id="u", watchlist_id="w", name="t", created_at_us=0), id="a name twice on a watchlist"),
    ],
)
def test_the_database_refuses(registry: Registry, row: Base) -> None:
    add_each(registry, watched_target())
    with pytest.raises(IntegrityError), registry.transaction() as session:
        session.merge(row)


def test_a_transaction_that_fails_leaves_nothing(registry: Registry) -> None:
    def add_and_fail() -> None:
        with registry.transaction() as session:
            session.add(watched_target()[0])
            session.flush()
            raise ArithmeticError

    with pytest.raises(ArithmeticError):
        add_and_fail()
    with registry.reading() as session:
        assert session.scalars(select(Watchlist)).all() == []


def test_readers_do_not_wait_for_a_writer(registry: Registry) -> None:
    with registry.transaction() as writing:
        writing.add(watched_target()[0])
        writing.flush()
        with registry.reading() as session:
            assert session.scalars(select(Watchlist)).all() == []


def test_a_database_that_is_away() -> None:
    (port,) = free_ports(1)
    registry = Registry(make_url(f"postgresql+psycopg://lookout:secret@127.0.0.1:{port}/postgres"))
    assert not registry.is_current()
    for use in (registry.migrate, lambda: select_all(registry), lambda: add_each(registry, watched_target())):
        with pytest.raises(UnavailableError, match="does not answer") as raised:
            use()
        assert "secret" not in str(raised.value)
    registry.close()


def test_a_database_that_goes_away() -> None:
    binaries = servers.postgres_binaries()
    if binaries is None:
        pytest.skip("PostgreSQL's server is not installed: apt-get install postgresql")
    with servers.postgres(binaries) as url:
        registry = Registry(make_url(url))
        registry.migrate()
        with pytest.raises(UnavailableError), registry.transaction() as session:  # noqa: PT012
            session.add(watched_target()[0])
            session.flush()
            with registry.engine.connect() as other:
                other.exec_driver_sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE xact_start < now()")
            session.add(watched_target()[1])
        assert select_all(registry) == [], "a connection that broke is replaced"
    with pytest.raises(UnavailableError):
        select_all(registry)
    assert not registry.is_current()
    registry.close()


def test_sqlite_in_a_place_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "registry.db").mkdir()
    registry = Registry(make_url(f"sqlite:///{tmp_path / 'registry.db'}"))
    assert not registry.is_current()
    with pytest.raises(UnavailableError, match="unable to open database file"):
        registry.migrate()
    with pytest.raises(UnavailableError, match="unable to open database file"):
        select_all(registry)
    registry.close()


def test_sqlite_waits_for_another_writer_only_so_long(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine, "SQLITE_BUSY_S", 0.1)
    registry = Registry(make_url(f"sqlite:///{tmp_path / 'registry.db'}"))
    registry.migrate()
    with registry.transaction() as session:
        session.add(watched_target()[0])
        session.flush()
        with pytest.raises(UnavailableError, match="database is locked"):
            add_each(registry, [watched_target()[0]])
    assert [row.id for row in select_all(registry)] == ["w"]
    registry.close()


def test_only_its_owner_reads_what_sqlite_wrote(tmp_path: Path) -> None:
    registry = Registry(make_url(f"sqlite:///{tmp_path / 'registry.db'}"))
    registry.migrate()
    with registry.transaction() as session:
        session.add(watched_target()[0])
        session.flush()
        modes = {name: (tmp_path / name).stat().st_mode & 0o777 for name in FILES}
    assert modes == dict.fromkeys(FILES, 0o600)
    registry.close()


def select_all(registry: Registry) -> list[Watchlist]:
    with registry.reading() as session:
        return list(session.scalars(select(Watchlist)))
