"""Templates against the watchlists: Milvus proposes, the registry decides."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import select
from sqlalchemy.orm import Session, joinedload

from lookout.metrics import MATCH_SECONDS
from lookout.models_in_use import ModelSwitchedError
from lookout.sealing import Keyring
from lookout.stores.registry.tables import Reference, RejectedPair, Target, Watchlist
from lookout.stores.templates import reference_place, unpack_many
from lookout.stores.vectors import Hit
from lookout.watchlists.records import is_active
from lookout.watchlists.thresholds import sizes, thresholds
from workers.parts import Parts

#: Targets looked at for each face: several watchlists, some of them asleep, must fit.
HITS = 20
#: Targets named beside an alert, so that a person can see who else it may be.
CANDIDATES = 5

Floats = NDArray[np.float32]


@dataclass(frozen=True, slots=True, eq=False)
class Probe:
    """A track to be matched.

    Attributes:
        template: `(D,)` of length 1.
        at_us: when it was seen, which decides whose schedule and validity hold.
        width_px: of its widest face, in the full-size frame.
        quality: of its best face.
    """

    track_id: str
    template: Floats
    camera_group: str
    at_us: int
    width_px: float
    quality: float


@dataclass(frozen=True, slots=True)
class Match:
    """A sighting resembles a target enough for an alert.

    Attributes:
        reference_id: the target's photo that is most alike.
        score: cosine of the sighting's template and the target's.
        threshold: the tier's, which the score reached.
        candidates: the targets most alike, this one among them, best first: `(id, score)`.
    """

    target_id: str
    watchlist: str
    reference_id: str | None
    score: float
    tier: str
    threshold: float
    candidates: tuple[tuple[str, float], ...]


def match(parts: Parts, probes: Sequence[Probe], model: str) -> list[list[Match]]:
    """Matches of each probe, at most one a target.

    Args:
        parts: of the worker.
        probes: tracks.
        model: which made their templates.

    Raises:
        ModelSwitchedError: another one is in use by now.
        UnavailableError: Milvus or the registry does not answer.
    """
    if not probes:
        return []
    with MATCH_SECONDS.time():
        if parts.model.name != model:
            raise ModelSwitchedError(f"the embedder {parts.model.name} has come into use instead of {model}.")
        found = parts.watchlists.search_targets(model, np.stack([probe.template for probe in probes]), HITS)
        with parts.registry.reading() as session:
            targets = _targets(session, {hit.id for hits in found for hit in hits})
            people = sizes(session, {target.watchlist_id for target in targets.values()})
            rejected = _rejected(session, probes)
            results = []
            for probe, hits in zip(probes, found, strict=True):
                matches = _matches(parts, probe, hits, targets, people, rejected)
                results.append([_with_reference(session, parts.keyring, probe, one, model) for one in matches])
    return results


def _targets(session: Session, ids: Iterable[str]) -> dict[str, Target]:
    query = select(Target).where(Target.id.in_(ids)).options(joinedload(Target.watchlist))
    return {target.id: target for target in session.scalars(query)}


def _rejected(session: Session, probes: Sequence[Probe]) -> set[tuple[str, str]]:
    """Pairs of target and sighting of which people said that they are not the same."""
    tracks = [probe.track_id for probe in probes]
    query = select(RejectedPair.target_id, RejectedPair.sighting_id).where(RejectedPair.sighting_id.in_(tracks))
    return {(row.target_id, row.sighting_id) for row in session.execute(query)}


def _matches(
    parts: Parts,
    probe: Probe,
    hits: Sequence[Hit],
    targets: dict[str, Target],
    people: dict[str, int],
    rejected: set[tuple[str, str]],
) -> list[Match]:
    active = [
        (targets[hit.id], hit.score)
        for hit in hits
        if hit.id in targets and is_active(targets[hit.id].watchlist, targets[hit.id], probe.camera_group, probe.at_us)
    ]
    candidates = tuple((target.id, round(score, 4)) for target, score in active[:CANDIDATES])
    found = []
    for target, score in active:
        limits = thresholds(target.watchlist, people[target.watchlist_id], parts.model.calibration)
        tier = limits.tier(score) if _passes(target.watchlist, probe) else None
        if tier is not None and (target.id, probe.track_id) not in rejected:
            found.append(
                Match(
                    target_id=target.id,
                    watchlist=target.watchlist.name,
                    reference_id=None,
                    score=score,
                    tier=tier,
                    threshold=limits.of(tier),
                    candidates=candidates,
                )
            )
    return found


def _passes(watchlist: Watchlist, probe: Probe) -> bool:
    """Whether a track is seen well enough for a watchlist."""
    return probe.width_px >= watchlist.min_face_px and probe.quality >= watchlist.min_quality


def _with_reference(session: Session, keyring: Keyring, probe: Probe, found: Match, model: str) -> Match:
    """The match with the photo that a person should compare with."""
    query = select(Reference.id, Reference.template).where(
        Reference.target_id == found.target_id,
        Reference.in_template.is_(True),
        # Another embedder may have come into use since Milvus was asked: its templates tell this probe nothing.
        Reference.model == model,
    )
    rows = session.execute(query).all()
    if not rows:
        return found
    templates = unpack_many({reference_place(row.id): row.template for row in rows}, keyring)
    return replace(found, reference_id=rows[int(np.argmax(templates @ probe.template))].id)
