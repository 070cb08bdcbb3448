"""`lookout webhooks`, without any server running but the registry's file."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy.engine import make_url
from typer.testing import CliRunner

from lookout.cli import webhooks
from lookout.errors import BadInputError, NotFoundError
from lookout.sealing import Keyring
from lookout.stores.registry import Registry
from lookout.stores.registry.tables import Watchlist
from tests.receiver import listening
from workers.deliveries import deliver, due

Run = Callable[..., Any]


@pytest.fixture
def registry(tmp_path: Path) -> Iterator[Registry]:
    made = Registry(make_url(f"sqlite:///{tmp_path / 'registry.db'}"))
    made.migrate()
    with made.transaction() as session:
        session.add(Watchlist(name="guests", purpose="p", legal_basis="l", created_at_us=0))
    yield made
    made.close()


@pytest.fixture
def keys() -> str:
    return Keyring.new_key()


@pytest.fixture
def run(registry: Registry, keys: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Run `lookout webhooks …`."""
    monkeypatch.setenv("LOOKOUT_HOME", str(tmp_path))
    monkeypatch.setenv("LOOKOUT_DATABASE_URL", registry.url.render_as_string())
    monkeypatch.setenv("LOOKOUT_DATA_KEYS", keys)
    return lambda *arguments: CliRunner().invoke(webhooks.app, list(arguments))


def listed(run: Run) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = json.loads(run("list", "--json").stdout)
    return rows


def test_a_webhook_is_added_shown_and_removed(run: Run) -> None:
    added = run("add", "guests", "https://user:hush@example.org/hook")
    assert re.search(r"whsec_\S{20,} \(shown only now\)", added.stdout)
    (row,) = listed(run)
    assert (row["watchlist"], row["url"], row["enabled"]) == ("guests", "https://…@example.org/hook", True)
    assert "example.org" in run("list").stdout
    assert run("remove", row["id"]).stdout == "removed\n"
    assert listed(run) == []
    assert "no webhooks yet" in run("list").stdout


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        (("add", "strangers", "https://example.org/"), NotFoundError),
        (("add", "guests", "example.org"), BadInputError),
        (("test", "nowhere"), NotFoundError),
        (("remove", "nowhere"), NotFoundError),
    ],
)
def test_bad_input_is_told(run: Run, arguments: tuple[str, ...], error: type[Exception]) -> None:
    assert isinstance(run(*arguments).exception, error)
    assert listed(run) == []


@pytest.mark.parametrize(("status", "code", "says"), [(200, 0, "took it"), (500, 1, "not delivered: HTTP 500")])
def test_a_test_says_what_became_of_it(
    run: Run, registry: Registry, keys: str, monkeypatch: pytest.MonkeyPatch, status: int, code: int, says: str
) -> None:
    def work(_seconds: float) -> None:
        for delivery_id in due(registry):
            deliver(registry, Keyring.parse(keys), delivery_id)

    monkeypatch.setattr("lookout.cli.webhooks.time.sleep", work)
    with listening() as receiver:
        receiver.statuses = [status]
        run("add", "guests", receiver.url)
        result = run("test", listed(run)[0]["id"])
    assert says in result.stdout
    assert result.exit_code == code


def test_a_test_that_no_worker_takes_is_told(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lookout.cli.webhooks.PATIENCE_S", 0.3)
    run("add", "guests", "https://example.org/hook")
    result = run("test", listed(run)[0]["id"])
    assert "no worker" in result.stdout
    assert result.exit_code == 1
