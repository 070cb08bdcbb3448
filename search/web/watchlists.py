"""Pages of watchlists: which there are, what each is for, and who is on it."""

from __future__ import annotations

import zoneinfo
from collections.abc import Iterable
from dataclasses import replace
from datetime import date
from http import HTTPStatus
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from fastapi.responses import Response
from sqlalchemy import select
from sqlalchemy.orm import Session
from starlette.datastructures import FormData

from lookout.accounts.rights import Identity
from lookout.alerts.precision import precision_of
from lookout.errors import BadInputError, ConflictError
from lookout.stores.registry.tables import TIERS, CameraRow, Target, Watchlist
from lookout.targets.people import count_targets, get_watchlist, is_overdue, list_targets, list_watchlists
from lookout.watchlists import records as watchlists
from lookout.watchlists.records import WatchlistFields, fields_of
from lookout.watchlists.schedule import DAYS, MAX_WINDOWS
from lookout.watchlists.thresholds import MOST_STRANGERS
from search.api import paging
from search.api.watchlists import NO_CONTROLS, Id, Reader, WithParts, Writer, meaning
from search.indexing import index_now
from search.parts import Parts
from search.uploads import Sent, SentForm
from search.web import pages

router = APIRouter(include_in_schema=False)
ROWS = 60
#: Windows that the form shows at least.
WINDOWS = 3
EMPTY = WatchlistFields(name="", purpose="", legal_basis="")


@router.get("/watchlists")
def show_all(request: Request, parts: WithParts, who: Reader, archived: bool = False) -> Response:
    """All watchlists."""
    with parts.registry.reading() as session:
        found = list_watchlists(session, who, archived=archived)
        return pages.page(request, "watchlists/list.html", found=found, archived=archived)


@router.get("/watchlists/new")
def show_new(request: Request, parts: WithParts, who: Writer) -> Response:
    """The form of a new one."""
    return _form(request, parts, who, None, EMPTY, fault="")


@router.get("/watchlists/meaning")
def show_meaning(
    request: Request,
    parts: WithParts,
    who: Writer,  # noqa: ARG001 - the right is what counts
    possible_strangers: Annotated[str, Query(max_length=20)] = "",
    likely_strangers: Annotated[str, Query(max_length=20)] = "",
    targets: Annotated[int, Query(ge=0, le=10_000_000)] = 0,
) -> Response:
    """What thresholds mean, while they are typed."""
    try:
        given = replace(EMPTY, **_rates(possible_strangers, likely_strangers))
    except BadInputError:
        given = EMPTY
    told = meaning(_unsaved(given), targets, parts.model.calibration)
    return pages.page(request, "watchlists/meaning.html", told=told, targets=targets)


@router.post("/watchlists")
def create(request: Request, parts: WithParts, who: Writer, sent: Sent) -> Response:
    """Make one."""
    given = EMPTY
    try:
        given = _read(sent.fields)
        with parts.registry.transaction() as session:
            made = watchlists.create_watchlist(session, who.actor, given, owner_id=who.user_id)
    except (BadInputError, ConflictError) as error:
        return _form(request, parts, who, None, given, fault=str(error))
    return pages.go_to(request, f"/watchlists/{made.id}")


@router.get("/watchlists/{watchlist_id}")
def show(
    request: Request,
    parts: WithParts,
    who: Reader,
    watchlist_id: Id,
    search: Annotated[str, Query(max_length=200, pattern=NO_CONTROLS)] = "",
    erased: bool = False,
    cursor: paging.Cursor = None,
) -> Response:
    """One watchlist with its people; for htmx, the people alone."""
    after = paging.older_than(cursor, Target.created_at_us, Target.id)
    with parts.registry.reading() as session:
        found = get_watchlist(session, who, watchlist_id)
        people = list_targets(session, watchlist_id, search=search, erased=erased, after=after, limit=ROWS + 1)
        last = people[:ROWS][-1].target if len(people) > ROWS else None
        values: dict[str, Any] = {
            "watchlist": found,
            "people": people[:ROWS],
            "next": paging.cursor(last.created_at_us, last.id) if last else None,
            "search": search,
            "erased": erased,
            "more": cursor is not None,
        }
        if request.headers.get("hx-request"):
            return pages.page(request, "watchlists/people.html", **values)
        targets = count_targets(session, watchlist_id)
        return pages.page(
            request,
            "watchlists/one.html",
            targets=targets,
            told=meaning(found, targets, parts.model.calibration),
            precision=precision_of(session, [watchlist_id])[watchlist_id],
            overdue=is_overdue(found),
            hours=_hours(found),
            **values,
        )


