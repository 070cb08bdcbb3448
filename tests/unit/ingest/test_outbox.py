from __future__ import annotations

import threading

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import REGISTRY

from ingest.outbox import CAPACITY, Batch, Outbox
from lookout.clock import now_us
from lookout.messages import Crop, crop_id, track_id

REASONS = ("superseded", "full", "expired")


def crop(track: str, quality: float = 0.8, number: int = 0, *, left_s: float = 60) -> Crop:
    name = track_id("door", 1, int.from_bytes(track.encode(), "big"))
    return Crop(
        id=crop_id(name, number),
        track_id=name,
        camera_id="door",
        camera_group="door",
        captured_at_us=1,
        track_started_at_us=1,
        track_seen_at_us=1,
        deadline_us=now_us() + int(left_s * 1e6),
        box_xyxy=(0, 0, 1, 1),
        landmarks=[(0, 0)] * 5,
        quality=quality,
        jpeg=b"",
    )


class Shed:
    """How many crops were shed since it was made, by reason."""

    def __init__(self) -> None:
        self._before = self._read()

    def __call__(self) -> dict[str, float]:
        now = self._read()
        return {reason: now[reason] - self._before[reason] for reason in REASONS if now[reason] != self._before[reason]}

    @staticmethod
    def _read() -> dict[str, float]:
        name = "lookout_crops_shed_total"
        return {reason: REGISTRY.get_sample_value(name, {"reason": reason}) or 0.0 for reason in REASONS}


@pytest.fixture
def shed() -> Shed:
    return Shed()


def test_oldest_first_and_no_more_than_asked_for(shed: Shed) -> None:
    outbox = Outbox()
    crops = [crop(track) for track in "abc"]
    for one in crops:
        outbox.put(one)

    assert len(outbox) == 3
    assert outbox.take(2).crops == crops[:2]
    assert outbox.take(2).crops == crops[2:]
    assert outbox.take(2).crops == []
    assert shed() == {}


@pytest.mark.parametrize(
    ("first", "second", "stays"),
    [(0.6, 0.8, "second"), (0.8, 0.6, "first"), (0.8, 0.8, "second")],
)
def test_of_a_track_the_best_stays(shed: Shed, first: float, second: float, stays: str) -> None:
    outbox = Outbox()
    crops = {"first": crop("a", first), "second": crop("a", second, 1)}
    outbox.put(crops["first"])
    outbox.put(crop("b"))
    outbox.put(crops["second"])

    assert outbox.take(9).crops[0] == crops[stays], "in its track's place, as that one waits longest"
    assert shed() == {"superseded": 1}


def test_where_all_is_full_the_worst_goes(shed: Shed) -> None:
    outbox = Outbox(capacity=3)
    good = [crop("a", 0.7), crop("b", 0.6), crop("c", 0.9)]
    for one in good:
        outbox.put(one)

    outbox.put(crop("d", 0.5))
    assert outbox.take(9).crops == good
    for one in good:
        outbox.put(one)
    outbox.put(better := crop("e", 0.8))

    assert outbox.take(9).crops == [good[0], good[2], better]
    assert shed() == {"full": 2}


def test_a_better_crop_of_a_track_that_waits_pushes_nobody_out(shed: Shed) -> None:
    outbox = Outbox(capacity=2)
    outbox.put(crop("a", 0.5))
    outbox.put(crop("b", 0.9))

    outbox.put(better := crop("a", 0.95, 1))

    assert len(outbox) == 2
    assert better in outbox.take(9).crops
    assert shed() == {"superseded": 1}


def test_what_is_past_its_deadline_is_shed(shed: Shed) -> None:
    outbox = Outbox()
    outbox.put(crop("a", left_s=-0.001))
    outbox.put(fresh := crop("b"))
    outbox.put(crop("c", left_s=-10))

    assert outbox.take(1).crops == [fresh]
    assert len(outbox) == 0
    assert shed() == {"expired": 2}


