"""Verdicts: what people say of an alert, and what becomes of it by that.

One person's word settles an alert, the latest one counting. Where the watchlist demands two persons for the alert's
tier, it is settled when at least two have spoken and all say the same.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from lookout import audit
from lookout.alerts import webhooks
from lookout.alerts.closing import close
from lookout.alerts.records import MAX_REASON, event
from lookout.audit import Actor
from lookout.clock import now_us
from lookout.errors import BadInputError, ConflictError
from lookout.stores.registry.tables import Alert, AlertSighting, RejectedPair, User, Verdict, new_id
from lookout.texts import clean


@dataclass(frozen=True, slots=True)
class Word:
    """What one person said of an alert at a time."""

    user_id: str
    user: str
    verdict: str
    reason: str
    at_us: int

    def same(self, user_id: str, verdict: str, reason: str) -> bool:
        """Whether the same person says the same."""
        return (self.user_id, self.verdict, self.reason) == (user_id, verdict, reason)


def persons_needed(alert: Alert) -> int:
    """How many persons must agree on an alert."""
    return 2 if alert.tier in alert.target.watchlist.two_person_tiers else 1


def last_words(words: Iterable[Word]) -> list[Word]:
    """Of words in time order the last of each person, in time order."""
    last: dict[str, Word] = {}
    for word in words:
        last.pop(word.user_id, None)
        last[word.user_id] = word
    return list(last.values())


def outcome(verdicts: Sequence[str], needed: int) -> str:
    """What people's last words, in time order, make of an alert.

    Args:
        verdicts: `confirmed` or `rejected`, one a person.
        needed: how many persons must agree.
    """
    if len(verdicts) < needed:
        return "unverified"
    if needed > 1 and len(set(verdicts)) > 1:
        return "unverified"
    return verdicts[-1]


def words_of(session: Session, alert_ids: Sequence[str]) -> dict[str, list[Word]]:
    """All that was said of some alerts, in time order, by alert."""
    words: dict[str, list[Word]] = {alert_id: [] for alert_id in alert_ids}
    rows = session.execute(
        select(Verdict, User.name)
        .join(User, User.id == Verdict.user_id)
        .where(Verdict.alert_id.in_(alert_ids))
        .order_by(Verdict.at_us)
    )
    for verdict, user in rows:
        words[verdict.alert_id].append(Word(verdict.user_id, user, verdict.verdict, verdict.reason, verdict.at_us))
    return words


def judge(session: Session, actor: Actor, user_id: str, alert: Alert, verdict: str, reason: str = "") -> None:
    """Say of an alert that it is the target (`confirmed`) or is not (`rejected`). Saying it again changes nothing.

    Args:
        session: of `Registry.transaction`.
        actor: for the audit.
        user_id: who says it; a later word of the same person replaces the earlier one, the history keeps both.
        alert: locked, see `lookout.alerts.records.find_alert`.
        verdict: `confirmed` or `rejected`.
        reason: must be given to reject, and where the watchlist demands it.

    Raises:
        BadInputError: the verdict is none, or a reason is missing or too long.
        ConflictError: the target was erased, so there is nothing left to look at.
    """
    if verdict not in ("confirmed", "rejected"):
        raise BadInputError("verdict: say `confirmed` or `rejected`.")
    watchlist = alert.target.watchlist
    required = verdict == "rejected" or watchlist.reason_required
    reason = clean("reason", reason, MAX_REASON, required=required)
    if alert.target.erased_at_us is not None:
        raise ConflictError("the target was erased with its pictures: nobody can judge this alert any more.")
    history = words_of(session, [alert.id])[alert.id]
    if history and _outcome(alert, history) == alert.verdict and history[-1].same(user_id, verdict, reason):
        return
    # Later than what was said before, also where the clock was set back.
    now = max(now_us(), history[-1].at_us + 1 if history else 0)
    session.add(Verdict(id=new_id(), alert_id=alert.id, user_id=user_id, verdict=verdict, reason=reason, at_us=now))
    session.flush()
    before = alert.verdict
    alert.verdict = _outcome(alert, [*history, Word(user_id, actor.name, verdict, reason, now)])
    if alert.verdict != before:
        alert.judged_at_us = None if alert.verdict == "unverified" else now
        _remember_pairs(session, alert, now)
        webhooks.enqueue(session, alert, webhooks.JUDGED)
        if alert.verdict == "rejected" and alert.closed_at_us is None:
            close(session, alert, now)
    event(session, alert.id, "judged")
    audit.record(
        session,
        actor,
        f"alert.{verdict}",
        "alert",
        alert.id,
        watchlist_id=watchlist.id,
        detail={"target": alert.target_id, "final": alert.verdict == verdict},
        reason=reason,
    )


def _outcome(alert: Alert, history: Sequence[Word]) -> str:
    return outcome([word.verdict for word in last_words(history)], persons_needed(alert))


def _remember_pairs(session: Session, alert: Alert, at_us: int) -> None:
    """Keep in mind which sightings are not the target, as long as that is what people say."""
    sightings = session.execute(
        select(AlertSighting.sighting_id, AlertSighting.score).where(AlertSighting.alert_id == alert.id)
    ).all()
    if alert.verdict == "rejected":
        for sighting_id, score in sightings:
            session.merge(RejectedPair(target_id=alert.target_id, sighting_id=sighting_id, score=score, at_us=at_us))
    else:
        ids = select(AlertSighting.sighting_id).where(AlertSighting.alert_id == alert.id)
        session.execute(
            delete(RejectedPair)
            .where(RejectedPair.target_id == alert.target_id, RejectedPair.sighting_id.in_(ids))
            .execution_options(synchronize_session=False)
        )
