"""The `lookout` command."""

from __future__ import annotations

import sys

import typer
from rich.console import Console

from lookout.cli import (
    audit,
    bench,
    calibrate,
    cameras,
    dead_letters,
    doctor,
    erase,
    evaluate,
    models,
    openapi,
    search,
    services,
    targets,
    tokens,
    users,
    videos,
    watchlists,
    webhooks,
)
from lookout.errors import EXIT_BAD_INPUT, BadInputError, ConflictError, LookoutError, NotFoundError

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_show_locals=False,  # they would print passwords
    help="Watches live cameras for the faces of people on a watchlist.",
)
services.register(app)
app.command("doctor")(doctor.doctor)
app.command("erase")(erase.erase)
app.command("calibrate")(calibrate.calibrate)
app.add_typer(models.app, name="models")
app.add_typer(cameras.app, name="cameras")
app.add_typer(watchlists.app, name="watchlist")
app.add_typer(targets.app, name="targets")
app.add_typer(webhooks.app, name="webhooks")
app.add_typer(dead_letters.app, name="dead-letters")
app.add_typer(users.app, name="users")
app.add_typer(tokens.app, name="tokens")
app.add_typer(audit.app, name="audit")
app.command("search")(search.search)
app.add_typer(bench.app, name="bench")
app.add_typer(evaluate.app, name="evaluate")
app.command("index")(videos.index)
app.command("openapi")(openapi.openapi)

EXIT_FAILED = 1


def main() -> None:
    """Run the command; an error of Lookout's becomes one message and an exit code, never a traceback."""
    try:
        app()
    except LookoutError as error:
        Console(stderr=True, highlight=False, markup=False, soft_wrap=True).print(f"lookout: {error}")
        bad_input = isinstance(error, BadInputError | NotFoundError | ConflictError)
        sys.exit(EXIT_BAD_INPUT if bad_input else EXIT_FAILED)
