"""`lookout doctor`: checks every part, and says what to do."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table
from sqlalchemy import select

from lookout.errors import LookoutError, UnavailableError
from lookout.faces.models import asset_cache
from lookout.health import check_parts
from lookout.models_in_use import models_in_use
from lookout.queue import CROPS, backlog
from lookout.sealing import Keyring, keyring
from lookout.settings import Settings, endpoints_path
from lookout.stores.blobs import Blobs
from lookout.stores.dead_letters import DeadLetters
from lookout.stores.redis import connect
from lookout.stores.registry import Registry
from lookout.stores.registry.tables import Reference
from lookout.stores.templates import reference_place, unpack
from lookout.stores.vectors import Vectors

MIN_FREE_BYTES = 2 * 1024**3

REMEDIES = {
    "registry": "start it, or run `lookout migrate`; LOOKOUT_DATABASE_URL says where it is",
    "redis": "start it with `lookout up`, or set LOOKOUT_REDIS_URL",
    "milvus": "start it with `lookout up`, or set LOOKOUT_MILVUS_URI",
    "blobs": "make room, or set LOOKOUT_BLOBS_URL",
    "data keys": "put back the keys that sealed the data, in LOOKOUT_DATA_KEYS or secrets/data_keys in LOOKOUT_HOME",
    "home": "set LOOKOUT_HOME to a folder that you may write",
    "disk": "make room, or set LOOKOUT_HOME to a larger disk",
    "queue": "look into the workers' logs, or start more with `lookout worker`",
    "dead letters": "`lookout dead-letters list` shows why; `replay` tries again",
}


def doctor(as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False) -> None:
    """Check models, folders, Redis, Milvus, registry, blobs and queues. Exit code 1 if something is wrong."""
    settings = Settings()
    faults = dict(check_all(settings))
    healthy = not any(faults.values())
    if as_json:
        report = {"healthy": healthy, "parts": {part: fault or "ok" for part, fault in faults.items()}}
        typer.echo(json.dumps(report, indent=2))
        raise typer.Exit(0 if healthy else 1)
    table = Table("part", "state", "what to do")
    for part, fault in faults.items():
        table.add_row(part, fault or "ok", REMEDIES.get(part, "`lookout models fetch`") if fault else "")
    Console().print(table)
    if not endpoints_path(settings.home).exists() and (faults["redis"] or faults["milvus"]):
        Console().print(f"no embedded system runs in {settings.home}; `lookout up` starts one")
    raise typer.Exit(0 if healthy else 1)


def check_all(settings: Settings) -> Iterator[tuple[str, str | None]]:
    """Each part's name, and what is wrong with it, None if it is well."""
    yield "home", _fault(lambda: _check_home(settings.home))
    yield "disk", _fault(lambda: _check_disk(settings.home))
    redis = connect(settings)
    registry = Registry(settings.database)
    # With a key of its own: whether pictures can be stored does not hang on whether those that are there can be opened.
    blobs = Blobs(settings.blobs, Keyring.parse(Keyring.new_key()))
    parts = check_parts(registry, redis, Vectors(settings.milvus_uri), blobs)
    yield from parts.items()
    if not parts["registry"]:
        yield "models", _fault(lambda: _check_models(settings, registry))
    yield "data keys", _fault(lambda: _check_keys(settings, None if parts["registry"] else registry))
    yield "queue", _fault(lambda: _check_queue(backlog(redis, CROPS), settings.queue_limit))
    yield "dead letters", _fault(lambda: _check_letters(len(DeadLetters(redis).all())))


def _fault(check: Callable[[], None]) -> str | None:
    from redis.exceptions import RedisError

    try:
        check()
    except UnavailableError:
        return "cannot be asked"
    except RedisError:
        return "cannot be asked: Redis does not answer"
    except (LookoutError, OSError) as error:
        return str(error)
    return None


def _check_home(home: Path) -> None:
    home.mkdir(parents=True, exist_ok=True, mode=0o700)
    probe = home / ".doctor"
    probe.write_bytes(b"ok")
    probe.unlink()


def _check_disk(home: Path) -> None:
    free = shutil.disk_usage(home).free
    if free < MIN_FREE_BYTES:
        raise LookoutError(f"only {free / 1e9:.1f} GB are free")


def _check_models(settings: Settings, registry: Registry) -> None:
    """Find the files of the models in use."""
    used, assets = models_in_use(registry, settings), asset_cache(settings)
    files = (used.detector, *assets.manifest.files_of(used.embedder.name))
    if missing := [name for name in files if assets.find(name) is None]:
        raise LookoutError(f"not fetched yet, or damaged: {', '.join(missing)}")


def _check_keys(settings: Settings, registry: Registry | None) -> None:
    """Find the keys, and open what was sealed last."""
    ring = keyring(settings)
    if registry is None:
        return
    with registry.reading() as session:
        newest = session.scalar(select(Reference).order_by(Reference.created_at_us.desc()).limit(1))
    if newest is not None:
        unpack(newest.template, ring, reference_place(newest.id))


def _check_queue(depth: int, limit: int) -> None:
    if depth >= limit // 2:
        raise LookoutError(f"{depth} messages wait; from {limit} on crops are shed")


def _check_letters(count: int) -> None:
    if count:
        raise LookoutError(f"{count} messages kept failing")
