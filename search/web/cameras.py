"""The pages of cameras: how they are, their last pictures, setting them up."""

from __future__ import annotations

import base64
import itertools
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Form, Path, Query, Request
from fastapi.responses import Response

from lookout import cameras
from lookout.accounts.rights import Identity
from lookout.camera_settings import (
    FOOTAGE_GB,
    FOOTAGE_HOURS,
    MAX_MASKS,
    MAX_POINTS,
    MIN_POINTS,
    RETENTION_HOURS,
)
from lookout.errors import BadInputError, SealError, StaleError, UnavailableError
from lookout.logging import redact
from lookout.stores.cameras import CameraPicture, CameraStatus
from lookout.stores.registry.tables import CameraRow
from search.cameras import begin_test, board_of, check_group, find_test, picture_of, publish
from search.parts import Parts, parts_of
from search.security import Allowed
from search.web import pages

router = APIRouter(include_in_schema=False)

WithParts = Annotated[Parts, Depends(parts_of)]
Reader = Annotated[Identity, Depends(Allowed("cameras:read"))]
Writer = Annotated[Identity, Depends(Allowed("cameras:write"))]
CameraId = Annotated[str, Path(max_length=64)]
Group = Annotated[str, Query(max_length=60)]
PageNumber = Annotated[int, Query(alias="page", ge=1, le=1000)]

CAMERAS_A_PAGE = 48
#: Text of all masks: as many points as there may be, each of a dozen characters.
MAX_MASKS_TEXT = MAX_MASKS * MAX_POINTS * 16
#: What is filled in for a new camera.
BLANK: dict[str, Any] = {
    "id": "",
    "url": "",
    "name": "",
    "group": "",
    "analysed_fps": 5.0,
    "transport": "tcp",
    "masks": "",
    "retention_hours": RETENTION_HOURS,
    "matched_only": False,
    "record": False,
    "record_audio": False,
    "footage_hours": FOOTAGE_HOURS,
    "footage_gb": FOOTAGE_GB,
    "enabled": True,
    "version": 0,
}


def form_fields(
    url: Annotated[str, Form(max_length=2000)],
    analysed_fps: Annotated[float, Form()],
    transport: Annotated[Literal["tcp", "udp"], Form()],
    retention_hours: Annotated[int, Form()],
    footage_hours: Annotated[int, Form()] = FOOTAGE_HOURS,
    footage_gb: Annotated[float, Form()] = FOOTAGE_GB,
    name: Annotated[str, Form(max_length=100)] = "",
    group: Annotated[str, Form(max_length=60)] = "",
    masks: Annotated[str, Form(max_length=MAX_MASKS_TEXT)] = "",
    matched_only: Annotated[bool, Form()] = False,
    record: Annotated[bool, Form()] = False,
    record_audio: Annotated[bool, Form()] = False,
    enabled: Annotated[bool, Form()] = False,
) -> dict[str, Any]:
    """The fields of a camera that both forms have."""
    return {
        "url": url.strip(),
        "analysed_fps": analysed_fps,
        "transport": transport,
        "retention_hours": retention_hours,
        "name": name.strip(),
        "group": group.strip(),
        "masks": parse_masks(masks),
        "matched_only": matched_only,
        "record": record,
        "record_audio": record_audio,
        "footage_hours": footage_hours,
        "footage_gb": footage_gb,
        "enabled": enabled,
    }


Fields = Annotated[dict[str, Any], Depends(form_fields)]


@router.get("/cameras")
def show_cameras(
    request: Request, parts: WithParts, who: Reader, group: Group = "", number: PageNumber = 1
) -> Response:
    """All cameras that the user may see."""
    return pages.page(request, "cameras/list.html", **_cards(parts, who, group, number))


@router.get("/cameras/cards")
def show_cards(request: Request, parts: WithParts, who: Reader, group: Group = "", number: PageNumber = 1) -> Response:
    """The cards alone, which the script asks for every two seconds."""
    return pages.page(request, "cameras/cards.html", **_cards(parts, who, group, number))