@router.get("/watchlists/{watchlist_id}/edit")
def show_edit(request: Request, parts: WithParts, who: Writer, watchlist_id: Id) -> Response:
    """The form of one that there is."""
    with parts.registry.reading() as session:
        found = get_watchlist(session, who, watchlist_id)
    return _form(request, parts, who, found, fields_of(found), fault="")


@router.post("/watchlists/{watchlist_id}/edit")
def edit(request: Request, parts: WithParts, who: Writer, watchlist_id: Id, sent: Sent) -> Response:
    """Change it, unless somebody else did meanwhile."""
    with parts.registry.reading() as session:
        found = get_watchlist(session, who, watchlist_id)
    given = fields_of(found)
    try:
        given = _read(sent.fields)
        with parts.registry.transaction() as session:
            found = get_watchlist(session, who, watchlist_id, lock=True)
            check_form(sent, found.version)
            watchlists.change_watchlist(session, who.actor, found, given)
    except (BadInputError, ConflictError) as error:
        with parts.registry.reading() as session:
            found = get_watchlist(session, who, watchlist_id)
        return _form(request, parts, who, found, given, fault=str(error))
    return pages.go_to(request, f"/watchlists/{watchlist_id}")


@router.post("/watchlists/{watchlist_id}/archive")
def archive(request: Request, parts: WithParts, who: Writer, watchlist_id: Id) -> Response:
    """Take it out of use."""
    with parts.registry.transaction() as session:
        watchlists.archive_watchlist(session, who.actor, get_watchlist(session, who, watchlist_id, lock=True))
    index_now(parts)
    return pages.go_to(request, f"/watchlists/{watchlist_id}")


@router.post("/watchlists/{watchlist_id}/restore")
def restore(request: Request, parts: WithParts, who: Writer, watchlist_id: Id) -> Response:
    """Put it to use again."""
    with parts.registry.transaction() as session:
        watchlists.restore_watchlist(session, who.actor, get_watchlist(session, who, watchlist_id, lock=True))
    index_now(parts)
    return pages.go_to(request, f"/watchlists/{watchlist_id}")


def check_form(sent: SentForm, version: int) -> None:
    """Refuse a change of what is not as the form showed it.

    Raises:
        ConflictError: somebody changed it meanwhile.
    """
    if sent.text("version") != str(version):
        raise ConflictError("Somebody changed it meanwhile. Look at what is there now, then change it again.")


def _form(
    request: Request, parts: Parts, who: Identity, watchlist: Watchlist | None, given: WatchlistFields, *, fault: str
) -> Response:
    with parts.registry.reading() as session:
        groups = _groups(session, who, given.camera_groups)
        targets = count_targets(session, watchlist.id) if watchlist else 0
    schedule = given.schedule or {"zone": "", "windows": []}
    windows = [*schedule["windows"], *[{"days": [], "from": "", "to": ""}] * WINDOWS]
    return pages.page(
        request,
        "watchlists/form.html",
        status=HTTPStatus.UNPROCESSABLE_ENTITY if fault else HTTPStatus.OK,
        watchlist=watchlist,
        given=given,
        groups=groups,
        zone=schedule["zone"],
        windows=windows[: max(WINDOWS, len(schedule["windows"]) + 1)],
        zones=sorted(zoneinfo.available_timezones()),
        days=DAYS,
        tiers=TIERS,
        targets=targets,
        told=meaning(_unsaved(given), targets, parts.model.calibration),
        fault=fault,
    )


