"""What holds for every detector."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from lookout.errors import AssetError
from lookout.faces.assets import AssetCache
from lookout.faces.detector import SCORE_THRESHOLD, Detection, Detector
from lookout.faces.manifest import load_manifest
from lookout.faces.models import open_detector
from lookout.faces.mtcnn import MTCNN
from lookout.faces.yunet import YuNet

Picture = NDArray[np.uint8]
#: The mirrored picture's landmark for each of a face's: eyes and mouth corners change sides.
MIRRORED = [1, 0, 2, 4, 3]


DETECTORS = [name for name, model in load_manifest().models.items() if model.role == "detector"]


@pytest.fixture(scope="module", params=DETECTORS)
def detector(request: pytest.FixtureRequest, assets: AssetCache) -> Detector:
    return open_detector(assets, request.param)


def mirrored(detection: Detection, width: int) -> Detection:
    """The detection as it would lie in the picture's mirror image."""
    x1, y1, x2, y2 = detection.box_xyxy
    landmarks = detection.landmarks[MIRRORED].copy()
    landmarks[:, 0] = width - landmarks[:, 0]
    return Detection(np.array([width - x2, y1, width - x1, y2], np.float32), landmarks, detection.score)


def assert_near(found: Detection, expected: Detection, *, tolerance: float) -> None:
    """Same face: landmarks and box within a share of the face's width."""
    limit = tolerance * expected.width_px
    np.testing.assert_allclose(found.landmarks, expected.landmarks, atol=limit)
    np.testing.assert_allclose(found.box_xyxy, expected.box_xyxy, atol=limit)


def left_to_right(detections: list[Detection]) -> list[Detection]:
    return sorted(detections, key=lambda detection: float(detection.box_xyxy[0]))


def test_one_man_is_found(detector: Detector, man_a: Picture) -> None:
    (face,) = detector.detect(man_a)

    np.testing.assert_allclose(face.box_xyxy, [191, 148, 374, 399], atol=12)
    left_eye, right_eye, nose, left_mouth, right_mouth = face.landmarks
    assert left_eye[0] < nose[0] < right_eye[0], "left in the picture first"
    assert left_mouth[0] < right_mouth[0]
    assert max(left_eye[1], right_eye[1]) < nose[1] < min(left_mouth[1], right_mouth[1])
    assert (face.landmarks >= face.box_xyxy[:2]).all()
    assert (face.landmarks <= face.box_xyxy[2:]).all()
    assert 0.9 < face.score <= 1
    assert face.width_px == face.box_xyxy[2] - face.box_xyxy[0]
    assert face.box_xyxy.dtype == np.float32
    assert face.landmarks.dtype == np.float32


def test_five_people_are_found_best_first(detector: Detector, five_people: Picture) -> None:
    faces = detector.detect(five_people)

    assert len(faces) == 5
    scores = [face.score for face in faces]
    assert scores == sorted(scores, reverse=True)
    assert detector.detect(five_people, score_threshold=scores[2])[-1].score == scores[2]
    assert len(detector.detect(five_people, score_threshold=scores[2])) == 3
    assert min(scores) >= SCORE_THRESHOLD


def test_landmarks_of_a_mirrored_picture_mirror(detector: Detector, man_a: Picture, five_people: Picture) -> None:
    # The network is not symmetric: 11 % of the face's width at worst on these six. Sides not swapped would be 40 %.
    for picture in (man_a, five_people):
        width = picture.shape[1]
        there = left_to_right(detector.detect(picture))
        back = left_to_right(
            [mirrored(face, width) for face in detector.detect(np.ascontiguousarray(picture[:, ::-1]))]
        )
        assert len(there) == len(back)
        for face, twin in zip(there, back, strict=True):
            assert_near(twin, face, tolerance=0.12)


@pytest.mark.parametrize(
    "shape",
    [(0, 0), (0, 5), (5, 0), (1, 1), (1, 300), (300, 1), (31, 33), (32, 32), (97, 1281), (9000, 1), (3, 10_000)],
)
@pytest.mark.parametrize("value", [0, 128, 255])
def test_a_picture_of_any_size_with_nothing_on_it(detector: Detector, shape: tuple[int, int], value: int) -> None:
    blank = np.full((*shape, 3), value, np.uint8)

    assert detector.detect(blank) == []
    assert detector.detect_scaled(blank, 400) == []


def test_a_clip_without_people_shows_none(detector: Detector, frame: Callable[[str, int], Picture]) -> None:
    for number in (0, 40, 80):
        assert detector.detect_scaled(frame("no_face.mp4", number), 640) == []


