"""`lookout demo`: three looping cameras, a watchlist, and what comes of it."""

from __future__ import annotations

import contextlib
import json
import logging
import shutil
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import typer
from rich.console import Console
from rich.live import Live

from deploy.local.clips import prepare_clips
from deploy.local.demo_view import Snapshot, read_snapshot, render
from deploy.local.meter import Meter
from deploy.local.parts import free_ports, listens
from deploy.local.supervisor import Child
from deploy.local.system import TICK_S, LocalSystem, only_one, until_signalled
from lookout.clock import now_us
from lookout.faces.models import asset_cache
from lookout.logging import configure_logging
from lookout.models_in_use import models_in_use
from lookout.sealing import keyring
from lookout.settings import Settings
from lookout.stores.blobs import Blobs
from lookout.stores.registry import Registry
from lookout.stores.registry.tables import Watchlist
from lookout.targets import add_target, read_photos

log = logging.getLogger(__name__)

WATCHLIST = "demo"
WANTED, WHERE = "Man A", "entrance"
OTHERS = 5
MEASURE_EVERY_S = 0.5


def run(settings: Settings, *, seconds: float | None, as_json: bool) -> int:
    """Run the demo for some seconds, or until Ctrl-C.

    Its state is in `<home>/demo` and made anew each time.

    Returns:
        The exit code: 0 only if man A was alerted on `entrance`, and nobody else anywhere.
    """
    console = Console(stderr=as_json)
    configure_logging("demo", level=logging.WARNING)
    own = {"home": settings.home / "demo", "database_url": "", "blobs_url": "", "footage": None}
    settings = settings.model_copy(update=own)
    with only_one(settings.home), until_signalled() as stopping:
        _clear(settings.home)
        with console.status("preparing models and clips (the first time takes a minute)"):
            rtsp, cameras = _cameras(settings, prepare_clips(asset_cache(settings)))
        began = time.monotonic()
        system = LocalSystem(settings, cameras=cameras, more=[rtsp], enrol=lambda registry: _enrol(settings, registry))
        try:
            with console.status("starting"):
                system.start(stopping)
            console.print(
                f"Open {system.welcome_url or system.endpoints.search_url} in a browser and choose a password: "
                "you are `admin`.",
                soft_wrap=True,
                highlight=False,
            )
            snapshot = _watch(system, began, seconds, stopping, None if as_json else console)
        finally:
            system.stop()
    if as_json:
        typer.echo(json.dumps(snapshot.as_json(), indent=2))
    else:
        console.print(render(snapshot))
    return 0 if is_right(snapshot.alerts) else 1


def is_right(alerts: list[dict[str, Any]]) -> bool:
    """Whether man A was alerted where he is, and nobody else anywhere."""
    return {(alert["target"], alert["camera"]) for alert in alerts} == {(WANTED, WHERE)}


def _watch(
    system: LocalSystem, began: float, seconds: float | None, stopping: Callable[[], bool], console: Console | None
) -> Snapshot:
    urls = system.endpoints
    meter = Meter(
        {
            "ingest": urls.ingest_metrics_url,
            "worker": urls.worker_metrics_url,
            "courier": urls.courier_metrics_url,
            "search": f"{urls.search_url}/metrics",
        }
    )
    registry = Registry(system.settings.database)
    ready = time.monotonic()
    end = None if seconds is None else ready + seconds
    depth_max = 0
    with contextlib.ExitStack() as stack:
        stack.callback(registry.close)
        stack.callback(meter.close)
        live = stack.enter_context(Live(console=console, refresh_per_second=4, transient=True)) if console else None
        measured_at = 0.0
        while True:
            system.tick()
            now = time.monotonic()
            done = stopping() or (end is not None and now >= end)
            if done or now - measured_at >= MEASURE_EVERY_S:
                measured_at = now
                system.measure()
                meter.read()
                depth_max = max(depth_max, round(meter.gauge("lookout_queue_depth", queue="crops")))
                snapshot = read_snapshot(
                    meter, registry, system, depth_max, started_s=ready - began, elapsed_s=now - ready
                )
                if live is not None:
                    live.update(render(snapshot))
            if done:
                return snapshot
            time.sleep(TICK_S)


def _clear(home: Path) -> None:
    """Forget the last demo; only what the demo itself makes is touched."""
    for folder in ("milvus", "valkey", "blobs", "footage", "logs"):
        shutil.rmtree(home / folder, ignore_errors=True)
    for file in home.glob("registry.db*"):
        file.unlink()


def _cameras(settings: Settings, clips: Path) -> tuple[Child, Path]:
    """The RTSP server, and the camera file that points at it."""
    port, control = free_ports(2)
    script = Path(sys.executable).with_name("rtsp-server")
    argv = [str(script), "--dir", str(clips), "--host", "127.0.0.1"]
    server = Child(
        "rtsp", [*argv, "--port", str(port), "--control-port", str(control)], lambda: listens(port), stop_s=0.3
    )
    blocks = [
        f'[[camera]]\nid = "{clip.stem}"\nurl = "rtsp://127.0.0.1:{port}/{clip.name}?play_count=0"\nrecord = true\n'
        for clip in sorted(clips.glob("*.mp4"))
    ]
    cameras = settings.home / "cameras.toml"
    cameras.write_text("\n".join(blocks))
    return server, cameras


def _enrol(settings: Settings, registry: Registry) -> None:
    """Man A by one photo of another day, and five people who are on no camera."""
    assets, ring = asset_cache(settings), keyring(settings)
    blobs = Blobs(settings.blobs, ring)
    used = models_in_use(registry, settings)
    detector, embedder = used.load(settings)
    with registry.transaction() as session:
        session.add(
            Watchlist(
                name=WATCHLIST,
                purpose="Show how Lookout works",
                legal_basis="Published pictures",
                created_at_us=now_us(),
            )
        )
    people: list[tuple[str, str, int | None]] = [(WANTED, "single_face.jpg", None)]
    people += [(f"Person {number}", "multi_face.jpg", number) for number in range(1, OTHERS + 1)]
    for name, photo, face in people:
        photos = read_photos([assets.media(photo)], detector, embedder, face=face)
        add_target(registry, blobs, ring, watchlist=WATCHLIST, name=name, photos=photos, model=used.embedder)
