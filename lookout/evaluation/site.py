"""A calibration from a site's own cameras: how alike its unknown passers-by are to the people on its watchlists."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import msgspec
import numpy as np
from numpy.typing import NDArray
from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from lookout import audit
from lookout.audit import Actor
from lookout.clock import now_us
from lookout.errors import BadInputError
from lookout.faces.calibration import Calibration
from lookout.faces.models import TemplateModel
from lookout.sealing import Keyring
from lookout.sightings.removal import chunks
from lookout.stores.registry.tables import Alert, AlertSighting, Sighting, SiteCalibration, Target, new_id
from lookout.stores.templates import sighting_place, target_place, unpack_many

Floats = NDArray[np.float32]

#: Fewer passers-by are too few to stand for those to come.
LEAST_SIGHTINGS = 1000
#: What is taken at random where there is more: 40 million scores are 160 MB.
MOST_SIGHTINGS, MOST_TARGETS = 20_000, 2000


@dataclass(frozen=True, slots=True, eq=False)
class Strangers:
    """Scores of comparisons of people who are not the same.

    Attributes:
        scores: `(N,)` cosines.
        sightings: of how many passers-by.
        targets: with how many people of the watchlists.
    """

    scores: Floats
    sightings: int
    targets: int


def compare(session: Session, keyring: Keyring, model: str, *, seed: int = 0) -> Strangers:
    """Compare the model's sightings with all targets, without the pairs that may be the same person.

    Left out is a pair of which an alert told, unless people rejected it. Somebody on a watchlist who passed without an
    alert is counted as a stranger: the thresholds that follow are then stricter than need be, never laxer.

    Raises:
        BadInputError: there are too few of either.
        SealError: a template cannot be decrypted.
    """
    rng = np.random.default_rng(seed)
    seen = select(Sighting.id).where(Sighting.model == model).order_by(Sighting.id)
    listed = (
        select(Target.id)
        .where(Target.model == model, Target.template.is_not(None), Target.erased_at_us.is_(None))
        .order_by(Target.id)
    )
    sightings = _some(rng, session.scalars(seen).all(), MOST_SIGHTINGS)
    targets = _some(rng, session.scalars(listed).all(), MOST_TARGETS)
    if len(sightings) < LEAST_SIGHTINGS or not targets:
        raise BadInputError(
            f"{len(sightings)} sightings and {len(targets)} people on watchlists are too few to calibrate with: it "
            f"takes {LEAST_SIGHTINGS} sightings and a person. Let the cameras run longer."
        )
    passers, people = _sums(session, keyring, sightings), _templates(session, keyring, targets)
    scores = passers @ people.T
    strangers = ~_alerted(session, sightings, targets)
    return Strangers(scores[strangers], len(sightings), len(targets))


def store(session: Session, actor: Actor, model: TemplateModel, made: Calibration, strangers: Strangers) -> None:
    """Let a calibration hold for a model from now on."""
    row = SiteCalibration(
        id=new_id(),
        model=model.name,
        body=msgspec.to_builtins(made, str_keys=True),
        sightings=strangers.sightings,
        comparisons=len(strangers.scores),
        created_by=actor.name,
        created_at_us=now_us(),
    )
    session.add(row)
    session.flush()
    detail = {"model": model.name, "sightings": row.sightings, "comparisons": row.comparisons}
    audit.record(session, actor, "model.calibrated", "model", model.name, detail=detail)


def forget(session: Session, actor: Actor, model: str) -> int:
    """Let the shipped calibration of a model hold again; returns how many of the site's were removed."""
    found = session.scalars(select(SiteCalibration.id).where(SiteCalibration.model == model)).all()
    session.execute(delete(SiteCalibration).where(SiteCalibration.model == model))
    if found:
        audit.record(session, actor, "model.calibration_removed", "model", model)
    return len(found)


def _some(rng: np.random.Generator, ids: Sequence[str], most: int) -> list[str]:
    if len(ids) <= most:
        return list(ids)
    return [ids[int(place)] for place in np.sort(rng.choice(len(ids), most, replace=False))]


def _sums(session: Session, keyring: Keyring, ids: Sequence[str]) -> Floats:
    # It imports OpenVINO, which only the command that calls this should wait for.
    from lookout.faces.embedder import normalised

    sealed: dict[str, bytes] = {}
    for chunk in chunks(ids):
        rows = session.execute(select(Sighting.id, Sighting.template_sum).where(Sighting.id.in_(chunk)))
        sealed |= {row.id: row.template_sum for row in rows}
    return normalised(unpack_many({sighting_place(one): sealed[one] for one in ids}, keyring))


def _templates(session: Session, keyring: Keyring, ids: Sequence[str]) -> Floats:
    sealed: dict[str, bytes | None] = {}
    for chunk in chunks(ids):
        rows = session.execute(select(Target.id, Target.template).where(Target.id.in_(chunk)))
        sealed |= {row.id: row.template for row in rows}
    return unpack_many({target_place(one): template for one in ids if (template := sealed[one])}, keyring)


def _alerted(session: Session, sightings: Sequence[str], targets: Sequence[str]) -> NDArray[np.bool_]:
    """Which pairs `(sightings, targets)` an alert told of that nobody rejected."""
    rows, columns = ({one: number for number, one in enumerate(ids)} for ids in (sightings, targets))
    found = np.zeros((len(sightings), len(targets)), np.bool_)
    told = (
        select(AlertSighting.sighting_id, Alert.target_id)
        .join(Alert, Alert.id == AlertSighting.alert_id)
        .where(Alert.verdict != "rejected")
    )
    for sighting, target in session.execute(told):
        if sighting in rows and target in columns:
            found[rows[sighting], columns[target]] = True
    return found
