"""What the HTTP service works with."""

from __future__ import annotations

from functools import cached_property

from redis import Redis
from starlette.requests import HTTPConnection

from lookout.faces.assets import AssetCache
from lookout.faces.models import TemplateModel, asset_cache
from lookout.models_in_use import ModelsInUse
from lookout.sealing import Keyring, keyring
from lookout.settings import Settings
from lookout.stores.blobs import Blobs
from lookout.stores.redis import connect
from lookout.stores.registry import Registry
from lookout.stores.vectors import Vectors
from search.faces import Faces


class Parts:
    """Connections, each made when it is first used."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings

    @cached_property
    def registry(self) -> Registry:
        """The registry."""
        return Registry(self.settings.database)

    @cached_property
    def redis(self) -> Redis:
        """Redis."""
        return connect(self.settings)

    @cached_property
    def vectors(self) -> Vectors:
        """Milvus."""
        return Vectors(self.settings.milvus_uri)

    @cached_property
    def keyring(self) -> Keyring:
        """The keys of what is encrypted at rest."""
        return keyring(self.settings)

    @cached_property
    def blobs(self) -> Blobs:
        """The pictures."""
        return Blobs(self.settings.blobs, self.keyring)

    @cached_property
    def assets(self) -> AssetCache:
        """Models, and the script of the page."""
        return asset_cache(self.settings)

    @cached_property
    def models(self) -> ModelsInUse:
        """Which models are in use."""
        return ModelsInUse(self.registry, self.settings)

    @property
    def model(self) -> TemplateModel:
        """The embedder in use."""
        return self.models().embedder

    @cached_property
    def faces(self) -> Faces:
        """The models that look at photos."""
        return Faces(self.settings, self.models)


def parts_of(connection: HTTPConnection) -> Parts:
    """The parts, for a dependency of a route: `Annotated[Parts, Depends(parts_of)]`."""
    parts: Parts = connection.app.state.parts
    return parts
