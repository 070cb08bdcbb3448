"""Milvus brought up to date by a command."""

from __future__ import annotations

from lookout.errors import UnavailableError
from lookout.models_in_use import models_in_use
from lookout.sealing import Keyring
from lookout.settings import Settings
from lookout.stores.index import prepare_index, update_index
from lookout.stores.registry import Registry
from lookout.stores.vectors import Vectors


def index_now(settings: Settings, registry: Registry, ring: Keyring) -> str:
    """Bring Milvus up to date; where it does not answer, the workers will. Returns what to add to a message."""
    vectors = Vectors(settings.milvus_uri)
    try:
        model = models_in_use(registry, settings).embedder
        prepare_index(registry, vectors, model.name, model.dimension)
        update_index(registry, vectors, ring, model.name)
    except UnavailableError:
        return "; Milvus does not answer, it will be told when it does"
    finally:
        vectors.close()
    return ""
