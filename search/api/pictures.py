"""The pictures of alerts. Whoever may see the alert may see its pictures, and nobody else."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import Depends, Path, Response

from lookout.accounts.rights import Identity
from lookout.alerts.records import find_alert
from lookout.errors import NotFoundError
from lookout.stores.registry.tables import Alert, AlertSighting, Reference, StoredCrop
from search.api import api_router
from search.parts import Parts, parts_of
from search.security import Allowed

router = api_router(tag="alerts")
WithParts = Annotated[Parts, Depends(parts_of)]
Who = Annotated[Identity, Depends(Allowed("alerts:read"))]
Id = Annotated[str, Path(max_length=64, pattern=r"^[\w-]+$")]
PICTURE: dict[int | str, dict[str, Any]] = {
    200: {"description": "The picture.", "content": {"image/jpeg": {}}},
    404: {"description": "There is no such alert, no right to it, or the picture is gone."},
}


@router.get("/alerts/{alert_id}/crop", response_class=Response, responses=PICTURE)
def get_best_crop(parts: WithParts, who: Who, alert_id: Id) -> Response:
    """The best picture of the face."""
    with parts.registry.reading() as session:
        alert = find_alert(session, who, alert_id)
        crop = None if alert.crop_id is None else session.get(StoredCrop, alert.crop_id)
    return _picture(parts, None if crop is None else crop.blob)


@router.get("/alerts/{alert_id}/crops/{crop_id}/picture", response_class=Response, responses=PICTURE)
def get_crop(parts: WithParts, who: Who, alert_id: Id, crop_id: Id) -> Response:
    """One of the pictures of the face."""
    with parts.registry.reading() as session:
        alert = find_alert(session, who, alert_id)
        crop = session.get(StoredCrop, crop_id)
        if crop is not None and crop.id != alert.crop_id:
            belongs = session.get(AlertSighting, (alert.id, crop.sighting_id)) is not None
            crop = crop if belongs else None
    return _picture(parts, None if crop is None else crop.blob)


@router.get("/alerts/{alert_id}/frame", response_class=Response, responses=PICTURE)
def get_frame(parts: WithParts, who: Who, alert_id: Id) -> Response:
    """The whole frame of the best crop, reduced."""
    with parts.registry.reading() as session:
        alert = find_alert(session, who, alert_id)
    return _picture(parts, alert.frame_blob)


@router.get("/alerts/{alert_id}/reference", response_class=Response, responses=PICTURE)
def get_reference(parts: WithParts, who: Who, alert_id: Id) -> Response:
    """The face in the enrolment photo that the crop resembles most."""
    return _reference(parts, who, alert_id, None)


@router.get("/alerts/{alert_id}/references/{reference_id}/picture", response_class=Response, responses=PICTURE)
def get_one_reference(parts: WithParts, who: Who, alert_id: Id, reference_id: Id) -> Response:
    """The face in one of the target's enrolment photos."""
    return _reference(parts, who, alert_id, reference_id)


def _reference(parts: Parts, who: Identity, alert_id: str, reference_id: str | None) -> Response:
    with parts.registry.reading() as session:
        alert: Alert = find_alert(session, who, alert_id)
        reference = session.get(Reference, reference_id or alert.reference_id or "")
    if reference is None or reference.target_id != alert.target_id:
        return _picture(parts, None)
    return _picture(parts, reference.face_blob)


def _picture(parts: Parts, blob: str | None) -> Response:
    gone = NotFoundError("there is no such picture, or it is gone.")
    if not blob:
        raise gone
    try:
        return Response(parts.blobs.read(blob), media_type="image/jpeg")
    except NotFoundError as error:
        raise gone from error
