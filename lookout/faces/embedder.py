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
from lookout.faces.refiner import LandmarkRefiner
from lookout.faces.runtime import compile_model

#: Faces of one inference call: larger batches gain nothing on a CPU and hold memory.
MAX_BATCH = 32


#: A face as each network of an embedder wants it: BGR `(S, S, 3)`, one picture a network.
AlignedFace = tuple[NDArray[np.uint8], ...]


class Embedder:
    """Makes templates: by one network, or by several whose templates are put side by side. For one thread.

    Of several, each is scaled by the root of its weight, so that the cosine of two templates is the weighted mean of
    the networks' cosines: one vector, one search, and a sum of templates is still the sum of each network's.
    """

    def __init__(
        self, name: str, networks: Sequence[tuple[Network, float]], refiner: LandmarkRefiner | None = None
    ) -> None:
        #: In the manifest; what it makes can only be compared with templates of the same name.
        self.name = name
        self._refiner = refiner
        self._networks = [network for network, _ in networks]
        self._scales = [np.float32(np.sqrt(weight)) for _, weight in networks]
        #: Length of a template.
        self.dimension = sum(network.contract.dimension for network in self._networks)

    def align(self, bgr: NDArray[np.uint8], landmarks: Floats) -> AlignedFace:
        """Cut one face out of a BGR picture `(H, W, 3)` as the networks expect it. Any thread may do so."""
        if self._refiner is not None:
            landmarks = self._refiner.refine(bgr, landmarks)
        return tuple(align(bgr, landmarks, network.contract.template) for network in self._networks)

    def embed(self, faces: Sequence[AlignedFace]) -> Floats:
        """Templates of aligned faces: `(N, dimension)`, each of length 1."""
        if not faces:
            return np.zeros((0, self.dimension), np.float32)
        parts = [
            network.embed([face[number] for face in faces]) * scale
            for number, (network, scale) in enumerate(zip(self._networks, self._scales, strict=True))
        ]
        return np.concatenate(parts, axis=1)


class Network:
    """One embedding model, as its contract says it wants to be fed.

    Raises:
        AssetError: the model cannot be loaded, or is not what its contract says.
    """

    def __init__(self, model: Path, contract: EmbedderContract, *, threads: int = 1, device: str = "CPU") -> None:
        self.contract = contract
        compiled = compile_model(model, threads=threads, device=device)
        batch = compiled.input(0).get_partial_shape()[0]
        #: Many published models take exactly one face a call.
        self._fixed_batch: int | None = batch.get_length() if batch.is_static else None
        self._request = compiled.create_infer_request()
        self._check(model)

    def embed(self, aligned_bgr: Sequence[NDArray[np.uint8]]) -> Floats:
        """Embeddings of aligned BGR faces `(S, S, 3)`: `(N, D)`, each of length 1, N at least 1."""
        step = self._fixed_batch or MAX_BATCH
        batches = [np.stack(aligned_bgr[start : start + step]) for start in range(0, len(aligned_bgr), step)]
        embeddings = normalised(np.concatenate([self._infer(batch) for batch in batches]))
        if self.contract.mirrored:
            mirrored = np.concatenate([self._infer(batch[:, :, ::-1]) for batch in batches])
            embeddings = normalised(embeddings + normalised(mirrored))
        return embeddings

    def _infer(self, bgr: NDArray[np.uint8]) -> Floats:
        tensor = as_tensor(bgr, self.contract)
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
        if given != (1, self.contract.dimension):
            raise AssetError(
                f"{model} gives {' × '.join(map(str, given[1:]))} values a face, its contract says "
                f"{self.contract.dimension}. Correct the contract's dimension, or name another model."
            )


def as_tensor(bgr: NDArray[np.uint8], contract: EmbedderContract) -> Floats:
    """Aligned BGR faces `(N, S, S, 3)` as a network wants them."""
    pixels = bgr[..., ::-1] if contract.colour == "rgb" else bgr
    tensor = (pixels.astype(np.float32) - np.float32(contract.mean)) / np.float32(contract.scale)
    return np.ascontiguousarray(tensor.transpose(0, 3, 1, 2) if contract.layout == "nchw" else tensor)


def normalised(vectors: Floats) -> Floats:
    """Vectors `(N, D)` or `(D,)` brought to length 1; a zero vector stays zero."""
    length = np.linalg.norm(vectors, axis=-1, keepdims=True)
    return np.asarray(vectors / np.maximum(length, 1e-12), np.float32)
