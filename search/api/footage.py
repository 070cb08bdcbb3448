"""Recorded footage: which piece shows a moment, and the piece itself, any part of which can be asked for."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import Depends, Path, Query, Request
from fastapi.responses import FileResponse
from pydantic import AwareDatetime, BaseModel, Field

from lookout.accounts.rights import Identity
from lookout.clock import isoformat
from lookout.footage.folder import FootageFolder
from lookout.footage.lanes import Lane, lanes
from lookout.footage.playing import Moment, get_segment, moment_after, moment_at, moment_of, record_play
from search.api import api_router
from search.parts import Parts, parts_of
from search.security import Allowed

router = api_router(tag="footage")
WithParts = Annotated[Parts, Depends(parts_of)]
Reader = Annotated[Identity, Depends(Allowed("footage:read"))]
Id = Annotated[str, Path(max_length=64, pattern=r"^[\w-]+$")]
CameraId = Annotated[str, Query(max_length=60, pattern=r"^[\w-]+$", description="the camera's id")]
GONE: dict[int | str, dict[str, Any]] = {404: {"description": "The footage is gone, or there is no right to it."}}
FILE: dict[int | str, dict[str, Any]] = {
    200: {"description": "All of it.", "content": {"video/mp4": {}}},
    206: {"description": "The parts that `Range` asked for.", "content": {"video/mp4": {}}},
    400: {"description": "`Range` cannot be read.", "content": {"text/plain": {}}},
    416: {"description": "`Range` lies outside of it.", "content": {"text/plain": {}}},
    **GONE,
}


class BoxOut(BaseModel):
    """Where the face is at a moment."""

    at_s: float = Field(description="seconds from the start of the segment; it may lie outside of it")
    box: tuple[float, float, float, float] = Field(description="left, top, right, bottom in pixels of the frame")


class FootageOut(BaseModel):
    """A piece of footage, and where to begin in it."""

    segment: str
    url: str = Field(description="path of the file; it takes `Range`")
    offset_s: float = Field(ge=0, description="where the moment is, in seconds from the start of the segment")
    codec: str = Field(description="of its video, as FFmpeg calls it: `h264`, `hevc`, …")
    camera: str = Field(description="its id")
    camera_name: str
    started_at: str = Field(description="when its first frame was taken")
    ended_at: str
    video: str | None = Field(description="id of the handed-in video it is a piece of; null: recorded live")
    boxes: list[BoxOut] = Field(description="the face of the sighting at the times of its crops")
    masks: list[list[tuple[float, float]]] = Field(
        description="the camera's privacy masks: polygons, points as shares of the frame's width and height. The file "
        "itself is as it was recorded; whoever shows it covers them"
    )


class SpanOut(BaseModel):
    """Footage without a gap."""

    started_at: str
    ended_at: str
    codec: str
    video: str | None = Field(description="id of the handed-in video; null: recorded live")
    video_name: str | None


class LaneOut(BaseModel):
    """What a camera recorded, in time order."""

    camera: str
    camera_name: str
    spans: list[SpanOut]


class LanesOut(BaseModel):
    """What the cameras recorded, by their names."""

    lanes: list[LaneOut]


@router.get("/footage", responses=GONE)
def find_moment(
    parts: WithParts,
    who: Reader,
    camera: CameraId,
    at: Annotated[AwareDatetime, Query(description="when; RFC 3339")],
    video: Annotated[
        str | None, Query(max_length=64, pattern=r"^[\w-]+$", description="id of a handed-in video; else: live")
    ] = None,
) -> FootageOut:
    """The footage of a camera at a moment, or the next that there is after it."""
    with parts.registry.reading() as session:
        return as_footage(moment_at(session, folder_of(parts), who, camera, _us(at), video))


@router.get("/footage/lanes", responses={422: {"description": "The span is reversed, or longer than eight days."}})
def list_lanes(
    parts: WithParts,
    who: Reader,
    since: Annotated[AwareDatetime, Query(description="from then on; RFC 3339")],
    until: Annotated[AwareDatetime, Query(description="until then, at most eight days later; RFC 3339")],
    camera: Annotated[str | None, Query(max_length=60, pattern=r"^[\w-]+$", description="only of this camera")] = None,
) -> LanesOut:
    """What was recorded within a span of time."""
    with parts.registry.reading() as session:
        found = lanes(session, who, _us(since), _us(until), camera)
    return LanesOut(lanes=[_as_lane(lane) for lane in found])


@router.get("/footage/{segment_id}", response_class=FileResponse, responses=FILE)
@router.head("/footage/{segment_id}", response_class=FileResponse, responses=FILE)
def get_file(request: Request, parts: WithParts, who: Reader, segment_id: Id) -> FileResponse:
    """A piece of footage, or the parts of it that are asked for. It is written down who plays it."""
    with parts.registry.reading() as session:
        segment = get_segment(session, who, segment_id)
    path = folder_of(parts).path(segment.name)
    if request.method == "GET":
        record_play(parts.registry, parts.redis, who, segment)
    return FileResponse(path, media_type="video/mp4", headers={"Cache-Control": "private, no-store"})


@router.get("/footage/{segment_id}/next", responses=GONE)
def get_next(parts: WithParts, who: Reader, segment_id: Id) -> FootageOut:
    """The piece that follows on one, of the same camera or video."""
    with parts.registry.reading() as session:
        return as_footage(moment_after(session, folder_of(parts), who, segment_id))


@router.get("/sightings/{sighting_id}/footage", responses=GONE)
def get_footage_of_sighting(parts: WithParts, who: Reader, sighting_id: Id) -> FootageOut:
    """The footage of a sighting, at its best crop."""
    with parts.registry.reading() as session:
        return as_footage(moment_of(session, folder_of(parts), who, sighting_id))


def folder_of(parts: Parts) -> FootageFolder:
    """Where the footage lies."""
    return FootageFolder(parts.settings.footage_folder)


def as_footage(moment: Moment) -> FootageOut:
    """A piece of footage for a player."""
    segment = moment.segment
    boxes = [
        BoxOut(at_s=round((mark.at_us - segment.started_at_us) / 1e6, 3), box=mark.box_xyxy) for mark in moment.marks
    ]
    return FootageOut(
        segment=segment.id,
        url=f"/api/v1/footage/{segment.id}",
        offset_s=round(moment.offset_s, 3),
        codec=segment.codec,
        camera=segment.camera_id,
        camera_name=moment.camera_name,
        started_at=isoformat(segment.started_at_us),
        ended_at=isoformat(segment.ended_at_us),
        video=segment.video_id,
        boxes=boxes,
        masks=[[(point[0], point[1]) for point in polygon] for polygon in moment.masks],
    )


def _as_lane(lane: Lane) -> LaneOut:
    spans = [
        SpanOut(
            started_at=isoformat(span.started_at_us),
            ended_at=isoformat(span.ended_at_us),
            codec=span.codec,
            video=span.video_id,
            video_name=span.video_name,
        )
        for span in lane.spans
    ]
    return LaneOut(camera=lane.camera_id, camera_name=lane.camera_name, spans=spans)


def _us(at: AwareDatetime) -> int:
    return round(at.timestamp() * 1e6)
