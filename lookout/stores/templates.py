"""Templates as they lie in the registry: little-endian float32, sealed for their row."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from lookout.sealing import Keyring

Floats = NDArray[np.float32]

#: Templates are means weighted by quality; a picture of no quality would have no weight at all.
LEAST_WEIGHT = 0.01


def weighted(embedding: Floats, quality: float) -> Floats:
    """An embedding `(D,)` as it counts in a sighting's sum."""
    return embedding * np.float32(max(quality, LEAST_WEIGHT))


def reference_place(reference_id: str) -> str:
    """Where a reference's template lies."""
    return f"references/{reference_id}"


def target_place(target_id: str) -> str:
    """Where a target's combined template lies."""
    return f"targets/{target_id}"


def sighting_place(sighting_id: str) -> str:
    """Where a sighting's sum of embeddings lies."""
    return f"sightings/{sighting_id}"


def pack(template: Floats, keyring: Keyring, place: str) -> bytes:
    """Seal `(D,)` for its place."""
    return keyring.seal(template.astype("<f4").tobytes(), place)


def unpack(sealed: bytes, keyring: Keyring, place: str) -> Floats:
    """Open `(D,)` from its place.

    Raises:
        SealError: it cannot be decrypted.
    """
    return np.frombuffer(keyring.open(sealed, place), "<f4").astype(np.float32)


def unpack_many(sealed: Mapping[str, bytes], keyring: Keyring) -> Floats:
    """Open N templates, by their places, as `(N, D)`.

    Raises:
        SealError: one of them cannot be decrypted.
    """
    templates = [unpack(one, keyring, place) for place, one in sealed.items()]
    return np.stack(templates) if templates else np.zeros((0, 0), np.float32)
