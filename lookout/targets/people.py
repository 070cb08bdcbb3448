"""Targets and watchlists as people find and look at them, each as far as their rights go."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import ColumnElement, func, or_, select
from sqlalchemy.orm import Session

from lookout import audit
from lookout.accounts.rights import Identity
from lookout.audit import Actor
from lookout.clock import now_us, to_datetime
from lookout.errors import BadInputError, NotFoundError
from lookout.stores.registry.tables import Reference, Target, Watchlist
from lookout.watchlists.thresholds import sizes


@dataclass(frozen=True, slots=True, eq=False)
class ListedWatchlist:
    """A watchlist in a list.

    Attributes:
        targets: how many people are on it.
        overdue: whether somebody should have looked by now whether it is still needed.
    """

    watchlist: Watchlist
    targets: int
    overdue: bool


@dataclass(frozen=True, slots=True, eq=False)
class ListedTarget:
    """A target in a list.

    Attributes:
        photos: how many there are.
        face_id: the photo that stands for the target, if there is one.
        disagreeing: photos that are no part of the template.
    """

    target: Target
    photos: int
    face_id: str | None
    disagreeing: int


def list_watchlists(session: Session, who: Identity | None, *, archived: bool = False) -> list[ListedWatchlist]:
    """The watchlists with a right to, by name; those out of use only if asked for. No `who`: all."""
    counted = (
        select(Target.watchlist_id, func.count().label("targets"))
        .where(Target.erased_at_us.is_(None))
        .group_by(Target.watchlist_id)
        .subquery()
    )
    query = (
        select(Watchlist, func.coalesce(counted.c.targets, 0))
        .outerjoin(counted, counted.c.watchlist_id == Watchlist.id)
        .order_by(func.lower(Watchlist.name), Watchlist.id)
    )
    if not archived:
        query = query.where(Watchlist.archived_at_us.is_(None))
    if who is not None and who.watchlists is not None:
        query = query.where(Watchlist.id.in_(who.watchlists))
    return [ListedWatchlist(one, targets, is_overdue(one)) for one, targets in session.execute(query)]


def is_overdue(watchlist: Watchlist) -> bool:
    """Whether its review date has passed."""
    return (
        watchlist.review_on is not None
        and watchlist.review_on < to_datetime(now_us()).date()
        and watchlist.archived_at_us is None
    )


def count_targets(session: Session, watchlist_id: str) -> int:
    """How many people are on a watchlist."""
    return sizes(session, [watchlist_id])[watchlist_id]


def get_watchlist(session: Session, who: Identity, watchlist_id: str, *, lock: bool = False) -> Watchlist:
    """A watchlist with a right to; locked, nobody else changes it or its targets until the transaction ends.

    Raises:
        NotFoundError: there is none, or no right to it.
    """
    watchlist = None
    if who.sees_watchlist(watchlist_id) and "\0" not in watchlist_id:
        watchlist = session.get(Watchlist, watchlist_id, with_for_update=lock)
    if watchlist is None:
        raise NotFoundError(f"there is no watchlist {watchlist_id}.")
    return watchlist


def get_target(session: Session, who: Identity, target_id: str, *, lock: bool = False) -> Target:
    """A target on a watchlist with a right to, erased or not; locked for a change only if it is not.

    Raises:
        NotFoundError: there is none, no right to it, or it is to be locked and was erased.
    """
    target = None if "\0" in target_id else session.get(Target, target_id, with_for_update=lock)
    if target is None or not who.sees_watchlist(target.watchlist_id) or (lock and target.erased_at_us is not None):
        raise NotFoundError(f"there is no target {target_id}.")
    return target


def get_photo(session: Session, who: Identity, reference_id: str, *, lock: bool = False) -> Reference:
    """A photo of a target on a watchlist with a right to; the lock is the target's.

    Raises:
        NotFoundError: there is none, or no right to it.
    """
    reference = None if "\0" in reference_id else session.get(Reference, reference_id)
    if reference is not None:
        target = session.get(Target, reference.target_id, with_for_update=lock)
        if lock:
            session.expire(reference)
            reference = session.scalar(select(Reference).where(Reference.id == reference_id))
        if reference is not None and target is not None and who.sees_watchlist(target.watchlist_id):
            return reference
    raise NotFoundError(f"there is no photo {reference_id}.")


def photos_of(session: Session, target: Target) -> list[Reference]:
    """A target's photos, the first one first."""
    query = select(Reference).where(Reference.target_id == target.id)
    return list(session.scalars(query.order_by(Reference.created_at_us, Reference.id)))


def record_view(session: Session, actor: Actor, target: Target, reason: str) -> None:
    """Write to the audit that somebody looks at a person.

    Raises:
        BadInputError: the watchlist demands a reason, and there is none.
    """
    if target.watchlist.reason_required and not reason.strip():
        raise BadInputError(
            "This watchlist demands a reason for each look at a person: send it as `X-Reason` or `reason`."
        )
    audit.record(
        session,
        actor,
        "target.viewed",
        "target",
        target.id,
        watchlist_id=target.watchlist_id,
        reason=reason.strip(),
    )


def list_targets(
    session: Session,
    watchlist_id: str,
    *,
    search: str = "",
    erased: bool = False,
    after: ColumnElement[bool] | None = None,
    limit: int,
) -> list[ListedTarget]:
    """Targets of a watchlist, the newest first.

    Args:
        session: reads.
        watchlist_id: which.
        search: part of a name or of a reference number, in small or capital letters.
        erased: whether to list the erased ones, too.
        after: where the page begins.
        limit: how many at most.
    """
    query = select(Target).where(Target.watchlist_id == watchlist_id)
    if not erased:
        query = query.where(Target.erased_at_us.is_(None))
    if search:
        escaped = search.lower().replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
        part = f"%{escaped}%"
        query = query.where(
            or_(
                func.lower(Target.name).like(part, escape="\\"),
                func.lower(Target.reference_number).like(part, escape="\\"),
            )
        )
    if after is not None:
        query = query.where(after)
    targets = list(session.scalars(query.order_by(Target.created_at_us.desc(), Target.id.desc()).limit(limit)))
    return _with_photos(session, targets)


def _with_photos(session: Session, targets: Sequence[Target]) -> list[ListedTarget]:
    rows = session.execute(
        select(Reference.id, Reference.target_id, Reference.in_template, Reference.quality).where(
            Reference.target_id.in_([target.id for target in targets])
        )
    ).all()
    listed = []
    for target in targets:
        mine = [row for row in rows if row.target_id == target.id]
        best = max(mine, key=lambda row: (row.in_template, row.quality), default=None)
        outside = sum(not row.in_template for row in mine)
        listed.append(ListedTarget(target, len(mine), best.id if best else None, outside))
    return listed
