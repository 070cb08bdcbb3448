"""Pages of targets: enrolment, and all about one person."""

from __future__ import annotations

import base64
from collections.abc import Callable, Sequence
from datetime import UTC
from http import HTTPStatus
from typing import Annotated

from fastapi import APIRouter, Form, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import Response
from sqlalchemy.orm import Session

from lookout.accounts.rights import Identity
from lookout.clock import now_us, to_datetime
from lookout.errors import BadInputError, ConflictError, NotFoundError, PhotoError
from lookout.stores.registry.tables import Reference, Target
from lookout.targets.enrolment import (
    TargetFields,
    add_photos,
    change_target,
    confirm_photo,
    remove_photo,
)
from lookout.targets.people import get_photo, get_target, get_watchlist, photos_of, record_view
from lookout.targets.photos import Photo
from lookout.targets.references import DisagreesError
from lookout.targets.resemblance import ResemblesError
from lookout.watchlists.records import gates_of
from search.api.photos import as_examination
from search.api.targets import enrol, enroller, read_fields, read_photos
from search.api.watchlists import NO_CONTROLS, Id, Reader, WithParts, Writer
from search.indexing import index_now
from search.parts import Parts
from search.uploads import Sent, SentForm
from search.web import pages
from search.web.watchlists import check_form

router = APIRouter(include_in_schema=False)
Why = Annotated[str, Form(max_length=1000, pattern=NO_CONTROLS)]
SNOOZES_H = (1, 8, 24, 168)


@router.get("/watchlists/{watchlist_id}/targets/new")
def show_new(request: Request, parts: WithParts, who: Writer, watchlist_id: Id) -> Response:
    """The form of a new person."""
    with parts.registry.reading() as session:
        watchlist = get_watchlist(session, who, watchlist_id)
    return pages.page(request, "targets/new.html", watchlist=watchlist)


@router.post("/watchlists/{watchlist_id}/examination")
def examine(request: Request, parts: WithParts, who: Writer, watchlist_id: Id, sent: Sent) -> Response:
    """Say of photos at once whether they will do; nothing is stored."""
    with parts.registry.reading() as session:
        gates = gates_of(get_watchlist(session, who, watchlist_id))
    seen = [as_examination(parts.faces.examine(photo.data, photo.name, gates), gates) for photo in sent.photos]
    return pages.page(request, "targets/examined.html", photos=seen)


@router.post("/watchlists/{watchlist_id}/targets")
def create(request: Request, parts: WithParts, who: Writer, watchlist_id: Id, sent: Sent) -> Response:
    """Enrol a person, or say what speaks against it."""
    with parts.registry.reading() as session:
        gates = gates_of(get_watchlist(session, who, watchlist_id))
    photos: list[Photo] = []
    try:
        body = read_fields(_with_days(sent))
        photos = read_photos(parts, sent, gates)
        with parts.registry.transaction() as session:
            made = enrol(session, parts, who, watchlist_id, body, photos)
            record_view(session, who.actor, made, "enrolment")
    except (BadInputError, PhotoError, ConflictError, RequestValidationError) as error:
        return _outcome(request, error, photos, sent, [])
    index_now(parts)
    return pages.go_to(request, f"/targets/{made.id}")


@router.get("/targets/{target_id}")
def show(request: Request, parts: WithParts, who: Reader, target_id: Id) -> Response:
    """A person, or the question why one wants to look."""
    return _show(request, parts, who, target_id, "")


@router.post("/targets/{target_id}")
def show_with_reason(request: Request, parts: WithParts, who: Reader, target_id: Id, reason: Why = "") -> Response:
    """A person, looked at for a reason."""
    return _show(request, parts, who, target_id, reason)


@router.post("/targets/{target_id}/edit")
def edit(request: Request, parts: WithParts, who: Writer, target_id: Id, sent: Sent) -> Response:
    """Change what is said of a person."""

    def step(session: Session, target: Target) -> None:
        check_form(sent, target.version)
        given = read_fields(_with_days(sent)).fields()
        snoozed = target.snoozed_until_us
        change_target(
            session,
            who.actor,
            target,
            TargetFields(
                name=given.name,
                reference_number=given.reference_number,
                note=given.note,
                valid_from_us=given.valid_from_us,
                valid_until_us=given.valid_until_us,
                snoozed_until_us=snoozed,
            ),
        )

    return _change(request, parts, who, target_id, step)


@router.post("/targets/{target_id}/snooze")
def snooze(
    request: Request,
    parts: WithParts,
    who: Writer,
    target_id: Id,
    hours: Annotated[int, Form(ge=0, le=24 * 365)] = 0,
) -> Response:
    """Raise no alerts of a person for some hours; 0: raise them again."""

    def step(session: Session, target: Target) -> None:
        until = now_us() + hours * 3_600_000_000 if hours else None
        fields = {name: getattr(target, name) for name in ("name", "reference_number", "note")}
        times = {name: getattr(target, name) for name in ("valid_from_us", "valid_until_us")}
        change_target(session, who.actor, target, TargetFields(**fields, **times, snoozed_until_us=until))

    return _change(request, parts, who, target_id, step)


