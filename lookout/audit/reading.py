"""Reading the audit log: filtered, newest first for people, oldest first for taking it out."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from sqlalchemy import Select, or_, select
from sqlalchemy.orm import Session

from lookout.audit import BEGIN, Actor, entries, record
from lookout.clock import to_datetime
from lookout.stores.registry import Registry
from lookout.stores.registry.tables import AuditEntry

#: What is told of an entry, in this order.
COLUMNS = (
    "number",
    "at",
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
    "hash",
)
FORMS = ("jsonl", "csv")


@dataclass(frozen=True, slots=True, kw_only=True)
class Filter:
    """Which entries are asked for; what is empty does not count.

    Attributes:
        since_us: from this time on.
        until_us: before this time.
        watchlists: ids of those that the reader has a right to, None: all. Entries that concern none are for everybody.
    """

    actor: str = ""
    action: str = ""
    subject: str = ""
    subject_id: str = ""
    watchlist_id: str = ""
    since_us: int | None = None
    until_us: int | None = None
    watchlists: frozenset[str] | None = None

    def query(self) -> Select[AuditEntry]:
        """The entries, in no order."""
        found = select(AuditEntry)
        for name in ("actor", "action", "subject", "subject_id", "watchlist_id"):
            if value := getattr(self, name):
                found = found.where(getattr(AuditEntry, name) == value)
        if self.since_us is not None:
            found = found.where(AuditEntry.at_us >= self.since_us)
        if self.until_us is not None:
            found = found.where(AuditEntry.at_us < self.until_us)
        if self.watchlists is not None:
            found = found.where(or_(AuditEntry.watchlist_id.is_(None), AuditEntry.watchlist_id.in_(self.watchlists)))
        return found


def newest(session: Session, wanted: Filter, *, limit: int, before: int | None = None) -> list[AuditEntry]:
    """Entries, newest first; those before a number, if one is given."""
    query = wanted.query().order_by(AuditEntry.number.desc()).limit(limit)
    return list(session.scalars(query if before is None else query.where(AuditEntry.number < before)))


def head(session: Session) -> tuple[int, str]:
    """Number and hash of the newest entry."""
    last = session.execute(
        select(AuditEntry.number, AuditEntry.hash).order_by(AuditEntry.number.desc()).limit(1)
    ).first()
    return (0, BEGIN) if last is None else (last.number, last.hash)


def export(registry: Registry, actor: Actor, wanted: Filter, *, form: str = "jsonl") -> Iterator[str]:
    """Entries as text, oldest first, some at a time; that somebody takes them out is an entry itself.

    Args:
        registry: the registry.
        actor: who.
        wanted: which.
        form: `jsonl`, a JSON object a line, or `csv`, with a line of names first.
    """
    asked = {name: value for name, value in asdict(wanted).items() if value and name != "watchlists"}
    with registry.transaction() as session:
        record(session, actor, "audit.exported", "audit", detail={**asked, "form": form})

    # Only what comes before is done at once: it is written down also if nobody reads what follows.
    def lines() -> Iterator[str]:
        if form == "csv":
            yield _csv(COLUMNS)
        with registry.reading() as session:
            for entry in entries(session, wanted.query()):
                shown = as_json(entry)
                if form == "csv":
                    yield _csv(
                        [json.dumps(shown[name]) if name == "detail" else str(shown[name] or "") for name in COLUMNS]
                    )
                else:
                    yield json.dumps(shown, ensure_ascii=False) + "\n"

    return lines()


def as_json(entry: AuditEntry) -> dict[str, Any]:
    """An entry for programs: `COLUMNS`, with the time in RFC 3339 to the microsecond."""
    at = to_datetime(entry.at_us).isoformat(timespec="microseconds").replace("+00:00", "Z")
    return {"at": at} | {name: getattr(entry, name) for name in COLUMNS if name != "at"}


def _csv(values: Sequence[str]) -> str:
    text = io.StringIO()
    # A spreadsheet takes a value that begins so for a formula.
    safe = [f"'{value}" if value.startswith(("=", "+", "-", "@", "\t", "\r")) else value for value in values]
    csv.writer(text).writerow(safe)
    return text.getvalue()
