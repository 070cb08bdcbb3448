from __future__ import annotations

import math

import pytest

from lookout.evaluation import words
from lookout.evaluation.answers import of_video
from lookout.evaluation.findings import Findings, Watched
from lookout.evaluation.provenance import Provenance
from lookout.evaluation.truth import Appearance
from lookout.evaluation.video import Alerted, Outcome, Seen, compare, per_day

GROUPS = {"gate": "doors", "hall": "doors", "yard": "yard"}


def ann(camera: str, start_s: float, end_s: float) -> Appearance:
    return Appearance("Ann", camera, start_s, end_s)


def alert(
    *seen: tuple[str, float, float], name: str = "Ann", first_s: float | None = None, tier: str = "likely",
    score: float = 0.9,
) -> Alerted:  # fmt: skip
    """An alert of sightings; its first matched picture is the first one's beginning if nothing else is said."""
    return Alerted(
        name, seen[0][0], tier, score, seen[0][1] if first_s is None else first_s, tuple(Seen(*s) for s in seen)
    )


def judge(appearances: list[Appearance], *alerts: Alerted) -> Outcome:
    return compare(appearances, alerts, GROUPS, 30.0)


@pytest.mark.parametrize(
    ("appearances", "episodes"),
    [
        ([ann("gate", 10, 20)], [("gate", 10, 20)]),
        # 29.9 s of silence between two cameras of one group: the product makes one alert of them. 30 s: two.
        ([ann("gate", 10, 20), ann("hall", 49.9, 60)], [("gate", 10, 60)]),
        ([ann("gate", 10, 20), ann("hall", 50, 60)], [("gate", 10, 20), ("hall", 50, 60)]),
        # Another group has alerts of its own, whenever it is.
        ([ann("gate", 10, 20), ann("yard", 15, 25)], [("gate", 10, 20), ("yard", 15, 25)]),
        # Silence counts from the end of the longest, not of the last; the order in the file is nothing.
        ([ann("gate", 70, 80), ann("hall", 5, 6), ann("gate", 0, 50)], [("gate", 0, 80)]),
        # Somebody else is an episode of their own.
        ([ann("gate", 1, 2), Appearance("Bob", "gate", 1, 2)], [("gate", 1, 2), ("gate", 1, 2)]),
    ],
)  # fmt: skip
def test_appearances_close_together_are_one_episode(
    appearances: list[Appearance], episodes: list[tuple[str, float, float]]
) -> None:
    found = judge(appearances).episodes
    assert [(one.camera, one.start_s, one.end_s) for one in found] == episodes
    assert [one.tier for one in found] == [None] * len(episodes)


@pytest.mark.parametrize(
    ("seen", "found"),
    [
        (("gate", 12, 15), True),
        (("gate", 20.9, 30), True),  # within the second that truth may be off
        (("gate", 21.1, 30), False),
        (("gate", 0, 9.1), True),
        (("gate", 0, 8.9), False),
        (("gate", 0, 100), True),
        (("hall", 12, 15), False),  # the same group, but that camera did not show her
        (("yard", 12, 15), False),
    ],
)
def test_an_alert_is_right_where_its_target_is_to_be_seen(seen: tuple[str, float, float], found: bool) -> None:
    given = alert(seen)
    outcome = judge([ann("gate", 10, 20)], given)
    assert [one.tier is not None for one in outcome.episodes] == [found]
    assert (outcome.right, outcome.false) == (((given,), ()) if found else ((), (given,)))


def test_somebody_elses_alert_finds_nobody_and_is_false() -> None:
    given = alert(("gate", 10, 20), name="Bob")
    outcome = judge([ann("gate", 10, 20)], given)
    assert outcome.episodes[0].tier is None
    assert outcome.false == (given,)


def test_one_true_sighting_makes_an_alert_right() -> None:
    given = alert(("gate", 0, 3), ("gate", 12, 15))
    outcome = judge([ann("gate", 10, 20)], given)
    assert (outcome.right, outcome.false) == ((given,), ())
    # The first picture was somebody else's: the true sighting began at 12.
    assert outcome.episodes[0].time_to_alert_s == 2.0


@pytest.mark.parametrize(
    ("start_s", "seen", "first_s", "expected"),
    [
        (10, ("gate", 10.5, 20), 11.25, 1.25),
        (10, ("gate", 9.5, 20), 9.5, 0.0),  # the truth was noted late: nobody is found before they come
        (10, ("gate", 19, 25), 19.5, 9.5),
    ],
)
def test_the_time_to_an_alert_is_that_of_its_first_matched_picture(
    start_s: float, seen: tuple[str, float, float], first_s: float, expected: float
) -> None:
    (episode,) = judge([ann("gate", start_s, 20)], alert(seen, first_s=first_s)).episodes
    assert episode.time_to_alert_s == expected


