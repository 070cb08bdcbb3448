"""Bulk imports and exports."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any, Literal

from fastapi import Query, Request, Response
from fastapi.responses import StreamingResponse
from pydantic import BaseModel, ConfigDict, Field
from sqlalchemy import select
from sqlalchemy.orm import Session
from starlette.concurrency import run_in_threadpool

from lookout.accounts.rights import Identity
from lookout.clock import isoformat
from lookout.errors import BadInputError, NotFoundError
from lookout.stores.pieces import PieceWriter
from lookout.stores.registry.tables import Import, ImportItem, new_id
from lookout.targets.exports import export, record_export
from lookout.targets.imports import begin_import, cancel_import, counts
from lookout.targets.people import get_watchlist
from search.api import api_router, paging
from search.api.watchlists import NO_CONTROLS, NOT_FOUND, Id, Reader, WithParts, Writer
from search.parts import Parts
from search.uploads import file_name, limited

router = api_router(tag="imports")
MAX_ARCHIVE_BYTES = 1_000_000_000
State = Literal["waiting", "accepted", "refused", "known"]
_ARCHIVE = {
    "requestBody": {
        "required": True,
        "description": "the ZIP",
        "content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}},
    }
}


class ImportOut(BaseModel):
    """A bulk import."""

    id: str
    watchlist: str
    source: str = Field(description="name of the archive or folder")
    state: Literal["running", "done", "failed", "cancelled"]
    error: str | None
    photos: dict[State, int] = Field(description="how many are in which state")
    created_by: str
    created_at: str
    finished_at: str | None


class ImportList(BaseModel):
    """Imports of a watchlist, the newest first."""

    items: list[ImportOut]
    next: str | None = Field(description="`cursor` of the next page; null on the last one")


class ItemOut(BaseModel):
    """What became of one photo."""

    position: int
    person: str
    file: str
    state: State
    reasons: list[str] = Field(
        description="why it was refused; `disagrees`: accepted, but it may show somebody else and is not matched with"
    )
    message: str
    target: str | None


class ItemPage(BaseModel):
    """Photos of an import, in their order."""

    items: list[ItemOut]
    next: int | None = Field(description="`after` of the next page; null on the last one")


class ExportIn(BaseModel):
    """An export."""

    model_config = ConfigDict(extra="forbid")

    reason: str = Field("", max_length=1000, pattern=NO_CONTROLS, description="why; demanded by some watchlists")


@router.get("/watchlists/{watchlist_id}/imports", response_model=ImportList, responses=NOT_FOUND)
def list_all(
    parts: WithParts, who: Reader, watchlist_id: Id, limit: paging.Limit = 50, cursor: paging.Cursor = None
) -> dict[str, Any]:
    """Imports into a watchlist."""
    after = paging.older_than(cursor, Import.created_at_us, Import.id)
    query = select(Import).where(Import.watchlist_id == watchlist_id, *([] if after is None else [after]))
    with parts.registry.reading() as session:
        get_watchlist(session, who, watchlist_id)
        newest = query.order_by(Import.created_at_us.desc(), Import.id.desc()).limit(limit + 1)
        found = [as_import(session, one) for one in session.scalars(newest)]
        last = session.get(Import, found[:limit][-1]["id"]) if found else None
    return paging.page(found, limit, paging.cursor(last.created_at_us, last.id) if last else None)


@router.post(
    "/watchlists/{watchlist_id}/imports",
    status_code=201,
    response_model=ImportOut,
    responses={**NOT_FOUND, 413: {"description": "The archive is too large."}},
    openapi_extra=_ARCHIVE,
)
async def begin(
    request: Request,
    parts: WithParts,
    who: Writer,
    watchlist_id: Id,
    source: Annotated[str, Query(max_length=200, pattern=NO_CONTROLS, description="name of the archive")] = "",
) -> dict[str, Any]:
    """Send a ZIP with a folder a person, or with a CSV (`name`, `photo`); it is imported while you go on."""
    importing = await receive_archive(request, parts, who, watchlist_id, source)
    return await run_in_threadpool(_shown, parts, importing.id)


@router.get("/imports/{import_id}", response_model=ImportOut, responses=NOT_FOUND)
def get(parts: WithParts, who: Reader, import_id: Id) -> dict[str, Any]:
    """An import and how far it is."""
    with parts.registry.reading() as session:
        return as_import(session, get_import(session, who, import_id))


@router.get("/imports/{import_id}/photos", response_model=ItemPage, responses=NOT_FOUND)
def list_photos(
    parts: WithParts,
    who: Reader,
    import_id: Id,
    state: Annotated[State | None, Query(description="only those in this state")] = None,
    after: Annotated[int, Query(ge=-1, le=2**31, description="`next` of the page before")] = -1,
    limit: paging.Limit = 50,
) -> dict[str, Any]:
    """What became of each photo of an import."""
    with parts.registry.reading() as session:
        importing = get_import(session, who, import_id)
        found = read_items(session, importing.id, state=state, after=after, limit=limit + 1)
    following = found[limit - 1].position if len(found) > limit else None
    return {"items": [as_item(one) for one in found[:limit]], "next": following}


@router.post("/imports/{import_id}/cancellation", response_model=ImportOut, responses=NOT_FOUND)
def cancel(parts: WithParts, who: Writer, import_id: Id) -> dict[str, Any]:
    """End an import. What it has stored stays."""
    with parts.registry.transaction() as session:
        importing = get_import(session, who, import_id, lock=True)
        cancel_import(session, who.actor, importing)
        return as_import(session, importing)


@router.post(
    "/watchlists/{watchlist_id}/export",
    response_class=StreamingResponse,
    responses={**NOT_FOUND, 200: {"content": {"application/zip": {}}, "description": "A ZIP to be imported again."}},
)
def export_watchlist(parts: WithParts, who: Writer, watchlist_id: Id, body: ExportIn) -> Response:
    """All people of a watchlist with their photos. It is not encrypted."""
    return send_export(parts, who, watchlist_id, body.reason)


def send_export(parts: Parts, who: Identity, watchlist_id: str, reason: str) -> Response:
    """The ZIP of a watchlist, after the audit has it."""
    with parts.registry.transaction() as session:
        watchlist = get_watchlist(session, who, watchlist_id)
        record_export(session, who.actor, watchlist, reason)
    pieces: Iterator[bytes] = export(parts.registry, parts.blobs, watchlist_id)
    headers = {"Content-Disposition": f'attachment; filename="watchlist-{watchlist_id}.zip"'}
    return StreamingResponse(pieces, media_type="application/zip", headers=headers)


async def receive_archive(request: Request, parts: Parts, who: Identity, watchlist_id: str, source: str) -> Import:
    """Store what is sent, piece by piece, and begin its import.

    Raises:
        NotFoundError: there is no such watchlist.
        BadInputError: it is no ZIP, or the watchlist is archived.
        HTTPException: 413 it is too large.
    """
    await run_in_threadpool(_check, parts, who, watchlist_id)
    writer = PieceWriter(parts.blobs, f"imports/{new_id()}")
    try:
        begun = b""
        async for piece in limited(request, MAX_ARCHIVE_BYTES):
            begun = (begun + piece)[:4] if len(begun) < 4 else begun
            if len(begun) == 4 and not begun.startswith(b"PK"):
                break
            await run_in_threadpool(writer.write, piece)
        _refuse_others(begun)
        blob = await run_in_threadpool(writer.close)
        return await run_in_threadpool(_begin, parts, who, watchlist_id, file_name(source or "archive.zip"), blob)
    except BaseException:
        await run_in_threadpool(writer.discard)
        raise


def _refuse_others(begun: bytes) -> None:
    if not begun.startswith(b"PK"):
        raise BadInputError("Send a ZIP: a folder a person with photos, or a CSV and the photos that it names.")


def get_import(session: Session, who: Identity, import_id: str, *, lock: bool = False) -> Import:
    """An import into a watchlist with a right to.

    Raises:
        NotFoundError: there is none, or no right to its watchlist.
    """
    importing = session.get(Import, import_id, with_for_update=lock)
    if importing is None or not who.sees_watchlist(importing.watchlist_id):
        raise NotFoundError(f"there is no import {import_id}.")
    return importing


def read_items(
    session: Session, import_id: str, *, state: str | None, after: int, limit: int | None
) -> list[ImportItem]:
    """Photos of an import after a position, in their order."""
    query = select(ImportItem).where(ImportItem.import_id == import_id, ImportItem.position > after)
    if state:
        query = query.where(ImportItem.state == state)
    return list(session.scalars(query.order_by(ImportItem.position).limit(limit)))


def as_import(session: Session, importing: Import) -> dict[str, Any]:
    """An import as JSON."""
    return {
        "id": importing.id,
        "watchlist": importing.watchlist_id,
        "source": importing.source,
        "state": importing.state,
        "error": importing.error,
        "photos": counts(session, importing.id),
        "created_by": importing.created_by,
        "created_at": isoformat(importing.created_at_us),
        "finished_at": isoformat(importing.finished_at_us) if importing.finished_at_us is not None else None,
    }


def as_item(item: ImportItem) -> dict[str, Any]:
    """A photo of an import as JSON."""
    return {
        "position": item.position,
        "person": item.person,
        "file": item.file,
        "state": item.state,
        "reasons": item.reasons,
        "message": item.message,
        "target": item.target_id,
    }


def _check(parts: Parts, who: Identity, watchlist_id: str) -> None:
    with parts.registry.reading() as session:
        get_watchlist(session, who, watchlist_id)


def _begin(parts: Parts, who: Identity, watchlist_id: str, source: str, blob: str) -> Import:
    with parts.registry.transaction() as session:
        watchlist = get_watchlist(session, who, watchlist_id, lock=True)
        return begin_import(session, who.actor, watchlist, source, blob)


def _shown(parts: Parts, import_id: str) -> dict[str, Any]:
    with parts.registry.reading() as session:
        return as_import(session, session.get_one(Import, import_id))
