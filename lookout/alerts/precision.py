"""How often a watchlist's alerts were right, by what people said of them."""

from __future__ import annotations

import math
from collections.abc import Collection
from dataclasses import dataclass

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from lookout.stores.registry.tables import TIERS, Alert, Target

#: Of the standard normal distribution, for intervals of 95 %.
_Z = 1.959964


@dataclass(frozen=True, slots=True)
class Precision:
    """Verdicts on the alerts of one tier.

    Attributes:
        confirmed: alerts that showed the person.
        rejected: alerts that showed somebody else.
    """

    confirmed: int
    rejected: int

    @property
    def judged(self) -> int:
        """On how many alerts a verdict stands."""
        return self.confirmed + self.rejected

    @property
    def share(self) -> float | None:
        """Share of judged alerts that were right; None before the first verdict."""
        return self.confirmed / self.judged if self.judged else None

    @property
    def interval(self) -> tuple[float, float]:
        """Where that share lies with 95 % certainty; 0..1 before the first verdict.

        The score interval of E. B. Wilson, "Probable Inference, the Law of Succession, and Statistical Inference",
        Journal of the American Statistical Association 22, 1927: it holds for few verdicts, too.
        """
        count = self.judged
        if not count:
            return 0.0, 1.0
        share, spread = self.confirmed / count, _Z**2 / count
        middle = (share + spread / 2) / (1 + spread)
        half = _Z / (1 + spread) * math.sqrt(share * (1 - share) / count + spread / (4 * count))
        return max(0.0, middle - half), min(1.0, middle + half)


def precision_of(session: Session, watchlists: Collection[str]) -> dict[str, dict[str, Precision]]:
    """Precision of each watchlist by tier, of the alerts that are still kept; those of erased people do not count."""
    counted = (
        select(Target.watchlist_id, Alert.tier, Alert.verdict, func.count())
        .join(Target, Target.id == Alert.target_id)
        .where(
            Target.watchlist_id.in_(watchlists),
            Target.erased_at_us.is_(None),
            Alert.verdict.in_(("confirmed", "rejected")),
        )
        .group_by(Target.watchlist_id, Alert.tier, Alert.verdict)
    )
    found = {(row[0], row[1], row[2]): int(row[3]) for row in session.execute(counted)}
    return {
        watchlist: {
            tier: Precision(found.get((watchlist, tier, "confirmed"), 0), found.get((watchlist, tier, "rejected"), 0))
            for tier in TIERS
        }
        for watchlist in watchlists
    }
