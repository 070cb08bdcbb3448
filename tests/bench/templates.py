"""What each step does to templates, one by one: `python -m tests.bench.templates FOLDER [STEP…]`.

FOLDER is that of the accuracy data (`lfw`, `dev_ident.csv`, `dev_pairs.txt`). Rows are FNIR at FPIR 0.01 and 0.003 with
95 % intervals over people, without and with distractors, and accuracy on the pairs. docs/accuracy.md has the outcome.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import msgspec
import numpy as np
from numpy.typing import NDArray

from lookout.evaluation.identification import Outcome, at_fpir, identify
from lookout.evaluation.pairs import compare
from lookout.evaluation.pictures import Face, Pictures, embed_pictures, in_the_middle
from lookout.evaluation.protocols import ROLES, Entry, read_pairs, read_protocol
from lookout.faces.alignment import TEMPLATES, align
from lookout.faces.assets import AssetCache
from lookout.faces.combining import STRANGER_RATE, combine
from lookout.faces.detector import SCORE_THRESHOLD, Detection, Detector
from lookout.faces.embedder import AlignedFace, Embedder, Network, normalised
from lookout.faces.enrolment import find_faces
from lookout.faces.geometry import Floats, similarity_transform
from lookout.faces.manifest import REFINER
from lookout.faces.models import asset_cache, open_detector
from lookout.faces.photos import decode_photo, read_photo
from lookout.faces.quantised import best
from lookout.faces.refiner import LandmarkRefiner
from lookout.settings import Settings

MOBILE, DLIB = "mobilefacenet-192", "dlib-resnet-128"
FUSION = {MOBILE: 0.2, DLIB: 0.8}
Bgr = NDArray[np.uint8]


class Interpolated(Embedder):
    """Cuts faces out with another interpolation."""

    flags = cv2.INTER_LINEAR

    def align(self, bgr: Bgr, landmarks: Floats) -> AlignedFace:
        points = landmarks if self._refiner is None else self._refiner.refine(bgr, landmarks)
        cut = []
        for network in self._networks:
            side, template = TEMPLATES[network.contract.template]
            matrix = similarity_transform(points, template)
            cut.append(cv2.warpAffine(bgr, matrix, (side, side), flags=self.flags).astype(np.uint8, copy=False))
        return tuple(cut)


class Resized(Detector):
    """Detects on a copy of another size."""

    def __init__(self, detector: Detector, side_px: int) -> None:
        self._detector, self._side_px = detector, side_px

    def detect(self, bgr: Bgr, *, score_threshold: float = SCORE_THRESHOLD) -> list[Detection]:
        factor = self._side_px / max(bgr.shape[:2])
        resized = cv2.resize(bgr, None, fx=factor, fy=factor, interpolation=cv2.INTER_AREA).astype(np.uint8)
        return [one.scaled(1 / factor) for one in self._detector.detect(resized, score_threshold=score_threshold)]


@dataclass(frozen=True)
class Data:
    """The pictures, who is on them, and the models."""

    folder: Path
    assets: AssetCache

    def embed(self, embedder: Embedder, detector: Detector | None = None) -> Pictures:
        """Templates of all pictures."""
        folds = read_pairs(self.folder / "dev_pairs.txt", self.folder / "lfw")
        paths = [entry.path for entry in self.entries(distractors=True)]
        paths += [path for fold in folds for pair in fold for path in (pair.first, pair.second)]
        return embed_pictures(self.folder / "lfw", paths, detector or open_detector(self.assets, "yunet"), embedder)

    def entries(self, *, distractors: bool) -> list[Entry]:
        """The protocol."""
        return read_protocol(self.folder / "dev_ident.csv", distractors=distractors)

    def networks(
        self, weights: dict[str, float], *, mirrored: bool = True, int8: bool = False
    ) -> list[tuple[Network, float]]:
        """Networks with their weights, as a step wants them."""
        made = []
        for name, weight in weights.items():
            contract = msgspec.structs.replace(self.assets.manifest.single_embedder(name).contract, mirrored=mirrored)
            made.append((Network(best(self.assets, name) if int8 else self.assets.model(name), contract), weight))
        return made

    def refiner(self) -> LandmarkRefiner:
        """The second look at landmarks."""
        return LandmarkRefiner(self.assets.model(REFINER))


def main(folder: Path, steps: Sequence[str]) -> None:
    """Print a row for each step as it is measured."""
    data = Data(folder, asset_cache(Settings()))
    show("step", "FNIR at FPIR 0.01", "at 0.003", "at 0.01, distractors", "at 0.003, distractors", "pairs")
    for name, make in STEPS.items():
        if not steps or name in steps:
            row(data, name, make(data))
    if not steps or "photos" in steps or "quality" in steps:
        kept = data.embed(_embedder(data.networks(FUSION, int8=True), data.refiner()))
        several_photos(data, kept)
        dropped_probes(data, kept)
        cohort(data, kept)


def row(data: Data, name: str, pictures: Pictures) -> None:
    """One step: identification with and without distractors, and pairs."""
    calibration = data.assets.manifest.embedder("fusion-320").calibration
    cells = []
    for distractors in (False, True):
        outcome = identify(data.entries(distractors=distractors), pictures, calibration)
        cells += [cell(outcome, fpir) for fpir in (0.01, 0.003)]
    pairs = compare(read_pairs(data.folder / "dev_pairs.txt", data.folder / "lfw"), pictures)
    show(name, *cells, f"{pairs.accuracy:.2%} ± {pairs.accuracy_se:.2%}")


def several_photos(data: Data, pictures: Pictures) -> None:
    """People with four pictures and more: one, two or three of them enrolled, the others pass."""
    theirs: dict[str, list[str]] = {}
    for entry in data.entries(distractors=False):
        if entry.role in ("gallery", "probe_known"):
            theirs.setdefault(entry.identity, []).append(entry.path)
    strangers = [entry for entry in data.entries(distractors=False) if entry.role == "probe_unknown"]
    calibration = data.assets.manifest.embedder("fusion-320").calibration
    for count in (1, 2, 3):
        entries = list(strangers)
        for person, paths in theirs.items():
            if len(paths) > 3:
                entries += [Entry(person, "gallery", path) for path in paths[:count]]
                entries += [Entry(person, "probe_known", path) for path in paths[3:]]
        outcome = identify(entries, pictures, calibration)
        show(f"{count} photos of {len(outcome.gallery)} people", cell(outcome, 0.01), cell(outcome, 0.003))
        if count == 1:
            tracks(entries, pictures, calibration.score_at(STRANGER_RATE), outcome)


def tracks(entries: Sequence[Entry], pictures: Pictures, least: float, single: Outcome) -> None:
    """Up to four pictures of a person taken for a track: their mean, plain or weighted by quality, without outliers."""
    threshold = at_fpir(single, 0.003).threshold
    gallery = {entry.identity: pictures.faces[entry.path].template for entry in entries if entry.role == "gallery"}
    probes: dict[str, list[Face]] = {}
    for entry in entries:
        if entry.role == "probe_known" and entry.path in pictures.faces:
            probes.setdefault(entry.identity, []).append(pictures.faces[entry.path])
    several = {person: faces[:4] for person, faces in probes.items() if len(faces) > 1}
    missed: dict[str, list[bool]] = {"one picture": [], "mean": [], "by quality": [], "without outliers": []}
    for person, faces in several.items():
        stacked = np.stack([face.template for face in faces])
        weights = [max(face.quality.value, 0.01) for face in faces]
        made = {
            "one picture": stacked[0],
            "mean": normalised(stacked.sum(axis=0)),
            "by quality": normalised((stacked * np.array(weights, np.float32)[:, None]).sum(axis=0)),
            "without outliers": combine(stacked, weights, least).template,
        }
        for name, template in made.items():
            missed[name].append(bool(gallery[person] @ template < threshold))
    for name, flags in missed.items():
        show(f"track of {len(several)} people, {name}", f"{np.mean(flags):.3f} missed at the threshold {threshold:.3f}")


def dropped_probes(data: Data, pictures: Pictures) -> None:
    """The worst twentieth of passes left out, by quality and by the embedding's length: which is the better judge?"""
    network = data.networks({MOBILE: 1.0}, mirrored=False)[0][0]
    detector, refiner = open_detector(data.assets, "yunet"), data.refiner()
    entries = data.entries(distractors=False)
    lengths = {}
    for entry in entries:
        if entry.role.startswith("probe") and entry.path in pictures.faces:
            bgr = decode_photo(read_photo(data.folder / "lfw" / entry.path), entry.path)
            face = in_the_middle(find_faces(bgr, detector), (bgr.shape[1], bgr.shape[0]))
            if face is not None:
                aligned = align(bgr, refiner.refine(bgr, face.landmarks), network.contract.template)
                lengths[entry.path] = float(np.linalg.norm(network._infer(aligned[None])))
    judges = {
        "nothing": dict.fromkeys(lengths, 1.0),
        "quality": {path: pictures.faces[path].quality.value for path in lengths},
        "length": lengths,
    }
    for name, values in judges.items():
        least = np.quantile(list(values.values()), 0.05) if name != "nothing" else 0.0
        kept = [one for one in entries if not one.role.startswith("probe") or values.get(one.path, 0.0) >= least]
        outcome = identify(kept, pictures, data.assets.manifest.embedder("fusion-320").calibration)
        show(f"left out by {name}", cell(outcome, 0.01), cell(outcome, 0.003))


