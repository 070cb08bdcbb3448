"""What models and clips there are, where they come from, and how each model wants to be fed.

Lookout's own are in `manifest.toml` beside this file. Users add embedders in a file of theirs, without code::

    [models.arcface]
    role = "embedder"
    file = "arcface.onnx"       # or an OpenVINO IR, "arcface.xml" with "arcface.bin" beside it
    sha256 = "…"                # of the ONNX file; of an IR: of the .xml and the .bin, one after the other
    licence = "…"
    source = "who made it, and from what data"

    [models.arcface.contract]
    size = 112
    template = "arcface112"
    colour = "rgb"
    layout = "nchw"
    mean = 127.5
    scale = 127.5
    dimension = 512

    [models.arcface.calibration]
    operating_points = { 1e-3 = 0.30, 1e-4 = 0.36 }
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, TypeVar

import msgspec
from msgspec import Meta

from lookout.errors import BadInputError, NotFoundError
from lookout.faces.calibration import Calibration

_T = TypeVar("_T")

Sha256 = Annotated[str, Meta(pattern="^[0-9a-f]{64}$")]
Text = Annotated[str, Meta(min_length=1)]
Weight = Annotated[float, Meta(gt=0, lt=1)]

#: Whose last network looks at landmarks again, whichever detector found them: every embedder needs it.
REFINER = "mtcnn"
#: Names of models become parts of ids and of collection names.
_NAME = re.compile(r"[a-z0-9][a-z0-9-]*")


class _Checked(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Decoded strictly: a misspelt or missing field is an error, not a default."""


class WheelTags(_Checked, frozen=True):
    """Which of a package's wheels is meant, in pip's words, whatever machine asks."""

    platform: Text
    python_version: Text
    implementation: Text
    abi: Text


class Archive(_Checked, frozen=True):
    """One published file of one package in exactly one version."""

    registry: Literal["pypi", "npm"]
    package: Text
    version: Text
    sha256: Sha256
    wheel: WheelTags | None = None


class DetectorContract(_Checked, frozen=True):
    """How a detector wants its pictures, and what it finds.

    Attributes:
        colour: order of the channels.
        layout: order of the axes.
        value_range: what 0 and 255 become, in f32.
        side_multiple: both sides are padded to multiples of it, in pixels.
        min_face_px: side of the least square around a face that it looks at.
    """

    colour: Literal["bgr", "rgb"]
    layout: Literal["nchw", "nhwc"]
    value_range: tuple[float, float]
    side_multiple: Annotated[int, Meta(ge=1)]
    min_face_px: Annotated[int, Meta(ge=1)]


class EmbedderContract(_Checked, frozen=True):
    """How an embedder wants its faces, and what it gives.

    Attributes:
        size: side of the aligned face in pixels.
        template: name of the landmark template that faces are aligned to (`lookout.faces.alignment`).
        colour: order of the channels.
        layout: order of the batch's axes.
        mean: taken from each value of 0..255, before
        scale: divides the difference.
        dimension: length of an embedding.
        mirrored: whether a template is the mean of a face's embedding and its mirror image's. It costs twice as much.
    """

    size: Literal[112, 150]
    template: Literal["arcface112", "dlib150"]
    colour: Literal["rgb", "bgr"]
    layout: Literal["nhwc", "nchw"]
    mean: float
    scale: Annotated[float, Meta(gt=0)]
    dimension: Annotated[int, Meta(ge=1)]
    mirrored: bool = False

    def __post_init__(self) -> None:
        if not self.template.endswith(str(self.size)):
            raise ValueError(f"`template` {self.template} is not of `size` {self.size}")


class Asset(_Checked, frozen=True):
    """A file known by its hash, with its terms and what is known of its origin in plain words."""

    role: ClassVar[str]

    sha256: Sha256
    licence: Text
    source: Text


class Packaged(Asset, frozen=True):
    """A file inside a published archive; `sha256` is that of the file."""

    archive: Text
    member: Text


class Media(Packaged, frozen=True):
    """A photo or clip for the demo and the tests."""

    role: ClassVar[str] = "media"

    description: Text


