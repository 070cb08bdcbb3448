"""`lookout targets`: people on a watchlist."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table
from sqlalchemy import func, select

from lookout.cli import transfers
from lookout.cli.context import cli_actor, open_registry
from lookout.cli.indexing import index_now
from lookout.clock import isoformat
from lookout.errors import BadInputError
from lookout.models_in_use import models_in_use
from lookout.sealing import keyring
from lookout.settings import Settings
from lookout.stores.blobs import Blobs
from lookout.stores.registry.tables import Reference, Target, Watchlist
from lookout.targets import add_target, read_photos
from lookout.texts import clean
from lookout.watchlists.records import find_watchlist, gates_of

app = typer.Typer(no_args_is_help=True, help="Targets: people on a watchlist.")
app.command("import")(transfers.import_targets)
app.command("export")(transfers.export_targets)

OnWatchlist = Annotated[str, typer.Option("--watchlist", "-w", help="Name of the watchlist.")]


@app.command()
def add(
    name: Annotated[str, typer.Argument(help="The person's name; a name that is there gets further photos.")],
    photos: Annotated[list[Path], typer.Argument(help="One or more photos, each of this person alone.")],
    watchlist: OnWatchlist,
    face: Annotated[
        int | None, typer.Option(min=1, help="Which of several faces in the photo, counted from the left.")
    ] = None,
    same_person: Annotated[
        bool, typer.Option("--same-person", help="Photos that disagree show the same person all the same.")
    ] = False,
) -> None:
    """Put a person on a watchlist. A photo that would not match well is refused, and nothing is stored then."""
    clean("name", name, 200, required=True)
    if face is not None and len(photos) > 1:
        raise BadInputError("--face chooses in one photo: add the photos one by one.")
    settings = Settings()
    with open_registry(settings) as registry:
        with registry.reading() as session:
            gates = gates_of(find_watchlist(session, watchlist))
        ring, used = keyring(settings), models_in_use(registry, settings)
        found = read_photos(photos, *used.load(settings), face=face, gates=gates)
        add_target(
            registry,
            Blobs(settings.blobs, ring),
            ring,
            watchlist=watchlist,
            name=name,
            photos=found,
            model=used.embedder,
            actor=cli_actor(),
            confirm_disagreement=same_person,
        )
        console = Console(soft_wrap=True, highlight=False)
        for path, photo in zip(photos, found, strict=True):
            console.print(f"{path}: accepted, quality {photo.face.quality.value:.2f}")
        console.print(f"{name} is on {watchlist}{index_now(settings, registry, ring)}")


@app.command("list")
def list_targets(
    watchlist: Annotated[str | None, typer.Option("--watchlist", "-w", help="Only of this watchlist.")] = None,
    archived: Annotated[bool, typer.Option("--archived", help="Also of watchlists out of use.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Show targets."""
    with open_registry(Settings()) as registry, registry.reading() as session:
        photos = select(func.count()).where(Reference.target_id == Target.id).scalar_subquery()
        query = select(Target, Watchlist.name, photos).join(Target.watchlist).where(Target.erased_at_us.is_(None))
        if watchlist is not None:
            query = query.where(Target.watchlist_id == find_watchlist(session, watchlist).id)
        elif not archived:
            query = query.where(Watchlist.archived_at_us.is_(None))
        rows: list[dict[str, Any]] = [
            {
                "id": target.id,
                "name": target.name,
                "reference_number": target.reference_number,
                "watchlist": of,
                "photos": count,
                "matchable": target.indexed,
                "added": isoformat(target.created_at_us),
            }
            for target, of, count in session.execute(query.order_by(Watchlist.name, Target.name))
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
