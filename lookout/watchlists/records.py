"""Watchlists: made, changed, archived; and when one of their targets is looked for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from datetime import date
from typing import Any

from sqlalchemy import delete, insert, select, update
from sqlalchemy.orm import Session

from lookout import audit
from lookout.audit import Actor
from lookout.clock import now_us
from lookout.errors import BadInputError, ConflictError, NotFoundError
from lookout.faces.gates import USUAL, Gates
from lookout.stores.registry.tables import TIERS, IndexRemoval, Target, User, Watchlist, new_id
from lookout.texts import clean
from lookout.watchlists import schedule
from lookout.watchlists.thresholds import MOST_STRANGERS, STRANGERS

MAX_GROUPS = 200
MAX_ACKNOWLEDGE_S = 30 * 24 * 3600
MAX_RETENTION_DAYS = 3650
#: Narrower faces are not matched reliably, whatever a watchlist wants: docs/accuracy.md, "Face width".
MIN_MATCHED_PX, MAX_FACE_PX = 20, 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class WatchlistFields:
    """What people say of a watchlist; see `lookout.stores.registry.tables.Watchlist`."""

    name: str
    purpose: str
    legal_basis: str
    authorised_by: str = ""
    review_on: date | None = None
    possible_strangers: int = STRANGERS["possible"]
    likely_strangers: int = STRANGERS["likely"]
    min_face_px: int = USUAL.min_face_px
    min_quality: float = USUAL.min_quality
    camera_groups: Sequence[str] = ()
    schedule: dict[str, Any] | None = None
    two_person_tiers: Sequence[str] = ()
    reason_required: bool = False
    acknowledge_within_s: int | None = None
    retention_days: int = 30


def create_watchlist(
    session: Session, actor: Actor, given: WatchlistFields, *, owner_id: str | None = None
) -> Watchlist:
    """Make a watchlist. Its maker gets the right to it, where the maker's rights are limited.

    Raises:
        BadInputError: a field does not hold; the message says which.
        ConflictError: there is one of that name.
    """
    watchlist = Watchlist(id=new_id(), created_at_us=now_us(), version=1, archived_at_us=None)
    _fill(session, watchlist, given)
    session.add(watchlist)
    session.flush()
    owner = session.get(User, owner_id, with_for_update=True) if owner_id else None
    if owner is not None and owner.watchlist_ids is not None:
        owner.watchlist_ids = [*owner.watchlist_ids, watchlist.id]
        owner.version += 1  # so that no admin who has the old rights on the screen takes it away again
    audit.record(
        session,
        actor,
        "watchlist.created",
        "watchlist",
        watchlist.id,
        watchlist_id=watchlist.id,
        detail=_plain(fields_of(watchlist)),
    )
    return watchlist


def change_watchlist(session: Session, actor: Actor, watchlist: Watchlist, given: WatchlistFields) -> None:
    """Give a watchlist, locked by `find_watchlist` or `get_watchlist`, other fields.

    Raises:
        BadInputError: a field does not hold, or the watchlist is archived.
        ConflictError: there is another one of that name.
    """
    if watchlist.archived_at_us is not None:
        raise BadInputError(f"watchlist {watchlist.name} is archived: restore it first.")
    before = _plain(fields_of(watchlist))
    _fill(session, watchlist, given)
    after = _plain(fields_of(watchlist))
    changed = {name: [before[name], after[name]] for name in after if after[name] != before[name]}
    if not changed:
        return
    watchlist.version += 1
    audit.record(
        session,
        actor,
        "watchlist.changed",
        "watchlist",
        watchlist.id,
        watchlist_id=watchlist.id,
        detail=changed,
    )


def archive_watchlist(session: Session, actor: Actor, watchlist: Watchlist) -> None:
    """Take a watchlist out of use: nobody on it is matched any more. What it holds is kept, and can be restored."""
    if watchlist.archived_at_us is not None:
        return
    watchlist.archived_at_us = now_us()
    watchlist.version += 1
    mine = Target.watchlist_id == watchlist.id
    session.execute(delete(IndexRemoval).where(IndexRemoval.target_id.in_(select(Target.id).where(mine))))
    session.execute(insert(IndexRemoval).from_select(["target_id"], select(Target.id).where(mine)))
    session.execute(update(Target).where(mine).values(indexed=False).execution_options(synchronize_session=False))
    audit.record(session, actor, "watchlist.archived", "watchlist", watchlist.id, watchlist_id=watchlist.id)


def restore_watchlist(session: Session, actor: Actor, watchlist: Watchlist) -> None:
    """Put an archived watchlist to use again."""
    if watchlist.archived_at_us is None:
        return
    watchlist.archived_at_us = None
    watchlist.version += 1
    audit.record(session, actor, "watchlist.restored", "watchlist", watchlist.id, watchlist_id=watchlist.id)


def find_watchlist(session: Session, name: str, *, lock: bool = False) -> Watchlist:
    """The watchlist of a name; locked, nobody else changes its targets until the transaction ends.

    Raises:
        NotFoundError: there is none.
    """
    query = select(Watchlist).where(Watchlist.name == name)
    watchlist = session.scalar(query.with_for_update() if lock else query)
    if watchlist is None:
        raise NotFoundError(f"there is no watchlist {name}; make it with `lookout watchlist create`.")
    return watchlist


def fields_of(watchlist: Watchlist) -> WatchlistFields:
    """What people said of it."""
    return WatchlistFields(**{one.name: getattr(watchlist, one.name) for one in fields(WatchlistFields)})


def gates_of(watchlist: Watchlist) -> Gates:
    """What a face must have to be enrolled on a watchlist, and to be matched with it."""
    return Gates(watchlist.min_face_px, watchlist.min_quality)


def is_active(watchlist: Watchlist, target: Target, camera_group: str, at_us: int) -> bool:
    """Whether a target is looked for on a camera group at a time, all considered."""
    return (
        watchlist.archived_at_us is None
        and target.erased_at_us is None
        and (not watchlist.camera_groups or camera_group in watchlist.camera_groups)
        and (target.valid_from_us is None or at_us >= target.valid_from_us)
        and (target.valid_until_us is None or at_us < target.valid_until_us)
        and (target.snoozed_until_us is None or at_us >= target.snoozed_until_us)
        and schedule.is_on(watchlist.schedule, at_us)
    )


def _fill(session: Session, watchlist: Watchlist, given: WatchlistFields) -> None:
    checked = _checked(given)
    query = select(Watchlist.id).where(Watchlist.name == checked.name, Watchlist.id != watchlist.id)
    with session.no_autoflush:
        if session.scalar(query):
            raise ConflictError(f"there is a watchlist {checked.name} already; choose another name.")
        for one in fields(WatchlistFields):
            setattr(watchlist, one.name, getattr(checked, one.name))


def _checked(given: WatchlistFields) -> WatchlistFields:
    if not 1 <= given.possible_strangers <= given.likely_strangers <= MOST_STRANGERS:
        raise BadInputError(
            "strangers for one false alert: `possible` is at least 1, `likely` at least as many, "
            f"at most {MOST_STRANGERS:,}."
        )
    if not MIN_MATCHED_PX <= given.min_face_px <= MAX_FACE_PX:
        raise BadInputError(f"least face width: {MIN_MATCHED_PX} to {MAX_FACE_PX} pixels.")
    if not 0 <= given.min_quality <= 1:
        raise BadInputError("least quality: 0 to 1.")
    if len(given.camera_groups) > MAX_GROUPS:
        raise BadInputError(f"camera groups: name at most {MAX_GROUPS}.")
    if unknown := set(given.two_person_tiers) - set(TIERS):
        raise BadInputError(f"two persons: there is no tier {min(unknown)}; choose {', '.join(TIERS)}.")
    if given.acknowledge_within_s is not None and not 1 <= given.acknowledge_within_s <= MAX_ACKNOWLEDGE_S:
        raise BadInputError(f"acknowledge within: 1 to {MAX_ACKNOWLEDGE_S} seconds.")
    if not 1 <= given.retention_days <= MAX_RETENTION_DAYS:
        raise BadInputError(f"retention: 1 to {MAX_RETENTION_DAYS} days.")
    groups = (clean("camera group", group, 60, required=True) for group in given.camera_groups)
    return replace(
        given,
        name=clean("name", given.name, 100, required=True),
        purpose=clean("purpose", given.purpose, 1000, required=True),
        legal_basis=clean("legal basis", given.legal_basis, 1000, required=True),
        authorised_by=clean("authorised by", given.authorised_by, 200),
        camera_groups=list(dict.fromkeys(groups)),
        two_person_tiers=[tier for tier in TIERS if tier in given.two_person_tiers],
        schedule=schedule.Schedule.parse(given.schedule).as_json() if given.schedule is not None else None,
    )


def _plain(given: WatchlistFields) -> dict[str, Any]:
    """As JSON takes it."""
    values = {one.name: getattr(given, one.name) for one in fields(WatchlistFields)}
    return values | {"review_on": given.review_on.isoformat() if given.review_on else None}
