from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray

from lookout.faces.geometry import (
    Floats,
    areas,
    expand_box,
    iou_matrix,
    non_maximum_suppression,
    similarity_transform,
)

coordinates = st.floats(-10_000, 10_000, width=32, allow_subnormal=False)
angles = st.floats(-np.pi, np.pi)
scales = st.floats(0.05, 20)
shifts = st.tuples(st.floats(-2000, 2000), st.floats(-2000, 2000))
points = st.integers(2, 8).flatmap(lambda n: arrays(np.float32, (n, 2), elements=st.floats(-1000, 1000, width=32)))


@st.composite
def boxes(draw: st.DrawFn, least: int = 1, most: int = 12) -> Floats:
    corners = draw(arrays(np.float32, (draw(st.integers(least, most)), 2, 2), elements=coordinates))
    return np.concatenate([corners.min(axis=1), corners.max(axis=1)], axis=1).astype(np.float32)


def similarity(angle: float, scale: float, shift: tuple[float, float]) -> NDArray[np.float64]:
    cosine, sine = scale * np.cos(angle), scale * np.sin(angle)
    return np.array([[cosine, -sine, shift[0]], [sine, cosine, shift[1]]])


def moved(matrix: NDArray[np.float64], source: NDArray[np.floating]) -> NDArray[np.float64]:
    return np.asarray(source.astype(np.float64) @ matrix[:, :2].T + matrix[:, 2])


def spread(source: Floats) -> float:
    return float(np.sqrt(source.astype(np.float64).var(axis=0).sum()))


# --- similarity_transform ---


@given(points, angles, scales, shifts)
def test_a_similarity_is_recovered(source: Floats, angle: float, scale: float, shift: tuple[float, float]) -> None:
    assume(spread(source) > 5)
    true = similarity(angle, scale, shift)
    destination = moved(true, source).astype(np.float32)

    found = similarity_transform(source, destination)

    rounding = 1e-6 * (1 + float(np.abs(destination).max()))
    np.testing.assert_allclose(moved(found, source), destination, atol=4 * rounding)
    np.testing.assert_allclose(found[:, :2], true[:, :2], atol=4 * rounding / spread(source))


@given(points, st.data(), angles, st.floats(0.9, 1.1), st.tuples(st.floats(-5, 5), st.floats(-5, 5)))
def test_no_other_similarity_is_nearer(
    source: Floats, data: st.DataObject, angle: float, scale: float, shift: tuple[float, float]
) -> None:
    assume(spread(source) > 5)
    destination = data.draw(arrays(np.float32, source.shape, elements=st.floats(-1000, 1000, width=32)))
    found = similarity_transform(source, destination)
    other = similarity(angle / 50, scale, shift)

    def error(matrix: NDArray[np.float64]) -> float:
        return float(((moved(matrix, source) - destination) ** 2).sum())

    compound = other[:, :2] @ found
    compound[:, 2] += other[:, 2]
    assert error(found) <= error(compound) * (1 + 1e-9) + 1e-3


@given(points)
def test_a_mirrored_face_is_not_turned_inside_out(source: Floats) -> None:
    assume(spread(source) > 5)

    matrix = similarity_transform(source, source * np.array([-1, 1], np.float32))

    assert np.linalg.det(matrix[:, :2]) >= 0, "a rotation, no reflection"


@given(st.tuples(coordinates, coordinates), points)
def test_coinciding_points_are_refused(point: tuple[float, float], destination: Floats) -> None:
    source = np.tile(np.array(point, np.float32), (len(destination), 1))

    with pytest.raises(ValueError, match="coincide"):
        similarity_transform(source, destination)


# --- iou_matrix, areas ---


@given(boxes(), boxes())
def test_iou_is_symmetric_and_in_range(a: Floats, b: Floats) -> None:
    overlap = iou_matrix(a, b)

    assert overlap.shape == (len(a), len(b))
    assert overlap.dtype == np.float32
    np.testing.assert_array_equal(overlap, iou_matrix(b, a).T)
    assert (overlap >= 0).all()
    assert (overlap <= 1 + 1e-6).all()


@given(boxes())
def test_iou_with_itself_is_1(a: Floats) -> None:
    np.testing.assert_allclose(np.diag(iou_matrix(a, a)), np.where(areas(a) > 0, 1.0, 0.0))


@given(boxes(), shifts)
def test_iou_of_distant_boxes_is_0(a: Floats, shift: tuple[float, float]) -> None:
    away = (a + np.float32(50_000 + shift[0])).astype(np.float32)

    assert not iou_matrix(a, away).any()


