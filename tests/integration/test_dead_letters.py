"""What was given up, on its page and by its command, with a real Valkey."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from fastapi.testclient import TestClient
from pydantic import SecretStr
from redis import Redis
from sqlalchemy import select
from typer.testing import CliRunner

from lookout.accounts import sessions, users
from lookout.accounts.rights import ROLE_SCOPES
from lookout.audit import SYSTEM
from lookout.cli.dead_letters import app as command
from lookout.messages import DeadLetter
from lookout.queue import CROPS
from lookout.sealing import Keyring
from lookout.secret_files import read_or_make, secret_path
from lookout.settings import Settings
from lookout.stores.dead_letters import DeadLetters
from lookout.stores.registry import Registry
from lookout.stores.registry.tables import Alert, AuditEntry, Delivery, Target, Watchlist, Webhook
from search.app import create_app
from search.parts import Parts
from tests.servers import Server

PAGE = "/system/dead-letters"


@pytest.fixture
def settings(registry: Registry, redis: Redis, valkey_server: Server, tmp_path: Path) -> Settings:
    """With one dead letter, of two crops that have expired."""
    read_or_make(secret_path(tmp_path, "data_keys"), Keyring.new_key)
    DeadLetters(redis).bury(
        DeadLetter(id="m-1", crop_ids=["c1", "c2"], error="ValueError: odd", attempts=4, failed_at_us=1)
    )
    return Settings(
        home=tmp_path,
        redis_url=SecretStr(valkey_server.url),
        database_url=registry.url.render_as_string(hide_password=False),
    )


@pytest.fixture
def client(settings: Settings) -> Iterator[TestClient]:
    parts = Parts(settings)
    with TestClient(create_app(parts), raise_server_exceptions=False) as made:
        yield made
    parts.redis.close()
    parts.registry.close()


def sign_in(client: TestClient, registry: Registry, role: str, watchlists: list[str] | None = None) -> None:
    with registry.transaction() as session:
        user = users.create_user(session, SYSTEM, name=role, role=role, watchlist_ids=watchlists)
        scopes = sorted(ROLE_SCOPES[role])
        _, secret = sessions.create_token(session, SYSTEM, user, name="test", scopes=scopes, days=1)
    client.headers["Authorization"] = f"Bearer {secret}"


def test_admins_see_and_replay_them(client: TestClient, registry: Registry, redis: Redis) -> None:
    sign_in(client, registry, "admin")
    assert "ValueError: odd" in client.get(PAGE).text
    replayed = client.post(f"{PAGE}/m-1/replay")
    assert "0 crops are sent again" in replayed.text
    assert "2 had expired" in replayed.text
    assert DeadLetters(redis).all() == []
    assert redis.llen(CROPS) == 0, "there is nothing to be worked off"
    assert client.post(f"{PAGE}/m-1/replay").status_code == 404
    with registry.reading() as session:
        (entry,) = session.scalars(select(AuditEntry).where(AuditEntry.action == "crops.replayed"))
    assert (entry.subject_id, entry.detail) == ("m-1", {"crops": 2, "expired": 2})


@pytest.mark.parametrize("registry", ["sqlite"], indirect=True)
@pytest.mark.parametrize("role", ["operator", "analyst", "auditor"])
def test_others_do_not(client: TestClient, registry: Registry, redis: Redis, role: str) -> None:
    sign_in(client, registry, role)
    assert client.get(PAGE).status_code == 403
    assert client.post(f"{PAGE}/m-1/replay").status_code == 403
    assert len(DeadLetters(redis).all()) == 1


def test_only_webhooks_of_the_own_watchlists_are_shown(client: TestClient, registry: Registry) -> None:
    with registry.transaction() as session:
        for name in ("mine", "other"):
            session.add(Watchlist(id=name, name=name, purpose="p", legal_basis="l", created_at_us=0))
            session.flush()
            url = f"https://user:hush@{name}.example/"
            session.add(Webhook(id=name, watchlist_id=name, url=url, secret=b"", created_at_us=0))
            session.add(Target(id=name, watchlist_id=name, name="Anna", created_at_us=0))
            session.flush()
            session.add(
                Alert(
                    id=name, target_id=name, camera_group="door", camera_id="door", tier="likely", score=0.7,
                    threshold=0.6, first_captured_at_us=0, last_seen_at_us=0, latency_us=1, stored_at_us=0,
                )
            )  # fmt: skip
            session.flush()
            session.add(dead(name, alert_id=name))
            session.add(dead(f"test of {name}", webhook_id=name))
    sign_in(client, registry, "admin", ["mine"])
    shown = client.get(PAGE).text
    assert "https://…@mine.example/" in shown
    assert '<td class="number">1</td>' in shown, "a failed test is no dead letter"
    assert "other.example" not in shown
    assert "hush" not in shown


def dead(delivery_id: str, *, webhook_id: str | None = None, alert_id: str | None = None) -> Delivery:
    return Delivery(
        id=delivery_id,
        webhook_id=webhook_id or delivery_id,
        alert_id=alert_id,
        payload={"type": "alert.opened"},
        state="dead",
        attempts=16,
        next_attempt_at_us=0,
        created_at_us=0,
    )


def test_the_command_lists_and_replays_them(
    settings: Settings, redis: Redis, valkey_server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LOOKOUT_HOME", str(settings.home))
    monkeypatch.setenv("LOOKOUT_REDIS_URL", valkey_server.url)
    monkeypatch.setenv("LOOKOUT_DATABASE_URL", str(settings.database_url))
    run = CliRunner()
    (row,) = json.loads(run.invoke(command, ["list", "--json"], catch_exceptions=False).stdout)
    assert (row["id"], row["kind"], row["what"]) == ("m-1", "crops", "2 crops")
    assert run.invoke(command, ["replay", "m-1", "m-1"]).stdout == "1 sent again; 2 crops had expired meanwhile\n"
    assert DeadLetters(redis).all() == []
    assert "no dead letter m-1" in str(run.invoke(command, ["replay", "m-1"]).exception)
