"""What figures were measured with: models, versions, sets; each by its hash."""

from __future__ import annotations

import hashlib
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from lookout.faces.assets import AssetCache
from lookout.faces.manifest import Embedder
from lookout.faces.quantised import best


@dataclass(frozen=True, slots=True)
class ModelFile:
    """A network: its name, its precision, and the SHA-256 of the file that ran and of its weights beside it."""

    name: str
    precision: str
    sha256: str


@dataclass(frozen=True, slots=True)
class Provenance:
    """What a figure belongs to.

    Attributes:
        lists: SHA-256 of the protocol's files, by their names.
        pictures: how many, and the SHA-256 of all their names and contents.
    """

    lookout: str
    embedder: str
    models: tuple[ModelFile, ...]
    lists: dict[str, str]
    pictures: int
    pictures_sha256: str

    def as_json(self) -> dict[str, Any]:
        """As JSON."""
        return asdict(self)


def provenance(
    assets: AssetCache, detector: str, embedder: str, lists: list[Path], pictures: int, sha256: str
) -> Provenance:
    """Of an evaluation with models that are loaded already."""
    files = [(detector, assets.model(detector))] + [
        (name, best(assets, name)) for name in assets.manifest.files_of(embedder)
    ]
    return Provenance(
        lookout=version("lookout"),
        embedder=embedder,
        models=tuple(ModelFile(name, _precision(assets, name, file), _model_sha256(file)) for name, file in files),
        lists={file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in lists},
        pictures=pictures,
        pictures_sha256=sha256,
    )


def _precision(assets: AssetCache, name: str, file: Path) -> str:
    published = assets.model(name)
    return "INT8" if isinstance(assets.manifest.model(name), Embedder) and file != published else "as published"


def _model_sha256(file: Path) -> str:
    digest = hashlib.sha256()
    for part in (file, file.with_suffix(".bin")):
        if part.exists():
            digest.update(part.read_bytes())
    return digest.hexdigest()