class Member(_Checked, frozen=True):
    """A further file of an archive, known by its hash."""

    member: Text
    sha256: Sha256


class Detector(Packaged, frozen=True, tag_field="role", tag="detector"):
    """A model that finds faces; one of several networks has a file for each, `member` and the `further`."""

    role: ClassVar[str] = "detector"

    converter: Literal["yunet", "mtcnn"]
    contract: DetectorContract
    further: tuple[Member, ...] = ()


class Embedder(Packaged, frozen=True, tag_field="role", tag="embedder"):
    """A model that turns an aligned face into an embedding."""

    role: ClassVar[str] = "embedder"

    converter: Literal["mobilefacenet", "dlib"]
    contract: EmbedderContract
    calibration: Calibration


class OwnEmbedder(Asset, frozen=True, tag_field="role", tag="embedder"):
    """An embedder of the user's, used where it lies: ONNX, or an OpenVINO IR."""

    role: ClassVar[str] = "embedder"

    file: Path
    contract: EmbedderContract
    calibration: Calibration

    def __post_init__(self) -> None:
        if self.file.suffix not in {".onnx", ".xml"}:
            raise ValueError(f"`file` must end in .onnx, or in .xml for an OpenVINO IR: {self.file.name}")

    @property
    def parts(self) -> tuple[Path, ...]:
        """The files that make up the model, in the order in which they are hashed."""
        return (self.file, self.file.with_suffix(".bin")) if self.file.suffix == ".xml" else (self.file,)


class FusedPart(_Checked, frozen=True):
    """An embedder that is part of a fusion, and its share of the score."""

    model: Text
    weight: Weight


class FusedEmbedder(_Checked, frozen=True, tag_field="role", tag="fusion"):
    """Several embedders whose templates are put side by side: the cosine is the weighted mean of theirs.

    Attributes:
        parts: at least two, whose weights make 1.
        calibration: of the fused cosine.
    """

    role: ClassVar[str] = "embedder"

    parts: tuple[FusedPart, ...]
    calibration: Calibration

    def __post_init__(self) -> None:
        if len(self.parts) < 2 or abs(sum(part.weight for part in self.parts) - 1) > 1e-6:
            raise ValueError("`parts` needs at least two models, whose weights make 1")


#: What lies in a file of its own.
Model = Detector | Embedder | OwnEmbedder


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """All models and clips by name.

    Attributes:
        calibration_pictures: photos whose faces embedders are quantised by.
        held_pictures: photos whose faces the outcome is judged by.
    """

    archives: Mapping[str, Archive]
    models: Mapping[str, Model]
    fusions: Mapping[str, FusedEmbedder]
    media: Mapping[str, Media]
    calibration_pictures: tuple[str, ...] = ()
    held_pictures: tuple[str, ...] = ()

    @property
    def assets(self) -> Mapping[str, Model | Media]:
        """Models and clips together; no two have the same name."""
        return {**self.models, **self.media}

    def packed_in(self, archive: str) -> dict[str, Detector | Embedder | Media]:
        """All that comes out of one archive, by name."""
        assets = self.assets.items()
        return {name: a for name, a in assets if not isinstance(a, OwnEmbedder) and a.archive == archive}

    def asset(self, name: str) -> Model | Media:
        """The model, photo or clip of that name, or NotFoundError."""
        return _named(name, self.assets, "model, photo or clip")

    def model(self, name: str) -> Model:
        """The model of that name, or NotFoundError."""
        return _named(name, self.models, "model")

    def usable(self, name: str) -> Model | FusedEmbedder:
        """The detector or embedder of that name, a fusion too, or NotFoundError."""
        return _named(name, {**self.models, **self.fusions}, "detector or embedder")

    def medium(self, name: str) -> Media:
        """The photo or clip of that name, or NotFoundError."""
        return _named(name, self.media, "photo or clip")

    def detector(self, name: str) -> Detector:
        """The detector of that name, or NotFoundError."""
        return _named(name, {n: m for n, m in self.models.items() if isinstance(m, Detector)}, "detector")

    def embedder(self, name: str) -> Embedder | OwnEmbedder | FusedEmbedder:
        """The embedder of that name, or NotFoundError."""
        single = {n: m for n, m in self.models.items() if not isinstance(m, Detector)}
        return _named(name, {**single, **self.fusions}, "embedder")

    def single_embedder(self, name: str) -> Embedder | OwnEmbedder:
        """The embedder of that name which is no fusion, or NotFoundError."""
        return _named(name, {n: m for n, m in self.models.items() if not isinstance(m, Detector)}, "single embedder")

    def files_of(self, name: str) -> tuple[str, ...]:
        """The assets that a name stands for: those of its parts if it is a fusion, otherwise itself."""
        return tuple(part.model for part in self.fusions[name].parts) if name in self.fusions else (name,)

    def dimension(self, name: str) -> int:
        """Length of an embedder's templates, or NotFoundError."""
        self.embedder(name)
        return sum(self.single_embedder(part).contract.dimension for part in self.files_of(name))