@pytest.mark.parametrize(("top", "left"), [(0, 0), (1, 1), (7, 19), (16, 48), (31, 0), (64, 96)])
@pytest.mark.parametrize(("height", "width"), [(417, 431), (450, 470)])
def test_odd_cuts_move_the_face_and_nothing_else(
    detector: Detector, man_a: Picture, top: int, left: int, height: int, width: int
) -> None:
    (whole,) = detector.detect(man_a)

    (cut,) = detector.detect(man_a[top : top + height, left : left + width])

    assert_near(cut, whole.scaled(1, (-left, -top)), tolerance=0.12)


def test_the_picture_is_only_read(detector: Detector, man_a: Picture) -> None:
    before = man_a.copy()

    first = detector.detect(man_a)
    again = detector.detect(np.asfortranarray(man_a))

    np.testing.assert_array_equal(man_a, before)
    np.testing.assert_array_equal(first[0].landmarks, again[0].landmarks)


def test_results_outlive_the_next_call(detector: Detector, man_a: Picture, five_people: Picture) -> None:
    (face,) = detector.detect(man_a)
    box, landmarks = face.box_xyxy.copy(), face.landmarks.copy()

    detector.detect(five_people[: man_a.shape[0], : man_a.shape[1]])

    np.testing.assert_array_equal(face.box_xyxy, box)
    np.testing.assert_array_equal(face.landmarks, landmarks)


def test_one_detector_serves_many_threads(detector: Detector, man_a: Picture, five_people: Picture) -> None:
    pictures = [man_a, five_people, man_a[100:, 90:], five_people[:500, 100:], np.zeros((200, 300, 3), np.uint8)] * 6
    alone = [detector.detect(picture) for picture in pictures]

    with ThreadPoolExecutor(8) as threads:
        together = list(threads.map(detector.detect, pictures, timeout=120))

    assert [len(found) for found in together] == [len(found) for found in alone]
    for found, expected in zip(together, alone, strict=True):
        for one, other in zip(found, expected, strict=True):
            np.testing.assert_allclose(one.box_xyxy, other.box_xyxy, atol=1e-2)
            np.testing.assert_allclose(one.landmarks, other.landmarks, atol=1e-2)


@pytest.mark.parametrize("enlarged", [1.5, 3.0, 4.37])
@pytest.mark.parametrize("longest_side_px", [320, 572])
def test_coordinates_are_those_of_the_full_picture(
    detector: Detector, man_a: Picture, enlarged: float, longest_side_px: int
) -> None:
    (face,) = detector.detect(man_a)
    large = cv2.resize(man_a, None, fx=enlarged, fy=enlarged, interpolation=cv2.INTER_CUBIC)

    (found,) = detector.detect_scaled(large.astype(np.uint8, copy=False), longest_side_px)

    assert_near(found, face.scaled(enlarged), tolerance=0.1)


def test_a_picture_is_never_enlarged(detector: Detector, man_a: Picture) -> None:
    (face,), (same,) = detector.detect(man_a), detector.detect_scaled(man_a, 10_000)

    np.testing.assert_array_equal(face.landmarks, same.landmarks)
    np.testing.assert_array_equal(face.box_xyxy, same.box_xyxy)


def test_scaled_moves_box_and_landmarks_alike() -> None:
    detection = Detection(
        np.array([10, 20, 30, 60], np.float32), np.array([[10, 20]] * 4 + [[30, 60]], np.float32), 0.9
    )

    moved = detection.scaled(0.5, (100, -5))

    np.testing.assert_array_equal(moved.box_xyxy, [105, 5, 115, 25])
    np.testing.assert_array_equal(moved.landmarks[0], [105, 5])
    np.testing.assert_array_equal(moved.landmarks[4], [115, 25])
    assert (moved.score, moved.width_px) == (0.9, 10)
    np.testing.assert_array_equal(detection.box_xyxy, [10, 20, 30, 60])


@pytest.mark.parametrize("name", DETECTORS)
def test_an_absent_device_is_named_with_those_that_are_there(assets: AssetCache, name: str) -> None:
    with pytest.raises(AssetError, match=r"on NOSUCH.*Devices here: .*CPU.*LOOKOUT_INFERENCE_DEVICE"):
        open_detector(assets, name, device="NOSUCH")


@pytest.mark.parametrize("network", [YuNet, MTCNN])
def test_a_damaged_model_is_named(tmp_path: Path, network: Callable[[Path], Detector]) -> None:
    broken = tmp_path / "model.xml"
    broken.write_text("<net/>")

    with pytest.raises(AssetError, match=r"model\.xml"):
        network(broken)
