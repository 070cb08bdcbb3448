"""Targets: people on a watchlist."""

from __future__ import annotations

from collections.abc import Sequence
from http import HTTPStatus
from typing import Annotated, Any

from fastapi import Header, Query, Request, Response
from fastapi.exceptions import RequestValidationError
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError
from sqlalchemy.orm import Session

from lookout.accounts.rights import Identity
from lookout.clock import isoformat
from lookout.errors import BadInputError
from lookout.faces.gates import Gates
from lookout.stores.registry.tables import Reference, Target
from lookout.targets.enrolment import Enroller, TargetFields, change_target, create_target
from lookout.targets.people import (
    ListedTarget,
    get_target,
    get_watchlist,
    list_targets,
    photos_of,
    record_view,
)
from lookout.targets.photos import Photo
from lookout.targets.references import DisagreesError
from lookout.targets.resemblance import ResemblesError, resembling
from lookout.watchlists.records import gates_of
from search import problems
from search.api import api_router, paging
from search.api.once import Key, fingerprint, once
from search.api.versions import IfMatch, check_version, set_etag
from search.api.watchlists import NO_CONTROLS, NOT_FOUND, STALE, Id, Reader, WithParts, Writer
from search.indexing import index_now
from search.parts import Parts
from search.uploads import Sent, SentForm, described

router = api_router(tag="targets")
REFUSED: dict[int | str, dict[str, Any]] = {
    409: {
        "description": "There is one of that name; or `resembles` names targets that resemble the person; or "
        "`disagrees` names photos (`photos`: positions, `known`: ids) that may show somebody else."
    },
    413: {"description": "The photos are too large."},
    503: {"description": "Milvus does not answer, so that nobody knows whether the person is enrolled already."},
}
Reason = Annotated[str | None, Header(alias="X-Reason", max_length=1000, description="why, where it is demanded")]
ReasonQuery = Annotated[str, Query(alias="reason", max_length=1000, pattern=NO_CONTROLS, description="the same")]


class TargetIn(BaseModel):
    """What people say of a target."""

    model_config = ConfigDict(extra="forbid")

    name: str = Field(min_length=1, max_length=200, pattern=NO_CONTROLS)
    reference_number: str = Field("", max_length=100, pattern=NO_CONTROLS)
    note: str = Field("", max_length=2000, pattern=NO_CONTROLS)
    valid_from: AwareDatetime | None = Field(None, description="matched only from then on; RFC 3339")
    valid_until: AwareDatetime | None = Field(None, description="matched only until then; RFC 3339")
    snoozed_until: AwareDatetime | None = Field(None, description="raises no alerts until then; RFC 3339")

    def fields(self) -> TargetFields:
        """For the domain."""
        return TargetFields(
            name=self.name,
            reference_number=self.reference_number,
            note=self.note,
            valid_from_us=_us(self.valid_from),
            valid_until_us=_us(self.valid_until),
            snoozed_until_us=_us(self.snoozed_until),
        )


class EnrolmentIn(TargetIn):
    """A target with the answers to what enrolment asks."""

    face: list[int | None] = Field(
        default=[], description="which face of each photo, counted from 1 from left to right; 0: the only one"
    )
    confirm_disagreement: bool = Field(False, description="photos that disagree show the same person all the same")
    confirm_resemblance: bool = Field(False, description="a new target is wanted though one resembles the person")


class PhotoOut(BaseModel):
    """A photo of a target."""

    id: str
    quality: float
    in_template: bool = Field(description="false: it disagrees with the others and is not matched with")
    confirmed: bool = Field(description="a person said that it shows the target")
    created_at: str
    face: str = Field(description="path of the cut-out face")


class TargetOut(BaseModel):
    """A target, as it stands in lists."""

    id: str
    watchlist: str
    name: str
    reference_number: str
    note: str
    valid_from: str | None
    valid_until: str | None
    snoozed_until: str | None
    matchable: bool = Field(description="whether workers know the template")
    photo_count: int
    disagreeing: int = Field(description="photos that are no part of the template")
    face: str | None = Field(description="path of the cut-out face that stands for the target")
    erased_at: str | None
    created_at: str
    version: int


class TargetDetail(TargetOut):
    """A target with its photos."""

    photos: list[PhotoOut]


