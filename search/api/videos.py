"""Videos that are handed in to be searched for faces."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from http import HTTPStatus
from typing import Annotated, Any, Literal

from fastapi import Depends, Path, Query, Request, Response
from pydantic import BaseModel, Field
from sqlalchemy import select
from sqlalchemy.orm import Session
from starlette.concurrency import run_in_threadpool

from lookout import videos
from lookout.accounts.rights import Identity
from lookout.clock import isoformat
from lookout.stores.registry.tables import Video
from search.api import api_router, paging
from search.parts import Parts, parts_of
from search.security import Allowed
from search.videos import receive

router = api_router(tag="videos")
WithParts = Annotated[Parts, Depends(parts_of)]
Who = Annotated[Identity, Depends(Allowed("videos:write"))]
Id = Annotated[str, Path(max_length=64, pattern=r"^[\w-]+$")]
State = Literal["waiting", "running", "done", "failed", "cancelled"]
_LINE = r"^[^\x00-\x1f\x7f]*$"
CameraName = Annotated[
    str,
    Query(
        min_length=1, max_length=100, pattern=_LINE,
        description="id or name of the camera that recorded it; a new name adds a camera, with the right to",
    ),
]  # fmt: skip
Start = Annotated[datetime, Query(description="when it begins, RFC 3339; without a zone it is UTC")]
Fps = Annotated[float, Query(ge=videos.MIN_FPS, le=videos.MAX_FPS, description="frames a second to search")]
FileName = Annotated[str, Query(max_length=200, pattern=_LINE, description="name of the file")]
NOT_FOUND: dict[int | str, dict[str, Any]] = {404: {"description": "There is none, or no right to its camera."}}
ENDED: dict[int | str, dict[str, Any]] = {409: {"description": "It has ended already."}}
_BODY = {
    "requestBody": {
        "required": True,
        "description": f"the file, at most {videos.MAX_BYTES / 1e9:.0f} GB",
        "content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}},
    }
}


class VideoOut(BaseModel):
    """A video, and how far it is."""

    id: str
    camera: str
    file_name: str
    sha256: str
    size: int = Field(description="bytes")
    state: State
    error: str | None = Field(description="why it failed")
    started_at: str = Field(description="when its first frame was taken; RFC 3339, UTC, as are all times")
    duration_s: float = Field(description="0 until it was looked at, as are width, height, and codec")
    width: int
    height: int
    codec: str
    fps: float = Field(description="frames a second that are searched")
    progress: float = Field(description="share of it that is done, 0..1")
    rate: float | None = Field(description="how many times faster than real time it is worked on now")
    left_s: float | None = Field(description="how long it takes still")
    crops: int = Field(description="pictures of faces")
    sightings: int
    alerts: int
    broken_frames: int = Field(description="that could not be decoded")
    broken_at_s: list[float] = Field(description="where the first of them are, seconds from the start")
    created_by: str
    created_at: str
    finished_at: str | None


class VideoPage(BaseModel):
    """Videos, the newest first."""

    items: list[VideoOut]
    next: str | None = Field(description="`cursor` of the next page; null on the last one")


@router.get("/videos", response_model=VideoPage)
def list_videos(
    parts: WithParts,
    who: Who,
    state: Annotated[State | None, Query(description="only these")] = None,
    limit: paging.Limit = 50,
    cursor: paging.Cursor = None,
) -> dict[str, Any]:
    """Videos of the cameras you may see."""
    with parts.registry.reading() as session:
        found, following = read_videos(session, who, state=state, limit=limit, cursor=cursor)
        return {"items": as_videos(session, parts, found), "next": following}


@router.post(
    "/videos",
    status_code=HTTPStatus.CREATED,
    response_model=VideoOut,
    responses={
        **NOT_FOUND,
        200: {"model": VideoOut, "description": "The same file of that camera and time is there already: this one."},
        409: {"description": "The new camera's id is taken."},
        413: {"description": "It is too large."},
        503: {"description": "The disk is full."},
    },
    openapi_extra=_BODY,
)
async def create_video(
    request: Request,
    response: Response,
    parts: WithParts,
    who: Who,
    camera: CameraName,
    start: Start,
    fps: Fps = 5.0,
    file_name: FileName = "",
) -> dict[str, Any]:
    """Send a file as the body; it is searched for faces while you go on. Sent again, it changes nothing."""
    video, new = await receive(request, parts, who, camera=camera, start=start, fps=fps, name=file_name)
    if not new:
        response.status_code = HTTPStatus.OK
    return await run_in_threadpool(_shown, parts, video)


@router.get("/videos/{video_id}", response_model=VideoOut, responses=NOT_FOUND)
def get_video(parts: WithParts, who: Who, video_id: Id) -> dict[str, Any]:
    """A video, and how far it is."""
    with parts.registry.reading() as session:
        (shown,) = as_videos(session, parts, [videos.get_video(session, who, video_id)])
    return shown


@router.post("/videos/{video_id}/cancellation", response_model=VideoOut, responses=NOT_FOUND | ENDED)
def cancel_video(parts: WithParts, who: Who, video_id: Id) -> dict[str, Any]:
    """End a video that waits or is worked on. What was found stays; sent again, it goes on where it was."""
    with parts.registry.transaction() as session:
        video = videos.get_video(session, who, video_id, lock=True)
        videos.cancel(session, who.actor, video)
        (shown,) = as_videos(session, parts, [video])
    return shown


def read_videos(
    session: Session, who: Identity, *, state: str | None = None, limit: int, cursor: str | None = None
) -> tuple[Sequence[Video], str | None]:
    """A page of videos, the newest first, and the cursor of the next one, None after the last.

    Raises:
        BadInputError: the cursor is none.
    """
    after = paging.older_than(cursor, Video.created_at_us, Video.id)
    query = select(Video).where(*videos.visible(who), *([] if after is None else [after]))
    if state is not None:
        query = query.where(Video.state == state)
    found = session.scalars(query.order_by(Video.created_at_us.desc(), Video.id.desc()).limit(limit + 1)).all()
    if len(found) <= limit:
        return found, None
    last = found[limit - 1]
    return found[:limit], paging.cursor(last.created_at_us, last.id)


def as_videos(session: Session, parts: Parts, found: Sequence[Video]) -> list[dict[str, Any]]:
    """Videos as JSON."""
    counted = videos.counts(session, [one.id for one in found])
    paces = videos.paces(parts.redis, [one.id for one in found if one.state == "running"])
    return [_as_video(one, counted[one.id], paces.get(one.id)) for one in found]


def _as_video(video: Video, counted: videos.Counts, pace: videos.Pace | None) -> dict[str, Any]:
    done = len(video.parts_done) / video.parts if video.parts else 0.0
    return {
        "id": video.id,
        "camera": video.camera_id,
        "file_name": video.file_name,
        "sha256": video.sha256,
        "size": video.size,
        "state": video.state,
        "error": video.error or None,
        "started_at": isoformat(video.started_at_us),
        "duration_s": round(video.duration_us / 1e6, 3),
        "width": video.width,
        "height": video.height,
        "codec": video.codec,
        "fps": video.analysed_fps,
        "progress": round(1.0 if video.state == "done" else done if pace is None else pace.share, 4),
        "rate": None if pace is None else round(pace.rate, 2),
        "left_s": None if pace is None else pace.left_s,
        "crops": video.crops,
        "sightings": counted.sightings,
        "alerts": counted.alerts,
        "broken_frames": video.broken_frames,
        "broken_at_s": video.broken_at_s,
        "created_by": video.created_by,
        "created_at": isoformat(video.created_at_us),
        "finished_at": None if video.finished_at_us is None else isoformat(video.finished_at_us),
    }


def _shown(parts: Parts, video: Video) -> dict[str, Any]:
    with parts.registry.reading() as session:
        (shown,) = as_videos(session, parts, [session.get_one(Video, video.id)])
    return shown
