"""Cameras: made, changed, removed, imported in the registry, and told to ingest."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import msgspec
from redis import Redis
from sqlalchemy import func, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from lookout import audit
from lookout.accounts.rights import Identity
from lookout.audit import Actor
from lookout.camera_settings import FILES_ONLY, Camera, load_cameras, make_camera
from lookout.clock import now_us
from lookout.errors import BadInputError, ConflictError, NotFoundError, SealError, UnavailableError
from lookout.logging import redact
from lookout.models_in_use import names_in_use
from lookout.sealing import Keyring
from lookout.stores.cameras import CameraBoard, CameraSet, CameraStatus
from lookout.stores.registry import Registry
from lookout.stores.registry.tables import CameraRow

__all__ = ["Camera", "load_cameras", "make_camera"]

log = logging.getLogger(__name__)

#: They have a meaning in addresses: `/cameras/new`, `/api/v1/cameras/tests`.
RESERVED_IDS = frozenset({"new", "tests", "cards"})
MAX_CAMERAS = 5000
#: How often a publication is tried while others publish at the same time.
PUBLISH_ATTEMPTS = 5

Groups = frozenset[str] | None


def list_cameras(
    session: Session, *, groups: Groups = None, group: str | None = None, limit: int | None = None, offset: int = 0
) -> Sequence[CameraRow]:
    """Cameras by name.

    Args:
        session: of the registry.
        groups: the groups that the caller may see; None: all.
        group: only those of this group.
        limit: how many at most.
        offset: how many to leave out.
    """
    query = select(CameraRow).order_by(func.lower(CameraRow.name), CameraRow.id)
    if groups is not None:
        query = query.where(CameraRow.camera_group.in_(groups))
    if group is not None:
        query = query.where(CameraRow.camera_group == group)
    return session.scalars(query.limit(limit).offset(offset)).all()


def camera_groups(session: Session, *, groups: Groups = None) -> list[str]:
    """The groups that cameras are in, of those that the caller may see."""
    found = session.scalars(select(CameraRow.camera_group).distinct().order_by(CameraRow.camera_group))
    return [name for name in found if groups is None or name in groups]


def find_camera(session: Session, camera_id: str, *, groups: Groups = None, for_update: bool = False) -> CameraRow:
    """A camera by its id.

    Raises:
        NotFoundError: there is none of that id in the groups that the caller may see.
    """
    row = None if "\0" in camera_id else session.get(CameraRow, camera_id, with_for_update=for_update or None)
    if row is None or (groups is not None and row.camera_group not in groups):
        raise NotFoundError(f"there is no camera {camera_id}.")
    return row


def create_camera(session: Session, actor: Actor, keyring: Keyring, camera: Camera) -> CameraRow:
    """Add a camera.

    Raises:
        BadInputError: its id has a meaning of its own, or there are too many cameras.
        ConflictError: there is one of that id.
    """
    if camera.id in RESERVED_IDS:
        raise BadInputError(f"id: {camera.id} is a word of Lookout's own; choose another one.")
    if session.get(CameraRow, camera.id) is not None:
        raise ConflictError(f"there is a camera {camera.id} already; choose another id.")
    if (session.scalar(select(func.count()).select_from(CameraRow)) or 0) >= MAX_CAMERAS:
        raise BadInputError(f"there are {MAX_CAMERAS} cameras already, as many as one installation takes.")
    row = CameraRow(id=camera.id, created_at_us=now_us(), version=1, **_columns(camera, keyring))
    session.add(row)
    try:
        session.flush()
    except IntegrityError as error:  # somebody else was faster
        raise ConflictError(f"there is a camera {camera.id} already; choose another id.") from error
    audit.record(session, actor, "camera.created", "camera", row.id)
    return row


def change_camera(session: Session, actor: Actor, keyring: Keyring, row: CameraRow, camera: Camera) -> list[str]:
    """Make a camera what is given; returns the names of the fields that changed.

    Raises:
        BadInputError: it has another id.
    """
    if camera.id != row.id:
        raise BadInputError("id: a camera keeps its id, as everything stored refers to it; add another camera.")
    changed = _differences(row, camera, keyring)
    if changed:
        for name, value in _columns(camera, keyring).items():
            setattr(row, name, value)
        row.version += 1
        audit.record(session, actor, "camera.changed", "camera", row.id, detail={"fields": changed})
    return changed


def remove_camera(session: Session, actor: Actor, row: CameraRow) -> None:
    """Watch a camera no more. Its sightings and alerts stay for as long as they are kept."""
    session.delete(row)
    audit.record(session, actor, "camera.removed", "camera", row.id)


@dataclass(frozen=True, slots=True)
class ImportCounts:
    """What an import did, in cameras."""

    added: int = 0
    changed: int = 0
    unchanged: int = 0


def import_cameras(registry: Registry, keyring: Keyring, actor: Actor, cameras: Iterable[Camera]) -> ImportCounts:
    """Add cameras, and change those whose ids are there already; nothing is removed. All or nothing.

    Raises:
        BadInputError: an id has a meaning of its own.
        UnavailableError: the registry does not answer.
    """
    added = changed = unchanged = 0
    with registry.transaction() as session:
        for camera in cameras:
            row = session.get(CameraRow, camera.id, with_for_update=True)
            if row is None:
                create_camera(session, actor, keyring, camera)
                added += 1
            elif change_camera(session, actor, keyring, row, camera):
                changed += 1
            else:
                unchanged += 1
    return ImportCounts(added, changed, unchanged)


def record_views(registry: Registry, board: CameraBoard, who: Identity, camera_ids: Sequence[str]) -> None:
    """Write down that somebody looks at cameras: when it begins, and every few minutes while it goes on.

    Raises:
        UnavailableError: Redis or the registry does not answer.
    """
    new = board.new_views(who.user_id, camera_ids)
    if new:
        with registry.transaction() as session:
            subject_id = new[0] if len(new) == 1 else ""
            audit.record(session, who.actor, "camera.viewed", "camera", subject_id, detail={"cameras": new})


def known_statuses(board: CameraBoard, rows: Iterable[CameraRow]) -> dict[str, CameraStatus]:
    """How cameras are, as far as it is known: nothing is while Redis is away."""
    with contextlib.suppress(UnavailableError):
        return board.statuses([row.id for row in rows])
    return {}


def publish_cameras(registry: Registry, redis: Redis, keyring: Keyring) -> bool:
    """Tell ingest which cameras to watch by which detector, if that is not what was last told; whether it was told.

    Several processes may call it at once: what is told is never older than what was told before.

    Raises:
        UnavailableError: Redis or the registry does not answer.
    """
    board = CameraBoard(redis, keyring)
    for _ in range(PUBLISH_ATTEMPTS):
        previous = board.sealed()
        before = board.read(previous)
        # Read after the look at Redis: whoever published meanwhile makes `replace` refuse.
        with registry.reading() as session:
            rows = session.scalars(select(CameraRow).where(CameraRow.enabled).order_by(CameraRow.id)).all()
            detector, _ = names_in_use(session)
        cameras = [camera for row in rows if (camera := _publishable(row, keyring)) is not None and camera.has_stream]
        if before is not None and (before.cameras, before.detector) == (cameras, detector):
            return False
        if board.replace(previous, CameraSet(0 if before is None else before.version + 1, cameras, detector)):
            return True
    return False


def publish_soon(registry: Registry, redis: Redis, keyring: Keyring) -> None:
    """Tell ingest of a change that was just committed; if it cannot be told now, housekeeping does so."""
    try:
        publish_cameras(registry, redis, keyring)
    except UnavailableError as error:
        log.warning("ingest is told of the cameras later: %s", error)


def camera_of(row: CameraRow, keyring: Keyring) -> Camera:
    """A camera as services work with it.

    Raises:
        SealError: its URL cannot be opened.
        BadInputError: a field does not hold, as another version of Lookout wrote it.
    """
    return make_camera(
        id=row.id,
        url=keyring.open(row.url, _place(row.id)).decode(),
        name=row.name,
        group=row.camera_group,
        analysed_fps=row.analysed_fps,
        transport=row.transport,
        masks=row.masks,
        retention_hours=row.retention_hours,
        matched_only=row.matched_only,
        record=row.record,
        record_audio=row.record_audio,
        footage_hours=row.footage_hours,
        footage_gb=row.footage_gb,
        enabled=row.enabled,
    )


def shown_url(row: CameraRow, keyring: Keyring) -> str:
    """A camera's URL without user and password; empty if it cannot be opened."""
    with contextlib.suppress(SealError):
        return redact(keyring.open(row.url, _place(row.id)).decode())
    return ""


