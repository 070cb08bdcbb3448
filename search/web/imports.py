"""Pages of bulk imports and exports."""

from __future__ import annotations

import csv
import io
from typing import Annotated, Any, get_args

from fastapi import APIRouter, Form, Query, Request
from fastapi.responses import Response
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from lookout.stores.registry.tables import Import, ImportItem, Watchlist
from lookout.targets.imports import cancel_import, counts
from lookout.targets.people import get_watchlist
from search.api.imports import State, get_import, read_items, receive_archive, send_export
from search.api.watchlists import NO_CONTROLS, Id, Reader, WithParts, Writer
from search.importing import lifespan
from search.web import pages

router = APIRouter(include_in_schema=False, lifespan=lifespan)
ROWS = 100
IMPORTS = 50


@router.get("/watchlists/{watchlist_id}/imports")
def show_all(request: Request, parts: WithParts, who: Writer, watchlist_id: Id) -> Response:
    """Imports into a watchlist, and its export."""
    with parts.registry.reading() as session:
        watchlist = get_watchlist(session, who, watchlist_id)
        query = select(Import).where(Import.watchlist_id == watchlist_id).order_by(Import.created_at_us.desc())
        found = [(one, counts(session, one.id)) for one in session.scalars(query.limit(IMPORTS))]
    return pages.page(request, "imports/list.html", watchlist=watchlist, found=found)


@router.post("/watchlists/{watchlist_id}/imports")
async def begin(
    request: Request,
    parts: WithParts,
    who: Writer,
    watchlist_id: Id,
    source: Annotated[str, Query(max_length=200, pattern=NO_CONTROLS)] = "",
) -> Response:
    """Take an archive, which is the body, and begin its import."""
    importing = await receive_archive(request, parts, who, watchlist_id, source)
    return pages.go_to(request, f"/imports/{importing.id}")


@router.post("/watchlists/{watchlist_id}/export")
def export(
    parts: WithParts,
    who: Writer,
    watchlist_id: Id,
    reason: Annotated[str, Form(max_length=1000, pattern=NO_CONTROLS)] = "",
) -> Response:
    """The watchlist as a ZIP."""
    return send_export(parts, who, watchlist_id, reason)


@router.get("/imports/{import_id}")
def show(
    request: Request, parts: WithParts, who: Reader, import_id: Id, state: State | None = None, after: int = -1
) -> Response:
    """An import with what became of each photo; for htmx, the further photos alone."""
    with parts.registry.reading() as session:
        importing = get_import(session, who, import_id)
        values = _values(session, importing, state, max(-1, min(after, 2**31)))
    part = after >= 0 and request.headers.get("hx-request")
    return pages.page(request, "imports/rows.html" if part else "imports/one.html", **values)


@router.get("/imports/{import_id}/progress")
def show_progress(
    request: Request, parts: WithParts, who: Reader, import_id: Id, state: State | None = None
) -> Response:
    """How far it is, for htmx."""
    with parts.registry.reading() as session:
        importing = get_import(session, who, import_id)
        values = _values(session, importing, state, -1)
    return pages.page(request, "imports/progress.html", **values)


@router.get("/imports/{import_id}/report.csv")
def report(parts: WithParts, who: Reader, import_id: Id) -> Response:
    """What became of each photo, as a CSV."""
    text = io.StringIO(newline="")
    writer = csv.writer(text)
    writer.writerow(["file", "person", "state", "reasons", "message"])
    with parts.registry.reading() as session:
        importing = get_import(session, who, import_id)
        for item in read_items(session, importing.id, state=None, after=-1, limit=None):
            row = [item.file, item.person, item.state, " ".join(item.reasons), item.message]
            writer.writerow([_harmless(cell) for cell in row])
    headers = {"Content-Disposition": f'attachment; filename="import-{import_id}.csv"'}
    return Response(text.getvalue().encode("utf-8-sig"), media_type="text/csv; charset=utf-8", headers=headers)


@router.post("/imports/{import_id}/cancel")
def cancel(request: Request, parts: WithParts, who: Writer, import_id: Id) -> Response:
    """End an import; what it has stored stays."""
    with parts.registry.transaction() as session:
        cancel_import(session, who.actor, get_import(session, who, import_id, lock=True))
    return pages.go_to(request, f"/imports/{import_id}")


def _values(session: Session, importing: Import, state: str | None, after: int) -> dict[str, Any]:
    found = read_items(session, importing.id, state=state, after=after, limit=ROWS + 1)
    counted = counts(session, importing.id)
    query = select(func.count()).where(
        ImportItem.import_id == importing.id, ImportItem.state == "accepted", ImportItem.message != ""
    )
    total = sum(counted.values())
    return {
        "importing": importing,
        "watchlist": session.get_one(Watchlist, importing.watchlist_id),
        "counts": counted,
        "total": total,
        "done": total - counted["waiting"],
        "disagreeing": session.scalar(query) or 0,
        "items": found[:ROWS],
        "next": found[ROWS - 1].position if len(found) > ROWS else None,
        "state": state,
        "states": get_args(State),
    }


def _harmless(cell: str) -> str:
    """A cell that no spreadsheet takes for a formula."""
    return f"'{cell}" if cell.startswith(("=", "+", "-", "@", "\t", "\r")) else cell
