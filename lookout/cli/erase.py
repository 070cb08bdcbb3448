"""`lookout erase`: a person leaves every store."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Annotated

import typer
from rich.console import Console
from sqlalchemy import select
from sqlalchemy.orm import Session

from lookout.cli.context import cli_actor, open_registry
from lookout.erasure import Erasure, erase_target
from lookout.errors import BadInputError, NotFoundError
from lookout.models_in_use import models_in_use
from lookout.sealing import keyring
from lookout.settings import Settings
from lookout.stores.blobs import Blobs
from lookout.stores.index import prepare_index, update_index
from lookout.stores.registry.tables import Target, Watchlist
from lookout.stores.vectors import Vectors


def erase(
    target: Annotated[str, typer.Option(help="Id of the target, or the name.")],
    watchlist: Annotated[str | None, typer.Option("--watchlist", "-w", help="Where several have the name.")] = None,
    reason: Annotated[str, typer.Option(help="Why; kept in the audit log.")] = "",
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Erase a person: photos, templates, sightings, pictures of alerts, deliveries. There is no way back."""
    settings = Settings()
    keys = keyring(settings)
    vectors = Vectors(settings.milvus_uri)
    try:
        with open_registry(settings) as registry:
            with registry.reading() as session:
                target_id = _find(session, target, watchlist)
            model = models_in_use(registry, settings).embedder
            prepare_index(registry, vectors, model.name, model.dimension)
            erasure = erase_target(
                registry,
                Blobs(settings.blobs, keys),
                vectors,
                keys,
                model,
                target_id=target_id,
                actor=cli_actor(),
                reason=reason,
            )
            update_index(registry, vectors, keys, model.name)
    finally:
        vectors.close()
    if as_json:
        typer.echo(json.dumps(asdict(erasure), indent=2))
    else:
        Console(soft_wrap=True, highlight=False).print(report(erasure))


def report(erasure: Erasure) -> str:
    """What went, for a person."""
    text = (
        f"target {erasure.target_id} is erased: {erasure.photos} photos with their templates, {erasure.sightings} "
        f"sightings with {erasure.crops} pictures, {erasure.frames} frames, {erasure.deliveries} deliveries; "
        f"{erasure.alerts} alerts remain as records without name and picture"
    )
    if erasure.kept_sightings:
        text += f"; {erasure.kept_sightings} sightings stay, as alerts of other targets hold them, too"
    return text


def _find(session: Session, target: str, watchlist: str | None) -> str:
    query = select(Target.id).where((Target.id == target) | (Target.name == target), Target.erased_at_us.is_(None))
    if watchlist is not None:
        query = query.join(Watchlist).where(Watchlist.name == watchlist)
    found = session.scalars(query).all()
    if not found:
        raise NotFoundError(f"there is no target {target}; `lookout targets list` shows all.")
    if len(found) > 1:
        raise BadInputError(f"{len(found)} targets are named {target}: say which by --watchlist, or by the id.")
    return found[0]
