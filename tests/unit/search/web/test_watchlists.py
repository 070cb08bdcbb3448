"""The pages of watchlists: what is stated, and what it is said to mean."""

from __future__ import annotations

import re

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import select

from lookout.stores.registry import Registry
from lookout.stores.registry.tables import Watchlist
from tests.wall import put_alert, put_target, token_of

FORM = {
    "name": "Guests", "purpose": "Greet", "legal_basis": "Consent", "possible_strangers": "100",
    "likely_strangers": "2000", "min_face_px": "60", "min_quality": "0.75", "retention_days": "7",
}  # fmt: skip


def words(page: str) -> str:
    """What a page says, without its tags."""
    return " ".join(re.sub(r"<[^>]*>", " ", page).split())


def stored(registry: Registry) -> list[Watchlist]:
    with registry.reading() as session:
        return list(session.scalars(select(Watchlist)))


def test_a_form_that_is_sent_is_what_is_stored_and_shown(client: TestClient, registry: Registry) -> None:
    page = client.post("/watchlists", data=FORM)

    (made,) = stored(registry)
    assert (made.possible_strangers, made.likely_strangers, made.min_face_px, made.min_quality) == (100, 2000, 60, 0.75)
    assert made.retention_days == 7
    assert page.url.path == f"/watchlists/{made.id}"
    assert "At most one false alert when 2,000 strangers pass." in words(page.text)
    assert "from 60 pixels wide and a quality of 0.75" in words(page.text)
    edit = client.get(f"/watchlists/{made.id}/edit").text
    for field in ("possible_strangers", "likely_strangers", "min_face_px", "min_quality"):
        assert re.search(rf'name="{field}"[^>]* value="{FORM[field]}"', edit)


def test_what_is_left_empty_has_its_default(client: TestClient, registry: Registry) -> None:
    rates = ("possible_strangers", "likely_strangers", "min_face_px", "min_quality", "retention_days")
    client.post("/watchlists", data={**FORM, **dict.fromkeys(rates, "")})
    (made,) = stored(registry)
    assert [getattr(made, one) for one in rates] == [500, 10_000, 40, 0.5, 30]


@pytest.mark.parametrize(
    ("field", "value", "says"),
    [
        ("possible_strangers", "0", "`possible` is at least 1"),
        ("possible_strangers", "2001", "`likely` at least as many"),
        ("possible_strangers", "many", "possible: strangers: give a whole number"),
        ("possible_strangers", "-5", "possible: strangers: give a whole number"),
        ("possible_strangers", "٣", "possible: strangers: give a whole number"),
        ("likely_strangers", "0", "`likely` at least as many"),
        ("likely_strangers", "1000001", "at most 1,000,000"),
        ("likely_strangers", "1" * 30, "likely: strangers: give a whole number"),
        ("min_face_px", "0", "least face width: 20 to 1000 pixels"),
        ("min_face_px", "19", "least face width: 20 to 1000 pixels"),
        ("min_face_px", "1001", "least face width: 20 to 1000 pixels"),
        ("min_face_px", "wide", "least face width: give a whole number"),
        ("min_quality", "1.5", "least quality: 0 to 1"),
        ("min_quality", "nan", "least quality: 0 to 1"),
        ("min_quality", "good", "least quality: give a figure from 0 to 1"),
        ("retention_days", "0", "retention: 1 to 3650 days"),
    ],
)
def test_a_wrong_field_is_told_and_nothing_is_stored(
    client: TestClient, registry: Registry, field: str, value: str, says: str
) -> None:
    page = client.post("/watchlists", data={**FORM, field: value})

    assert page.status_code == 422
    assert says in words(page.text)
    assert stored(registry) == []


def test_a_wrong_change_leaves_what_there_is(client: TestClient, registry: Registry) -> None:
    client.post("/watchlists", data=FORM)
    (made,) = stored(registry)

    page = client.post(f"/watchlists/{made.id}/edit", data={**FORM, "likely_strangers": "50", "version": "1"})

    assert page.status_code == 422
    assert "`likely` at least as many" in words(page.text)
    assert stored(registry)[0].likely_strangers == 2000


# --- what it means ---


@pytest.mark.parametrize(
    ("query", "strangers", "people", "scores"),
    [
        # docs/accuracy.md, "Thresholds".
        ("", ["500", "10,000"], "1 person", ["0.814", "0.849"]),
        ("?targets=1", ["500", "10,000"], "1 person", ["0.814", "0.849"]),
        ("?targets=10", ["500", "10,000"], "10 people", ["0.842", "0.870"]),
        ("?targets=1000", ["500", "10,000"], "1000 people", ["0.882", "0.900"]),
        # One in 50,000 of one person is what one in 500 is of a hundred.
        ("?possible_strangers=10000&likely_strangers=50000", ["10,000", "50,000"], "1 person", ["0.849", "0.864"]),
        # What cannot be meant has the defaults' meaning until it is put right.
        ("?possible_strangers=many", ["500", "10,000"], "1 person", ["0.814", "0.849"]),
        ("?possible_strangers=&likely_strangers=", ["500", "10,000"], "1 person", ["0.814", "0.849"]),
        # Everybody is reported.
        ("?possible_strangers=1", ["1", "10,000"], "1 person", ["-1.000", "0.849"]),
        ("?possible_strangers=0", ["1", "10,000"], "1 person", ["-1.000", "0.849"]),
        ("?likely_strangers=9999999", ["500", "1,000,000"], "1 person", ["0.814", "0.887"]),
    ],
)
def test_rates_are_explained_while_they_are_typed(
    client: TestClient, query: str, strangers: list[str], people: str, scores: list[str]
) -> None:
    page = client.get(f"/watchlists/meaning{query}")

    assert page.status_code == 200
    said = words(page.text)
    assert re.findall(r"At most one false alert when (\S+) strangers pass\.", said) == strangers
    assert re.findall(r"With ([^.]*) on it that takes a score of (\S+)\.(?= |$)", said) == [
        (people, score) for score in scores
    ]


@pytest.mark.parametrize("query", ["targets=-1", "targets=some", "possible_strangers=" + "1" * 21])
def test_what_no_form_asks_is_refused(client: TestClient, query: str) -> None:
    assert client.get(f"/watchlists/meaning?{query}").status_code == 422


def test_the_meaning_is_for_those_who_may_write(client: TestClient, registry: Registry) -> None:
    with registry.transaction() as session:
        auditor = token_of(session, "alma", "auditor")
    assert client.get("/watchlists/meaning", headers=auditor).status_code == 403


def test_pages_explain_at_the_number_of_people_that_are_on_the_list(client: TestClient, registry: Registry) -> None:
    with registry.transaction() as session:
        for number in range(10):
            put_target(session, "w", f"t{number}")
        put_target(session, "w", "gone").erased_at_us = 1

    for path in ("/watchlists/w", "/watchlists/w/edit"):
        said = words(client.get(path).text)
        assert "With 10 people on it that takes a score of 0.842." in said
        assert "With 10 people on it that takes a score of 0.870." in said


def test_verdicts_so_far_are_shown_with_their_certainty(client: TestClient, registry: Registry) -> None:
    with registry.transaction() as session:
        put_target(session, "w", "t")
        for number in range(10):
            verdict = "confirmed" if number < 9 else "rejected"
            put_alert(session, "t", f"a{number}", verdict=verdict, sightings=0, tell=False)

    said = words(client.get("/watchlists/w").text)

    assert "9 of 10 judged alerts were right: 90 %, with 95 % certainty between 60 % and 98 %." in said
    assert "No alert was judged yet." in said
