"""`lookout webhooks`: where a watchlist's alerts are sent."""

from __future__ import annotations

import json
import time
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table
from sqlalchemy import select
from sqlalchemy.orm import Session, joinedload

from lookout.alerts import webhooks
from lookout.cli.context import cli_actor, open_registry
from lookout.clock import isoformat
from lookout.errors import NotFoundError
from lookout.logging import redact
from lookout.sealing import keyring
from lookout.settings import Settings
from lookout.stores.registry.tables import Delivery, Webhook
from lookout.watchlists.records import find_watchlist

app = typer.Typer(no_args_is_help=True, help="Where a watchlist's alerts are sent.")

#: How long the command waits for what becomes of a test.
PATIENCE_S = 60.0
Id = Annotated[str, typer.Argument(help="Its id, as `lookout webhooks list` shows it.")]


@app.command()
def add(
    watchlist: Annotated[str, typer.Argument(help="Name of the watchlist.")],
    url: Annotated[str, typer.Argument(help="Where its alerts are sent, https://…")],
) -> None:
    """Have a watchlist's alerts sent to a URL. The secret that verifies them is shown once, here."""
    settings = Settings()
    with open_registry(settings) as registry, registry.transaction() as session:
        found = find_watchlist(session, watchlist)
        webhook, secret = webhooks.create_webhook(session, cli_actor(), keyring(settings), found, url)
    _say(f"webhook {webhook.id}: verify its messages with {secret} (shown only now)")


@app.command("list")
def list_webhooks(as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False) -> None:
    """Show all webhooks."""
    query = select(Webhook).options(joinedload(Webhook.watchlist)).order_by(Webhook.created_at_us, Webhook.id)
    with open_registry(Settings()) as registry, registry.reading() as session:
        rows: list[dict[str, Any]] = [
            {
                "id": webhook.id,
                "watchlist": webhook.watchlist.name,
                "url": redact(webhook.url),
                "enabled": webhook.enabled,
                "created_at": isoformat(webhook.created_at_us),
            }
            for webhook in session.scalars(query)
        ]
    if as_json:
        typer.echo(json.dumps(rows, indent=2))
        return
    table = Table("id", "watchlist", "url", "enabled")
    for row in rows:
        table.add_row(row["id"], row["watchlist"], row["url"], "yes" if row["enabled"] else "no")
    Console().print(table if rows else "no webhooks yet; add one with `lookout webhooks add`")


@app.command()
def test(webhook_id: Id) -> None:
    """Send a test, and say what became of it; the exit code is 0 only if it was taken."""
    with open_registry(Settings()) as registry:
        with registry.transaction() as session:
            delivery_id = webhooks.send_test(session, cli_actor(), _find(session, webhook_id)).id
        deadline = time.monotonic() + PATIENCE_S
        while time.monotonic() < deadline:
            with registry.reading() as session:
                delivery = session.get(Delivery, delivery_id)
            if delivery is None:
                raise NotFoundError("the webhook was removed meanwhile.")
            if delivery.state == "delivered":
                _say("delivered: the receiver took it")
                return
            if delivery.state == "dead":
                _say(f"not delivered: {delivery.last_error}")
                raise typer.Exit(1)
            time.sleep(0.2)
    _say("no worker has sent it yet; `lookout doctor` tells what is missing")
    raise typer.Exit(1)


@app.command()
def remove(webhook_id: Id) -> None:
    """Remove a webhook with its log, and with what was still to be sent."""
    with open_registry(Settings()) as registry, registry.transaction() as session:
        webhooks.remove(session, cli_actor(), _find(session, webhook_id))
    _say("removed")


def _find(session: Session, webhook_id: str) -> Webhook:
    webhook = session.get(Webhook, webhook_id)
    if webhook is None:
        raise NotFoundError(f"there is no webhook {webhook_id}; `lookout webhooks list` shows all.")
    return webhook


def _say(text: str) -> None:
    Console(soft_wrap=True, markup=False, highlight=False).print(text)
