"""Whom a face matches: thresholds, gates, camera groups, what people said before."""

from __future__ import annotations

from dataclasses import replace

import pytest
from sqlalchemy import select, update

from lookout.accounts.users import create_user
from lookout.alerts.verdicts import judge
from lookout.audit import SYSTEM
from lookout.clock import now_us
from lookout.stores.registry.tables import (
    Alert,
    RejectedPair,
    Sighting,
    Target,
    Watchlist,
    new_id,
)
from lookout.stores.vectors import TARGETS
from lookout.watchlists.thresholds import Thresholds
from tests.people import GROUP, crop, man_a, woman_b
from tests.workplace import Workplace, run


@pytest.mark.parametrize(
    ("thresholds", "tier", "threshold"),
    [
        pytest.param((0.8, 0.85), "likely", 0.85, id="over both"),
        pytest.param((0.8, 0.95), "possible", 0.8, id="over one"),
        pytest.param((0.94, 0.95), None, None, id="over none"),
    ],
)
def test_a_score_alerts_by_the_highest_tier_that_it_reaches(
    workplace: Workplace,
    monkeypatch: pytest.MonkeyPatch,
    thresholds: tuple[float, float],
    tier: str | None,
    threshold: float | None,
) -> None:
    monkeypatch.setattr("workers.matching.thresholds", lambda *_: Thresholds(*thresholds))
    workplace.enrol_man_a()
    run(workplace, crop(man_a(workplace.assets)[0]))
    assert [(alert.tier, alert.threshold) for alert in workplace.rows(Alert)] == ([(tier, threshold)] if tier else [])
    assert len(workplace.rows(Sighting)) == 1


def test_nobody_else_is_alerted(workplace: Workplace) -> None:
    workplace.enrol_man_a()
    assert run(workplace, crop(woman_b(workplace.assets)[0])) == []
    assert workplace.counts() == {"sightings": 1, "crops": 1, "alerts": 0, "alert_sightings": 0, "deliveries": 0}


@pytest.mark.parametrize(("groups", "alerted"), [([GROUP, "yard"], 1), (["yard"], 0)], ids=["here", "elsewhere"])
def test_a_watchlist_is_looked_for_on_its_camera_groups(workplace: Workplace, groups: list[str], alerted: int) -> None:
    workplace.enrol_man_a(camera_groups=groups)
    run(workplace, crop(man_a(workplace.assets)[0]))
    assert len(workplace.rows(Alert)) == alerted


def test_each_watchlist_with_the_person_alerts(workplace: Workplace) -> None:
    workplace.enrol_man_a(watchlist="one")
    workplace.enrol_man_a(watchlist="two")
    opened = run(workplace, crop(man_a(workplace.assets)[0]))
    assert sorted(one.watchlist for one in opened) == ["one", "two"]


def test_an_update_can_lift_the_tier(workplace: Workplace, monkeypatch: pytest.MonkeyPatch) -> None:
    faces = man_a(workplace.assets)
    limits = [Thresholds(0.5, 1.0)]
    monkeypatch.setattr("workers.matching.thresholds", lambda *_: limits[-1])
    workplace.enrol_man_a()
    run(workplace, crop(faces[0]))
    (alert,) = workplace.rows(Alert)
    assert (alert.tier, alert.threshold) == ("possible", 0.5)
    # His third face resembles his photo more than his first does.
    limits.append(Thresholds(0.5, alert.score + 0.001))
    run(workplace, crop(faces[2], track=1))
    assert [(alert.tier, alert.threshold) for alert in workplace.rows(Alert)] == [("likely", limits[-1].likely)]


def test_a_threshold_follows_the_stated_rate_and_the_size_of_the_watchlist(workplace: Workplace) -> None:
    target = workplace.enrol_man_a(strangers=(20, 1000))
    run(workplace, crop(man_a(workplace.assets)[0]))
    with workplace.registry.transaction() as session:
        for number in range(9):
            session.add(
                Target(
                    id=new_id(), watchlist_id=target.watchlist_id, name=f"{number}", created_at_us=target.created_at_us
                )
            )
    run(workplace, crop(man_a(workplace.assets)[0], group="yard", camera="yard"))
    calibration = workplace.parts.model.calibration
    expected = [calibration.threshold(1 / 1000, size) for size in (1, 10)]
    assert [alert.threshold for alert in workplace.rows(Alert)] == pytest.approx(expected)


