"""The page of videos that are handed in."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from fastapi.responses import Response
from sqlalchemy.orm import Session

from lookout import videos
from lookout.accounts.rights import Identity
from lookout.cameras import list_cameras
from lookout.stores.registry.tables import Video
from search.api.paging import Cursor
from search.api.videos import CameraName, FileName, Fps, Id, Start, Who, WithParts, as_videos, read_videos
from search.parts import Parts
from search.videos import receive
from search.web import pages

router = APIRouter(include_in_schema=False)
ROWS = 50
Same = Annotated[str | None, Query(max_length=64, pattern=r"^[\w-]+$")]


@router.get("/videos")
def show_all(request: Request, parts: WithParts, who: Who, cursor: Cursor = None, same: Same = None) -> Response:
    """The videos, and a form to hand one in; `same` is the one that was handed in before."""
    with parts.registry.reading() as session:
        values = _list(session, parts, who, cursor)
        values["same"] = videos.get_video(session, who, same) if same else None
        cameras = list_cameras(session, groups=who.camera_groups)
    return pages.page(request, "videos/page.html", cameras=cameras, may_add=videos.may_add_cameras(who), **values)


@router.get("/videos/list")
def show_list(request: Request, parts: WithParts, who: Who, cursor: Cursor = None) -> Response:
    """How far they are, for htmx."""
    with parts.registry.reading() as session:
        values = _list(session, parts, who, cursor)
    return pages.page(request, "videos/list.html", **values)


@router.post("/videos")
async def hand_in(
    request: Request, parts: WithParts, who: Who, camera: CameraName, start: Start, fps: Fps = 5.0,
    file_name: FileName = "",
) -> Response:  # fmt: skip
    """Take a video, which is the body."""
    video, new = await receive(request, parts, who, camera=camera, start=start, fps=fps, name=file_name)
    return pages.go_to(request, "/videos" if new else f"/videos?same={video.id}")


@router.post("/videos/{video_id}/cancel")
def cancel(request: Request, parts: WithParts, who: Who, video_id: Id) -> Response:
    """End a video that waits or is worked on."""
    with parts.registry.transaction() as session:
        videos.cancel(session, who.actor, videos.get_video(session, who, video_id, lock=True))
    return pages.go_to(request, "/videos")


def _list(session: Session, parts: Parts, who: Identity, cursor: str | None) -> dict[str, Any]:
    found, following = read_videos(session, who, limit=ROWS, cursor=cursor)
    shown = list(zip(found, as_videos(session, parts, found), strict=True))
    return {"found": shown, "next": following, "cursor": cursor, "lively": any(_lives(one) for one in found)}


def _lives(video: Video) -> bool:
    return video.state in videos.UNFINISHED
