"""One micro-batch of crops, from their ids to stored sightings and alerts. Run twice, it changes nothing."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from sqlalchemy.exc import IntegrityError
from tenacity import retry, retry_if_exception_type, stop_after_attempt

from lookout.clock import now_us
from lookout.errors import UnavailableError
from lookout.faces.embedder import normalised
from lookout.faces.photos import decode_jpeg
from lookout.messages import Crop
from lookout.metrics import (
    ALERT_LATENCY_SECONDS,
    ALERTS,
    BLOB_ERRORS,
    CROPS_EMBEDDED,
    CROPS_EXPIRED,
    CROPS_MISSING,
    EMBED_SECONDS,
    SIGHTINGS,
)
from lookout.stores.registry.tables import StoredCrop
from lookout.stores.templates import unpack_many
from lookout.stores.vectors import SIGHTINGS as SIGHTING_VECTORS
from workers import alerts
from workers.matching import Match, match
from workers.parts import Parts
from workers.sightings import EmbeddedCrop, Seen, blob_name, fold, store, template_sums

log = logging.getLogger(__name__)


def process(parts: Parts, ids: Sequence[str]) -> list[alerts.Opened]:
    """Embed, match and store the crops of one message; returns the alerts it opened.

    Raises:
        UnavailableError: Redis, Milvus or the registry does not answer; nothing is lost, call it again.
    """
    crops = fetch(parts, ids)
    if not crops:
        return []
    with EMBED_SECONDS.time():
        embedded = embed(parts, crops)
    seen = fold(parts.registry, embedded)
    new = [one for one in seen if one.crops]
    opened = store_all(parts, new)
    # Also what was stored before: a worker may have been killed between the two stores.
    index_sightings(parts, [one.track_id for one in seen])
    parts.crops.remove(ids)
    CROPS_EMBEDDED.inc(sum(len(one.crops) for one in new))
    return opened


def fetch(parts: Parts, ids: Sequence[str]) -> list[Crop]:
    """The crops that are there and in time; the others are counted."""
    now = now_us()
    crops = []
    expired = []
    for crop_id, crop in zip(ids, parts.crops.get(ids), strict=True):
        if crop is None:
            if not is_stored(parts, crop_id):
                CROPS_MISSING.inc()
        elif crop.deadline_us <= now:
            expired.append(crop_id)
        else:
            crops.append(crop)
    if expired:
        CROPS_EXPIRED.inc(len(expired))
        parts.crops.remove(expired)
    return crops


def is_stored(parts: Parts, crop_id: str) -> bool:
    """Whether a crop's results are in the registry: its message came twice."""
    with parts.registry.reading() as session:
        return session.get(StoredCrop, crop_id) is not None


def embed(parts: Parts, crops: Sequence[Crop]) -> list[EmbeddedCrop]:
    """Align and embed crops in one call."""
    embedder = parts.embedder
    aligned = [
        embedder.align(decode_jpeg(crop.jpeg, crop.id), np.asarray(crop.landmarks, np.float32)) for crop in crops
    ]
    return [EmbeddedCrop(crop, vector) for crop, vector in zip(crops, embedder.embed(aligned), strict=True)]


def store_all(parts: Parts, seen: Sequence[Seen]) -> list[alerts.Opened]:
    """Match, then write pictures, sightings and alerts."""
    if not seen:
        return []
    found = match(parts, np.stack([one.template for one in seen]), [one.crops[0].crop.camera_group for one in seen])
    blobs = {one.crop.id: write_picture(parts, one.crop) for track in seen for one in track.crops}
    opened, sightings = write(parts, seen, found, blobs)
    SIGHTINGS.inc(sightings)
    for alert in opened:
        ALERTS.labels(alert.watchlist, alert.tier).inc()
        ALERT_LATENCY_SECONDS.observe(alert.latency_s)
        log.info("alert %s opened (%s, %s) after %.2f s", alert.alert_id, alert.watchlist, alert.tier, alert.latency_s)
    return opened


@retry(retry=retry_if_exception_type(IntegrityError), stop=stop_after_attempt(5), reraise=True)
def write(
    parts: Parts, seen: Sequence[Seen], found: Sequence[Sequence[Match]], blobs: dict[str, str | None]
) -> tuple[list[alerts.Opened], int]:
    """Everything that belongs together, in one transaction; begun again when another worker was in between."""
    opened = []
    sightings = 0
    silence_us = int(parts.settings.alert_silence_s * 1e6)
    with parts.registry.transaction() as session:
        stored = set[str]()
        for one in seen:
            crops = [embedded for embedded in one.crops if session.get(StoredCrop, embedded.crop.id) is None]
            if crops:
                sightings += store(session, replace(one, crops=crops), blobs, parts.settings.embedder)
                stored.add(one.track_id)
        pairs = [
            (each, one.crops[-1].crop)
            for one, matches in zip(seen, found, strict=True)
            for each in matches
            if one.track_id in stored
        ]
        # In one order everywhere, as each locks its target.
        for each, crop in sorted(pairs, key=lambda pair: (pair[0].target_id, pair[1].captured_at_us)):
            alert = alerts.record(session, each, crop, silence_us=silence_us)
            if alert is not None:
                opened.append(alert)
    return opened, sightings


def index_sightings(parts: Parts, tracks: Sequence[str]) -> None:
    """Tell Milvus the templates of sightings; once more if another worker changed them in the registry meanwhile."""
    told: dict[str, bytes] = {}
    while (sums := template_sums(parts.registry, tracks)) != told:
        parts.vectors.upsert(SIGHTING_VECTORS, list(sums), normalised(unpack_many(list(sums.values()))))
        told = sums


def write_picture(parts: Parts, crop: Crop) -> str | None:
    """Store a crop's picture; None if the store is full, as an alert without a picture is worth more than none."""
    name = blob_name(crop)
    try:
        parts.blobs.write(name, crop.jpeg)
    except UnavailableError as error:
        BLOB_ERRORS.inc()
        log.error("picture of crop %s is lost: %s", crop.id, error)  # noqa: TRY400 - the message says it all
        return None
    return name