def cohort(data: Data, pictures: Pictures) -> None:
    """Scores normalised by those against a cohort of other people (S-norm over the 50 nearest), which is no cosine."""
    entries = data.entries(distractors=True)
    of = {role: [entry for entry in entries if entry.role == role and entry.path in pictures.faces] for role in ROLES}
    stacked = {role: np.stack([pictures.faces[entry.path].template for entry in mine]) for role, mine in of.items()}
    others, gallery = stacked["distractor_gallery"], stacked["gallery"]

    def normal(scores: Floats, of_probe: Floats) -> Floats:
        (probe_mean, probe_std), (mean, std) = nearest(of_probe @ others.T), nearest(gallery @ others.T)
        return np.asarray(((scores - probe_mean[:, None]) / probe_std[:, None] + (scores - mean) / std) / 2)

    for name, change in (("none", lambda scores, _: scores), ("S-norm", normal)):
        known, unknown = (change(stacked[role] @ gallery.T, stacked[role]) for role in ("probe_known", "probe_unknown"))
        mates = np.array([[one.identity for one in of["gallery"]].index(entry.identity) for entry in of["probe_known"]])
        first = known.argmax(axis=1) == mates
        outcome = Outcome(
            gallery=[entry.identity for entry in of["gallery"]],
            not_enrolled=(),
            known=[entry.identity for entry in of["probe_known"]],
            own=np.where(first, known[np.arange(len(known)), mates], -np.inf).astype(np.float64),
            first=first,
            unknown=[entry.identity for entry in of["probe_unknown"]],
            best=unknown.max(axis=1).astype(np.float64),
            failures={},
        )
        show(f"cohort: {name}", cell(outcome, 0.01), cell(outcome, 0.003))


