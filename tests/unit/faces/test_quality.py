from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from lookout.faces.alignment import TEMPLATES
from lookout.faces.detector import Detection, Detector
from lookout.faces.gates import USABLE
from lookout.faces.geometry import Floats
from lookout.faces.quality import Quality, assess, pose, sharpness

Picture = NDArray[np.uint8]
REASONS = ("small", "blurred", "dark", "extreme_pose", "low_score")


@pytest.fixture(scope="module")
def face(detector: Detector, man_a: Picture) -> Detection:
    return detector.detect(man_a)[0]


def resized(picture: Picture, face: Detection, width_px: float) -> tuple[Picture, Detection]:
    """The picture reduced until the face has that width."""
    factor = width_px / face.width_px
    reduced = cv2.resize(picture, None, fx=factor, fy=factor, interpolation=cv2.INTER_AREA)
    return reduced.astype(np.uint8, copy=False), face.scaled(factor)


def blurred(picture: Picture, sigma_px: float) -> Picture:
    return cv2.GaussianBlur(picture, (0, 0), sigma_px).astype(np.uint8, copy=False) if sigma_px else picture


def darkened(picture: Picture, factor: float) -> Picture:
    return (picture * factor).astype(np.uint8)


def flattened(picture: Picture, contrast: float) -> Picture:
    return (128 + (picture.astype(np.float32) - 128) * contrast).astype(np.uint8)


def turned(face: Detection, right: float, down: float = 0.0) -> Detection:
    """The nose moved by shares of the distance between the eyes."""
    landmarks = face.landmarks.copy()
    landmarks[2] += np.array([right, down], np.float32) * (landmarks[1, 0] - landmarks[0, 0])
    return replace(face, landmarks=landmarks)


def test_a_good_photo_has_no_reasons(man_a: Picture, face: Detection) -> None:
    assert assess(man_a, face) == Quality(1.0, ())
    assert assess(man_a, face).usable


@pytest.mark.parametrize(
    ("width_px", "reasons"), [(12, ("small",)), (20, ("small",)), (27, ("small",)), (29, ()), (40, ()), (90, ())]
)
def test_small(man_a: Picture, face: Detection, width_px: float, reasons: tuple[str, ...]) -> None:
    assert assess(*resized(man_a, face, width_px)).reasons == reasons


@pytest.mark.parametrize(("sigma_px", "reasons"), [(2, ()), (4, ()), (8, ("blurred",)), (15, ("blurred",))])
def test_blurred(man_a: Picture, face: Detection, sigma_px: float, reasons: tuple[str, ...]) -> None:
    assert assess(blurred(man_a, sigma_px), face).reasons == reasons


@pytest.mark.parametrize(("factor", "reasons"), [(0.6, ()), (0.3, ()), (0.2, ("dark",)), (0.1, ("dark",))])
def test_dark(man_a: Picture, face: Detection, factor: float, reasons: tuple[str, ...]) -> None:
    assert assess(darkened(man_a, factor), face).reasons == reasons


@pytest.mark.parametrize(("contrast", "dark"), [(0.6, False), (0.1, True), (0.0, True)])
def test_in_fog_a_face_is_dark_too(man_a: Picture, face: Detection, contrast: float, dark: bool) -> None:
    assert ("dark" in assess(flattened(man_a, contrast), face).reasons) == dark


@pytest.mark.parametrize(
    ("right", "down", "reasons"),
    [
        (0.0, 0.0, ()),
        (0.2, 0.0, ()),
        (0.65, 0.0, ("extreme_pose",)),
        (-0.4, 0.0, ("extreme_pose",)),
        (0.1, 0.55, ("extreme_pose",)),
        (0.1, -0.65, ("extreme_pose",)),
    ],
)
def test_extreme_pose(man_a: Picture, face: Detection, right: float, down: float, reasons: tuple[str, ...]) -> None:
    # Only the pose is looked at: the moved nose moves the crop a little, too.
    found = assess(man_a, turned(face, right, down)).reasons

    assert tuple(reason for reason in found if reason == "extreme_pose") == reasons


@pytest.mark.parametrize(("score", "reasons"), [(0.61, ("low_score",)), (0.79, ("low_score",)), (0.81, ()), (1.0, ())])
def test_low_score(man_a: Picture, face: Detection, score: float, reasons: tuple[str, ...]) -> None:
    assert assess(man_a, replace(face, score=score)).reasons == reasons


@pytest.mark.parametrize(
    ("sigma_px", "light", "reasons"),
    [
        (3, 1.0, ("small", "blurred", "extreme_pose", "low_score")),
        (0, 0.2, ("small", "dark", "extreme_pose", "low_score")),
    ],
)
def test_all_that_is_wrong_is_said(
    man_a: Picture, face: Detection, sigma_px: float, light: float, reasons: tuple[str, ...]
) -> None:
    picture, there = resized(man_a, face, 20)

    quality = assess(darkened(blurred(picture, sigma_px), light), replace(turned(there, -0.6), score=0.7))

    assert quality.reasons == reasons
    assert not quality.usable