@router.get("/cameras/new")
def show_new(request: Request, parts: WithParts, who: Writer) -> Response:
    """The form of a new camera."""
    with parts.registry.reading() as session:
        groups = cameras.camera_groups(session, groups=who.camera_groups)
    return pages.page(request, "cameras/new.html", camera=BLANK, groups=groups)


@router.post("/cameras")
def create(
    request: Request,
    parts: WithParts,
    who: Writer,
    fields: Fields,
    camera_id: Annotated[str, Form(alias="id", max_length=60)],
) -> Response:
    """Add a camera."""
    camera = cameras.make_camera(**fields, id=camera_id.strip())
    check_group(who, camera)
    with parts.registry.transaction() as session:
        cameras.create_camera(session, who.actor, parts.keyring, camera)
    publish(parts)
    return pages.go_to(request, f"/cameras/{camera.id}")


@router.post("/cameras/tests")
def create_test(
    request: Request,
    parts: WithParts,
    who: Writer,
    url: Annotated[str, Form(max_length=2000)],
    transport: Annotated[Literal["tcp", "udp"], Form()] = "tcp",
    camera_id: Annotated[str, Form(max_length=64)] = "",
) -> Response:
    """Have a URL tried; what is shown then asks for the result."""
    result = begin_test(parts, who, url.strip(), transport, camera_id or None)
    return pages.page(request, "cameras/test.html", result=result, picture="")


@router.get("/cameras/tests/{test_id}")
def show_test(
    request: Request,
    parts: WithParts,
    who: Writer,  # noqa: ARG001 - the scope is asked for
    test_id: Annotated[str, Path(max_length=64)],
) -> Response:
    """What became of a test."""
    result = find_test(parts, test_id)
    return pages.page(request, "cameras/test.html", result=result, picture=base64.b64encode(result.jpeg).decode())


@router.get("/cameras/{camera_id}")
def show_camera(request: Request, parts: WithParts, who: Reader, camera_id: CameraId) -> Response:
    """One camera: its picture, how it is, and how it is set up."""
    values = _live(parts, who, camera_id)
    row: CameraRow = values["row"]
    with parts.registry.reading() as session:
        groups = cameras.camera_groups(session, groups=who.camera_groups)
    camera = {
        "id": row.id,
        "url": cameras.shown_url(row, parts.keyring),
        "name": row.name,
        "group": row.camera_group,
        "analysed_fps": row.analysed_fps,
        "transport": row.transport,
        "masks": write_masks(row.masks),
        "retention_hours": row.retention_hours,
        "matched_only": row.matched_only,
        "record": row.record,
        "record_audio": row.record_audio,
        "footage_hours": row.footage_hours,
        "footage_gb": row.footage_gb,
        "enabled": row.enabled,
        "version": row.version,
    }
    return pages.page(request, "cameras/camera.html", camera=camera, groups=groups, **values)


@router.get("/cameras/{camera_id}/live")
def show_live(request: Request, parts: WithParts, who: Reader, camera_id: CameraId) -> Response:
    """Picture and figures alone, which the script asks for every two seconds."""
    return pages.page(request, "cameras/live.html", **_live(parts, who, camera_id))


@router.get("/cameras/{camera_id}/picture")
def show_picture(parts: WithParts, who: Reader, camera_id: CameraId) -> Response:
    """The last picture."""
    return Response(picture_of(parts, who, camera_id), media_type="image/jpeg")


@router.post("/cameras/{camera_id}")
def change(
    request: Request,
    parts: WithParts,
    who: Writer,
    camera_id: CameraId,
    fields: Fields,
    version: Annotated[int, Form()],
) -> Response:
    """Change a camera."""
    with parts.registry.transaction() as session:
        row = cameras.find_camera(session, camera_id, groups=who.camera_groups, for_update=True)
        if version != row.version:
            raise StaleError("somebody changed this camera meanwhile: load the page again, then change it.")
        url = cameras.completed_url(fields["url"], row, parts.keyring)
        camera = cameras.make_camera(**{**fields, "url": url}, id=row.id)
        check_group(who, camera)
        cameras.change_camera(session, who.actor, parts.keyring, row, camera)
    publish(parts)
    return pages.go_to(request, f"/cameras/{camera_id}")


