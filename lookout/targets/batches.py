"""One batch of an import's photos into all stores: pictures first, then all rows in one transaction."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from lookout import audit
from lookout.clock import now_us
from lookout.errors import BadInputError
from lookout.faces.photos import decode_photo
from lookout.stores.registry import Registry
from lookout.stores.registry.tables import Import, ImportItem, Reference, Target, Watchlist, new_id
from lookout.targets.enrolment import Enroller, TargetFields
from lookout.targets.photos import Photo, cut_face
from lookout.targets.references import new_reference, recombine, write_pictures

if TYPE_CHECKING:
    from lookout.faces.enrolment import EnrolledFace

#: Pictures cut out, sealed and written at a time.
WRITERS = 2


@dataclass(frozen=True, slots=True)
class Line:
    """What became of one photo.

    Attributes:
        state: `accepted`, `refused` or `known`.
        reasons: why it was refused; `disagrees` of an accepted one that is not part of the template.
    """

    position: int
    person: str
    file: str
    state: str
    reasons: tuple[str, ...] = ()
    message: str = ""
    target_id: str | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Accepted:
    """A photo that is about to be stored: whose it is, its bytes, and the face in it."""

    position: int
    person: str
    file: str
    fields: TargetFields
    data: bytes
    face: EnrolledFace

    def line(self, reasons: Sequence[str], target_id: str | None = None) -> Line:
        """What became of it."""
        message = "It may show somebody else than the others: look at it and confirm or remove it." if reasons else ""
        return Line(self.position, self.person, self.file, "accepted", tuple(reasons), message, target_id)


@dataclass(frozen=True, slots=True, eq=False)
class _Stored:
    """A photo whose pictures are written, with the row that shall name them."""

    accepted: Accepted
    reference: Reference


def store_batch(
    registry: Registry, by: Enroller, import_id: str, watchlist_id: str, batch: Sequence[Accepted | Line]
) -> list[Line] | None:
    """Store some photos and what became of all; None, and nothing stored, if somebody has cancelled the import.

    Raises:
        BadInputError: the watchlist was archived meanwhile.
        UnavailableError: a store does not answer; nothing of the batch is stored.
    """
    accepted = [item for item in batch if isinstance(item, Accepted)]
    with registry.reading() as session:
        targets = _targets(session, watchlist_id, accepted, lock=False)
    ids = {name: target.id for name, target in targets.items()}
    for item in accepted:
        ids.setdefault(item.fields.name, new_id())
    stored: list[_Stored] = []
    try:
        stored += _write(by, ids, accepted)
        with registry.transaction() as session:
            lines = _record(session, by, import_id, watchlist_id, ids, stored)
            if lines is not None:
                lines += [item for item in batch if isinstance(item, Line)]
                _mark(session, import_id, lines)
        if lines is not None:
            return sorted(lines, key=lambda line: line.position)
    except BaseException:
        _discard(by, stored)
        raise
    _discard(by, stored)
    return None


def _write(by: Enroller, ids: Mapping[str, str], accepted: Sequence[Accepted]) -> list[_Stored]:
    """Cut out and store the pictures; those of a batch that fails are deleted."""
    begun: list[_Stored] = []

    def write(item: Accepted) -> _Stored:
        jpeg = cut_face(decode_photo(item.data, item.file), item.face.detection.box_xyxy.tolist())
        photo = Photo(item.file, item.data, item.face, jpeg)
        made = _Stored(item, new_reference(ids[item.fields.name], photo, by.keyring, by.model))
        begun.append(made)
        write_pictures(by.blobs, made.reference, photo)
        return made

    try:
        with ThreadPoolExecutor(WRITERS, thread_name_prefix="pictures") as pool:
            return list(pool.map(write, accepted))
    except BaseException:
        _discard(by, begun)
        raise


def _record(
    session: Session,
    by: Enroller,
    import_id: str,
    watchlist_id: str,
    ids: Mapping[str, str],
    stored: Sequence[_Stored],
) -> list[Line] | None:
    watchlist = session.get_one(Watchlist, watchlist_id, with_for_update=True)
    importing = session.get_one(Import, import_id, with_for_update=True)
    if importing.state != "running":
        return None
    if watchlist.archived_at_us is not None:
        raise BadInputError(f"watchlist {watchlist.name} is archived: restore it first.")
    there = _targets(session, watchlist_id, [one.accepted for one in stored], lock=True)
    lines = []
    for name in dict.fromkeys(one.accepted.fields.name for one in stored):
        mine = [one for one in stored if one.accepted.fields.name == name]
        target = there.get(name)
        created = target is None
        if target is None:
            fields = mine[0].accepted.fields
            target = Target(
                id=ids[name], watchlist_id=watchlist_id, created_at_us=now_us(), version=0, **asdict(fields)
            )
            session.add(target)
            session.flush()
        for number, one in enumerate(mine):
            # Somebody may have made the target meanwhile; its pictures keep the names they were sealed for.
            one.reference.target_id = target.id
            one.reference.created_at_us += number
            session.add(one.reference)
        left_out = {reference.id for reference in recombine(session, by.keyring, target, by.model)}
        target.version += 1
        audit.record(
            session,
            by.actor,
            "target.created" if created else "target.changed",
            "target",
            target.id,
            watchlist_id=watchlist_id,
            detail={"import": import_id, "photos_added": [one.reference.id for one in mine]},
        )
        for one in mine:
            reasons = ["disagrees"] if one.reference.id in left_out else []
            lines.append(one.accepted.line(reasons, target.id))
    return lines


def _targets(session: Session, watchlist_id: str, accepted: Sequence[Accepted], *, lock: bool) -> dict[str, Target]:
    """The targets there are, by name."""
    names = {item.fields.name for item in accepted}
    query = select(Target).where(Target.watchlist_id == watchlist_id, Target.name.in_(names))
    return {target.name: target for target in session.scalars(query.with_for_update() if lock else query)}


def _mark(session: Session, import_id: str, lines: Sequence[Line]) -> None:
    session.execute(
        update(ImportItem),
        [
            {
                "import_id": import_id,
                "position": line.position,
                "state": line.state,
                "reasons": list(line.reasons),
                "message": line.message,
                "target_id": line.target_id,
            }
            for line in lines
        ],
    )


def _discard(by: Enroller, stored: Sequence[_Stored]) -> None:
    for one in stored:
        by.blobs.delete(one.reference.photo_blob)
        by.blobs.delete(one.reference.face_blob)
