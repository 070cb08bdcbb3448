from __future__ import annotations

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from lookout.faces.alignment import TEMPLATES, align
from lookout.faces.detector import Detector
from lookout.faces.geometry import Floats


def placed(template: str, angle_deg: float, scale: float, centre: tuple[float, float]) -> Floats:
    """The template's points as the landmarks of a face that is turned, enlarged and put somewhere."""
    side, points = TEMPLATES[template]
    angle = np.deg2rad(angle_deg)
    rotation = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    return np.asarray((points - side / 2) @ rotation.T * scale + np.array(centre), np.float32)


@pytest.fixture(scope="module")
def map_of_places() -> NDArray[np.uint8]:
    """A picture in which each pixel says where it is: x in the first channel, y in the second."""
    y, x = np.mgrid[:256, :256]
    return np.stack([x, y, np.full_like(x, 200)], axis=2).astype(np.uint8)


@pytest.mark.parametrize("template", TEMPLATES)
@pytest.mark.parametrize(
    ("angle_deg", "scale", "centre"),
    [(0, 1, (128, 128)), (0, 0.5, (100, 90)), (30, 0.8, (120, 130)), (-75, 1.2, (128, 128)), (180, 0.3, (60, 200))],
)
def test_landmarks_come_to_lie_on_the_template(
    map_of_places: NDArray[np.uint8], template: str, angle_deg: float, scale: float, centre: tuple[float, float]
) -> None:
    landmarks = placed(template, angle_deg, scale, centre)
    side, points = TEMPLATES[template]

    aligned = align(map_of_places, landmarks, template)

    assert aligned.shape == (side, side, 3)
    assert aligned.dtype == np.uint8
    for (x, y), landmark in zip(points.round().astype(int), landmarks, strict=True):
        # Rounding the point moves it by up to 0.71 template pixels, and each value is rounded once more.
        np.testing.assert_allclose(aligned[y, x, :2], landmark, atol=0.71 * scale + 1)
        assert aligned[y, x, 2] == 200, "colours keep their order"


def test_the_default_template_is_arcface() -> None:
    noise = np.random.default_rng(0).integers(0, 256, (200, 200, 3), np.uint8)
    landmarks = placed("arcface112", 10, 0.9, (100, 100))

    np.testing.assert_array_equal(align(noise, landmarks), align(noise, landmarks, "arcface112"))


def test_luma_alone_is_aligned_alike() -> None:
    noise = np.random.default_rng(0).integers(0, 256, (200, 200), np.uint8)
    landmarks = placed("arcface112", 10, 0.9, (100, 100))

    luma = align(noise, landmarks)

    assert luma.shape == (112, 112)
    np.testing.assert_array_equal(luma, align(np.dstack([noise] * 3), landmarks)[..., 1])


def test_outside_the_picture_is_black() -> None:
    white = np.full((60, 60, 3), 255, np.uint8)

    aligned = align(white, placed("arcface112", 0, 1, (0, 0)))

    assert (aligned[60:, 60:][:45, :45] == 255).all()
    assert not aligned[:50].any()
    assert not aligned[:, :50].any()


@pytest.mark.parametrize("angle_deg", [-40, 0, 25])
def test_a_tilted_head_is_turned_upright(man_a: NDArray[np.uint8], detector: Detector, angle_deg: float) -> None:
    height, width = man_a.shape[:2]
    turned = cv2.warpAffine(
        man_a, cv2.getRotationMatrix2D((width / 2, height / 2), angle_deg, 1.0), (width, height)
    ).astype(np.uint8, copy=False)

    face = detector.detect(turned)[0]
    upright = detector.detect(np.pad(align(turned, face.landmarks), [(40, 40), (40, 40), (0, 0)]))[0]

    left, right = upright.landmarks[0], upright.landmarks[1]
    assert abs(np.degrees(np.arctan2(right[1] - left[1], right[0] - left[0]))) < 6
