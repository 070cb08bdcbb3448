from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest.clock import MAX_CLOCK_OFFSET_US, MAX_HOLD_US, MAX_JUMP_US, WINDOW_US, CaptureClock

FRAME_US = 40_000
#: When the stream's presentation time was 0, on the host's clock.
BEGAN_US = 1_800_000_000_000_000
SECOND_US = 1_000_000
HOUR_US = 3600 * SECOND_US

jitters = st.lists(st.integers(0, 500_000), min_size=1, max_size=60)


def test_a_frame_without_a_time_was_captured_when_it_came() -> None:
    clock = CaptureClock()

    assert clock.stamp(None, BEGAN_US) == BEGAN_US
    assert (clock.behind_us, clock.camera_offset_us) == (0, 0)


def test_the_fastest_frame_sets_the_time_line() -> None:
    clock = CaptureClock()
    delays_us = [300_000, 120_000, 200_000, 90_000, 400_000]

    stamps = [clock.stamp(k * SECOND_US, BEGAN_US + k * SECOND_US + delay) for k, delay in enumerate(delays_us)]

    fastest_us = [300_000, 120_000, 120_000, 90_000, 90_000]
    assert stamps == [BEGAN_US + k * SECOND_US + delay for k, delay in enumerate(fastest_us)]
    assert clock.behind_us == 400_000 - 90_000


@given(jitters)
def test_jitter(jitters_us: list[int]) -> None:
    clock = CaptureClock()
    arrival_us, last_us = 0, 0
    for k, jitter_us in enumerate(jitters_us):
        pts_us = k * FRAME_US
        arrival_us = max(arrival_us, BEGAN_US + pts_us + jitter_us)

        stamp_us = clock.stamp(pts_us, arrival_us)

        assert BEGAN_US + pts_us <= stamp_us <= arrival_us + k, (
            "a frame is captured before it comes, by its delay at most"
        )
        assert arrival_us - stamp_us <= clock.behind_us <= arrival_us - stamp_us + k
        assert stamp_us > last_us
        last_us = stamp_us


