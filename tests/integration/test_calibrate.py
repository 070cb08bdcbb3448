"""Thresholds from a site's own passers-by, who are made up here: strangers of whom it is known how alike they are."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.stats import beta
from sqlalchemy import insert, select
from typer.testing import CliRunner

from lookout import cli, models_in_use
from lookout.audit import Actor
from lookout.errors import BadInputError, LookoutError
from lookout.evaluation import site
from lookout.evaluation.calibration import fit
from lookout.evaluation.site import LEAST_SIGHTINGS, Strangers, compare
from lookout.faces.calibration import Calibration
from lookout.faces.embedder import normalised
from lookout.faces.models import template_model
from lookout.models_in_use import ModelsInUse, calibrated
from lookout.sealing import Keyring
from lookout.secret_files import read_or_make, secret_path
from lookout.settings import Settings
from lookout.stores.registry import Registry
from lookout.stores.registry.tables import (
    Alert,
    AlertSighting,
    AuditEntry,
    Sighting,
    SiteCalibration,
    Target,
    Watchlist,
)
from lookout.stores.templates import pack, sighting_place, target_place
from lookout.watchlists.thresholds import thresholds

Floats = NDArray[np.float32]
MODEL, OTHER = "fusion-320", "mobilefacenet-192"
ACTOR = Actor("cli:olga", "cli")
#: Of templates that point anywhere with the same likelihood, (1 + cosine) / 2 has a beta distribution with both
#: parameters (D - 1) / 2, exactly.
DIMENSION = 24
KEYRING = Keyring.parse(Keyring.new_key())


def reached_by(rate: float) -> float:
    """The cosine that this share of such pairs reaches."""
    half = (DIMENSION - 1) / 2
    return float(2 * beta.isf(rate, half, half) - 1)


def directions(count: int, seed: int) -> Floats:
    return normalised(np.random.default_rng(seed).normal(size=(count, DIMENSION)).astype(np.float32))


def put_people(
    registry: Registry, templates: Floats, *, watchlist: str = "w", model: str = MODEL, keyring: Keyring = KEYRING
) -> None:
    with registry.transaction() as session:
        if session.get(Watchlist, watchlist) is None:
            session.add(Watchlist(id=watchlist, name=watchlist, purpose="p", legal_basis="l", created_at_us=0))
            session.flush()
        for number, template in enumerate(templates):
            name = f"{watchlist}{number}"
            sealed = pack(template, keyring, target_place(name))
            session.add(
                Target(id=name, watchlist_id=watchlist, name=name, template=sealed, model=model, created_at_us=0)
            )


def put_passers(
    registry: Registry, templates: Floats, *, model: str = MODEL, keyring: Keyring = KEYRING, prefix: str = "s"
) -> None:
    """Sightings of several crops each: their sums are longer than 1."""
    same: dict[str, Any] = {
        "camera_id": "c", "camera_group": "g", "started_at_us": 0, "ended_at_us": 0, "model": model,
        "best_quality": 1.0, "created_at_us": 0,
    }  # fmt: skip
    rows = [
        {"id": (name := f"{prefix}{k}"), "template_sum": pack(one * (1 + k % 3), keyring, sighting_place(name)), **same}
        for k, one in enumerate(templates)
    ]
    with registry.transaction() as session:
        if rows:
            session.execute(insert(Sighting), rows)


def put_alert(registry: Registry, target: str, *sightings: str, verdict: str = "unverified") -> None:
    with registry.transaction() as session:
        session.add(
            Alert(
                id=f"a{target}{verdict}", target_id=target, camera_group="g", camera_id="c", tier="likely",
                score=0.9, threshold=0.8, first_captured_at_us=0, last_seen_at_us=0, latency_us=0, stored_at_us=0,
                closed_at_us=1, verdict=verdict,
            )
        )  # fmt: skip
        session.flush()
        for one in sightings:
            session.add(AlertSighting(alert_id=f"a{target}{verdict}", sighting_id=one, score=0.9))


def compared(registry: Registry, **given: int) -> Strangers:
    with registry.reading() as session:
        return compare(session, KEYRING, MODEL, **given)


# --- who is compared ---


@pytest.mark.parametrize(
    ("passers", "people", "says"),
    [
        (0, 0, "0 sightings and 0 people on watchlists are too few to calibrate with: it takes 1000 sightings"),
        (LEAST_SIGHTINGS - 1, 2, "999 sightings and 2 people"),
        (LEAST_SIGHTINGS, 0, "1000 sightings and 0 people"),
    ],
)
def test_too_few_are_refused_with_their_numbers(registry: Registry, passers: int, people: int, says: str) -> None:
    put_passers(registry, directions(passers, 1))
    put_people(registry, directions(people, 2))
    put_passers(registry, directions(1, 3), model=OTHER, prefix="other")
    put_people(registry, directions(1, 4), watchlist="x", model=OTHER)

    with pytest.raises(BadInputError, match=says):
        compared(registry)


def test_every_passer_is_compared_with_every_person(registry: Registry) -> None:
    passers, people = directions(LEAST_SIGHTINGS, 1), directions(3, 2)
    put_passers(registry, passers)
    put_people(registry, people)
    # Of another model, without a template, erased: nobody of these can be compared.
    put_passers(registry, directions(2, 3), model=OTHER, prefix="other")
    put_people(registry, directions(2, 4), watchlist="x", model=OTHER)
    with registry.transaction() as session:
        session.add(Target(id="new", watchlist_id="w", name="new", created_at_us=0))
        session.add(
            Target(id="gone", watchlist_id="w", name="gone", template=b"", model=MODEL, erased_at_us=1, created_at_us=0)
        )

    found = compared(registry)

    assert (found.sightings, found.targets) == (LEAST_SIGHTINGS, 3)
    np.testing.assert_allclose(np.sort(found.scores), np.sort((passers @ people.T).ravel()), atol=1e-6)


def test_pairs_that_an_alert_told_of_are_left_out_unless_rejected(registry: Registry) -> None:
    passers, people = directions(LEAST_SIGHTINGS, 1), directions(3, 2)
    # Four passed who are on the list: three were alerted, one of them wrongly, and one was missed.
    passers[:4] = people[[0, 0, 1, 2]]
    put_passers(registry, passers)
    put_people(registry, people)
    put_alert(registry, "w0", "s0", "s1")
    put_alert(registry, "w1", "s2", verdict="confirmed")
    put_alert(registry, "w1", "s9", verdict="rejected")
    put_people(registry, directions(1, 5), watchlist="x", model=OTHER)
    put_alert(registry, "x0", "s7")  # with somebody who is not compared

    scores = compared(registry).scores

    assert len(scores) == 3 * LEAST_SIGHTINGS - 3
    assert (scores > 0.999).sum() == 1, "who passed without an alert counts as a stranger"
    left_out = [(0, 0), (1, 0), (2, 1)]
    expected = passers @ people.T
    mask = np.ones_like(expected, np.bool_)
    for pair in left_out:
        mask[pair] = False
    np.testing.assert_allclose(np.sort(scores), np.sort(expected[mask]), atol=1e-6)


def test_of_very_many_some_are_taken_at_random(registry: Registry, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(site, "MOST_SIGHTINGS", 1050)
    monkeypatch.setattr(site, "MOST_TARGETS", 4)
    put_passers(registry, directions(1100, 1))
    put_people(registry, directions(8, 2))

    first, again, other = (compared(registry, seed=seed) for seed in (0, 0, 1))

    assert (first.sightings, first.targets, len(first.scores)) == (1050, 4, 4200)
    np.testing.assert_array_equal(first.scores, again.scores)
    assert not np.array_equal(first.scores, other.scores)


# --- what is fitted ---


def test_a_threshold_is_reached_by_the_share_of_strangers_that_is_stated(registry: Registry) -> None:
    put_passers(registry, directions(2000, 1))
    put_people(registry, directions(100, 2))

    made = fit(compared(registry).scores, "made up")

    fresh = (directions(4000, 8) @ directions(500, 9).T).ravel()
    for rate in (0.5, 0.1, 1e-2, 1e-3, 1e-4):
        assert made.score_at(rate) == pytest.approx(reached_by(rate), abs=0.015)
        assert (fresh >= made.score_at(rate)).mean() == pytest.approx(rate, rel=0.3)
    assert made.score_at(1e-6) == pytest.approx(reached_by(1e-6), abs=0.05), "beyond what was measured"
    # Of a watchlist of ten strangers reach somebody ten times as often.
    limits = thresholds(Watchlist(possible_strangers=100, likely_strangers=1000), 10, made)
    ten = directions(100_000, 10) @ directions(10, 11).T
    assert (ten.max(axis=1) >= limits.possible).mean() == pytest.approx(1 / 100, rel=0.3)
    assert (ten.max(axis=1) >= limits.likely).mean() == pytest.approx(1 / 1000, rel=0.4)


# --- what holds from then on ---

MADE = Calibration(operating_points={1e-2: 0.5, 1e-4: 0.75}, source="here")


@pytest.fixture
def settings(registry: Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    read_or_make(secret_path(tmp_path, "data_keys"), Keyring.new_key)
    monkeypatch.setattr(models_in_use, "REFRESH_S", 3600.0)  # only `forget` makes it look again
    return Settings(home=tmp_path, database_url=registry.url.render_as_string(hide_password=False))


def actions(registry: Registry) -> list[tuple[str, str, Mapping[str, Any]]]:
    with registry.reading() as session:
        entries = session.scalars(select(AuditEntry).order_by(AuditEntry.number)).all()
    return [(one.action, one.subject_id, one.detail) for one in entries]


def test_the_latest_calibration_of_a_model_holds_once_it_is_looked_for(registry: Registry, settings: Settings) -> None:
    in_use = ModelsInUse(registry, settings)
    shipped = template_model(settings, MODEL)
    assert in_use().embedder == shipped
    strangers = Strangers(np.zeros(12_345, np.float32), 1234, 5)
    first = Calibration(operating_points={1e-2: 0.1})

    for made in (first, MADE):
        with registry.transaction() as session:
            site.store(session, ACTOR, shipped, made, strangers)

    assert in_use().embedder.calibration == shipped.calibration, "not looked for yet"
    in_use.forget()
    found = in_use().embedder
    assert (found.name, found.dimension, found.calibration) == (MODEL, shipped.dimension, MADE)
    with registry.reading() as session:
        assert calibrated(session, template_model(settings, OTHER)) == template_model(settings, OTHER)
        rows = session.scalars(select(SiteCalibration)).all()
    assert {(row.model, row.sightings, row.comparisons, row.created_by) for row in rows} == {
        (MODEL, 1234, 12_345, "cli:olga")
    }
    detail = {"model": MODEL, "sightings": 1234, "comparisons": 12_345}
    assert actions(registry) == [("model.calibrated", MODEL, detail)] * 2


def test_without_them_the_shipped_one_holds_again(registry: Registry, settings: Settings) -> None:
    in_use = ModelsInUse(registry, settings)
    for name in (MODEL, MODEL, OTHER):
        with registry.transaction() as session:
            site.store(session, ACTOR, template_model(settings, name), MADE, Strangers(np.zeros(1, np.float32), 1, 1))
    assert in_use().embedder.calibration == MADE

    with registry.transaction() as session:
        assert site.forget(session, ACTOR, MODEL) == 2
    with registry.transaction() as session:
        assert site.forget(session, ACTOR, MODEL) == 0

    in_use.forget()
    assert in_use().embedder == template_model(settings, MODEL)
    with registry.reading() as session:
        assert calibrated(session, template_model(settings, OTHER)).calibration == MADE, "of another model it stays"
    assert [action for action, _, _ in actions(registry)].count("model.calibration_removed") == 1


# --- the command ---


@pytest.fixture
def run(registry: Registry, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    """`lookout calibrate`, at a site of 1,200 passers-by and two watchlists."""
    ring = Keyring.parse(secret_path(settings.home, "data_keys").read_text())
    put_passers(registry, directions(1200, 1), keyring=ring)
    put_people(registry, directions(12, 2), watchlist="long", keyring=ring)
    put_people(registry, directions(1, 3), watchlist="short", keyring=ring)
    monkeypatch.setenv("LOOKOUT_HOME", str(settings.home))
    monkeypatch.setenv("LOOKOUT_DATABASE_URL", settings.database_url)
    monkeypatch.setenv("COLUMNS", "200")
    return lambda *arguments: CliRunner().invoke(cli.app, ["calibrate", *arguments])


def in_use_now(registry: Registry, settings: Settings) -> Calibration:
    return ModelsInUse(registry, settings)().embedder.calibration


def test_thresholds_of_watchlists_follow(registry: Registry, settings: Settings, run: Callable[..., Any]) -> None:
    shipped = template_model(settings, MODEL).calibration

    answer = json.loads(run("--json").stdout)

    assert (answer["model"], answer["stored"]) == (MODEL, True)
    made = in_use_now(registry, settings)
    assert made.source == "1,200 sightings of this site and 13 people on its watchlists"
    rows = {row["watchlist"]: row for row in answer["watchlists"]}
    for name, size in (("long", 12), ("short", 1)):
        assert rows[name]["targets"] == size
        for when, calibration in (("before", shipped), ("after", made)):
            limits = thresholds(Watchlist(possible_strangers=500, likely_strangers=10_000), size, calibration)
            expected = {"possible": limits.possible, "likely": limits.likely}
            assert rows[name][when] == pytest.approx(expected, abs=6e-5)
    # One comparison in 500, and of twelve in about 6,000, as the made-up strangers are distributed.
    assert rows["short"]["after"]["possible"] == pytest.approx(reached_by(1 / 500), abs=0.03)
    assert rows["long"]["after"]["possible"] == pytest.approx(reached_by(1 / 6000), abs=0.04)
    ((action, subject, detail),) = actions(registry)
    assert (action, subject) == ("model.calibrated", MODEL)
    assert detail == {"model": MODEL, "sightings": 1200, "comparisons": 15_600}


def test_a_dry_run_changes_nothing(registry: Registry, settings: Settings, run: Callable[..., Any]) -> None:
    shown = run("--dry-run")
    answer = json.loads(run("--dry-run", "--json").stdout)

    assert "a dry run: nothing is changed" in shown.stdout
    assert answer["stored"] is False
    assert answer["watchlists"][0]["before"] != answer["watchlists"][0]["after"]
    assert in_use_now(registry, settings) == template_model(settings, MODEL).calibration
    assert actions(registry) == []


def test_back_to_the_shipped_one(registry: Registry, settings: Settings, run: Callable[..., Any]) -> None:
    shipped = template_model(settings, MODEL).calibration
    assert run().exit_code == 0
    assert in_use_now(registry, settings) != shipped

    kept = json.loads(run("--shipped", "--dry-run", "--json").stdout)
    assert in_use_now(registry, settings) != shipped
    answer = json.loads(run("--shipped", "--json").stdout)

    assert in_use_now(registry, settings) == shipped
    assert kept["watchlists"] == answer["watchlists"]
    limits = thresholds(Watchlist(possible_strangers=500, likely_strangers=10_000), 12, shipped)
    assert answer["watchlists"][0]["after"]["likely"] == pytest.approx(limits.likely, abs=6e-5)
    assert [action for action, _, _ in actions(registry)] == ["model.calibrated", "model.calibration_removed"]


def test_a_site_with_too_few_comparisons_keeps_its_thresholds(
    registry: Registry, settings: Settings, run: Callable[..., Any]
) -> None:
    with registry.transaction() as session:
        for target in session.scalars(select(Target).where(Target.watchlist_id == "long").limit(5)):
            target.erased_at_us = 1

    result = run()

    assert isinstance(result.exception, LookoutError)
    assert "9600 scores of strangers are too few to tell a tail: 10000 are needed" in str(result.exception)
    assert in_use_now(registry, settings) == template_model(settings, MODEL).calibration
    assert actions(registry) == []
