"""People put on a watchlist, changed and given further photos; each change is audited and reaches the template."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace

from sqlalchemy import select
from sqlalchemy.orm import Session

from lookout import audit
from lookout.audit import SYSTEM, Actor
from lookout.clock import now_us
from lookout.errors import BadInputError, ConflictError
from lookout.faces.models import TemplateModel
from lookout.sealing import Keyring
from lookout.stores.blobs import Blobs
from lookout.stores.registry import Registry
from lookout.stores.registry.tables import Reference, Target, Watchlist, new_id
from lookout.targets.photos import Photo
from lookout.targets.references import (
    DisagreesError,
    confirm,
    known_photos,
    new_reference,
    recombine,
    undo_pictures,
    write_pictures,
)
from lookout.texts import clean
from lookout.watchlists.records import find_watchlist

#: How many photos a target may have.
MAX_PHOTOS = 1000
#: The end of the year 9999: what dates can say.
MAX_US = 253_402_300_799_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class TargetFields:
    """What people say of a target; see `lookout.stores.registry.tables.Target`."""

    name: str
    reference_number: str = ""
    note: str = ""
    valid_from_us: int | None = None
    valid_until_us: int | None = None
    snoozed_until_us: int | None = None


@dataclass(frozen=True, slots=True)
class Enroller:
    """Who enrols, with what: one for all calls of a request or command.

    Attributes:
        model: the embedder that made the templates.
    """

    actor: Actor
    blobs: Blobs
    keyring: Keyring
    model: TemplateModel


def create_target(
    session: Session,
    by: Enroller,
    watchlist: Watchlist,
    given: TargetFields,
    photos: Sequence[Photo],
    *,
    confirm_disagreement: bool = False,
) -> Target:
    """Put a person on a watchlist that is locked. Who calls it updates the index after the commit.

    Raises:
        BadInputError: a field does not hold, or the watchlist is archived.
        ConflictError: there is a target of that name on it, or one photo comes twice.
        DisagreesError: photos disagree, and nobody confirmed that they show one person.
    """
    if watchlist.archived_at_us is not None:
        raise BadInputError(f"watchlist {watchlist.name} is archived: restore it first.")
    checked = checked_fields(given)
    if session.scalar(select(Target.id).where(Target.watchlist_id == watchlist.id, Target.name == checked.name)):
        raise ConflictError(
            f"{checked.name} is on this watchlist already: add the photos there, or tell the two apart by name."
        )
    target = Target(id=new_id(), watchlist_id=watchlist.id, created_at_us=now_us(), version=1, **asdict(checked))
    session.add(target)
    session.flush()
    added = _add(session, by, target, photos, confirm_disagreement=confirm_disagreement)
    detail = {"photos": [reference.id for reference in added]}
    audit.record(session, by.actor, "target.created", "target", target.id, watchlist_id=watchlist.id, detail=detail)
    return target


def add_photos(
    session: Session, by: Enroller, target: Target, photos: Sequence[Photo], *, confirm_disagreement: bool = False
) -> list[Reference]:
    """Give a target, which is locked, further photos. Who calls it updates the index after the commit.

    Raises:
        ConflictError: the target has one of them already.
        DisagreesError: photos disagree, and nobody confirmed that they show one person.
    """
    added = _add(session, by, target, photos, confirm_disagreement=confirm_disagreement)
    record_change(session, by.actor, target, {"photos_added": [reference.id for reference in added]})
    return added


def change_target(session: Session, actor: Actor, target: Target, given: TargetFields) -> None:
    """Give a target, which is locked, other fields.

    Raises:
        BadInputError: a field does not hold.
        ConflictError: there is another target of that name on its watchlist.
    """
    checked = checked_fields(given)
    query = select(Target.id).where(
        Target.watchlist_id == target.watchlist_id, Target.name == checked.name, Target.id != target.id
    )
    if session.scalar(query):
        raise ConflictError(f"{checked.name} is on this watchlist already; choose another name.")
    changed = {field: value for field, value in asdict(checked).items() if getattr(target, field) != value}
    if not changed:
        return
    before = {field: getattr(target, field) for field in changed}
    for field, value in changed.items():
        setattr(target, field, value)
    # What a person is called or what is noted of them is no business of the audit, which outlives the person's data.
    times = {field: [before[field], value] for field, value in changed.items() if field.endswith("_us")}
    record_change(session, actor, target, {"fields": sorted(changed)} | times)


def remove_photo(session: Session, by: Enroller, target: Target, reference: Reference) -> None:
    """Remove one photo of a target, which is locked, from all stores. The last one leaves nothing to match.

    Raises:
        UnavailableError: the blob store does not answer; the photo is still there.
    """
    pictures = (reference.photo_blob, reference.face_blob)
    session.delete(reference)
    recombine(session, by.keyring, target, by.model)
    record_change(session, by.actor, target, {"photos_removed": [reference.id]})
    session.flush()
    # Before the commit: afterwards nobody would know of a picture that could not be deleted.
    for picture in pictures:
        by.blobs.delete(picture)


def confirm_photo(session: Session, by: Enroller, target: Target, reference: Reference) -> None:
    """Take a photo that disagrees with the others into the template of a target, which is locked, all the same."""
    confirm(session, by.keyring, target, [reference], by.model)
    record_change(session, by.actor, target, {"photos_confirmed": [reference.id]})


def record_change(session: Session, actor: Actor, target: Target, detail: Mapping[str, object]) -> None:
    """Count a change of a target and write it to the audit."""
    target.version += 1
    audit.record(
        session, actor, "target.changed", "target", target.id, watchlist_id=target.watchlist_id, detail=dict(detail)
    )


def checked_fields(given: TargetFields) -> TargetFields:
    """The fields as they are kept.

    Raises:
        BadInputError: one does not hold.
    """
    times = (given.valid_from_us, given.valid_until_us, given.snoozed_until_us)
    if any(at_us is not None and not 0 <= at_us <= MAX_US for at_us in times):
        raise BadInputError("validity: give times from 1970 to 9999.")
    if given.valid_until_us is not None and given.valid_until_us <= (given.valid_from_us or 0):
        raise BadInputError("validity: it ends before it begins.")
    return replace(
        given,
        name=clean("name", given.name, 200, required=True),
        reference_number=clean("reference number", given.reference_number, 100),
        note=clean("note", given.note, 2000),
    )


def add_target(
    registry: Registry,
    blobs: Blobs,
    keyring: Keyring,
    *,
    watchlist: str,
    name: str,
    photos: Sequence[Photo],
    model: TemplateModel,
    actor: Actor = SYSTEM,
    confirm_disagreement: bool = False,
) -> Target:
    """Put a person with photos on a watchlist, or give one who is there further photos.

    The person becomes matchable when `lookout.stores.index.update_index` has run.

    Raises:
        NotFoundError: no such watchlist.
        BadInputError: the name does not hold, or the watchlist is archived.
        ConflictError: the target has one of these photos already.
        DisagreesError: photos disagree, and nobody confirmed that they show one person.
    """
    by = Enroller(actor, blobs, keyring, model)
    given = checked_fields(TargetFields(name=name))
    with registry.transaction() as session:
        # Locked, so that of two who enrol the same person the second sees the first's.
        found = find_watchlist(session, watchlist, lock=True)
        query = select(Target).where(Target.watchlist_id == found.id, Target.name == given.name).with_for_update()
        target = session.scalar(query)
        if target is None:
            return create_target(session, by, found, given, photos, confirm_disagreement=confirm_disagreement)
        if found.archived_at_us is not None:
            raise BadInputError(f"watchlist {found.name} is archived: restore it first.")
        add_photos(session, by, target, photos, confirm_disagreement=confirm_disagreement)
        return target


def _add(
    session: Session, by: Enroller, target: Target, photos: Sequence[Photo], *, confirm_disagreement: bool
) -> list[Reference]:
    known = known_photos(session, target)
    if len(known) + len(photos) > MAX_PHOTOS:
        raise BadInputError(f"{target.name} would have more than {MAX_PHOTOS} photos.")
    agreed = set(
        session.scalars(select(Reference.id).where(Reference.target_id == target.id, Reference.in_template.is_(True)))
    )
    added: list[Reference] = []
    for photo in photos:
        if photo.sha256 in known:
            raise ConflictError(f"{target.name} has this photo already ({photo.name}); each photo is enrolled once.")
        known.add(photo.sha256)
        reference = new_reference(target.id, photo, by.keyring, by.model)
        # So that each is later than the one before: of two that disagree the later one is left out.
        reference.created_at_us += len(added)
        added.append(reference)
    session.add_all(added)
    left_out = recombine(session, by.keyring, target, by.model)
    disagreeing = [one for one in left_out if one in added or one.id in agreed]
    if disagreeing and not confirm_disagreement:
        raise _disagrees(photos, added, disagreeing)
    if disagreeing:
        confirm(session, by.keyring, target, disagreeing, by.model)
    undo_pictures(session, by.blobs, added)
    for reference, photo in zip(added, photos, strict=True):
        write_pictures(by.blobs, reference, photo)
    return added


def _disagrees(photos: Sequence[Photo], added: list[Reference], disagreeing: list[Reference]) -> DisagreesError:
    positions = [number for number, one in enumerate(added) if one in disagreeing]
    known = [one.id for one in disagreeing if one not in added]
    names = ", ".join(photos[number].name for number in positions) or f"{len(known)} of the photos there are"
    return DisagreesError(
        f"{names}: this may be somebody else than on the other photos. Look at them side by side; "
        "leave it out, or confirm that all show the same person.",
        photos=positions,
        known=known,
    )