@given(jitters, st.integers(-MAX_CLOCK_OFFSET_US // 2, MAX_CLOCK_OFFSET_US // 2))
def test_the_cameras_own_clock_knows_better_than_arrivals(jitters_us: list[int], ahead_us: int) -> None:
    clock = CaptureClock()
    clock.observe_rtcp(0, BEGAN_US + ahead_us)

    for k, jitter_us in enumerate(jitters_us):
        pts_us = k * FRAME_US
        assert clock.stamp(pts_us, BEGAN_US + pts_us + jitter_us) == BEGAN_US + ahead_us + pts_us

    assert clock.camera_offset_us == min(jitters_us) - ahead_us
    assert clock.behind_us == jitters_us[-1] - min(jitters_us), "what ingest lags has nothing to do with the clocks"


def test_the_cameras_clock_is_used_from_when_it_is_known() -> None:
    clock = CaptureClock()

    assert clock.stamp(0, BEGAN_US + 150_000) == BEGAN_US + 150_000
    assert clock.camera_offset_us == 0
    clock.observe_rtcp(FRAME_US, BEGAN_US + FRAME_US)

    later_us = 10 * FRAME_US
    assert clock.stamp(later_us, BEGAN_US + later_us + 150_000) == BEGAN_US + later_us
    assert clock.camera_offset_us == 150_000


def test_time_stands_still_until_the_cameras_clock_has_caught_up() -> None:
    """Servers send their first second in a burst; the sender report comes after it, and tells an earlier time."""
    clock = CaptureClock()
    stamps = [clock.stamp(k * FRAME_US, BEGAN_US + SECOND_US + k * 10_000) for k in range(10)]
    clock.observe_rtcp(0, BEGAN_US + 600_000)

    held = [clock.stamp(k * FRAME_US, BEGAN_US + SECOND_US + k * FRAME_US) for k in (10, 11, 20)]

    assert stamps[-1] == BEGAN_US + 1_090_000
    assert held == [stamps[-1] + 1, stamps[-1] + 2, BEGAN_US + 600_000 + 20 * FRAME_US]


def test_a_clock_that_was_set_back_is_followed() -> None:
    clock = CaptureClock()
    clock.stamp(0, BEGAN_US + 5 * SECOND_US)
    clock.observe_rtcp(0, BEGAN_US + 5 * SECOND_US - MAX_HOLD_US - FRAME_US - 1)

    assert clock.stamp(FRAME_US, BEGAN_US + 5 * SECOND_US + FRAME_US) == BEGAN_US + 5 * SECOND_US - MAX_HOLD_US - 1


@pytest.mark.parametrize(
    ("off_us", "trusted"),
    [
        (MAX_CLOCK_OFFSET_US - SECOND_US, True),
        (MAX_CLOCK_OFFSET_US + SECOND_US, False),
        (-MAX_CLOCK_OFFSET_US - SECOND_US, False),
        (HOUR_US, False),
        (-HOUR_US, False),
        (-BEGAN_US, False),  # it was never set: 1970
    ],
)
def test_a_clock_that_is_far_off_is_shown_and_not_believed(off_us: int, trusted: bool) -> None:
    clock = CaptureClock()
    clock.observe_rtcp(0, BEGAN_US + off_us)

    stamp_us = clock.stamp(FRAME_US, BEGAN_US + FRAME_US)

    assert stamp_us == BEGAN_US + FRAME_US + (off_us if trusted else 0)
    assert clock.camera_offset_us == -off_us


@pytest.mark.parametrize("jump_us", [MAX_JUMP_US + FRAME_US, -HOUR_US, 10 * HOUR_US])
def test_a_jump_begins_a_new_time_line(jump_us: int) -> None:
    clock = CaptureClock()
    clock.observe_rtcp(0, BEGAN_US - SECOND_US)
    for k in range(10):
        clock.stamp(k * FRAME_US, BEGAN_US + k * FRAME_US)

    stamp_us = clock.stamp(9 * FRAME_US + jump_us, BEGAN_US + 10 * FRAME_US)

    assert stamp_us == BEGAN_US + 10 * FRAME_US, "what RTCP said of the old line does not hold for the new one"
    assert (clock.behind_us, clock.camera_offset_us) == (0, 0)


@pytest.mark.parametrize(
    ("step_us", "stamped_us"),
    [(-MAX_JUMP_US, -MAX_JUMP_US), (-FRAME_US, 1), (0, 1), (MAX_JUMP_US, 100_000)],
)
def test_a_small_step_does_not(step_us: int, stamped_us: int) -> None:
    clock = CaptureClock()
    clock.stamp(HOUR_US, BEGAN_US + HOUR_US)

    assert clock.stamp(HOUR_US + step_us, BEGAN_US + HOUR_US + 100_000) == BEGAN_US + HOUR_US + stamped_us


def test_what_is_known_of_a_moment_can_be_asked_and_changes_nothing() -> None:
    clock, other = CaptureClock(), CaptureClock()
    assert clock.at(0, BEGAN_US) == BEGAN_US, "nothing is known yet"
    for k, delay_us in enumerate([300_000, 120_000, 200_000]):
        pts_us = k * SECOND_US
        assert clock.stamp(pts_us, BEGAN_US + pts_us + delay_us) == other.stamp(pts_us, BEGAN_US + pts_us + delay_us)
        clock.at(50 * SECOND_US, 0)

    assert clock.at(0, 0) == BEGAN_US + 120_000
    clock.observe_rtcp(0, BEGAN_US + 50_000)
    assert clock.at(7 * SECOND_US, 0) == BEGAN_US + 7 * SECOND_US + 50_000
    clock.observe_rtcp(0, BEGAN_US + HOUR_US)
    assert clock.at(0, 0) == BEGAN_US + 120_000, "it is not believed"


@pytest.mark.parametrize("drift", [-200e-6, 200e-6])
def test_clocks_that_drift_apart(drift: float) -> None:
    """200 ppm is a bad quartz: 0.7 s an hour."""
    clock = CaptureClock()
    for second in range(2 * 3600):
        arrival_us = BEGAN_US + second * SECOND_US
        stamp_us = clock.stamp(int(second * SECOND_US * (1 + drift)), arrival_us)

        # An arrival counts for two windows at most.
        assert 0 <= arrival_us - stamp_us <= abs(drift) * 2 * (WINDOW_US + SECOND_US)


def test_an_old_delay_is_forgotten() -> None:
    """The way became longer by 300 ms, for good: the frames are not late for ever."""
    clock = CaptureClock()
    behind_us = []
    for second in range(200):
        way_us = 20_000 if second < 30 else 320_000
        clock.stamp(second * SECOND_US, BEGAN_US + second * SECOND_US + way_us)
        behind_us.append(clock.behind_us)

    assert behind_us[:30] == [0] * 30
    assert behind_us[30:61] == [300_000] * 31
    assert behind_us[2 * WINDOW_US // SECOND_US + 3 :] == [0] * (200 - 123)
