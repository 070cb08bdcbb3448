"""The models that the settings choose, ready to run."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from lookout.faces.assets import AssetCache
from lookout.faces.calibration import Calibration
from lookout.faces.manifest import REFINER, FusedEmbedder, load_manifest
from lookout.settings import Settings

if TYPE_CHECKING:
    from lookout.faces.detector import Detector
    from lookout.faces.embedder import Embedder

# OpenVINO is imported where a model is loaded: who only reads a contract stays small and starts fast.


def asset_cache(settings: Settings) -> AssetCache:
    """The cache, knowing Lookout's own models and those of the user's `models.toml`."""
    return AssetCache(settings.cache, load_manifest(settings.home / "models.toml"))


@dataclass(frozen=True, slots=True)
class TemplateModel:
    """What is to be known of the embedder where its templates are stored and compared.

    Attributes:
        name: in the manifest; templates of two models cannot be compared.
        dimension: length of its templates.
        calibration: what its scores mean.
    """

    name: str
    dimension: int
    calibration: Calibration


def template_model(settings: Settings, name: str) -> TemplateModel:
    """An embedder of the manifest, without loading it, or NotFoundError."""
    manifest = load_manifest(settings.home / "models.toml")
    return TemplateModel(name, manifest.dimension(name), manifest.embedder(name).calibration)


def load_detector(settings: Settings, name: str) -> Detector:
    """A detector on the settings' device, fetched if need be. Call it after a fork."""
    threads, device = settings.inference_threads, settings.inference_device
    return open_detector(asset_cache(settings), name, threads=threads, device=device)


def open_detector(assets: AssetCache, name: str, *, threads: int = 1, device: str = "CPU") -> Detector:
    """A detector of the manifest, fetched if need be."""
    from lookout.faces.mtcnn import MTCNN
    from lookout.faces.yunet import YuNet

    chosen = assets.manifest.detector(name)
    if chosen.converter == "mtcnn":
        return MTCNN(assets.model(name), min_face_px=chosen.contract.min_face_px, threads=threads, device=device)
    return YuNet(assets.model(name), threads=threads, device=device)


def load_embedder(settings: Settings, name: str) -> Embedder:
    """An embedder on the settings' device, fetched if need be. Call it after a fork."""
    threads, device = settings.inference_threads, settings.inference_device
    return open_embedder(asset_cache(settings), name, threads=threads, device=device)


def open_embedder(assets: AssetCache, name: str, *, threads: int = 1, device: str = "CPU") -> Embedder:
    """An embedder of the manifest, fetched if need be: its network, or those of a fusion."""
    from lookout.faces.embedder import Embedder, Network
    from lookout.faces.quantised import best
    from lookout.faces.refiner import LandmarkRefiner

    found = assets.manifest.embedder(name)
    weights = {part.model: part.weight for part in found.parts} if isinstance(found, FusedEmbedder) else {name: 1.0}
    assets.fetch([*weights, REFINER])

    def network(part: str) -> Network:
        contract = assets.manifest.single_embedder(part).contract
        return Network(best(assets, part), contract, threads=threads, device=device)

    refiner = LandmarkRefiner(assets.model(REFINER), threads=threads, device=device)
    return Embedder(name, [(network(part), weight) for part, weight in weights.items()], refiner)
