"""The audit log: who did what, when, from where, and why. Each entry is chained to the one before by its hash.

Whoever changes, removes or inserts an entry behind Lookout's back breaks the chain from there on. The newest entries
can be cut off without a trace, unless their hash is known elsewhere: `lookout audit verify` prints it for that.

Article 12(3) of Regulation (EU) 2024/1689 asks of remote biometric identification: the period of each use
(`alert.opened` and `alert.closed`), the reference database (`watchlist_id`), the input that led to a match (the ids of
sighting and crop in `detail`), and who verified the result (`alert.confirmed`, `alert.rejected`).
"""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Select, select
from sqlalchemy.orm import Session

from lookout.clock import now_us
from lookout.stores.registry import do_last
from lookout.stores.registry.tables import AuditEntry

#: What the first entry is chained to.
BEGIN = "0" * 64
_HASHED = (
    "number",
    "at_us",
    "actor",
    "via",
    "address",
    "action",
    "subject",
    "subject_id",
    "watchlist_id",
    "detail",
    "reason",
    "previous_hash",
)


@dataclass(frozen=True, slots=True)
class Actor:
    """Who acts.

    Attributes:
        name: of the user; `system` for what Lookout does by itself.
        via: `session`, `token`, `cli` or `system`.
        address: where the request came from.
    """

    name: str
    via: str
    address: str = ""


SYSTEM = Actor("system", "system")


def record(
    session: Session,
    actor: Actor,
    action: str,
    subject: str,
    subject_id: str = "",
    *,
    watchlist_id: str | None = None,
    detail: dict[str, Any] | None = None,
    reason: str = "",
) -> None:
    """Write an entry, in the transaction that does what it tells; neither is there without the other.

    Args:
        session: of `Registry.transaction`.
        actor: who.
        action: `noun.verb` in the past: `target.viewed`.
        subject: kind of thing it was done to: `target`.
        subject_id: its id.
        watchlist_id: the reference database that it concerns.
        detail: what else matters: ids and figures, never names of targets, pictures or templates.
        reason: why, in the actor's words.
    """
    at_us = now_us()
    # As it comes back from the database, so that its hash can be checked then. What is no JSON fails here.
    kept: dict[str, Any] = json.loads(json.dumps(detail or {}, allow_nan=False))

    def write(session: Session) -> None:
        last = session.execute(
            select(AuditEntry.number, AuditEntry.hash).order_by(AuditEntry.number.desc()).limit(1)
        ).first()
        entry = AuditEntry(
            number=1 if last is None else last.number + 1,
            at_us=at_us,
            actor=actor.name,
            via=actor.via,
            address=actor.address,
            action=action,
            subject=subject,
            subject_id=subject_id,
            watchlist_id=watchlist_id,
            detail=kept,
            reason=reason,
            previous_hash=BEGIN if last is None else last.hash,
        )
        entry.hash = entry_hash(entry)
        session.add(entry)
        session.flush()

    do_last(session, write)


def entry_hash(entry: AuditEntry) -> str:
    """SHA-256 of an entry's fields but its hash, as JSON with sorted keys and without spaces: 64 hexadecimal digits."""
    content = {field: getattr(entry, field) for field in _HASHED}
    text = json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return hashlib.sha256(text.encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class Verification:
    """What became of checking the chain.

    Attributes:
        entries: how many were checked and are whole.
        head: hash of the last of them.
        fault: what is wrong with the one after, or that the entry that was asked for is gone; empty if all is well.
    """

    entries: int
    head: str
    fault: str = ""


def verify(session: Session, known: str | None = None) -> Verification:
    """Check the whole chain, from the first entry on.

    Args:
        session: of `Registry.reading`.
        known: hash of an entry, noted elsewhere, that must be part of the chain: whoever cuts off the end of the log
            can build it anew, but not so that it has this hash.
    """
    number, head = 0, BEGIN
    found = known in (None, BEGIN)
    for entry in entries(session):
        if entry.number != number + 1:
            return Verification(number, head, f"after entry {number} comes {entry.number}: some are missing")
        if entry.previous_hash != head:
            return Verification(number, head, f"entry {entry.number} does not follow on entry {number}")
        if entry.hash != entry_hash(entry):
            return Verification(number, head, f"entry {entry.number} was changed")
        number, head = entry.number, entry.hash
        found = found or head == known
    return Verification(number, head, "" if found else f"no entry has the hash {known}: entries were cut off")


def entries(session: Session, query: Select[AuditEntry] | None = None) -> Iterator[AuditEntry]:
    """Entries, all or those of a query, oldest first, some at a time."""
    wanted = (select(AuditEntry) if query is None else query).order_by(AuditEntry.number)
    # Closed also if the caller stops half-way: a cursor of the server's would stay open.
    with contextlib.closing(session.scalars(wanted.execution_options(yield_per=1000))) as found:
        for entry in found:
            session.expunge(entry)
            yield entry
