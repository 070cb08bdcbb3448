"""Whether a photo that is searched once gives the same answer as one that is searched at both sizes."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from lookout.faces import enrolment
from lookout.faces.assets import AssetCache
from lookout.faces.enrolment import Examination, ExaminedFace, examine
from lookout.faces.models import open_embedder
from lookout.faces.yunet import YuNet

DATA = Path(__file__).resolve().parents[2].parent / "shared" / "data"

pytestmark = pytest.mark.skipif(not DATA.is_dir(), reason=f"the accuracy data is not there: {DATA}")

Picture = NDArray[np.uint8]


class Examiner:
    """Examines photos as they are, and as if each were searched at both sizes."""

    def __init__(self, assets: AssetCache, monkeypatch: pytest.MonkeyPatch) -> None:
        name = "mobilefacenet-192"
        self._embedder = open_embedder(assets, name)
        self._detector = YuNet(assets.model("yunet"))
        self._patch = monkeypatch

    def both_ways(self, bgr: Picture) -> tuple[Examination, Examination]:
        fast = examine(bgr, "photo", self._detector, self._embedder)
        with self._patch.context() as patch:
            patch.setattr(enrolment, "PORTRAIT_PX", float("inf"))
            return fast, examine(bgr, "photo", self._detector, self._embedder)


@pytest.fixture
def examiner(assets: AssetCache, monkeypatch: pytest.MonkeyPatch) -> Examiner:
    return Examiner(assets, monkeypatch)


def read(path: Path) -> Picture:
    bgr = cv2.imread(str(path))
    assert bgr is not None, path
    return bgr.astype(np.uint8, copy=False)


def test_groups_and_nobody_are_answered_alike(examiner: Examiner) -> None:
    paths = [path for folder in ("crowds", "negatives") for path in sorted((DATA / folder).rglob("*.[jp][pn]g"))]
    assert len(paths) > 40
    for path in paths:
        fast, thorough = examiner.both_ways(read(path))
        assert [face.reasons for face in fast.faces] == [face.reasons for face in thorough.faces], path


def widest(examination: Examination) -> ExaminedFace:
    return max(examination.faces, key=lambda face: face.detection.width_px)


def test_portraits_keep_their_face_and_lose_no_good_one(examiner: Examiner) -> None:
    """What only the second search finds beside a portrait is cloth, a hand, a dog, a head cut off by the edge."""
    paths = sorted((DATA / "lfw").glob("*/*_0001.jpg"))[::16]
    assert len(paths) > 100
    for path in paths:
        fast, thorough = examiner.both_ways(cv2.resize(read(path), (1000, 1000)).astype(np.uint8))

        assert sum(face.accepted for face in fast.faces) == sum(face.accepted for face in thorough.faces), path
        one, same = widest(fast).template, widest(thorough).template
        assert (one is None) == (same is None), path
        if one is not None and same is not None:
            assert float(one @ same) > 0.98, path