@pytest.mark.parametrize(
    ("gate", "width_px", "quality", "alerts"),
    [
        pytest.param({}, 40.0, 0.5, 1, id="the defaults, met"),
        pytest.param({}, 39.9, 1.0, 0, id="narrower"),
        pytest.param({}, 200.0, 0.49, 0, id="worse"),
        pytest.param({"min_face_px": 20}, 39.9, 1.0, 1, id="it asks for less width"),
        pytest.param({"min_quality": 0.25}, 200.0, 0.49, 1, id="it asks for less quality"),
        pytest.param({"min_face_px": 60}, 59.0, 1.0, 0, id="it asks for more width"),
        pytest.param({"min_quality": 0.9}, 200.0, 0.85, 0, id="it asks for more quality"),
    ],
)
def test_a_face_below_a_watchlists_gate_is_kept_and_never_alerts(
    workplace: Workplace, gate: dict[str, float], width_px: float, quality: float, alerts: int
) -> None:
    target = workplace.enrol_man_a()
    if gate:
        with workplace.registry.transaction() as session:
            session.execute(update(Watchlist).where(Watchlist.id == target.watchlist_id).values(**gate))
    face = man_a(workplace.assets)[0]
    left, top, _, bottom = face.box_xyxy

    run(workplace, crop(replace(face, box_xyxy=(left, top, left + width_px, bottom)), quality=quality))

    assert (len(workplace.rows(Sighting)), len(workplace.rows(Alert))) == (1, alerts)


def test_each_watchlist_has_gates_of_its_own(workplace: Workplace) -> None:
    for name, least in (("strict", 0.9), ("lax", 0.3)):
        target = workplace.enrol_man_a(watchlist=name)
        with workplace.registry.transaction() as session:
            session.get_one(Watchlist, target.watchlist_id).min_quality = least
    assert [one.watchlist for one in run(workplace, crop(man_a(workplace.assets)[0], quality=0.6))] == ["lax"]


def test_an_erased_person_is_not_matched_while_milvus_still_knows_them(workplace: Workplace) -> None:
    workplace.erase(workplace.enrol_man_a())
    assert run(workplace, crop(man_a(workplace.assets)[0])) == []
    assert (len(workplace.rows(Sighting)), len(workplace.rows(Alert))) == (1, 0)


def test_who_was_rejected_is_not_matched_again(workplace: Workplace) -> None:
    target = workplace.enrol_man_a()
    faces = man_a(workplace.assets)
    first = crop(faces[0])
    run(workplace, first)
    with workplace.registry.transaction() as session:
        session.add(RejectedPair(target_id=target.id, sighting_id=first.track_id, score=0.7, at_us=now_us()))
    silence_us = int(workplace.settings.alert_silence_s * 1e6)
    later = first.captured_at_us + 3 * silence_us
    assert run(workplace, crop(faces[1], number=1, at_us=later)) == [], "the same track, though much later"
    assert len(run(workplace, crop(faces[2], track=1, at_us=later))) == 1, "another track is another question"


def test_what_was_rejected_takes_in_nobody_else(workplace: Workplace) -> None:
    workplace.enrol_man_a()
    faces = man_a(workplace.assets)
    run(workplace, crop(faces[0]))
    with workplace.registry.transaction() as session:
        user = create_user(session, SYSTEM, name="operator", role="operator")
        alert = session.scalars(select(Alert)).one()
        judge(session, SYSTEM, user.id, alert, "rejected", "somebody else")
    assert len(run(workplace, crop(faces[1], track=1))) == 1
    first, second = sorted(workplace.rows(Alert), key=lambda alert: alert.stored_at_us)
    assert first.closed_at_us is not None
    assert (second.verdict, second.closed_at_us) == ("unverified", None)


def test_targets_are_in_milvus_before_the_first_match(workplace: Workplace) -> None:
    target = workplace.enrol_man_a()
    with workplace.registry.transaction() as session:
        session.scalars(select(Target)).one().indexed = False
    workplace.parts.vectors.delete(TARGETS, [target.id])
    assert len(run(workplace, crop(man_a(workplace.assets)[0]))) == 1
