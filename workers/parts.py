"""What a worker process works with, made once in each process, after its fork."""

from __future__ import annotations

import logging
from functools import cached_property
from typing import TYPE_CHECKING

from redis import Redis

from lookout.errors import SealError, UnavailableError
from lookout.faces.models import TemplateModel, load_embedder
from lookout.footage.folder import FootageFolder
from lookout.models_in_use import ModelsInUse
from lookout.sealing import Keyring, keyring
from lookout.settings import Settings
from lookout.stores.blobs import Blobs
from lookout.stores.crops import Crops
from lookout.stores.dead_letters import DeadLetters
from lookout.stores.index import prepare_index, update_index
from lookout.stores.redis import connect
from lookout.stores.registry import Registry
from lookout.stores.vectors import Vectors

if TYPE_CHECKING:
    from lookout.faces.embedder import Embedder


log = logging.getLogger(__name__)


class Parts:
    """Connections and models, each made when it is first used."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        #: The embedder of whose templates Milvus was seen to have all.
        self._filled = ""
        #: The embedder that was loaded last.
        self.loaded: Embedder | None = None

    @cached_property
    def keyring(self) -> Keyring:
        """The keys of all that is sealed.

        Raises:
            BadInputError: they are missing, or are none.
        """
        return keyring(self.settings)

    @cached_property
    def redis(self) -> Redis:
        """Redis."""
        return connect(self.settings)

    @cached_property
    def crops(self) -> Crops:
        """The crops in Redis."""
        return Crops(self.redis, self.keyring)

    @cached_property
    def dead_letters(self) -> DeadLetters:
        """The messages that keep failing."""
        return DeadLetters(self.redis)

    @cached_property
    def registry(self) -> Registry:
        """The registry."""
        return Registry(self.settings.database)

    @cached_property
    def vectors(self) -> Vectors:
        """Milvus."""
        return Vectors(self.settings.milvus_uri)

    @property
    def watchlists(self) -> Vectors:
        """Milvus, with all targets in it: nobody is matched against half a watchlist, at a start or a switch.

        Raises:
            UnavailableError: Milvus or the registry does not answer, or a template cannot be decrypted.
        """
        model = self.model
        if model.name != self._filled:
            prepare_index(self.registry, self.vectors, model.name, model.dimension)
            try:
                update_index(self.registry, self.vectors, self.keyring, model.name)
            except SealError as error:
                # No fault of the crops that wait: they must not become dead letters.
                raise UnavailableError(f"the watchlists cannot be read: {error}") from error
            self._filled = model.name
        return self.vectors

    @cached_property
    def blobs(self) -> Blobs:
        """The pictures."""
        return Blobs(self.settings.blobs, self.keyring)

    @cached_property
    def footage(self) -> FootageFolder:
        """Recorded video."""
        return FootageFolder(self.settings.footage_folder)

    @cached_property
    def models(self) -> ModelsInUse:
        """Which models are in use."""
        return ModelsInUse(self.registry, self.settings)

    @property
    def model(self) -> TemplateModel:
        """The embedder in use."""
        return self.models().embedder

    @property
    def embedder(self) -> Embedder:
        """The embedder in use, compiled. For one thread."""
        model = self.model
        if self.loaded is None or self.loaded.name != model.name:
            self.loaded = load_embedder(self.settings, model.name)
            log.info("the embedder %s is loaded", model.name)
        return self.loaded
