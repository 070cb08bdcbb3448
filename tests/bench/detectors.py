"""`python -m tests.bench.detectors`: the detectors side by side, as a table.

Nobody has marked the faces of the pictures in `shared/data` down to the last one, so truth is what the detectors agree
on: a face of 60 px and more that both find in the full-size picture, its box and landmarks the mean of theirs. Then the
picture is reduced step by step, and each is asked for the face again (IoU of at least 0.4).

This shows how small a face may be, how steady the landmarks are against those of the large face, and what it costs. It
does not show which finds more of what is hard: a face that either misses at full size, turned away or covered, is not
asked for. It is a little kind to both, as each is half the truth, and equally so. `labelled` asks for the 43 faces that
dlib's author marked by hand: few, but nobody's own.
"""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from xml.etree import ElementTree as ET

import cv2
import numpy as np
from numpy.typing import NDArray

from lookout.faces.detector import Detection, Detector
from lookout.faces.geometry import iou_matrix
from lookout.faces.models import asset_cache, open_detector
from lookout.settings import Settings

DATA = Path(__file__).resolve().parents[3] / "shared" / "data"
#: It shows two people playing; all the other negatives show none.
SHOWS_PEOPLE = {"basketball1.png"}
NAMES = ("yunet", "mtcnn")
WIDTHS_PX = (8, 10, 12, 16, 20, 28, 40, 60, 100)
TRUTH_PX, TRUTH_IOU, FOUND_IOU = 60.0, 0.5, 0.4
#: Every so many of LFW's 3,101 photos.
LFW_STEP = 15
#: Smaller pictures are laid side by side, like tiles, up to this size: no camera gives smaller ones, and alone, or in a
#: plain frame, YuNet finds half as many of the faces below 16 px.
LEAST_SIDE_PX = 320

Picture = NDArray[np.uint8]
#: Of one face: how wide it was, and how far each detector's landmarks were off in widths, or None if it was not found.
Asked = tuple[float, tuple[float | None, ...]]


def main() -> None:
    """Print each table as it is known."""
    assets = asset_cache(Settings())
    detectors = [open_detector(assets, name) for name in NAMES]
    crowds = sorted((DATA / "crowds").rglob("*.jpg"))
    lfw = sorted((DATA / "lfw").rglob("*.jpg"))[::LFW_STEP]
    for name, files in (("crowds", crowds), ("LFW", lfw)):
        asked = [face for file in files for face in ask(detectors, read(file))]
        say(f"\n{name}: {len(files)} photos\n{'width px':>10} {'faces':>6} " + columns("recall") + columns("landmarks"))
        for least, most in pairwise(WIDTHS_PX):
            say(f"{f'{least}-{most}':>10} " + row([errors for width, errors in asked if least <= width < most]))
    say("\n" + columns("figure"))
    say(f"{'labelled faces found, of 43':<40}" + "".join(f"{labelled(d):>18}" for d in detectors))
    for score in (0.6, 0.8):
        say(f"{f'found in negatives, score {score}':<40}" + "".join(f"{false(d, score):>18}" for d in detectors))
    for size in ((640, 384), (1280, 720)):
        name = f"CPU ms, {size[0]} x {size[1]}: median (least, most)"
        say(f"{name:<40}" + "".join(f"{milliseconds(d, crowds[::3], size):>18}" for d in detectors))


def ask(detectors: list[Detector], bgr: Picture) -> Iterator[Asked]:
    """Each face that the detectors agree on, once for each size to which the picture is reduced."""
    truth = list(agreed(*(detector.detect(bgr) for detector in detectors)))
    factor = 0.75
    while truth and factor * max(face.width_px for face in truth) >= WIDTHS_PX[0]:
        reduced = tiled(cv2.resize(bgr, None, fx=factor, fy=factor, interpolation=cv2.INTER_AREA))
        found = [detector.detect(reduced) for detector in detectors]
        for face in truth:
            small = face.scaled(factor)
            yield small.width_px, tuple(error(small, faces) for faces in found)
        factor *= 0.75


