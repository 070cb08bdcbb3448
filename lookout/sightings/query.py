"""What people ask of a search, checked."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import exists, select
from sqlalchemy.orm import Session

from lookout.accounts.rights import Identity
from lookout.clock import isoformat, now_us
from lookout.errors import BadInputError
from lookout.faces.models import TemplateModel
from lookout.sightings.search import MAX_RESULTS, Query
from lookout.stores.registry.tables import CameraRow, Sighting

DEFAULT_RESULTS = 50
#: The end of the year 9999: what dates can say, in microseconds.
MAX_US = 253_402_300_799_000_000
#: Cameras named in the message about one that is unknown.
NAMED = 20


#: Share of comparisons of two strangers that may reach a score: of 10,000 sightings one is found by chance.
DEFAULT_RATE = 1e-4


def default_min_score(model: TemplateModel) -> float:
    """The cosine that a search asks for if nothing is said: at `DEFAULT_RATE`."""
    return model.calibration.score_at(DEFAULT_RATE)


def make_query(
    session: Session,
    who: Identity | None,
    templates: NDArray[np.float32],
    *,
    model: TemplateModel,
    cameras: Sequence[str] | None = None,
    since_us: int | None = None,
    until_us: int | None = None,
    min_score: float | None = None,
    limit: int = DEFAULT_RESULTS,
    exclude: frozenset[str] = frozenset(),
) -> Query:
    """A search that makes sense.

    Args:
        session: of the registry.
        who: whose rights count; None: all.
        templates: `(N, D)` or `(D,)` of length 1.
        model: the embedder that made the templates.
        cameras: ids or names; none or empty: all that there is a right to.
        since_us: sightings that ended before are not wanted.
        until_us: sightings that began later are not wanted.
        min_score: cosine, -1..1; None: `default_min_score`.
        limit: how many at most, 1..1000.
        exclude: ids of sightings that are not wanted.

    Raises:
        BadInputError: an unknown camera, a span that is reversed or in the future, a figure out of bounds.
    """
    if any(at_us is not None and not 0 <= at_us <= MAX_US for at_us in (since_us, until_us)):
        raise BadInputError("since and until: give times between the years 1970 and 9999.")
    if since_us is not None and until_us is not None and since_us > until_us:
        raise BadInputError(
            f"the time span is reversed: since {isoformat(since_us)} is after until {isoformat(until_us)}."
        )
    if since_us is not None and since_us > now_us():
        raise BadInputError(f"since {isoformat(since_us)} is in the future: nobody was seen there yet.")
    if min_score is not None and not -1 <= min_score <= 1:
        raise BadInputError(f"min_score: give a cosine between -1 and 1, not {min_score}.")
    if not 1 <= limit <= MAX_RESULTS:
        raise BadInputError(f"limit: give a number between 1 and {MAX_RESULTS}, not {limit}.")
    return Query(
        templates=np.atleast_2d(templates).astype(np.float32),
        model=model.name,
        cameras=resolve_cameras(session, who, cameras) if cameras else None,
        since_us=since_us,
        until_us=until_us,
        min_score=default_min_score(model) if min_score is None else min_score,
        limit=limit,
        exclude=exclude,
    )


def resolve_cameras(session: Session, who: Identity | None, wanted: Sequence[str]) -> tuple[str, ...]:
    """Ids of cameras that were given by id or name, as far as rights go; also of removed ones with sightings.

    Raises:
        BadInputError: one is unknown; the message names it and those that are known.
    """
    groups = None if who is None else who.camera_groups
    query = select(CameraRow.id, CameraRow.name)
    if groups is not None:
        query = query.where(CameraRow.camera_group.in_(groups))
    rows = session.execute(query.order_by(CameraRow.id)).all()
    found = list[str]()
    for given in wanted:
        ids = [row.id for row in rows if row.id == given] or [row.id for row in rows if row.name == given]
        if not ids and "\0" not in given and _was_seen(session, given, groups):
            ids = [given]
        if not ids:
            known = [row.id for row in rows]
            more = f" and {len(known) - NAMED} more" if len(known) > NAMED else ""
            there = f"there are {', '.join(known[:NAMED])}{more}." if known else "there is none yet."
            raise BadInputError(f"there is no camera {given[:100]!r}; {there}")
        found += ids
    return tuple(dict.fromkeys(found))


def _was_seen(session: Session, camera_id: str, groups: frozenset[str] | None) -> bool:
    conditions = [Sighting.camera_id == camera_id]
    if groups is not None:
        conditions.append(Sighting.camera_group.in_(groups))
    return bool(session.scalar(select(exists().where(*conditions))))
