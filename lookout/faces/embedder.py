"""Aligned faces to templates."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lookout.errors import AssetError
from lookout.faces.alignment import align
from lookout.faces.geometry import Floats
from lookout.faces.manifest import EmbedderContract
from lookout.faces.runtime import compile_model

#: Faces of one inference call: larger batches gain nothing on a CPU and hold memory.
MAX_BATCH = 32


class Embedder:
    """One embedding model, as its contract says it wants to be fed. For one thread.

    Raises:
        AssetError: the model cannot be loaded, or is not what its contract says.
    """

    def __init__(self, model: Path, contract: EmbedderContract, *, threads: int = 1, device: str = "CPU") -> None:
        self.contract = contract
        self.dimension = contract.dimension
        compiled = compile_model(model, threads=threads, device=device)
        batch = compiled.input(0).get_partial_shape()[0]
        #: Many published models take exactly one face a call.
        self._fixed_batch: int | None = batch.get_length() if batch.is_static else None
        self._request = compiled.create_infer_request()
        self._check(model)

    def align(self, bgr: NDArray[np.uint8], landmarks: Floats) -> NDArray[np.uint8]:
        """Cut one face out of a BGR picture `(H, W, 3)` as this model expects it: BGR `(S, S, 3)`."""
        return align(bgr, landmarks, self.contract.template)

    def embed(self, aligned_bgr: Sequence[NDArray[np.uint8]]) -> Floats:
        """Templates of aligned BGR faces `(S, S, 3)`: `(N, dimension)`, each of length 1."""
        if not aligned_bgr:
            return np.zeros((0, self.dimension), np.float32)
        step = self._fixed_batch or MAX_BATCH
        batches = [aligned_bgr[start : start + step] for start in range(0, len(aligned_bgr), step)]
        embeddings = np.concatenate([self._infer(np.stack(batch)) for batch in batches])
        return normalised(embeddings)

    def _infer(self, bgr: NDArray[np.uint8]) -> Floats:
        contract = self.contract
        pixels = bgr[..., ::-1] if contract.colour == "rgb" else bgr
        tensor = (pixels.astype(np.float32) - np.float32(contract.mean)) / np.float32(contract.scale)
        if contract.layout == "nchw":
            tensor = tensor.transpose(0, 3, 1, 2)
        count = len(tensor)
        if self._fixed_batch is not None:
            tensor = np.pad(tensor, [(0, self._fixed_batch - count), (0, 0), (0, 0), (0, 0)])
        # Shared, the tensor is checked against the model's shape. Copied, it is not: swapped axes would go unnoticed.
        self._request.infer([np.ascontiguousarray(tensor)], share_inputs=True)
        return np.array(self._request.get_output_tensor(0).data[:count], np.float32)

    def _check(self, model: Path) -> None:
        """Embed one black face: a model that is not as its contract says shows now, not with the first face."""
        size = self.contract.size
        try:
            given = self._infer(np.zeros((1, size, size, 3), np.uint8)).shape
        except RuntimeError as error:
            reason = str(error).strip().splitlines()[-1]
            raise AssetError(
                f"{model} does not take faces as its contract says (layout {self.contract.layout}, size {size}): "
                f"{reason}. Correct the contract."
            ) from error
        if given != (1, self.dimension):
            raise AssetError(
                f"{model} gives {' × '.join(map(str, given[1:]))} values a face, its contract says {self.dimension}. "
                "Correct the contract's dimension, or name another model."
            )


def normalised(vectors: Floats) -> Floats:
    """Vectors `(N, D)` or `(D,)` brought to length 1; a zero vector stays zero."""
    length = np.linalg.norm(vectors, axis=-1, keepdims=True)
    return np.asarray(vectors / np.maximum(length, 1e-12), np.float32)
