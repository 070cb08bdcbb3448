"""Brings Milvus to what the registry says. The registry is the authority; Milvus follows."""

from __future__ import annotations

import contextlib
import fcntl
from collections.abc import Iterator
from pathlib import Path

from sqlalchemy import ColumnElement, and_, delete, exists, select, text, update

from lookout.sealing import Keyring
from lookout.stores.registry import Registry
from lookout.stores.registry.tables import IndexRemoval, Target, Watchlist
from lookout.stores.templates import target_place, unpack_many
from lookout.stores.vectors import TARGETS, Vectors

BATCH = 5000
#: One process at a time tells Milvus, as a slow one must not write again what another has removed meanwhile. An
#: arbitrary number that only Lookout uses.
INDEX_LOCK = 7_013_556


def prepare_index(registry: Registry, vectors: Vectors, model: str, dimension: int) -> None:
    """Make the model's collections; if Milvus had lost them, mark all targets to be written again."""
    if vectors.prepare(model, dimension):
        with registry.transaction() as session:
            session.execute(update(Target).where(Target.model == model).values(indexed=False))


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
    with _alone(registry):
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
        vectors.upsert(TARGETS, list(written), templates)
        with registry.transaction() as session:
            # Who got another template since it was read is written again; who was removed has a removal that waits.
            query = select(Target.id, Target.template).where(Target.id.in_(written), _waiting(model)).with_for_update()
            same = [row.id for row in session.execute(query) if row.template == written[row.id]]
            session.execute(update(Target).where(Target.id.in_(same)).values(indexed=True))
        changed += len(written)


@contextlib.contextmanager
def _alone(registry: Registry) -> Iterator[None]:
    """Nobody else is in here, in no process."""
    if registry.engine.dialect.name == "sqlite":
        with Path(f"{registry.url.database}.index.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield
        return
    with registry.engine.connect() as connection:
        connection.execute(text("SELECT pg_advisory_lock(:key)"), {"key": INDEX_LOCK})
        try:
            yield
        finally:
            connection.execute(text("SELECT pg_advisory_unlock(:key)"), {"key": INDEX_LOCK})