class TargetPage(BaseModel):
    """Targets, the newest first."""

    items: list[TargetOut]
    next: str | None = Field(description="`cursor` of the next page; null on the last one")


@router.get("/watchlists/{watchlist_id}/targets", response_model=TargetPage, responses=NOT_FOUND)
def list_all(
    parts: WithParts,
    who: Reader,
    watchlist_id: Id,
    search: Annotated[
        str, Query(max_length=200, pattern=NO_CONTROLS, description="part of a name or reference number")
    ] = "",
    erased: Annotated[bool, Query(description="whether to list erased ones, too")] = False,
    limit: paging.Limit = 50,
    cursor: paging.Cursor = None,
) -> dict[str, Any]:
    """The people on a watchlist."""
    after = paging.older_than(cursor, Target.created_at_us, Target.id)
    with parts.registry.reading() as session:
        get_watchlist(session, who, watchlist_id)
        found = list_targets(session, watchlist_id, search=search, erased=erased, after=after, limit=limit + 1)
    last = found[:limit][-1:]
    following = paging.cursor(last[0].target.created_at_us, last[0].target.id) if last else None
    return paging.page([as_listed(one) for one in found], limit, following)


@router.post(
    "/watchlists/{watchlist_id}/targets",
    status_code=201,
    response_model=TargetDetail,
    responses={**NOT_FOUND, **REFUSED},
    openapi_extra=described(EnrolmentIn.model_json_schema()),
)
def create(request: Request, parts: WithParts, who: Writer, watchlist_id: Id, sent: Sent, key: Key = None) -> Response:
    """Enrol a person. Each photo must show one good face, or say which of several is meant."""
    body = read_fields(sent)
    with parts.registry.reading() as session:
        gates = gates_of(get_watchlist(session, who, watchlist_id))
    photos = read_photos(parts, sent, gates)

    def make(session: Session) -> dict[str, Any]:
        watchlist = get_watchlist(session, who, watchlist_id, lock=True)
        made = enrol(session, parts, who, watchlist.id, body, photos)
        return as_detail(session, made)

    try:
        answer = once(parts.registry, who, key, fingerprint(request, _digest(body, sent, photos)), make)
    except (ResemblesError, DisagreesError) as error:
        return refusal(error)
    index_now(parts)
    return answer


@router.get("/targets/{target_id}", response_model=TargetDetail, responses=NOT_FOUND)
def get(
    response: Response,
    parts: WithParts,
    who: Reader,
    target_id: Id,
    x_reason: Reason = None,
    reason: ReasonQuery = "",
) -> dict[str, Any]:
    """A person with photos. The look is written to the audit; where the watchlist demands it, with the reason."""
    with parts.registry.transaction() as session:
        target = get_target(session, who, target_id)
        record_view(session, who.actor, target, _reason(x_reason) or reason)
        set_etag(response, target.version)
        return as_detail(session, target)


@router.put("/targets/{target_id}", response_model=TargetDetail, responses={**NOT_FOUND, **REFUSED, **STALE})
def change(
    response: Response, parts: WithParts, who: Writer, target_id: Id, body: TargetIn, if_match: IfMatch = None
) -> dict[str, Any]:
    """Give a target other fields; those that are left out get their defaults."""
    with parts.registry.transaction() as session:
        target = get_target(session, who, target_id, lock=True)
        check_version(if_match, target.version)
        change_target(session, who.actor, target, body.fields())
        set_etag(response, target.version)
        return as_detail(session, target)


def read_fields(sent: SentForm) -> EnrolmentIn:
    """The fields of an enrolment.

    Raises:
        RequestValidationError: they do not hold.
    """
    values: dict[str, Any] = {name: sent.text(name) for name in sent.fields if name not in ("photos", "face")}
    # What a form leaves empty was not given.
    kept = {name: value for name, value in values.items() if value or name in ("name", "reference_number", "note")}
    try:
        return EnrolmentIn.model_validate(kept)
    except ValidationError as error:
        raise RequestValidationError([{**one, "loc": ("body", *one["loc"])} for one in error.errors()]) from error


def read_photos(parts: Parts, sent: SentForm, gates: Gates) -> list[Photo]:
    """The sent photos, each fit to be a reference.

    Raises:
        PhotoError: one of them is not; the message says which and why.
        BadInputError: there is none.
    """
    if not sent.photos:
        raise BadInputError("photos: send at least one.")
    return [
        parts.faces.enrol(photo.data, photo.name, face, gates)
        for photo, face in zip(sent.photos, sent.faces(), strict=True)
    ]


