"""The switch itself: the next model comes into use in one transaction, workers go on with the old one until then."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import and_, delete, exists, func, select, update
from sqlalchemy.orm import Session

from lookout import audit
from lookout.audit import Actor
from lookout.clock import now_us
from lookout.errors import BadInputError
from lookout.faces.models import TemplateModel
from lookout.models_in_use import REFRESH_S, hold_embedder
from lookout.stores.registry.tables import (
    IndexRemoval,
    ModelChoice,
    NextReference,
    NextSighting,
    Reference,
    Sighting,
    StoredCrop,
    Target,
    Watchlist,
)
from lookout.stores.templates import pack, reference_place, target_place, unpack_many
from lookout.switching.reembedding import Reembedder, Stores, photos_waiting, remaining
from lookout.targets.references import combined

#: Sightings that come to their new template in one transaction: others write between two.
MOVED_AT_ONCE = 200
#: Told: what is worked on, how much of it is done, and how much there is.
Told = Callable[[str, int, int], None]


@dataclass(frozen=True, slots=True)
class Switched:
    """What a switch did.

    Attributes:
        before: the embedder that was in use; the same as `after` where an earlier switch was only finished.
        photos, sightings: how many were embedded anew.
        gone: sightings none of whose pictures is there any more: they can no longer be found.
        pause_s: how long workers waited.
    """

    before: str
    after: str
    photos: int
    sightings: int
    gone: int
    pause_s: float


def switch(stores: Stores, to: TemplateModel, reembedder: Reembedder, actor: Actor, told: Told) -> Switched:
    """Embed everything anew by a model, bring it into use, and remove what was the old one's.

    Whoever calls it again after it was cut off goes on where it was. The model that is in use already is only finished
    with: what an abandoned switch to another one has made is removed.

    Args:
        stores: all of them.
        to: the model, with the calibration that shall hold.
        reembedder: with that model's embedder.
        actor: for the audit.
        told: how it gets on.

    Raises:
        ConflictError: another process switches just now.
        BadInputError: photos cannot be read any more, so that people on watchlists would be lost; nothing was switched.
        UnavailableError: a part does not answer; what was embedded is kept.
    """
    with stores.registry.exclusively("switch", wait=False):
        stores.vectors.make(to.name, to.dimension)
        before = None
        while before is None:
            _embed(stores, reembedder, told)
            told("switching", 0, 1)
            began = time.monotonic()
            before = _bring_into_use(stores, to, actor)
        switched_at = time.monotonic()
        told("switching", 1, 1)
        _finish(stores, reembedder, told)
        _remove_others(stores, to.name, switched_at)
    return Switched(
        before=before,
        after=to.name,
        photos=reembedder.made_photos,
        sightings=reembedder.made_sightings,
        gone=len(reembedder.gone),
        pause_s=round(switched_at - began, 2),
    )


def _embed(stores: Stores, reembedder: Reembedder, told: Told) -> None:
    with stores.registry.reading() as session:
        work = remaining(session, reembedder.embedder.name)
    for what, total, steps in (
        ("photos", work.photos, reembedder.photos()),
        ("sightings", work.sightings, reembedder.sightings()),
    ):
        for done in itertools.accumulate(steps, initial=0):
            told(what, done, max(done, total))
        if reembedder.unreadable:
            raise BadInputError(
                f"nothing was switched, as {len(reembedder.unreadable)} photos of people on watchlists cannot be read "
                f"any more ({next(iter(reembedder.unreadable.values()))}) Remove them and enrol others: references "
                f"{', '.join(sorted(reembedder.unreadable)[:5])}."
            )


def _bring_into_use(stores: Stores, to: TemplateModel, actor: Actor) -> str | None:
    """Give all targets their next templates and let the model be used; returns which was, None if photos came since.

    Who enrols holds the row of the choice until the end, and workers look at it before they write: each does so wholly
    before or wholly after this transaction.
    """
    with stores.registry.transaction() as session:
        # Targets first, as all others lock them.
        session.execute(select(Target.id).order_by(Target.id).with_for_update()).all()
        choice = session.get_one(ModelChoice, "embedder", with_for_update=True)
        before = choice.name
        anew = session.scalar(select(exists().where(NextReference.model == to.name)))
        if before == to.name and not anew:
            return before
        if session.scalar(select(func.count()).select_from(Reference).where(photos_waiting(to.name))):
            return None
        targets = _recombine_all(session, stores, to)
        session.execute(delete(NextReference))
        choice.name, choice.changed_at_us = to.name, now_us()
        detail = {"role": "embedder", "before": before, "targets": targets}
        audit.record(session, actor, "model.switched", "model", to.name, detail=detail)
    return before


def _recombine_all(session: Session, stores: Stores, to: TemplateModel) -> int:
    """Make each target's template of its photos' next ones, and tell Milvus; returns how many targets have one."""
    made = and_(NextReference.reference_id == Reference.id, NextReference.model == to.name)
    columns = (Reference.id, Reference.target_id, Reference.quality, Reference.confirmed)
    template = func.coalesce(NextReference.template, Reference.template).label("template")
    rows = session.execute(
        select(*columns, template)
        .outerjoin(NextReference, made)
        .order_by(Reference.target_id, Reference.created_at_us, Reference.id)
    ).all()
    references, targets = list[dict[str, object]](), dict[str, NDArray[np.float32]]()
    for target_id, group in itertools.groupby(rows, key=lambda row: row.target_id):
        photos = list(group)
        templates = unpack_many({reference_place(one.id): one.template for one in photos}, stores.keyring)
        confirmed = {number for number, one in enumerate(photos) if one.confirmed}
        targets[target_id], outliers = combined(templates, [one.quality for one in photos], to, confirmed)
        references += [
            {"id": one.id, "model": to.name, "template": one.template, "in_template": number not in outliers}
            for number, one in enumerate(photos)
        ]
    searched = _searched(session) & targets.keys()
    stores.vectors.upsert_targets(to.name, sorted(searched), np.array([targets[one] for one in sorted(searched)]))
    if targets:
        session.execute(update(Reference), references)
        session.execute(
            update(Target),
            [
                {
                    "id": target_id,
                    "model": to.name,
                    "template": pack(made_of, stores.keyring, target_place(target_id)),
                    "indexed": target_id in searched,
                }
                for target_id, made_of in targets.items()
            ],
        )
    return len(targets)


def _searched(session: Session) -> set[str]:
    """Targets that belong in Milvus."""
    return set(
        session.scalars(
            select(Target.id).where(
                Target.erased_at_us.is_(None),
                exists().where(Watchlist.id == Target.watchlist_id, Watchlist.archived_at_us.is_(None)),
                ~exists().where(IndexRemoval.target_id == Target.id),
            )
        )
    )


def _finish(stores: Stores, reembedder: Reembedder, told: Told) -> None:
    """Let sightings come to their next sums, and embed those that were seen in the last moment."""
    model = reembedder.embedder.name
    with stores.registry.reading() as session:
        total = session.scalar(select(func.count()).select_from(NextSighting).where(NextSighting.model == model)) or 0
    done = 0
    while True:
        while moved := _move_sightings(stores, model):
            done += moved
            told("bringing sightings over", done, max(done, total))
        before = reembedder.made_sightings
        for _ in reembedder.sightings():
            pass
        if reembedder.made_sightings == before:
            return


def _move_sightings(stores: Stores, model: str) -> int:
    """Some sightings come to their next sums; returns how many were looked at, 0 when none is left."""
    with stores.registry.transaction() as session:
        hold_embedder(session, model)
        made = session.scalars(select(NextSighting).where(NextSighting.model == model).limit(MOVED_AT_ONCE)).all()
        ids = [one.sighting_id for one in made]
        # Locked, as workers fold crops into them.
        sightings = {
            one.id: one
            for one in session.scalars(
                select(Sighting).where(Sighting.id.in_(ids)).order_by(Sighting.id).with_for_update()
            )
        }
        counted = select(StoredCrop.sighting_id, func.count()).where(StoredCrop.sighting_id.in_(ids))
        crops = {row[0]: row[1] for row in session.execute(counted.group_by(StoredCrop.sighting_id))}
        for one in made:
            sighting = sightings.get(one.sighting_id)
            # One that a worker has brought over already is as it should be; one with more crops is embedded again.
            if sighting is not None and sighting.model != model and crops.get(one.sighting_id) == one.crops:
                sighting.model, sighting.template_sum, sighting.indexed = model, one.template_sum, True
            session.delete(one)
    return len(made)


def _remove_others(stores: Stores, model: str, switched_at: float) -> None:
    """Remove what other models made: they are no longer used, or their switch was given up."""
    with stores.registry.transaction() as session:
        hold_embedder(session, model)
        session.execute(delete(NextReference))
        session.execute(delete(NextSighting))
    # Workers may still be at a batch of the model that was in use; without its collection they would do it again.
    time.sleep(max(0.0, switched_at + 2 * REFRESH_S - time.monotonic()))
    stores.vectors.drop_others(model)
