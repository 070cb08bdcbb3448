"""The HTTP service on a real registry; the other parts are away unless a test says otherwise."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from fastapi.testclient import TestClient
from pydantic import SecretStr
from redis import Redis
from sqlalchemy.engine import make_url

from lookout.stores.blobs import Blobs
from lookout.stores.registry import Registry
from lookout.stores.registry.tables import Alert, Sighting, StoredCrop, Target, Watchlist
from lookout.stores.vectors import Vectors
from search.app import create_app

TOKEN = "a-token-of-this-test"
AUTHORISED = {"Authorization": f"Bearer {TOKEN}"}


@pytest.fixture
def registry(tmp_path: Path) -> Iterator[Registry]:
    made = Registry(make_url(f"sqlite:///{tmp_path / 'registry.db'}"))
    made.migrate()
    yield made
    made.close()


@pytest.fixture
def client(registry: Registry, tmp_path: Path) -> Iterator[TestClient]:
    # Port 1 of loopback: nothing ever listens there.
    with Redis.from_url("redis://127.0.0.1:1", socket_connect_timeout=1) as redis:
        app = create_app(
            registry=registry,
            redis=redis,
            vectors=Vectors("http://127.0.0.1:1"),
            blobs=Blobs((tmp_path / "blobs").as_uri()),
            api_token=SecretStr(TOKEN),
        )
        with TestClient(app, raise_server_exceptions=False) as made:
            yield made


def fill(registry: Registry, count: int) -> None:
    """Alerts 0 … count-1, stored a second after one another, on two watchlists in turn."""
    with registry.transaction() as session:
        for name in ("even", "odd"):
            session.add(Watchlist(id=name, name=name, purpose="p", legal_basis="l", created_at_us=0))
            session.flush()
            session.add(Target(id=name, watchlist_id=name, name=f"target {name}", created_at_us=0))
        session.add(
            Sighting(
                id="s", camera_id="door", camera_group="door", started_at_us=0, ended_at_us=1, model="m",
                template_sum=b"", best_quality=1, created_at_us=0,
            )
        )  # fmt: skip
        session.flush()
        session.add(StoredCrop(id="c", sighting_id="s", captured_at_us=0, quality=1, box_xyxy=[], landmarks=[]))
        session.flush()
        for number in range(count):
            session.add(
                Alert(
                    id=f"{number:032}", target_id="odd" if number % 2 else "even", camera_group="door",
                    camera_id="door", tier="likely", score=0.7, threshold=0.6, crop_id="c",
                    first_captured_at_us=number * 1_000_000, last_seen_at_us=number * 1_000_000, latency_us=250_000,
                    # Two and two were stored in the same instant, as a batch does.
                    stored_at_us=(number // 2) * 1_000_000, closed_at_us=number * 1_000_000 + 1,
                )
            )  # fmt: skip


def test_healthz_needs_no_token_and_no_part(client: TestClient) -> None:
    answer = client.get("/healthz")

    assert answer.status_code == 200
    assert answer.json() == {"status": "ok"}


def test_readyz_says_which_part_is_not_ready(client: TestClient) -> None:
    answer = client.get("/readyz")

    assert answer.status_code == 503
    assert answer.headers["content-type"] == "application/problem+json"
    problem = answer.json()
    assert problem["detail"] == "not ready: redis, milvus"
    assert problem["parts"]["registry"] == "ok"
    assert problem["parts"]["blobs"] == "ok"
    assert "does not answer" in problem["parts"]["redis"]
    assert "does not answer" in problem["parts"]["milvus"]


def test_metrics_are_offered_while_redis_is_away(client: TestClient) -> None:
    answer = client.get("/metrics")

    assert answer.status_code == 200
    assert "process_resident_memory_bytes" in answer.text


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Authorization": "Bearer wrong"},
        {"Authorization": f"Basic {TOKEN}"},
        {"Authorization": TOKEN},
        {"Authorization": f"Bearer {TOKEN}x"},
        {"Authorization": "Bearer "},
    ],
)
def test_alerts_need_the_token(client: TestClient, headers: dict[str, str]) -> None:
    answer = client.get("/api/v1/alerts", headers=headers)

    assert answer.status_code == 401
    assert answer.headers["www-authenticate"] == "Bearer"
    assert answer.headers["content-type"] == "application/problem+json"
    assert TOKEN not in answer.text


def test_no_alerts(client: TestClient) -> None:
    answer = client.get("/api/v1/alerts", headers=AUTHORISED)

    assert answer.status_code == 200
    assert answer.json() == {"alerts": [], "next": None}


def test_an_alert_says_all_and_is_unverified(client: TestClient, registry: Registry) -> None:
    fill(registry, 1)

    (alert,) = client.get("/api/v1/alerts", headers=AUTHORISED).json()["alerts"]

    assert alert == {
        "id": f"{0:032}",
        "verdict": "unverified",
        "target": {"id": "even", "name": "target even"},
        "watchlist": {"id": "even", "name": "even"},
        "camera": "door",
        "camera_group": "door",
        "tier": "likely",
        "score": 0.7,
        "threshold": 0.6,
        "crop": "c",
        "first_captured_at": "1970-01-01T00:00:00.000Z",
        "last_seen_at": "1970-01-01T00:00:00.000Z",
        "closed_at": "1970-01-01T00:00:00.000Z",
        "stored_at": "1970-01-01T00:00:00.000Z",
        "latency_ms": 250,
        "updates": 0,
    }


@pytest.mark.parametrize("limit", [1, 2, 3, 7, 500])
def test_pages_hold_each_alert_once_newest_first(client: TestClient, registry: Registry, limit: int) -> None:
    fill(registry, 7)
    seen: list[str] = []
    cursor = None

    for _ in range(8):
        params = {"limit": limit} | ({"cursor": cursor} if cursor else {})
        page = client.get("/api/v1/alerts", params=params, headers=AUTHORISED).json()
        seen += [alert["id"] for alert in page["alerts"]]
        cursor = page["next"]
        if cursor is None:
            break

    assert seen == [f"{number:032}" for number in (6, 5, 4, 3, 2, 1, 0)]


def test_alerts_of_one_watchlist(client: TestClient, registry: Registry) -> None:
    fill(registry, 5)

    page = client.get("/api/v1/alerts", params={"watchlist": "odd"}, headers=AUTHORISED).json()

    assert [alert["id"] for alert in page["alerts"]] == [f"{number:032}" for number in (3, 1)]


@pytest.mark.parametrize(
    ("params", "says"),
    [
        ({"limit": "0"}, "limit"),
        ({"limit": "501"}, "limit"),
        ({"limit": "many"}, "limit"),
        ({"cursor": "x"}, "cursor"),
        ({"cursor": "AAAA"}, "cursor"),
        ({"cursor": "OTk5OTk5OTk5OTk5OTk5OTk5OTk5OTk5L2E="}, "cursor"),
        ({"watchlist": "x" * 101}, "watchlist"),
    ],
)
def test_bad_questions_are_told_what_is_wrong(client: TestClient, params: dict[str, str], says: str) -> None:
    answer = client.get("/api/v1/alerts", params=params, headers=AUTHORISED)

    assert answer.status_code == 422
    assert answer.headers["content-type"] == "application/problem+json"
    assert says in answer.json()["detail"]


def test_unknown_paths_are_problems_too(client: TestClient) -> None:
    answer = client.get("/nowhere")

    assert answer.status_code == 404
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["status"] == 404
