"""Alerts against truth: who was found, who was missed, who was taken for somebody, and how soon. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from lookout.evaluation.truth import Appearance
from lookout.stores.registry.tables import TIERS

#: By so much a sighting may lie beside an appearance: who watches a video notes whole seconds.
TOLERANCE_S = 1.0


@dataclass(frozen=True, slots=True)
class Seen:
    """A sighting that matched: its camera, and from when to when, in seconds from the recordings' beginning."""

    camera: str
    start_s: float
    end_s: float


@dataclass(frozen=True, slots=True)
class Alerted:
    """An alert.

    Attributes:
        identity: the target's name.
        camera: where it began.
        tier: its highest.
        score: its best.
        first_s: when its first matched picture was taken, in seconds from the recordings' beginning.
        seen: its sightings.
    """

    identity: str
    camera: str
    tier: str
    score: float
    first_s: float
    seen: tuple[Seen, ...]


@dataclass(frozen=True, slots=True)
class Episode:
    """One identity on one camera group for as long as the product makes one alert of it, and what was made of it.

    Attributes:
        appearances: by their beginning.
        tier: the highest that an alert of it reached; None: it was missed.
        score: the best one.
        time_to_alert_s: from its beginning to the first matched picture.
    """

    appearances: tuple[Appearance, ...]
    tier: str | None = None
    score: float | None = None
    time_to_alert_s: float | None = None

    @property
    def identity(self) -> str:
        """Whose it is."""
        return self.appearances[0].identity

    @property
    def camera(self) -> str:
        """Where it begins."""
        return self.appearances[0].camera

    @property
    def start_s(self) -> float:
        """When it begins."""
        return self.appearances[0].start_s

    @property
    def end_s(self) -> float:
        """When it ends."""
        return max(one.end_s for one in self.appearances)


@dataclass(frozen=True, slots=True)
class PerDay:
    """How often something happens a camera and day, with its 95 % range."""

    value: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Outcome:
    """What alerts are worth.

    Attributes:
        episodes: of all listed people, by time.
        right: alerts on people who were there.
        false: alerts on people who were not.
    """

    episodes: tuple[Episode, ...]
    right: tuple[Alerted, ...]
    false: tuple[Alerted, ...]


def compare(
    appearances: Iterable[Appearance], alerts: Sequence[Alerted], groups: Mapping[str, str], silence_s: float
) -> Outcome:
    """Compare alerts with the truth.

    An episode is found if a sighting of an alert of that name overlaps one of its appearances, on the same camera, to
    within `TOLERANCE_S`. An alert is false if none of its sightings overlaps an appearance of who it names.

    Args:
        appearances: of people on a watchlist.
        alerts: all that were raised.
        groups: camera -> group; cameras of one group share their alerts.
        silence_s: appearances less than this apart are one episode.
    """
    episodes = _episodes(appearances, groups, silence_s)
    right = tuple(one for one in alerts if any(_overlapping(episode, one) for episode in episodes))
    return Outcome(
        episodes=tuple(_judged(episode, right) for episode in episodes),
        right=right,
        false=tuple(one for one in alerts if one not in right),
    )


def _episodes(appearances: Iterable[Appearance], groups: Mapping[str, str], silence_s: float) -> list[Episode]:
    runs: dict[tuple[str, str], list[list[Appearance]]] = {}
    for one in sorted(appearances, key=lambda one: (one.start_s, one.end_s)):
        own = runs.setdefault((one.identity, groups[one.camera]), [])
        if own and one.start_s - max(before.end_s for before in own[-1]) < silence_s:
            own[-1].append(one)
        else:
            own.append([one])
    found = [Episode(tuple(run)) for own in runs.values() for run in own]
    return sorted(found, key=lambda episode: episode.start_s)


def _overlapping(episode: Episode, alert: Alerted) -> list[Seen]:
    """An alert's sightings that belong to an episode."""
    if alert.identity != episode.identity:
        return []
    return [seen for seen in alert.seen if any(_overlaps(seen, one) for one in episode.appearances)]


def _overlaps(seen: Seen, one: Appearance) -> bool:
    return (
        seen.camera == one.camera
        and seen.start_s <= one.end_s + TOLERANCE_S
        and seen.end_s >= one.start_s - TOLERANCE_S
    )


def _judged(episode: Episode, alerts: Sequence[Alerted]) -> Episode:
    found = [(alert, seen) for alert in alerts if (seen := _overlapping(episode, alert))]
    if not found:
        return episode
    # An alert may have begun with somebody else's sighting: its first picture then says nothing of this episode.
    first_s = min(max(alert.first_s, min(one.start_s for one in seen)) for alert, seen in found)
    return Episode(
        episode.appearances,
        tier=max((alert.tier for alert, _ in found), key=TIERS.index),
        score=max(alert.score for alert, _ in found),
        time_to_alert_s=max(0.0, first_s - episode.start_s),
    )


def per_day(count: int, days: float) -> PerDay:
    """What was counted in some days that cameras recorded, as a rate.

    Its range is the exact one of a Poisson distribution: F. Garwood, "Fiducial Limits for the Poisson Distribution",
    Biometrika 28, 1936. Where nothing was counted it reaches to 3.69 events.
    """
    from scipy.stats import chi2

    low = float(chi2.ppf(0.025, 2 * count)) / 2 if count else 0.0
    return PerDay(count / days, low / days, float(chi2.ppf(0.975, 2 * count + 2)) / 2 / days)
