"""Search by face: Milvus finds what resembles, the registry decides what there is and who may see it."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import ColumnElement, func, select
from sqlalchemy.orm import Session

from lookout import audit
from lookout.accounts.rights import Identity
from lookout.audit import Actor
from lookout.sightings.found import ROWS_PER_STATEMENT, Found, load_found
from lookout.sightings.visits import Visit, group_visits
from lookout.stores.index import waiting_sightings
from lookout.stores.registry import Registry
from lookout.stores.registry.tables import Sighting
from lookout.stores.vectors import MOST_HITS, SIGHTINGS, Vectors, Where

__all__ = ["MAX_RESULTS", "Answer", "Found", "Query", "Visit", "run_search", "search"]

MAX_RESULTS = 1000
#: Asked of Milvus beyond what is wanted, as some hits may be gone from the registry.
SPARE = 16


@dataclass(frozen=True, slots=True, eq=False)
class Query:
    """What to look for; make it by `lookout.sightings.query.make_query`, which checks it.

    Attributes:
        templates: `(N, D)` float32 of length 1; a sighting's score is its best one over all of them.
        model: the embedder that made the templates.
        cameras: ids; None: all that there is a right to.
        since_us, until_us: sightings that overlap this span; None: open.
        min_score: cosine, -1..1.
        limit: how many at most, 1..1000.
        exclude: ids of sightings that are not wanted.
    """

    templates: NDArray[np.float32]
    model: str
    cameras: tuple[str, ...] | None
    since_us: int | None
    until_us: int | None
    min_score: float
    limit: int
    exclude: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Answer:
    """What a search found.

    Attributes:
        found: best first.
        visits: the same by visit, the best first.
        searched: how many sightings passed the filters and were compared.
        waiting: sightings that Milvus has not got yet, of all cameras: they cannot be found at the moment.
        elapsed_ms: how long it took.
    """

    found: tuple[Found, ...]
    visits: tuple[Visit, ...]
    searched: int
    waiting: int
    elapsed_ms: float


def run_search(
    registry: Registry,
    vectors: Vectors,
    actor: Actor,
    who: Identity | None,
    query: Query,
    *,
    reason: str,
    by: Mapping[str, Any],
    began: float | None = None,
) -> Answer:
    """Search, and write to the audit who searched for whom and why; without that entry nobody sees the answer.

    Args:
        registry: holds the sightings.
        vectors: finds them.
        actor: who searches.
        who: whose rights count; None: all, for the command line.
        query: what for.
        reason: why, in the actor's words.
        by: what was searched with: `{"photos": [sha256, …]}`, `{"sighting": id}` or `{"target": id}`.
        began: `time.perf_counter()` of when the work began, if that was before this call.

    Raises:
        UnavailableError: the registry or Milvus does not answer.
    """
    answer = search(registry, vectors, who, query, began=began)
    with registry.transaction() as session:
        detail = {
            **by,
            "cameras": None if query.cameras is None else list(query.cameras),
            "since_us": query.since_us,
            "until_us": query.until_us,
            "min_score": round(query.min_score, 4),
            "limit": query.limit,
            "searched": answer.searched,
            "results": len(answer.found),
        }
        audit.record(session, actor, "search.made", "search", detail=detail, reason=reason)
    return answer


def search(
    registry: Registry, vectors: Vectors, who: Identity | None, query: Query, *, began: float | None = None
) -> Answer:
    """Search without a trace: for what Lookout does by itself. Whoever searches for people calls `run_search`.

    Raises:
        UnavailableError: the registry or Milvus does not answer.
    """
    began = time.perf_counter() if began is None else began
    groups = None if who is None or who.camera_groups is None else tuple(sorted(who.camera_groups))
    where = Where(cameras=query.cameras, groups=groups, since_us=query.since_us, until_us=query.until_us)
    with registry.reading() as session:
        waiting = waiting_sightings(session, query.model)
        # Each where it is fast: Milvus Lite counts a row at a time, the registry reads rows that hold templates.
        counted = _count(session, query.model, where) if vectors.is_lite() else None
    searched = vectors.count_sightings(query.model, where) if counted is None else counted
    found = _find(registry, vectors, query, where) if searched else ()
    elapsed_ms = round(1000 * (time.perf_counter() - began), 1)
    return Answer(found, group_visits(found), searched, waiting, elapsed_ms)


def _find(registry: Registry, vectors: Vectors, query: Query, where: Where) -> tuple[Found, ...]:
    """The best sightings that still exist; Milvus is asked for more until there are enough of them."""
    asked = min(MOST_HITS, query.limit + len(query.exclude) + SPARE)
    while True:
        lists = vectors.search_sightings(query.model, query.templates, asked, where, fresh=False)
        scores = dict[str, float]()
        for hit in (hit for hits in lists for hit in hits):
            scores[hit.id] = max(hit.score, scores.get(hit.id, -1.0))
        alike = sorted((one for one in scores if scores[one] >= query.min_score), key=lambda one: (-scores[one], one))
        with registry.reading() as session:
            living = _living(session, query.model, where, alike)
            # What another process was writing while the sighting was removed: nobody else would know of it.
            gone = [] if len(living) == len(alike) else _gone(session, [one for one in alike if one not in living])
            wanted = [one for one in alike if one in living and one not in query.exclude][: query.limit]
            exhausted = asked == MOST_HITS or all(
                len(hits) < asked or hits[-1].score < query.min_score for hits in lists
            )
            found = tuple(load_found(session, {one: scores[one] for one in wanted}))
        if gone:
            vectors.delete(SIGHTINGS, gone)
        if len(found) == query.limit or exhausted:
            return found
        asked = min(MOST_HITS, 4 * asked)


def _living(session: Session, model: str, where: Where, ids: Sequence[str]) -> set[str]:
    """Those that the registry has, and that it, too, says were asked for."""
    conditions = _conditions(model, where)
    living = set[str]()
    for start in range(0, len(ids), ROWS_PER_STATEMENT):
        chunk = ids[start : start + ROWS_PER_STATEMENT]
        living |= set(session.scalars(select(Sighting.id).where(Sighting.id.in_(chunk), *conditions)))
    return living


def _count(session: Session, model: str, where: Where) -> int:
    """Sightings that are in Milvus and were asked for."""
    query = select(func.count()).select_from(Sighting).where(*_conditions(model, where), Sighting.indexed.is_(True))
    return session.scalar(query) or 0


def _conditions(model: str, where: Where) -> list[ColumnElement[bool]]:
    conditions: list[ColumnElement[bool]] = [Sighting.model == model]
    if where.cameras is not None:
        conditions.append(Sighting.camera_id.in_(where.cameras))
    if where.groups is not None:
        conditions.append(Sighting.camera_group.in_(where.groups))
    if where.since_us is not None:
        conditions.append(Sighting.ended_at_us >= where.since_us)
    if where.until_us is not None:
        conditions.append(Sighting.started_at_us <= where.until_us)
    return conditions


def _gone(session: Session, ids: Sequence[str]) -> list[str]:
    there = set[str]()
    for start in range(0, len(ids), ROWS_PER_STATEMENT):
        chunk = ids[start : start + ROWS_PER_STATEMENT]
        there |= set(session.scalars(select(Sighting.id).where(Sighting.id.in_(chunk))))
    return [one for one in ids if one not in there]
