"""The footage folder. Its files are whole or not there: what is being written and what is new have places of their own.

`open/<camera>/…` is being written, `new/<camera>/…` is finished and waits to be put into the registry, and
`kept/<camera>/<day>/…` is what the registry's segments name. A file moves by renaming, so all must be one file system.
Footage is not sealed, as a player reads any part of it at any time: docs/privacy.md.
"""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from lookout.clock import to_datetime
from lookout.errors import NotFoundError, UnavailableError

SUFFIX = ".mp4"
_LIVE = "live"


@dataclass(frozen=True, slots=True)
class Piece:
    """What a finished file's name says of it.

    Attributes:
        started_at_us, ended_at_us: the wall clock of its first frame, and the end of its last one.
        codec: of its video, as FFmpeg calls it: `h264`, `hevc`, …
        video_id: the handed-in video it is a piece of; empty: recorded live.
    """

    camera_id: str
    started_at_us: int
    ended_at_us: int
    codec: str
    video_id: str = ""

    @property
    def file_name(self) -> str:
        """Name of the finished file in its camera's folder."""
        return f"{self.started_at_us}-{self.ended_at_us}-{self.codec}-{self.video_id or _LIVE}{SUFFIX}"

    @property
    def kept_name(self) -> str:
        """Name of the kept file, relative to the footage folder."""
        return f"kept/{self.camera_id}/{to_datetime(self.started_at_us):%Y-%m-%d}/{self.file_name}"


class FootageFolder:
    """The folder, as the processes share it."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def open_folder(self, camera_id: str) -> Path:
        """Where a camera's files are while they are written; made if it is missing.

        Raises:
            UnavailableError: it cannot be made.
        """
        return self._made(self.root / "open" / camera_id)

    def finish(self, path: Path, piece: Piece) -> None:
        """Hand on a file that is whole.

        Raises:
            UnavailableError: it cannot be moved.
        """
        with _disk_errors(self.root):
            path.rename(self._made(self.root / "new" / piece.camera_id) / piece.file_name)

    def new(self) -> Iterator[tuple[Path, Piece]]:
        """The finished files that the registry does not have yet. A file of another name is left where it is."""
        with _disk_errors(self.root):
            for path in sorted((self.root / "new").glob(f"*/*{SUFFIX}")):
                piece = parse(path)
                if piece is not None:
                    yield path, piece

    def keep(self, path: Path, piece: Piece) -> None:
        """Move a finished file to where the registry says it is. Done twice it does no harm.

        Raises:
            UnavailableError: it cannot be moved.
        """
        target = self.root / piece.kept_name
        with _disk_errors(self.root):
            self._made(target.parent)
            with contextlib.suppress(FileNotFoundError):  # another process was faster
                path.rename(target)

    def path(self, name: str) -> Path:
        """A kept file.

        Raises:
            NotFoundError: it is gone.
        """
        path = self.root / name
        if not path.is_file():
            raise NotFoundError("the footage is gone from the disk.")
        return path

    def delete(self, name: str) -> None:
        """Remove a kept file, and its day's folder if that is empty; one that is not there does no harm.

        Raises:
            UnavailableError: it cannot be removed.
        """
        path = self.root / name
        with _disk_errors(self.root):
            path.unlink(missing_ok=True)
        with contextlib.suppress(OSError):
            path.parent.rmdir()

    def free_bytes(self) -> int:
        """How much room is left.

        Raises:
            UnavailableError: the disk does not tell.
        """
        with _disk_errors(self.root):
            self._made(self.root)
            return shutil.disk_usage(self.root).free

    def _made(self, folder: Path) -> Path:
        with _disk_errors(self.root):
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        return folder


def parse(path: Path) -> Piece | None:
    """What a finished file's name and folder say; None if it is not one of Lookout's."""
    fields = path.name.removesuffix(SUFFIX).split("-")
    if len(fields) != 4 or not (fields[0].isascii() and fields[0].isdigit() and fields[1].isdigit()):
        return None
    video_id = "" if fields[3] == _LIVE else fields[3]
    return Piece(path.parent.name, int(fields[0]), int(fields[1]), fields[2], video_id)


@contextlib.contextmanager
def _disk_errors(root: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise UnavailableError(f"the footage folder {root} cannot be used: {error.strerror or error}.") from error
