"""What is searched is narrowed inside Milvus: the expressions that Lookout builds, on a real server."""

from __future__ import annotations

import contextlib
import uuid
from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lookout.stores.vectors import SightingRow, Vectors, Where
from tests import servers

DIMENSION = 4
CAMERAS = ["door", "gate", "lift_2"]
GROUPS = ["in", 'the "old" house', "back\\slash", "café'", "a\tb", "x' or id != '"]


def rows() -> list[SightingRow]:
    return [
        SightingRow(f"s{number}", CAMERAS[number % 3], GROUPS[number % len(GROUPS)], number * 10, number * 10 + 15)
        for number in range(24)
    ]


@pytest.fixture(scope="module")
def filled(milvus_server: servers.Server) -> Iterator[tuple[Vectors, str]]:
    model = f"filters-{uuid.uuid4().hex}"
    with contextlib.closing(Vectors(milvus_server.url)) as vectors:
        vectors.make_sightings(model, DIMENSION)
        templates = np.random.default_rng(1).standard_normal((24, DIMENSION)).astype(np.float32)
        vectors.upsert_sightings(model, rows(), templates / np.linalg.norm(templates, axis=1, keepdims=True))
        yield vectors, model
        vectors.drop_sightings(model)


some = st.none() | st.integers(-5, 300)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    cameras=st.none() | st.lists(st.sampled_from([*CAMERAS, "none"]), unique=True, max_size=4),
    groups=st.none() | st.lists(st.sampled_from(GROUPS) | st.text("ab\"'\\ %{}\n\t\u00e9", max_size=8), max_size=4),
    since=some,
    until=some,
)
def test_milvus_admits_what_was_asked_for(
    filled: tuple[Vectors, str],
    cameras: list[str] | None,
    groups: list[str] | None,
    since: int | None,
    until: int | None,
) -> None:
    vectors, model = filled
    where = Where(cameras=cameras, groups=groups, since_us=since, until_us=until)
    admitted = {
        row.id
        for row in rows()
        if (cameras is None or row.camera_id in cameras)
        and (groups is None or row.camera_group in groups)
        and (since is None or row.ended_at_us >= since)
        and (until is None or row.started_at_us <= until)
    }
    (hits,) = vectors.search_sightings(model, np.eye(DIMENSION, dtype=np.float32)[:1], 100, where)
    assert {hit.id for hit in hits} == admitted
    assert [hit.score for hit in hits] == sorted((hit.score for hit in hits), reverse=True)
    assert vectors.count_sightings(model, where) == len(admitted)
