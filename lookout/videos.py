"""Videos that people hand in: their records, from being taken to being searched, whoever brings them."""

from __future__ import annotations

import contextlib
import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from redis import Redis
from sqlalchemy import ColumnElement, func, select
from sqlalchemy.orm import Session

from lookout import audit
from lookout.accounts.rights import Identity
from lookout.audit import Actor
from lookout.camera_settings import FILES_ONLY, make_camera
from lookout.cameras import create_camera
from lookout.clock import isoformat, now_us, to_datetime
from lookout.errors import BadInputError, ConflictError, NotFoundError, UnavailableError
from lookout.sealing import Keyring
from lookout.stores.redis import redis_errors
from lookout.stores.registry.tables import Alert, AlertSighting, CameraRow, Sighting, Video

#: Of one upload.
MAX_BYTES = 20_000_000_000
#: What an upload must leave free on the disk, and what indexing needs beside it: about as much again, for footage.
MIN_FREE_BYTES = 1_000_000_000
#: A clock that is a little ahead is forgiven.
MAX_AHEAD_US = 60_000_000
EARLIEST_US = 0
MAX_FPS, MIN_FPS = 30.0, 0.1
MAX_WAITING = 200
#: What is shown of a video that is worked on is gone after this time, if its process is.
KEEP_PROGRESS_S = 15
UNFINISHED = ("waiting", "running")


@dataclass(frozen=True, slots=True)
class Handed:
    """A file as it was handed in.

    Attributes:
        started_at_us: when its first frame was taken.
        upload: its name in the uploads folder; None: it lies elsewhere.
    """

    file_name: str
    sha256: str
    size: int
    started_at_us: int
    fps: float
    upload: str | None = None


@dataclass(frozen=True, slots=True)
class Counts:
    """What was found in a video."""

    sightings: int
    alerts: int


def camera_for(
    session: Session, actor: Actor, keyring: Keyring, name: str, *, who: Identity | None = None
) -> tuple[CameraRow, bool]:
    """The camera of an id or a name, and whether it was made: one without a stream, whose group is its id.

    Args:
        session: of `Registry.transaction`.
        actor: for the audit.
        keyring: seals what is made.
        name: id or name.
        who: asks; None: the command line, which may do everything.

    Raises:
        BadInputError: nothing of the name can be an id.
        NotFoundError: it is in a group without a right to; or there is none, and who asks may not add one.
        ConflictError: a camera of another name has the id that it would get.
    """
    row = known_camera(session, name, who=who)
    if row is not None:
        return row, False
    camera_id = check_new_camera(name, who=who)
    made = make_camera(id=camera_id, url=FILES_ONLY, name=name.strip())
    return create_camera(session, actor, keyring, made), True


def known_camera(session: Session, name: str, *, who: Identity | None = None) -> CameraRow | None:
    """The camera of an id or a name; None if there is none.

    Raises:
        NotFoundError: it is in a group without a right to, or `who` may not learn which cameras there are.
    """
    if "\0" in name:
        return None
    row = session.get(CameraRow, name)
    if row is None:
        found = session.scalars(select(CameraRow).where(CameraRow.name == name).limit(2)).all()
        row = found[0] if len(found) == 1 else None
    hidden = row is not None and who is not None and not who.sees_group(row.camera_group)
    if hidden or (row is None and who is not None and not may_add_cameras(who)):
        raise NotFoundError(f"there is no camera {name}.")
    return row


def may_add_cameras(who: Identity) -> bool:
    """Whether somebody may hand in a video of a camera that is not known yet."""
    return who.may("cameras:write") and who.camera_groups is None


def check_new_camera(name: str, *, who: Identity | None = None) -> str:
    """The id that a new camera of a name gets.

    Raises:
        BadInputError: nothing of the name can be an id.
        NotFoundError: there is no such camera, and who asks may not add one.
    """
    if who is not None and not may_add_cameras(who):
        raise NotFoundError(f"there is no camera {name}.")
    return id_of(name)


def id_of(name: str) -> str:
    """An id made of a name: its letters and digits.

    Raises:
        BadInputError: it has none.
    """
    plain = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode().lower()
    made = re.sub(r"[^a-z0-9_]+", "-", plain).strip("-_")[:60]
    if not made:
        raise BadInputError("camera: give a name with letters of the alphabet or digits.")
    return made


