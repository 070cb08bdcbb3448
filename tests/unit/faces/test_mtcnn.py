from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray

from lookout.faces.assets import AssetCache
from lookout.faces.mtcnn import CELL_PX, MAX_IOU, MAX_SIDE_PX, MTCNN, OWN_SCORE, PYRAMID_STEP, SCORE, _apart, _pyramid
from lookout.faces.quality import assess

Picture = NDArray[np.uint8]
Floats = NDArray[np.float32]


@pytest.fixture(scope="module")
def mtcnn(assets: AssetCache) -> MTCNN:
    return MTCNN(assets.model("mtcnn"))


def reduced(picture: Picture, factor: float) -> Picture:
    return cv2.resize(picture, None, fx=factor, fy=factor, interpolation=cv2.INTER_AREA).astype(np.uint8, copy=False)


@pytest.mark.parametrize("width_px", [24, 40, 90, 183, 400])
def test_small_faces_and_large_ones_are_found(mtcnn: MTCNN, man_a: Picture, width_px: int) -> None:
    (face,) = mtcnn.detect(reduced(man_a, width_px / 183))

    assert face.width_px == pytest.approx(width_px, rel=0.2)
    assert face.box_xyxy.dtype == np.float32


def test_faces_below_the_least_width_are_not_looked_for(assets: AssetCache, five_people: Picture) -> None:
    coarse, fine = (MTCNN(assets.model("mtcnn"), min_face_px=least) for least in (400, 10))

    assert coarse.detect(five_people) == []
    assert len(fine.detect(reduced(five_people, 0.15))) == 5, "12 to 15 px wide"


def test_no_face_is_found_twice(mtcnn: MTCNN, man_a: Picture) -> None:
    # A close-up has proposals of many sizes, one inside the other.
    for enlarged in (1.5, 2.5):
        assert len(mtcnn.detect(reduced(man_a[100:450, 150:420], enlarged))) == 1


def test_its_scores_mean_what_those_of_the_default_detector_mean(
    mtcnn: MTCNN, man_a: Picture, five_people: Picture
) -> None:
    for picture in (man_a, five_people):
        for face in mtcnn.detect(picture):
            assert 0.92 <= face.score <= 1
            assert "low_score" not in assess(picture, face).reasons
    assert list(OWN_SCORE) == sorted(OWN_SCORE)
    assert list(SCORE) == sorted(SCORE)


def test_a_lower_threshold_only_adds_faces(mtcnn: MTCNN, five_people: Picture) -> None:
    small = reduced(five_people, 0.12)

    counts = [len(mtcnn.detect(small, score_threshold=threshold)) for threshold in (0.95, 0.6, 0.3, 0.0)]

    assert counts == sorted(counts)


def test_noise_has_many_proposals_and_no_faces(mtcnn: MTCNN) -> None:
    noise = np.random.default_rng(2).integers(0, 256, (300, 400, 3), np.uint8)

    assert mtcnn.detect(noise) == []
    assert mtcnn.detect(cv2.GaussianBlur(noise, (0, 0), 4).astype(np.uint8)) == []


def test_a_huge_picture_is_searched_on_a_reduced_copy(mtcnn: MTCNN, man_a: Picture) -> None:
    huge = np.zeros((200, 12_000, 3), np.uint8)
    huge[:, 6000:6204] = cv2.resize(man_a, (204, 200))

    (face,) = mtcnn.detect(huge)

    assert 6000 < face.box_xyxy[0] < face.box_xyxy[2] < 6204


# --- its parts ---


@given(st.integers(0, 200), st.integers(0, 4000), st.floats(8, 100))
def test_every_face_is_as_wide_as_a_cell_once(height: int, width: int, min_face_px: float) -> None:
    levels = list(_pyramid(np.zeros((height, width, 3), np.uint8), min_face_px))

    assert all(min(level.shape[:2]) >= CELL_PX and max(level.shape[:2]) <= MAX_SIDE_PX + 1 for level in levels)
    least = max(min_face_px, CELL_PX * max(height, width) / MAX_SIDE_PX)
    if min(height, width) < least:
        assert levels == []
        return
    factors = [level.shape[0] / height for level in levels]
    for face_px in np.linspace(least, min(height, width), 9):
        nearest = min(abs(np.log(face_px * factor / CELL_PX)) for factor in factors)
        assert nearest <= -np.log(PYRAMID_STEP) + 1 / CELL_PX, "no level shows it at about 12 px"


@st.composite
def boxes(draw: st.DrawFn) -> Floats:
    left_top = draw(arrays(np.float32, (draw(st.integers(0, 12)), 2), elements=st.floats(0, 90, width=16)))
    sides = draw(arrays(np.float32, left_top.shape, elements=st.floats(1, 60, width=16)))
    return np.concatenate([left_top, left_top + sides], axis=1)


def shared(one: Floats, other: Floats) -> float:
    """How much of the smaller box lies in the other."""
    sides = np.clip(np.minimum(one[2:], other[2:]) - np.maximum(one[:2], other[:2]), 0, None)
    return float(sides.prod() / min((one[2:] - one[:2]).prod(), (other[2:] - other[:2]).prod()))


@given(boxes(), st.data())
def test_of_faces_one_inside_the_other_the_better_stays(found: Floats, data: st.DataObject) -> None:
    scores = data.draw(arrays(np.float32, len(found), elements=st.floats(0, 1, width=32)))

    kept = _apart(found, scores)

    assert [scores[k] for k in kept] == sorted((scores[k] for k in kept), reverse=True)
    assert all(shared(found[one], found[other]) <= MAX_IOU + 1e-5 for one in kept for other in kept if one != other)
    for dropped in set(range(len(found))) - set(kept):
        assert any(shared(found[dropped], found[k]) > MAX_IOU - 1e-5 and scores[k] >= scores[dropped] for k in kept)
