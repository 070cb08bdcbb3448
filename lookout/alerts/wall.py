"""The alert wall: alerts as cards, found by filters, and what has happened since a page was made."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, func, or_, select
from sqlalchemy.orm import Session, contains_eager, joinedload

from lookout.accounts.rights import Identity
from lookout.alerts.records import describe, visible
from lookout.alerts.verdicts import Word, last_words, persons_needed, words_of
from lookout.clock import isoformat, now_us
from lookout.stores.registry.tables import (
    Alert,
    AlertEvent,
    AlertSighting,
    CameraRow,
    Reference,
    Sighting,
    StoredCrop,
    Target,
    Watchlist,
)

#: Crops of one alert that are shown at most: some hours of an episode.
MAX_CROPS = 1000


@dataclass(frozen=True, slots=True)
class Filters:
    """Which alerts are wanted; what is empty is not asked for.

    Attributes:
        watchlist: id or name.
        target: id.
        camera: id of the camera where the episode was first seen.
        group: camera group.
        state: `open` or `closed`.
        since_us, until_us: when it was stored; from, and before.
    """

    watchlist: str = ""
    target: str = ""
    camera: str = ""
    group: str = ""
    tier: str = ""
    verdict: str = ""
    state: str = ""
    since_us: int | None = None
    until_us: int | None = None

    def conditions(self) -> list[ColumnElement[bool]]:
        """For a query of `Alert` joined with its `Target`."""
        wanted: list[ColumnElement[bool]] = []
        if self.watchlist:
            named = select(Watchlist.id).where(or_(Watchlist.id == self.watchlist, Watchlist.name == self.watchlist))
            wanted.append(Target.watchlist_id.in_(named))
        for column, value in (
            (Alert.target_id, self.target),
            (Alert.camera_id, self.camera),
            (Alert.camera_group, self.group),
            (Alert.tier, self.tier),
            (Alert.verdict, self.verdict),
        ):
            if value:
                wanted.append(column == value)
        if self.state:
            wanted.append(Alert.closed_at_us.is_(None) if self.state == "open" else Alert.closed_at_us.is_not(None))
        if self.since_us is not None:
            wanted.append(Alert.stored_at_us >= self.since_us)
        if self.until_us is not None:
            wanted.append(Alert.stored_at_us < self.until_us)
        return wanted

    def match(self, alert: Alert) -> bool:
        """The same for an alert in hand, with its target and watchlist."""
        watchlist = alert.target.watchlist
        return (
            (not self.watchlist or self.watchlist in (watchlist.id, watchlist.name))
            and self.target in ("", alert.target_id)
            and self.camera in ("", alert.camera_id)
            and self.group in ("", alert.camera_group)
            and self.tier in ("", alert.tier)
            and self.verdict in ("", alert.verdict)
            and self.state in ("", "closed" if alert.closed_at_us is not None else "open")
            and (self.since_us is None or alert.stored_at_us >= self.since_us)
            and (self.until_us is None or alert.stored_at_us < self.until_us)
        )


@dataclass(frozen=True, slots=True)
class Card:
    """An alert as the wall shows it.

    Attributes:
        alert: with its target and watchlist.
        camera_name: what people call the camera.
        sightings: how many belong to it.
        words: the last word of each person, in time order.
    """

    alert: Alert
    camera_name: str
    sightings: int
    words: list[Word]

    @property
    def erased(self) -> bool:
        """Whether the target was erased, and all pictures with it."""
        return self.alert.target.erased_at_us is not None

    @property
    def persons_needed(self) -> int:
        """How many persons must agree on it."""
        return persons_needed(self.alert)

    @property
    def due_at_us(self) -> int | None:
        """When somebody should have judged it at the latest; None if nobody waits for that."""
        within_s = self.alert.target.watchlist.acknowledge_within_s
        if within_s is None or self.alert.verdict != "unverified" or self.erased:
            return None
        return self.alert.stored_at_us + within_s * 1_000_000

    @property
    def overdue(self) -> bool:
        """Whether that time has passed."""
        return self.due_at_us is not None and self.due_at_us <= now_us()

    @property
    def held(self) -> dict[str, str] | None:
        """Since when and by whom it is held; None if it is not."""
        if self.alert.held_at_us is None:
            return None
        return {"since": isoformat(self.alert.held_at_us), "by": self.alert.held_by or ""}

    def describe(self) -> dict[str, Any]:
        """As JSON: the alert as webhooks tell it, and what else the wall shows."""
        return describe(self.alert, self.alert.target) | {
            "sightings": self.sightings,
            "erased": self.erased,
            "held": self.held,
            "due_at": None if self.due_at_us is None else isoformat(self.due_at_us),
            "overdue": self.overdue,
            "persons_needed": self.persons_needed,
        }


@dataclass(frozen=True, slots=True)
class Happened:
    """An event and the alert as it is now, maybe already later than the event."""

    id: int
    kind: str
    card: Card


@dataclass(frozen=True, slots=True)
class Candidate:
    """Another target whom a face resembled."""

    target: Target
    score: float


def newest(
    session: Session, who: Identity, filters: Filters, older: ColumnElement[bool] | None, limit: int
) -> list[Card]:
    """A page of alerts that somebody may see, newest first.

    Args:
        session: to read.
        who: asks.
        filters: which.
        older: only what comes after a cursor.
        limit: how many at most.
    """
    query = (
        select(Alert)
        .join(Alert.target)
        .options(contains_eager(Alert.target).joinedload(Target.watchlist))
        .where(*visible(who), *filters.conditions())
        .order_by(Alert.stored_at_us.desc(), Alert.id.desc())
        .limit(limit)
    )
    return cards(session, session.scalars(query if older is None else query.where(older)).all())


def cards(session: Session, alerts: Sequence[Alert]) -> list[Card]:
    """Alerts, with their targets and watchlists, as cards; three queries however many there are."""
    ids = [alert.id for alert in alerts]
    if not ids:
        return []
    counted = (
        select(AlertSighting.alert_id, func.count())
        .where(AlertSighting.alert_id.in_(ids))
        .group_by(AlertSighting.alert_id)
    )
    counts: dict[str, int] = dict(session.execute(counted).all())
    named = select(CameraRow.id, CameraRow.name).where(CameraRow.id.in_({alert.camera_id for alert in alerts}))
    names: dict[str, str] = dict(session.execute(named).all())
    words = words_of(session, ids)
    return [
        Card(alert, names.get(alert.camera_id, alert.camera_id), counts.get(alert.id, 0), last_words(words[alert.id]))
        for alert in alerts
    ]


def newest_event(session: Session) -> int:
    """Number of the last event there is; 0 if there is none."""
    return session.scalar(select(func.max(AlertEvent.id))) or 0


def knows_all_after(session: Session, event_id: int) -> bool:
    """Whether all events after a number are still there, and the number is one that was given."""
    oldest = session.scalar(select(func.min(AlertEvent.id)))
    return event_id == 0 if oldest is None else oldest - 1 <= event_id <= newest_event(session)


def events_after(session: Session, event_id: int, limit: int, who: Identity | None = None) -> list[Happened]:
    """What happened after an event, oldest first, to alerts that somebody may see; None: to all."""
    query = (
        select(AlertEvent, Alert)
        .join(Alert, Alert.id == AlertEvent.alert_id)
        .join(Alert.target)
        .options(contains_eager(Alert.target).joinedload(Target.watchlist))
        .where(AlertEvent.id > event_id, *(visible(who) if who is not None else []))
        .order_by(AlertEvent.id)
        .limit(limit)
    )
    found = session.execute(query).all()
    alerts = {alert.id: alert for _, alert in found}
    by_id = {card.alert.id: card for card in cards(session, list(alerts.values()))}
    return [Happened(event.id, event.kind, by_id[event.alert_id]) for event, _ in found]


def crops_of(session: Session, alert: Alert) -> list[StoredCrop]:
    """The crops of all sightings of an alert in time order, each with its sighting; at most `MAX_CROPS`."""
    query = (
        select(StoredCrop)
        .join(StoredCrop.sighting)
        .join(AlertSighting, AlertSighting.sighting_id == Sighting.id)
        .where(AlertSighting.alert_id == alert.id)
        .options(contains_eager(StoredCrop.sighting))
        .order_by(StoredCrop.captured_at_us, StoredCrop.id)
        .limit(MAX_CROPS)
    )
    return list(session.scalars(query))


def candidates_of(session: Session, who: Identity, alert: Alert) -> list[Candidate]:
    """Who else resembled the face, best first: only people on watchlists with a right to, and not erased."""
    scores = {one["target"]: float(one["score"]) for one in alert.candidates if one["target"] != alert.target_id}
    query = (
        select(Target).where(Target.id.in_(scores), Target.erased_at_us.is_(None)).options(joinedload(Target.watchlist))
    )
    if who.watchlists is not None:
        query = query.where(Target.watchlist_id.in_(who.watchlists))
    found = [Candidate(target, scores[target.id]) for target in session.scalars(query)]
    return sorted(found, key=lambda candidate: -candidate.score)


def references_of(session: Session, alert: Alert) -> list[Reference]:
    """The enrolment photos of an alert's target, the one most alike first."""
    found = session.scalars(
        select(Reference).where(Reference.target_id == alert.target_id).order_by(Reference.created_at_us, Reference.id)
    ).all()
    return sorted(found, key=lambda reference: reference.id != alert.reference_id)
