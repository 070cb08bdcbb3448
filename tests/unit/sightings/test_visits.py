from __future__ import annotations

import itertools

from hypothesis import given
from hypothesis import strategies as st

from lookout.sightings.found import Found
from lookout.sightings.visits import VISIT_GAP_S, group_visits

SECOND = 1_000_000
GAP = VISIT_GAP_S * SECOND


def found(name: str, camera: str, start_s: float, end_s: float, score: float = 0.6) -> Found:
    start, end = round(start_s * SECOND), round(end_s * SECOND)
    return Found(name, camera, camera, start, end, start, score, None, None, None, None, ())


def test_sightings_at_one_camera_within_the_gap_are_one_visit() -> None:
    visits = group_visits([found("b", "door", 65, 70, 0.7), found("a", "door", 0, 5, 0.6)])
    (visit,) = visits
    assert [one.sighting_id for one in visit.found] == ["a", "b"]
    assert (visit.started_at_us, visit.ended_at_us, visit.score) == (0, 70 * SECOND, 0.7)


def test_a_longer_gap_is_another_visit() -> None:
    visits = group_visits([found("a", "door", 0, 5, 0.6), found("b", "door", 65.1, 70, 0.7)])
    assert [[one.sighting_id for one in visit.found] for visit in visits] == [["b"], ["a"]]


def test_another_camera_is_another_visit() -> None:
    assert len(group_visits([found("a", "door", 0, 5), found("b", "gate", 0, 5)])) == 2


def test_a_long_sighting_bridges_short_ones_within_it() -> None:
    visits = group_visits(
        [found("long", "door", 0, 300), found("in it", "door", 10, 12), found("after", "door", 350, 351)]
    )
    assert len(visits) == 1


def test_nothing_found_is_no_visit() -> None:
    assert group_visits([]) == ()


spans = st.tuples(st.sampled_from("ab"), st.integers(0, 1000), st.integers(0, 100), st.floats(-1, 1))


@given(st.lists(spans, max_size=30))
def test_visits_hold_each_sighting_once_and_lie_apart(drawn: list[tuple[str, int, int, float]]) -> None:
    all_found = [
        found(f"{number}", camera, start, start + length, score)
        for number, (camera, start, length, score) in enumerate(drawn)
    ]
    visits = group_visits(all_found)
    assert sorted(one.sighting_id for visit in visits for one in visit.found) == sorted(
        one.sighting_id for one in all_found
    )
    assert [visit.score for visit in visits] == sorted((visit.score for visit in visits), reverse=True)
    for visit in visits:
        assert {one.camera_id for one in visit.found} == {visit.camera_id}
        assert visit.score == max(one.score for one in visit.found)
        assert visit.ended_at_us == max(one.ended_at_us for one in visit.found)
    for camera in "ab":
        mine = sorted((v for v in visits if v.camera_id == camera), key=lambda visit: visit.started_at_us)
        for one, other in itertools.pairwise(mine):
            assert other.started_at_us - one.ended_at_us > GAP
