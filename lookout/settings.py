"""Settings, read once at the edge of each process and handed in.

Order of precedence: environment (`LOOKOUT_…`), secret files (`/run/secrets/lookout_…`), what a running embedded
system wrote to `<home>/run/endpoints.json`, defaults.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from platformdirs import user_cache_path
from pydantic import Field, SecretStr, field_validator, model_validator
from pydantic_settings import (
    BaseSettings,
    JsonConfigSettingsSource,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
)
from sqlalchemy.engine import URL, make_url

SECRETS_DIR = Path("/run/secrets")


class Settings(BaseSettings):
    """Everything a process can be told. Units are in the names."""

    model_config = SettingsConfigDict(
        env_prefix="LOOKOUT_",
        frozen=True,
        extra="ignore",
        secrets_dir=SECRETS_DIR if SECRETS_DIR.is_dir() else None,
    )

    home: Path = Field(default=Path("var"), description="all state of a running system")
    cache: Path = Field(default_factory=lambda: user_cache_path("lookout"), description="models and media")

    redis_url: SecretStr = SecretStr("redis://127.0.0.1:6379/0")
    milvus_uri: str = "http://127.0.0.1:19530"
    database_url: str = Field(default="", repr=False, description="empty: SQLite in home; may hold a password")
    database_password: SecretStr | None = Field(default=None, description="put into database_url")
    blobs_url: str = Field(default="", description="any fsspec URL; empty: a folder in home")
    footage: Path | None = Field(default=None, description="recorded video, on a disk of this machine; empty: in home")
    public_url: str = Field(
        default="http://127.0.0.1:8000",
        description="where people reach the page, for links; if not set, where it listens on this machine",
    )
    proxies: str = Field(
        default="127.0.0.1",
        description="addresses and networks of reverse proxies, comma-separated: their word on who asks is taken",
    )
    data_keys: SecretStr | None = Field(
        default=None, description="one `id:key` a line; empty: made at first start, kept in home"
    )

    inference_threads: int = Field(default=1, ge=1)
    inference_device: str = "CPU"

    #: A crop that no worker reached by then is dropped and counted: an alert later than this helps nobody.
    crop_deadline_s: float = Field(default=60.0, gt=0)
    #: Micro-batches that may wait for workers before ingest sheds.
    queue_limit: int = Field(default=200, ge=1)
    alert_silence_s: float = Field(default=30.0, gt=0)

    @model_validator(mode="before")
    @classmethod
    def _take_search_url(cls, values: dict[str, Any]) -> dict[str, Any]:
        """What a running embedded system says of its page, where nothing else is set."""
        return {"public_url": values["search_url"], **values} if "search_url" in values else values

    @field_validator("public_url")
    @classmethod
    def _url_without_slash(cls, url: str) -> str:
        if not url.startswith(("http://", "https://")):
            raise ValueError("it begins with https:// or http://")
        return url.rstrip("/")

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003 - pydantic names it
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Put the running embedded system's endpoints last."""
        home = Path(init_settings().get("home") or env_settings().get("home") or cls.model_fields["home"].default)
        endpoints = JsonConfigSettingsSource(settings_cls, json_file=endpoints_path(home))
        return init_settings, env_settings, file_secret_settings, endpoints

    @property
    def database(self) -> URL:
        """Where the registry is, with the password filled in."""
        if not self.database_url:
            return URL.create("sqlite", database=str((self.home / "registry.db").absolute()))
        url = make_url(self.database_url)
        return url.set(password=self.database_password.get_secret_value()) if self.database_password else url

    @property
    def footage_folder(self) -> Path:
        """Where recorded video lies."""
        return (self.footage or self.home / "footage").absolute()

    @property
    def uploads_folder(self) -> Path:
        """Where videos that were sent lie until they are indexed: beside the footage, as both are large."""
        return self.footage_folder / "uploads"

    @property
    def blobs(self) -> str:
        """The fsspec URL of the blob store."""
        return self.blobs_url or (self.home / "blobs").absolute().as_uri()


def endpoints_path(home: Path) -> Path:
    """Where the embedded system says on which ports its parts listen."""
    return home / "run" / "endpoints.json"
