"""How fast sightings are found, and how many of the right ones: Milvus against an exact scan of the same templates."""

from __future__ import annotations

import statistics
import time
import uuid
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import select

from lookout.errors import BadInputError
from lookout.sealing import Keyring
from lookout.sightings.query import DEFAULT_RESULTS
from lookout.stores.registry import Registry
from lookout.stores.registry.tables import Sighting
from lookout.stores.templates import sighting_place, unpack
from lookout.stores.vectors import SightingRow, Vectors, Where

Floats = NDArray[np.float32]

#: What a synthetic person's templates have in common: cosines of 0.65, as man A's of two occasions.
SAME_PERSON = 0.65
SIGHTINGS_A_PERSON = 20
CAMERAS = 40
DAY_US = 86_400_000_000
SEED = 7
BATCH = 5000
AT = 10


@dataclass(frozen=True, slots=True, eq=False)
class Collection:
    """Sightings with their templates `(N, D)`, as they are in Milvus."""

    model: str
    rows: list[SightingRow]
    templates: Floats


@dataclass(frozen=True, slots=True)
class Figures:
    """What was measured.

    Attributes:
        milvus: its version.
        index: the kind of index that sightings are searched by.
        rows: sightings.
        queries: searches, each of half of the cameras and half of the time.
        selected: share of the sightings that the filters let through, 0..1.
        build_s: until all was written and could be searched by the index; None if it was there already.
        p50_ms, p95_ms: of what a search asks of Milvus.
        recall_at_10: share of the ten best that were found, 0..1.
    """

    milvus: str
    index: str
    rows: int
    queries: int
    selected: float
    build_s: float | None
    p50_ms: float
    p95_ms: float
    recall_at_10: float


def measure_synthetic(vectors: Vectors, dimension: int, rows: int, queries: int) -> Figures:
    """Measure a collection of made-up people, which is removed again.

    Raises:
        UnavailableError: Milvus does not answer.
    """
    model = f"bench_{uuid.uuid4().hex[:12]}"
    made = synthetic(model, dimension, rows)
    vectors.make_sightings(model, dimension)
    try:
        began = time.monotonic()
        for start in range(0, rows, BATCH):
            part = slice(start, start + BATCH)
            vectors.upsert_sightings(model, made.rows[part], made.templates[part])
        vectors.settle_sightings(model)
        return measure(vectors, made, queries, build_s=round(time.monotonic() - began, 1))
    finally:
        vectors.drop_sightings(model)


def live(registry: Registry, keyring: Keyring, model: str) -> Collection:
    """The sightings that Milvus has.

    Raises:
        BadInputError: there are too few to measure anything.
    """
    from lookout.faces.embedder import normalised

    query = select(Sighting).where(Sighting.model == model, Sighting.indexed.is_(True))
    rows, sums = [], []
    with registry.reading() as session:
        for one in session.scalars(query.execution_options(yield_per=1000)):
            rows.append(SightingRow(one.id, one.camera_id, one.camera_group, one.started_at_us, one.ended_at_us))
            sums.append(unpack(one.template_sum, keyring, sighting_place(one.id)))
            session.expunge(one)
    if len(rows) < AT:
        raise BadInputError(f"there are {len(rows)} sightings, too few to measure: give --rows for made-up ones.")
    return Collection(model, rows, normalised(np.stack(sums)))


def measure(vectors: Vectors, made: Collection, queries: int, *, build_s: float | None = None) -> Figures:
    """Search for people of a collection as seen on another occasion, and compare with an exact scan."""
    random = np.random.default_rng(SEED + 1)
    cameras = np.array([row.camera_id for row in made.rows])
    starts = np.array([row.started_at_us for row in made.rows])
    ends = np.array([row.ended_at_us for row in made.rows])
    known = sorted(set(cameras.tolist()))
    times, recalls, selected = [], [], []
    for number in range(-3, queries):  # the first ones warm up
        template = _another(made.templates[random.integers(len(made.rows))][None], random)
        some = sorted(random.choice(known, max(1, len(known) // 2), replace=False).tolist())
        since, until = _half(int(starts.min()), int(ends.max()), random.random())
        where = Where(cameras=some, since_us=since, until_us=until)
        began = time.perf_counter()
        if not vectors.is_lite():  # see `lookout.sightings.search`
            vectors.count_sightings(made.model, where)
        (hits,) = vectors.search_sightings(made.model, template, DEFAULT_RESULTS, where, fresh=False)
        if number < 0:
            continue
        times.append(1000 * (time.perf_counter() - began))
        admitted = np.isin(cameras, some) & (ends >= since) & (starts <= until)
        scores = np.where(admitted, made.templates @ template[0], np.float32(-2))
        best = np.sort(scores)[::-1][: min(AT, int(admitted.sum()))]
        if len(best):
            recalls.append(sum(hit.score >= float(best[-1]) - 1e-4 for hit in hits[: len(best)]) / len(best))
        selected.append(float(admitted.mean()))
    version, index = vectors.kind()
    return Figures(
        milvus=version,
        index=index,
        rows=len(made.rows),
        queries=queries,
        selected=round(statistics.mean(selected), 3),
        build_s=build_s,
        p50_ms=round(statistics.median(times), 1),
        p95_ms=round(float(np.percentile(times, 95)), 1),
        recall_at_10=round(statistics.mean(recalls), 4) if recalls else 1.0,
    )


def synthetic(model: str, dimension: int, rows: int) -> Collection:
    """Made-up people, each seen on several occasions at some cameras over three days; always the same."""
    random = np.random.default_rng(SEED)
    people = _unit(random.standard_normal((max(1, rows // SIGHTINGS_A_PERSON), dimension), dtype=np.float32))
    templates = np.empty((rows, dimension), np.float32)
    for start in range(0, rows, 100_000):
        part = slice(start, min(rows, start + 100_000))
        whose = random.integers(len(people), size=part.stop - part.start)
        templates[part] = _another(people[whose], random)
    cameras = random.integers(CAMERAS, size=rows)
    starts = random.integers(3 * DAY_US, size=rows) + 20_000 * DAY_US
    made = [
        SightingRow(f"{number:032x}", f"camera-{camera}", f"group-{camera % 4}", int(start), int(start) + 5_000_000)
        for number, (camera, start) in enumerate(zip(cameras.tolist(), starts.tolist(), strict=True))
    ]
    return Collection(model, made, templates)


def _another(templates: Floats, random: np.random.Generator) -> Floats:
    """Templates of the same people on another occasion."""
    noise = _unit(random.standard_normal(templates.shape, dtype=np.float32))
    # Two of one person have `1 / (1 + share ** 2)` in common.
    share = np.float32(np.sqrt(1 / SAME_PERSON - 1))
    return _unit(templates + share * noise)


def _half(first: int, last: int, place: float) -> tuple[int, int]:
    length = (last - first) // 2
    since = first + round(place * length)
    return since, since + length


def _unit(vectors: Floats) -> Floats:
    return np.asarray(vectors / np.linalg.norm(vectors, axis=1, keepdims=True), np.float32)
