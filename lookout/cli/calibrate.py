"""`lookout calibrate`: thresholds from the site's own passers-by."""

from __future__ import annotations

import json
from typing import Annotated, Any

import msgspec
import typer
from rich.console import Console
from rich.table import Table

from lookout.cli.context import cli_actor, open_registry
from lookout.faces.calibration import Calibration
from lookout.faces.models import template_model
from lookout.models_in_use import models_in_use
from lookout.sealing import keyring
from lookout.settings import Settings
from lookout.targets.people import ListedWatchlist, list_watchlists
from lookout.watchlists.thresholds import thresholds


def calibrate(
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show what would change, and change nothing.")] = False,
    shipped: Annotated[bool, typer.Option("--shipped", help="Go back to the calibration that was shipped.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Measure how alike this site's passers-by are to the people on its watchlists, and let thresholds follow."""
    # SciPy takes a second to import.
    from lookout.evaluation import site
    from lookout.evaluation.calibration import fit

    settings = Settings()
    with open_registry(settings) as registry:
        model = models_in_use(registry, settings).embedder
        with registry.reading() as session:
            listed = list_watchlists(session, None)
            strangers = None if shipped else site.compare(session, keyring(settings), model.name)
        made = template_model(settings, model.name).calibration
        if strangers is not None:
            people = (
                f"{strangers.sightings:,} sightings of this site and {strangers.targets:,} people on its watchlists"
            )
            made = fit(strangers.scores, people)
        if not dry_run:
            with registry.transaction() as session:
                if strangers is None:
                    site.forget(session, cli_actor(), model.name)
                else:
                    site.store(session, cli_actor(), model, made, strangers)
    rows = [_row(one, model.calibration, made) for one in listed]
    if as_json:
        answer = {
            "model": model.name,
            "stored": not dry_run,
            "calibration": msgspec.to_builtins(made, str_keys=True),
            "watchlists": rows,
        }
        typer.echo(json.dumps(answer, indent=2))
        return
    _show(rows, made, stored=not dry_run)


def _row(listed: ListedWatchlist, before: Calibration, after: Calibration) -> dict[str, Any]:
    old, new = (thresholds(listed.watchlist, listed.targets, one) for one in (before, after))
    return {
        "watchlist": listed.watchlist.name,
        "targets": listed.targets,
        "before": {"possible": round(old.possible, 4), "likely": round(old.likely, 4)},
        "after": {"possible": round(new.possible, 4), "likely": round(new.likely, 4)},
    }


def _show(rows: list[dict[str, Any]], made: Calibration, *, stored: bool) -> None:
    console = Console(soft_wrap=True, highlight=False, markup=False)
    console.print(f"from {made.source}{'' if stored else ' (a dry run: nothing is changed)'}")
    if not rows:
        return
    table = Table("watchlist", "people", "possible from", "likely from")
    for row in rows:
        changes = [f"{row['before'][tier]:.3f} -> {row['after'][tier]:.3f}" for tier in ("possible", "likely")]
        table.add_row(row["watchlist"], str(row["targets"]), *changes)
    console.print(table)
