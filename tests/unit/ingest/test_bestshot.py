from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest.bestshot import CLEARLY_BETTER, MIN_GAP_US, REFRESH_US, BestShot, Choice

BEGAN_US = 1_800_000_000_000_000
D, K, P = Choice.DISCARD, Choice.KEEP, Choice.PUBLISH


def play(pictures: list[tuple[float, float]]) -> tuple[list[Choice], list[tuple[str, float]], BestShot[float]]:
    """Choose among pictures (quality, seconds) as a track does.

    Returns:
        The choices, what was sent (`first`, `better`, `due`; a picture is its second), and the state at the end.
    """
    shots = BestShot[float]()
    choices: list[Choice] = []
    sent: list[tuple[str, float]] = []
    for quality, second in pictures:
        at_us = BEGAN_US + int(second * 1e6)
        choice = shots.choose(quality, at_us)
        choices.append(choice)
        if choice is P:
            sent.append(("better" if sent else "first", second))
            shots.published(quality, at_us)
        elif choice is K:
            shots.keep(second, quality)
        if shots.is_due(at_us) and (kept := shots.take()):
            sent.append(("due", kept[0]))
            shots.published(kept[1], at_us)
    return choices, sent, shots


@pytest.mark.parametrize(
    ("pictures", "choices", "kept"),
    [
        pytest.param([(0.5, 0)], [P], None, id="the first at once, however good"),
        pytest.param([(0.5, 0), (0.5, 0.2), (0.5, 0.4)], [P, K, D], 0.2, id="the first of equals is kept"),
        pytest.param([(0.9, 0), (0.6, 1), (0.7, 2), (0.65, 3)], [P, K, K, D], 2, id="the best since the last one"),
        pytest.param([(0.6, 0), (0.9, 0.2), (0.9, 0.6)], [P, K, P], None, id="a better one not too soon"),
        pytest.param([(0.6, 0), (0.74, 1), (0.76, 2)], [P, K, P], None, id="a better one must be clearly better"),
        pytest.param(
            [(0.6, 0), (0.8, 1), (0.9, 2), (0.96, 3)], [P, P, K, P], None, id="better than all that were sent"
        ),
        pytest.param([(0.6, 0), (0.8, 1), (0.6, 2), (0.8, 3)], [P, P, K, K], 3, id="a worse one lowers no bar"),
        pytest.param([(0.95, 0), (1.0, 1), (1.0, 2)], [P, K, D], 1, id="near the top nothing is clearly better"),
        pytest.param([(0.6, 0), (0.8, 1), (0.7, 1.2), (0.96, 1.6)], [P, P, K, P], None, id="what was kept gives way"),
        pytest.param([(0.6, 0), (0.9, -5)], [P, K], -5, id="a clock that is set back"),
    ],
)
def test_choices(pictures: list[tuple[float, float]], choices: list[Choice], kept: float | None) -> None:
    found, _, shots = play(pictures)

    assert found == choices
    assert shots.kept == kept
    at_end = shots.take()
    assert (at_end[0] if at_end else None) == kept
    assert shots.take() is None, "it is taken once"


@pytest.mark.parametrize(
    ("pictures", "sent"),
    [
        pytest.param([(0.9, 0), (0.5, 9.8), (0.5, 9.9)], [("first", 0)], id="too early"),
        pytest.param([(0.9, 0), (0.6, 3), (0.5, 10)], [("first", 0), ("due", 3)], id="the best of the time"),
        pytest.param([(0.9, 0), (0.5, 25)], [("first", 0), ("due", 25)], id="at its return"),
        pytest.param(
            [(0.9, 0), (0.5, 10), (0.4, 19.9), (0.3, 20)], [("first", 0), ("due", 10), ("due", 19.9)], id="again"
        ),
        pytest.param(
            [(0.5, 0), (0.9, 5), (0.5, 6), (0.5, 14.9), (0.5, 15)],
            [("first", 0), ("better", 5), ("due", 6)],
            id="counted from the last one sent",
        ),
    ],
)
def test_while_a_track_lasts_its_best_is_sent_now_and_then(
    pictures: list[tuple[float, float]], sent: list[tuple[str, float]]
) -> None:
    assert play(pictures)[1] == sent


def test_nothing_is_due_or_kept_before_the_first_picture() -> None:
    shots = BestShot[float]()

    assert not shots.is_due(BEGAN_US)
    assert shots.take() is None


def test_a_kept_picture_comes_with_its_quality() -> None:
    _, _, shots = play([(0.9, 0), (0.7, 1)])

    assert not shots.is_due(BEGAN_US + REFRESH_US - 1)
    assert shots.is_due(BEGAN_US + REFRESH_US)
    assert shots.take() == (1, 0.7)
    assert shots.kept is None


@given(st.lists(st.floats(0.5, 1), min_size=1, max_size=200))
def test_never_every_frame(qualities: list[float]) -> None:
    pictures = [(quality, 0.2 * k) for k, quality in enumerate(qualities)]

    _, sent, shots = play(pictures)

    assert min(second for _, second in sent) == 0, "the first at once"
    whens = [second for how, second in sent if how == "better"]
    assert len(whens) <= (1 - 0.5) / CLEARLY_BETTER
    assert all(b - a >= MIN_GAP_US / 1e6 - 1e-6 for a, b in zip([0.0, *whens], whens, strict=False))
    assert len(sent) - len(whens) <= 1 + len(qualities) * 0.2e6 / REFRESH_US
    if "due" not in dict(sent):  # otherwise what was kept may be older than what was sent last
        since = [(quality, -second) for quality, second in pictures if second > sent[-1][1]]
        best, second = max(since, default=(0.0, 0.0))
        assert shots.take() == ((-second, best) if since else None), "the first of the best since the last one sent"
