"""A watchlist as a ZIP that can be imported again: `targets.csv` and the photos as they came."""

from __future__ import annotations

import csv
import io
import zipfile
from collections.abc import Iterator

from sqlalchemy import select
from sqlalchemy.orm import Session

from lookout import audit
from lookout.audit import Actor
from lookout.clock import isoformat
from lookout.errors import BadInputError, NotFoundError
from lookout.stores.blobs import Blobs
from lookout.stores.registry import Registry
from lookout.stores.registry.tables import Reference, Target, Watchlist

TABLE = "targets.csv"
COLUMNS = ("name", "photo", "reference_number", "note", "valid_until")
_ENDINGS = (
    (b"\xff\xd8", "jpg"),
    (b"\x89PNG", "png"),
    (b"RIFF", "webp"),
    (b"BM", "bmp"),
    (b"GIF", "gif"),
    (b"II*", "tif"),
)


def record_export(session: Session, actor: Actor, watchlist: Watchlist, reason: str) -> None:
    """Write to the audit that somebody takes a watchlist out of Lookout.

    Raises:
        BadInputError: the watchlist demands a reason, and there is none.
    """
    if watchlist.reason_required and not reason.strip():
        raise BadInputError("This watchlist demands a reason for an export: say why.")
    audit.record(
        session,
        actor,
        "watchlist.exported",
        "watchlist",
        watchlist.id,
        watchlist_id=watchlist.id,
        reason=reason.strip(),
    )


def export(registry: Registry, blobs: Blobs, watchlist_id: str) -> Iterator[bytes]:
    """The ZIP, piece by piece. Nothing of it lies on a disk, and one photo at a time in memory.

    Raises:
        UnavailableError: a store does not answer; what was yielded is then cut off, and no ZIP.
    """
    with registry.reading() as session:
        rows = session.execute(
            select(Target, Reference.id, Reference.photo_blob)
            .join(Target.references)
            .where(Target.watchlist_id == watchlist_id, Target.erased_at_us.is_(None))
            .order_by(Target.created_at_us, Target.id, Reference.created_at_us, Reference.id)
        ).all()
    table = io.StringIO(newline="")
    writer = csv.writer(table)
    writer.writerow(COLUMNS)
    sink = _Sink()
    # Photos are compressed already.
    with zipfile.ZipFile(sink, "w", zipfile.ZIP_STORED) as archive:
        for target, reference_id, blob in rows:
            try:
                data = blobs.read(blob)
            except NotFoundError:  # removed since the list was read
                continue
            file = f"photos/{target.id}/{reference_id}.{_ending(data)}"
            archive.writestr(file, data)
            until = isoformat(target.valid_until_us) if target.valid_until_us is not None else ""
            writer.writerow([target.name, file, target.reference_number, target.note, until])
            yield sink.take()
        # With a byte order mark: spreadsheets take it for their own code page otherwise.
        archive.writestr(TABLE, table.getvalue().encode("utf-8-sig"), zipfile.ZIP_DEFLATED)
    yield sink.take()


class _Sink(io.RawIOBase):
    """A file that is only written, and taken away piece by piece."""

    def __init__(self) -> None:
        self._pieces = bytearray()
        self._written = 0

    def writable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return False

    def tell(self) -> int:
        return self._written

    def write(self, data: object) -> int:
        piece = bytes(memoryview(data))  # type: ignore[arg-type]
        self._pieces += piece
        self._written += len(piece)
        return len(piece)

    def take(self) -> bytes:
        """What was written since the last time."""
        taken = bytes(self._pieces)
        self._pieces.clear()
        return taken


def _ending(data: bytes) -> str:
    return next((ending for start, ending in _ENDINGS if data.startswith(start)), "img")
