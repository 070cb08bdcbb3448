"""Footage of the published clips as ingest records it, and the sightings of who is in it, in all stores."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from functools import cache
from pathlib import Path

import av
import cv2
import numpy as np
from av.video.stream import VideoStream

from deploy.local.clips import prepare_clips
from lookout.audit import SYSTEM
from lookout.cameras import create_camera, make_camera
from lookout.faces.assets import AssetCache
from lookout.faces.geometry import expand_box
from lookout.faces.models import open_embedder
from lookout.faces.yunet import YuNet
from lookout.footage.folder import FootageFolder, Piece
from lookout.footage.segments import register_new
from lookout.messages import crop_id, segment_id, track_id
from lookout.sealing import Keyring
from lookout.stores.blobs import Blobs
from lookout.stores.registry import Registry
from lookout.stores.registry.tables import Sighting, StoredCrop
from lookout.stores.templates import pack, sighting_place
from search.parts import Parts
from tests.people import MODEL

#: The clips that `deploy.local.clips` makes are as long; each is one segment.
CLIP_S = 20
#: A face is looked for so often in a clip; those that follow one another are one sighting.
EVERY_S = 0.5


@dataclass(frozen=True, slots=True, eq=False)
class Appearance:
    """Somebody in a clip: seconds, boxes in its pixels, crops with their landmarks, and the sum of embeddings."""

    times_s: tuple[float, ...]
    boxes: tuple[list[float], ...]
    landmarks: tuple[list[list[float]], ...]
    jpegs: tuple[bytes, ...]
    total: np.ndarray


@cache
def appearances(assets: AssetCache, clip: str) -> tuple[Appearance, ...]:
    """Who appears in a camera-like clip (`entrance`: man A, `lobby`: woman B)."""
    detector, embedder = (
        YuNet(assets.model("yunet")),
        open_embedder(assets, MODEL),
    )
    runs: list[list[tuple[float, list[float], list[list[float]], bytes, np.ndarray]]] = []
    last_s = -10.0
    with av.open(str(prepare_clips(assets) / f"{clip}.mp4")) as container:
        for number, frame in enumerate(container.decode(video=0)):
            at_s = number / 25
            if number % round(25 * EVERY_S) or at_s >= CLIP_S:
                continue
            bgr = frame.to_ndarray(format="bgr24").astype(np.uint8, copy=False)
            for found in detector.detect_scaled(bgr, 640)[:1]:
                x1, y1, x2, y2 = expand_box(found.box_xyxy, 2.0, bgr.shape[1], bgr.shape[0])
                _, jpeg = cv2.imencode(".jpg", bgr[y1:y2, x1:x2])
                landmarks = [[x - x1, y - y1] for x, y in found.landmarks.tolist()]
                (template,) = embedder.embed([embedder.align(bgr, found.landmarks)])
                if at_s - last_s > 2 * EVERY_S:
                    runs.append([])
                last_s = at_s
                runs[-1].append((at_s, found.box_xyxy.tolist(), landmarks, jpeg.tobytes(), template))
    made = []
    for run in runs:
        times, boxes, landmarks, jpegs, templates = zip(*run, strict=True)
        made.append(Appearance(times, boxes, landmarks, jpegs, np.sum(templates, axis=0)))
    return tuple(made)


def put_camera(registry: Registry, keyring: Keyring, camera_id: str, **fields: object) -> None:
    """A camera; it is in the group `doors` if nothing else is said."""
    with registry.transaction() as session:
        create_camera(
            session, SYSTEM, keyring, make_camera(**{"id": camera_id, "url": "rtsp://h/x", "group": "doors", **fields})
        )


def record(
    registry: Registry, root: Path, assets: AssetCache, clip: str, camera: str, started_at_us: int, codec: str = "h264"
) -> str:
    """A clip as a segment of a camera's footage; returns its id."""
    folder = FootageFolder(root)
    path = folder.open_folder(camera) / f"{started_at_us}.mp4"
    options = {"movflags": "hybrid_fragmented+frag_keyframe+empty_moov+default_base_moof+negative_cts_offsets"}
    end = Fraction(0)
    with (
        av.open(str(prepare_clips(assets) / f"{clip}.mp4")) as source,
        av.open(str(path), "w", format="mp4", options=options) as output,
    ):
        stream = source.streams.video[0]
        made = output.add_stream_from_template(stream)
        assert isinstance(made, VideoStream)
        for packet in source.demux(stream):
            if packet.dts is None or packet.pts is None or packet.time_base is None:
                continue
            if packet.pts * packet.time_base >= CLIP_S:
                break
            end = max(end, (packet.pts + (packet.duration or 0)) * packet.time_base)
            packet.stream = made
            output.mux(packet)
    folder.finish(path, Piece(camera, started_at_us, started_at_us + int(end * 1_000_000), codec))
    register_new(registry, folder)
    return segment_id(camera, "", started_at_us)


def put_sightings(
    registry: Registry,
    blobs: Blobs,
    keyring: Keyring,
    assets: AssetCache,
    clip: str,
    camera: str,
    started_at_us: int,
    group: str = "doors",
) -> list[str]:
    """The sightings of who appears in a clip, as workers store them; returns their ids. Milvus learns of them later."""
    ids = []
    for number, seen in enumerate(appearances(assets, clip)):
        key = track_id(camera, started_at_us, number)
        times = [started_at_us + int(at_s * 1e6) for at_s in seen.times_s]
        with registry.transaction() as session:
            session.add(
                Sighting(
                    id=key, camera_id=camera, camera_group=group, started_at_us=times[0], ended_at_us=times[-1],
                    model=MODEL, template_sum=pack(seen.total, keyring, sighting_place(key)), best_quality=0.9,
                    created_at_us=times[-1],
                )
            )  # fmt: skip
            session.flush()
            for place, at_us in enumerate(times):
                blob = f"crops/{key}/{place}.jpg"
                blobs.write(blob, seen.jpegs[place])
                # The one in the middle is the best one.
                quality = 0.9 if place == len(times) // 2 else 0.5
                session.add(
                    StoredCrop(
                        id=crop_id(key, place), sighting_id=key, captured_at_us=at_us, quality=quality,
                        box_xyxy=seen.boxes[place], landmarks=seen.landmarks[place], blob=blob,
                    )
                )  # fmt: skip
        ids.append(key)
    return ids


def seed_clip(
    parts: Parts, clip: str, camera: str, started_at_us: int, *, group: str = "doors", footage: bool = True
) -> list[str]:
    """Record a clip, and store who is in it; returns the ids of the sightings."""
    if footage:
        record(parts.registry, parts.settings.footage_folder, parts.assets, clip, camera, started_at_us)
    return put_sightings(parts.registry, parts.blobs, parts.keyring, parts.assets, clip, camera, started_at_us, group)