def check_start(started_at_us: int) -> None:
    """Refuse a time that no recording can have begun at.

    Raises:
        BadInputError: it is in the future, or before 1970.
    """
    if started_at_us > now_us() + MAX_AHEAD_US:
        raise BadInputError(
            f"start: {isoformat(started_at_us)} is in the future; give the time at which the recording began."
        )
    if started_at_us < EARLIEST_US:
        raise BadInputError("start: give a time after 1970.")


def hand_in(session: Session, actor: Actor, camera: CameraRow, handed: Handed) -> tuple[Video, bool]:
    """Take a video, unless the same file of the same time is there. One that failed or was cancelled goes on.

    Returns:
        The video, and whether there is anything to do.

    Raises:
        BadInputError: it begins in the future, or too many wait.
    """
    check_start(handed.started_at_us)
    same = session.scalar(
        select(Video)
        .where(
            Video.camera_id == camera.id,
            Video.sha256 == handed.sha256,
            Video.started_at_us == handed.started_at_us,
        )
        .with_for_update()
    )
    if same is not None and same.state == "done":
        return same, False
    if same is not None:
        same.upload = same.upload or handed.upload  # a command was cut off: this takes over
        if same.state not in UNFINISHED:
            if same.analysed_fps != handed.fps:
                same.parts_done = []
            same.state, same.error, same.finished_at_us, same.upload = "waiting", "", None, handed.upload
            same.analysed_fps = handed.fps
            _record(session, actor, "video.resumed", same)
        return same, True
    waiting = select(func.count()).select_from(Video).where(Video.state.in_(UNFINISHED))
    if handed.upload is not None and (session.scalar(waiting) or 0) >= MAX_WAITING:
        raise BadInputError(f"{MAX_WAITING} videos wait already; hand in more when some of them are done.")
    video = Video(
        camera_id=camera.id,
        sha256=handed.sha256,
        file_name=handed.file_name[:200],
        size=handed.size,
        started_at_us=handed.started_at_us,
        duration_us=0,
        width=0,
        height=0,
        codec="",
        analysed_fps=handed.fps,
        state="waiting",
        upload=handed.upload,
        parts=0,
        created_by=actor.name,
        created_at_us=now_us(),
    )
    session.add(video)
    session.flush()
    _record(session, actor, "video.handed_in", video)
    return video, True


def already(video: Video) -> str:
    """That a file was indexed before, in a sentence."""
    day = to_datetime(video.finished_at_us or video.created_at_us).date().isoformat()
    return f"was indexed on {day} as {video.file_name}"


def overlaps(session: Session, camera_id: str, video_id: str, start_us: int, end_us: int) -> list[str]:
    """What else the camera has of the same time: names of videos, and whether it was seen live; for a warning."""
    others = session.scalars(
        select(Video.file_name).where(
            Video.camera_id == camera_id,
            Video.id != video_id,
            Video.state.in_(("running", "done")),
            Video.started_at_us < end_us,
            Video.started_at_us + Video.duration_us > start_us,
        )
    ).all()
    live = session.scalar(
        select(Sighting.id)
        .where(
            Sighting.camera_id == camera_id,
            Sighting.video_id.is_(None),
            Sighting.started_at_us < end_us,
            Sighting.ended_at_us > start_us,
        )
        .limit(1)
    )
    return [*others, *(["what the camera saw live"] if live else [])]


def visible(who: Identity) -> list[ColumnElement[bool]]:
    """Which videos somebody may see, for a query: those of the groups' cameras; of removed ones, who sees all."""
    if who.camera_groups is None:
        return []
    return [Video.camera_id.in_(select(CameraRow.id).where(CameraRow.camera_group.in_(who.camera_groups)))]


def get_video(session: Session, who: Identity, video_id: str, *, lock: bool = False) -> Video:
    """A video with a right to.

    Raises:
        NotFoundError: there is none, or no right to its camera.
    """
    query = select(Video).where(Video.id == video_id, *visible(who))
    found = None if "\0" in video_id else session.scalar(query.with_for_update() if lock else query)
    if found is None:
        raise NotFoundError(f"there is no video {video_id}.")
    return found


