"""`lookout watchlist`: named sets of targets, each with its ground."""

from __future__ import annotations

import base64
import json
import secrets
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table
from sqlalchemy import func, select
from sqlalchemy.exc import IntegrityError

from lookout.cli.context import open_registry
from lookout.clock import now_us
from lookout.errors import BadInputError, ConflictError
from lookout.faces.models import embedder_contract
from lookout.settings import Settings
from lookout.stores.registry.tables import Target, Watchlist, Webhook, new_id
from lookout.thresholds import thresholds

app = typer.Typer(
    no_args_is_help=True, help="Watchlists: named sets of targets, each with its purpose and legal basis."
)

Threshold = Annotated[
    float | None,
    typer.Option(min=-1, max=1, help="Cosine that opens an alert of this tier; the model's own if not given."),
]


@app.command()
def create(
    name: Annotated[str, typer.Argument(help="Its name.")],
    purpose: Annotated[str, typer.Option(help="What people are looked for.")],
    legal_basis: Annotated[str, typer.Option(help="What allows it.")],
    possible: Threshold = None,
    likely: Threshold = None,
    camera_group: Annotated[
        list[str] | None, typer.Option(help="Only on this group; repeat for more. All if not given.")
    ] = None,
    webhook: Annotated[
        list[str] | None, typer.Option(help="URL that gets its alerts, signed; repeat for more.")
    ] = None,
) -> None:
    """Make a watchlist. Each webhook's signing secret is shown once, here."""
    for field, text, longest in (("name", name, 100), ("purpose", purpose, 1000), ("legal basis", legal_basis, 1000)):
        if not text.strip() or len(text) > longest:
            raise BadInputError(f"the {field} of a watchlist has 1 to {longest} characters.")
    settings = Settings()
    watchlist = Watchlist(
        id=new_id(),
        name=name,
        purpose=purpose,
        legal_basis=legal_basis,
        possible_threshold=possible,
        likely_threshold=likely,
        camera_groups=camera_group or [],
        created_at_us=now_us(),
    )
    limits = thresholds(watchlist, embedder_contract(settings))
    if limits.likely < limits.possible:
        raise BadInputError(
            f"`likely` (from {limits.likely:.2f}) must not be below `possible` (from {limits.possible:.2f})."
        )
    hooks = [_webhook(watchlist.id, url) for url in dict.fromkeys(webhook or [])]
    try:
        with open_registry(settings) as registry, registry.transaction() as session:
            session.add(watchlist)
            session.flush()
            session.add_all(hooks)
    except IntegrityError as error:
        raise ConflictError(f"there is a watchlist {name} already; choose another name.") from error
    console = Console(soft_wrap=True)
    console.print(f"watchlist {name} made: possible from {limits.possible:.2f}, likely from {limits.likely:.2f}")
    for hook in hooks:
        console.print(f"webhook {hook.url}: verify its messages with {hook.secret} (shown only now)")


@app.command("list")
def list_watchlists(as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False) -> None:
    """Show all watchlists."""
    settings = Settings()
    contract = embedder_contract(settings)
    with open_registry(settings) as registry, registry.reading() as session:
        rows: list[dict[str, Any]] = []
        for watchlist, targets in session.execute(
            select(Watchlist, func.count(Target.id)).outerjoin(Target).group_by(Watchlist.id).order_by(Watchlist.name)
        ):
            limits = thresholds(watchlist, contract)
            rows.append(
                {
                    "name": watchlist.name,
                    "purpose": watchlist.purpose,
                    "legal_basis": watchlist.legal_basis,
                    "targets": targets,
                    "thresholds": {"possible": limits.possible, "likely": limits.likely},
                    "camera_groups": watchlist.camera_groups,
                }
            )
    if as_json:
        typer.echo(json.dumps(rows, indent=2))
        return
    table = Table("name", "targets", "purpose", "legal basis", "possible", "likely", "camera groups")
    for row in rows:
        table.add_row(
            row["name"],
            str(row["targets"]),
            row["purpose"],
            row["legal_basis"],
            f"{row['thresholds']['possible']:.2f}",
            f"{row['thresholds']['likely']:.2f}",
            ", ".join(row["camera_groups"]) or "all",
        )
    Console().print(table if rows else "no watchlists yet; make one with `lookout watchlist create`")


def _webhook(watchlist_id: str, url: str) -> Webhook:
    import httpx2

    try:
        parts = httpx2.URL(url)
    except httpx2.InvalidURL as error:
        raise BadInputError(f"{url} is no URL: {error}.") from error
    if parts.scheme not in ("http", "https") or not parts.host:
        raise BadInputError(f"{url} is no URL of a webhook: it begins with https:// or http://.")
    secret = "whsec_" + base64.b64encode(secrets.token_bytes(32)).decode()
    return Webhook(id=new_id(), watchlist_id=watchlist_id, url=url, secret=secret, created_at_us=now_us())