class _Quantisation(_Checked, frozen=True):
    calibration: tuple[str, ...]
    held: tuple[str, ...]


class _ManifestFile(_Checked, frozen=True):
    archives: dict[str, Archive]
    models: dict[str, Detector | Embedder | FusedEmbedder]
    media: dict[str, Media]
    quantisation: _Quantisation


def load_manifest(extra: Path | None = None) -> Manifest:
    """Read Lookout's manifest and, where there is one, the user's own.

    Args:
        extra: the user's TOML file; it need not exist.

    Raises:
        BadInputError: the user's file does not hold; the message names the file and the field.
    """
    text = resources.files("lookout.faces").joinpath("manifest.toml").read_bytes()
    own = msgspec.toml.decode(text, type=_ManifestFile)
    added = _user_models(extra) if extra is not None and extra.exists() else {}
    if clash := sorted(added.keys() & own.models.keys()):
        raise BadInputError(
            f"{extra}: models.{clash[0]}: this name is taken by a model that Lookout brings. Choose another."
        )
    fusions = {name: model for name, model in own.models.items() if isinstance(model, FusedEmbedder)}
    single = {name: model for name, model in own.models.items() if not isinstance(model, FusedEmbedder)}
    return Manifest(
        archives=own.archives,
        models={**single, **added},
        fusions=fusions,
        media=own.media,
        calibration_pictures=own.quantisation.calibration,
        held_pictures=own.quantisation.held,
    )


def _user_models(file: Path) -> dict[str, OwnEmbedder]:
    try:
        content = tomllib.loads(file.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise BadInputError(f"{file}: cannot be read as TOML: {error}. Correct it there.") from error
    models = content.pop("models", {})
    if content or not isinstance(models, dict):
        found = next(iter(content), "models")
        raise BadInputError(f"{file}: {found}: only tables [models.NAME] are known here. Correct it there.")
    return {name: _user_model(file, name, fields) for name, fields in models.items()}


def _user_model(file: Path, name: str, fields: object) -> OwnEmbedder:
    def decode_path(_type: type, value: Any) -> Path:
        # A relative path starts at the TOML file, wherever the process was started, and whatever links to it.
        return file.resolve().parent / Path(value).expanduser()

    if not _NAME.fullmatch(name):
        raise BadInputError(f"{file}: models.{name}: names are of lower-case letters, digits and hyphens.")
    try:
        # One entry at a time: msgspec does not say which key of a table was at fault.
        return msgspec.convert(fields, OwnEmbedder, str_keys=True, dec_hook=decode_path)
    except msgspec.ValidationError as error:
        problem, _, path = str(error).partition(" - at ")
        field = path.replace("`", "").replace("key in ", "").removeprefix("$").removesuffix("[...]")
        raise BadInputError(f"{file}: models.{name}{field}: {problem}. Correct it there.") from error


def _named(name: str, known: Mapping[str, _T], kind: str) -> _T:
    try:
        return known[name]
    except KeyError:
        raise NotFoundError(f"There is no {kind} {name!r}. There are: {', '.join(sorted(known))}.") from None
