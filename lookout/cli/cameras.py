"""`lookout cameras`: which streams are watched."""

from __future__ import annotations

import contextlib
import json
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
import typer
from redis import Redis
from rich.console import Console
from rich.table import Table

from lookout import cameras
from lookout.camera_settings import FILES_ONLY, FOOTAGE_GB, FOOTAGE_HOURS, RETENTION_HOURS, load_cameras, make_camera
from lookout.cli.context import cli_actor, open_registry
from lookout.clock import isoformat
from lookout.errors import CameraError, UnavailableError
from lookout.sealing import Keyring, keyring
from lookout.settings import Settings
from lookout.stores.cameras import CameraBoard, TestResult
from lookout.stores.redis import connect
from lookout.stores.registry import Registry
from lookout.stores.registry.tables import new_id

app = typer.Typer(no_args_is_help=True, help="Cameras: the streams that are watched.")

POLL_S = 0.2

Id = Annotated[str, typer.Argument(help="Short name of small letters, digits, - and _; never changed.")]
Known = Annotated[str, typer.Argument(help="The camera's id.")]
Url = Annotated[
    str,
    typer.Argument(
        help="rtsp://user:password@host/path; `-` reads it from standard input, not for all to see; "
        f"`{FILES_ONLY}` for a camera whose videos are handed in."
    ),
]
Name = Annotated[str | None, typer.Option(help="What people call it; the id if not given.")]
Group = Annotated[str | None, typer.Option(help="Cameras of a group share their alerts; the id if not given.")]
Fps = Annotated[float | None, typer.Option(help="Frames a second that are searched for faces.")]
Transport = Annotated[Literal["tcp", "udp"] | None, typer.Option(help="How RTSP carries the video.")]
MatchedOnly = Annotated[bool | None, typer.Option(help="Store nothing of people on no watchlist.")]
Retention = Annotated[
    int | None,
    typer.Option(help=f"How long sightings of people on no watchlist are kept; {RETENTION_HOURS} if not given."),
]
Record = Annotated[bool | None, typer.Option("--record/--no-record", help="Keep its video as footage.")]
Sound = Annotated[bool | None, typer.Option("--with-sound/--without-sound", help="Keep its sound with the footage.")]
FootageHours = Annotated[int | None, typer.Option(help=f"How long footage is kept; {FOOTAGE_HOURS} if not given.")]
FootageGb = Annotated[
    float | None,
    typer.Option(help=f"How much footage is kept, in GB, the newest of it; {FOOTAGE_GB:g} if not given."),
]


@dataclass(frozen=True, slots=True)
class Place:
    """What the commands work with."""

    registry: Registry
    redis: Redis
    keyring: Keyring

    @property
    def board(self) -> CameraBoard:
        """The part of Redis that is about cameras."""
        return CameraBoard(self.redis, self.keyring)

    def publish(self) -> None:
        """Tell ingest of what was just committed."""
        cameras.publish_soon(self.registry, self.redis, self.keyring)


@app.command()
def add(
    camera_id: Id,
    url: Url,
    name: Name = None,
    group: Group = None,
    fps: Fps = None,
    transport: Transport = None,
    matched_only: MatchedOnly = None,
    retention_hours: Retention = None,
    record: Record = None,
    with_sound: Sound = None,
    footage_hours: FootageHours = None,
    footage_gb: FootageGb = None,
) -> None:
    """Add a camera; it is watched within seconds."""
    fields = _given(name=name, group=group, analysed_fps=fps, transport=transport)
    fields |= _given(matched_only=matched_only, retention_hours=retention_hours)
    fields |= _given(record=record, record_audio=with_sound, footage_hours=footage_hours, footage_gb=footage_gb)
    camera = make_camera(id=camera_id, url=sys.stdin.readline().strip() if url == "-" else url, **fields)
    with _open() as place:
        with place.registry.transaction() as session:
            cameras.create_camera(session, cli_actor(), place.keyring, camera)
        place.publish()
    if camera.has_stream:
        advice = f"`lookout cameras test {camera_id}` tells whether it can be seen"
    else:
        advice = f"`lookout index VIDEO --camera {camera_id}` hands it videos"
    Console().print(f"camera {camera_id} added; {advice}")


@app.command("import")
def import_file(
    file: Annotated[Path, typer.Argument(help="TOML with one [[camera]] block a stream; see docs/cameras.md.")],
) -> None:
    """Add the cameras of a file, and change those that are there already. None is removed."""
    found = load_cameras(file)
    with _open() as place:
        counts = cameras.import_cameras(place.registry, place.keyring, cli_actor(), found)
        place.publish()
    Console().print(f"{counts.added} cameras added, {counts.changed} changed, {counts.unchanged} as they were")


