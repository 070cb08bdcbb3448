from __future__ import annotations

import pytest

from workers.episodes import Episode, Step, closes_at, place

SILENCE = 30


def open_(first: int, last: int) -> Episode:
    return Episode(first, last, is_open=True)


def closed(first: int, last: int) -> Episode:
    return Episode(first, last, is_open=False)


@pytest.mark.parametrize(
    ("episodes", "captured_at", "step", "index"),
    [
        pytest.param([], 100, Step.OPEN, None, id="the first match of all"),
        pytest.param([open_(100, 110)], 111, Step.CONTINUE, 0, id="soon after the last"),
        pytest.param([open_(100, 110)], 105, Step.CONTINUE, 0, id="in between"),
        pytest.param([open_(100, 110)], 90, Step.CONTINUE, 0, id="just before the first: crops came out of order"),
        pytest.param([open_(100, 110)], 140, Step.CONTINUE, 0, id="at the end of the silence"),
        pytest.param([open_(100, 110)], 141, Step.OPEN, None, id="after the silence, and nobody has closed it yet"),
        pytest.param([open_(100, 110)], 70, Step.CONTINUE, 0, id="the silence before the first"),
        pytest.param([open_(100, 110)], 69, Step.OPEN_CLOSED, None, id="the past, while a later one runs"),
        pytest.param([closed(100, 110)], 120, Step.CONTINUE, 0, id="a lagging crop of one that was closed"),
        pytest.param([closed(100, 110)], 141, Step.OPEN, None, id="a new one after a closed one"),
        pytest.param([closed(100, 110)], 60, Step.OPEN, None, id="the past, and nothing runs"),
        pytest.param([closed(0, 10), open_(100, 110)], 120, Step.CONTINUE, 1, id="the one that runs"),
        pytest.param([open_(100, 110), closed(0, 10)], 5, Step.CONTINUE, 1, id="the one that is over"),
        pytest.param([closed(0, 10), open_(100, 110)], 55, Step.OPEN_CLOSED, None, id="between two, near none"),
        pytest.param([closed(0, 50), open_(90, 110)], 70, Step.CONTINUE, 1, id="near two: the later one"),
        pytest.param([open_(90, 110), closed(0, 50)], 70, Step.CONTINUE, 0, id="near two, in another order"),
        pytest.param([open_(0, 10), closed(200, 210)], 100, Step.OPEN, None, id="a later one is over"),
    ],
)
def test_place(episodes: list[Episode], captured_at: int, step: Step, index: int | None) -> None:
    assert place(episodes, captured_at, SILENCE) == (step, index)


def test_an_episode_ends_when_the_silence_is_over() -> None:
    assert closes_at(110, SILENCE) == 140
