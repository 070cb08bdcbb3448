"""Who on the watchlists resembles a person that is about to be enrolled."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import select
from sqlalchemy.orm import Session, joinedload

from lookout.accounts.rights import Identity
from lookout.errors import ConflictError
from lookout.faces.models import TemplateModel
from lookout.sealing import Keyring
from lookout.stores.registry.tables import Reference, Target
from lookout.stores.templates import reference_place, unpack_many
from lookout.stores.vectors import Vectors
from lookout.targets.photos import Photo
from lookout.targets.references import combined
from lookout.watchlists.thresholds import sizes, thresholds

Floats = NDArray[np.float32]

#: Targets looked at: several watchlists may hold the same person.
HITS = 50


@dataclass(frozen=True, slots=True, eq=False)
class Resemblance:
    """A target whom a new person resembles.

    Attributes:
        name: the target's.
        face_id: the target's photo that is most alike; None if it has none any more.
        score: cosine of the two templates.
        threshold: from which on its watchlist would alert.
        watchlist: its name.
    """

    target_id: str
    name: str
    watchlist: str
    face_id: str | None
    score: float
    threshold: float


class ResemblesError(ConflictError):
    """A new person resembles targets that there are."""

    def __init__(self, resembles: Sequence[Resemblance]) -> None:
        super().__init__(
            "There is somebody on the watchlists who resembles this person: look at both side by side. "
            "Add the photos to that target, or confirm that a new one is wanted."
        )
        self.resembles = tuple(resembles)


def resembling(
    session: Session,
    vectors: Vectors,
    keyring: Keyring,
    model: TemplateModel,
    who: Identity | None,
    photos: Sequence[Photo],
) -> list[Resemblance]:
    """The targets that photos of one person resemble as much as an alert would need, the most alike first.

    Only those on watchlists that `who` has a right to, and that are in use: of others nothing is told. No `who`: all.

    Raises:
        UnavailableError: Milvus does not answer.
    """
    if not photos:
        return []
    templates = np.stack([photo.face.template for photo in photos])
    template, _ = combined(templates, [photo.face.quality.value for photo in photos], model)
    (hits,) = vectors.search_targets(model.name, template[None], HITS)
    scores = {hit.id: hit.score for hit in hits}
    query = (
        select(Target).where(Target.id.in_(scores), Target.erased_at_us.is_(None)).options(joinedload(Target.watchlist))
    )
    found = []
    targets = list(session.scalars(query))
    people = sizes(session, {target.watchlist_id for target in targets})
    for target in targets:
        limit = thresholds(target.watchlist, people[target.watchlist_id], model.calibration).possible
        visible = who is None or who.sees_watchlist(target.watchlist_id)
        if visible and target.watchlist.archived_at_us is None and scores[target.id] >= limit:
            face_id = _most_alike(session, keyring, target, template)
            found.append(Resemblance(target.id, target.name, target.watchlist.name, face_id, scores[target.id], limit))
    return sorted(found, key=lambda one: -one.score)


def _most_alike(session: Session, keyring: Keyring, target: Target, template: Floats) -> str | None:
    query = select(Reference.id, Reference.template).where(
        Reference.target_id == target.id, Reference.model == target.model
    )
    rows = session.execute(query).all()
    if not rows:
        return None
    theirs = unpack_many({reference_place(row.id): row.template for row in rows}, keyring)
    best: str = rows[int(np.argmax(theirs @ template))].id
    return best
