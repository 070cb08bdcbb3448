"""Footage that the registry does not name, as whoever was about to write or delete its row was killed."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

from sqlalchemy import select

from lookout.footage.folder import SUFFIX, FootageFolder, parse
from lookout.messages import segment_id
from lookout.sightings.removal import chunks
from lookout.stores.redis import redis_errors
from lookout.stores.registry.tables import Segment
from workers.parts import Parts
from workers.sweeps.leftovers import changed_at
from workers.sweeps.turn import Turn

#: Once in so long all folders are looked at.
ROUND_S = 24 * 3600
#: A file that is younger may still get its row.
YOUNG_S = 3600
_REACHED, _DONE = "sweep:orphans:reached", "sweep:orphans:done"


def sweep_orphans(parts: Parts, turn: Turn, _now: int) -> bool:
    """Look at some more of the folders; returns whether all were looked at.

    Raises:
        UnavailableError: Redis, the registry or the folder cannot be used.
    """
    with redis_errors():
        if parts.redis.exists(_DONE):
            return True
        found = parts.redis.get(_REACHED)
    reached = found.decode() if isinstance(found, bytes) else ""
    folder = FootageFolder(parts.settings.footage_folder)
    for day in sorted((folder.root / "kept").glob("*/*")):
        name = str(day.relative_to(folder.root))
        if name > reached:
            if turn.is_over:
                return False
            turn.count(orphans=_sweep_day(parts, folder, sorted(day.glob(f"*{SUFFIX}"))))
            with redis_errors():
                parts.redis.set(_REACHED, name)
    with redis_errors():
        parts.redis.delete(_REACHED)
        parts.redis.set(_DONE, 1, ex=ROUND_S)
    return True


def _sweep_day(parts: Parts, folder: FootageFolder, files: Sequence[Path]) -> int:
    """Delete the files of a camera's day that the registry does not name; returns how many."""
    before = time.time() - YOUNG_S
    names = {str(path.relative_to(folder.root)): path for path in files}
    ids = {
        segment_id(path.parts[-3], piece.video_id, piece.started_at_us): name
        for name, path in names.items()
        if (piece := parse(path)) is not None
    }
    with parts.registry.reading() as session:
        for some in chunks(list(ids)):
            for row in session.execute(select(Segment.id, Segment.name).where(Segment.id.in_(some))):
                if ids[row.id] == row.name:
                    del ids[row.id]
    orphans = [name for name in ids.values() if changed_at(names[name]) < before]
    for name in orphans:
        folder.delete(name)
    return len(orphans)
