"""Brings Milvus to what the registry says. The registry is the authority; Milvus follows."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import TypeAlias

from sqlalchemy import ColumnElement, Row, and_, delete, exists, func, select, text, update
from sqlalchemy.orm import Session

from lookout.sealing import Keyring
from lookout.stores.registry import Registry
from lookout.stores.registry.tables import IndexRemoval, Sighting, Target, Watchlist
from lookout.stores.templates import sighting_place, target_place, unpack_many
from lookout.stores.vectors import SIGHTINGS, TARGETS, SightingRow, Vectors

BATCH = 5000
#: Sightings written in one go: a second of Milvus Lite's.
SIGHTINGS_BATCH = 1000
#: SQLite takes some thousand parameters in a statement.
ROWS_PER_STATEMENT = 500
#: As the partial index `ix_sightings_waiting` has it: SQLite looks there for no other wording.
_NOT_INDEXED = text("NOT indexed")
SightingRecord: TypeAlias = "Row[str, str, str, int, int, bytes]"
_SIGHTING = select(
    Sighting.id,
    Sighting.camera_id,
    Sighting.camera_group,
    Sighting.started_at_us,
    Sighting.ended_at_us,
    Sighting.template_sum,
)


def prepare_index(registry: Registry, vectors: Vectors, model: str, dimension: int) -> None:
    """Make the model's collections; what Milvus had lost, or had in an older form, is marked to be written again."""
    if vectors.missing(model):
        with registry.exclusively("index"):
            # Marked first: whoever is killed in between leaves something missing, and this is done again.
            missing = vectors.missing(model)
            if TARGETS in missing:
                with registry.transaction() as session:
                    session.execute(update(Target).where(Target.model == model).values(indexed=False))
            if SIGHTINGS in missing:
                _forget_sightings(registry, model)
            vectors.prepare(model, dimension)
    vectors.prepare(model, dimension)


def update_index(registry: Registry, vectors: Vectors, keyring: Keyring, model: str) -> int:
    """Write to Milvus what the registry has new, delete what it has no more; returns how many rows changed.

    All that was committed before the call is found, or found no more, by whoever searches after it. Several processes
    may call it, each waits for its turn; one killed at any point leaves unmarked what is done again.

    Raises:
        UnavailableError: Milvus or the registry does not answer.
        SealError: a template cannot be decrypted.
    """
    if not _is_behind(registry, model):
        return 0
    # A slow process must not write again what another has removed meanwhile.
    with registry.exclusively("index"):
        return _remove(registry, vectors) + _write(registry, vectors, keyring, model)


def _is_behind(registry: Registry, model: str) -> bool:
    with registry.reading() as session:
        removal = session.scalar(select(IndexRemoval.target_id).limit(1))
        return removal is not None or session.scalar(select(Target.id).where(_waiting(model)).limit(1)) is not None


def _waiting(model: str) -> ColumnElement[bool]:
    """Targets that can be matched and are not in Milvus yet."""
    return and_(
        Target.indexed.is_(False),
        Target.model == model,
        Target.template.is_not(None),
        Target.erased_at_us.is_(None),
        exists().where(Watchlist.id == Target.watchlist_id, Watchlist.archived_at_us.is_(None)),
        ~exists().where(IndexRemoval.target_id == Target.id),
    )


def _remove(registry: Registry, vectors: Vectors) -> int:
    changed = 0
    while True:
        with registry.reading() as session:
            removals = list(session.scalars(select(IndexRemoval.target_id).limit(BATCH)))
        if not removals:
            return changed
        vectors.delete(TARGETS, removals)
        with registry.transaction() as session:
            session.execute(delete(IndexRemoval).where(IndexRemoval.target_id.in_(removals)))
            session.execute(update(Target).where(Target.id.in_(removals)).values(indexed=False))
        changed += len(removals)


