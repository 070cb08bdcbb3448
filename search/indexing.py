"""Milvus brought up to date by whoever has just changed the registry, so that workers know within two seconds."""

from __future__ import annotations

import logging

from lookout.errors import UnavailableError
from lookout.stores.index import prepare_index, update_index
from search.parts import Parts

log = logging.getLogger(__name__)


def index_now(parts: Parts) -> None:
    """Tell Milvus what has changed. If it is away, a worker tells it when it is back."""
    model = parts.model
    try:
        try:
            update_index(parts.registry, parts.vectors, parts.keyring, model.name)
        except UnavailableError:
            # Perhaps it has no collections yet.
            prepare_index(parts.registry, parts.vectors, model.name, model.dimension)
            update_index(parts.registry, parts.vectors, parts.keyring, model.name)
    except UnavailableError as error:
        log.warning("the index is brought up to date later: %s", error)
