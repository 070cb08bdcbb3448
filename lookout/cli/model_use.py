"""`lookout models use`: another detector or embedder."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from lookout.cli.context import cli_actor, open_registry
from lookout.faces.assets import AssetCache
from lookout.faces.manifest import Detector
from lookout.faces.models import asset_cache, load_embedder, template_model
from lookout.models_in_use import calibrated, choose_detector, names_in_use
from lookout.sealing import keyring
from lookout.settings import Settings
from lookout.stores.blobs import Blobs
from lookout.stores.registry import Registry
from lookout.stores.vectors import Vectors


def use(
    name: Annotated[str, typer.Argument(help="A detector or an embedder.")],
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say how long it would take; change nothing.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Use another model. For an embedder all photos and crops are embedded anew first; meanwhile all goes on as it was.

    Cut off, the same command goes on where it was. Going back is the same step.
    """
    settings = Settings()
    cache = asset_cache(settings)
    is_detector = isinstance(cache.manifest.usable(name), Detector)
    with open_registry(settings) as registry:
        if is_detector:
            answer = _use_detector(registry, cache, name, dry_run=dry_run)
        else:
            answer = _use_embedder(settings, registry, cache, name, dry_run=dry_run, quiet=as_json)
    if as_json:
        typer.echo(json.dumps(answer, indent=2))
    else:
        Console(markup=False, emoji=False, highlight=False, soft_wrap=True).print(_said(answer))


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
