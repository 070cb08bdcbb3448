"""Erasure as the service does it, for the API and the page."""

from __future__ import annotations

import contextlib

from lookout.accounts.rights import Identity
from lookout.erasure import Erasure, erase_target
from lookout.errors import UnavailableError
from lookout.stores.index import update_index
from lookout.targets.people import get_target
from search.parts import Parts


def erase(parts: Parts, who: Identity, target_id: str, reason: str) -> Erasure:
    """Erase a target with a right to, and tell Milvus at once.

    Raises:
        NotFoundError: there is none, or no right to it, or it was erased before.
        UnavailableError: a store does not answer; nothing is erased.
    """
    with parts.registry.reading() as session:
        get_target(session, who, target_id)
    erasure = erase_target(
        parts.registry,
        parts.blobs,
        parts.vectors,
        parts.keyring,
        parts.model,
        target_id=target_id,
        actor=who.actor,
        reason=reason,
    )
    with contextlib.suppress(UnavailableError):  # then the courier does it; no hit counts that SQL does not know
        update_index(parts.registry, parts.vectors, parts.keyring, parts.model.name)
    return erasure