def enroller(parts: Parts, who: Identity) -> Enroller:
    """Who enrols."""
    model = parts.model
    return Enroller(who.actor, parts.blobs, parts.keyring, model)


def enrol(
    session: Session, parts: Parts, who: Identity, watchlist_id: str, body: EnrolmentIn, photos: Sequence[Photo]
) -> Target:
    """Put a person on a watchlist, unless somebody there resembles them and nobody confirmed that.

    Raises:
        ResemblesError: so it is.
        DisagreesError: photos disagree, and nobody confirmed that they show one person.
    """
    by = enroller(parts, who)
    if not body.confirm_resemblance:
        found = resembling(session, parts.vectors, parts.keyring, by.model, who, photos)
        if found:
            raise ResemblesError(found)
    watchlist = get_watchlist(session, who, watchlist_id, lock=True)
    return create_target(session, by, watchlist, body.fields(), photos, confirm_disagreement=body.confirm_disagreement)


def refusal(error: ResemblesError | DisagreesError) -> Response:
    """What asks for a person's confirmation, as a problem."""
    if isinstance(error, DisagreesError):
        disagrees = {"photos": list(error.photos), "known": list(error.known)}
        return problems.problem(HTTPStatus.CONFLICT, str(error), disagrees=disagrees)
    resembles = [
        {
            "target": one.target_id,
            "name": one.name,
            "watchlist": one.watchlist,
            "score": one.score,
            "threshold": one.threshold,
            "face": face_path(one.face_id),
        }
        for one in error.resembles
    ]
    return problems.problem(HTTPStatus.CONFLICT, str(error), resembles=resembles)


def face_path(reference_id: str | None) -> str | None:
    """Where a photo's cut-out face is served."""
    return None if reference_id is None else f"/api/v1/photos/{reference_id}/face"


def as_listed(listed: ListedTarget) -> dict[str, Any]:
    """A target of a list as JSON."""
    target = listed.target
    return {
        "id": target.id,
        "watchlist": target.watchlist_id,
        "name": target.name,
        "reference_number": target.reference_number,
        "note": target.note,
        "valid_from": _iso(target.valid_from_us),
        "valid_until": _iso(target.valid_until_us),
        "snoozed_until": _iso(target.snoozed_until_us),
        "matchable": target.indexed,
        "photo_count": listed.photos,
        "disagreeing": listed.disagreeing,
        "face": face_path(listed.face_id),
        "erased_at": _iso(target.erased_at_us),
        "created_at": isoformat(target.created_at_us),
        "version": target.version,
    }


def as_detail(session: Session, target: Target) -> dict[str, Any]:
    """A target with its photos as JSON."""
    photos = photos_of(session, target)
    best = max(photos, key=lambda one: (one.in_template, one.quality), default=None)
    outside = sum(not one.in_template for one in photos)
    listed = ListedTarget(target, len(photos), best.id if best else None, outside)
    return as_listed(listed) | {"photos": [as_photo(one) for one in photos]}


def as_photo(reference: Reference) -> dict[str, Any]:
    """A photo as JSON."""
    return {
        "id": reference.id,
        "quality": reference.quality,
        "in_template": reference.in_template,
        "confirmed": reference.confirmed,
        "created_at": isoformat(reference.created_at_us),
        "face": face_path(reference.id),
    }


def _digest(body: EnrolmentIn, sent: SentForm, photos: Sequence[Photo]) -> bytes:
    return "\n".join([body.model_dump_json(), str(sent.faces()), *(photo.sha256 for photo in photos)]).encode()


def _reason(header: str | None) -> str:
    """Headers are Latin-1 on the wire; clients write UTF-8 into them."""
    if not header:
        return ""
    try:
        text = header.encode("latin-1").decode()
    except (UnicodeDecodeError, UnicodeEncodeError):
        text = header
    return "".join(letter for letter in text if letter.isprintable())


def _us(at: AwareDatetime | None) -> int | None:
    return None if at is None else round(at.timestamp() * 1e6)


def _iso(at_us: int | None) -> str | None:
    return None if at_us is None else isoformat(at_us)
