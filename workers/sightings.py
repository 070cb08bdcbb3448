"""Embedded crops to sightings: one row a track, its template folded from its crops."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import select
from sqlalchemy.orm import Session

from lookout.clock import now_us, to_datetime
from lookout.faces.embedder import normalised
from lookout.messages import Crop
from lookout.sealing import Keyring
from lookout.stores.registry import Registry
from lookout.stores.registry.tables import NextSighting, Sighting, StoredCrop
from lookout.stores.templates import pack, sighting_place, unpack, weighted


@dataclass(frozen=True, slots=True, eq=False)
class EmbeddedCrop:
    """A crop with its embedding `(D,)` of length 1."""

    crop: Crop
    embedding: NDArray[np.float32]


@dataclass(frozen=True, slots=True, eq=False)
class Seen:
    """New crops of one track, and its template with them.

    Attributes:
        crops: those that are not stored yet, oldest first; empty if the message came twice.
        template: `(D,)` of length 1, of all crops of the track.
    """

    track_id: str
    crops: Sequence[EmbeddedCrop]
    template: NDArray[np.float32]


def fold(registry: Registry, keyring: Keyring, embedded: Iterable[EmbeddedCrop], model: str) -> list[Seen]:
    """Group a model's embeddings by track, leave out what is stored, fold the rest into the tracks' templates."""
    tracks: dict[str, list[EmbeddedCrop]] = {}
    for one in sorted(embedded, key=lambda one: (one.crop.track_id, one.crop.captured_at_us)):
        tracks.setdefault(one.crop.track_id, []).append(one)
    # The sums first: what another worker stores in between is then at worst left out of a template, not counted twice.
    with registry.reading() as session:
        sums = template_sums(session, tracks, model)
    with registry.reading() as session:
        stored = _stored_crops(session, tracks.values())
    seen = []
    for track, crops in tracks.items():
        new = [one for one in crops if one.crop.id not in stored]
        known = [unpack(sums[track], keyring, sighting_place(track))] if track in sums else []
        total = sum([*known, *map(_weighted, new)], np.float32(0))
        seen.append(Seen(track, new, normalised(np.asarray(total, np.float32))))
    return seen


def template_sums(session: Session, tracks: Iterable[str], model: str) -> dict[str, bytes]:
    """The sightings' sums of a model's embeddings as they are stored, sealed; without those that are not.

    While a switch of models is being finished, those of the new one may not have come to their sightings yet.
    """
    ids = list(tracks)
    by_model = select(Sighting.id, Sighting.template_sum).where(Sighting.id.in_(ids), Sighting.model == model)
    found = {row.id: row.template_sum for row in session.execute(by_model)}
    made = select(NextSighting.sighting_id, NextSighting.template_sum).where(
        NextSighting.sighting_id.in_(ids), NextSighting.model == model
    )
    return {row.sighting_id: row.template_sum for row in session.execute(made)} | found


def store(session: Session, keyring: Keyring, seen: Seen, blobs: dict[str, str | None], model: str) -> bool:
    """Write a track's new crops and its sighting; returns whether the sighting is new.

    Raises:
        sqlalchemy.exc.IntegrityError: another worker wrote the same crop or sighting meanwhile; begin again.
    """
    first, last = seen.crops[0].crop, seen.crops[-1].crop
    place = sighting_place(seen.track_id)
    sighting = session.get(Sighting, seen.track_id, with_for_update=True)
    is_new = sighting is None
    if sighting is None:
        sighting = Sighting(
            id=seen.track_id,
            camera_id=first.camera_id,
            camera_group=first.camera_group,
            started_at_us=first.track_started_at_us,
            ended_at_us=last.track_seen_at_us,
            model=model,
            template_sum=pack(np.zeros_like(seen.template), keyring, place),
            best_quality=0.0,
            video_id=first.video_id or None,
            created_at_us=now_us(),
        )
        session.add(sighting)
    total = unpack(sighting.template_sum, keyring, place)
    if sighting.model != model:
        # A switch of models is being finished. A crop that came in its last moment is missing from the sum.
        made = template_sums(session, [sighting.id], model)
        total = unpack(made[sighting.id], keyring, place) if made else np.zeros_like(seen.template)
        sighting.model = model
    for one in seen.crops:
        crop = one.crop
        total = total + _weighted(one)
        sighting.started_at_us = min(sighting.started_at_us, crop.track_started_at_us)
        sighting.ended_at_us = max(sighting.ended_at_us, crop.track_seen_at_us)
        sighting.best_quality = max(sighting.best_quality, crop.quality)
        session.add(
            StoredCrop(
                id=crop.id,
                sighting_id=seen.track_id,
                captured_at_us=crop.captured_at_us,
                quality=crop.quality,
                box_xyxy=list(crop.box_xyxy),
                landmarks=[list(point) for point in crop.landmarks],
                blob=blobs.get(crop.id),
            )
        )
    sighting.template_sum = pack(total, keyring, place)
    sighting.indexed = False
    session.flush()
    return is_new


def blob_name(crop: Crop) -> str:
    """Where a crop's picture lies: by day, so that a folder stays small and retention finds it."""
    return f"crops/{to_datetime(crop.captured_at_us):%Y-%m-%d}/{crop.id}.jpg"


def _weighted(one: EmbeddedCrop) -> NDArray[np.float32]:
    return weighted(one.embedding, one.crop.quality)


def _stored_crops(session: Session, tracks: Iterable[Sequence[EmbeddedCrop]]) -> set[str]:
    ids = [one.crop.id for crops in tracks for one in crops]
    return set(session.scalars(select(StoredCrop.id).where(StoredCrop.id.in_(ids))))