def _write(registry: Registry, vectors: Vectors, keyring: Keyring, model: str) -> int:
    changed = 0
    while True:
        with registry.reading() as session:
            rows = session.execute(select(Target.id, Target.template).where(_waiting(model)).limit(BATCH)).all()
        if not rows:
            return changed
        written = {row.id: row.template for row in rows if row.template is not None}
        templates = unpack_many({target_place(name): sealed for name, sealed in written.items()}, keyring)
        vectors.upsert_targets(model, list(written), templates)
        with registry.transaction() as session:
            # Who got another template since it was read is written again; who was removed has a removal that waits.
            query = select(Target.id, Target.template).where(Target.id.in_(written), _waiting(model)).with_for_update()
            same = [row.id for row in session.execute(query) if row.template == written[row.id]]
            session.execute(update(Target).where(Target.id.in_(same)).values(indexed=True))
        changed += len(written)


def update_sightings(
    registry: Registry,
    vectors: Vectors,
    keyring: Keyring,
    model: str,
    *,
    ids: Sequence[str] | None = None,
    deadline: float = math.inf,
) -> int:
    """Write to Milvus the sightings that it does not have as the registry has them; returns how many rows it wrote.

    Any number of processes may do so at once: each looks afterwards whether what it wrote is still so.

    Args:
        registry: says which.
        vectors: Milvus.
        keyring: opens the templates.
        model: the embedder that made them.
        ids: only these; None: all that wait.
        deadline: `time.monotonic()` from which no further batch is begun.

    Raises:
        UnavailableError: Milvus or the registry does not answer.
        SealError: a template cannot be decrypted.
    """
    # Brings OpenVINO, which must not be loaded where other processes are forked from.
    from lookout.faces.embedder import normalised

    written = 0
    while time.monotonic() < deadline:
        query = _SIGHTING.where(Sighting.model == model, _NOT_INDEXED).limit(SIGHTINGS_BATCH)
        if ids is not None:
            query = query.where(Sighting.id.in_(ids))
        with registry.reading() as session:
            rows = {row.id: row for row in session.execute(query)}
        if not rows:
            break
        sums = unpack_many({sighting_place(name): row.template_sum for name, row in rows.items()}, keyring)
        vectors.upsert_sightings(model, [_as_row(row) for row in rows.values()], normalised(sums))
        _confirm(registry, vectors, rows)
        written += len(rows)
    return written


def waiting_sightings(session: Session, model: str) -> int:
    """How many sightings Milvus does not have as the registry has them."""
    query = select(func.count()).select_from(Sighting).where(Sighting.model == model, _NOT_INDEXED)
    return session.scalar(query) or 0


def _confirm(registry: Registry, vectors: Vectors, written: Mapping[str, SightingRecord]) -> None:
    """Mark what Milvus has now, and take out again what was removed meanwhile."""
    with registry.transaction() as session:
        # Locked: who removes a sighting has told Milvus before the commit, which is waited for here.
        now = {
            row.id: row
            for chunk in _chunks(list(written))
            for row in session.execute(_SIGHTING.where(Sighting.id.in_(chunk)).with_for_update())
        }
        for state in (True, False):
            names = [name for name in now if (now[name] == written[name]) is state]
            for chunk in _chunks(names):
                session.execute(update(Sighting).where(Sighting.id.in_(chunk)).values(indexed=state))
    if gone := written.keys() - now.keys():
        vectors.delete(SIGHTINGS, sorted(gone))


def _forget_sightings(registry: Registry, model: str) -> None:
    """Mark all sightings as not indexed, some at a time, so that others can write meanwhile."""
    last = ""
    while True:
        with registry.transaction() as session:
            some = select(Sighting.id).where(Sighting.model == model, Sighting.id > last)
            ids = session.scalars(some.order_by(Sighting.id).limit(BATCH)).all()
            for chunk in _chunks(ids):
                session.execute(update(Sighting).where(Sighting.id.in_(chunk)).values(indexed=False))
        if not ids:
            return
        last = ids[-1]


def _as_row(row: SightingRecord) -> SightingRow:
    return SightingRow(row.id, row.camera_id, row.camera_group, row.started_at_us, row.ended_at_us)


def _chunks(ids: Sequence[str]) -> Iterator[Sequence[str]]:
    return (ids[start : start + ROWS_PER_STATEMENT] for start in range(0, len(ids), ROWS_PER_STATEMENT))