def nearest(scores: Floats) -> tuple[Floats, Floats]:
    """Mean and spread of each row's 50 highest."""
    highest = np.sort(scores, axis=1)[:, -50:]
    return highest.mean(axis=1), highest.std(axis=1)


def cell(outcome: Outcome, fpir: float) -> str:
    """FNIR with its interval."""
    found = at_fpir(outcome, fpir).fnir
    return f"{found.value:.3f} ({found.low:.3f}–{found.high:.3f})"


def show(*cells: str) -> None:
    """A row of the table."""
    print("| " + " | ".join(cells) + " |", flush=True)  # noqa: T201


def interpolated(flags: int) -> Callable[[Data], Pictures]:
    """The default with another interpolation."""

    def make(data: Data) -> Pictures:
        embedder = Interpolated("measured", data.networks(FUSION, int8=True), data.refiner())
        embedder.flags = flags
        return data.embed(embedder)

    return make


def resized(side_px: int) -> Callable[[Data], Pictures]:
    """The default with the detector's input at another size."""
    return lambda data: data.embed(
        _embedder(data.networks(FUSION, int8=True), data.refiner()),
        Resized(open_detector(data.assets, "yunet"), side_px),
    )


def _embedder(networks: list[tuple[Network, float]], refiner: LandmarkRefiner | None = None) -> Embedder:
    return Embedder("measured", networks, refiner)


STEPS: dict[str, Callable[[Data], Pictures]] = {
    "MobileFaceNet": lambda data: data.embed(_embedder(data.networks({MOBILE: 1.0}, mirrored=False))),
    "+ mirrored": lambda data: data.embed(_embedder(data.networks({MOBILE: 1.0}))),
    "+ dlib": lambda data: data.embed(_embedder(data.networks(FUSION))),
    "+ second look": lambda data: data.embed(_embedder(data.networks(FUSION), data.refiner())),
    "+ INT8": lambda data: data.embed(_embedder(data.networks(FUSION, int8=True), data.refiner())),
    "MobileFaceNet in INT8": lambda data: data.embed(
        _embedder(data.networks({MOBILE: 1.0}, int8=True), data.refiner())
    ),
    "MobileFaceNet, second look": lambda data: data.embed(_embedder(data.networks({MOBILE: 1.0}), data.refiner())),
    "dlib alone": lambda data: data.embed(_embedder(data.networks({DLIB: 1.0}), data.refiner())),
    "dlib alone in INT8": lambda data: data.embed(_embedder(data.networks({DLIB: 1.0}, int8=True), data.refiner())),
    "MTCNN": lambda data: data.embed(_embedder(data.networks(FUSION, int8=True)), open_detector(data.assets, "mtcnn")),
    "cubic": interpolated(cv2.INTER_CUBIC),
    "area": interpolated(cv2.INTER_AREA),
    "Lanczos": interpolated(cv2.INTER_LANCZOS4),
    "detector at 160 px": resized(160),
    "detector at 500 px": resized(500),
}


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