def test_of_several_alerts_the_first_the_highest_and_the_best_are_told() -> None:
    """Two watchlists have Ann; the camera lost her for a while."""
    (episode,) = judge(
        [ann("gate", 10, 20), ann("hall", 40, 50)],
        alert(("gate", 14, 20), tier="possible", score=0.83),
        alert(("hall", 41, 50), tier="likely", score=0.88),
        alert(("gate", 12, 20), tier="possible", score=0.82),
    ).episodes
    assert (episode.tier, episode.score, episode.time_to_alert_s) == ("likely", 0.88, 2.0)


def test_one_alert_may_find_two_episodes() -> None:
    outcome = judge([ann("gate", 0, 10), ann("gate", 45, 50)], alert(("gate", 1, 48)))
    assert [one.time_to_alert_s for one in outcome.episodes] == [1.0, 0.0]
    assert len(outcome.right) == 1


@pytest.mark.parametrize(
    ("count", "low", "high"),
    [(0, 0.0, 3.689), (1, 0.0253, 5.572), (5, 1.623, 11.668), (10, 4.795, 18.390)],
)
def test_the_range_of_a_count_is_garwoods(count: int, low: float, high: float) -> None:
    """The table of Garwood (1936) as it is reprinted everywhere, of one day and of half a day."""
    one, half = per_day(count, 1.0), per_day(count, 0.5)
    assert one.value == count
    assert math.isclose(one.low, low, abs_tol=6e-4)
    assert math.isclose(one.high, high, abs_tol=6e-4)
    assert (half.value, half.low, half.high) == (2 * one.value, 2 * one.low, 2 * one.high)


def test_the_answer_counts_by_camera_and_tier() -> None:
    """Two cameras, a quarter of a day each: Ann is found at the gate, missed in the hall, and once taken for there."""
    right, false = alert(("gate", 11, 20)), alert(("hall", 500, 502), tier="possible", score=0.82)
    outcome = judge([ann("gate", 10, 20), ann("hall", 100, 110)], right, false)
    cameras = tuple(Watched(one, one.title(), "doors", f"{one}.mp4", "00", 21_600.0) for one in ("gate", "hall"))
    findings = Findings(
        frozenset({"Ann", "Bob"}), {"possible": 500, "likely": 10_000}, cameras, (right, false), ("bob.jpg: blurred",)
    )

    answer = of_video(findings, outcome, ["Cleo"], Provenance("0.1", "net", (), {"truth.csv": "00"}, 0, ""))

    assert (answer["kind"], answer["people"], answer["episodes"], answer["missed"], answer["false"]) == (
        "video", 2, 2, 1, 1,
    )  # fmt: skip
    assert answer["missed_rate"] == {
        "value": 0.5,
        "low": pytest.approx(0.0945, abs=1e-4),
        "high": pytest.approx(0.9055, abs=1e-4),
    }
    assert (answer["hours"], answer["camera_days"]) == (12.0, 0.5)
    assert answer["false_per_camera_day"] == {
        "value": 2.0,
        "low": pytest.approx(0.0506, abs=1e-3),
        "high": pytest.approx(11.143, abs=1e-3),
    }
    assert answer["time_to_alert_s"] == {"median": 1.0, "p95": 1.0, "longest": 1.0}
    assert answer["tiers"] == {
        "possible": {"strangers": 500, "found": 0, "false": 1},
        "likely": {"strangers": 10_000, "found": 1, "false": 0},
    }
    assert [(one["id"], one["name"], one["episodes"], one["missed"], one["false"]) for one in answer["cameras"]] == [
        ("gate", "Gate", 1, 0, 0),
        ("hall", "Hall", 1, 1, 1),
    ]
    assert answer["cameras"][1]["false_per_day"]["value"] == 4.0
    assert [(one["camera"], one["found"], one["tier"], one["time_to_alert_s"]) for one in answer["episode_list"]] == [
        ("gate", True, "likely", 1.0),
        ("hall", False, None, None),
    ]
    assert answer["false_list"] == [
        {"identity": "Ann", "camera": "hall", "at_s": 500, "tier": "possible", "score": 0.82}
    ]
    assert (answer["not_listed"], answer["remarks"]) == (["Cleo"], ["bob.jpg: blurred"])
    assert answer["lists"] == {"truth.csv": "00"}
    lines = words.of_video(answer)
    assert "missed: Ann on hall, 100 to 110 s" in lines
    assert "false: Ann on hall at 500 s, possible" in lines
    assert lines[-1] == "bob.jpg: blurred"


def test_without_a_found_episode_there_is_no_time() -> None:
    findings = Findings(
        frozenset({"Ann"}),
        {"possible": 500, "likely": 10_000},
        (Watched("gate", "gate", "doors", "g.mp4", "00", 60.0),),
        (),
        (),
    )
    answer = of_video(findings, judge([ann("gate", 10, 20)]), [], Provenance("0.1", "net", (), {}, 0, ""))
    assert (answer["missed"], answer["time_to_alert_s"]) == (1, None)
    assert not any("first matched picture" in line for line in words.of_video(answer))
