"""From which score on a match is worth an alert: stated as an error rate, worked out at the watchlist's size."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from lookout.faces.calibration import Calibration
from lookout.stores.registry.tables import Target, Watchlist

#: Of so many strangers at most one reaches a tier, where a watchlist says nothing else: its FPIR.
STRANGERS = {"possible": 500, "likely": 10_000}
#: Nobody can state less than one in so many: no tail was measured so far.
MOST_STRANGERS = 1_000_000


@dataclass(frozen=True, slots=True)
class Thresholds:
    """Cosines from which a match counts as `possible` and as `likely`."""

    possible: float
    likely: float

    def tier(self, score: float) -> str | None:
        """The highest tier a score reaches; below `possible` none, even where `likely` was set lower."""
        if score < self.possible:
            return None
        return "likely" if score >= self.likely else "possible"

    def of(self, tier: str) -> float:
        """The threshold of a tier."""
        return self.likely if tier == "likely" else self.possible


def thresholds(watchlist: Watchlist, size: int, calibration: Calibration) -> Thresholds:
    """A watchlist's thresholds.

    Args:
        watchlist: states how many strangers at least pass for one false alert.
        size: how many people are on it; of an empty one the first person's thresholds are told.
        calibration: of the embedder whose scores are compared.
    """
    return Thresholds(
        calibration.threshold(1 / watchlist.possible_strangers, size),
        calibration.threshold(1 / watchlist.likely_strangers, size),
    )


def sizes(session: Session, watchlists: Collection[str]) -> dict[str, int]:
    """How many people are on each watchlist, those included who have no photo yet or are not looked for now.

    A threshold that moved by the hour, or while a model is switched, would explain nothing.
    """
    counted = (
        select(Target.watchlist_id, func.count())
        .where(Target.watchlist_id.in_(watchlists), Target.erased_at_us.is_(None))
        .group_by(Target.watchlist_id)
    )
    return {**dict.fromkeys(watchlists, 0), **{row[0]: int(row[1]) for row in session.execute(counted)}}
