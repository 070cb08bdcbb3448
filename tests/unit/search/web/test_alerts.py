"""The pages of alerts."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import event, select

from lookout.stores.registry import Registry
from lookout.stores.registry.tables import Alert, AuditEntry, CameraRow, Verdict
from search.app import create_app
from tests.wall import parts_on, put_alert, put_reference, put_target, token_of

Headers = dict[str, str]


@pytest.fixture
def queries() -> list[str]:
    """All that requests asked of SQL."""
    return []


@pytest.fixture
def client(registry: Registry, tmp_path: Path, queries: list[str]) -> Iterator[TestClient]:
    parts = parts_on(registry, tmp_path)

    def note(*given: Any) -> None:
        if threading.current_thread().name.startswith("AnyIO"):  # a request's; others look for imports and for events
            queries.append(given[2])

    event.listen(parts.registry.engine, "before_cursor_execute", note)
    with TestClient(create_app(parts)) as made:
        yield made
    parts.registry.close()
    parts.redis.close()


@pytest.fixture
def anna(registry: Registry) -> Headers:
    with registry.transaction() as session:
        return token_of(session, "anna")


def shown(page: str) -> list[str]:
    return re.findall(r'<article [^>]*id="alert-([^"]*)"', page)


def camera(camera_id: str = "entrance") -> CameraRow:
    return CameraRow(
        id=camera_id, name=f"Camera {camera_id}", url=b"", camera_group="doors", analysed_fps=5, transport="tcp",
        masks=[], created_at_us=0,
    )  # fmt: skip


def test_the_wall_shows_cards_newest_first_and_is_one_audit_entry(
    client: TestClient, registry: Registry, anna: Headers
) -> None:
    with registry.transaction() as session:
        put_target(session, "w", "t")
        session.add(camera())
        reference = put_reference(session, "t", "faces/f")
        for number in range(3):
            put_alert(session, "t", f"{number}", at_us=number, reference_id=reference.id, sightings=2)

    page = client.get("/alerts", headers=anna).text

    assert shown(page) == ["2", "1", "0"]
    assert "0.64 of 0.60 needed" in page
    assert "Camera entrance" in page
    assert "2 sightings" in page
    assert f"/api/v1/alerts/1/references/{reference.id}/picture" in page
    with registry.reading() as session:
        actions = list(session.scalars(select(AuditEntry.action).where(AuditEntry.actor == "anna")))
    assert actions == ["wall.opened"]


@pytest.mark.parametrize(
    ("query", "ids"),
    [
        ("", ["b", "a"]),
        ("?watchlist=w", ["a"]),
        ("?watchlist=list%20v", ["b"]),
        ("?tier=nonsense&verdict=&since=yesterday&state=x", ["b", "a"]),
        ("?since=1970-01-01T00:00:00.000002Z", ["b"]),
        ("?until=1970-01-01T00:00:00.000002", ["a"]),
        ("?camera=nowhere", []),
    ],
)
def test_filters_are_in_the_address(
    client: TestClient, registry: Registry, anna: Headers, query: str, ids: list[str]
) -> None:
    with registry.transaction() as session:
        put_target(session, "w", "t")
        put_target(session, "v", "u")
        put_alert(session, "t", "a", at_us=1)
        put_alert(session, "u", "b", at_us=2)

    assert shown(client.get(f"/alerts{query}", headers=anna).text) == ids


def test_older_cards_come_page_by_page(client: TestClient, registry: Registry, anna: Headers) -> None:
    with registry.transaction() as session:
        put_target(session, "w", "t")
        for number in range(100):
            put_alert(session, "t", f"{number}", at_us=number, sightings=0, tell=False)
    seen: list[str] = []
    path = "/alerts?tier=likely"

    for _ in range(3):
        page = client.get(path, headers=anna | {"HX-Request": "true"}).text
        seen += shown(page)
        assert "<html" not in page
        link = re.search(r'<p id="older"(?: hidden)?><a class="button" href="([^"]*)"', page)
        assert link
        path = link[1].replace("&amp;", "&")

    assert seen == [f"{number}" for number in reversed(range(100))]
    assert 'id="older" hidden' in page


def test_a_page_of_many_cards_asks_no_more_of_sql_than_one_of_few(
    client: TestClient, registry: Registry, anna: Headers, queries: list[str]
) -> None:
    def count() -> int:
        queries.clear()
        assert client.get("/alerts", headers=anna).status_code == 200
        return len(queries)

    with registry.transaction() as session:
        put_target(session, "w", "t0")
        put_alert(session, "t0", "0")
    count()
    few = count()
    with registry.transaction() as session:
        for number in range(1, 30):
            put_target(session, f"w{number}", f"t{number}")
            put_alert(session, f"t{number}", f"{number}", sightings=2)

    assert count() == few


@pytest.mark.parametrize(
    ("watchlist", "with_camera", "teaches"),
    [(False, False, "/watchlists"), (True, False, "/cameras"), (True, True, "appears here")],
)
def test_an_empty_wall_teaches_the_next_step(
    client: TestClient, registry: Registry, anna: Headers, watchlist: bool, with_camera: bool, teaches: str
) -> None:
    with registry.transaction() as session:
        if watchlist:
            put_target(session, "w", "t")
        if with_camera:
            session.add(camera())

    page = client.get("/alerts", headers=anna).text

    assert teaches in page[page.index('id="nothing"') : page.index('id="cards"')]


def test_what_there_is_no_right_to_is_not_offered(client: TestClient, registry: Registry) -> None:
    with registry.transaction() as session:
        for watchlist, target in (("w", "t"), ("v", "secret")):
            put_target(session, watchlist, target)
        put_alert(session, "secret", "a")
        who = token_of(session, "ben", watchlists=["w"], groups=["yard"])
        session.add(camera("hidden"))

    for path in ("/alerts", "/alerts?target=secret", "/alerts?watchlist=v"):
        page = client.get(path, headers=who).text
        assert "list w" in page
        assert "list v" not in page
        assert "person secret" not in page
        assert "Camera hidden" not in page
    assert client.get("/alerts/a", headers=who).status_code == 404
    assert client.post("/alerts/a/verdicts", headers=who, data={"verdict": "confirmed"}).status_code == 404


def test_judging_answers_the_card(client: TestClient, registry: Registry, anna: Headers) -> None:
    with registry.transaction() as session:
        put_target(session, "w", "t")
        put_alert(session, "t", "a")

    refused = client.post("/alerts/a/verdicts", headers=anna | {"HX-Request": "true"}, data={"verdict": "rejected"})
    card = client.post("/alerts/a/verdicts", headers=anna, data={"verdict": "rejected", "reason": "another nose"}).text

    assert refused.status_code == 422
    assert "reason" in refused.text
    assert refused.headers["hx-retarget"] == "#notes"
    assert shown(card) == ["a"]
    assert 'data-verdict="rejected"' in card
    with registry.reading() as session:
        assert session.scalars(select(Verdict.reason)).all() == ["another nose"]


def test_a_card_says_what_each_of_two_persons_said(client: TestClient, registry: Registry, anna: Headers) -> None:
    with registry.transaction() as session:
        put_target(session, "w", "t", two_person_tiers=["likely"])
        put_alert(session, "t", "a")
        ben = token_of(session, "ben")

    first = client.post("/alerts/a/verdicts", headers=anna, data={"verdict": "confirmed"}).text
    second = client.post("/alerts/a/verdicts", headers=ben, data={"verdict": "rejected", "reason": "no"}).text

    assert "anna: confirmed" in first
    assert "One more person must agree" in first
    assert "ben: rejected" in second
    assert "They disagree" in second


def test_the_page_of_an_alert_asks_why_first_where_demanded(
    client: TestClient, registry: Registry, anna: Headers
) -> None:
    with registry.transaction() as session:
        put_target(session, "w", "t", reason_required=True)
        put_alert(session, "t", "a")

    asks = client.get("/alerts/a", headers=anna)
    asks_again = client.post("/alerts/a", headers=anna, data={"reason": " "})
    opened = client.post("/alerts/a", headers=anna, data={"reason": "case 12"})

    assert "Why do you look" in asks.text
    assert "person t" not in asks.text
    assert asks_again.status_code == 422
    assert "person t" in opened.text
    with registry.reading() as session:
        viewed = select(AuditEntry.reason).where(AuditEntry.action == "alert.viewed")
        assert session.scalars(viewed).all() == ["case 12"]


def test_after_an_erasure_no_page_asks_for_a_picture(client: TestClient, registry: Registry, anna: Headers) -> None:
    with registry.transaction() as session:
        target = put_target(session, "w", "t")
        put_alert(session, "t", "a", sightings=0)
        target.erased_at_us, target.name = 1, "erased t"

    for path in ("/alerts", "/alerts/a"):
        page = client.get(path, headers=anna).text
        assert "Erased person" in page
        assert "face gone" in page
        assert "/api/v1/alerts/a/" not in page
        assert 'data-verdict="confirmed"' not in page  # nothing to judge
    assert client.post("/alerts/a/verdicts", headers=anna, data={"verdict": "confirmed"}).status_code == 409
    with registry.reading() as session:
        assert session.get_one(Alert, "a").verdict == "unverified"
