"""`lookout models`: which models and clips there are, under which terms; fetching them, and changing those in use."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import msgspec
import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn
from rich.status import Status
from rich.table import Column, Table

from lookout.cli.context import cli_actor, open_registry
from lookout.faces.assets import AssetCache
from lookout.faces.manifest import REFINER, Detector, Embedder, Media, OwnEmbedder, load_manifest
from lookout.faces.models import load_embedder, template_model
from lookout.models_in_use import calibrated, choose_detector, names_in_use
from lookout.sealing import keyring
from lookout.settings import Settings
from lookout.stores.blobs import Blobs
from lookout.stores.registry import Registry
from lookout.stores.vectors import Vectors

if TYPE_CHECKING:
    from lookout.faces.quantised import Verdict


class AssetRow(msgspec.Struct, frozen=True, kw_only=True):
    """A model or clip as `list` shows it; `path` is null unless it is here and sound."""

    name: str
    role: str
    description: str
    licence: str
    source: str
    origin: str
    path: str | None
    bytes: int


app = typer.Typer(no_args_is_help=True, help="Models and clips: what there is, under which terms, and fetching them.")


@app.command("list")
def list_assets(
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Show all models and clips with their terms, and which are on this machine."""
    cache = _cache()
    rows = [_row(cache, name) for name in cache.manifest.assets]
    if as_json:
        typer.echo(msgspec.json.format(msgspec.json.encode(rows)).decode())
        return
    console = _console()
    table = Table(Column("name", no_wrap=True), "what", "licence", "on this machine")
    for row in rows:
        table.add_row(row.name, row.description, row.licence, _megabytes(row.bytes) if row.path else "no")
    console.print(table)
    for origin, source in dict.fromkeys((row.origin, row.source) for row in rows):
        console.print()
        console.print(*(row.name for row in rows if (row.origin, row.source) == (origin, source)), style="bold")
        console.print(f"from {origin}. {source}")


@app.command("fetch")
def fetch_assets(
    names: Annotated[list[str] | None, typer.Argument(help="Which; all if none is named.")] = None,
) -> None:
    """Download what is missing or damaged, verify it and make the models; embedders also in INT8."""
    # It brings OpenVINO, which `list` should not wait for.
    from lookout.faces.quantised import quantise

    cache = _cache()
    # A misspelt name is refused before the first download.
    wanted = {file: cache.manifest.asset(file) for name in names or () for file in cache.manifest.files_of(name)}
    if any(isinstance(asset, Embedder | OwnEmbedder) for asset in wanted.values()):
        wanted[REFINER] = cache.manifest.asset(REFINER)
    console = _console()
    for name in wanted or cache.manifest.assets:
        with console.status(name) as status:

            def told(asset: str, doing: str, status: Status = status) -> None:
                status.update(f"{asset}: {doing}")

            path = cache.fetch([name], told)[name]
            verdict = quantise(cache, name, told) if isinstance(cache.manifest.asset(name), Embedder) else None
        console.print(f"{name}: {_megabytes(_disk_bytes(path))}, {path}{_in_int8(verdict)}", soft_wrap=True)


