"""Exports in the registry: asked for, found, removed. `lookout.exports.making` makes their files."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from zoneinfo import ZoneInfo

from sqlalchemy import ColumnElement, func, select
from sqlalchemy.orm import Session

from lookout import audit
from lookout.accounts.rights import Identity
from lookout.audit import SYSTEM, Actor
from lookout.clock import now_us
from lookout.errors import BadInputError, ConflictError, NotFoundError
from lookout.stores.blobs import Blobs
from lookout.stores.pieces import delete_pieces
from lookout.stores.registry.tables import CameraRow, Export, Sighting
from lookout.texts import clean

MAX_MOMENTS = 200
MAX_REASON = 1000
#: Exports of one person that wait or run.
MAX_UNFINISHED = 10
#: How long one can be downloaded.
KEEP_DAYS = 7
_DAY_US = 24 * 3600 * 1_000_000
_ZONE = re.compile(r"[A-Za-z][\w+-]*(/[\w+-]+){0,2}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Moment:
    """A sighting to be taken away, with the cosine by which the search found it."""

    sighting_id: str
    score: float


def create(
    session: Session,
    who: Identity,
    moments: Iterable[Moment],
    *,
    reason: str,
    blur_others: bool = True,
    zone: str = "UTC",
) -> Export:
    """Ask for an export; a worker makes it.

    Args:
        session: of `Registry.transaction`.
        who: takes it away.
        moments: of a sighting that is named twice, the better score counts.
        reason: why, in the person's words.
        blur_others: whether faces are blurred, but for that of the sighting.
        zone: IANA name; the report tells times in it and in UTC.

    Raises:
        BadInputError: there is no reason, no moment, there are too many, or no such time zone.
        NotFoundError: a sighting does not exist, or there is no right to its camera group.
        ConflictError: too many of the person's exports are not done yet.
    """
    scores = _scores(moments)
    said = clean("reason", reason, MAX_REASON)
    if not said:
        raise BadInputError("reason: say why; it stands in the report and in the audit log.")
    check_zone(zone)
    for sighting_id in scores:
        sighting = None if "\0" in sighting_id else session.get(Sighting, sighting_id)
        if sighting is None or not _sees(session, who, sighting):
            raise NotFoundError(f"there is no sighting {sighting_id}.")
    _refuse_too_many(session, who)
    export = Export(
        user_id=who.user_id,
        created_by=who.name,
        reason=said,
        blur_others=blur_others,
        zone=zone,
        moments=[{"sighting": sighting_id, "score": score} for sighting_id, score in scores.items()],
        created_at_us=now_us(),
    )
    session.add(export)
    session.flush()
    detail = {"sightings": list(scores), "blur_others": blur_others}
    audit.record(session, who.actor, "export.created", "export", export.id, detail=detail, reason=said)
    return export


def check_zone(zone: str) -> ZoneInfo:
    """A time zone by its IANA name.

    Raises:
        BadInputError: there is none of that name.
    """
    wrong = BadInputError("zone: give a time zone such as Europe/Berlin or UTC.")
    if not _ZONE.fullmatch(zone):
        raise wrong
    try:
        return ZoneInfo(zone)
    except (LookupError, ValueError, OSError) as error:
        raise wrong from error


def visible_to(who: Identity) -> ColumnElement[bool] | None:
    """Which exports somebody may see: their own; an admin with a right to all camera groups all, which is None."""
    return None if who.role == "admin" and who.camera_groups is None else Export.user_id == who.user_id


def newest(session: Session, who: Identity, older: ColumnElement[bool] | None, limit: int) -> Sequence[Export]:
    """Exports that somebody may see, the newest first; of those before a cursor."""
    query = select(Export).where(*(one for one in (visible_to(who), older) if one is not None))
    return session.scalars(query.order_by(Export.created_at_us.desc(), Export.id.desc()).limit(limit)).all()


def find(session: Session, who: Identity, export_id: str, *, lock: bool = False) -> Export:
    """An export by its id.

    Raises:
        NotFoundError: there is none that they may see, or a right to one of its camera groups was taken away.
    """
    export = None if "\0" in export_id else session.get(Export, export_id, with_for_update=lock or None)
    all_may = visible_to(who) is None
    if export is None or not (all_may or (export.user_id == who.user_id and _sees_all(session, who, export))):
        raise NotFoundError(f"there is no export {export_id}.")
    return export


def record_download(session: Session, who: Identity, export: Export) -> str:
    """Write to the audit that somebody downloads an export; returns the name of its file's pieces.

    Raises:
        ConflictError: it is not done.
    """
    if export.state != "done" or not export.blob:
        raise ConflictError("the export is not done yet." if export.state != "failed" else "the export failed.")
    detail = {"sightings": [one["sighting"] for one in export.moments], "sha256": export.sha256, "size": export.size}
    audit.record(session, who.actor, "export.downloaded", "export", export.id, detail=detail, reason=export.reason)
    return export.blob


def expires_at_us(export: Export) -> int:
    """From when on it may be removed."""
    return export.created_at_us + KEEP_DAYS * _DAY_US


def expired(session: Session, limit: int = 100) -> Sequence[Export]:
    """Exports whose time is over, the oldest first."""
    query = select(Export).where(Export.created_at_us < now_us() - KEEP_DAYS * _DAY_US)
    return session.scalars(query.order_by(Export.created_at_us).limit(limit)).all()


def remove(session: Session, blobs: Blobs, actor: Actor, export: Export, *, action: str = "export.removed") -> None:
    """Remove an export with its file. What makes it now finds it gone, and leaves nothing.

    Args:
        session: of `Registry.transaction`.
        blobs: where the file is.
        actor: who does it.
        export: which.
        action: for the audit: `export.removed`, `export.expired` or `export.erased`.

    Raises:
        UnavailableError: the file cannot be deleted; the row is still there then.
    """
    if export.blob:
        delete_pieces(blobs, export.blob)
    session.delete(export)
    audit.record(session, actor, action, "export", export.id)


def remove_with_sightings(session: Session, blobs: Blobs, ids: Iterable[str]) -> int:
    """Remove the exports that hold some of these sightings, as their person is erased; returns how many.

    Raises:
        UnavailableError: a file cannot be deleted.
    """
    gone = set(ids)
    held = [
        row.id
        for row in session.execute(select(Export.id, Export.moments))
        if any(one["sighting"] in gone for one in row.moments)
    ]
    found = session.scalars(select(Export).where(Export.id.in_(held)).order_by(Export.id).with_for_update()).all()
    for export in found:
        remove(session, blobs, SYSTEM, export, action="export.erased")
    return len(found)


def _scores(moments: Iterable[Moment]) -> dict[str, float]:
    scores: dict[str, float] = {}
    for moment in moments:
        if not (math.isfinite(moment.score) and -1 <= moment.score <= 1):
            raise BadInputError("score: it is a cosine between -1 and 1.")
        scores[moment.sighting_id] = max(moment.score, scores.get(moment.sighting_id, -1.0))
        if len(scores) > MAX_MOMENTS:
            raise BadInputError(f"moments: take at most {MAX_MOMENTS} at once.")
    if not scores:
        raise BadInputError("moments: choose at least one sighting.")
    return scores


def _sees(session: Session, who: Identity, sighting: Sighting) -> bool:
    """Whether there is a right to the group that a sighting was made in, and to that of its camera now."""
    camera = session.get(CameraRow, sighting.camera_id)
    return who.sees_group(sighting.camera_group) and (camera is None or who.sees_group(camera.camera_group))


def _sees_all(session: Session, who: Identity, export: Export) -> bool:
    if who.camera_groups is None:
        return True
    found = (session.get(Sighting, one["sighting"]) for one in export.moments)
    return all(sighting is None or _sees(session, who, sighting) for sighting in found)


def _refuse_too_many(session: Session, who: Identity) -> None:
    query = select(func.count()).where(Export.user_id == who.user_id, Export.state.in_(("waiting", "running")))
    if (session.scalar(query) or 0) >= MAX_UNFINISHED:
        raise ConflictError(f"{MAX_UNFINISHED} of your exports are not done yet: wait for one, or remove it.")
