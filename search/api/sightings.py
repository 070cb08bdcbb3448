"""Sightings and their pictures."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import Depends, Path, Response
from pydantic import BaseModel, Field
from sqlalchemy import select

from lookout.accounts.rights import Identity
from lookout.clock import isoformat
from lookout.errors import NotFoundError
from lookout.sightings.found import load_found
from lookout.sightings.records import get_crop, get_sighting, record_view
from lookout.stores.registry.tables import StoredCrop
from search.api import api_router
from search.parts import Parts, parts_of
from search.security import Allowed

router = api_router(tag="search")
WithParts = Annotated[Parts, Depends(parts_of)]
Searcher = Annotated[Identity, Depends(Allowed("sightings:search"))]
Id = Annotated[str, Path(max_length=64, pattern=r"^[\w-]+$")]
NOT_FOUND: dict[int | str, dict[str, Any]] = {
    404: {"description": "There is none, no right to its camera group, or it is gone."}
}
CROP_AGE_S = 300


class CropOut(BaseModel):
    """A picture of the face."""

    id: str
    captured_at: str
    quality: float = Field(description="0..1")
    box: list[float] = Field(description="left, top, right, bottom in pixels of the whole frame")
    picture: str | None = Field(description="path of the JPEG; null when it is gone")


class SightingOut(BaseModel):
    """Somebody who was seen, known or not."""

    id: str
    camera: str
    camera_name: str
    camera_group: str
    start: str = Field(description="RFC 3339, UTC")
    end: str
    quality: float = Field(description="of its best crop, 0..1")
    video: str | None = Field(description="id of the handed-in video; null: seen live")
    video_name: str | None
    video_offset_s: float | None = Field(
        description="where it begins in the video, or in the recorded segment that shows it; null without footage"
    )
    crops: list[CropOut] = Field(description="in the order of time")


@router.get("/sightings/{sighting_id}", response_model=SightingOut, responses=NOT_FOUND)
def get(parts: WithParts, who: Searcher, sighting_id: Id) -> dict[str, Any]:
    """A sighting. The look is written to the audit log."""
    with parts.registry.transaction() as session:
        sighting = get_sighting(session, who, sighting_id)
        (found,) = load_found(session, {sighting.id: 1.0})
        crops = session.scalars(
            select(StoredCrop).where(StoredCrop.sighting_id == sighting.id).order_by(StoredCrop.captured_at_us)
        ).all()
        record_view(session, who.actor, sighting)
    return {
        "id": sighting.id,
        "camera": sighting.camera_id,
        "camera_name": found.camera_name,
        "camera_group": sighting.camera_group,
        "start": isoformat(sighting.started_at_us),
        "end": isoformat(sighting.ended_at_us),
        "quality": sighting.best_quality,
        "video": sighting.video_id,
        "video_name": found.video_name,
        "video_offset_s": found.video_offset_s,
        "crops": [
            {
                "id": crop.id,
                "captured_at": isoformat(crop.captured_at_us),
                "quality": crop.quality,
                "box": crop.box_xyxy,
                "picture": f"/api/v1/sightings/{sighting.id}/crops/{crop.id}" if crop.blob else None,
            }
            for crop in crops
        ],
    }


@router.get(
    "/sightings/{sighting_id}/crops/{crop_id}",
    response_class=Response,
    responses={**NOT_FOUND, 200: {"content": {"image/jpeg": {}}, "description": "A JPEG."}},
)
def picture(parts: WithParts, who: Searcher, sighting_id: Id, crop_id: Id) -> Response:
    """A picture of the face."""
    gone = NotFoundError("there is no such picture, or it is gone.")
    with parts.registry.reading() as session:
        blob = get_crop(session, who, sighting_id, crop_id).blob
    if not blob:
        raise gone
    try:
        data = parts.blobs.read(blob)
    except NotFoundError as error:
        raise gone from error
    return Response(data, media_type="image/jpeg", headers={"Cache-Control": f"private, max-age={CROP_AGE_S}"})
