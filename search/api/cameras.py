"""Cameras over the API. A camera's URL goes in with its password, and never comes out with it."""

from __future__ import annotations

from http import HTTPStatus
from typing import Annotated, Any

from fastapi import Depends, Path, Query, Request, Response
from sqlalchemy import select
from sqlalchemy.orm import Session

from lookout import cameras
from lookout.accounts.rights import Identity
from lookout.stores.registry.tables import CameraRow
from search.api import api_router
from search.api.camera_shapes import (
    LINE,
    CameraChange,
    CameraOut,
    CameraPage,
    NewCamera,
    NewTest,
    StatusOut,
    TestOut,
    camera_out,
    status_out,
    test_out,
)
from search.api.once import Key, fingerprint, once
from search.api.paging import Cursor, Limit, cursor, older_than, page
from search.api.versions import IfMatch, check_version, set_etag
from search.cameras import begin_test, board_of, check_group, find_test, picture_of, publish
from search.parts import Parts, parts_of
from search.security import Allowed

router = api_router(tag="cameras")

WithParts = Annotated[Parts, Depends(parts_of)]
Reader = Annotated[Identity, Depends(Allowed("cameras:read"))]
Writer = Annotated[Identity, Depends(Allowed("cameras:write"))]
CameraId = Annotated[str, Path(max_length=64, description="the camera's id")]

_PROBLEM: dict[str, Any] = {"content": {"application/problem+json": {}}}


def _problems(*statuses: HTTPStatus) -> dict[int | str, dict[str, Any]]:
    return {status.value: {"description": status.phrase, **_PROBLEM} for status in statuses}


NOT_FOUND = _problems(HTTPStatus.NOT_FOUND)
JPEG: dict[int | str, dict[str, Any]] = {
    200: {"content": {"image/jpeg": {"schema": {"type": "string", "format": "binary"}}}},
    **NOT_FOUND,
}


@router.get("/cameras", responses=_problems(HTTPStatus.UNPROCESSABLE_ENTITY))
def list_cameras(
    parts: WithParts,
    who: Reader,
    limit: Limit = 100,
    after: Annotated[Cursor, Query(alias="cursor")] = None,
    group: Annotated[str | None, Query(max_length=60, pattern=LINE, description="only of this group")] = None,
) -> CameraPage:
    """All cameras of the groups that you may see."""
    query = select(CameraRow).order_by(CameraRow.created_at_us.desc(), CameraRow.id.desc()).limit(limit + 1)
    if who.camera_groups is not None:
        query = query.where(CameraRow.camera_group.in_(who.camera_groups))
    if group is not None:
        query = query.where(CameraRow.camera_group == group)
    older = older_than(after, CameraRow.created_at_us, CameraRow.id)
    if older is not None:
        query = query.where(older)
    with parts.registry.reading() as session:
        rows = session.scalars(query).all()
    statuses = cameras.known_statuses(board_of(parts), rows[:limit])
    last = rows[min(limit, len(rows)) - 1] if rows else None
    next_cursor = None if last is None else cursor(last.created_at_us, last.id)
    items = [camera_out(row, statuses.get(row.id), parts.keyring) for row in rows]
    return CameraPage.model_validate(page(items, limit, next_cursor))


@router.post(
    "/cameras",
    status_code=HTTPStatus.CREATED,
    response_model=CameraOut,
    responses=_problems(HTTPStatus.FORBIDDEN, HTTPStatus.CONFLICT, HTTPStatus.UNPROCESSABLE_ENTITY),
)
def create_camera(request: Request, parts: WithParts, who: Writer, new: NewCamera, key: Key = None) -> Response:
    """Add a camera; ingest watches it within seconds."""
    camera = cameras.make_camera(**new.model_dump())
    check_group(who, camera)

    def make(session: Session) -> dict[str, Any]:
        row = cameras.create_camera(session, who.actor, parts.keyring, camera)
        return camera_out(row, None, parts.keyring).model_dump()

    answer = once(parts.registry, who, key, fingerprint(request, new.model_dump_json().encode()), make)
    publish(parts)
    return answer


