"""`lookout dead-letters`: messages and deliveries that kept failing."""

from __future__ import annotations

import json
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table
from sqlalchemy import select
from sqlalchemy.orm import joinedload

from lookout.cli.context import open_registry
from lookout.clock import isoformat, now_us
from lookout.errors import BadInputError, NotFoundError
from lookout.logging import redact
from lookout.messages import DeadLetter
from lookout.queue import EMBED_CROPS, celery_app
from lookout.settings import Settings
from lookout.stores.crops import Crops
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
        for letter in Crops(connect(settings)).dead_letters()
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
            for delivery in session.scalars(
                select(Delivery).where(Delivery.state == "dead").options(joinedload(Delivery.webhook))
            )
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
    crops = Crops(connect(settings))
    letters = {letter.id: letter for letter in crops.dead_letters()}
    with open_registry(settings) as registry, registry.transaction() as session:
        dead = {one.id: one for one in session.scalars(select(Delivery).where(Delivery.state == "dead"))}
        wanted = ids or [*letters, *dead]
        unknown = [one for one in wanted if one not in letters and one not in dead]
        if unknown:
            raise NotFoundError(f"there is no dead letter {unknown[0]}; `lookout dead-letters list` shows all.")
        for one in wanted:
            if one in dead:
                dead[one].state, dead[one].attempts, dead[one].next_attempt_at_us = "pending", 0, now_us()
    lost = sum(_replay(settings, crops, letters[one]) for one in wanted if one in letters)
    Console(soft_wrap=True).print(
        f"{len(wanted)} sent again" + (f"; {lost} crops had expired meanwhile" if lost else "")
    )


def _replay(settings: Settings, crops: Crops, letter: DeadLetter) -> int:
    """Send a message again; returns how many of its crops are gone."""
    there = crops.renew_deadlines(letter.crop_ids, now_us() + int(settings.crop_deadline_s * 1e6))
    if there:
        celery_app(settings).send_task(EMBED_CROPS, args=[there], retry=False)
    crops.exhume(letter.id)
    return len(letter.crop_ids) - len(there)
