"""Pages of footage: a moment of its own, looking around in what was recorded, and a face from there to a watchlist."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated

from fastapi import APIRouter, Depends, Path, Query, Request
from fastapi.responses import Response
from sqlalchemy.orm import Session

from lookout.accounts.rights import Identity
from lookout.cameras import list_cameras
from lookout.clock import isoformat
from lookout.errors import BadInputError, NotFoundError, RefusedError
from lookout.footage.lanes import newest_footage_us
from lookout.footage.playing import best_crop
from lookout.sightings.records import get_sighting
from lookout.stores.registry.tables import CameraRow, Sighting, StoredCrop, Video
from search.api.photos import data_url
from search.parts import Parts, parts_of
from search.security import Allowed
from search.web import pages

router = APIRouter(include_in_schema=False)
WithParts = Annotated[Parts, Depends(parts_of)]
Reader = Annotated[Identity, Depends(Allowed("footage:read"))]
Id = Annotated[str, Path(max_length=64, pattern=r"^[\w-]+$")]
Wanted = Annotated[str, Query(max_length=64)]


@router.get("/footage")
def browse(
    request: Request, parts: WithParts, who: Reader, camera: Wanted = "", at: Wanted = "", video: Wanted = ""
) -> Response:
    """What was recorded on a day; with a camera and a time, it plays from there."""
    with parts.registry.reading() as session:
        cameras = list_cameras(session, groups=who.camera_groups)
        newest_us = newest_footage_us(session, who)
    newest = "" if newest_us is None else isoformat(newest_us)
    moment = {"camera": camera, "at": _checked(at), "video": video, "newest": newest}
    return pages.page(request, "footage/browse.html", cameras=cameras, moment=moment)


@router.get("/sightings/{sighting_id}/play")
def play(request: Request, parts: WithParts, who: Reader, sighting_id: Id) -> Response:
    """A sighting's moment, with its footage or, where that is gone, its picture."""
    with parts.registry.reading() as session:
        sighting = get_sighting(session, who, sighting_id)
        crop = best_crop(session, sighting.id)
        camera_name = name_of_camera(session, sighting)
        video = None if sighting.video_id is None else session.get(Video, sighting.video_id)
    at_us = sighting.started_at_us if crop is None else crop.captured_at_us
    return pages.page(
        request,
        "footage/play.html",
        sighting=sighting,
        crop=crop,
        picture=picture_of(parts, crop),
        camera_name=camera_name,
        video=video,
        at_us=at_us,
        at=isoformat(at_us),
    )


def name_of_camera(session: Session, sighting: Sighting) -> str:
    """What people call a sighting's camera; its id if it was removed."""
    camera = session.get(CameraRow, sighting.camera_id)
    return sighting.camera_id if camera is None else camera.name


def picture_of(parts: Parts, crop: StoredCrop | None) -> str:
    """A crop within a page; empty if its picture is gone."""
    try:
        return "" if crop is None or not crop.blob else data_url(parts.blobs.read(crop.blob))
    except NotFoundError:
        return ""


def crop_jpeg(parts: Parts, session: Session, who: Identity, sighting_id: str) -> bytes:
    """The best picture of a sighting, for whom may look at sightings.

    Raises:
        RefusedError: they may neither search sightings nor play footage.
        NotFoundError: there is no such sighting, no right to it, or its picture is gone.
    """
    if not (who.may("sightings:search") or who.may("footage:read")):
        raise RefusedError(f"{who.name} may not see pictures of sightings; an admin can change that.")
    crop = best_crop(session, get_sighting(session, who, sighting_id).id)
    if crop is None or not crop.blob:
        raise NotFoundError("the picture of this sighting is gone.")
    return parts.blobs.read(crop.blob)


def _checked(given: str) -> str:
    """A time of an address, in UTC where it names no zone; empty if none was given.

    Raises:
        BadInputError: it is none.
    """
    if not given:
        return ""
    try:
        at = datetime.fromisoformat(given.replace(" ", "+"))
        return isoformat(round((at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp() * 1e6))
    except (ValueError, OverflowError) as error:
        raise BadInputError("at: give a time such as 2026-11-01T08:00:00Z.") from error
