"""`lookout bench`: what this machine does."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Annotated

import typer
from rich.console import Console

from lookout.cli.context import open_registry
from lookout.models_in_use import models_in_use
from lookout.sealing import keyring
from lookout.settings import Settings
from lookout.sightings import benchmark
from lookout.stores.vectors import Vectors

app = typer.Typer(no_args_is_help=True, help="Measure what this machine does.")


@app.callback()
def main() -> None:
    """Measure what this machine does."""


@app.command()
def search(
    rows: Annotated[
        int | None, typer.Option(min=1000, max=10_000_000, help="Made-up sightings; left out: those that there are.")
    ] = None,
    queries: Annotated[int, typer.Option(min=1, max=10_000, help="Searches to measure.")] = 100,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Measure searches by camera and time in Milvus, and their recall against an exact scan.

    Made-up sightings have a collection of their own, which is removed at the end.
    """
    settings = Settings()
    vectors = Vectors(settings.milvus_uri)
    try:
        with open_registry(settings) as registry:
            model = models_in_use(registry, settings).embedder
            if rows is not None:
                figures = benchmark.measure_synthetic(vectors, model.dimension, rows, queries)
            else:
                figures = benchmark.measure(vectors, benchmark.live(registry, keyring(settings), model.name), queries)
    finally:
        vectors.close()
    if as_json:
        typer.echo(json.dumps(asdict(figures), indent=2))
        return
    built = "" if figures.build_s is None else f", built in {figures.build_s} s"
    Console(soft_wrap=True, highlight=False).print(
        f"Milvus {figures.milvus}, {figures.index}: {figures.rows} sightings{built}\n"
        f"{figures.queries} searches of {figures.selected:.0%} of them: p50 {figures.p50_ms} ms, "
        f"p95 {figures.p95_ms} ms, recall@10 {figures.recall_at_10}"
    )
