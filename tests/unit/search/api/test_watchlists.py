"""What a watchlist's error rates and gates are over the API."""

from __future__ import annotations

from typing import Any

import pytest
from fastapi.testclient import TestClient

from lookout.stores.registry import Registry
from tests.wall import put_alert, put_target

PATH = "/api/v1/watchlists"
FIELDS = {"name": "Guests", "purpose": "Greet", "legal_basis": "Consent"}
#: docs/accuracy.md: people -> `possible` at 1 in 500, `likely` at 1 in 10,000.
SHOWN = {0: (0.814, 0.849), 1: (0.814, 0.849), 10: (0.842, 0.870), 100: (0.864, 0.887)}


def put_people(registry: Registry, watchlist: str, *, total: int) -> None:
    with registry.transaction() as session:
        for number in range(total):
            put_target(session, watchlist, f"{watchlist[:20]}-{number}")
        put_target(session, watchlist, f"{watchlist[:20]}-gone").erased_at_us = 1


def test_left_out_fields_have_their_defaults(client: TestClient) -> None:
    made = client.post(PATH, json=FIELDS).json()

    assert [made[one] for one in ("possible_strangers", "likely_strangers", "min_face_px", "min_quality")] == [
        500, 10_000, 40, 0.5,
    ]  # fmt: skip
    own = {"possible_strangers": 20, "likely_strangers": 1_000_000, "min_face_px": 20, "min_quality": 0}
    tag = {"If-Match": client.get(f"{PATH}/{made['id']}").headers["ETag"]}
    changed = client.put(f"{PATH}/{made['id']}", json={**FIELDS, **own}, headers=tag)
    assert changed.status_code == 200
    read = client.get(f"{PATH}/{made['id']}").json()
    assert {name: read[name] for name in own} == own
    assert {tier: one["strangers"] for tier, one in read["thresholds"].items()} == {"possible": 20, "likely": 1_000_000}


@pytest.mark.parametrize(
    ("fields", "names"),
    [
        ({"possible_strangers": 0}, "possible_strangers"),
        ({"possible_strangers": -500}, "possible_strangers"),
        ({"possible_strangers": "many"}, "possible_strangers"),
        ({"possible_strangers": 2.5}, "possible_strangers"),
        ({"possible_strangers": None}, "possible_strangers"),
        ({"likely_strangers": 0}, "likely_strangers"),
        ({"likely_strangers": 1_000_001}, "likely_strangers"),
        ({"likely_strangers": "1e4"}, "likely_strangers"),
        ({"possible_strangers": 501, "likely_strangers": 500}, "`likely` at least as many"),
        ({"possible_strangers": 10_001}, "`likely` at least as many"),
        ({"min_face_px": 19}, "min_face_px"),
        ({"min_face_px": 0}, "min_face_px"),
        ({"min_face_px": 1001}, "min_face_px"),
        ({"min_face_px": "wide"}, "min_face_px"),
        ({"min_quality": -0.1}, "min_quality"),
        ({"min_quality": 1.1}, "min_quality"),
        ({"min_quality": "good"}, "min_quality"),
        ({"possible_threshold": 0.5}, "possible_threshold"),
    ],
)
def test_a_wrong_field_is_named_and_nothing_is_stored(client: TestClient, fields: dict[str, Any], names: str) -> None:
    answer = client.post(PATH, json={**FIELDS, **fields})

    assert answer.status_code == 422
    assert names in answer.text
    assert client.get(PATH).json()["items"] == []


@pytest.mark.parametrize("people", SHOWN)
def test_thresholds_follow_the_number_of_people(client: TestClient, registry: Registry, people: int) -> None:
    made = client.post(PATH, json=FIELDS).json()["id"]
    put_people(registry, made, total=people)

    told = client.get(f"{PATH}/{made}").json()

    assert told["targets"] == people
    limits = told["thresholds"]
    assert (limits["possible"]["cosine"], limits["likely"]["cosine"]) == pytest.approx(SHOWN[people], abs=6e-4)
    # Of one comparison; so many reach it of `people` comparisons with one stranger.
    for tier, strangers in (("possible", 500), ("likely", 10_000)):
        reported = 1 - (1 - limits[tier]["false_match_rate"]) ** max(1, people)
        assert reported == pytest.approx(1 / strangers, rel=1e-3)
    assert client.get(PATH).json()["items"] == [told]


def test_precision_is_told_by_tier(client: TestClient, registry: Registry) -> None:
    made = client.post(PATH, json=FIELDS).json()["id"]
    put_people(registry, made, total=1)
    with registry.transaction() as session:
        for number in range(10):
            verdict = "confirmed" if number < 9 else "rejected"
            put_alert(session, f"{made[:20]}-0", f"a{number}", verdict=verdict, sightings=0, tell=False)

    told = client.get(f"{PATH}/{made}/precision").json()

    # Wilson's interval of 9 out of 10.
    likely = {"confirmed": 9, "rejected": 1, "share": 0.9, "low": 0.5958, "high": 0.9821}
    assert told["likely"] == pytest.approx(likely, abs=2e-4)
    assert told["possible"] == {"confirmed": 0, "rejected": 0, "share": None, "low": 0.0, "high": 1.0}
    assert client.get(f"{PATH}/nosuch/precision").status_code == 404
