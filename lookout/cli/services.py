"""Commands that start processes. The rooms are found by their entry points, so that `lookout` imports none of them."""

from __future__ import annotations

from importlib.metadata import entry_points
from pathlib import Path
from typing import Annotated, Any

import typer

from lookout.errors import LookoutError
from lookout.settings import Settings

MetricsHost = Annotated[str, typer.Option(help="Address that offers /metrics.")]
MetricsPort = Annotated[int, typer.Option(min=0, max=65535, help="Its port; 0 takes a free one.")]
Cameras = Annotated[Path | None, typer.Option(help="First add the cameras of this file, and change those that differ.")]


def register(app: typer.Typer) -> None:
    """Add the commands to the app."""
    for command in (demo, up, down, ingest, indexer, worker, serve, migrate):
        app.command()(command)


def demo(
    seconds: Annotated[float | None, typer.Option(min=1, help="End after this time; otherwise Ctrl-C ends it.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Show nothing, and print a report at the end.")] = False,
) -> None:
    """Show Lookout at work on three looping cameras. Exit code 0 only if the right person alone was alerted."""
    raise typer.Exit(service("demo")(Settings(), seconds=seconds, as_json=as_json))


def up(
    cameras: Cameras = None,
    port: Annotated[int, typer.Option(min=0, max=65535, help="Of the page; 0 takes a free one.")] = 0,
    detach: Annotated[bool, typer.Option(help="Return when all is ready; `lookout down` stops it.")] = False,
) -> None:
    """Run everything on this machine, watching your own cameras."""
    service("up")(Settings(), cameras=cameras, port=port, detach=detach)


def down() -> None:
    """Stop what `lookout up --detach` started."""
    service("down")(Settings())


def ingest(metrics_host: MetricsHost = "127.0.0.1", metrics_port: MetricsPort = 0) -> None:
    """Watch cameras and publish face crops. Start several, and they share the cameras."""
    service("ingest")(Settings(), metrics_host=metrics_host, metrics_port=metrics_port)


def indexer(
    workers: Annotated[
        int | None, typer.Option(min=1, max=256, help="Processes that decode; as many as there are cores if left out.")
    ] = None,
) -> None:
    """Search uploaded videos for faces. Start several, and each takes others."""
    service("indexer")(Settings(), workers=workers)


def worker(
    queues: Annotated[str, typer.Option(help="Which to serve.")] = "crops,deliveries,maintenance,retention,exports",
    concurrency: Annotated[int, typer.Option(min=1, help="Tasks at a time.")] = 1,
    metrics_host: MetricsHost = "127.0.0.1",
    metrics_port: MetricsPort = 0,
) -> None:
    """Embed and match crops, store sightings and alerts, deliver webhooks, keep house. Start as many as you like."""
    service("worker")(
        Settings(),
        queues=[queue.strip() for queue in queues.split(",")],
        concurrency=concurrency,
        metrics_host=metrics_host,
        metrics_port=metrics_port,
    )


def serve(
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535)] = 8000,
) -> None:
    """Serve the HTTP API."""
    service("serve")(Settings(), host=host, port=port)


def migrate() -> None:
    """Bring the registry to the current schema."""
    from lookout.stores.registry import Registry

    Registry(Settings().database).migrate()


def service(name: str) -> Any:
    """What starts a room, or asks something of it.

    Raises:
        LookoutError: it is not installed.
    """
    found = entry_points(group="lookout.services", name=name)
    if not found:
        raise LookoutError(f"the service {name} is not installed here.")
    return next(iter(found)).load()
