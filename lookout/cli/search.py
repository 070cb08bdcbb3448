"""`lookout search`: where and when somebody was seen."""

from __future__ import annotations

import json
import time
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.table import Column, Table

from lookout.cli.context import cli_actor, open_registry
from lookout.clock import to_datetime
from lookout.errors import BadInputError
from lookout.models_in_use import models_in_use
from lookout.sealing import keyring
from lookout.settings import Settings
from lookout.sightings.plain import plain_answer
from lookout.sightings.query import DEFAULT_RESULTS, MAX_US, make_query
from lookout.sightings.search import Answer, run_search
from lookout.stores.index import prepare_index
from lookout.stores.vectors import Vectors
from lookout.texts import clean

if TYPE_CHECKING:
    from lookout.sightings.sources import QueryFace

#: Written to the audit where none is given.
REASON = "command line"


def search(
    photos: Annotated[list[Path] | None, typer.Argument(help="One or more photos of one person.")] = None,
    sighting: Annotated[str | None, typer.Option(help="Instead: whoever was seen there; an id.")] = None,
    target: Annotated[str | None, typer.Option(help="Instead: a person on a watchlist; an id.")] = None,
    camera: Annotated[list[str] | None, typer.Option(help="Only this camera, by id or name; may be repeated.")] = None,
    since: Annotated[str | None, typer.Option(help="From then on: RFC 3339, or local time without zone.")] = None,
    until: Annotated[str | None, typer.Option(help="Until then.")] = None,
    min_score: Annotated[
        float | None, typer.Option(help="Cosine, -1 to 1; left out: what one stranger in 10,000 reaches.")
    ] = None,
    limit: Annotated[int, typer.Option(help="How many sightings at most.")] = DEFAULT_RESULTS,
    face: Annotated[
        int | None, typer.Option(min=1, help="Which of several faces in the photo, counted from the left.")
    ] = None,
    reason: Annotated[str, typer.Option(help="Why; kept in the audit log.")] = REASON,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Find sightings of a person: best first, grouped by visit."""
    given = [name for name, value in (("PHOTO", photos), ("--sighting", sighting), ("--target", target)) if value]
    if len(given) != 1:
        raise BadInputError("search with one or more photos, with --sighting, or with --target: with one of the three.")
    if face is not None and (not photos or len(photos) > 1):
        raise BadInputError("--face chooses in one photo: search with that photo alone.")
    reason = clean("reason", reason, 1000) or REASON
    since_us, until_us = _moment("--since", since), _moment("--until", until)
    settings = Settings()
    vectors = Vectors(settings.milvus_uri)
    # Brings OpenVINO, which no other command should wait for.
    from lookout.sightings.sources import of_photos, of_sighting, of_target, read_faces

    faces: list[QueryFace] = []
    by: dict[str, Any]
    try:
        with open_registry(settings) as registry:
            used = models_in_use(registry, settings)
            model = used.embedder
            prepare_index(registry, vectors, model.name, model.dimension)
            models = used.load(settings) if photos else None
            began = time.perf_counter()
            if photos and models:
                faces = read_faces(photos, *models, face=face)
            with registry.reading() as session:
                if sighting is not None:
                    by = {"sighting": sighting}
                    template = of_sighting(session, None, keyring(settings), sighting, model.name)
                elif target is not None:
                    by = {"target": target}
                    template = of_target(session, None, keyring(settings), target, model.name)
                else:
                    by = {"photos": [one.sha256 for one in faces]}
                    template = of_photos(faces, model)
                query = make_query(
                    session,
                    None,
                    template,
                    model=model,
                    cameras=camera,
                    since_us=since_us,
                    until_us=until_us,
                    min_score=min_score,
                    limit=limit,
                )
            answer = run_search(registry, vectors, cli_actor(), None, query, reason=reason, by=by, began=began)
    finally:
        vectors.close()
    warnings = [one.warning for one in faces if one.warning]
    if as_json:
        plain = {**plain_answer(answer), "min_score": query.min_score, "warnings": warnings}
        typer.echo(json.dumps(plain, indent=2))
        return
    console = Console(soft_wrap=True, highlight=False, markup=False)
    for warning in warnings:
        console.print(f"note: {warning}")
    _show(console, answer, query.min_score)


def _show(console: Console, answer: Answer, min_score: float) -> None:
    """A table by visits, in local time."""
    if answer.visits:
        table = Table(Column("camera", no_wrap=True), "from", "to", "score", "seen", "video", "best sighting")
        for visit in answer.visits:
            best = max(visit.found, key=lambda one: one.score)
            video = "" if best.video_name is None else f"{best.video_name} at {best.video_offset_s:.1f} s"
            table.add_row(
                best.camera_name, _local(visit.started_at_us), _local(visit.ended_at_us), f"{visit.score:.2f}",
                f"{len(visit.found)}×", video, best.sighting_id,
            )  # fmt: skip
        console.print(table)
    console.print(
        f"{len(answer.found)} of {answer.searched} sightings reach {min_score:.2f}, in {len(answer.visits)} visits "
        f"({answer.elapsed_ms:.0f} ms)"
    )
    if answer.waiting:
        console.print(f"{answer.waiting} sightings cannot be found yet: they are being written to Milvus")


def _local(at_us: int) -> str:
    return to_datetime(at_us).astimezone().strftime("%Y-%m-%d %H:%M:%S")


def _moment(name: str, text: str | None) -> int | None:
    """A time that somebody typed, in microseconds.

    Raises:
        BadInputError: it is none.
    """
    if text is None:
        return None
    try:
        at_us = round(datetime.fromisoformat(text.strip()).astimezone().timestamp() * 1e6)
    except (ValueError, OverflowError, OSError) as error:
        raise BadInputError(
            f"{name}: {text[:100]!r} is no time; write 2026-11-01T08:00:00+01:00, or 2026-11-01T08:00 for local time."
        ) from error
    if not 0 <= at_us <= MAX_US:
        raise BadInputError(f"{name}: give a time between the years 1970 and 9999.")
    return at_us
