"""Privacy masks on real pictures: who stands under one is not found, and no pixel of it is seen."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field

import av
import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from ingest.activity import Activity
from ingest.analysis import Analysis
from ingest.motion import HEIGHT, WIDTH, MotionGate
from ingest.pixels import pixels_of
from ingest.source import Frame
from lookout.camera_settings import Camera, Polygon
from lookout.faces.assets import AssetCache
from lookout.faces.detector import Detector
from lookout.faces.yunet import YuNet
from lookout.masks import Masks
from lookout.messages import Crop

BEGAN_US = 1_800_000_000_000_000
NUMBERS = itertools.count()
#: JPEG's ringing on black.
BLACK = 24


@pytest.fixture(scope="module")
def detector(assets: AssetCache) -> Detector:
    return YuNet(assets.model("yunet"))


@pytest.fixture(scope="module")
def photo(assets: AssetCache) -> NDArray[np.uint8]:
    """A man, 720 px high or wide, twice side by side."""
    pixels = cv2.imread(str(assets.media("single_face.jpg")))
    assert pixels is not None
    scale = 720 / max(pixels.shape[:2])
    width, height = (round(side * scale / 2) * 2 for side in pixels.shape[1::-1])
    one = cv2.resize(pixels, (width, height), interpolation=cv2.INTER_AREA)
    return np.hstack([one, one]).astype(np.uint8)


def rectangle(left: float, top: float, right: float, bottom: float) -> Polygon:
    return ((left, top), (right, top), (right, bottom), (left, bottom))


@dataclass
class Seen:
    """What came of a few frames of a picture."""

    crops: list[Crop] = field(default_factory=list)
    frames: list[bytes] = field(default_factory=list)
    activity: Activity = field(default_factory=Activity)

    def publish(self, crop: Crop, frame_jpeg: bytes) -> None:
        self.crops.append(crop)
        self.frames.append(frame_jpeg)


def watch(photo: NDArray[np.uint8], detector: Detector, *masks: Polygon) -> Seen:
    seen = Seen()
    camera = Camera(id=f"mask-{next(NUMBERS)}", url="rtsp://host/x", masks=masks)
    analysis = Analysis(camera, detector, seen.publish, seen.activity, crop_deadline_s=60)
    for number in range(3):
        shown = av.VideoFrame.from_ndarray(photo, format="bgr24").reformat(format="yuv420p")
        analysis.process(Frame(shown, BEGAN_US + number * 200_000, 0, 0))
    analysis.finish()
    return seen


def decoded(jpeg: bytes) -> NDArray[np.uint8]:
    pixels = cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR)
    assert pixels is not None
    return pixels.astype(np.uint8)


def test_without_masks_both_are_found(photo: NDArray[np.uint8], detector: Detector) -> None:
    seen = watch(photo, detector)

    assert len({crop.track_id for crop in seen.crops}) == 2
    assert seen.activity.picture is not None
    assert [face.sent for face in seen.activity.picture.faces] == [True, True]
    for crop, jpeg in zip(seen.crops, seen.frames, strict=True):
        frame = decoded(jpeg)
        assert frame.shape[1] == min(960, photo.shape[1])
        left, top, right, bottom = crop.frame_box
        box = crop.box_xyxy
        assert (left * photo.shape[1], bottom * photo.shape[0]) == pytest.approx((box[0], box[3]), abs=0.5)
        assert left < right
        assert top < bottom
    assert len({crop.frame_id for crop in seen.crops}) < len(seen.crops), "one frame for those cut from it"


def test_who_stands_under_a_mask_is_not_found(photo: NDArray[np.uint8], detector: Detector) -> None:
    seen = watch(photo, detector, rectangle(0, 0, 0.5, 1))

    assert len({crop.track_id for crop in seen.crops}) == 1
    assert seen.crops[0].box_xyxy[0] > photo.shape[1] / 2
    assert seen.activity.picture is not None
    assert len(seen.activity.picture.faces) == 1
    for jpeg in (*seen.frames, seen.activity.picture.jpeg):
        frame = decoded(jpeg)
        middle = frame.shape[1] // 2
        assert frame[:, :middle].max() < BLACK
        assert frame[:, middle + 16 :].mean() > 40
    assert watch(photo, detector, rectangle(0, 0, 1, 1)).crops == []


def test_a_face_whose_middle_is_masked_is_not_followed(photo: NDArray[np.uint8], detector: Detector) -> None:
    left, top, right, bottom = watch(photo, detector).crops[0].frame_box
    x, y = (left + right) / 2, (top + bottom) / 2

    seen = watch(photo, detector, rectangle(x - 0.003, y - 0.003, x + 0.003, y + 0.003))

    assert all(not (crop.frame_box[0] < x < crop.frame_box[2]) for crop in seen.crops)
    assert seen.crops, "the other one is"


def test_a_mask_beside_a_face_is_black_in_its_crop(photo: NDArray[np.uint8], detector: Detector) -> None:
    first = min(watch(photo, detector).crops, key=lambda crop: crop.frame_box[0])
    left, top, _, bottom = first.frame_box

    seen = watch(photo, detector, rectangle(0, 0, left - 0.005, 1), rectangle(0.5, 0, 1, 1))

    [crop, *_] = seen.crops
    cut = decoded(crop.jpeg)
    share = 0.5 * (1 - 1 / 2) * 0.6  # the crop shows twice the face, so a quarter of it lies left of the face
    masked = cut[:, : round(cut.shape[1] * share)]
    assert masked.max() < BLACK
    assert cut[cut.shape[0] // 3 : -cut.shape[0] // 3, cut.shape[1] // 3 : -cut.shape[1] // 3].mean() > 40
    assert crop.frame_box == pytest.approx((left, top, first.frame_box[2], bottom), abs=0.03)


@pytest.mark.parametrize("size", [(1920, 1080), (640, 360), (64, 36), (3, 2)])
def test_whatever_the_mask_touches_is_black(size: tuple[int, int]) -> None:
    width, height = size
    masks = Masks((((0.1, 0.1), (0.62, 0.2), (0.33, 0.81)),))
    white = np.full((height, width, 3), 255, np.uint8)

    filled = masks.fill(white)

    for x, y in [(0.1, 0.1), (0.62, 0.2), (0.33, 0.81), (0.35, 0.4)]:
        column, row = min(width - 1, int(x * width)), min(height - 1, int(y * height))
        assert not filled[row, column].any()
        assert masks.hide(x * width, y * height, width, height)
    if width > 3:
        assert filled[int(height * 0.95), int(width * 0.95)].all()
        assert not masks.hide(0.95 * width, 0.95 * height, width, height)
    assert white.all(), "the picture itself stays as it was"
    cut = masks.fill_cut(white[height // 4 :, width // 4 :], (width // 4, height // 4), width, height)
    assert (cut == filled[height // 4 :, width // 4 :]).all()


@pytest.mark.parametrize("masked", [True, False])
def test_what_moves_under_a_mask_opens_no_gate(masked: bool) -> None:
    masks = Masks((rectangle(0.2, 0.2, 0.6, 0.7),) if masked else ())
    gate = MotionGate()
    noise = np.random.default_rng(7)

    opened = []
    for number in range(60):
        scene = np.full((1080, 1920, 3), 90, np.uint8)
        scene[216:756, 384:1152] = noise.integers(0, 255, (540, 768, 1), np.uint8) // 2 + (number % 2) * 120
        frame = av.VideoFrame.from_ndarray(scene, format="bgr24").reformat(format="yuv420p")
        luma = masks.fill(pixels_of(frame, "gray", WIDTH, HEIGHT))
        opened.append(gate.is_open(luma, BEGAN_US + number * 200_000))

    # The scene is looked at while it is new, for two seconds, and then every five.
    assert sum(opened) <= 15 if masked else all(opened)


def test_another_size_is_drawn_anew() -> None:
    masks = Masks((rectangle(0, 0, 0.5, 1),))
    masks.fill(np.full((10, 10), 9, np.uint8))
    masks.forget_sizes()

    assert masks.fill(np.full((20, 20), 9, np.uint8))[:, 12:].all()
