from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from ingest.motion import AWAKE_US, HEIGHT, MAX_REST_US, MIN_CELLS, MIN_DIFFERENCE, WIDTH, MotionGate

STEP_US = 200_000
BEGAN_US = 1_800_000_000_000_000


def scene(luma: int = 100, *, cells: int = 0, change: int = 0) -> NDArray[np.uint8]:
    """A grey scene, of which some cells differ."""
    picture = np.full((HEIGHT, WIDTH), luma, np.uint8)
    picture.ravel()[1000 : 1000 + cells] = luma + change
    return picture


def opened(pictures: list[NDArray[np.uint8]]) -> list[bool]:
    gate = MotionGate()
    return [gate.is_open(picture, BEGAN_US + k * STEP_US) for k, picture in enumerate(pictures)]


def test_a_still_scene_is_searched_at_first_and_now_and_then() -> None:
    found = opened([scene()] * 100)

    awake = AWAKE_US // STEP_US + 1
    assert found[:awake] == [True] * awake
    rests = np.diff(np.flatnonzero(found[awake - 1 :]))
    assert set(rests) == {MAX_REST_US // STEP_US}
    assert sum(found[awake:]) == 3


@pytest.mark.parametrize(
    ("cells", "change", "moves"),
    [
        (MIN_CELLS, int(MIN_DIFFERENCE) + 1, True),
        (MIN_CELLS, -int(MIN_DIFFERENCE) - 1, True),
        (MIN_CELLS - 1, 150, False),
        (WIDTH * HEIGHT - 1000, int(MIN_DIFFERENCE) - 2, False),
    ],
)
def test_what_counts_as_motion(cells: int, change: int, moves: bool) -> None:
    still = 15
    found = opened([*[scene()] * still, scene(cells=cells, change=change), *[scene()] * 20])

    assert found[still - 1] is False
    assert found[still : still + AWAKE_US // STEP_US + 1] == [moves] * (AWAKE_US // STEP_US + 1)


def test_who_stops_is_still_searched_for_a_while_and_then_is_background() -> None:
    found = opened([*[scene()] * 20, *[scene(cells=30, change=40)] * 100])

    # It fades into the background in ln(10 / 40) / ln(0.95) = 28 frames, and the gate stays awake for 10 more.
    assert all(found[20:58])
    assert sum(found[58:]) == 62 // (MAX_REST_US // STEP_US)


def test_noise_and_slow_light_do_not_wake_it() -> None:
    generator = np.random.default_rng(7)
    pictures = []
    for k in range(200):
        light = 100 + 20 * np.sin(k / 100)
        pictures.append((light + generator.normal(0, 1.5, (HEIGHT, WIDTH))).astype(np.uint8))

    found = opened(pictures)

    assert sum(found[11:]) == 189 // (MAX_REST_US // STEP_US)


@given(
    lumas=st.lists(st.integers(0, 255), min_size=1, max_size=60),
    steps_us=st.lists(st.integers(0, 2_000_000), min_size=60, max_size=60),
)
def test_no_scene_rests_for_long(lumas: list[int], steps_us: list[int]) -> None:
    gate = MotionGate()
    at_us = searched_at_us = BEGAN_US
    for luma, step_us in zip(lumas, steps_us, strict=False):
        at_us += step_us
        if gate.is_open(scene(luma), at_us):
            searched_at_us = at_us
        assert at_us - searched_at_us < MAX_REST_US