def test_what_could_not_be_published_comes_back(shed: Shed) -> None:
    outbox = Outbox()
    crops = [crop(track, 0.7) for track in "abc"]
    for one in crops:
        outbox.put(one)
    taken = outbox.take(9)
    outbox.put(worse := crop("a", 0.6, 1))
    outbox.put(better := crop("b", 0.9, 1))

    outbox.give_back(taken)

    assert worse not in (left := outbox.take(9).crops)
    assert set(left_ids := [one.id for one in left]) == {crops[0].id, better.id, crops[2].id}
    assert len(left_ids) == 3
    assert shed() == {"superseded": 2}


def test_giving_back_twice_changes_nothing(shed: Shed) -> None:
    outbox = Outbox()
    outbox.give_back(Batch([crop("a", 0.7)]))
    outbox.give_back(Batch([again := crop("a", 0.7)]))

    assert outbox.take(9).crops == [again]
    assert shed() == {}


def test_waiting_ends_when_something_comes() -> None:
    outbox = Outbox()
    assert not outbox.wait(timeout_s=0.01)

    woken: list[bool] = []
    waiter = threading.Thread(target=lambda: woken.append(outbox.wait(timeout_s=20)))
    waiter.start()
    outbox.put(crop("a"))
    waiter.join(10)

    assert woken == [True]
    assert outbox.wait(timeout_s=0)


def test_its_bound_is_what_it_says() -> None:
    outbox = Outbox()
    for number in range(CAPACITY + 50):
        outbox.put(crop(f"t{number}", quality=number / 1000))

    assert len(outbox) == CAPACITY
    taken = outbox.take(CAPACITY).crops
    assert [one.quality for one in taken] == [number / 1000 for number in range(50, CAPACITY + 50)]


actions = st.lists(
    st.one_of(st.tuples(st.sampled_from("abcdef"), st.floats(0.5, 1)), st.integers(1, 4), st.just("back")), max_size=60
)


@given(actions)
def test_whatever_happens_each_crop_is_held_taken_or_counted(actions: list[tuple[str, float] | int | str]) -> None:
    shed = Shed()
    outbox = Outbox(capacity=3)
    put: dict[str, Crop] = {}
    gone: list[Crop] = []
    batch = Batch()
    for number, action in enumerate(actions):
        if isinstance(action, tuple):
            track, quality = action
            one = crop(track, quality, number)
            put[one.id] = one
            outbox.put(one)
        elif isinstance(action, int):
            gone += batch.crops
            batch = outbox.take(action)
        elif action == "back":
            outbox.give_back(batch)
            batch = Batch()
        assert len(outbox) <= 3
    held = outbox.take(99).crops
    assert len({one.track_id for one in held}) == len(held)
    found = [one.id for one in (*gone, *batch.crops, *held)]
    assert len(set(found)) == len(found)
    assert len(put) == len(found) + sum(shed().values())


def framed(track: str, frame: str, quality: float = 0.8, number: int = 0) -> Crop:
    return msgspec.structs.replace(crop(track, quality, number), frame_id=frame)


def test_frames_go_with_their_crops_and_come_back() -> None:
    outbox = Outbox()
    outbox.put(framed("a", "f1"), b"one")
    outbox.put(framed("b", "f1"), b"one")
    outbox.put(framed("c", "f2"), b"two")

    batch = outbox.take(1)
    assert batch.frames == {"f1": b"one"}
    outbox.give_back(batch)
    assert outbox.take(9).frames == {"f1": b"one", "f2": b"two"}
    assert outbox.take(9) == Batch([], {})


def test_a_frame_that_no_crop_names_is_dropped() -> None:
    outbox = Outbox()
    outbox.put(framed("a", "f1", 0.6), b"one")
    outbox.put(framed("a", "f2", 0.9, 1), b"two")
    outbox.put(framed("a", "f3", 0.7, 2), b"three")

    assert outbox.take(9).frames == {"f2": b"two"}


def test_a_frame_is_dropped_before_a_crop_is() -> None:
    name = "lookout_snapshots_shed_total"
    before = REGISTRY.get_sample_value(name, {"reason": "full"}) or 0.0
    outbox = Outbox(frames=3)
    for number in range(10):
        outbox.put(framed(f"t{number}", f"f{number}"), b"jpeg")

    batch = outbox.take(99)

    assert len(batch.crops) == 10
    assert list(batch.frames) == ["f7", "f8", "f9"]
    assert REGISTRY.get_sample_value(name, {"reason": "full"}) == before + 7
