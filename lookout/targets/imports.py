"""Bulk imports: many photos onto a watchlist, some at a time, so that one that is cut off goes on where it was."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from sqlalchemy import func, insert, select
from sqlalchemy.orm import Session

from lookout import audit
from lookout.audit import Actor
from lookout.clock import now_us
from lookout.errors import BadInputError, PhotoError
from lookout.faces.gates import Gates
from lookout.faces.remedies import REMEDIES, remedies
from lookout.stores.registry import Registry
from lookout.stores.registry.tables import Import, ImportItem, Reference, Target, Watchlist, new_id
from lookout.targets.batches import Accepted, Line, store_batch
from lookout.targets.enrolment import Enroller, TargetFields, checked_fields
from lookout.targets.photos import sha256_of
from lookout.targets.sources import Entry, Source
from lookout.watchlists.records import gates_of

if TYPE_CHECKING:
    from lookout.faces.bulk import ExaminedPhoto
    from lookout.faces.detector import Detector
    from lookout.faces.embedder import Embedder

#: One transaction's worth.
BATCH, BATCH_BYTES = 100, 64_000_000
STATES = ("waiting", "accepted", "refused", "known")


@dataclass(frozen=True, slots=True)
class Models:
    """What looks at the photos, and on how many threads."""

    detector: Detector
    embedder: Embedder
    threads: int = 2


def begin_import(session: Session, actor: Actor, watchlist: Watchlist, source: str, blob: str | None = None) -> Import:
    """The import of a source into a watchlist that is locked: the unfinished one, or a new one.

    Args:
        session: of `Registry.transaction`.
        actor: who imports.
        watchlist: where to.
        source: what the user calls it.
        blob: the uploaded archive; what was uploaded is a new import each time.

    Raises:
        BadInputError: the watchlist is archived.
    """
    if watchlist.archived_at_us is not None:
        raise BadInputError(f"watchlist {watchlist.name} is archived: restore it first.")
    found = None
    if blob is None:
        query = select(Import).where(
            Import.watchlist_id == watchlist.id, Import.source == source, Import.blob.is_(None)
        )
        found = session.scalar(query.where(Import.state != "done").order_by(Import.created_at_us.desc()).limit(1))
    if found is None:
        found = Import(
            id=new_id(),
            watchlist_id=watchlist.id,
            source=source,
            blob=blob,
            created_by=actor.name,
            created_at_us=now_us(),
        )
        session.add(found)
    found.state, found.error, found.finished_at_us = "running", None, None
    session.flush()
    audit.record(session, actor, "import.started", "import", found.id, watchlist_id=watchlist.id)
    return found


def run_import(
    registry: Registry, by: Enroller, import_id: str, source: Source, models: Models
) -> Iterator[list[Line]]:
    """Import what of a source is not imported yet. It ends early if somebody cancels it.

    Yields:
        what became of some photos, after the transaction that stored it; update the index then.

    Raises:
        BadInputError: the source does not hold, or the watchlist was archived.
        UnavailableError: a store does not answer. Nothing is lost: call it again.
    """
    entries = {_key(entry): entry for entry in source.entries()}
    with registry.transaction() as session:
        _plan(session, import_id, entries)
    with registry.reading() as session:
        watchlist_id = session.get_one(Import, import_id).watchlist_id
        known, gates = Known(session, watchlist_id), gates_of(session.get_one(Watchlist, watchlist_id))
        waiting = session.execute(
            select(ImportItem.position, ImportItem.person, ImportItem.file)
            .where(ImportItem.import_id == import_id, ImportItem.state == "waiting")
            .order_by(ImportItem.position)
        ).all()
    work = [(row.position, entries.get((row.person, row.file)) or Entry(row.person, row.file)) for row in waiting]
    for batch in _batches(examine(source, work, known, models, gates)):
        lines = store_batch(registry, by, import_id, watchlist_id, batch)
        if lines is None:
            return
        yield lines
    _finish(registry, by.actor, import_id)


def try_import(registry: Registry, watchlist_id: str, source: Source, models: Models) -> Iterator[Line]:
    """What would become of each photo of a source; nothing is stored."""
    with registry.reading() as session:
        known, gates = Known(session, watchlist_id), gates_of(session.get_one(Watchlist, watchlist_id))
    for item in examine(source, list(enumerate(source.entries())), known, models, gates):
        yield item if isinstance(item, Line) else item.line(())


class Known:
    """The photos that people on a watchlist have, by name and SHA-256."""

    def __init__(self, session: Session, watchlist_id: str) -> None:
        query = select(Target.name, Reference.photo_sha256).join(Reference.target)
        rows = session.execute(query.where(Target.watchlist_id == watchlist_id))
        self._photos = {(name, sha256) for name, sha256 in rows}
        self._lock = threading.Lock()

    def add(self, person: str, sha256: str) -> bool:
        """Whether a photo is new; from then on it is known."""
        with self._lock:
            new = (person, sha256) not in self._photos
            self._photos.add((person, sha256))
        return new


def examine(
    source: Source, work: Sequence[tuple[int, Entry]], known: Known, models: Models, gates: Gates
) -> Iterator[Accepted | Line]:
    """Look at photos, one result for each, in their order."""
    from lookout.faces.bulk import examine_many

    fields: dict[int, TargetFields] = {}

    def read(position: int, entry: Entry) -> bytes:
        try:
            fields[position] = checked_fields(_fields(entry))
        except BadInputError as error:
            raise PhotoError(str(error), reasons=["bad_field"]) from error
        data = source.read(entry.file)
        if not known.add(fields[position].name, sha256_of(data)):
            raise PhotoError(f"{fields[position].name} has this photo already.", reasons=["known"])
        return data

    photos = ((entry.file, partial(read, position, entry)) for position, entry in work)
    results = examine_many(photos, models.detector, models.embedder, gates=gates, threads=models.threads)
    for (position, entry), result in zip(work, results, strict=True):
        yield _judged(position, entry, fields.pop(position, None), result, gates)


def counts(session: Session, import_id: str) -> dict[str, int]:
    """How many photos of an import are in each of `STATES`."""
    query = select(ImportItem.state, func.count()).where(ImportItem.import_id == import_id).group_by(ImportItem.state)
    found = {row[0]: row[1] for row in session.execute(query)}
    return {state: found.get(state, 0) for state in STATES}


def cancel_import(session: Session, actor: Actor, importing: Import) -> None:
    """End an import, which is locked; what it has stored stays."""
    if importing.state != "running":
        return
    importing.state, importing.finished_at_us = "cancelled", now_us()
    audit.record(session, actor, "import.cancelled", "import", importing.id, watchlist_id=importing.watchlist_id)


def fail_import(registry: Registry, actor: Actor, import_id: str, error: str) -> None:
    """End an import whose source does not hold."""
    with registry.transaction() as session:
        importing = session.get_one(Import, import_id, with_for_update=True)
        importing.state, importing.error, importing.finished_at_us = "failed", error[:1000], now_us()
        audit.record(session, actor, "import.failed", "import", import_id, watchlist_id=importing.watchlist_id)


def _plan(session: Session, import_id: str, entries: Iterable[tuple[str, str]]) -> None:
    """A waiting item for each photo that has none yet."""
    session.get_one(Import, import_id, with_for_update=True)
    query = select(ImportItem.position, ImportItem.person, ImportItem.file).where(ImportItem.import_id == import_id)
    rows = session.execute(query).all()
    planned = {(row.person, row.file) for row in rows}
    first = max((row.position for row in rows), default=-1) + 1
    new = [key for key in entries if key not in planned]
    if new:
        session.execute(
            insert(ImportItem),
            [
                {
                    "import_id": import_id,
                    "position": first + number,
                    "person": person,
                    "file": file,
                    "state": "waiting",
                    "reasons": [],
                    "message": "",
                }
                for number, (person, file) in enumerate(new)
            ],
        )


def _finish(registry: Registry, actor: Actor, import_id: str) -> None:
    with registry.transaction() as session:
        importing = session.get_one(Import, import_id, with_for_update=True)
        if importing.state != "running":
            return
        importing.state, importing.finished_at_us = "done", now_us()
        detail = counts(session, import_id)
        audit.record(
            session,
            actor,
            "import.finished",
            "import",
            import_id,
            watchlist_id=importing.watchlist_id,
            detail=dict(detail),
        )


def _batches(items: Iterable[Accepted | Line]) -> Iterator[list[Accepted | Line]]:
    batch: list[Accepted | Line] = []
    size = 0
    for item in items:
        batch.append(item)
        size += len(item.data) if isinstance(item, Accepted) else 0
        if len(batch) >= BATCH or size >= BATCH_BYTES:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch


def _judged(
    position: int, entry: Entry, fields: TargetFields | None, result: ExaminedPhoto, gates: Gates
) -> Accepted | Line:
    person, file = _key(entry)
    problem = result.examination.problem()
    if problem is None and fields is not None:
        return Accepted(position, person, file, fields, result.data, result.examination.choose())
    reasons = problem.reasons if problem else ()
    if "known" in reasons:
        return Line(position, person, file, "known", (), str(problem)[:1000])
    # The line names the file already, and nobody can choose a face here.
    alone = ("use a photo that shows this person alone, or enrol it by itself",) if "several_faces" in reasons else ()
    others = [reason for reason in reasons if reason in REMEDIES and reason != "several_faces"]
    told = "; ".join((*alone, *remedies(others, gates))) or str(problem)
    return Line(position, person, file, "refused", reasons, told[:1000])


def _fields(entry: Entry) -> TargetFields:
    return TargetFields(
        name=entry.person,
        reference_number=entry.reference_number,
        note=entry.note,
        valid_until_us=entry.valid_until_us,
    )


def _key(entry: Entry) -> tuple[str, str]:
    """Person and file as the registry can keep them, whatever a file system or archive calls them."""
    person, file = (text.encode("utf-8", "replace").decode().replace("\0", "") for text in (entry.person, entry.file))
    return person[:200], file[:1000]
