"""Stored photos and crops embedded anew, by the model that shall be used next.

What is made waits beside the templates in use, which workers go on with. It is stored some at a time, so whoever is
killed goes on where it was; and it goes when what it was made of goes.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import ColumnElement, Row, exists, func, select
from sqlalchemy.orm import InstrumentedAttribute, Session

from lookout.errors import NotFoundError, PhotoError, SealError
from lookout.faces.embedder import AlignedFace, Embedder, normalised
from lookout.faces.photos import decode_jpeg, decode_photo
from lookout.sealing import Keyring
from lookout.stores.blobs import Blobs
from lookout.stores.registry import Registry
from lookout.stores.registry.tables import NextReference, NextSighting, Reference, Sighting, StoredCrop
from lookout.stores.templates import pack, reference_place, sighting_place, weighted
from lookout.stores.vectors import SIGHTINGS, SightingRow, Vectors

Floats = NDArray[np.float32]
CropRecord: TypeAlias = "Row[str, float, list[list[float]], str | None]"

#: Photos are large, and decoded one by one.
PHOTOS_AT_ONCE = 16
SIGHTINGS_AT_ONCE = 32
#: What a picture may be that cannot be embedded any more: gone, sealed with a lost key, or damaged.
UNREADABLE = (NotFoundError, SealError, PhotoError)


@dataclass(frozen=True, slots=True)
class Stores:
    """Where templates and pictures lie."""

    registry: Registry
    vectors: Vectors
    blobs: Blobs
    keyring: Keyring


@dataclass(frozen=True, slots=True)
class Work:
    """How much there is to be embedded anew: photos of targets, sightings, and the pictures of these."""

    photos: int
    sightings: int
    crops: int


@dataclass(slots=True)
class Reembedder:
    """Embeds anew what a model has not embedded yet.

    Attributes:
        stores: all of them.
        embedder: of the next model, loaded.
        made_photos, made_sightings: how many were embedded.
        unreadable: photos that cannot be embedded any more, by the reference's id, with the reason.
        gone: sightings that cannot: none of their pictures is there.
    """

    stores: Stores
    embedder: Embedder
    made_photos: int = 0
    made_sightings: int = 0
    unreadable: dict[str, str] = field(default_factory=dict)
    gone: set[str] = field(default_factory=set)

    def photos(self) -> Iterator[int]:
        """Embed targets' photos; yields how many were looked at, some at a time."""
        last = ""
        while True:
            query = select(Reference).where(photos_waiting(self.embedder.name), Reference.id > last)
            with self.stores.registry.reading() as session:
                batch = session.scalars(query.order_by(Reference.id).limit(PHOTOS_AT_ONCE)).all()
            if not batch:
                return
            faces = [(one, face) for one in batch if (face := self._photo(one)) is not None]
            self._store_photos([one for one, _ in faces], self.embedder.embed([face for _, face in faces]))
            last = batch[-1].id
            yield len(batch)

    def sightings(self) -> Iterator[int]:
        """Embed sightings' pictures, and tell Milvus; yields how many sightings were looked at, some at a time."""
        last = ""
        while True:
            query = select(Sighting).where(sightings_waiting(self.embedder.name), Sighting.id > last)
            with self.stores.registry.reading() as session:
                batch = session.scalars(query.order_by(Sighting.id).limit(SIGHTINGS_AT_ONCE)).all()
                crops = _crops(session, [one.id for one in batch])
            if not batch:
                return
            self._embed_sightings(batch, crops)
            last = batch[-1].id
            yield len(batch)

    def _photo(self, reference: Reference) -> AlignedFace | None:
        try:
            bgr = decode_photo(self.stores.blobs.read(reference.photo_blob), f"photo {reference.id}")
        except UNREADABLE as error:
            self.unreadable[reference.id] = str(error)
            return None
        return self.embedder.align(bgr, np.asarray(reference.landmarks, np.float32))

    def _store_photos(self, references: Sequence[Reference], templates: Floats) -> None:
        with self.stores.registry.transaction() as session:
            there = _existing(session, Reference.id, [one.id for one in references])
            session.add_all(
                NextReference(
                    reference_id=one.id,
                    model=self.embedder.name,
                    template=pack(template, self.stores.keyring, reference_place(one.id)),
                )
                for one, template in zip(references, templates, strict=True)
                if one.id in there
            )
        self.made_photos += len(there)

    def _embed_sightings(self, batch: Sequence[Sighting], crops: Sequence[CropRecord]) -> None:
        faces = [(crop, face) for crop in crops if crop.blob and (face := self._crop(crop.blob, crop.landmarks))]
        sums: dict[str, Floats] = {}
        for (crop, _), embedding in zip(faces, self.embedder.embed([face for _, face in faces]), strict=True):
            sums[crop.sighting_id] = sums.get(crop.sighting_id, np.float32(0)) + weighted(embedding, crop.quality)
        self.gone |= {one.id for one in batch} - sums.keys()
        made = [one for one in batch if one.id in sums]
        if not made:
            return
        counts = {one.id: sum(crop.sighting_id == one.id for crop in crops) for one in made}
        rows = [
            SightingRow(one.id, one.camera_id, one.camera_group, one.started_at_us, one.ended_at_us) for one in made
        ]
        templates = normalised(np.stack([sums[one.id] for one in made]))
        self.stores.vectors.upsert_sightings(self.embedder.name, rows, templates)
        with self.stores.registry.transaction() as session:
            there = _existing(session, Sighting.id, list(sums))
            session.add_all(
                NextSighting(
                    sighting_id=one.id,
                    model=self.embedder.name,
                    template_sum=pack(sums[one.id], self.stores.keyring, sighting_place(one.id)),
                    crops=counts[one.id],
                )
                for one in made
                if one.id in there
            )
        self.made_sightings += len(there)
        # Whoever removed one meanwhile told Milvus before it was written there.
        if removed := sums.keys() - there:
            self.stores.vectors.delete(SIGHTINGS, sorted(removed))

    def _crop(self, blob: str, landmarks: Sequence[Sequence[float]]) -> AlignedFace | None:
        try:
            bgr = decode_jpeg(self.stores.blobs.read(blob), blob)
        except UNREADABLE:
            return None
        return self.embedder.align(bgr, np.asarray(landmarks, np.float32))


