"""Whose faces are covered, given what a detector found."""

from __future__ import annotations

from lookout.exports.others import HOLD_US, LOST_US, Crop, boxes_to_cover
from lookout.exports.painting import Box

FRAME_US = 40_000
HERE: Box = (100, 100, 160, 180)
THERE: Box = (400, 100, 460, 180)


def moved(box: Box, by: float) -> Box:
    return box[0] + by, box[1], box[2] + by, box[3]


def times(count: int) -> list[int]:
    return [index * FRAME_US for index in range(count)]


def test_all_are_covered_where_no_crop_tells_who_was_searched_for() -> None:
    covered = boxes_to_cover(times(20), [[HERE, THERE]] * 20, [])

    assert all(set(boxes) == {HERE, THERE} for boxes in covered)


def test_the_searched_face_stays_and_is_followed_both_ways() -> None:
    found = [[moved(HERE, 2 * index), THERE] for index in range(50)]

    covered = boxes_to_cover(times(50), found, [Crop(25 * FRAME_US, moved(HERE, 50))])

    assert covered == [[THERE]] * 50


def test_a_crop_that_fits_no_face_uncovers_none() -> None:
    covered = boxes_to_cover(times(10), [[HERE]] * 10, [Crop(0, THERE)])

    assert covered == [[HERE]] * 10


def test_a_crop_of_another_time_uncovers_none() -> None:
    covered = boxes_to_cover(times(10), [[HERE]] * 10, [Crop(5_000_000, HERE)])

    assert covered == [[HERE]] * 10


def test_a_face_that_is_found_late_or_lost_early_is_covered_before_and_after() -> None:
    found: list[list[Box]] = [[HERE] if 20 <= index < 40 else [] for index in range(60)]
    hold = HOLD_US // FRAME_US

    covered = boxes_to_cover(times(60), found, [])

    assert [index for index, boxes in enumerate(covered) if boxes] == list(range(20 - hold, 40 + hold))


def test_a_face_that_flickers_is_covered_all_along_its_way() -> None:
    found: list[list[Box]] = [[moved(HERE, 8 * index)] if index % 20 < 5 else [] for index in range(100)]

    covered = boxes_to_cover(times(100), found, [])

    for index in range(85):
        middle = 130 + 8 * index
        assert any(left <= middle <= right for left, _, right, _ in covered[index]), index


def test_after_it_was_lost_the_searched_face_is_covered_until_a_crop_tells_again() -> None:
    lost = LOST_US // FRAME_US + 2
    found = [[HERE]] * 20 + [[]] * lost + [[HERE]] * 40
    after = 20 + lost

    assert boxes_to_cover(times(len(found)), found, [Crop(0, HERE)])[after:] == [[HERE]] * 40
    crops = [Crop(0, HERE), Crop((after + 10) * FRAME_US, HERE)]
    assert boxes_to_cover(times(len(found)), found, crops) == [[]] * len(found)


def test_when_another_face_comes_near_both_are_covered_from_there_on() -> None:
    """Whose face it is afterwards nobody knows: they may have changed places."""
    coming = [[HERE, moved(HERE, 300 - 10 * index)] for index in range(24)]
    hidden = [[HERE]] * 10
    going = [[HERE, moved(HERE, 70 + 10 * index)] for index in range(24)]
    found = coming + hidden + going

    covered = boxes_to_cover(times(len(found)), found, [Crop(0, HERE)])

    assert HERE not in covered[0]
    assert all(found[index][-1] in covered[index] for index in range(24))
    for index in range(24, len(found)):
        assert HERE in covered[index], index


def test_a_crop_between_two_faces_is_no_word_on_either() -> None:
    close = [HERE, moved(HERE, 30)]

    covered = boxes_to_cover(times(5), [close] * 5, [Crop(80_000, moved(HERE, 5))])

    assert all(set(boxes) >= set(close) for boxes in covered)


def test_many_faces_side_by_side_take_no_time_to_speak_of() -> None:
    row = [moved(HERE, 62 * index) for index in range(12)]

    covered = boxes_to_cover(times(500), [row] * 500, [])

    assert all(len(boxes) == 12 for boxes in covered)
