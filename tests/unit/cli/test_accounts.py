"""`lookout users`, `tokens`, `audit` and `openapi`, with nothing running."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import create_engine, text
from typer.testing import CliRunner

from lookout import cli
from lookout.errors import LookoutError

Run = Callable[..., Any]


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "home"


@pytest.fixture
def run(home: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    monkeypatch.setenv("LOOKOUT_HOME", str(home))
    monkeypatch.setenv("LOOKOUT_PUBLIC_URL", "https://lookout.example.org")
    monkeypatch.setenv("COLUMNS", "200")
    return lambda *arguments: CliRunner().invoke(cli.app, list(arguments))


def refused(result: Any, says: str) -> None:
    assert isinstance(result.exception, LookoutError), result.output
    assert says in str(result.exception)


def listed(run: Run, *what: str) -> Any:
    return json.loads(run(*what, "--json").stdout)


def test_users_come_change_and_go(run: Run) -> None:
    run("watchlist", "create", "guests", "--purpose", "welcome", "--legal-basis", "consent")

    added = run("users", "add", "anna", "--role", "operator", "--watchlist", "guests", "--camera-group", "door")

    assert "https://lookout.example.org/welcome/lkl_" in added.stdout
    (anna,) = listed(run, "users", "list")
    assert (anna["name"], anna["role"], anna["watchlists"], anna["camera_groups"], anna["state"]) == (
        "anna", "operator", ["guests"], ["door"], "no password yet",
    )  # fmt: skip
    run("users", "change", "anna", "--role", "analyst", "--all-watchlists")
    (anna,) = listed(run, "users", "list")
    assert (anna["role"], anna["watchlists"], anna["camera_groups"]) == ("analyst", None, ["door"])
    run("users", "disable", "anna")
    assert listed(run, "users", "list")[0]["state"] == "disabled"
    refused(run("users", "link", "anna"), "enable the user first")
    run("users", "enable", "anna")
    assert "/welcome/lkl_" in run("users", "link", "anna").stdout
    assert run("users", "unlock", "anna").exit_code == 0
    assert "anna" in run("users", "list").stdout


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["users", "add", "Anna", "--role", "operator"], "small letters"),
        (["users", "add", "anna", "--role", "king"], "there is no role king"),
        (["users", "add", "anna", "--role", "operator", "-w", "none"], "there is no watchlist none"),
        (["users", "disable", "nobody"], "there is no user nobody"),
        (["users", "change", "nobody", "-w", "a", "--all-watchlists"], "not both"),
        (["tokens", "create", "t", "--user", "nobody", "--scope", "alerts:read"], "there is no user nobody"),
        (["tokens", "revoke", "none"], "there is no token none"),
        (["audit", "verify", "--head", "abc"], "64 hexadecimal digits"),
        (["audit", "export", "--format", "xml"], "there is no xml"),
        (["audit", "export", "--since", "yesterday"], "yesterday is no time"),
    ],
)
def test_mistakes_are_told(run: Run, arguments: list[str], says: str) -> None:
    refused(run(*arguments), says)


def test_tokens_are_made_shown_once_and_revoked(run: Run) -> None:
    run("users", "add", "anna", "--role", "auditor")
    refused(run("tokens", "create", "t", "--user", "anna", "--scope", "alerts:read"), "may not alerts:read")

    secret = run("tokens", "create", "[b]t", "-u", "anna", "-s", "audit:read", "--days", "7").stdout.splitlines()[-1]

    assert secret.startswith("lkt_")
    (token,) = listed(run, "tokens", "list", "--user", "anna")
    assert (token["name"], token["user"], token["scopes"], token["last_used_at"]) == (
        "[b]t", "anna", ["audit:read"], None,
    )  # fmt: skip
    assert not token["expired"]
    assert "[b]t" in run("tokens", "list").stdout
    assert secret not in run("tokens", "list").stdout + json.dumps(token)
    assert run("tokens", "revoke", token["id"]).exit_code == 0
    assert "lookout tokens create" in run("tokens", "list").stdout


def test_the_log_is_shown_verified_and_taken_out(run: Run, home: Path) -> None:
    run("users", "add", "anna", "--role", "auditor")
    verified = run("audit", "verify")
    head = listed(run, "audit", "verify")["head"]
    assert verified.exit_code == 0
    assert f"2 entries are whole; hash of the last: {head}" in verified.stdout
    assert [entry["action"] for entry in listed(run, "audit", "list")] == ["link.created", "user.created"]
    assert "user.created" in run("audit", "list", "--action", "user.created").stdout

    lines = [json.loads(line) for line in run("audit", "export").stdout.splitlines()]
    rows = list(csv.DictReader(io.StringIO(run("audit", "export", "--format", "csv", "--since", "2020-01-01").stdout)))

    assert [line["action"] for line in lines] == ["user.created", "link.created", "audit.exported"]
    assert [row["action"] for row in rows] == [*(line["action"] for line in lines), "audit.exported"]
    assert lines[-1]["actor"].startswith("cli:")
    assert run("audit", "verify", "--head", head).exit_code == 0
    assert run("audit", "verify", "--head", "f" * 64).exit_code == 1

    engine = create_engine(f"sqlite:///{home / 'registry.db'}")
    with engine.begin() as connection:
        connection.execute(text("DROP TRIGGER audit_entries_no_update"))
        connection.execute(text("UPDATE audit_entries SET actor = 'somebody' WHERE number = 2"))
    engine.dispose()
    broken = run("audit", "verify", "--json")
    assert broken.exit_code == 1
    assert json.loads(broken.stdout) | {"head": ""} == {
        "whole": False, "entries": 1, "head": "", "fault": "entry 2 was changed",
    }  # fmt: skip


def test_the_api_describes_itself(run: Run) -> None:
    description = json.loads(run("openapi").stdout)

    assert description["openapi"].startswith("3.1")
    assert "/api/v1/users" in description["paths"]
