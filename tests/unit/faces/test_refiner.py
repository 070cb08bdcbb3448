from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from lookout.faces.alignment import TEMPLATES
from lookout.faces.assets import AssetCache
from lookout.faces.detector import Detector
from lookout.faces.geometry import Floats
from lookout.faces.manifest import REFINER
from lookout.faces.refiner import SIDE, LandmarkRefiner, face_square

Picture = NDArray[np.uint8]
TEMPLATE = TEMPLATES["arcface112"][1]


@pytest.fixture(scope="module")
def refiner(assets: AssetCache) -> LandmarkRefiner:
    return LandmarkRefiner(assets.model(REFINER))


@pytest.fixture
def landmarks(detector: Detector, man_a: Picture) -> Floats:
    return detector.detect(man_a)[0].landmarks


def test_good_landmarks_stay_where_they_are(refiner: LandmarkRefiner, man_a: Picture, landmarks: Floats) -> None:
    eyes = float(np.hypot(*(landmarks[1] - landmarks[0])))
    moved = np.hypot(*(refiner.refine(man_a, landmarks) - landmarks).T)
    assert moved.max() < 0.15 * eyes


@pytest.mark.parametrize("shift", [(0.08, 0.0), (0.0, 0.08), (-0.06, -0.06)])
def test_landmarks_that_are_off_are_brought_closer(
    refiner: LandmarkRefiner, man_a: Picture, landmarks: Floats, shift: tuple[float, float]
) -> None:
    best = refiner.refine(man_a, landmarks)
    off = landmarks + np.array(shift, np.float32) * np.float32(np.hypot(*(landmarks[1] - landmarks[0])))
    again = refiner.refine(man_a, off)
    assert np.hypot(*(again - best).T).mean() < 0.75 * np.hypot(*(off - best).T).mean()


def test_where_no_face_is_they_come_back_as_they_were(refiner: LandmarkRefiner, landmarks: Floats) -> None:
    grey = np.full((480, 640, 3), 128, np.uint8)
    np.testing.assert_array_equal(refiner.refine(grey, landmarks), landmarks)


def test_a_face_half_outside_the_picture_is_refined(
    refiner: LandmarkRefiner, man_a: Picture, landmarks: Floats
) -> None:
    left = int(landmarks[:, 0].mean())
    assert np.isfinite(refiner.refine(man_a[:, left:], landmarks - np.array([left, 0], np.float32))).all()


def test_landmarks_outside_the_picture_come_back(refiner: LandmarkRefiner, landmarks: Floats) -> None:
    far = landmarks + np.float32(10_000)
    np.testing.assert_array_equal(refiner.refine(np.zeros((64, 64, 3), np.uint8), far), far)


@given(st.floats(0.2, 20), st.floats(-500, 500), st.floats(-500, 500), st.floats(-0.6, 0.6))
def test_the_square_follows_the_face(scale: float, x: float, y: float, turn: float) -> None:
    turned = cv2.transform(TEMPLATE[None], cv2.getRotationMatrix2D((56, 56), np.degrees(turn), scale))[0]
    x1, y1, x2, y2 = face_square((turned + np.array([x, y])).astype(np.float32))
    assert x2 - x1 == pytest.approx(y2 - y1, rel=1e-3, abs=1e-3)
    assert x2 - x1 == pytest.approx(SIDE * scale, rel=1e-2)
    middle = turned.mean(axis=0) + np.array([x, y])
    assert np.hypot(*(np.array([x1 + x2, y1 + y2]) / 2 - middle)) < 0.15 * SIDE * scale
