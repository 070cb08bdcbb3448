"""What people left behind: exports whose time is over, uploads that nobody works on, and emptied videos."""

from __future__ import annotations

import contextlib
import time
from pathlib import Path

from sqlalchemy import Select, delete, exists, func, select

from lookout import audit
from lookout.camera_settings import FOOTAGE_HOURS, RETENTION_HOURS
from lookout.exports import records as exports
from lookout.stores.registry.tables import CameraRow, Export, Segment, Sighting, Video
from workers.parts import Parts
from workers.sweeps.sightings import HOUR_US
from workers.sweeps.turn import Turn

#: What nobody has written to for this long is of an upload that broke off.
UPLOAD_S = 3600
BATCH = 100


def sweep_exports(parts: Parts, turn: Turn, _now: int) -> bool:
    """Remove exports that are no longer offered; returns whether nothing is left of them.

    Raises:
        UnavailableError: the registry or the blob store does not answer.
    """
    while not turn.is_over:
        with parts.registry.reading() as session:
            found = [export.id for export in exports.expired(session)]
        if not found:
            return True
        for export_id in found:  # one at a time, as its file may have many pieces
            _remove_export(parts, turn, export_id)
    return False


def sweep_uploads(parts: Parts, turn: Turn, _now: int) -> bool:
    """Delete files that no video waits for; returns True."""
    folder = parts.settings.uploads_folder
    before = time.time() - UPLOAD_S
    old = [path for path in folder.glob("*") if path.is_file() and changed_at(path) < before]
    if old:
        with parts.registry.reading() as session:
            wanted = set(session.scalars(select(Video.upload).where(Video.state.in_(("waiting", "running")))))
        for path in old:
            if path.name not in wanted:
                path.unlink(missing_ok=True)
                turn.count(uploads=1)
    return True


def sweep_videos(parts: Parts, turn: Turn, now: int) -> bool:
    """Forget videos of which neither sighting nor footage is left; returns whether there are no more of these.

    They can then be indexed again.

    Raises:
        UnavailableError: the registry does not answer.
    """
    while not turn.is_over:
        with parts.registry.reading() as session:
            found = session.scalars(_forgotten(now)).all()
        if not found:
            return True
        with turn.write(parts.registry, len(found)) as session:
            # Asked again: somebody may have it indexed once more.
            query = _forgotten(now).where(Video.id.in_(found)).with_for_update(of=Video, skip_locked=True)
            gone = session.scalars(query).all()
            session.execute(delete(Video).where(Video.id.in_(gone)))
            audit.record(session, audit.SYSTEM, "retention.swept", "videos", detail={"videos": list(gone)})
        turn.count(videos=len(gone))
    return False


def _forgotten(now: int) -> Select[str]:
    since = func.coalesce(Video.finished_at_us, Video.created_at_us)
    return (
        select(Video.id)
        .outerjoin(CameraRow, CameraRow.id == Video.camera_id)
        .where(
            Video.state.in_(("done", "failed", "cancelled")),
            since < now - HOUR_US * func.coalesce(CameraRow.retention_hours, RETENTION_HOURS),
            since < now - HOUR_US * func.coalesce(CameraRow.footage_hours, FOOTAGE_HOURS),
            ~exists().where(Sighting.video_id == Video.id),
            ~exists().where(Segment.video_id == Video.id),
        )
        .limit(BATCH)
    )


def _remove_export(parts: Parts, turn: Turn, export_id: str) -> None:
    with turn.write(parts.registry, 1) as session:
        export = session.get(Export, export_id, with_for_update=True)
        if export is not None:
            exports.remove(session, parts.blobs, audit.SYSTEM, export, action="export.expired")
    turn.count(exports=export is not None)


def changed_at(path: Path) -> float:
    """When a file was last written, as `time.time`; now if it is gone."""
    with contextlib.suppress(FileNotFoundError):
        return path.stat().st_mtime
    return time.time()
