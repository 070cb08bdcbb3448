"""Pages of exports."""

from __future__ import annotations

import math
from typing import Annotated

from fastapi import APIRouter, Form, Request
from fastapi.responses import Response

from lookout.errors import BadInputError
from lookout.exports import records
from lookout.exports.records import KEEP_DAYS, MAX_MOMENTS, MAX_REASON, Moment
from search.api import paging
from search.api.exports import NO_CONTROLS, Exporter, Id, WithParts, read_page, send_file
from search.web import pages

router = APIRouter(include_in_schema=False)
ROWS = 50
#: `id:score`, repeated.
Sightings = Annotated[list[Annotated[str, Form(max_length=100, pattern=NO_CONTROLS)]], Form(max_length=MAX_MOMENTS * 2)]
Reason = Annotated[str, Form(max_length=MAX_REASON, pattern=NO_CONTROLS)]


@router.get("/exports")
def show_all(request: Request, parts: WithParts, who: Exporter, cursor: paging.Cursor = None) -> Response:
    """Exports; for htmx, how far they are."""
    with parts.registry.reading() as session:
        found, following = read_page(session, who, limit=ROWS, cursor=cursor)
    part = request.headers.get("hx-request")
    return pages.page(
        request,
        "exports/table.html" if part else "exports/list.html",
        found=found,
        next=following,
        cursor=cursor,
        running=any(one.state in ("waiting", "running") for one in found),
        keep_days=KEEP_DAYS,
        expires_at_us=records.expires_at_us,
    )


@router.post("/exports")
def ask(request: Request, who: Exporter, sighting: Sightings, reason: Reason = "") -> Response:  # noqa: ARG001
    """Show what is about to be exported, and ask whether and how."""
    moments = read_moments(sighting)
    return pages.page(
        request, "exports/confirm.html", moments=moments, reason=reason, keep_days=KEEP_DAYS, max_reason=MAX_REASON
    )


@router.post("/exports/confirmed")
def create(
    request: Request,
    parts: WithParts,
    who: Exporter,
    sighting: Sightings,
    reason: Reason = "",
    blur_others: Annotated[bool, Form()] = False,
    zone: Annotated[str, Form(max_length=64, pattern=NO_CONTROLS)] = "UTC",
) -> Response:
    """Begin an export."""
    moments = read_moments(sighting)
    with parts.registry.transaction() as session:
        records.create(session, who, moments, reason=reason, blur_others=blur_others, zone=zone or "UTC")
    return pages.go_to(request, "/exports")


@router.get("/exports/{export_id}/file")
def download(parts: WithParts, who: Exporter, export_id: Id) -> Response:
    """The ZIP."""
    return send_file(parts, who, export_id)


@router.post("/exports/{export_id}/remove")
def remove(request: Request, parts: WithParts, who: Exporter, export_id: Id) -> Response:
    """Remove an export with its file."""
    with parts.registry.transaction() as session:
        records.remove(session, parts.blobs, who.actor, records.find(session, who, export_id, lock=True))
    return pages.go_to(request, "/exports")


def read_moments(given: list[str]) -> list[Moment]:
    """Moments as the form of the search page sends them.

    Raises:
        BadInputError: one is not `id:score`, or there are too many.
    """
    if len(given) > MAX_MOMENTS:
        raise BadInputError(f"Choose at most {MAX_MOMENTS} sightings for one export.")
    moments = []
    for one in given:
        sighting_id, _, score = one.partition(":")
        try:
            cosine = float(score)
        except ValueError:
            cosine = math.nan
        if not sighting_id or not -1 <= cosine <= 1:
            raise BadInputError("sighting: send the sighting's id and its score, as id:0.67.")
        moments.append(Moment(sighting_id, cosine))
    return moments
