"""`lookout tokens`: personal tokens of users, for programs."""

from __future__ import annotations

import json
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table
from sqlalchemy import select
from sqlalchemy.orm import joinedload

from lookout.accounts import sessions, users
from lookout.cli.context import cli_actor, open_registry
from lookout.clock import isoformat, now_us
from lookout.errors import NotFoundError
from lookout.settings import Settings
from lookout.stores.registry.tables import ApiToken

app = typer.Typer(no_args_is_help=True, help="Personal tokens, by which programs use Lookout in a user's name.")

User = Annotated[str, typer.Option("--user", "-u", help="Whose it is.")]


@app.command()
def create(
    name: Annotated[str, typer.Argument(help="What it is for.")],
    user: User,
    scope: Annotated[list[str], typer.Option("--scope", "-s", help="What it may be used for; repeat for more.")],
    days: Annotated[
        int | None,
        typer.Option(min=1, max=sessions.MAX_TOKEN_DAYS, help="When it expires; never if not given."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Make a token. Its secret is shown once, here."""
    with open_registry(Settings()) as registry, registry.transaction() as session:
        owner = users.find_user(session, user)
        token, secret = sessions.create_token(session, cli_actor(), owner, name=name, scopes=scope, days=days)
    if as_json:
        typer.echo(json.dumps({"id": token.id, "user": user, "scopes": token.scopes, "secret": secret}, indent=2))
        return
    typer.echo(f"token {token.id} of {user}; send it as `Authorization: Bearer …` (shown only now):")
    typer.echo(secret)


@app.command("list")
def list_tokens(
    user: Annotated[str | None, typer.Option("--user", "-u", help="Only theirs.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Show tokens, without their secrets."""
    query = select(ApiToken).options(joinedload(ApiToken.user)).order_by(ApiToken.created_at_us.desc(), ApiToken.id)
    with open_registry(Settings()) as registry, registry.reading() as session:
        if user is not None:
            query = query.where(ApiToken.user_id == users.find_user(session, user).id)
        rows: list[dict[str, Any]] = [
            {
                "id": token.id,
                "user": token.user.name,
                "name": token.name,
                "scopes": token.scopes,
                "expires_at": None if token.expires_at_us is None else isoformat(token.expires_at_us),
                "expired": token.expires_at_us is not None and token.expires_at_us <= now_us(),
                "last_used_at": None if token.last_used_at_us is None else isoformat(token.last_used_at_us),
            }
            for token in session.scalars(query)
        ]
    if as_json:
        typer.echo(json.dumps(rows, indent=2))
        return
    table = Table("id", "user", "name", "scopes", "expires", "last use")
    for row in rows:
        expires = "expired" if row["expired"] else str(row["expires_at"] or "never")
        scopes = ", ".join(row["scopes"])
        table.add_row(row["id"], row["user"], escape(row["name"]), scopes, expires, str(row["last_used_at"] or "never"))
    Console().print(table if rows else "no tokens yet; make one with `lookout tokens create`")


@app.command()
def revoke(token_id: Annotated[str, typer.Argument(help="Its id, as `lookout tokens list` shows.")]) -> None:
    """End a token at once."""
    with open_registry(Settings()) as registry, registry.transaction() as session:
        token = session.get(ApiToken, token_id)
        if token is None:
            raise NotFoundError(f"there is no token {token_id}; `lookout tokens list` shows all.")
        sessions.revoke_token(session, cli_actor(), token.user_id, token_id)
    Console(soft_wrap=True).print(f"token {token_id} revoked")
