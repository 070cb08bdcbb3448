"""The pages around a search: what they offer to whom, faces of a photo, and a sighting's face put on a watchlist."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import select

from lookout.faces.assets import AssetCache
from lookout.stores.registry.tables import AuditEntry, Reference, Target
from search.app import create_app
from search.parts import Parts
from tests.footage import put_camera, put_sightings
from tests.wall import token_of
from tests.workplace import Workplace

pytestmark = pytest.mark.timeout(120)
#: 2026-11-01T08:00:00Z
T0 = 1_793_520_000_000_000
Who = dict[str, str]


@pytest.fixture
def people(workplace: Workplace) -> dict[str, Who]:
    """Users of each kind."""
    with workplace.registry.transaction() as session:
        return {
            "anna": token_of(session, "anna", "analyst"),
            "yann": token_of(session, "yann", "analyst", groups=["yard"]),
            "olga": token_of(session, "olga", "operator"),
            "adam": token_of(session, "adam", "admin"),
            "carl": token_of(session, "carl", "admin", watchlists=[]),
        }


@pytest.fixture
def client(workplace: Workplace) -> Iterator[TestClient]:
    """The service."""
    with TestClient(create_app(Parts(workplace.settings)), follow_redirects=False) as made:
        yield made


@pytest.fixture
def sighting(workplace: Workplace, assets: AssetCache) -> str:
    """Man A at the entrance."""
    parts = workplace.parts
    put_camera(workplace.registry, parts.keyring, "entrance", name="Entrance")
    return put_sightings(workplace.registry, parts.blobs, parts.keyring, assets, "entrance", "entrance", T0)[0]


def enrol(client: TestClient, who: Who, sighting: str, **fields: Any) -> Any:
    return client.post(f"/sightings/{sighting}/enrol", headers={**who, "HX-Request": "true"}, data=fields)


def test_an_empty_system_says_what_to_do(client: TestClient, people: dict[str, Who]) -> None:
    search = client.get("/search", headers=people["anna"]).text
    assert "Nobody was seen yet" in search
    assert 'href="/videos"' in search
    footage = client.get("/footage", headers=people["olga"]).text
    assert "No footage yet" in footage
    assert 'href="/videos"' not in footage  # operators hand in none
    assert client.get("/search", headers=people["olga"]).status_code == 403


def test_the_page_offers_to_search_with_what_one_may_see(
    client: TestClient, people: dict[str, Who], sighting: str, workplace: Workplace
) -> None:
    target = workplace.enrol_man_a()
    page = client.get(f"/search?sighting={sighting}", headers=people["anna"])
    assert f"/api/v1/sightings/{sighting}/crops/" in page.text
    assert client.get(f"/search?sighting={sighting}", headers=people["yann"]).status_code == 404
    assert "man A" in client.get(f"/search?target={target.id}", headers=people["anna"]).text
    assert client.get(f"/search?target={target.id}", headers=people["carl"]).status_code == 404
    shown = client.get(f"/targets/{target.id}", headers=people["anna"]).text
    assert f"/search?target={target.id}" in shown
    assert "/search?target" not in client.get(f"/targets/{target.id}", headers=people["olga"]).text


def test_faces_of_a_photo_are_numbered_and_nothing_is_stored(
    client: TestClient, people: dict[str, Who], assets: AssetCache, tmp_path: Path
) -> None:
    def files() -> list[Path]:
        return sorted(one for one in tmp_path.rglob("*") if one.is_file() and not one.name.startswith("registry.db"))

    before = files()
    photo = assets.media("multi_face.jpg").read_bytes()
    answer = client.post("/search/faces", headers=people["anna"], files={"photos": ("group.jpg", photo)})
    assert answer.status_code == 200
    assert answer.text.count("data-choice") == 5
    assert ">5</text>" in answer.text
    nothing = client.post("/search/faces", headers=people["anna"], files={"photos": ("x.jpg", b"no picture")})
    assert "data-refused" in nothing.text
    assert files() == before


def test_a_face_goes_from_a_sighting_to_a_watchlist_by_the_checks_of_any_photo(
    client: TestClient, people: dict[str, Who], sighting: str, workplace: Workplace
) -> None:
    target = workplace.enrol_man_a()
    watchlist = target.watchlist_id
    assert "wanted" in client.get(f"/sightings/{sighting}/enrol", headers=people["adam"]).text

    # Somebody there resembles him: a person decides.
    asked = enrol(client, people["adam"], sighting, watchlist=watchlist, name="stranger")
    assert asked.status_code == 409
    assert "Is this the same person?" in asked.text
    made = enrol(client, people["adam"], sighting, watchlist=watchlist, name="stranger", confirm_resemblance="1")
    assert made.status_code == 204
    with workplace.registry.reading() as session:
        stranger = session.scalar(select(Target).where(Target.name == "stranger"))
        assert stranger is not None
        photos = session.scalars(select(Reference).where(Reference.target_id == stranger.id)).all()
        actions = session.scalars(select(AuditEntry.action).where(AuditEntry.subject_id == stranger.id)).all()
    assert made.headers["HX-Redirect"] == f"/targets/{stranger.id}"
    assert len(photos) == 1
    assert "target.created" in actions
    assert enrol(client, people["adam"], sighting, watchlist=watchlist, name="").status_code == 422


def test_only_who_may_enrol_and_sees_the_watchlist_can(
    client: TestClient, people: dict[str, Who], sighting: str, workplace: Workplace
) -> None:
    watchlist = workplace.enrol_man_a().watchlist_id
    assert enrol(client, people["anna"], sighting, watchlist=watchlist, name="x").status_code == 403
    assert enrol(client, people["carl"], sighting, watchlist=watchlist, name="x").status_code == 404
    assert enrol(client, people["adam"], "nosuch", watchlist=watchlist, name="x").status_code == 404
    assert len(workplace.rows(Target)) == 1