@router.post("/cameras/{camera_id}/remove")
def remove(request: Request, parts: WithParts, who: Writer, camera_id: CameraId) -> Response:
    """Remove a camera; its sightings stay."""
    with parts.registry.transaction() as session:
        row = cameras.find_camera(session, camera_id, groups=who.camera_groups, for_update=True)
        cameras.remove_camera(session, who.actor, row)
    publish(parts)
    return pages.go_to(request, "/cameras")


def parse_masks(text: str) -> list[list[list[float]]]:
    """Masks as people write them: one a line, corners `x,y` in percent of width and height, with spaces between.

    Raises:
        BadInputError: a line is no mask.
    """
    masks = []
    for number, line in enumerate(text.splitlines(), 1):
        try:
            points = [[round(float(value) / 100, 4) for value in corner.split(",")] for corner in line.split()]
        except ValueError as error:
            raise BadInputError(
                f"masks: line {number}: write corners as `x,y` in percent: `10,10 40,10 40,50`."
            ) from error
        if not points:
            continue
        if len(points) < MIN_POINTS or any(len(point) != 2 for point in points):
            raise BadInputError(f"masks: line {number}: a mask has {MIN_POINTS} corners and more, each `x,y`.")
        if not all(0 <= value <= 1 for value in itertools.chain(*points)):
            raise BadInputError(f"masks: line {number}: percents lie between 0 and 100.")
        masks.append(points)
    return masks


def write_masks(masks: list[list[list[float]]]) -> str:
    """Masks as `parse_masks` reads them."""
    return "\n".join(" ".join(f"{100 * x:.4g},{100 * y:.4g}" for x, y in polygon) for polygon in masks)


def _cards(parts: Parts, who: Identity, group: str, number: int) -> dict[str, Any]:
    with parts.registry.reading() as session:
        rows = cameras.list_cameras(
            session,
            groups=who.camera_groups,
            group=group or None,
            limit=CAMERAS_A_PAGE + 1,
            offset=(number - 1) * CAMERAS_A_PAGE,
        )
        groups = cameras.camera_groups(session, groups=who.camera_groups)
    shown = rows[:CAMERAS_A_PAGE]
    statuses = cameras.known_statuses(board_of(parts), shown)
    return {
        "cards": [_card(parts, row, statuses.get(row.id)) for row in shown],
        "groups": groups,
        "group": group,
        "page": number,
        "more": len(rows) > len(shown),
    } | _note_views(parts, who, [row.id for row in shown if row.id in statuses])


def _live(parts: Parts, who: Identity, camera_id: str) -> dict[str, Any]:
    with parts.registry.reading() as session:
        row = cameras.find_camera(session, camera_id, groups=who.camera_groups)
    card = _card(parts, row, cameras.known_statuses(board_of(parts), [row]).get(row.id))
    return card | _note_views(parts, who, [row.id] if card["picture"] else [])


def _card(parts: Parts, row: CameraRow, status: CameraStatus | None) -> dict[str, Any]:
    return {
        "row": row,
        "state": cameras.state_of(row, status, parts.keyring),
        "figures": status if row.enabled else None,
        "picture": _picture(parts, row),
        "url": cameras.shown_url(row, parts.keyring),
    }


def _picture(parts: Parts, row: CameraRow) -> CameraPicture | None:
    try:
        return board_of(parts).picture(row.id) if row.enabled else None
    except (UnavailableError, SealError):
        return None


def _note_views(parts: Parts, who: Identity, ids: list[str]) -> dict[str, Any]:
    """Write down that the user looks; what Redis does not tell is not shown either."""
    try:
        cameras.record_views(parts.registry, board_of(parts), who, ids)
    except UnavailableError as error:
        return {"fault": redact(str(error))}
    return {"fault": ""}