def _groups(session: Session, who: Identity, chosen: Iterable[str]) -> list[str]:
    """Camera groups to choose from: those with a right to, and those that were chosen before."""
    there = session.scalars(select(CameraRow.camera_group).distinct())
    return sorted({*chosen, *(group for group in there if who.sees_group(group))})


def _read(form: FormData) -> WatchlistFields:
    """The form's fields; the domain checks them.

    Raises:
        BadInputError: one is no number, date or time.
    """

    def text(name: str) -> str:
        value = form.get(name, "")
        return value.strip() if isinstance(value, str) else ""

    def texts(name: str) -> list[str]:
        return [value for value in form.getlist(name) if isinstance(value, str)]

    others = [group.strip() for group in text("other_groups").split(",") if group.strip()]
    minutes = _number("acknowledge within", text("acknowledge_within"))
    return WatchlistFields(
        name=text("name"),
        purpose=text("purpose"),
        legal_basis=text("legal_basis"),
        authorised_by=text("authorised_by"),
        review_on=_day(text("review_on")),
        **_rates(text("possible_strangers"), text("likely_strangers")),
        min_face_px=_number_or(EMPTY.min_face_px, "least face width", text("min_face_px")),
        min_quality=_fraction("least quality", text("min_quality")),
        camera_groups=[*texts("camera_groups"), *others],
        schedule=_schedule(form, text("zone")),
        two_person_tiers=texts("two_person_tiers"),
        reason_required=text("reason_required") == "1",
        acknowledge_within_s=None if minutes is None else minutes * 60,
        retention_days=_number_or(EMPTY.retention_days, "retention", text("retention_days")),
    )


def _schedule(form: FormData, zone: str) -> dict[str, Any] | None:
    windows = []
    for number in range(MAX_WINDOWS):
        days = form.getlist(f"days{number}")
        begin, end = form.get(f"from{number}", ""), form.get(f"to{number}", "")
        if days or begin or end:
            # A browser's time field ends the day at 00:00.
            windows.append({"days": days, "from": begin, "to": "24:00" if end == "00:00" else end})
    return {"zone": zone, "windows": windows} if windows else None


def _rates(possible: str, likely: str) -> dict[str, Any]:
    """How many strangers may pass for one false alert; the defaults where nothing is said."""
    given = {
        "possible_strangers": _number("possible: strangers", possible),
        "likely_strangers": _number("likely: strangers", likely),
    }
    return {name: number for name, number in given.items() if number is not None}


def _fraction(field: str, text: str) -> float:
    try:
        return float(text) if text else EMPTY.min_quality
    except ValueError as error:
        raise BadInputError(f"{field}: give a figure from 0 to 1, such as 0.5.") from error


def _number(field: str, text: str) -> int | None:
    if text and not (text.isascii() and text.isdigit() and len(text) < 10):
        raise BadInputError(f"{field}: give a whole number.")
    return int(text) if text else None


def _number_or(default: int, field: str, text: str) -> int:
    number = _number(field, text)
    return default if number is None else number


def _day(text: str) -> date | None:
    try:
        return date.fromisoformat(text) if text else None
    except ValueError as error:
        raise BadInputError("review: give a day such as 2027-06-30.") from error


def _unsaved(given: WatchlistFields) -> Watchlist:
    """Error rates of what is not stored yet, as far as they make sense."""
    possible, likely = (min(max(1, one), MOST_STRANGERS) for one in (given.possible_strangers, given.likely_strangers))
    return Watchlist(possible_strangers=possible, likely_strangers=likely)


def _hours(watchlist: Watchlist) -> list[str]:
    """Its schedule, a line a window."""
    if watchlist.schedule is None:
        return []
    return [
        f"{', '.join(day.capitalize() for day in one['days'])} {one['from']}–{one['to']}"
        for one in watchlist.schedule["windows"]
    ]
