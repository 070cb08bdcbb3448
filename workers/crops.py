"""One micro-batch of crops, from their ids to stored sightings and alerts. Run twice, it changes nothing."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from sqlalchemy.exc import IntegrityError
from tenacity import retry, retry_if_exception_type, stop_after_attempt

from lookout.clock import now_us
from lookout.errors import UnavailableError
from lookout.faces.embedder import Embedder
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
from lookout.models_in_use import ModelSwitchedError, hold_embedder
from lookout.stores.index import update_sightings
from lookout.stores.registry.tables import StoredCrop
from workers import alerts
from workers.matching import Match, Probe, match
from workers.parts import Parts
from workers.sightings import EmbeddedCrop, Seen, blob_name, fold, store

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, eq=False)
class Track:
    """New crops of a track, and whom it resembles."""

    seen: Seen
    matches: Sequence[Match]


@dataclass(slots=True)
class Stored:
    """What a transaction wrote."""

    opened: list[alerts.Opened] = field(default_factory=list)
    tracks: set[str] = field(default_factory=set)
    new_sightings: int = 0
    #: Not written, as who was matched has been erased since.
    erased: list[Track] = field(default_factory=list)


def process(parts: Parts, ids: Sequence[str]) -> list[alerts.Opened]:
    """Embed, match and store the crops of one message; returns the alerts it opened.

    Raises:
        UnavailableError: Redis, Milvus or the registry does not answer, or another embedder has come into use
            meanwhile; nothing is lost, call it again.
    """
    crops = fetch(parts, ids)
    if not crops:
        return []
    embedder = parts.embedder
    with EMBED_SECONDS.time():
        embedded = embed(embedder, crops)
    seen = fold(parts.registry, parts.keyring, embedded, embedder.name)
    new = [one for one in seen if one.crops]
    try:
        opened = store_all(parts, new, embedder.name)
    except ModelSwitchedError:
        parts.models.forget()
        raise
    # Also what was stored before: a worker may have been killed between the two stores.
    index_sightings(parts, [one.track_id for one in seen], embedder.name)
    # A crop of the same frame in another message is shown without it: rare, and frames are large.
    parts.crops.remove(ids, {crop.frame_id for crop in crops if crop.frame_id})
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


def embed(embedder: Embedder, crops: Sequence[Crop]) -> list[EmbeddedCrop]:
    """Align and embed crops in one call."""
    aligned = [
        embedder.align(decode_jpeg(crop.jpeg, crop.id), np.asarray(crop.landmarks, np.float32)) for crop in crops
    ]
    return [EmbeddedCrop(crop, vector) for crop, vector in zip(crops, embedder.embed(aligned), strict=True)]


def store_all(parts: Parts, seen: Sequence[Seen], model: str) -> list[alerts.Opened]:
    """Match templates that a model made, then write pictures, sightings and alerts."""
    tracks = match_all(parts, seen, model)
    if not tracks:
        return []
    blobs = {one.crop.id: write_picture(parts, one.crop) for track in tracks for one in track.seen.crops}
    stored = write(parts, tracks, blobs, model)
    for track in stored.erased:
        for one in track.seen.crops:
            parts.blobs.delete(blob_name(one.crop))
    SIGHTINGS.inc(stored.new_sightings)
    for alert in stored.opened:
        ALERTS.labels(alert.watchlist, alert.tier).inc()
        if not alert.retrospective:
            ALERT_LATENCY_SECONDS.observe(alert.latency_s)
        log.info("alert %s opened (%s, %s) after %.2f s", alert.alert_id, alert.watchlist, alert.tier, alert.latency_s)
    return stored.opened


def match_all(parts: Parts, seen: Sequence[Seen], model: str) -> list[Track]:
    """Tracks with their matches; without those of which nothing may be stored, as they match nobody."""
    probes = [
        Probe(
            one.track_id,
            one.template,
            one.crops[0].crop.camera_group,
            one.crops[-1].crop.captured_at_us,
            width_px=max(width_px(each.crop.box_xyxy) for each in one.crops),
            quality=max(each.crop.quality for each in one.crops),
        )
        for one in seen
    ]
    return [
        Track(one, matches)
        for one, matches in zip(seen, match(parts, probes, model), strict=True)
        if matches or not one.crops[-1].crop.matched_only
    ]


@retry(retry=retry_if_exception_type(IntegrityError), stop=stop_after_attempt(5), reraise=True)
def write(parts: Parts, tracks: Sequence[Track], blobs: dict[str, str | None], model: str) -> Stored:
    """Everything that belongs together, in one transaction; begun again when another worker was in between."""
    done = Stored()
    with parts.registry.transaction() as session:
        living = alerts.lock_targets(session, {each.target_id for track in tracks for each in track.matches})
        hold_embedder(session, model)
        # Who was erased since they were matched leaves nothing behind, as if they had been seen before.
        kept = [track for track in tracks if all(each.target_id in living for each in track.matches)]
        done.erased = [track for track in tracks if track not in kept]
        for track in kept:
            new = [one for one in track.seen.crops if session.get(StoredCrop, one.crop.id) is None]
            if new:
                done.new_sightings += store(session, parts.keyring, replace(track.seen, crops=new), blobs, model)
                done.tracks.add(track.seen.track_id)
        pairs = [
            (each, track.seen.crops[-1].crop)
            for track in kept
            for each in track.matches
            if track.seen.track_id in done.tracks
        ]
        for each, crop in sorted(pairs, key=lambda pair: (pair[0].target_id, pair[1].captured_at_us)):
            alert = alerts.record(session, parts, each, crop)
            if alert is not None:
                done.opened.append(alert)
    return done


def width_px(box_xyxy: Sequence[float]) -> float:
    """Width of a face's box."""
    return box_xyxy[2] - box_xyxy[0]


def index_sightings(parts: Parts, tracks: Sequence[str], model: str) -> None:
    """Tell Milvus the templates of sightings that it does not have yet."""
    update_sightings(parts.registry, parts.vectors, parts.keyring, model, ids=tracks)


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
