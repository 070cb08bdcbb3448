"""`lookout users`: who may do what, for whoever has this machine."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table
from sqlalchemy import select
from sqlalchemy.orm import Session

from lookout.accounts import users
from lookout.cli.context import cli_actor, open_registry
from lookout.clock import isoformat
from lookout.errors import BadInputError
from lookout.settings import Settings
from lookout.stores.registry.tables import User, Watchlist
from lookout.watchlists.records import find_watchlist

app = typer.Typer(no_args_is_help=True, help="Users: their roles, rights and one-time links.")

Name = Annotated[str, typer.Argument(help="The user's name.")]
Role = Annotated[str, typer.Option(help="operator, analyst, auditor or admin.")]
Lists = Annotated[list[str] | None, typer.Option("--watchlist", "-w", help="A right to it; repeat for more.")]
Groups = Annotated[list[str] | None, typer.Option("--camera-group", "-g", help="A right to it; repeat for more.")]


@app.command()
def add(name: Name, role: Role, watchlist: Lists = None, camera_group: Groups = None) -> None:
    """Make a user and print the one-time link. With no watchlist or camera group named, the right is to all."""
    settings = Settings()
    with open_registry(settings) as registry, registry.transaction() as session:
        user = users.create_user(
            session,
            cli_actor(),
            name=name,
            role=role,
            watchlist_ids=_ids(session, watchlist),
            camera_groups=camera_group or None,
        )
        secret = users.make_link(session, cli_actor(), user)
    _print_link(settings, name, secret)


@app.command("list")
def list_users(as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False) -> None:
    """Show all users."""
    with open_registry(Settings()) as registry, registry.reading() as session:
        names = dict(session.execute(select(Watchlist.id, Watchlist.name)).all())
        rows = [_row(user, names) for user in session.scalars(select(User).order_by(User.name))]
    if as_json:
        typer.echo(json.dumps(rows, indent=2))
        return
    table = Table("name", "role", "watchlists", "camera groups", "state")
    for row in rows:
        rights = (
            "all" if row[kind] is None else escape(", ".join(row[kind])) or "none"
            for kind in ("watchlists", "camera_groups")
        )
        table.add_row(row["name"], row["role"], *rights, row["state"])
    Console().print(table if rows else "no users yet; make one with `lookout users add`")


@app.command()
def change(
    name: Name,
    role: Annotated[str | None, typer.Option(help="operator, analyst, auditor or admin.")] = None,
    watchlist: Lists = None,
    camera_group: Groups = None,
    all_watchlists: Annotated[bool, typer.Option("--all-watchlists", help="A right to all of them.")] = False,
    all_camera_groups: Annotated[bool, typer.Option("--all-camera-groups", help="A right to all of them.")] = False,
) -> None:
    """Give a user another role or other rights, instead of those before; what is not named stays."""
    if (watchlist and all_watchlists) or (camera_group and all_camera_groups):
        raise BadInputError("name watchlists or camera groups, or say all; not both.")
    with open_registry(Settings()) as registry, registry.transaction() as session:
        user = users.find_user(session, name)
        lists = _ids(session, watchlist) or user.watchlist_ids
        groups = camera_group or user.camera_groups
        users.change_user(
            session,
            cli_actor(),
            user,
            role=role or user.role,
            watchlist_ids=None if all_watchlists else lists,
            camera_groups=None if all_camera_groups else groups,
            disabled=user.disabled_at_us is not None,
        )
    Console(soft_wrap=True).print(f"user {name} changed; it counts from the next request on")


@app.command()
def disable(name: Name) -> None:
    """Shut a user out; sessions, tokens and links end at once."""
    _set_disabled(name, disabled=True)
    Console(soft_wrap=True).print(f"user {name} disabled; sessions, tokens and links have ended")


@app.command()
def enable(name: Name) -> None:
    """Let a disabled user in again, with the password from before."""
    _set_disabled(name, disabled=False)
    Console(soft_wrap=True).print(f"user {name} enabled")


@app.command()
def unlock(name: Name) -> None:
    """Let a user sign in again, whose account wrong passwords have locked."""
    with open_registry(Settings()) as registry, registry.transaction() as session:
        users.unlock_user(session, cli_actor(), users.find_user(session, name))
    Console(soft_wrap=True).print(f"user {name} unlocked")


@app.command()
def link(name: Name) -> None:
    """Print a new one-time link by which a user sets a new password; earlier links end."""
    settings = Settings()
    with open_registry(settings) as registry, registry.transaction() as session:
        secret = users.make_link(session, cli_actor(), users.find_user(session, name))
    _print_link(settings, name, secret)


def _set_disabled(name: str, *, disabled: bool) -> None:
    with open_registry(Settings()) as registry, registry.transaction() as session:
        user = users.find_user(session, name)
        users.change_user(
            session,
            cli_actor(),
            user,
            role=user.role,
            watchlist_ids=user.watchlist_ids,
            camera_groups=user.camera_groups,
            disabled=disabled,
        )


def _ids(session: Session, names: Sequence[str] | None) -> list[str] | None:
    return [find_watchlist(session, one).id for one in names] if names else None


def _print_link(settings: Settings, name: str, secret: str) -> None:
    # By `echo`: the console would break a long link.
    typer.echo(f"{name} sets the password here, once, within {users.LINK_HOURS} hours (shown only now):")
    typer.echo(users.link_url(settings, secret))


def _row(user: User, names: dict[str, str]) -> dict[str, Any]:
    if user.disabled_at_us is not None:
        state = "disabled"
    elif users.is_locked(user):
        state = "locked"
    else:
        state = "active" if user.password_hash else "no password yet"
    lists = user.watchlist_ids
    return {
        "name": user.name,
        "role": user.role,
        "watchlists": None if lists is None else sorted(names.get(one, one) for one in lists),
        "camera_groups": user.camera_groups,
        "state": state,
        "created_at": isoformat(user.created_at_us),
    }
