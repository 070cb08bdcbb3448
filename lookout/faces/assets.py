"""Models and clips on this machine: made once from published packages, verified at each use.

Layout below the cache's root::

    models/<name>/<start of the weights' hash>-<revision>/model.xml, model.bin, record.json
    media/<name>
    tools/                     npm, where the machine has none
"""

from __future__ import annotations

import fcntl
import hashlib
import logging
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath

import msgspec

from lookout.errors import AssetError
from lookout.faces import fetch
from lookout.faces.manifest import Detector, Embedder, Manifest, Media, OwnEmbedder

log = logging.getLogger(__name__)

#: Told the name of an asset and what is being done about it.
Progress = Callable[[str, str], None]

#: Raise it when a converter's outcome changes: models are then made anew.
CONVERTERS_REVISION = 1

_MODEL_FILES = ("model.xml", "model.bin")
_RECORD = "record.json"
_WORK = ".work-"
_ABSENT = "is not there"


class AssetCache:
    """The models and clips of a manifest, by name.

    Any number of processes and threads may share one root. What is in place needs neither network nor write
    access; what is missing or damaged is made beside its place and moved there as a whole.
    """

    def __init__(self, root: Path, manifest: Manifest) -> None:
        self.root = root.absolute()
        self.manifest = manifest

    def model(self, name: str) -> Path:
        """The verified file to load a model from: `model.xml`, or the user's own file. Made if need be.

        Raises:
            NotFoundError: the manifest has no such model.
            AssetError: it cannot be fetched or made, or the user's file is missing or has another hash.
        """
        self.manifest.model(name)
        return self.fetch([name])[name]

    def media(self, name: str) -> Path:
        """The verified photo or clip, fetched if need be.

        Raises:
            NotFoundError: the manifest has no such file.
            AssetError: it cannot be fetched.
        """
        self.manifest.medium(name)
        return self.fetch([name])[name]

    def find(self, name: str) -> Path | None:
        """The verified file as `model` or `media` gives it; None where that would have to fetch, or to fail.

        Raises:
            NotFoundError: the manifest has no such asset.
        """
        return None if self._fault(name) else self._place(name)

    def fetch(self, names: Iterable[str] = (), progress: Progress = lambda _name, _doing: None) -> dict[str, Path]:
        """Make sure that assets are here and sound; one download serves all that lies in the same archive.

        Args:
            names: which; all of the manifest if none is named.
            progress: called as work goes on.

        Returns:
            name -> the verified file.

        Raises:
            NotFoundError: the manifest has no such asset; nothing was fetched.
            AssetError: as for `model`.
        """
        wanted = {name: self._place(name) for name in list(names) or self.manifest.assets}
        for name in wanted:
            if fault := self._fault(name):
                self._mend(name, fault, progress)
        return wanted

    def _place(self, name: str) -> Path:
        asset = self.manifest.asset(name)
        match asset:
            case OwnEmbedder():
                return asset.file
            case Media():
                return self.root / "media" / name
            case _:
                folder = f"{asset.sha256[:12]}-{CONVERTERS_REVISION}"
                return self.root / "models" / name / folder / _MODEL_FILES[0]

    def _fault(self, name: str) -> str:
        """What is wrong with an asset as it lies here; empty if it is sound."""
        asset, place = self.manifest.asset(name), self._place(name)
        try:
            match asset:
                case OwnEmbedder():
                    return _hash_fault(asset.sha256, *asset.parts)
                case Media():
                    return _hash_fault(asset.sha256, place)
                case _:
                    return _model_fault(place.parent)
        except OSError as error:
            return f"cannot be read: {error}"

    def _mend(self, name: str, fault: str, progress: Progress) -> None:
        asset = self.manifest.asset(name)
        if isinstance(asset, OwnEmbedder):
            raise AssetError(
                f"The embedder {name} cannot be used: {asset.file} {fault}. Put the right file there, or, "
                "if you changed it on purpose, write its SHA-256 into the models.toml that names it."
            )
        with self._locked() as work:
            if not self._fault(name):
                return  # another process was faster
            archive = self.manifest.archives[asset.archive]
            progress(name, f"downloading {archive.package} {archive.version}")
            file = fetch.download(archive, work, tools=self.root / "tools")
            for found, packed in self.manifest.packed_in(asset.archive).items():
                if fault := self._fault(found):
                    if fault != _ABSENT:
                        log.warning("%s in the cache is damaged: %s; making it anew", found, fault)
                    progress(found, "unpacking" if isinstance(packed, Media) else "converting")
                    content = fetch.read_member(file, packed.member, packed.sha256)
                    self._put(found, packed, content, work)

    def _put(self, name: str, asset: Detector | Embedder | Media, content: bytes, work: Path) -> None:
        """Make an asset of what the archive holds, and move it into its place as a whole."""
        raw = work / PurePosixPath(asset.member).name
        raw.write_bytes(content)
        place = self._place(name)
        if isinstance(asset, Media):
            place.parent.mkdir(parents=True, exist_ok=True)
            raw.replace(place)
            return
        # OpenVINO takes a third of a second to import: only who converts should wait for it.
        from lookout.faces.convert import convert

        made = work / name
        made.mkdir()
        convert(asset.converter, raw, made / _MODEL_FILES[0])
        record = {file: _sha256(made / file) for file in _MODEL_FILES}
        (made / _RECORD).write_bytes(msgspec.json.encode(record))
        place.parent.parent.mkdir(parents=True, exist_ok=True)
        if place.parent.exists():
            place.parent.rename(work / f"{name}.damaged")
        made.rename(place.parent)

    @contextmanager
    def _locked(self) -> Iterator[Path]:
        """A folder to work in, on the cache's file system, for one process at a time."""
        try:
            self.root.mkdir(parents=True, exist_ok=True)
            with (self.root / ".lock").open("w") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX)
                for left_by_a_killed_process in self.root.glob(f"{_WORK}*"):
                    shutil.rmtree(left_by_a_killed_process, ignore_errors=True)
                with tempfile.TemporaryDirectory(prefix=_WORK, dir=self.root) as work:
                    yield Path(work)
        except OSError as error:
            raise AssetError(
                f"The cache {self.root} cannot be written: {error}. Make room there, or choose another place "
                "by LOOKOUT_CACHE."
            ) from error


def _model_fault(folder: Path) -> str:
    if not folder.exists():
        return _ABSENT
    try:
        record = msgspec.json.decode((folder / _RECORD).read_bytes(), type=dict[str, str])
    except msgspec.MsgspecError as error:
        return f"{_RECORD} does not hold: {error}"
    for file in _MODEL_FILES:
        if fault := _hash_fault(record.get(file, "recorded"), folder / file):
            return f"{file} {fault}"
    return ""


def _hash_fault(sha256: str, *parts: Path) -> str:
    if not parts[0].exists():
        return _ABSENT
    found = _sha256(*parts)
    return "" if found == sha256 else f"has SHA-256 {found}, not {sha256}"


def _sha256(*parts: Path) -> str:
    """SHA-256 of files, one after the other."""
    digest = hashlib.sha256()
    for part in parts:
        digest.update(part.read_bytes())
    return digest.hexdigest()