@router.post("/targets/{target_id}/photos")
def add(request: Request, parts: WithParts, who: Writer, target_id: Id, sent: Sent) -> Response:
    """Give a person further photos, or say what speaks against it."""
    with parts.registry.reading() as session:
        target = get_target(session, who, target_id)
        known, gates = photos_of(session, target), gates_of(target.watchlist)
    photos: list[Photo] = []
    try:
        photos = read_photos(parts, sent, gates)
        with parts.registry.transaction() as session:
            target = get_target(session, who, target_id, lock=True)
            confirmed = sent.is_set("confirm_disagreement")
            add_photos(session, enroller(parts, who), target, photos, confirm_disagreement=confirmed)
    except (BadInputError, PhotoError, ConflictError) as error:
        return _outcome(request, error, photos, sent, known)
    index_now(parts)
    return pages.go_to(request, f"/targets/{target_id}")


@router.post("/targets/{target_id}/photos/{photo_id}/remove")
def remove(request: Request, parts: WithParts, who: Writer, target_id: Id, photo_id: Id) -> Response:
    """Remove a photo."""

    def step(session: Session, target: Target) -> None:
        remove_photo(session, enroller(parts, who), target, _photo(session, who, target, photo_id))

    return _change(request, parts, who, target_id, step)


@router.post("/targets/{target_id}/photos/{photo_id}/confirm")
def confirm(request: Request, parts: WithParts, who: Writer, target_id: Id, photo_id: Id) -> Response:
    """Say that a photo which disagrees shows the person all the same."""

    def step(session: Session, target: Target) -> None:
        confirm_photo(session, enroller(parts, who), target, _photo(session, who, target, photo_id))

    return _change(request, parts, who, target_id, step)


def _photo(session: Session, who: Identity, target: Target, photo_id: str) -> Reference:
    reference = get_photo(session, who, photo_id)
    if reference.target_id != target.id:
        raise NotFoundError(f"{target.name} has no such photo.")
    return reference


def _show(request: Request, parts: Parts, who: Identity, target_id: str, reason: str) -> Response:
    with parts.registry.transaction() as session:
        target = get_target(session, who, target_id)
        if target.watchlist.reason_required and not reason.strip():
            # The name is no secret to whoever sees the list; photos and notes are what a reason is asked for.
            return pages.page(request, "targets/why.html", target=target)
        record_view(session, who.actor, target, reason)
        return _page(request, session, target, "targets/one.html")


def _change(
    request: Request,
    parts: Parts,
    who: Identity,
    target_id: str,
    step: Callable[[Session, Target], None],
) -> Response:
    """Change a person, and show the person as they are then: within the page that asked, or as a page."""
    fault = ""
    try:
        with parts.registry.transaction() as session:
            target = get_target(session, who, target_id, lock=True)
            step(session, target)
    except (BadInputError, ConflictError, RequestValidationError) as error:
        fault = _message(error)
    index_now(parts)
    with parts.registry.reading() as session:
        target = get_target(session, who, target_id)
        part = bool(request.headers.get("hx-request"))
        return _page(request, session, target, "targets/person.html" if part else "targets/one.html", fault)


def _page(request: Request, session: Session, target: Target, template: str, fault: str = "") -> Response:
    return pages.page(
        request,
        template,
        target=target,
        watchlist=target.watchlist,
        photos=photos_of(session, target),
        now_us=now_us(),
        snoozes=SNOOZES_H,
        valid_from=_day(target.valid_from_us),
        valid_until=_day(target.valid_until_us),
        fault=fault,
    )


def _outcome(
    request: Request, error: Exception, photos: Sequence[Photo], sent: SentForm, known: Sequence[Reference]
) -> Response:
    """What speaks against an enrolment: a part of the page that holds the photos still."""
    faces = [_face(photo) for photo in photos]
    return pages.page(
        request,
        "targets/outcome.html",
        status=HTTPStatus.CONFLICT if isinstance(error, ConflictError) else HTTPStatus.UNPROCESSABLE_ENTITY,
        message=_message(error),
        faces=faces,
        known=known,
        resembles=error.resembles if isinstance(error, ResemblesError) else (),
        disagrees=error.photos if isinstance(error, DisagreesError) else (),
        disagrees_known=error.known if isinstance(error, DisagreesError) else (),
        confirmed=[name for name in ("confirm_resemblance", "confirm_disagreement") if sent.is_set(name)],
    )


def _message(error: Exception) -> str:
    if isinstance(error, RequestValidationError):
        return "; ".join(f"{one['loc'][-1]}: {one['msg']}" for one in error.errors())
    return str(error)


def _face(photo: Photo) -> str:
    return "data:image/jpeg;base64," + base64.b64encode(photo.face_jpeg).decode()


def _with_days(sent: SentForm) -> SentForm:
    """The form with its days as times: valid from the begin of one to the end of another, in UTC."""
    items = []
    for name, value in sent.fields.multi_items():
        text = value
        if name in ("valid_from", "valid_until") and isinstance(value, str) and len(value) == 10:
            text = f"{value}T{'00:00:00' if name == 'valid_from' else '23:59:59'}Z"
        if name != "version":
            items.append((name, text))
    return SentForm(sent.photos, type(sent.fields)(items))


def _day(at_us: int | None) -> str:
    return "" if at_us is None else to_datetime(at_us).astimezone(UTC).date().isoformat()
