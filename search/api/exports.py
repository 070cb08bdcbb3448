"""Exports: clips, pictures and a report on sightings, to be taken away."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from typing import Annotated, Any, Literal

from fastapi import Depends, Path, Request, Response
from fastapi.responses import StreamingResponse
from pydantic import BaseModel, ConfigDict, Field
from sqlalchemy.orm import Session

from lookout.accounts.rights import Identity
from lookout.clock import isoformat, to_datetime
from lookout.errors import NotFoundError
from lookout.exports import records
from lookout.exports.records import MAX_MOMENTS, MAX_REASON, Moment
from lookout.stores.pieces import PIECE_BYTES, PieceFile
from lookout.stores.registry.tables import Export
from search.api import api_router, paging
from search.api.once import Key, fingerprint, once
from search.parts import Parts, parts_of
from search.security import Allowed

router = api_router(tag="exports")
WithParts = Annotated[Parts, Depends(parts_of)]
Exporter = Annotated[Identity, Depends(Allowed("footage:export"))]
Id = Annotated[str, Path(max_length=64, pattern=r"^[\w-]+$")]
NO_CONTROLS = r"^[^\x00-\x08\x0b\x0c\x0e-\x1f]*$"
State = Literal["waiting", "running", "done", "failed"]
NOT_FOUND: dict[int | str, dict[str, Any]] = {404: {"description": "There is none, or no right to it."}}
NO_SIGHTING: dict[int | str, dict[str, Any]] = {
    404: {"description": "There is no such sighting, or no right to its camera group."},
    409: {"description": "Too many of your exports are not done yet."},
}
FILE: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "The ZIP: `report.html`, `manifest.json`, `SHA256SUMS`, clips and pictures.",
        "content": {"application/zip": {}},
        "headers": {
            "ETag": {"description": "the ZIP's SHA-256 in quotes", "schema": {"type": "string"}},
            "Repr-Digest": {"description": "the same, RFC 9530", "schema": {"type": "string"}},
        },
    },
    404: {"description": "There is none, no right to it, or its file is gone."},
    409: {"description": "It is not done yet, or failed."},
}


class MomentIn(BaseModel):
    """A sighting to be taken away."""

    model_config = ConfigDict(extra="forbid")

    sighting: str = Field(min_length=1, max_length=64, pattern=r"^[\w-]+$", description="its id")
    score: float = Field(ge=-1, le=1, description="cosine, as the search gave it")


class ExportIn(BaseModel):
    """An export."""

    model_config = ConfigDict(extra="forbid")

    moments: list[MomentIn] = Field(min_length=1, max_length=MAX_MOMENTS)
    blur_others: bool = Field(True, description="cover all faces in the clips but that of the sightings")
    reason: str = Field(
        min_length=1, max_length=MAX_REASON, pattern=NO_CONTROLS, description="why; for the report and the audit"
    )
    zone: str = Field("UTC", max_length=64, pattern=NO_CONTROLS, description="time zone of the report, beside UTC")


class MomentOut(BaseModel):
    """A sighting in an export."""

    sighting: str
    score: float


class ExportOut(BaseModel):
    """An export, and how far it is."""

    id: str
    state: State
    progress: float = Field(description="share that is done, 0 to 1")
    error: str = Field(description="why it failed; empty otherwise")
    reason: str
    blur_others: bool
    zone: str
    moments: list[MomentOut]
    size: int = Field(description="bytes of the ZIP; 0 until it is done")
    sha256: str = Field(description="of the ZIP; empty until it is done")
    created_by: str
    created_at: str = Field(description="RFC 3339, UTC, as are all times")
    finished_at: str | None
    expires_at: str = Field(description="when it is removed")


class ExportList(BaseModel):
    """Exports, the newest first."""

    items: list[ExportOut]
    next: str | None = Field(description="`cursor` of the next page; null on the last one")


@router.post("/exports", status_code=201, response_model=ExportOut, responses=NO_SIGHTING)
def create(request: Request, parts: WithParts, who: Exporter, body: ExportIn, key: Key = None) -> Response:
    """Ask for clips, pictures and a report on sightings; they are made while you go on."""

    def make(session: Session) -> dict[str, Any]:
        moments = [Moment(one.sighting, one.score) for one in body.moments]
        return as_export(
            records.create(session, who, moments, reason=body.reason, blur_others=body.blur_others, zone=body.zone)
        )

    return once(parts.registry, who, key, fingerprint(request, body.model_dump_json().encode()), make)


@router.get("/exports", response_model=ExportList)
def list_all(parts: WithParts, who: Exporter, limit: paging.Limit = 50, cursor: paging.Cursor = None) -> dict[str, Any]:
    """Your exports; for an admin of all camera groups those of everybody."""
    with parts.registry.reading() as session:
        found, following = read_page(session, who, limit=limit, cursor=cursor)
    return {"items": [as_export(one) for one in found], "next": following}


@router.get("/exports/{export_id}", response_model=ExportOut, responses=NOT_FOUND)
def get(parts: WithParts, who: Exporter, export_id: Id) -> dict[str, Any]:
    """An export and how far it is."""
    with parts.registry.reading() as session:
        return as_export(records.find(session, who, export_id))


@router.get("/exports/{export_id}/file", response_class=StreamingResponse, responses=FILE)
def download(parts: WithParts, who: Exporter, export_id: Id) -> Response:
    """The ZIP. It is not encrypted. That you took it is written to the audit log."""
    return send_file(parts, who, export_id)


@router.delete("/exports/{export_id}", status_code=204, responses=NOT_FOUND)
def remove(parts: WithParts, who: Exporter, export_id: Id) -> None:
    """Remove an export with its file; one that is being made is ended."""
    with parts.registry.transaction() as session:
        records.remove(session, parts.blobs, who.actor, records.find(session, who, export_id, lock=True))


def read_page(session: Session, who: Identity, *, limit: int, cursor: str | None) -> tuple[list[Export], str | None]:
    """A page of exports, and the cursor of the next one, None after the last.

    Raises:
        BadInputError: the cursor is none.
    """
    older = paging.older_than(cursor, Export.created_at_us, Export.id)
    found = list(records.newest(session, who, older, limit + 1))
    if len(found) <= limit:
        return found, None
    last = found[limit - 1]
    return found[:limit], paging.cursor(last.created_at_us, last.id)


def send_file(parts: Parts, who: Identity, export_id: str) -> Response:
    """The ZIP of an export, after the audit has it.

    Raises:
        NotFoundError: there is none, no right to it, or its file is gone.
        ConflictError: it is not done.
    """
    with parts.registry.transaction() as session:
        export = records.find(session, who, export_id)
        blob = records.record_download(session, who, export)
        try:
            file = PieceFile(parts.blobs, blob)
            begin = file.read(PIECE_BYTES)  # now, while there can still be another answer
        except NotFoundError as error:
            raise NotFoundError("the file of the export is gone: export again.") from error
    digest = base64.b64encode(bytes.fromhex(export.sha256)).decode()
    headers = {
        "Content-Disposition": f'attachment; filename="{file_name(export)}"',
        "Content-Length": str(export.size),
        "ETag": f'"{export.sha256}"',
        "Repr-Digest": f"sha-256=:{digest}:",
    }
    return StreamingResponse(_pieces(begin, file), media_type="application/zip", headers=headers)


def file_name(export: Export) -> str:
    """What a downloaded export is called."""
    return f"lookout-export-{to_datetime(export.created_at_us):%Y%m%d}-{export.id[:8]}.zip"


def as_export(export: Export) -> dict[str, Any]:
    """An export as JSON."""
    is_done = export.state == "done"
    return {
        "id": export.id,
        "state": export.state,
        "progress": round(export.progress, 3),
        "error": export.error,
        "reason": export.reason,
        "blur_others": export.blur_others,
        "zone": export.zone,
        "moments": [{"sighting": one["sighting"], "score": round(one["score"], 4)} for one in export.moments],
        "size": export.size if is_done else 0,
        "sha256": export.sha256 if is_done else "",
        "created_by": export.created_by,
        "created_at": isoformat(export.created_at_us),
        "finished_at": None if export.finished_at_us is None else isoformat(export.finished_at_us),
        "expires_at": isoformat(records.expires_at_us(export)),
    }


def _pieces(begin: bytes, file: PieceFile) -> Iterator[bytes]:
    yield begin
    while piece := file.read(PIECE_BYTES):
        yield piece
