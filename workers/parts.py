"""What a worker process works with, made once in each process, after its fork."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

from redis import Redis

from lookout.faces.manifest import EmbedderContract
from lookout.faces.models import embedder_contract, load_embedder
from lookout.settings import Settings
from lookout.stores.blobs import Blobs
from lookout.stores.crops import Crops
from lookout.stores.index import prepare_index, update_index
from lookout.stores.redis import connect
from lookout.stores.registry import Registry
from lookout.stores.vectors import Vectors

if TYPE_CHECKING:
    from lookout.faces.embedder import Embedder


class Parts:
    """Connections and models, each made when it is first used."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings

    @cached_property
    def redis(self) -> Redis:
        """Redis."""
        return connect(self.settings)

    @cached_property
    def crops(self) -> Crops:
        """The crops in Redis."""
        return Crops(self.redis)

    @cached_property
    def registry(self) -> Registry:
        """The registry."""
        return Registry(self.settings.database)

    @cached_property
    def vectors(self) -> Vectors:
        """Milvus."""
        return Vectors(self.settings.milvus_uri)

    @cached_property
    def references(self) -> Vectors:
        """Milvus, with all references in it: nobody is matched against half a watchlist at a start.

        Raises:
            UnavailableError: Milvus or the registry does not answer.
        """
        prepare_index(self.registry, self.vectors, self.settings.embedder, self.contract.dimension)
        update_index(self.registry, self.vectors, self.settings.embedder)
        return self.vectors

    @cached_property
    def blobs(self) -> Blobs:
        """The pictures."""
        return Blobs(self.settings.blobs)

    @cached_property
    def contract(self) -> EmbedderContract:
        """What the embedder expects and gives."""
        return embedder_contract(self.settings)

    @cached_property
    def embedder(self) -> Embedder:
        """The embedder, compiled."""
        return load_embedder(self.settings)