def agreed(one: list[Detection], other: list[Detection]) -> Iterator[Detection]:
    """The faces, large enough, that both found."""
    for face in one:
        if (twin := nearest(face, other, TRUTH_IOU)) is not None:
            boxes, landmarks = face.box_xyxy + twin.box_xyxy, face.landmarks + twin.landmarks
            mean = Detection(boxes * np.float32(0.5), landmarks * np.float32(0.5), face.score)
            if mean.width_px >= TRUTH_PX:
                yield mean


def nearest(face: Detection, others: list[Detection], least_iou: float) -> Detection | None:
    """The one that overlaps most, if it does so enough."""
    if not others:
        return None
    overlaps = iou_matrix(face.box_xyxy[None], np.stack([other.box_xyxy for other in others]))[0]
    return others[int(overlaps.argmax())] if overlaps.max() >= least_iou else None


def error(face: Detection, found: list[Detection]) -> float | None:
    """Mean distance of the landmarks, in widths of the face."""
    twin = nearest(face, found, FOUND_IOU)
    if twin is None:
        return None
    return float(np.linalg.norm(twin.landmarks - face.landmarks, axis=1).mean()) / face.width_px


def tiled(bgr: NDArray[np.generic]) -> Picture:
    """The picture as often as needed; at the top left it lies as it is."""
    rows, columns = (-(-LEAST_SIDE_PX // side) for side in bgr.shape[:2])
    return np.tile(bgr, (rows, columns, 1)).astype(np.uint8, copy=False)


def labelled(detector: Detector) -> str:
    """How many of the faces are found that dlib's author marked."""
    found = marked = 0
    for file in ("training.xml", "testing.xml"):
        for image in ET.parse(DATA / "crowds" / "dlib-faces" / file).iter("image"):  # noqa: S314
            faces = detector.detect(read(DATA / "crowds" / "dlib-faces" / image.attrib["file"]))
            for box in image.iter("box"):
                left, top, width, height = (float(box.attrib[name]) for name in ("left", "top", "width", "height"))
                truth = np.array([left, top, left + width, top + height], np.float32)
                marked += 1
                found += nearest(Detection(truth, np.zeros((5, 2), np.float32), 1.0), faces, FOUND_IOU) is not None
    return f"{found} of {marked}"


def false(detector: Detector, score: float) -> int:
    """Faces found where there are none."""
    files = [file for file in sorted((DATA / "negatives").rglob("*.*")) if file.name not in SHOWS_PEOPLE]
    return sum(len(detector.detect(read(file), score_threshold=score)) for file in files)


def milliseconds(detector: Detector, files: list[Path], size: tuple[int, int]) -> str:
    """What a picture costs: MTCNN's work depends on what it shows."""
    times = []
    for file in files:
        bgr = cv2.resize(read(file), size, interpolation=cv2.INTER_AREA).astype(np.uint8, copy=False)
        detector.detect(bgr)
        runs = []
        for _ in range(3):
            began = time.process_time()
            detector.detect(bgr)
            runs.append(1000 * (time.process_time() - began))
        times.append(min(runs))
    return f"{statistics.median(times):.0f} ({min(times):.0f}, {max(times):.0f})"


def row(faces: list[tuple[float | None, ...]]) -> str:
    """Recall of all, and the landmarks' mean error on those that all found."""
    both = [errors for errors in faces if None not in errors]
    count = range(len(NAMES))
    recalls = [sum(errors[k] is not None for errors in faces) / max(1, len(faces)) for k in count]
    means = [statistics.fmean(errors[k] or 0.0 for errors in both) if both else float("nan") for k in count]
    return f"{len(faces):>6} " + "".join(f"{figure:>18.3f}" for figure in (*recalls, *means))


def columns(figure: str) -> str:
    return "".join(f"{f'{figure} {name}':>18}" for name in NAMES)


def read(file: Path) -> Picture:
    bgr = cv2.imread(str(file))
    if bgr is None:
        sys.exit(f"{file} is no picture.")
    return bgr.astype(np.uint8, copy=False)


def say(line: str) -> None:
    print(line, flush=True)  # noqa: T201


if __name__ == "__main__":
    main()
