"""Templates as bytes: little-endian float32."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]


def pack(template: Floats) -> bytes:
    """`(D,)` to bytes."""
    return template.astype("<f4").tobytes()


def unpack(data: bytes) -> Floats:
    """Bytes to `(D,)`."""
    return np.frombuffer(data, "<f4").astype(np.float32)


def unpack_many(data: Sequence[bytes]) -> Floats:
    """Bytes of N templates to `(N, D)`."""
    return np.stack([unpack(one) for one in data]) if data else np.zeros((0, 0), np.float32)
