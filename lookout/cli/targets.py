"""`lookout targets`: people on a watchlist."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table
from sqlalchemy import select
from sqlalchemy.orm import selectinload

from lookout.cli.context import open_registry
from lookout.clock import isoformat
from lookout.errors import BadInputError, UnavailableError
from lookout.faces.models import embedder_contract, load_detector, load_embedder
from lookout.settings import Settings
from lookout.stores.blobs import Blobs
from lookout.stores.index import prepare_index, update_index
from lookout.stores.registry import Registry
from lookout.stores.registry.tables import Target, Watchlist
from lookout.stores.vectors import Vectors
from lookout.targets import add_target, find_watchlist, read_photos, remove_target

app = typer.Typer(no_args_is_help=True, help="Targets: people on a watchlist.")

OnWatchlist = Annotated[str, typer.Option("--watchlist", "-w", help="Name of the watchlist.")]


@app.command()
def add(
    name: Annotated[str, typer.Argument(help="The person's name; a name that is there gets further photos.")],
    photos: Annotated[list[Path], typer.Argument(help="One or more photos, each of this person alone.")],
    watchlist: OnWatchlist,
    face: Annotated[
        int | None, typer.Option(min=1, help="Which of several faces in the photo, counted from the left.")
    ] = None,
) -> None:
    """Put a person on a watchlist. A photo that would not match well is refused, and nothing is stored then."""
    if not name.strip() or len(name) > 200:
        raise BadInputError("the name of a target has 1 to 200 characters.")
    if face is not None and len(photos) > 1:
        raise BadInputError("--face chooses in one photo: add the photos one by one.")
    settings = Settings()
    with open_registry(settings) as registry:
        with registry.reading() as session:
            find_watchlist(session, watchlist)
        found = read_photos(photos, load_detector(settings), load_embedder(settings), face=face)
        add_target(
            registry, Blobs(settings.blobs), watchlist=watchlist, name=name, photos=found, model=settings.embedder
        )
        console = Console(soft_wrap=True, highlight=False)
        for path, photo in zip(photos, found, strict=True):
            console.print(f"{path}: accepted, quality {photo.face.quality.value:.2f}")
        console.print(f"{name} is on {watchlist}{_index(settings, registry)}")


@app.command("list")
def list_targets(
    watchlist: Annotated[str | None, typer.Option("--watchlist", "-w", help="Only of this watchlist.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Show targets."""
    with open_registry(Settings()) as registry, registry.reading() as session:
        query = (
            select(Target, Watchlist.name)
            .join(Target.watchlist)
            .options(selectinload(Target.references))
            .order_by(Watchlist.name, Target.name)
        )
        if watchlist is not None:
            query = query.where(Target.watchlist_id == find_watchlist(session, watchlist).id)
        rows: list[dict[str, Any]] = [
            {
                "id": target.id,
                "name": target.name,
                "watchlist": of,
                "photos": len(target.references),
                "matchable": any(reference.indexed for reference in target.references),
                "added": isoformat(target.created_at_us),
            }
            for target, of in session.execute(query)
        ]
    if as_json:
        typer.echo(json.dumps(rows, indent=2))
        return
    table = Table("name", "watchlist", "photos", "matchable", "added")
    for row in rows:
        table.add_row(
            row["name"], row["watchlist"], str(row["photos"]), "yes" if row["matchable"] else "not yet", row["added"]
        )
    Console().print(table if rows else "no targets yet; add one with `lookout targets add`")


@app.command()
def remove(
    name: Annotated[str, typer.Argument(help="The person's name.")],
    watchlist: OnWatchlist,
) -> None:
    """Take a person off a watchlist, with photos, templates and alerts."""
    settings = Settings()
    with open_registry(settings) as registry:
        gone = remove_target(registry, Blobs(settings.blobs), watchlist=watchlist, name=name)
        went = f"{gone.references} photos and {gone.alerts} alerts removed"
        Console(soft_wrap=True).print(f"{name} is off {watchlist}: {went}{_index(settings, registry)}")


def _index(settings: Settings, registry: Registry) -> str:
    """Bring Milvus up to date now; where it does not answer, the workers will."""
    vectors = Vectors(settings.milvus_uri)
    try:
        prepare_index(registry, vectors, settings.embedder, embedder_contract(settings).dimension)
        update_index(registry, vectors, settings.embedder)
    except UnavailableError:
        return "; Milvus does not answer, it will be told when it does"
    finally:
        vectors.close()
    return ""
