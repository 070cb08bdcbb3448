"""`lookout openapi`: the description of the HTTP API."""

from __future__ import annotations

import json

import typer

from lookout.cli.services import service


def openapi() -> None:
    """Print the description of the HTTP API, OpenAPI 3.1."""
    typer.echo(json.dumps(service("openapi")(), indent=2))