@app.command("use")
def use(
    name: Annotated[str, typer.Argument(help="A detector or an embedder.")],
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say how long it would take; change nothing.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Use another model. For an embedder all photos and crops are embedded anew first; meanwhile all goes on as it was.

    Cut off, the same command goes on where it was. Going back is the same step.
    """
    settings = Settings()
    cache = _cache()
    is_detector = isinstance(cache.manifest.models.get(name), Detector)
    if not is_detector:
        cache.manifest.embedder(name)
    with open_registry(settings) as registry:
        if is_detector:
            answer = _use_detector(registry, cache, name, dry_run=dry_run)
        else:
            answer = _use_embedder(settings, registry, cache, name, dry_run=dry_run, quiet=as_json)
    if as_json:
        typer.echo(json.dumps(answer, indent=2))
    else:
        _console().print(_said(answer), soft_wrap=True)


def _use_detector(registry: Registry, cache: AssetCache, name: str, *, dry_run: bool) -> dict[str, Any]:
    with registry.reading() as session:
        before, _ = names_in_use(session)
    if not dry_run:
        cache.fetch([name])
        with registry.transaction() as session:
            choose_detector(session, cli_actor(), name)
    return {"role": "detector", "before": before, "after": name, "dry_run": dry_run}


def _use_embedder(
    settings: Settings, registry: Registry, cache: AssetCache, name: str, *, dry_run: bool, quiet: bool
) -> dict[str, Any]:
    # They bring OpenVINO, which no other command should wait for.
    from lookout.faces.quantised import prepare
    from lookout.switching import reembedding
    from lookout.switching.switch import switch

    with Console(stderr=True).status(name) as status:
        prepare(cache, name, lambda asset, doing: status.update(f"{asset}: {doing}"))
    ring = keyring(settings)
    stores = reembedding.Stores(registry, Vectors(settings.milvus_uri), Blobs(settings.blobs, ring), ring)
    embedder = load_embedder(settings, name)
    with registry.reading() as session:
        _, before = names_in_use(session)
        work = reembedding.remaining(session, name)
        to = calibrated(session, template_model(settings, name))
    if dry_run:
        seconds = reembedding.estimate_s(stores, embedder, work)
        answer = {"role": "embedder", "before": before, "after": name, "dry_run": True}
        return {**answer, **asdict(work), "seconds": round(seconds, 1)}
    try:
        with _Told(quiet=quiet) as told:
            done = switch(stores, to, reembedding.Reembedder(stores, embedder), cli_actor(), told)
    finally:
        stores.vectors.close()
    return {"role": "embedder", "dry_run": False, **asdict(done)}


class _Told:
    """How a switch gets on, as a bar for each of its steps."""

    def __init__(self, *, quiet: bool) -> None:
        bar = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        self._progress = Progress(*bar, console=Console(stderr=True), disable=quiet)
        self._tasks: dict[str, TaskID] = {}

    def __enter__(self) -> _Told:
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def __call__(self, what: str, done: int, total: int) -> None:
        if what not in self._tasks:
            self._tasks[what] = self._progress.add_task(what)
        self._progress.update(self._tasks[what], completed=done, total=total)


def _said(answer: dict[str, Any]) -> str:
    after, before = answer["after"], answer["before"]
    if answer["role"] == "detector":
        return f"{after} {'would find' if answer['dry_run'] else 'finds'} faces from now on (before: {before})"
    if answer["dry_run"]:
        return (
            f"{answer['photos']} photos and {answer['sightings']} sightings with {answer['crops']} pictures would be "
            f"embedded anew by {after}: about {answer['seconds']:.0f} s here. {before} stays in use until then"
        )
    gone = (
        f"; {answer['gone']} sightings can no longer be found, as their pictures are gone: they stay until they expire"
        if answer["gone"]
        else ""
    )
    return (
        f"{after} is in use (before: {before}): {answer['photos']} photos and {answer['sightings']} sightings were "
        f"embedded anew; workers waited {answer['pause_s']} s; thresholds are those of {after}{gone}"
    )


def _in_int8(verdict: Verdict | None) -> str:
    if verdict is None:
        return ""
    figures = f"{verdict.speedup:.1f} times as fast, cosine to the original at least {verdict.cosine:.3f}"
    return f"; {'used' if verdict.accepted else 'not used'} in INT8: {figures}"


def _cache() -> AssetCache:
    settings = Settings()
    return AssetCache(settings.cache, load_manifest(settings.home / "models.toml"))


def _console() -> Console:
    # Texts of users' files are shown as they are, whatever brackets and colons they hold.
    return Console(markup=False, emoji=False, highlight=False)


def _row(cache: AssetCache, name: str) -> AssetRow:
    asset, path = cache.manifest.asset(name), cache.find(name)
    if isinstance(asset, OwnEmbedder):
        origin = str(asset.file)
    else:
        archive = cache.manifest.archives[asset.archive]
        origin = f"{archive.registry}: {archive.package} {archive.version}"
    return AssetRow(
        name=name,
        role=asset.role,
        description=asset.description if isinstance(asset, Media) else asset.role,
        licence=asset.licence,
        source=asset.source,
        origin=origin,
        path=str(path) if path else None,
        bytes=_disk_bytes(path) if path else 0,
    )


def _disk_bytes(path: Path) -> int:
    """Size of a file, and of the weights beside a model's `.xml`."""
    files = {path, path.with_suffix(".bin")}
    return sum(file.stat().st_size for file in files if file.exists())


def _megabytes(size: int) -> str:
    return f"{size / 1e6:.1f} MB"
