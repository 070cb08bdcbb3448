"""Photos: looked at before anything is stored, added to a target, removed, and shown as cut-out faces."""

from __future__ import annotations

import base64
from typing import Annotated, Any

from fastapi import Query, Response
from pydantic import BaseModel, Field

from lookout.errors import BadInputError, NotFoundError
from lookout.faces.gates import USUAL, Gates
from lookout.faces.remedies import remedies
from lookout.targets.enrolment import add_photos, confirm_photo, remove_photo
from lookout.targets.people import get_photo, get_target, get_watchlist
from lookout.targets.references import DisagreesError
from lookout.watchlists.records import gates_of
from search.api import api_router
from search.api.targets import REFUSED, TargetDetail, as_detail, enroller, read_photos, refusal
from search.api.versions import set_etag
from search.api.watchlists import NOT_FOUND, Id, Reader, WithParts, Writer
from search.faces import Seen
from search.indexing import index_now
from search.uploads import Sent, described

router = api_router(tag="photos")
FACE_AGE_S = 300


class FaceOut(BaseModel):
    """A face of an examined photo."""

    number: int = Field(description="counted from 1 from left to right: what `face` chooses by")
    box: list[float] = Field(description="left, top, right, bottom as shares of the photo's width and height")
    width_px: int
    quality: float
    accepted: bool
    reasons: list[str]
    remedies: list[str]


class ExaminationOut(BaseModel):
    """What a photo shows."""

    name: str
    accepted: bool = Field(description="whether it can be enrolled as it is")
    reasons: list[str] = Field(description="why not: of the file, of the photo, or of its only face")
    message: str = Field(description="the same for a person, with what would help")
    remedies: list[str]
    width: int
    height: int
    faces: list[FaceOut]
    preview: str | None = Field(description="the photo reduced, as a data URL of a JPEG")


class Examinations(BaseModel):
    """What each photo shows, in their order."""

    photos: list[ExaminationOut]


ForWatchlist = Annotated[
    str | None,
    Query(max_length=64, pattern=r"^[\w-]+$", description="id of the watchlist whose gates hold; none: the usual ones"),
]


@router.post("/photos/examination", response_model=Examinations, responses=NOT_FOUND, openapi_extra=described({}))
def examine(parts: WithParts, who: Writer, sent: Sent, watchlist: ForWatchlist = None) -> dict[str, Any]:
    """Look at photos; nothing is stored."""
    if not sent.photos:
        raise BadInputError("photos: send at least one.")
    gates = USUAL
    if watchlist is not None:
        with parts.registry.reading() as session:
            gates = gates_of(get_watchlist(session, who, watchlist))
    return {"photos": [as_examination(parts.faces.examine(one.data, one.name, gates), gates) for one in sent.photos]}


@router.post(
    "/targets/{target_id}/photos",
    status_code=201,
    response_model=TargetDetail,
    responses={**NOT_FOUND, **REFUSED},
    openapi_extra=described(
        {
            "properties": {
                "face": {"type": "array", "items": {"type": "integer", "minimum": 0, "maximum": 999}},
                "confirm_disagreement": {"type": "boolean"},
            }
        }
    ),
)
def add(response: Response, parts: WithParts, who: Writer, target_id: Id, sent: Sent) -> Any:
    """Give a target further photos. One that it has already is refused, so that a repeated request adds nothing."""
    with parts.registry.reading() as session:
        gates = gates_of(get_target(session, who, target_id).watchlist)
    photos = read_photos(parts, sent, gates)
    try:
        with parts.registry.transaction() as session:
            target = get_target(session, who, target_id, lock=True)
            confirmed = sent.is_set("confirm_disagreement")
            add_photos(session, enroller(parts, who), target, photos, confirm_disagreement=confirmed)
            answer = as_detail(session, target)
    except DisagreesError as error:
        return refusal(error)
    index_now(parts)
    set_etag(response, answer["version"])
    return answer


@router.delete("/photos/{photo_id}", response_model=TargetDetail, responses=NOT_FOUND)
def remove(response: Response, parts: WithParts, who: Writer, photo_id: Id) -> dict[str, Any]:
    """Remove a photo from all stores. A target without photos is matched no more."""
    with parts.registry.transaction() as session:
        reference = get_photo(session, who, photo_id, lock=True)
        target = get_target(session, who, reference.target_id, lock=True)
        remove_photo(session, enroller(parts, who), target, reference)
        answer = as_detail(session, target)
    index_now(parts)
    set_etag(response, answer["version"])
    return answer


@router.post("/photos/{photo_id}/confirmation", response_model=TargetDetail, responses=NOT_FOUND)
def confirm(response: Response, parts: WithParts, who: Writer, photo_id: Id) -> dict[str, Any]:
    """Say that a photo which disagrees with the others shows the target all the same."""
    with parts.registry.transaction() as session:
        reference = get_photo(session, who, photo_id, lock=True)
        target = get_target(session, who, reference.target_id, lock=True)
        confirm_photo(session, enroller(parts, who), target, reference)
        answer = as_detail(session, target)
    index_now(parts)
    set_etag(response, answer["version"])
    return answer


@router.get(
    "/photos/{photo_id}/face",
    response_class=Response,
    responses={**NOT_FOUND, 200: {"content": {"image/jpeg": {}}, "description": "A square JPEG."}},
)
def face(parts: WithParts, who: Reader, photo_id: Id) -> Response:
    """The face of a photo, cut out."""
    with parts.registry.reading() as session:
        blob = get_photo(session, who, photo_id).face_blob
    try:
        data = parts.blobs.read(blob)
    except NotFoundError as error:
        raise NotFoundError(f"there is no photo {photo_id}.") from error
    return Response(data, media_type="image/jpeg", headers={"Cache-Control": f"private, max-age={FACE_AGE_S}"})


def as_examination(seen: Seen, gates: Gates = USUAL) -> dict[str, Any]:
    """What a photo, held against gates, shows as JSON."""
    found = seen.examination
    problem = found.problem()
    width, height = found.size_wh
    faces = []
    for number, one in enumerate(found.faces, 1):
        x1, y1, x2, y2 = (float(v) for v in one.detection.box_xyxy)
        faces.append(
            {
                "number": number,
                "box": [_share(x1, width), _share(y1, height), _share(x2, width), _share(y2, height)],
                "width_px": round(one.detection.width_px),
                "quality": one.quality.value,
                "accepted": one.accepted,
                "reasons": list(one.reasons),
                "remedies": list(one.remedies),
            }
        )
    return {
        "name": found.name,
        "accepted": problem is None,
        "reasons": list(problem.reasons) if problem else [],
        "message": str(problem) if problem else "",
        "remedies": list(remedies(problem.reasons, gates)) if problem else [],
        "width": width,
        "height": height,
        "faces": faces,
        "preview": data_url(seen.preview) if seen.preview else None,
    }


def data_url(jpeg: bytes) -> str:
    """A JPEG within a page."""
    return "data:image/jpeg;base64," + base64.b64encode(jpeg).decode()


def _share(pixels: float, side: int) -> float:
    return min(1.0, max(0.0, pixels / side)) if side else 0.0