@settings(max_examples=150, deadline=None)
@given(
    width_px=st.floats(8, 183),
    sigma=st.floats(0, 0.1),
    light=st.floats(0, 1),
    right=st.floats(-1, 1),
    down=st.floats(-1, 1),
    score=st.floats(0.6, 1),
)
def test_figure_and_reasons_never_disagree(
    man_a: Picture,
    face: Detection,
    width_px: float,
    sigma: float,
    light: float,
    right: float,
    down: float,
    score: float,
) -> None:
    picture, there = resized(man_a, face, width_px)
    there = replace(turned(there, right, down), score=score)

    quality = assess(darkened(blurred(picture, sigma * width_px), light), there)

    assert 0 <= quality.value <= 1
    assert (quality.value < USABLE) == bool(quality.reasons)
    assert quality.usable == (not quality.reasons)
    assert list(quality.reasons) == [reason for reason in REASONS if reason in quality.reasons], "each once, in order"


@pytest.mark.parametrize("degrade", ["small", "blurred", "dark", "low_score"])
def test_worse_is_never_better(man_a: Picture, face: Detection, degrade: str) -> None:
    steps = np.linspace(0, 1, 12)
    made: Callable[[float], tuple[Picture, Detection]] = {
        "small": lambda step: resized(man_a, face, 120 - 105 * step),
        "blurred": lambda step: (blurred(man_a, 14 * step), face),
        "dark": lambda step: (darkened(man_a, 1 - step), face),
        "low_score": lambda step: (man_a, replace(face, score=1 - 0.4 * step)),
    }[degrade]

    values = [assess(*made(float(step))).value for step in steps]

    assert values[0] == 1
    assert values[-1] < USABLE
    assert all(later <= earlier + 0.02 for earlier, later in pairwise(values))


def test_luma_is_judged_like_colour(man_a: Picture, face: Detection) -> None:
    luma = cv2.cvtColor(man_a, cv2.COLOR_BGR2GRAY).astype(np.uint8, copy=False)

    for light in (1.0, 0.35, 0.2):
        colour, grey = assess(darkened(man_a, light), face), assess(darkened(luma, light), face)
        assert grey.reasons == colour.reasons
        assert grey.value == pytest.approx(colour.value, abs=0.03)


def test_a_face_half_outside_the_picture_is_judged(detector: Detector, man_a: Picture) -> None:
    (cut,) = detector.detect(man_a[:, 240:])

    assert 0 <= assess(man_a[:, 240:], cut).value <= 1


# --- its parts ---


@given(st.floats(0.2, 5), st.floats(-100, 100))
def test_sharpness_is_the_same_in_light_and_in_shade(gain: float, offset: float) -> None:
    luma = np.random.default_rng(1).uniform(50, 90, (76, 64)).astype(np.float32)

    assert sharpness((luma * gain + offset).astype(np.float32)) == pytest.approx(sharpness(luma), rel=1e-3)


def test_a_plain_surface_is_not_sharp() -> None:
    assert sharpness(np.full((76, 64), 90, np.float32)) == 0


def detection(landmarks: Floats) -> Detection:
    return Detection(np.array([0, 0, 100, 100], np.float32), landmarks, 0.9)


@given(st.floats(-np.pi, np.pi), st.floats(0.2, 10), st.floats(-500, 500), st.floats(-0.9, 0.9), st.floats(-0.9, 0.9))
def test_pose_is_that_of_the_face_not_of_the_camera(
    angle: float, scale: float, shift: float, right: float, down: float
) -> None:
    _, points = TEMPLATES["arcface112"]
    there = turned(detection(points), right, down)
    rotation = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    elsewhere = detection((there.landmarks @ rotation.T * scale + shift).astype(np.float32))

    np.testing.assert_allclose(pose(elsewhere), pose(there), atol=1e-3)


@pytest.mark.parametrize("template", TEMPLATES)
def test_the_template_looks_straight_ahead(template: str) -> None:
    yaw, pitch = pose(detection(TEMPLATES[template][1]))

    assert abs(yaw) < 0.02
    assert abs(pitch) < 0.15


@pytest.mark.parametrize(("right", "down"), [(0.3, 0.0), (-0.3, 0.0), (0.0, 0.3), (0.0, -0.3), (0.2, -0.1)])
def test_the_signs_and_size_of_pose(right: float, down: float) -> None:
    ahead = detection(TEMPLATES["arcface112"][1])
    eyes_px, height_px = 35.24, 40.69  # between the eyes, and from them to the mouth

    change = np.subtract(pose(turned(ahead, right, down)), pose(ahead))

    np.testing.assert_allclose(change, 2 * eyes_px / height_px * np.array([right, down]), atol=0.02)


@pytest.mark.parametrize("landmarks", [np.zeros((5, 2)), np.full((5, 2), 7.5), np.array([[0, 0]] * 4 + [[1, 0]])])
def test_pose_of_a_face_without_extent_is_a_number(landmarks: Floats) -> None:
    assert all(np.isfinite(pose(detection(landmarks.astype(np.float32)))))
