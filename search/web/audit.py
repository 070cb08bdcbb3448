"""The page of the audit log: who did what, in sentences, and whether the log is whole."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import Annotated, Any
from urllib.parse import urlencode

from fastapi import APIRouter, Depends, Query, Request
from fastapi.responses import Response
from sqlalchemy import select
from sqlalchemy.orm import Session

from lookout import audit
from lookout.accounts.rights import Identity
from lookout.audit import reading as audit_reading
from lookout.audit.reading import Filter
from lookout.stores.registry.tables import AuditEntry, Target, User, Watchlist
from search.parts import Parts, parts_of
from search.security import Allowed
from search.web import pages
from search.web.audit_sentences import SENTENCES, sentence

router = APIRouter(include_in_schema=False)
WithParts = Annotated[Parts, Depends(parts_of)]
MAY_READ = Allowed("audit:read")
Who = Annotated[Identity, Depends(MAY_READ)]
Text = Annotated[str, Query(max_length=100)]
#: A form sends empty fields as well.
Day = Annotated[str, Query(pattern=r"^(\d{4}-\d{2}-\d{2})?$")]
PAGE = 100


@router.get("/audit")
def show_audit(
    request: Request,
    parts: WithParts,
    who: Who,
    actor: Text = "",
    action: Text = "",
    subject: Text = "",
    subject_id: Text = "",
    watchlist: Text = "",
    since: Day = "",
    until: Day = "",
    before: Annotated[int | None, Query(ge=1, lt=2**62)] = None,
) -> Response:
    """Entries, newest first."""
    asked = {"actor": actor.strip(), "action": action, "subject": subject, "subject_id": subject_id.strip()}
    days = {"since": since, "until": until}
    which = Filter(
        **asked,
        watchlist_id=watchlist,
        since_us=_first_us(since),
        until_us=_first_us(until, days=1),
        watchlists=who.watchlists,
    )
    kept = {name: value for name, value in {**asked, "watchlist": watchlist, **days}.items() if value}
    with parts.registry.reading() as session:
        found = audit_reading.newest(session, which, limit=PAGE + 1, before=before)
        older = urlencode({**kept, "before": found[PAGE - 1].number}) if len(found) > PAGE else ""
        shown = found[:PAGE]
        names = _names(session, who, shown)
        number, head = audit_reading.head(session)
        return pages.page(
            request,
            "audit/page.html",
            entries=[(entry, sentence(entry, names)) for entry in shown],
            names=names,
            lists=_watchlists(session, who),
            actions=sorted(SENTENCES),
            asked={**asked, "watchlist": watchlist, **days},
            filtered=bool(kept),
            older=older,
            newest=urlencode(kept) if before else None,
            export=urlencode(_for_export(kept)),
            number=number,
            head=head,
        )


@router.get("/audit/verification", dependencies=[Depends(MAY_READ)])
def verify(request: Request, parts: WithParts) -> Response:
    """Check the whole chain, and say what came of it."""
    with parts.registry.reading() as session:
        return pages.page(request, "audit/verification.html", found=audit.verify(session))


def _first_us(day: str, days: int = 0) -> int | None:
    """When a day begins, or one some days after it, in UTC; None for no day and for one that no calendar has."""
    try:
        found = datetime.combine(date.fromisoformat(day), datetime.min.time(), UTC) + timedelta(days=days)
    except (ValueError, OverflowError):
        return None
    return (found - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)


def _for_export(kept: dict[str, str]) -> dict[str, str]:
    """The same filter for the API, whose `until` is a time and not a day."""
    until = _first_us(kept.get("until", ""), days=1)
    return kept if until is None else {**kept, "until": (datetime.fromtimestamp(until // 10**6, UTC)).isoformat()}


def _watchlists(session: Session, who: Identity) -> list[tuple[str, str]]:
    query = select(Watchlist.id, Watchlist.name).order_by(Watchlist.name)
    if who.watchlists is not None:
        query = query.where(Watchlist.id.in_(who.watchlists))
    return [(one, name) for one, name in session.execute(query)]


def _names(session: Session, who: Identity, entries: list[AuditEntry]) -> dict[tuple[str, str], str]:
    """What the things of entries are called now, by kind and id; of targets only for who may see them."""

    def ids(kind: str) -> set[str]:
        found = {entry.subject_id for entry in entries if entry.subject == kind}
        # What an entry says beside its subject: `{"target": id}`.
        return found | {named for entry in entries if isinstance(named := entry.detail.get(kind), str)}

    lists = ids("watchlist") | {entry.watchlist_id for entry in entries if entry.watchlist_id}
    queries: dict[str, Any] = {
        "user": select(User.id, User.name).where(User.id.in_(ids("user"))),
        "watchlist": select(Watchlist.id, Watchlist.name).where(Watchlist.id.in_(lists)),
    }
    if who.watchlists is not None:
        queries["watchlist"] = queries["watchlist"].where(Watchlist.id.in_(who.watchlists))
    if who.may("watchlists:read"):
        query = select(Target.id, Target.name).where(Target.id.in_(ids("target")), Target.erased_at_us.is_(None))
        queries["target"] = query if who.watchlists is None else query.where(Target.watchlist_id.in_(who.watchlists))
    return {(kind, one): name for kind, query in queries.items() for one, name in session.execute(query)}