@app.command("list")
def list_cameras(as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False) -> None:
    """Show all cameras and how they are."""
    with _open() as place:
        with place.registry.reading() as session:
            rows = cameras.list_cameras(session)
        statuses = cameras.known_statuses(place.board, rows)
        shown: list[dict[str, Any]] = [
            {
                "id": row.id,
                "name": row.name,
                "url": cameras.shown_url(row, place.keyring),
                "group": row.camera_group,
                "analysed_fps": row.analysed_fps,
                "transport": row.transport,
                "masks": len(row.masks),
                "retention_hours": row.retention_hours,
                "matched_only": row.matched_only,
                "record": row.record,
                "record_audio": row.record_audio,
                "footage_hours": row.footage_hours,
                "footage_gb": row.footage_gb,
                "state": cameras.state_of(row, status := statuses.get(row.id), place.keyring),
                "since": None if status is None else isoformat(status.since_us),
                "message": "" if status is None else status.message,
                "frames_per_s": 0.0 if status is None else status.frames_per_s,
                "recording": "off" if status is None else status.recording,
                "recording_message": "" if status is None else status.recording_message,
            }
            for row in rows
        ]
    if as_json:
        typer.echo(json.dumps(shown, indent=2))
        return
    table = Table("id", "name", "group", "state", "frames/s", "footage", "URL")
    for one in shown:
        fault = f": {one['message']}" if one["message"] and one["state"] != "live" else ""
        rate = f"{one['frames_per_s']:.1f}" if one["state"] == "live" else ""
        footage = f"{one['recording']}: {one['recording_message']}".removesuffix(": ") if one["record"] else ""
        table.add_row(one["id"], one["name"], one["group"], f"{one['state']}{fault}", rate, footage, one["url"])
    Console().print(table if shown else "no cameras yet; add one with `lookout cameras add ID URL`")


@app.command()
def change(
    camera_id: Known,
    url: Annotated[str | None, typer.Option(help="Its address, with user and password.")] = None,
    name: Name = None,
    group: Group = None,
    fps: Fps = None,
    transport: Transport = None,
    matched_only: MatchedOnly = None,
    retention_hours: Retention = None,
    record: Record = None,
    with_sound: Sound = None,
    footage_hours: FootageHours = None,
    footage_gb: FootageGb = None,
    enabled: Annotated[bool | None, typer.Option("--enable/--disable", help="Watch it, or not.")] = None,
) -> None:
    """Change what is given of a camera; the rest stays."""
    fields = _given(url=url, name=name, group=group, analysed_fps=fps, transport=transport)
    fields |= _given(matched_only=matched_only, retention_hours=retention_hours, enabled=enabled)
    fields |= _given(record=record, record_audio=with_sound, footage_hours=footage_hours, footage_gb=footage_gb)
    with _open() as place:
        with place.registry.transaction() as session:
            row = cameras.find_camera(session, camera_id, for_update=True)
            before = msgspec.structs.asdict(cameras.camera_of(row, place.keyring))
            camera = make_camera(**{**before, **fields})
            changed = cameras.change_camera(session, cli_actor(), place.keyring, row, camera)
        place.publish()
    Console().print(f"camera {camera_id}: {', '.join(changed) or 'nothing'} changed")


@app.command()
def remove(camera_id: Known) -> None:
    """Watch a camera no more. Its sightings and alerts stay."""
    with _open() as place:
        with place.registry.transaction() as session:
            row = cameras.find_camera(session, camera_id, for_update=True)
            cameras.remove_camera(session, cli_actor(), row)
        place.publish()
    Console().print(f"camera {camera_id} removed; what it saw is kept as long as it was to be")


@app.command("test")
def try_camera(
    what: Annotated[str, typer.Argument(help="A URL, or the id of a camera.")],
    transport: Annotated[Literal["tcp", "udp"], typer.Option(help="How RTSP carries the video of a URL.")] = "tcp",
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Have an ingest process try a URL or a camera, and say what is wrong. Exit code 0 only if it sends video."""
    with _open() as place:
        if "://" in what or what.startswith("file:"):
            camera = make_camera(id="test", url=what, transport=transport)
        else:
            with place.registry.reading() as session:
                camera = cameras.camera_of(cameras.find_camera(session, what), place.keyring)
        result = _wait(place.board, place.board.ask_test(new_id(), camera))
    if as_json:
        fields = msgspec.structs.asdict(result)
        typer.echo(json.dumps({name: fields[name] for name in fields if name not in ("id", "asked_at_us", "jpeg")}))
        raise typer.Exit(0 if result.state == "ok" else 1)
    if result.state != "ok":
        raise CameraError(result.message, reason=result.reason)
    Console().print(f"it works: {result.width} x {result.height} pixels, {result.codec}, {result.fps} frames a second")


def _wait(board: CameraBoard, result: TestResult) -> TestResult:
    """The result of a test; it is final after a while, whatever happens."""
    while result.state == "waiting":
        time.sleep(POLL_S)
        found = board.test_result(result.id)
        if found is None:
            raise UnavailableError("Redis has lost the test: try again.")
        result = found
    return result


def _given(**fields: Any) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if value is not None}


@contextlib.contextmanager
def _open() -> Iterator[Place]:
    settings = Settings()
    with open_registry(settings) as registry, contextlib.closing(connect(settings)) as redis:
        yield Place(registry, redis, keyring(settings))