def counts(session: Session, video_ids: Sequence[str]) -> dict[str, Counts]:
    """What was found in videos, by their ids."""
    sightings = select(Sighting.video_id, func.count()).where(Sighting.video_id.in_(video_ids))
    alerts = (
        select(Sighting.video_id, func.count(func.distinct(Alert.id)))
        .join(AlertSighting, AlertSighting.sighting_id == Sighting.id)
        .join(Alert, Alert.id == AlertSighting.alert_id)
        .where(Sighting.video_id.in_(video_ids))
    )
    seen = {video: count for video, count in session.execute(sightings.group_by(Sighting.video_id)) if video}
    alerted = {video: count for video, count in session.execute(alerts.group_by(Sighting.video_id)) if video}
    return {video: Counts(seen.get(video, 0), alerted.get(video, 0)) for video in video_ids}


def cancel(session: Session, actor: Actor, video: Video) -> None:
    """End a video that waits or is worked on. What was found in it stays.

    Raises:
        ConflictError: it has ended already.
    """
    if video.state not in UNFINISHED:
        raise ConflictError(f"it is {video.state} already.")
    video.state, video.finished_at_us = "cancelled", now_us()
    _record(session, actor, "video.cancelled", video)


def begin(session: Session, actor: Actor, video: Video) -> None:
    """Say that work on it begins, or goes on."""
    if video.state != "running":
        video.state, video.error = "running", ""
        _record(session, actor, "video.indexing", video)


def part_done(video: Video, number: int, crops: int, broken_frames: int, broken_at_s: Sequence[float]) -> None:
    """Write down that a part needs not be done again. The row is locked."""
    if number in video.parts_done:
        return
    video.parts_done = sorted([*video.parts_done, number])
    video.crops += crops
    video.broken_frames += broken_frames
    video.broken_at_s = sorted({*video.broken_at_s, *broken_at_s})[:50]


def finish(session: Session, actor: Actor, video: Video) -> None:
    """Say that all of it was searched, and all that was found is stored."""
    video.state, video.finished_at_us = "done", now_us()
    found = counts(session, [video.id])[video.id]
    _record(session, actor, "video.indexed", video, sightings=found.sightings, alerts=found.alerts)


def fail(session: Session, actor: Actor, video: Video, error: str) -> None:
    """Say that it cannot be searched, and why."""
    video.state, video.error, video.finished_at_us = "failed", error[:500], now_us()
    _record(session, actor, "video.failed", video)


@dataclass(frozen=True, slots=True)
class Pace:
    """How a video that is worked on gets on.

    Attributes:
        share: 0..1.
        rate: times real time.
        left_s: how long it takes still; None: not known yet.
    """

    share: float
    rate: float
    left_s: float | None


def tell_pace(redis: Redis, video_id: str, pace: Pace) -> None:
    """Tell pages how a video gets on; nobody needs it to be told where Redis is away."""
    text = f"{pace.share:.4f} {pace.rate:.2f} {-1 if pace.left_s is None else pace.left_s:.0f}"
    with contextlib.suppress(UnavailableError), redis_errors():
        redis.set(_pace_key(video_id), text, ex=KEEP_PROGRESS_S)


def paces(redis: Redis, video_ids: Sequence[str]) -> dict[str, Pace]:
    """How videos get on that are worked on now."""
    found: list[Any] = []
    with contextlib.suppress(UnavailableError), redis_errors():
        found = list(redis.mget([_pace_key(one) for one in video_ids])) if video_ids else []
    told = {}
    for video_id, text in zip(video_ids, found, strict=False):
        if text is not None:
            share, rate, left = (float(value) for value in text.split())
            told[video_id] = Pace(share, rate, None if left < 0 else left)
    return told


def lock_name(video_id: str) -> str:
    """The lock in Redis of who works on a video."""
    return f"lookout:video:{video_id}"


def _pace_key(video_id: str) -> str:
    return f"video:{video_id}:pace"


def _record(session: Session, actor: Actor, action: str, video: Video, **more: int) -> None:
    detail = {"camera": video.camera_id, "sha256": video.sha256, "started_at": isoformat(video.started_at_us), **more}
    audit.record(session, actor, action, "video", video.id, detail=detail)
