from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest.tracker import MAX_GAP_US, Track, Tracker
from lookout.faces.detector import Detection

#: Five frames a second.
STEP_US = 200_000
BEGAN_US = 1_800_000_000_000_000
WIDTH, HEIGHT = 60.0, 78.0


def face(x: float, y: float = 300.0, width: float = WIDTH) -> Detection:
    """A face around a point."""
    half = np.array([width, width * HEIGHT / WIDTH], np.float32) / np.float32(2)
    centre = np.array([x, y], np.float32)
    return Detection(np.concatenate([centre - half, centre + half]), np.tile(centre, (5, 1)), 0.9)


def follow(frames: list[list[Detection]], step_us: int = STEP_US) -> list[list[int]]:
    """The numbers of the tracks of each frame's detections."""
    tracker = Tracker()
    return [
        [track.number for track in tracker.update(detections, BEGAN_US + k * step_us)[0]]
        for k, detections in enumerate(frames)
    ]


@given(
    widths=st.floats(0, 1.1),
    direction=st.floats(0, 2 * math.pi),
    growth=st.floats(0.9, 1.1),
    frames=st.integers(2, 15),
)
def test_one_face_walking_fast(widths: float, direction: float, growth: float, frames: int) -> None:
    """1.1 widths of a face a frame are 0.9 m/s at five frames a second, across the picture."""
    x = y = 0.0
    width = WIDTH
    path = []
    for _ in range(frames):
        path.append([face(x, y, width)])
        x += widths * width * math.cos(direction)
        y += widths * width * math.sin(direction)
        width *= growth

    assert follow(path) == [[1]] * frames


def test_a_face_that_speeds_up_to_a_run() -> None:
    """Once its speed is known a face may move by more than its width: here by 2.5 of them, 2 m/s."""
    steps = [0.0, 0.8, 1.6, 2.2, 2.5, 2.5, 2.5, 2.5]

    assert follow([[face(x * WIDTH)] for x in np.cumsum(steps)]) == [[1]] * len(steps)


def test_two_faces_that_cross() -> None:
    frames = [[face(200 + 30 * k), face(800 - 30 * k, 310)] for k in range(21)]

    assert follow(frames) == [[1, 2]] * 21


def test_two_faces_that_cross_while_one_hides_the_other() -> None:
    frames = [[face(200 + 30 * k), face(800 - 30 * k, 310)] for k in range(21)]
    hidden = (9, 10, 11)
    for k in hidden:
        frames[k].pop()

    found = follow(frames)

    assert found == [[1] if k in hidden else [1, 2] for k in range(21)]


def test_faces_side_by_side_keep_their_tracks_in_any_order() -> None:
    generator = np.random.default_rng(3)
    tracker = Tracker()
    numbers: dict[int, set[int]] = {person: set() for person in range(4)}
    for k in range(20):
        order = generator.permutation(4)
        found = [face(200 + 90 * person + 10 * k, 300 + float(generator.normal(0, 3))) for person in order]
        tracks, _ = tracker.update(found, BEGAN_US + k * STEP_US)
        for person, detection, track in zip(order, found, tracks, strict=True):
            assert track.detection is detection
            numbers[int(person)].add(track.number)

    assert sorted(next(iter(one)) for one in numbers.values() if len(one) == 1) == [1, 2, 3, 4]


@pytest.mark.parametrize(
    ("gap_us", "same"),
    [(STEP_US, True), (MAX_GAP_US - 1, True), (MAX_GAP_US, True), (MAX_GAP_US + 1, False), (2 * MAX_GAP_US, False)],
)
def test_a_face_that_comes_back(gap_us: int, same: bool) -> None:
    tracker = Tracker()
    [before], _ = tracker.update([face(100)], BEGAN_US)
    assert tracker.update([], BEGAN_US + gap_us // 2) == ([], [])

    [after], ended = tracker.update([face(110)], BEGAN_US + gap_us)

    if same:
        assert after is before
        assert (after.started_at_us, after.seen_at_us, after.detections) == (BEGAN_US, BEGAN_US + gap_us, 2)
        assert ended == []
    else:
        assert after.number == 2
        assert ended == [before]
        assert (before.seen_at_us, before.detections) == (BEGAN_US, 1)
        assert tracker.tracks == [after]


def test_a_face_elsewhere_is_another_one() -> None:
    assert follow([[face(100)], [face(400)], [face(100), face(400)]]) == [[1], [2], [1, 2]]


def test_an_end_is_reported_once() -> None:
    tracker = Tracker()
    [first, second], _ = tracker.update([face(100), face(400)], BEGAN_US)
    tracker.update([face(400)], BEGAN_US + MAX_GAP_US)

    assert tracker.update([], BEGAN_US + MAX_GAP_US + STEP_US) == ([], [first])
    assert tracker.update([], BEGAN_US + MAX_GAP_US + 2 * STEP_US) == ([], [])
    assert tracker.end_all() == [second]
    assert tracker.end_all() == []
    assert tracker.update([face(400)], BEGAN_US + 3 * MAX_GAP_US)[0][0].number == 3, "a number is used once"


def test_it_is_expected_where_it_was_going() -> None:
    tracker = Tracker()
    for k in range(10):
        [track], _ = tracker.update([face(100 + 20 * k)], BEGAN_US + k * STEP_US)

    later = track.predicted(BEGAN_US + 9 * STEP_US + 500_000)

    assert later == pytest.approx(face(100 + 20 * 9 + 50).box_xyxy, abs=0.5)


@pytest.mark.parametrize("step_us", [0, -STEP_US, -10_000_000])
def test_a_clock_that_is_set_back(step_us: int) -> None:
    tracker = Tracker()
    [track], _ = tracker.update([face(100)], BEGAN_US)

    [again], ended = tracker.update([face(105)], BEGAN_US + step_us)

    assert again is track
    assert ended == []
    assert np.isfinite(track.predicted(BEGAN_US + STEP_US)).all()


boxes = st.builds(face, st.floats(0, 1280), st.floats(0, 720), st.floats(10, 300))


@given(st.lists(st.tuples(st.integers(0, 2_000_000), st.lists(boxes, max_size=6)), max_size=12))
def test_every_detection_has_a_track_of_its_own_and_every_track_ends_once(
    frames: list[tuple[int, list[Detection]]],
) -> None:
    tracker = Tracker()
    at_us = BEGAN_US
    seen: dict[int, Track] = {}
    ended: list[Track] = []
    detections = 0
    for step_us, found in frames:
        at_us += step_us
        tracks, over = tracker.update(found, at_us)
        assert [track.detection for track in tracks] == found
        assert len({track.number for track in tracks}) == len(found)
        assert all(track.seen_at_us == at_us for track in tracks)
        assert not set(over) & set(tracks)
        seen |= {track.number: track for track in tracks}
        ended += over
        detections += len(found)
    ended += tracker.end_all()

    assert sorted(track.number for track in ended) == sorted(seen) == list(range(1, len(seen) + 1))
    assert sum(track.detections for track in seen.values()) == detections
