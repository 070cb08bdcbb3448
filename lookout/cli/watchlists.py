"""`lookout watchlist`: named sets of targets, each with its ground."""

from __future__ import annotations

import json
from datetime import datetime
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from lookout.alerts.webhooks import create_webhook
from lookout.cli.context import cli_actor, open_registry
from lookout.faces.gates import USUAL
from lookout.models_in_use import models_in_use
from lookout.sealing import keyring
from lookout.settings import Settings
from lookout.targets.people import ListedWatchlist
from lookout.targets.people import list_watchlists as listed_watchlists
from lookout.watchlists import records as watchlists
from lookout.watchlists.thresholds import MOST_STRANGERS, STRANGERS, thresholds

app = typer.Typer(
    no_args_is_help=True, help="Watchlists: named sets of targets, each with its purpose and legal basis."
)

Strangers = Annotated[
    int,
    typer.Option(min=1, max=MOST_STRANGERS, help="At most one false alert of this tier when so many strangers pass."),
]
Name = Annotated[str, typer.Argument(help="Its name.")]


@app.command()
def create(
    name: Name,
    purpose: Annotated[str, typer.Option(help="What people are looked for.")],
    legal_basis: Annotated[str, typer.Option(help="What allows it.")],
    authorised_by: Annotated[str, typer.Option(help="Who has decided so.")] = "",
    review_on: Annotated[
        datetime | None, typer.Option(formats=["%Y-%m-%d"], help="When somebody must look whether it is still needed.")
    ] = None,
    possible: Strangers = STRANGERS["possible"],
    likely: Strangers = STRANGERS["likely"],
    min_face_px: Annotated[int, typer.Option(help="Narrower faces neither enrol nor alert.")] = USUAL.min_face_px,
    min_quality: Annotated[float, typer.Option(help="Faces below, 0 to 1, likewise.")] = USUAL.min_quality,
    camera_group: Annotated[
        list[str] | None, typer.Option(help="Only on this group; repeat for more. All if not given.")
    ] = None,
    two_persons: Annotated[
        list[str] | None, typer.Option(help="Tier whose alerts two persons must judge alike; repeat for both.")
    ] = None,
    reason_required: Annotated[bool, typer.Option(help="Who looks at a target or judges must say why.")] = False,
    retention_days: Annotated[int, typer.Option(help="How long its alerts are kept.")] = 30,
    webhook: Annotated[
        list[str] | None, typer.Option(help="URL that gets its alerts, signed; repeat for more.")
    ] = None,
) -> None:
    """Make a watchlist. Each webhook's signing secret is shown once, here."""
    settings = Settings()
    given = watchlists.WatchlistFields(
        name=name,
        purpose=purpose,
        legal_basis=legal_basis,
        authorised_by=authorised_by,
        review_on=review_on.date() if review_on else None,
        possible_strangers=possible,
        likely_strangers=likely,
        min_face_px=min_face_px,
        min_quality=min_quality,
        camera_groups=camera_group or [],
        two_person_tiers=two_persons or [],
        reason_required=reason_required,
        retention_days=retention_days,
    )
    with open_registry(settings) as registry, registry.transaction() as session:
        made = watchlists.create_watchlist(session, cli_actor(), given)
        # Without webhooks nothing is sealed, and no keys are asked for.
        urls = dict.fromkeys(webhook or [])
        hooks = [create_webhook(session, cli_actor(), keyring(settings), made, url) for url in urls]
        calibration = models_in_use(registry, settings).embedder.calibration
    limits = thresholds(made, 0, calibration)
    console = Console(soft_wrap=True)
    console.print(
        f"watchlist {made.name} made. Of {possible:,} strangers at most one is reported as possible, of {likely:,} one "
        f"as likely: with one person on it scores from {limits.possible:.3f} and {limits.likely:.3f}, more as it grows"
    )
    for hook, secret in hooks:
        console.print(f"webhook {hook.url}: verify its messages with {secret} (shown only now)")


@app.command()
def archive(name: Name) -> None:
    """Take a watchlist out of use. Nobody on it is matched any more; nothing of it is lost."""
    with open_registry(Settings()) as registry, registry.transaction() as session:
        found = watchlists.find_watchlist(session, name, lock=True)
        watchlists.archive_watchlist(session, cli_actor(), found)
    typer.echo(f"watchlist {name} is archived; `lookout watchlist restore` puts it to use again")


@app.command()
def restore(name: Name) -> None:
    """Put an archived watchlist to use again."""
    with open_registry(Settings()) as registry, registry.transaction() as session:
        found = watchlists.find_watchlist(session, name, lock=True)
        watchlists.restore_watchlist(session, cli_actor(), found)
    typer.echo(f"watchlist {name} is in use again")


@app.command("list")
def list_watchlists(
    archived: Annotated[bool, typer.Option("--archived", help="Show those out of use, too.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Show all watchlists."""
    settings = Settings()
    with open_registry(settings) as registry, registry.reading() as session:
        calibration = models_in_use(registry, settings).embedder.calibration
        rows = []
        for listed in listed_watchlists(session, None, archived=archived):
            limits = thresholds(listed.watchlist, listed.targets, calibration)
            rows.append(_row(listed, limits.possible, limits.likely))
    if as_json:
        typer.echo(json.dumps(rows, indent=2))
        return
    table = Table("name", "targets", "purpose", "legal basis", "possible", "likely", "camera groups", "state")
    for row in rows:
        table.add_row(
            row["name"],
            str(row["targets"]),
            row["purpose"],
            row["legal_basis"],
            f"1 in {row['strangers']['possible']:,}: {row['thresholds']['possible']:.3f}",
            f"1 in {row['strangers']['likely']:,}: {row['thresholds']['likely']:.3f}",
            ", ".join(row["camera_groups"]) or "all",
            "archived" if row["archived"] else "review overdue" if row["review_overdue"] else "in use",
        )
    Console().print(table if rows else "no watchlists yet; make one with `lookout watchlist create`")


def _row(listed: ListedWatchlist, possible: float, likely: float) -> dict[str, Any]:
    watchlist = listed.watchlist
    return {
        "id": watchlist.id,
        "name": watchlist.name,
        "purpose": watchlist.purpose,
        "legal_basis": watchlist.legal_basis,
        "targets": listed.targets,
        "strangers": {"possible": watchlist.possible_strangers, "likely": watchlist.likely_strangers},
        "thresholds": {"possible": possible, "likely": likely},
        "camera_groups": watchlist.camera_groups,
        "review_on": watchlist.review_on.isoformat() if watchlist.review_on else None,
        "review_overdue": listed.overdue,
        "archived": watchlist.archived_at_us is not None,
    }
