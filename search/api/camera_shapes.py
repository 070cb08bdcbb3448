"""What cameras look like over the API."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from lookout import cameras
from lookout.camera_settings import (
    FOOTAGE_GB,
    FOOTAGE_HOURS,
    MAX_MASKS,
    MAX_POINTS,
    MIN_POINTS,
    RETENTION_HOURS,
)
from lookout.clock import isoformat
from lookout.sealing import Keyring
from lookout.stores.cameras import CameraStatus, TestResult
from lookout.stores.registry.tables import CameraRow

LINE = r"^[^\x00-\x1f\x7f]*$"
Share = Annotated[float, Field(ge=0, le=1)]
Point = Annotated[list[Share], Field(min_length=2, max_length=2)]
Polygon = Annotated[list[Point], Field(min_length=MIN_POINTS, max_length=MAX_POINTS)]
Transport = Literal["tcp", "udp"]
State = Literal["connecting", "live", "stalled", "offline", "waiting", "files", "disabled"]
Recording = Literal["off", "recording", "unsupported", "disk_full", "failed"]


class CameraChange(BaseModel):
    """A camera as it shall be."""

    model_config = ConfigDict(extra="forbid")

    url: str = Field(
        min_length=1,
        max_length=2000,
        pattern=LINE,
        description="`rtsp://user:password@host/path`. Sent back as it is shown, without the password, the stored one "
        "is kept; with another scheme, host, port or path it must be given again. `files:` for a camera without a "
        "stream, whose videos are handed in",
    )
    name: str = Field("", max_length=100, pattern=LINE, description="what people call it; the id if empty")
    group: str = Field("", max_length=60, pattern=LINE, description="cameras of a group share alerts; the id if empty")
    analysed_fps: float = Field(5.0, ge=0.1, le=30, description="frames a second that are searched for faces")
    transport: Transport = Field("tcp", description="how RTSP carries the video")
    masks: list[Polygon] = Field(
        default_factory=list,
        max_length=MAX_MASKS,
        description="polygons whose inside is never looked at: points `[x, y]` as shares of width and height",
    )
    retention_hours: int = Field(
        RETENTION_HOURS, ge=1, le=8760, description="how long sightings of people on no watchlist are kept"
    )
    matched_only: bool = Field(False, description="store nothing of people on no watchlist; not together with `record`")
    record: bool = Field(False, description="keep its video as footage: H.264 or H.265, as it comes")
    record_audio: bool = Field(False, description="keep its sound with it")
    footage_hours: int = Field(FOOTAGE_HOURS, ge=1, le=8760, description="how long footage is kept")
    footage_gb: float = Field(
        FOOTAGE_GB, ge=0.01, le=1_000_000, description="how much footage is kept, in 10^9 bytes; the oldest goes first"
    )
    enabled: bool = Field(True, description="watch it")


class NewCamera(CameraChange):
    """A camera to be added."""

    id: str = Field(
        min_length=1, max_length=60, pattern=r"^[a-z0-9][a-z0-9_-]*$", description="short name, never changed"
    )


class StatusOut(BaseModel):
    """How a camera is."""

    state: State = Field(
        description="`waiting`: no ingest process tells of it; `files`: it has no stream, its videos are handed in"
    )
    since: str | None = Field(None, description="since when")
    reason: str = Field("", description="why the last connection failed, in one word")
    message: str = Field("", description="the same in a sentence that says what helps")
    frames_per_s: float = 0.0
    analysed_per_s: float = Field(0.0, description="frames searched for faces")
    faces_per_min: float = Field(0.0, description="faces found; those of one person count in each frame")
    width: int = Field(0, description="of its picture, pixels")
    height: int = Field(0, description="of its picture, pixels")
    codec: str = ""
    clock_offset_ms: int = Field(0, description="how far its clock is behind the arrival of its frames")
    process: str = Field("", description="the ingest process that watches it")
    recording: Recording = Field("off", description="how its footage fares; `unsupported`: its codec is")
    recording_message: str = Field("", description="what is wrong with the recording, and what helps")


class CameraOut(BaseModel):
    """A camera."""

    id: str
    name: str
    url: str = Field(description="without user and password")
    group: str
    analysed_fps: float
    transport: Transport
    masks: list[list[list[float]]]
    retention_hours: int
    matched_only: bool
    record: bool
    record_audio: bool
    footage_hours: int
    footage_gb: float
    enabled: bool
    version: int
    created_at: str
    status: StatusOut


class CameraPage(BaseModel):
    """Some cameras, the newest first."""

    items: list[CameraOut]
    next: str | None


class NewTest(BaseModel):
    """A URL to be tried."""

    model_config = ConfigDict(extra="forbid")

    url: str = Field(min_length=1, max_length=2000, pattern=LINE)
    transport: Transport = "tcp"
    camera_id: str | None = Field(
        None, max_length=64, description="the camera that has this URL: its password and masks are used"
    )


class TestOut(BaseModel):
    """What became of a test."""

    id: str
    state: Literal["waiting", "ok", "failed"]
    reason: str = Field(description="why it failed, in one word: `refused`, `not_found`, `unauthorised`, `timeout`, …")
    message: str = Field(description="the same in a sentence that says what helps")
    width: int
    height: int
    codec: str
    fps: float = Field(description="frames a second")


def camera_out(row: CameraRow, status: CameraStatus | None, keyring: Keyring) -> CameraOut:
    """A camera and how it is."""
    return CameraOut(
        id=row.id,
        name=row.name,
        url=cameras.shown_url(row, keyring),
        group=row.camera_group,
        analysed_fps=row.analysed_fps,
        transport="udp" if row.transport == "udp" else "tcp",
        masks=row.masks,
        retention_hours=row.retention_hours,
        matched_only=row.matched_only,
        record=row.record,
        record_audio=row.record_audio,
        footage_hours=row.footage_hours,
        footage_gb=row.footage_gb,
        enabled=row.enabled,
        version=row.version,
        created_at=isoformat(row.created_at_us),
        status=status_out(row, status, keyring),
    )


def status_out(row: CameraRow, status: CameraStatus | None, keyring: Keyring) -> StatusOut:
    """How a camera is."""
    fields: dict[str, Any] = {}
    if status is not None and row.enabled:
        fields = {name: getattr(status, name) for name in StatusOut.model_fields if name not in ("state", "since")}
        fields["since"] = isoformat(status.since_us)
    return StatusOut.model_validate({"state": cameras.state_of(row, status, keyring), **fields})


def test_out(result: TestResult) -> TestOut:
    """What became of a test."""
    return TestOut.model_validate({name: getattr(result, name) for name in TestOut.model_fields})
