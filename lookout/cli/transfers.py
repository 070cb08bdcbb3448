"""`lookout targets import` and `export`: whole watchlists in and out."""

from __future__ import annotations

import contextlib
import json
import os
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from lookout.cli.context import cli_actor, open_registry
from lookout.cli.indexing import index_now
from lookout.errors import BadInputError
from lookout.models_in_use import models_in_use
from lookout.sealing import keyring
from lookout.settings import Settings
from lookout.stores.blobs import Blobs
from lookout.stores.registry import Registry
from lookout.targets.batches import Line
from lookout.targets.enrolment import Enroller
from lookout.targets.exports import export, record_export
from lookout.targets.imports import Models, begin_import, fail_import, run_import, try_import
from lookout.targets.sources import Source, open_source
from lookout.watchlists.records import find_watchlist

OnWatchlist = Annotated[str, typer.Option("--watchlist", "-w", help="Name of the watchlist.")]


def import_targets(
    source: Annotated[
        Path, typer.Argument(help="A folder, a CSV with the columns name and photo, or a ZIP of either.")
    ],
    watchlist: OnWatchlist,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Look at all photos, store nothing.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Put many people on a watchlist: a sub-folder a person, or NAME.jpg and NAME_2.jpg.

    Cut off, the same command goes on where it was.
    """
    settings = Settings()
    with contextlib.closing(open_source(source)) as opened, open_registry(settings) as registry:
        with registry.reading() as session:
            find_watchlist(session, watchlist)
        shown = _Report(len(opened.entries()), as_json=as_json)
        with shown:
            for lines in _lines(settings, registry, opened, str(source.absolute()), watchlist, dry_run=dry_run):
                shown.add(lines)
    shown.summary(dry_run=dry_run)


def export_targets(
    file: Annotated[Path, typer.Argument(help="The ZIP to write; it can be imported again.")],
    watchlist: OnWatchlist,
    reason: Annotated[str, typer.Option(help="Why, for the audit.")] = "",
) -> None:
    """Write a watchlist's people and photos to a ZIP. It is not encrypted: keep it where only you can read."""
    settings = Settings()
    with open_registry(settings) as registry:
        with registry.transaction() as session:
            found = find_watchlist(session, watchlist)
            record_export(session, cli_actor(), found, reason)
        blobs = Blobs(settings.blobs, keyring(settings))
        try:
            # Nobody else may read it, also not while it is written.
            file.touch(mode=0o600, exist_ok=False)
            with file.open("wb") as out:
                out.writelines(export(registry, blobs, found.id))
        except OSError as error:
            raise BadInputError(f"{file} cannot be written: {error.strerror}.") from error
    typer.echo(f"watchlist {watchlist} is in {file}")


def _lines(
    settings: Settings, registry: Registry, source: Source, name: str, watchlist: str, *, dry_run: bool
) -> Iterator[Sequence[Line]]:
    """What becomes of the photos, some at a time."""
    with registry.reading() as session:
        found = find_watchlist(session, watchlist)
    used = models_in_use(registry, settings)
    models = Models(*used.load(settings), max(2, os.cpu_count() or 1))
    if dry_run:
        for line in try_import(registry, found.id, source, models):
            yield [line]
        return
    ring = keyring(settings)
    by = Enroller(cli_actor(), Blobs(settings.blobs, ring), ring, used.embedder)
    with registry.transaction() as session:
        import_id = begin_import(session, by.actor, find_watchlist(session, watchlist, lock=True), name).id
    try:
        for lines in run_import(registry, by, import_id, source, models):
            yield lines
            index_now(settings, registry, ring)
    except BadInputError as error:
        fail_import(registry, by.actor, import_id, str(error))
        raise


class _Report:
    """Shows how far it is, a line a photo, and what came of all."""

    def __init__(self, total: int, *, as_json: bool) -> None:
        self._json = as_json
        self._lines: list[Line] = []
        self._console = Console(soft_wrap=True, highlight=False, markup=False)
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
            console=Console(stderr=True),
        )
        self._task = self._progress.add_task("importing", total=total)

    def __enter__(self) -> None:
        self._progress.start()

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def add(self, lines: Sequence[Line]) -> None:
        """Show what became of some photos."""
        self._lines += lines
        self._progress.update(self._task, advance=len(lines))
        if not self._json:
            for line in lines:
                why = f" ({', '.join(line.reasons)}): {line.message}" if line.reasons else ""
                self._console.print(f"{line.file}: {line.state}{why}")

    def summary(self, *, dry_run: bool) -> None:
        """Say what came of it."""
        counted = Counter(line.state for line in self._lines)
        disagree = sum("disagrees" in line.reasons for line in self._lines)
        figures = {state: counted[state] for state in ("accepted", "refused", "known")} | {"disagree": disagree}
        if self._json:
            photos = [{**asdict(line), "reasons": list(line.reasons)} for line in self._lines]
            typer.echo(json.dumps({"dry_run": dry_run, "counts": figures, "photos": photos}, indent=2))
            return
        self._console.print(", ".join(f"{count} {state}" for state, count in figures.items()))
        if dry_run:
            self._console.print("nothing was stored: this was a dry run")
