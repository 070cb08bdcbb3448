"""`lookout index`: recorded files searched for faces."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from lookout.cli.context import cli_actor
from lookout.cli.services import service
from lookout.settings import Settings
from lookout.videos import MAX_FPS, MIN_FPS


def index(
    videos: Annotated[list[Path], typer.Argument(help="Files of any kind that FFmpeg reads.")],
    camera: Annotated[str, typer.Option(help="Id or name of the camera that recorded them; made if it is unknown.")],
    start: Annotated[
        str | None,
        typer.Option(
            help="When the first one begins, as 2026-11-01T08:00:00+01:00; each further one begins where the one "
            "before ends. Left out, each begins when it says that it was recorded."
        ),
    ] = None,
    fps: Annotated[float, typer.Option(min=MIN_FPS, max=MAX_FPS, help="Frames a second to search.")] = 5.0,
    workers: Annotated[
        int | None, typer.Option(min=1, max=256, help="Processes that decode; as many as there are cores if left out.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Search recorded files for faces, as if a camera had recorded them. Needs a running Lookout.

    Cut off, the same command goes on where it was; done, it does nothing.
    """
    code = service("index")(
        Settings(), actor=cli_actor(), files=videos, camera=camera, start=start, fps=fps, workers=workers,
        as_json=as_json,
    )  # fmt: skip
    raise typer.Exit(code)
