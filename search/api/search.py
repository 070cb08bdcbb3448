"""Search by face: with photos of a person, with a sighting, or with a target."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from typing import Annotated, Any, Self

from fastapi import Depends, Request
from fastapi.exceptions import RequestValidationError
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError, model_validator

from lookout.accounts.rights import Identity
from lookout.errors import BadInputError
from lookout.sightings.plain import plain_answer
from lookout.sightings.query import DEFAULT_RESULTS, make_query
from lookout.sightings.search import MAX_RESULTS, run_search
from search.api import api_router
from search.parts import Parts, parts_of
from search.security import Allowed
from search.uploads import SentForm, SentPhoto, described, limited, read_form

router = api_router(tag="search")
WithParts = Annotated[Parts, Depends(parts_of)]
Searcher = Annotated[Identity, Depends(Allowed("sightings:search"))]

NO_CONTROLS = r"^[^\x00-\x08\x0b\x0c\x0e-\x1f]*$"
MAX_JSON_BYTES = 64_000
REFUSED: dict[int | str, dict[str, Any]] = {
    404: {"description": "There is no such sighting or target, or no right to it."},
    413: {"description": "The photos are too large."},
    415: {"description": "Neither a form nor JSON."},
    503: {"description": "Milvus or the registry does not answer."},
}


class SearchIn(BaseModel):
    """What to search for. One of photos (in a form), `sighting` and `target`."""

    model_config = ConfigDict(extra="forbid")

    sighting: str | None = Field(None, max_length=64, pattern=r"^[\w-]+$", description="id: whoever was seen there")
    target: str | None = Field(None, max_length=64, pattern=r"^[\w-]+$", description="id: whoever it is")
    cameras: list[Annotated[str, Field(min_length=1, max_length=100, pattern=NO_CONTROLS)]] = Field(
        default=[], max_length=200, description="ids or names; empty: all that there is a right to"
    )
    since: AwareDatetime | None = Field(None, description="sightings that ended before are left out; RFC 3339")
    until: AwareDatetime | None = Field(None, description="sightings that began later are left out; RFC 3339")
    min_score: float | None = Field(
        None, ge=-1, le=1, description="cosine; left out: the model's that one stranger in 10,000 reaches"
    )
    limit: int = Field(DEFAULT_RESULTS, ge=1, le=MAX_RESULTS, description="how many sightings at most")
    reason: str = Field(min_length=3, max_length=1000, pattern=NO_CONTROLS, description="why; goes to the audit log")

    @model_validator(mode="after")
    def _has_one_source(self) -> Self:
        if self.sighting is not None and self.target is not None:
            raise ValueError("give either a sighting or a target")
        if len(self.reason.strip()) < 3:
            raise ValueError("reason: say in a few words why you search")
        return self


class FoundOut(BaseModel):
    """A sighting that resembles."""

    sighting: str
    camera: str
    camera_name: str
    start: str = Field(description="RFC 3339, UTC")
    end: str
    best: str = Field(description="when the crop was taken")
    score: float = Field(description="cosine, -1..1")
    crop: str | None = Field(description="path of the picture; null when it is gone")
    box: list[float] = Field(description="left, top, right, bottom in pixels of the whole frame, at `best`")
    video: str | None = Field(description="id of the handed-in video; null: seen live")
    video_name: str | None
    video_offset_s: float | None = Field(
        description="where it begins in the video, or in the recorded segment that shows it; null without footage"
    )


class VisitOut(BaseModel):
    """Sightings at one camera with gaps of at most a minute."""

    camera: str
    camera_name: str
    start: str
    end: str
    score: float = Field(description="of the best sighting")
    sightings: list[str] = Field(description="ids, in the order of time")


class SearchOut(BaseModel):
    """What a search found."""

    results: list[FoundOut] = Field(description="best first")
    visits: list[VisitOut] = Field(description="the same by visit, the best first")
    searched: int = Field(description="how many sightings were compared")
    waiting: int = Field(description="sightings that cannot be found yet, as they are still being written to Milvus")
    min_score: float
    elapsed_ms: float
    warnings: list[str] = Field(description="why a photo may find less than it could")


@dataclass(frozen=True, slots=True, eq=False)
class Asked:
    """A request as it came: as JSON, or as a form with photos."""

    body: SearchIn
    photos: list[SentPhoto]
    faces: list[int | None]


async def read_search(request: Request) -> Asked:
    """Read either kind of request.

    Raises:
        RequestValidationError: a field does not hold.
    """
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() == "application/json":
        data = b"".join([piece async for piece in limited(request, MAX_JSON_BYTES)])
        return _checked(data, None)
    sent = await read_form(request)
    return _checked(None, sent)


@router.post(
    "/search",
    response_model=SearchOut,
    responses=REFUSED,
    openapi_extra={
        "requestBody": {
            "required": True,
            "content": {
                "application/json": {"schema": SearchIn.model_json_schema()},
                **described(
                    {
                        "properties": {
                            **SearchIn.model_json_schema()["properties"],
                            "face": {"type": "array", "items": {"type": "integer", "minimum": 0, "maximum": 999}},
                        },
                        "required": ["reason"],
                    }
                )["requestBody"]["content"],
            },
        }
    },
)
def search(parts: WithParts, who: Searcher, asked: Annotated[Asked, Depends(read_search)]) -> dict[str, Any]:
    """Where and when somebody was seen. Each search is written to the audit log with its reason."""
    from lookout.sightings.sources import of_photos, of_sighting, of_target

    began = time.perf_counter()
    body, model = asked.body, parts.model
    if len(asked.photos) + (body.sighting is not None) + (body.target is not None) == 0:
        raise BadInputError("send at least one photo as `photos`, or name a `sighting` or a `target`.")
    if asked.photos and (body.sighting is not None or body.target is not None):
        raise BadInputError("search with photos or with a sighting or target, not with both.")
    faces = [
        parts.faces.to_search(photo.data, photo.name, face)
        for photo, face in zip(asked.photos, asked.faces, strict=True)
    ]
    by: dict[str, Any]
    with parts.registry.reading() as session:
        if body.sighting is not None:
            by = {"sighting": body.sighting}
            template = of_sighting(session, who, parts.keyring, body.sighting, model.name)
        elif body.target is not None:
            by = {"target": body.target}
            template = of_target(session, who, parts.keyring, body.target, model.name)
        else:
            by = {"photos": [face.sha256 for face in faces]}
            template = of_photos(faces, model)
        query = make_query(
            session,
            who,
            template,
            model=model,
            cameras=body.cameras,
            since_us=None if body.since is None else round(body.since.timestamp() * 1e6),
            until_us=None if body.until is None else round(body.until.timestamp() * 1e6),
            min_score=body.min_score,
            limit=body.limit,
        )
    answer = run_search(
        parts.registry, parts.vectors, who.actor, who, query, reason=body.reason.strip(), by=by, began=began
    )
    warnings = [face.warning for face in faces if face.warning]
    return {**plain_answer(answer), "min_score": query.min_score, "warnings": warnings}


def _checked(data: bytes | None, sent: SentForm | None) -> Asked:
    try:
        if sent is None:
            return Asked(SearchIn.model_validate_json(data or b""), [], [])
        fields: dict[str, Any] = {
            name: sent.text(name) for name in sent.fields if name not in ("photos", "face", "cameras")
        }
        # What a form leaves empty was not given.
        kept = {name: value for name, value in fields.items() if value}
        cameras = [camera for camera in sent.texts("cameras") if camera]
        body = SearchIn.model_validate({**kept, "cameras": cameras})
        return Asked(body, sent.photos, sent.faces())
    except ValidationError as error:
        # As JSON, since what it quotes may be an exception.
        errors = json.loads(error.json(include_url=False))
        raise RequestValidationError([{**one, "loc": ("body", *one["loc"])} for one in errors]) from error
