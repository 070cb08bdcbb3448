"""Templates against the watchlists: Milvus proposes, the registry decides."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import select
from sqlalchemy.orm import joinedload

from lookout.metrics import MATCH_SECONDS
from lookout.stores.registry.tables import Reference, Target
from lookout.thresholds import thresholds
from workers.parts import Parts

#: References looked at for each face: several photos of one person and several watchlists must fit.
CANDIDATES = 20


@dataclass(frozen=True, slots=True)
class Match:
    """A sighting resembles a target enough for an alert.

    Attributes:
        score: cosine of the sighting's template and the target's best reference.
        threshold: the tier's, which the score reached.
    """

    target_id: str
    watchlist: str
    reference_id: str
    score: float
    tier: str
    threshold: float


def match(parts: Parts, templates: NDArray[np.float32], camera_groups: Sequence[str]) -> list[list[Match]]:
    """Matches of each template `(N, D)` seen on each of N camera groups, at most one a target.

    Raises:
        UnavailableError: Milvus or the registry does not answer.
    """
    with MATCH_SECONDS.time():
        found = parts.references.search_references(templates, CANDIDATES)
        with parts.registry.reading() as session:
            ids = {hit.reference_id for hits in found for hit in hits}
            references = {
                reference.id: reference
                for reference in session.scalars(
                    select(Reference)
                    .where(Reference.id.in_(ids))
                    .options(joinedload(Reference.target).joinedload(Target.watchlist))
                )
            }
    results = []
    for hits, group in zip(found, camera_groups, strict=True):
        best: dict[str, Match] = {}
        for hit in hits:  # best first
            reference = references.get(hit.reference_id)
            if reference is None or reference.target_id in best:
                continue  # erased, or known by a better photo
            watchlist = reference.target.watchlist
            if watchlist.camera_groups and group not in watchlist.camera_groups:
                continue
            limits = thresholds(watchlist, parts.contract)
            tier = limits.tier(hit.score)
            if tier is not None:
                best[reference.target_id] = Match(
                    reference.target_id, watchlist.name, reference.id, hit.score, tier, limits.of(tier)
                )
        results.append(list(best.values()))
    return results