@router.post("/cameras/tests", status_code=HTTPStatus.ACCEPTED, responses=NOT_FOUND)
def create_test(parts: WithParts, who: Writer, new: NewTest) -> TestOut:
    """Have an ingest process try a URL. Ask for the result until its state is no longer `waiting`."""
    return test_out(begin_test(parts, who, new.url, new.transport, new.camera_id))


@router.get("/cameras/tests/{test_id}", responses=NOT_FOUND)
def get_test(
    parts: WithParts,
    who: Writer,  # noqa: ARG001 - the scope is asked for
    test_id: Annotated[str, Path(max_length=64)],
) -> TestOut:
    """What became of a test. It is kept for three minutes."""
    return test_out(find_test(parts, test_id))


@router.get("/cameras/{camera_id}", responses=NOT_FOUND)
def get_camera(parts: WithParts, who: Reader, response: Response, camera_id: CameraId) -> CameraOut:
    """A camera."""
    with parts.registry.reading() as session:
        row = cameras.find_camera(session, camera_id, groups=who.camera_groups)
    set_etag(response, row.version)
    return camera_out(row, cameras.known_statuses(board_of(parts), [row]).get(row.id), parts.keyring)


@router.put(
    "/cameras/{camera_id}",
    responses=_problems(
        HTTPStatus.FORBIDDEN,
        HTTPStatus.NOT_FOUND,
        HTTPStatus.PRECONDITION_FAILED,
        HTTPStatus.UNPROCESSABLE_ENTITY,
    ),
)
def change_camera(
    parts: WithParts,
    who: Writer,
    response: Response,
    camera_id: CameraId,
    change: CameraChange,
    if_match: IfMatch = None,
) -> CameraOut:
    """Make a camera what is sent; what is left out becomes what a new camera has. It is live within seconds."""
    with parts.registry.transaction() as session:
        row = cameras.find_camera(session, camera_id, groups=who.camera_groups, for_update=True)
        check_version(if_match, row.version)
        url = cameras.completed_url(change.url, row, parts.keyring)
        camera = cameras.make_camera(**{**change.model_dump(), "url": url, "id": row.id})
        check_group(who, camera)
        cameras.change_camera(session, who.actor, parts.keyring, row, camera)
    publish(parts)
    set_etag(response, row.version)
    return camera_out(row, cameras.known_statuses(board_of(parts), [row]).get(row.id), parts.keyring)


@router.delete("/cameras/{camera_id}", status_code=HTTPStatus.NO_CONTENT, responses=NOT_FOUND)
def remove_camera(parts: WithParts, who: Writer, camera_id: CameraId) -> None:
    """Watch a camera no more. Its sightings and alerts stay."""
    with parts.registry.transaction() as session:
        row = cameras.find_camera(session, camera_id, groups=who.camera_groups, for_update=True)
        cameras.remove_camera(session, who.actor, row)
    publish(parts)


@router.get("/cameras/{camera_id}/status", responses=NOT_FOUND)
def get_status(parts: WithParts, who: Reader, camera_id: CameraId) -> StatusOut:
    """How a camera is; a second old at most."""
    with parts.registry.reading() as session:
        row = cameras.find_camera(session, camera_id, groups=who.camera_groups)
    return status_out(row, cameras.known_statuses(board_of(parts), [row]).get(row.id), parts.keyring)


@router.get("/cameras/{camera_id}/picture", response_class=Response, responses=JPEG)
def get_picture(parts: WithParts, who: Reader, camera_id: CameraId) -> Response:
    """The last frame that was searched for faces, reduced, with its masks filled. It is written down who looks."""
    return Response(picture_of(parts, who, camera_id), media_type="image/jpeg")