def completed_url(given: str, row: CameraRow, keyring: Keyring) -> str:
    """A URL with the credentials that are stored, if it is the one that is shown, or that one without the `…@`.

    Raises:
        BadInputError: it is another one, and says `…` where credentials were.
        SealError: the stored one cannot be opened.
    """
    stored = keyring.open(row.url, _place(row.id)).decode()
    if given in {redact(stored), redact(_without_user(stored))}:
        return stored
    if "…" in given:
        raise BadInputError("url: the address changed, so user and password must be given again in place of the `…`.")
    return given


def state_of(row: CameraRow, status: CameraStatus | None, keyring: Keyring) -> str:
    """`disabled`, `files` (it has no stream), `waiting` (no process tells of it), or what its status says."""
    if not row.enabled:
        return "disabled"
    if shown_url(row, keyring) == FILES_ONLY:
        return "files"
    return "waiting" if status is None else status.state


def _without_user(url: str) -> str:
    parts = urlsplit(url)
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))


def _publishable(row: CameraRow, keyring: Keyring) -> Camera | None:
    try:
        return camera_of(row, keyring)
    except (SealError, BadInputError) as error:
        log.error("camera %s is not watched: %s", row.id, error)  # noqa: TRY400 - the message says it all
        return None


def _columns(camera: Camera, keyring: Keyring) -> dict[str, Any]:
    fields = _plain(camera)
    return {**fields, "url": keyring.seal(camera.url.encode(), _place(camera.id))}


def _differences(row: CameraRow, camera: Camera, keyring: Keyring) -> list[str]:
    changed = [name for name, value in _plain(camera).items() if getattr(row, name) != value]
    try:
        same = keyring.open(row.url, _place(row.id)).decode() == camera.url
    except SealError:
        same = False
    return changed if same else ["url", *changed]


def _plain(camera: Camera) -> dict[str, Any]:
    """The columns of a camera's row that are not sealed."""
    fields: dict[str, Any] = msgspec.to_builtins(camera)
    fields["masks"] = [[list(point) for point in polygon] for polygon in camera.masks]
    return {"camera_group": fields.pop("group"), **{key: fields[key] for key in fields if key not in ("id", "url")}}


def _place(camera_id: str) -> str:
    return f"cameras/{camera_id}"