@pytest.mark.parametrize(
    ("a", "b", "expected"),
    [
        ([0, 0, 10, 10], [0, 0, 10, 5], 0.5),
        ([0, 0, 10, 10], [5, 5, 15, 15], 25 / 175),
        ([0, 0, 10, 10], [10, 0, 20, 10], 0.0),  # they touch
        ([0, 0, 10, 10], [2, 2, 4, 4], 0.04),
        ([0, 0, 0, 0], [0, 0, 0, 0], 0.0),  # nothing
        ([10, 10, 0, 0], [0, 0, 10, 10], 0.0),  # inside out
    ],
)
def test_iou_of_known_boxes(a: list[float], b: list[float], expected: float) -> None:
    overlap = iou_matrix(np.array([a], np.float32), np.array([b], np.float32))

    assert overlap[0, 0] == pytest.approx(expected)


def test_iou_with_no_boxes() -> None:
    none, some = np.zeros((0, 4), np.float32), np.ones((3, 4), np.float32)

    assert iou_matrix(none, some).shape == (0, 3)
    assert iou_matrix(some, none).shape == (3, 0)


# --- non_maximum_suppression ---


@given(boxes(), st.data(), st.floats(0, 0.99))
def test_nms_keeps_the_best_of_each_heap(a: Floats, data: st.DataObject, max_iou: float) -> None:
    scores = data.draw(arrays(np.float32, len(a), elements=st.floats(0, 1, width=32)))

    kept = non_maximum_suppression(a, scores, max_iou)

    overlap = iou_matrix(a, a)
    assert len(set(kept)) == len(kept)
    assert all(scores[earlier] >= scores[later] for earlier, later in pairwise(kept))
    assert all(overlap[one, other] <= max_iou for one in kept for other in kept if one != other)
    for dropped in set(range(len(a))) - set(kept):
        assert any(overlap[dropped, k] > max_iou and scores[k] >= scores[dropped] for k in kept)


@given(boxes(), st.data())
def test_nms_of_what_it_kept_changes_nothing(a: Floats, data: st.DataObject) -> None:
    scores = data.draw(arrays(np.float32, len(a), elements=st.floats(0, 1, width=32)))
    kept = non_maximum_suppression(a, scores, 0.3)

    assert non_maximum_suppression(a[kept], scores[kept], 0.3) == list(range(len(kept)))


def test_nms_of_nothing() -> None:
    assert non_maximum_suppression(np.zeros((0, 4), np.float32), np.zeros(0, np.float32), 0.3) == []


# --- expand_box ---


@given(boxes(most=1), st.floats(0.1, 10), st.integers(1, 4000), st.integers(1, 4000))
@example(np.ones((1, 4), np.float32), 1.0, 2, 2)
def test_an_expanded_box_is_a_real_part_of_the_picture(box: Floats, factor: float, width: int, height: int) -> None:
    x1, y1, x2, y2 = expand_box(box[0], factor, width, height)

    assert 0 <= x1 < x2 <= width
    assert 0 <= y1 < y2 <= height
    assert all(type(side) is int for side in (x1, y1, x2, y2))


@given(boxes(most=1), st.floats(1, 10))
def test_an_expanded_box_holds_the_box(box: Floats, factor: float) -> None:
    width = height = 4000
    inside = np.clip(box[0], 0, 4000)
    assume(inside[2] > inside[0] and inside[3] > inside[1])

    x1, y1, x2, y2 = expand_box(box[0], factor, width, height)

    assert x1 <= inside[0]
    assert y1 <= inside[1]
    assert x2 >= inside[2]
    assert y2 >= inside[3]


@pytest.mark.parametrize(
    ("box", "factor", "expected"),
    [
        ([40, 40, 60, 60], 1.0, (40, 40, 60, 60)),
        ([40, 40, 60, 60], 2.0, (30, 30, 70, 70)),
        ([40, 30, 60, 70], 1.0, (30, 30, 70, 70)),  # a square of the longer side
        ([0, 0, 20, 20], 2.0, (0, 0, 30, 30)),  # cut to the picture
        ([40.4, 40.4, 60.4, 60.4], 1.0, (40, 40, 61, 61)),  # whole pixels, outwards
        ([7, 7, 7, 7], 2.0, (7, 7, 8, 8)),  # nothing
        ([500, 500, 520, 520], 1.0, (99, 79, 100, 80)),  # outside the picture: its last pixel
    ],
)
def test_expanded_boxes(box: list[float], factor: float, expected: tuple[int, int, int, int]) -> None:
    assert expand_box(np.array(box, np.float32), factor, 100, 80) == expected