def photos_waiting(model: str) -> ColumnElement[bool]:
    """Photos that a model has not embedded."""
    made = exists().where(NextReference.reference_id == Reference.id, NextReference.model == model)
    return (Reference.model != model) & ~made


def sightings_waiting(model: str) -> ColumnElement[bool]:
    """Sightings that a model has not embedded."""
    made = exists().where(NextSighting.sighting_id == Sighting.id, NextSighting.model == model)
    return (Sighting.model != model) & ~made


def remaining(session: Session, model: str) -> Work:
    """How much a model has not embedded."""
    photos = select(func.count()).select_from(Reference).where(photos_waiting(model))
    sightings = select(func.count()).select_from(Sighting).where(sightings_waiting(model))
    crops = (
        select(func.count())
        .select_from(StoredCrop)
        .join(Sighting, Sighting.id == StoredCrop.sighting_id)
        .where(sightings_waiting(model), StoredCrop.blob.is_not(None))
    )
    return Work(*(session.scalar(query) or 0 for query in (photos, sightings, crops)))


def estimate_s(stores: Stores, embedder: Embedder, work: Work) -> float:
    """How long it would take, by some of it, of which nothing is stored."""
    trial = Reembedder(stores, embedder)
    with stores.registry.reading() as session:
        photos = session.scalars(
            select(Reference).where(photos_waiting(embedder.name)).order_by(Reference.id).limit(PHOTOS_AT_ONCE)
        ).all()
        some = select(Sighting.id).where(sightings_waiting(embedder.name)).order_by(Sighting.id)
        crops = _crops(session, session.scalars(some.limit(SIGHTINGS_AT_ONCE)).all())
    pictures = [crop for crop in crops if crop.blob]
    a_photo = _seconds_each(embedder, photos, trial._photo)
    a_crop = _seconds_each(embedder, pictures, lambda crop: trial._crop(crop.blob, crop.landmarks))
    return work.photos * a_photo + work.crops * a_crop


def _seconds_each(embedder: Embedder, pictures: Sequence[object], look: Callable[..., AlignedFace | None]) -> float:
    if not pictures:
        return 0.0
    began = time.perf_counter()
    embedder.embed([face for one in pictures if (face := look(one)) is not None])
    return (time.perf_counter() - began) / len(pictures)


def _crops(session: Session, sightings: Sequence[str]) -> Sequence[CropRecord]:
    columns = (StoredCrop.sighting_id, StoredCrop.quality, StoredCrop.landmarks, StoredCrop.blob)
    query = select(*columns).where(StoredCrop.sighting_id.in_(sightings))
    return session.execute(query.order_by(StoredCrop.captured_at_us, StoredCrop.id)).all()


def _existing(session: Session, column: InstrumentedAttribute[str], ids: Sequence[str]) -> set[str]:
    """Those that are still there, and stay until the transaction ends."""
    return set(session.scalars(select(column).where(column.in_(ids)).with_for_update()))
