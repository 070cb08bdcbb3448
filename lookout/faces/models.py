"""The models that the settings choose, ready to run."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lookout.faces.assets import AssetCache
from lookout.faces.manifest import EmbedderContract, load_manifest
from lookout.settings import Settings

if TYPE_CHECKING:
    from lookout.faces.detector import YuNet
    from lookout.faces.embedder import Embedder

# OpenVINO is imported where a model is loaded: who only reads a contract stays small and starts fast.


def asset_cache(settings: Settings) -> AssetCache:
    """The cache, knowing Lookout's own models and those of the user's `models.toml`."""
    return AssetCache(settings.cache, load_manifest(settings.home / "models.toml"))


def embedder_contract(settings: Settings) -> EmbedderContract:
    """What the chosen embedder expects and gives, without loading it."""
    return load_manifest(settings.home / "models.toml").embedder(settings.embedder).contract


def load_detector(settings: Settings) -> YuNet:
    """The chosen detector, fetched if need be. Call it after a fork."""
    from lookout.faces.detector import YuNet

    assets = asset_cache(settings)
    assets.manifest.detector(settings.detector)
    return YuNet(assets.model(settings.detector), threads=settings.inference_threads, device=settings.inference_device)


def load_embedder(settings: Settings) -> Embedder:
    """The chosen embedder, fetched if need be. Call it after a fork."""
    from lookout.faces.embedder import Embedder

    assets = asset_cache(settings)
    contract = assets.manifest.embedder(settings.embedder).contract
    return Embedder(
        assets.model(settings.embedder),
        contract,
        threads=settings.inference_threads,
        device=settings.inference_device,
    )
