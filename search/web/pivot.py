"""From a sighting to a watchlist: its picture is enrolled as any photo is."""

from __future__ import annotations

from http import HTTPStatus
from typing import Annotated

from fastapi import APIRouter, Depends, Form, Request
from fastapi.responses import Response
from pydantic import ValidationError

from lookout.accounts.rights import Identity
from lookout.errors import BadInputError, ConflictError, PhotoError
from lookout.sightings.records import get_sighting
from lookout.targets.people import get_watchlist, list_watchlists, record_view
from lookout.targets.photos import Photo
from lookout.targets.resemblance import ResemblesError
from lookout.watchlists.records import gates_of
from search.api.photos import data_url
from search.api.targets import EnrolmentIn, enrol
from search.indexing import index_now
from search.parts import Parts, parts_of
from search.security import Allowed
from search.web import pages
from search.web.footage import Id, crop_jpeg, name_of_camera

router = APIRouter(include_in_schema=False)
WithParts = Annotated[Parts, Depends(parts_of)]
Writer = Annotated[Identity, Depends(Allowed("watchlists:write"))]
Text = Annotated[str, Form(max_length=2000)]


@router.get("/sightings/{sighting_id}/enrol")
def show_enrolment(request: Request, parts: WithParts, who: Writer, sighting_id: Id) -> Response:
    """The form that puts the person of a sighting on a watchlist."""
    with parts.registry.reading() as session:
        jpeg = crop_jpeg(parts, session, who, sighting_id)
        sighting = get_sighting(session, who, sighting_id)
        camera_name = name_of_camera(session, sighting)
        lists = [one.watchlist for one in list_watchlists(session, who)]
    return pages.page(
        request,
        "search/enrol.html",
        sighting=sighting,
        camera_name=camera_name,
        picture=data_url(jpeg),
        watchlists=lists,
    )


@router.post("/sightings/{sighting_id}/enrol")
def enrol_face(
    request: Request,
    parts: WithParts,
    who: Writer,
    sighting_id: Id,
    watchlist: Annotated[str, Form(max_length=64)],
    name: Text = "",
    reference_number: Text = "",
    note: Text = "",
    confirm_resemblance: Annotated[bool, Form()] = False,
) -> Response:
    """Enrol the face of a sighting, or say what speaks against it."""
    with parts.registry.reading() as session:
        gates = gates_of(get_watchlist(session, who, watchlist))
        jpeg = crop_jpeg(parts, session, who, sighting_id)
    photos: list[Photo] = []
    try:
        body = EnrolmentIn(
            name=name, reference_number=reference_number, note=note, confirm_resemblance=confirm_resemblance
        )
        photos = [parts.faces.enrol(jpeg, "the picture of the sighting", None, gates)]
        with parts.registry.transaction() as session:
            made = enrol(session, parts, who, watchlist, body, photos)
            record_view(session, who.actor, made, f"enrolled from sighting {sighting_id}")
    except (BadInputError, PhotoError, ConflictError, ValidationError) as error:
        return _outcome(request, error, photos, confirmed=confirm_resemblance)
    index_now(parts)
    return pages.go_to(request, f"/targets/{made.id}")


def _outcome(request: Request, error: Exception, photos: list[Photo], *, confirmed: bool) -> Response:
    message = str(error)
    if isinstance(error, ValidationError):
        message = "; ".join(f"{one['loc'][-1]}: {one['msg']}" for one in error.errors())
    return pages.page(
        request,
        "targets/outcome.html",
        status=HTTPStatus.CONFLICT if isinstance(error, ConflictError) else HTTPStatus.UNPROCESSABLE_ENTITY,
        message=message,
        faces=[data_url(photo.face_jpeg) for photo in photos],
        known=[],
        resembles=error.resembles if isinstance(error, ResemblesError) else (),
        disagrees=(),
        disagrees_known=(),
        confirmed=["confirm_resemblance"] if confirmed else [],
    )
