"""`lookout dead-letters`: messages and deliveries that kept failing."""

from __future__ import annotations

import json
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table
from sqlalchemy import Select, select
from sqlalchemy.orm import joinedload

from lookout.alerts import webhooks
from lookout.cli.context import cli_actor, open_registry
from lookout.clock import isoformat
from lookout.dead_letters import replay as replay_crops
from lookout.errors import BadInputError, NotFoundError
from lookout.logging import redact
from lookout.sealing import keyring
from lookout.settings import Settings
from lookout.stores.crops import Crops
from lookout.stores.dead_letters import DeadLetters
from lookout.stores.redis import connect
from lookout.stores.registry.tables import Delivery

app = typer.Typer(no_args_is_help=True, help="Messages to the workers and deliveries to webhooks that kept failing.")


@app.command("list")
def list_dead(as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False) -> None:
    """Show what was given up, and why."""
    settings = Settings()
    rows = [
        {
            "id": letter.id,
            "kind": "crops",
            "what": f"{len(letter.crop_ids)} crops",
            "attempts": letter.attempts,
            "since": isoformat(letter.failed_at_us),
            "error": letter.error,
        }
        for letter in DeadLetters(connect(settings)).all()
    ]
    with open_registry(settings) as registry, registry.reading() as session:
        rows += [
            {
                "id": delivery.id,
                "kind": "delivery",
                "what": f"{delivery.payload['type']} to {redact(delivery.webhook.url)}",
                "attempts": delivery.attempts,
                "since": isoformat(delivery.created_at_us),
                "error": delivery.last_error or "",
            }
            for delivery in session.scalars(_dead_deliveries())
        ]
    if as_json:
        print(json.dumps(rows, indent=2))  # noqa: T201 - the command's result
        return
    table = Table("id", "kind", "what", "attempts", "since", "error")
    for row in rows:
        table.add_row(*(str(row[column]) for column in ("id", "kind", "what", "attempts", "since", "error")))
    Console().print(table if rows else "no dead letters")


@app.command()
def replay(
    ids: Annotated[list[str] | None, typer.Argument(help="Which.")] = None,
    everything: Annotated[bool, typer.Option("--all", help="All of them.")] = False,
) -> None:
    """Try again what was given up, after its cause is gone."""
    if bool(ids) == everything:
        raise BadInputError("name the dead letters to replay, or say --all.")
    settings = Settings()
    redis = connect(settings)
    crops, letters = Crops(redis, keyring(settings)), DeadLetters(redis)
    given_up = {letter.id: letter for letter in letters.all()}
    lost = 0
    with open_registry(settings) as registry, registry.transaction() as session:
        dead = {one.id: one for one in session.scalars(_dead_deliveries().with_for_update(of=Delivery))}
        wanted = list(dict.fromkeys(ids or [*given_up, *dead]))
        unknown = [one for one in wanted if one not in given_up and one not in dead]
        if unknown:
            raise NotFoundError(f"there is no dead letter {unknown[0]}; `lookout dead-letters list` shows all.")
        for one in wanted:
            if one in dead:
                webhooks.replay(session, cli_actor(), dead[one])
            else:
                lost += replay_crops(session, cli_actor(), settings, crops, letters, given_up[one])
    Console(soft_wrap=True).print(
        f"{len(wanted)} sent again" + (f"; {lost} crops had expired meanwhile" if lost else "")
    )


def _dead_deliveries() -> Select[Delivery]:
    """Those given up, but for tests: to try one again is to send another."""
    return (
        select(Delivery)
        .where(Delivery.state == "dead", Delivery.alert_id.is_not(None))
        .options(joinedload(Delivery.webhook))
        .order_by(Delivery.created_at_us)
    )
