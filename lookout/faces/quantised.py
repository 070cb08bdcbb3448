"""Embedders in INT8: two to three times as fast on a CPU, and nearly as good.

NNCF chooses the ranges of weights and activations after training (B. Jacob et al., "Quantization and Training of Neural
Networks for Efficient Integer-Arithmetic-Only Inference", CVPR 2018), from faces of pictures that packages ship, varied
as cameras vary them. What comes out is used only if it embeds pictures that were held back as the original does, and is
faster on this machine. Templates of both may be compared with one another: it is the same model.
"""

from __future__ import annotations

import contextlib
import logging
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import cv2
import msgspec
import numpy as np
from numpy.typing import NDArray

from lookout.errors import AssetError
from lookout.faces.alignment import align
from lookout.faces.assets import MODEL_FILES, AssetCache, Progress, model_fault, write_record
from lookout.faces.embedder import Network, as_tensor
from lookout.faces.enrolment import find_faces
from lookout.faces.geometry import Floats
from lookout.faces.manifest import REFINER, Embedder, EmbedderContract
from lookout.faces.photos import decode_photo, read_photo
from lookout.faces.yunet import YuNet

log = logging.getLogger(__name__)

#: Raise it when what is made here changes: models are then made anew.
REVISION = 1
#: Faces to choose ranges from: each face of the pictures in so many variants makes about this many.
SAMPLES = 288
#: Every held face's embedding must point so far where the original's does.
LEAST_COSINE = 0.98
#: A gain that is less is not worth another file.
LEAST_SPEEDUP = 1.1
_VERDICT = "verdict.json"

Picture = NDArray[np.uint8]


class Verdict(msgspec.Struct, frozen=True):
    """What became of a quantised model on this machine.

    Attributes:
        cosine: the least one, of held faces, between its embeddings and the original's.
        speedup: how many times faster it is.
    """

    cosine: float
    speedup: float

    @property
    def accepted(self) -> bool:
        """Whether it is used."""
        return self.cosine >= LEAST_COSINE and self.speedup >= LEAST_SPEEDUP


def best(assets: AssetCache, name: str) -> Path:
    """The file to load an embedder from: in INT8 where that was made and accepted, otherwise as it was published.

    Raises:
        NotFoundError: the manifest has no such model.
        AssetError: it cannot be fetched.
    """
    published = assets.model(name)
    verdict = verdict_on(assets, name)
    return _folder(published) / MODEL_FILES[0] if verdict is not None and verdict.accepted else published


def verdict_on(assets: AssetCache, name: str) -> Verdict | None:
    """What became of a model in INT8; None if it was not made, is damaged, or the model itself is not here."""
    published = assets.find(name)
    if published is None or not isinstance(assets.manifest.model(name), Embedder):
        return None
    folder = _folder(published)
    try:
        return None if model_fault(folder) else msgspec.json.decode((folder / _VERDICT).read_bytes(), type=Verdict)
    except (OSError, msgspec.MsgspecError):
        return None


def quantise(assets: AssetCache, name: str, progress: Progress = lambda _name, _doing: None) -> Verdict | None:
    """Make a packaged embedder in INT8 and judge it, unless that was done; None for a model that is none.

    Raises:
        NotFoundError: the manifest has no such model.
        AssetError: the model, or a picture, cannot be fetched.
    """
    asset = assets.manifest.model(name)
    if not isinstance(asset, Embedder):
        return None
    published = assets.model(name)
    if (known := verdict_on(assets, name)) is not None:
        return known
    detector = YuNet(assets.model("yunet"))
    progress(name, "quantising to INT8")
    contract = asset.contract
    faces, held = (
        [align(bgr, points, contract.template) for bgr, points in _faces(assets, names, detector)]
        for names in (assets.manifest.calibration_pictures, assets.manifest.held_pictures)
    )
    with assets.workshop() as work:
        made = work / "int8"
        made.mkdir()
        _convert(published, contract, faces, made / MODEL_FILES[0])
        verdict = _judge(published, made / MODEL_FILES[0], contract, held)
        log.info("%s in INT8: cosine %.4f, %.1f times as fast", name, verdict.cosine, verdict.speedup)
        write_record(made)
        (made / _VERDICT).write_bytes(msgspec.json.encode(verdict))
        place = _folder(published)
        if place.exists():
            place.rename(work / "damaged")
        made.rename(place)
    return verdict


