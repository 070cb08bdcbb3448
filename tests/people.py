"""The people in the clips and photos: faces cut as ingest cuts them, crops made of them, and man A's enrolment."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import av
import cv2
import numpy as np

from lookout.clock import now_us
from lookout.faces.assets import AssetCache
from lookout.faces.geometry import expand_box
from lookout.faces.models import open_embedder, template_model
from lookout.faces.yunet import YuNet
from lookout.messages import Crop, crop_id, track_id
from lookout.sealing import Keyring
from lookout.settings import Settings
from lookout.stores.blobs import Blobs
from lookout.stores.registry import Registry
from lookout.stores.registry.tables import Target, Watchlist, Webhook, new_id
from lookout.targets import Photo, add_target, read_photos

MODEL = "fusion-320"
#: Base64 of 24 bytes, as the Standard Webhooks specification asks for.
SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
#: Watched where nothing else is said.
CAMERA, GROUP = "entrance", "doors"


@dataclass(frozen=True, slots=True)
class Face:
    """One face of a clip, cut out with a margin."""

    jpeg: bytes
    landmarks: list[tuple[float, float]]
    box_xyxy: tuple[float, float, float, float]


@cache
def man_a(assets: AssetCache) -> list[Face]:
    """Man A, filmed on another day than his photo was taken; the cosines to it are .65, .62, .73, .73."""
    return _faces(assets, "noface_face.mov", (96, 108, 132, 162))


@cache
def woman_b(assets: AssetCache) -> list[Face]:
    """Woman B, who resembles man A's photo by -.1 to .15."""
    return _faces(assets, "WolfgangLanger_Pexels.mp4", (0, 12))


@cache
def _photo_of_man_a(assets: AssetCache) -> Photo:
    embedder = open_embedder(assets, MODEL)
    (photo,) = read_photos([assets.media("single_face.jpg")], YuNet(assets.model("yunet")), embedder)
    return photo


def crop(
    face: Face,
    *,
    track: int = 0,
    number: int = 0,
    camera: str = CAMERA,
    group: str = GROUP,
    at_us: int | None = None,
    seen_at_us: int | None = None,
    quality: float = 1.0,
    deadline_s: float = 60.0,
) -> Crop:
    """A crop of a face, captured now if nothing else is said, of a track that ends with it."""
    captured_at_us = now_us() if at_us is None else at_us
    name = track_id(camera, 0, track)
    return Crop(
        id=crop_id(name, number),
        track_id=name,
        camera_id=camera,
        camera_group=group,
        captured_at_us=captured_at_us,
        track_started_at_us=captured_at_us,
        track_seen_at_us=captured_at_us if seen_at_us is None else seen_at_us,
        deadline_us=now_us() + int(deadline_s * 1e6),
        box_xyxy=face.box_xyxy,
        landmarks=face.landmarks,
        quality=quality,
        jpeg=face.jpeg,
    )


def enrol_man_a(
    registry: Registry,
    blobs: Blobs,
    keyring: Keyring,
    assets: AssetCache,
    *,
    watchlist: str = "wanted",
    camera_groups: Sequence[str] = (),
    strangers: tuple[int, int] = (500, 10_000),
    webhooks: Sequence[str] = (),
) -> Target:
    """Put man A on a new watchlist in the registry; Milvus learns of him by `update_index`."""
    with registry.transaction() as session:
        row = Watchlist(
            id=new_id(),
            name=watchlist,
            purpose="test",
            legal_basis="test",
            possible_strangers=strangers[0],
            likely_strangers=strangers[1],
            camera_groups=list(camera_groups),
            created_at_us=now_us(),
        )
        session.add(row)
        session.flush()
        for url in webhooks:
            webhook_id = new_id()
            secret = keyring.seal(SECRET.encode(), f"webhooks/{webhook_id}")
            session.add(Webhook(id=webhook_id, watchlist_id=row.id, url=url, secret=secret, created_at_us=now_us()))
    photos = [_photo_of_man_a(assets)]
    model = template_model(Settings(), MODEL)
    return add_target(registry, blobs, keyring, watchlist=watchlist, name="man A", photos=photos, model=model)


def _faces(assets: AssetCache, clip: str, frames: Sequence[int]) -> list[Face]:
    detector = YuNet(assets.model("yunet"))
    faces = []
    with av.open(str(assets.media(clip))) as container:
        for index, frame in enumerate(container.decode(video=0)):
            if index in frames:
                bgr = frame.to_ndarray(format="bgr24").astype(np.uint8, copy=False)
                (found,) = detector.detect_scaled(bgr, 640)
                x1, y1, x2, y2 = expand_box(found.box_xyxy, 2.0, bgr.shape[1], bgr.shape[0])
                encoded, jpeg = cv2.imencode(".jpg", bgr[y1:y2, x1:x2])
                assert encoded
                left, top, right, bottom = found.box_xyxy.tolist()
                landmarks = [(x - x1, y - y1) for x, y in found.landmarks.tolist()]
                faces.append(Face(jpeg.tobytes(), landmarks, (left, top, right, bottom)))
            if index >= max(frames):
                break
    assert len(faces) == len(frames)
    return faces
