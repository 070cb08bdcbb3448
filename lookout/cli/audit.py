"""`lookout audit`: read the audit log, prove that it is whole, take it out."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime, timedelta
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from lookout import audit
from lookout.audit import reading as audit_reading
from lookout.audit.reading import FORMS, Filter
from lookout.cli.context import cli_actor, open_registry
from lookout.clock import isoformat
from lookout.errors import BadInputError
from lookout.settings import Settings

app = typer.Typer(no_args_is_help=True, help="The audit log: who did what, when, from where, and why.")

BROKEN = 1
_TIMES = "a day or a time of RFC 3339, in UTC if no zone is named"
Since = Annotated[str | None, typer.Option(help=f"From then on: {_TIMES}.")]
Until = Annotated[str | None, typer.Option(help=f"Before then: {_TIMES}.")]


@app.command()
def verify(
    head: Annotated[str | None, typer.Option(help="A hash printed before, which must still be in the log.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Check the whole log. Exit code 1 if an entry was changed, removed or put in behind Lookout's back.

    Note the hash elsewhere: with --head, a later check also finds out whether the newest entries were cut off.
    """
    if head is not None and not re.fullmatch("[0-9a-f]{64}", head):
        raise BadInputError("--head: give the hash as `lookout audit verify` printed it, 64 hexadecimal digits.")
    with open_registry(Settings()) as registry, registry.reading() as session:
        found = audit.verify(session, head)
    whole = not found.fault
    if as_json:
        shown = {"whole": whole, "entries": found.entries, "head": found.head, "fault": found.fault}
        typer.echo(json.dumps(shown, indent=2))
    else:
        typer.echo(f"{found.entries} entries are whole; hash of the last: {found.head}")
        if not whole:
            typer.echo(f"the audit log is broken: {found.fault}", err=True)
    raise typer.Exit(0 if whole else BROKEN)


@app.command()
def export(
    since: Since = None,
    until: Until = None,
    form: Annotated[str, typer.Option("--format", help="jsonl or csv.")] = "jsonl",
) -> None:
    """Print entries, oldest first. That is written down, too."""
    if form not in FORMS:
        raise BadInputError(f"--format: there is no {form}; choose {' or '.join(FORMS)}.")
    wanted = Filter(since_us=_read_time("--since", since), until_us=_read_time("--until", until))
    with open_registry(Settings()) as registry:
        for text in audit_reading.export(registry, cli_actor(), wanted, form=form):
            typer.echo(text, nl=False)


@app.command("list")
def list_entries(
    actor: Annotated[str, typer.Option(help="Only of this one.")] = "",
    action: Annotated[str, typer.Option(help="Only this, say target.viewed.")] = "",
    subject_id: Annotated[str, typer.Option("--id", help="Only what was done to this.")] = "",
    since: Since = None,
    until: Until = None,
    limit: Annotated[int, typer.Option(min=1, max=10_000, help="How many at most.")] = 50,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Show entries, newest first."""
    wanted = Filter(
        actor=actor,
        action=action,
        subject_id=subject_id,
        since_us=_read_time("--since", since),
        until_us=_read_time("--until", until),
    )
    with open_registry(Settings()) as registry, registry.reading() as session:
        found = audit_reading.newest(session, wanted, limit=limit)
    if as_json:
        typer.echo(json.dumps([audit_reading.as_json(entry) for entry in found], indent=2))
        return
    table = Table("no.", "when", "who", "what", "to", "reason")
    for entry in found:
        to, reason = escape(f"{entry.subject} {entry.subject_id}".strip()), escape(entry.reason)
        table.add_row(str(entry.number), isoformat(entry.at_us), entry.actor, entry.action, to, reason)
    Console().print(table if found else "no entries")


def _read_time(option: str, text: str | None) -> int | None:
    if text is None:
        return None
    try:
        at = datetime.fromisoformat(text)
    except ValueError as error:
        raise BadInputError(f"{option}: {text} is no time; write 2026-07-31 or 2026-07-31T12:00:00Z.") from error
    aware = at if at.tzinfo is not None else at.replace(tzinfo=UTC)
    return (aware - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)
