"""Brings Milvus to what the registry says. The registry is the authority; Milvus follows."""

from __future__ import annotations

from sqlalchemy import delete, select, update

from lookout.stores.registry import Registry
from lookout.stores.registry.tables import IndexRemoval, Reference
from lookout.stores.templates import unpack_many
from lookout.stores.vectors import REFERENCES, Vectors

BATCH = 5000


def prepare_index(registry: Registry, vectors: Vectors, model: str, dimension: int) -> None:
    """Make the model's collections; if Milvus had lost them, mark all references to be written again."""
    if vectors.prepare(model, dimension):
        with registry.transaction() as session:
            session.execute(update(Reference).where(Reference.model == model).values(indexed=False))


def update_index(registry: Registry, vectors: Vectors, model: str) -> int:
    """Write to Milvus what the registry has new, delete what it has no more; returns how many rows changed.

    It may run in several processes at once and be killed at any point: what is not marked is done again.
    """
    return _remove(registry, vectors) + _write(registry, vectors, model)


def _remove(registry: Registry, vectors: Vectors) -> int:
    changed = 0
    while True:
        with registry.reading() as session:
            removals = list(session.scalars(select(IndexRemoval.reference_id).limit(BATCH)))
        if not removals:
            return changed
        vectors.delete(REFERENCES, removals)
        with registry.transaction() as session:
            session.execute(delete(IndexRemoval).where(IndexRemoval.reference_id.in_(removals)))
        changed += len(removals)


def _write(registry: Registry, vectors: Vectors, model: str) -> int:
    changed = 0
    while True:
        with registry.reading() as session:
            waiting = session.execute(
                select(Reference.id, Reference.template)
                .where(Reference.indexed.is_(False), Reference.model == model)
                .limit(BATCH)
            ).all()
        if not waiting:
            return changed
        ids = [row.id for row in waiting]
        vectors.upsert(REFERENCES, ids, unpack_many([row.template for row in waiting]))
        with registry.transaction() as session:
            session.execute(update(Reference).where(Reference.id.in_(ids)).values(indexed=True))
            # A reference erased since it was read has just been written to Milvus again. The row is there in case this
            # process is killed now; another process, which removed too early, may be about to delete the row.
            erased = set(ids) - set(session.scalars(select(Reference.id).where(Reference.id.in_(ids))))
            for reference_id in erased:
                session.merge(IndexRemoval(reference_id=reference_id))
        if erased:
            vectors.delete(REFERENCES, list(erased))
        changed += len(ids)
