"""Migration 0004 on a registry that was used before: cosines become error rates, and what there is keeps its model."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from alembic import command
from sqlalchemy import MetaData, delete, func, inspect, select
from sqlalchemy.engine import make_url

from lookout.errors import ConflictError
from lookout.stores.registry import Registry
from lookout.stores.registry.engine import _alembic_config
from lookout.stores.registry.tables import (
    ModelChoice,
    NextReference,
    NextSighting,
    Reference,
    Sighting,
    SiteCalibration,
    Target,
    Watchlist,
)

OLD = "mobilefacenet-192"
Row = dict[str, Any]
Tables = dict[str, list[Row]]

WATCHLIST: Row = {
    "purpose": "p", "legal_basis": "l", "authorised_by": "", "camera_groups": ["doors"], "two_person_tiers": ["likely"],
    "reason_required": False, "retention_days": 7, "version": 3, "created_at_us": 5,
}  # fmt: skip
TARGET: Row = {"reference_number": "", "note": "", "indexed": False, "version": 1, "created_at_us": 6}
SIGHTING: Row = {
    "camera_id": "c", "camera_group": "g", "started_at_us": 0, "ended_at_us": 0, "template_sum": b"",
    "best_quality": 1.0, "created_at_us": 0, "indexed": False,
}  # fmt: skip
REFERENCE: Row = {
    "photo_blob": "p", "photo_sha256": "0", "face_blob": "f", "box_xyxy": [], "landmarks": [], "quality": 1.0,
    "model": OLD, "template": b"t", "in_template": True, "confirmed": False, "created_at_us": 0,
}  # fmt: skip


def watchlist(name: str, possible: float | None = None, likely: float | None = None) -> Row:
    return {**WATCHLIST, "id": name, "name": name, "possible_threshold": possible, "likely_threshold": likely}


def people(on: str, count: int, *, erased: int = 0, model: str | None = OLD) -> list[Row]:
    return [
        {
            **TARGET, "id": f"{on}{number}", "name": f"{number}", "watchlist_id": on, "model": model,
            "template": None if model is None else b"t", "erased_at_us": 9 if number >= count else None,
        }
        for number in range(count + erased)
    ]  # fmt: skip


def go_back(registry: Registry) -> None:
    with registry._free_of_references() as connection:
        config = _alembic_config()
        config.attributes["connection"] = connection
        command.downgrade(config, "0003")


@pytest.fixture
def old(registry: Registry) -> Registry:
    """A registry of the version before."""
    go_back(registry)
    return registry


def fill(registry: Registry, tables: Tables) -> None:
    """Rows of the older version, which no class describes any more."""
    with registry.engine.begin() as connection:
        schema = MetaData()
        schema.reflect(connection)
        for table, rows in tables.items():
            connection.execute(schema.tables[table].insert(), [dict.fromkeys(rows[0]) | row for row in rows])


def rates(registry: Registry) -> dict[str, tuple[int, int]]:
    with registry.reading() as session:
        columns = (Watchlist.name, Watchlist.possible_strangers, Watchlist.likely_strangers)
        return {row[0]: (row[1], row[2]) for row in session.execute(select(*columns))}


def in_use(registry: Registry) -> dict[str, str]:
    with registry.reading() as session:
        return {row.role: row.name for row in session.scalars(select(ModelChoice))}


def counts(registry: Registry, *tables: type[Any]) -> list[int | None]:
    with registry.reading() as session:
        return [session.scalar(select(func.count()).select_from(table)) for table in tables]


def test_cosines_become_the_rates_that_they_were(old: Registry) -> None:
    # MobileFaceNet's strangers reached 0.45 once in 10^3 comparisons, 0.53 in 10^4, 0.60 in 10^5, 0.68 in 10^6.
    fill(
        old,
        {
            "watchlists": [
                watchlist("none"),
                watchlist("one", 0.53, 0.60),
                watchlist("empty", 0.45, 0.68),
                watchlist("ten", 0.53, 0.60),
                watchlist("between", 0.49, 0.565),
                watchlist("loose", 0.1, 0.2),
                watchlist("strict", 0.9, 0.95),
                watchlist("turned", 0.60, 0.53),
                watchlist("half", None, 0.45),
            ],
            "targets": [*people("one", 1, erased=4), *people("ten", 10)],
        },
    )

    old.migrate()

    assert rates(old) == {
        "none": (500, 10_000),
        "one": (10_000, 100_000),
        "empty": (1000, 1_000_000),
        "ten": (1000, 10_000),  # any of ten: ten times as often
        "between": (3162, 31_623),  # halfway on the scale of powers: 10^3.5, 10^4.5
        "loose": (1, 3),  # 10^(-2 + 0.25/0.1) is everybody; 10^-0.5 is one in 3.16
        "strict": (1_000_000, 1_000_000),
        "turned": (100_000, 100_000),  # nobody below `possible` was ever reported
        "half": (500, 1000),
    }
    with old.reading() as session:
        kept = session.get_one(Watchlist, "one")
        assert (kept.min_face_px, kept.min_quality) == (40, 0.5)
        assert (kept.camera_groups, kept.two_person_tiers, kept.retention_days, kept.version) == (
            ["doors"], ["likely"], 7, 3,
        )  # fmt: skip
        assert session.scalar(select(func.count()).select_from(Target)) == 15, "nobody is lost"


@pytest.mark.parametrize(
    ("tables", "embedder"),
    [
        pytest.param({}, "fusion-320", id="empty"),
        pytest.param({"targets": people("w", 2)}, OLD, id="targets"),
        pytest.param({"sightings": [{**SIGHTING, "id": "s", "model": OLD}]}, OLD, id="sightings"),
        pytest.param({"targets": people("w", 1, erased=1, model=None)}, "fusion-320", id="without templates"),
    ],
)
def test_what_is_there_goes_on_with_its_model(old: Registry, tables: Tables, embedder: str) -> None:
    fill(old, {"watchlists": [watchlist("w")], **tables})

    old.migrate()

    assert in_use(old) == {"detector": "yunet", "embedder": embedder}


def one_of_each(model: str = OLD) -> Tables:
    return {
        "watchlists": [watchlist("w", 0.53, 0.6)],
        "targets": people("w", 1),
        "references": [{**REFERENCE, "id": "r", "target_id": "w0"}],
        "sightings": [{**SIGHTING, "id": "s", "model": model}],
    }


def add_next(old: Registry) -> None:
    with old.transaction() as session:
        for model in ("a", "b"):
            session.add(NextReference(reference_id="r", model=model, template=b""))
            session.add(NextSighting(sighting_id="s", model=model, template_sum=b"", crops=1))


@pytest.mark.parametrize(("owner", "left"), [(Reference, [0, 2]), (Sighting, [2, 0])], ids=["references", "sightings"])
def test_what_is_made_ready_goes_with_its_owner(old: Registry, owner: type[Any], left: Sequence[int]) -> None:
    fill(old, one_of_each())
    old.migrate()
    add_next(old)
    assert counts(old, NextReference, NextSighting) == [2, 2]

    with old.transaction() as session:
        session.execute(delete(owner))

    assert counts(old, NextReference, NextSighting) == left


def test_rows_that_point_nowhere_stop_it_and_nothing_changes(tmp_path: Path) -> None:
    """SQLite looks at references at the end of a migration only, PostgreSQL always does."""
    registry = Registry(make_url(f"sqlite:///{tmp_path / 'registry.db'}"))
    registry.migrate()
    go_back(registry)
    with contextlib.closing(sqlite3.connect(tmp_path / "registry.db")) as other, other:  # it enforces none
        other.execute(
            "INSERT INTO targets (id, watchlist_id, name, reference_number, note, indexed, version, created_at_us) "
            "VALUES ('t', 'nowhere', '', '', '', 0, 1, 0)"
        )

    with pytest.raises(ConflictError, match="was not migrated: 1 rows, of targets first, point to what is not there"):
        registry.migrate()

    assert not registry.is_current()
    with registry.engine.connect() as connection:
        assert "possible_threshold" in {one["name"] for one in inspect(connection).get_columns("watchlists")}
        assert connection.exec_driver_sql("PRAGMA foreign_keys").scalar() == 1
    registry.close()


def test_there_and_back_and_there_again(old: Registry) -> None:
    fill(old, one_of_each())
    old.migrate()
    add_next(old)

    go_back(old)
    with old.engine.connect() as connection:
        schema = MetaData()
        schema.reflect(connection)
        (row,) = connection.execute(select(schema.tables["watchlists"]))
    assert (row.possible_threshold, row.likely_threshold) == (None, None)
    assert not {"calibrations", "models_in_use", "next_references", "next_sightings"} & set(schema.tables)

    old.migrate()
    assert old.is_current()
    assert rates(old) == {"w": (500, 10_000)}
    assert in_use(old) == {"detector": "yunet", "embedder": OLD}
    assert counts(old, Target, Reference, Sighting) == [1, 1, 1]
    assert counts(old, NextReference, NextSighting, SiteCalibration) == [0, 0, 0]