def prepare(assets: AssetCache, embedder: str, progress: Progress = lambda _name, _doing: None) -> None:
    """Have an embedder's networks ready, in INT8 if that can be: without it they only take longer.

    Raises:
        NotFoundError: the manifest has no such embedder.
        AssetError: a network cannot be fetched.
    """
    assets.manifest.embedder(embedder)
    parts = assets.manifest.files_of(embedder)
    assets.fetch([*parts, REFINER], progress)
    try:
        for part in parts:
            quantise(assets, part, progress)
    except AssetError as error:
        log.warning("embedders run as they were published, not in INT8: %s", error)


def _folder(published: Path) -> Path:
    return published.parent.with_name(f"{published.parent.name}-int8-{REVISION}")


def _faces(assets: AssetCache, names: Sequence[str], detector: YuNet) -> Iterator[tuple[Picture, Floats]]:
    """Each face of the pictures: the picture, BGR, and the face's landmarks."""
    files = assets.fetch(names)
    for name in names:
        bgr = decode_photo(read_photo(files[name]), name)
        for face in find_faces(bgr, detector):
            yield bgr, face.landmarks


def _convert(published: Path, contract: EmbedderContract, faces: Sequence[Picture], xml: Path) -> None:
    # They take seconds to import.
    import nncf  # type: ignore[import-untyped]
    import openvino as ov

    rng = np.random.default_rng(0)
    samples = [as_tensor(varied(faces[k % len(faces)], rng)[None], contract) for k in range(SAMPLES)]
    nncf.set_log_level(logging.ERROR)
    with contextlib.redirect_stdout(sys.stderr):  # its bars have no business in what a command prints as JSON
        model = nncf.quantize(
            ov.Core().read_model(published),
            nncf.Dataset(samples),
            # Symmetric ranges for activations, too: asymmetric ones lost more (least cosine on 300 faces 0.948, not
            # 0.994).
            preset=nncf.QuantizationPreset.PERFORMANCE,
            subset_size=len(samples),
        )
    ov.save_model(model, xml, compress_to_fp16=False)


def varied(face: Picture, rng: np.random.Generator) -> Picture:
    """An aligned face, BGR `(S, S, 3)`, as another camera might have seen it: mirrored, shifted, darker, blurred."""
    side = len(face)
    if rng.random() < 0.5:
        face = np.ascontiguousarray(face[:, ::-1])
    shift = np.array([[1, 0, rng.normal(0, 0.01 * side)], [0, 1, rng.normal(0, 0.01 * side)]], np.float32)
    moved = cv2.warpAffine(face, shift, (side, side), borderMode=cv2.BORDER_REPLICATE).astype(np.float32)
    light: NDArray[Any] = 255 * (moved / 255) ** rng.uniform(0.6, 1.4) * rng.uniform(0.75, 1.2) + rng.uniform(-15, 15)
    if rng.random() < 0.4:
        small = cv2.resize(light, None, fx=(scale := rng.uniform(0.25, 0.8)), fy=scale, interpolation=cv2.INTER_AREA)
        light = cv2.resize(small, (side, side))
    return np.asarray(np.clip(light, 0, 255), np.uint8)


def _judge(published: Path, quantised: Path, contract: EmbedderContract, held: Sequence[Picture]) -> Verdict:
    networks = [Network(file, contract) for file in (published, quantised)]
    ours, theirs = (network.embed(held) for network in networks)
    # One after the other, so that whatever else runs slows both.
    times = np.array([[_seconds(network, held) for network in networks] for _ in range(15)])
    before, after = np.median(times, axis=0)
    return Verdict(cosine=round(float((ours * theirs).sum(axis=1).min()), 4), speedup=round(float(before / after), 2))


def _seconds(network: Network, faces: Sequence[Picture]) -> float:
    began = time.perf_counter()
    network.embed(faces)
    return time.perf_counter() - began
