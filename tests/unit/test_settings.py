from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from pydantic import ValidationError

from lookout.settings import Settings, endpoints_path


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home of its own, and nothing else set."""
    for name in os.environ:
        if name.startswith("LOOKOUT_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("LOOKOUT_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


@pytest.fixture
def secrets(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that stands for /run/secrets."""
    folder = tmp_path / "secrets"
    folder.mkdir()
    monkeypatch.setitem(Settings.model_config, "secrets_dir", folder)
    return folder


def write_endpoints(home: Path, **endpoints: str) -> None:
    path = endpoints_path(home)
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps(endpoints))


def redis_url() -> str:
    return Settings().redis_url.get_secret_value()


def test_each_source_outranks_the_next(home: Path, secrets: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert redis_url() == "redis://127.0.0.1:6379/0"
    write_endpoints(home, redis_url="redis://endpoints", ingest_metrics_url="not a setting")
    assert redis_url() == "redis://endpoints"
    (secrets / "lookout_redis_url").write_text("redis://secrets\n")
    assert redis_url() == "redis://secrets"
    monkeypatch.setenv("LOOKOUT_REDIS_URL", "redis://environment")
    assert redis_url() == "redis://environment"


def test_endpoints_are_those_of_the_home_that_is_meant(home: Path, tmp_path: Path) -> None:
    write_endpoints(home, milvus_uri="http://here")
    write_endpoints(tmp_path / "other", milvus_uri="http://other")
    assert Settings().milvus_uri == "http://here"
    assert Settings(home=tmp_path / "other").milvus_uri == "http://other"


def test_without_a_database_it_is_sqlite_in_the_home(home: Path) -> None:
    assert Settings().database.render_as_string() == f"sqlite:///{home / 'registry.db'}"
    assert Settings().blobs == (home / "blobs").as_uri()


@pytest.mark.parametrize(
    ("url", "password", "expected"),
    [
        ("postgresql+psycopg://u@db/lookout", "p@ss/word", "postgresql+psycopg://u:p%40ss%2Fword@db/lookout"),
        ("postgresql+psycopg://u:old@db/lookout", "new", "postgresql+psycopg://u:new@db/lookout"),
        ("postgresql+psycopg://u:old@db/lookout", None, "postgresql+psycopg://u:old@db/lookout"),
        ("", "unused", None),
    ],
)
def test_the_database_password_goes_into_its_url(
    home: Path, secrets: Path, url: str, password: str | None, expected: str | None
) -> None:
    if password is not None:
        (secrets / "lookout_database_password").write_text(password)
    settings = Settings(database_url=url)
    assert settings.database.render_as_string(hide_password=False) == (expected or f"sqlite:///{home / 'registry.db'}")


def test_no_secret_shows_when_settings_are_printed(home: Path) -> None:
    settings = Settings.model_validate(
        {
            "redis_url": "redis://:hush-redis@127.0.0.1/0",
            "database_url": "postgresql+psycopg://u@db/lookout",
            "database_password": "hush-password",
            "data_keys": "hush-key",
        }
    )
    for text in (repr(settings), str(settings), str(settings.model_dump()), repr(settings.database)):
        assert "hush" not in text


def test_a_password_in_the_database_url_does_not_show_either(home: Path) -> None:
    assert "hush" not in repr(Settings(database_url="postgresql+psycopg://u:hush@db/lookout"))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("INFERENCE_THREADS", "0"),
        ("CROP_DEADLINE_S", "0"),
        ("QUEUE_LIMIT", "many"),
        ("ALERT_SILENCE_S", "-1"),
    ],
)
def test_values_that_make_no_sense_are_refused_by_name(
    home: Path, monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    monkeypatch.setenv(f"LOOKOUT_{name}", value)
    with pytest.raises(ValidationError, match=name.lower()):
        Settings()


def test_settings_cannot_be_changed(home: Path) -> None:
    with pytest.raises(ValidationError, match="frozen"):
        Settings().queue_limit = 1  # type: ignore[misc]


@pytest.mark.parametrize(
    ("set_to", "endpoints", "expected"),
    [
        (None, None, "http://127.0.0.1:8000"),
        (None, {"search_url": "http://127.0.0.1:4711"}, "http://127.0.0.1:4711"),
        ("https://lookout.example.org/", {"search_url": "http://127.0.0.1:4711"}, "https://lookout.example.org"),
    ],
)
def test_links_lead_where_people_reach_the_page(
    home: Path, monkeypatch: pytest.MonkeyPatch, set_to: str | None, endpoints: dict[str, str] | None, expected: str
) -> None:
    if endpoints is not None:
        write_endpoints(home, **endpoints)
    if set_to is not None:
        monkeypatch.setenv("LOOKOUT_PUBLIC_URL", set_to)

    assert Settings().public_url == expected


def test_a_public_url_is_one() -> None:
    with pytest.raises(ValidationError, match="https://"):
        Settings(public_url="javascript:alert(1)")
