"""The audit log: read, checked and taken out. Nothing here changes it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Literal

from fastapi import Depends, Query
from fastapi.responses import StreamingResponse
from pydantic import BaseModel, Field

from lookout import audit
from lookout.accounts.rights import Identity
from lookout.audit import reading as audit_reading
from search.api import api_router, paging
from search.parts import Parts, parts_of
from search.security import Allowed

router = api_router(tag="audit")
WithParts = Annotated[Parts, Depends(parts_of)]
MAY_READ = Allowed("audit:read")
Who = Annotated[Identity, Depends(MAY_READ)]
Text = Annotated[str, Query(max_length=100, pattern=r"^[^\x00]*$")]
Since = Annotated[datetime | None, Query(description="from this time on; RFC 3339")]
Until = Annotated[datetime | None, Query(description="before this time; RFC 3339")]


class EntryOut(BaseModel):
    """An entry of the audit log."""

    number: int = Field(description="1, 2, 3 … without a gap")
    at: str = Field(description="RFC 3339, UTC, to the microsecond")
    actor: str = Field(description="name of the user, `system`, or `cli:NAME` for commands on the machine")
    via: str = Field(description="`session`, `token`, `cli` or `system`")
    address: str = Field(description="where the request came from")
    action: str = Field(description="`noun.verb` in the past", examples=["target.viewed"])
    subject: str = Field(description="kind of thing it was done to")
    subject_id: str
    watchlist_id: str | None = Field(description="the reference database that it concerns")
    detail: dict[str, Any]
    reason: str
    previous_hash: str
    hash: str = Field(description="SHA-256 of all the other fields, as `docs/privacy.md` tells")


class EntryPage(BaseModel):
    """Entries, newest first."""

    items: list[EntryOut]
    next: str | None = Field(description="`cursor` of the next page; null on the last one")


class VerificationOut(BaseModel):
    """What became of checking the chain."""

    whole: bool
    entries: int = Field(description="how many were checked and are whole")
    head: str = Field(description="hash of the last of them: note it elsewhere, and ask for it later")
    fault: str = Field(description="what is wrong after them; empty if nothing is")


def wanted(
    who: Who,
    actor: Text = "",
    action: Text = "",
    subject: Text = "",
    subject_id: Text = "",
    watchlist: Annotated[str, Query(max_length=100, pattern=r"^[^\x00]*$", description="its id")] = "",
    since: Since = None,
    until: Until = None,
) -> audit_reading.Filter:
    """The entries that a request asks for, of those that the reader has a right to."""
    return audit_reading.Filter(
        actor=actor,
        action=action,
        subject=subject,
        subject_id=subject_id,
        watchlist_id=watchlist,
        since_us=microseconds(since),
        until_us=microseconds(until),
        watchlists=who.watchlists,
    )


Wanted = Annotated[audit_reading.Filter, Depends(wanted)]


@router.get("/audit", response_model=EntryPage)
def list_entries(
    parts: WithParts, which: Wanted, limit: paging.Limit = 50, cursor: paging.Cursor = None
) -> dict[str, Any]:
    """The audit log."""
    before = None if cursor is None else paging.read_cursor(cursor)[0]
    with parts.registry.reading() as session:
        found = audit_reading.newest(session, which, limit=limit + 1, before=before)
    following = paging.cursor(found[limit - 1].number, "number") if len(found) > limit else None
    return paging.page([audit_reading.as_json(one) for one in found], limit, following)


@router.get("/audit/verification", response_model=VerificationOut, dependencies=[Depends(MAY_READ)])
def verify(
    parts: WithParts,
    head: Annotated[
        str | None, Query(pattern="^[0-9a-f]{64}$", description="a hash noted before, which must be in the chain")
    ] = None,
) -> dict[str, Any]:
    """Check the whole chain, from the first entry on."""
    with parts.registry.reading() as session:
        found = audit.verify(session, head)
    return {"whole": not found.fault, "entries": found.entries, "head": found.head, "fault": found.fault}


@router.get(
    "/audit/export",
    response_class=StreamingResponse,
    responses={200: {"content": {"application/jsonl": {}, "text/csv": {}}, "description": "The entries, oldest first"}},
)
def export(
    parts: WithParts, who: Who, which: Wanted, form: Annotated[Literal["jsonl", "csv"], Query()] = "jsonl"
) -> StreamingResponse:
    """Take entries out, a JSON object a line or as CSV. That is an entry itself."""
    media = "text/csv; charset=utf-8" if form == "csv" else "application/jsonl"
    return StreamingResponse(
        audit_reading.export(parts.registry, who.actor, which, form=form),
        media_type=media,
        headers={"Content-Disposition": f'attachment; filename="lookout-audit.{form}"'},
    )


def microseconds(at: datetime | None) -> int | None:
    """A time as it is kept; one without a zone is in UTC."""
    if at is None:
        return None
    aware = at if at.tzinfo is not None else at.replace(tzinfo=UTC)
    return (aware - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)
