from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable
from typing import cast

import av
import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from prometheus_client import REGISTRY

from ingest import activity as activity_module
from ingest import analysis as analysis_module
from ingest.activity import Activity
from ingest.analysis import LANDMARK_PX, MAX_CROP_PX, Analysis
from ingest.source import Frame
from lookout.camera_settings import Camera, Polygon
from lookout.clock import now_us
from lookout.faces.alignment import TEMPLATES
from lookout.faces.detector import Detection, Detector
from lookout.faces.quality import Quality
from lookout.messages import Crop, crop_id, frame_id, track_id

BEGAN_US = 1_800_000_000_000_000
WIDTH, HEIGHT, FPS = 1280, 720, 25
#: Detector scores, and with everything else perfect the quality of a face. 0.8 is just usable.
POOR, FAIR, GOOD = 0.75, 0.824, 0.92
QUALITY = {FAIR: 0.6, GOOD: 1.0}

#: Metrics outlive a test.
NUMBERS = itertools.count()


def picture(width: int = WIDTH, height: int = HEIGHT, *, seed: int = 0) -> av.VideoFrame:
    """A sharp and bright picture, in the format that cameras send."""
    noise = np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)
    return av.VideoFrame.from_ndarray(noise, format="bgr24").reformat(format="yuv420p")


#: What it shows does not matter, the detections are scripted; all frames of a still scene are the same.
STILL = picture()


def face(x: float = 600, y: float = 300, width: float = 120, score: float = FAIR) -> Detection:
    """A frontal face with its top left corner at a point."""
    size, template = TEMPLATES["arcface112"]
    return Detection(
        np.array([x, y, x + width, y + width], np.float32),
        (template / size * width + np.array([x, y])).astype(np.float32),
        score,
    )


class ScriptedDetector:
    """Finds what it is told, in coordinates of the full-size frame."""

    def __init__(self, width: int = WIDTH) -> None:
        self.width = width
        self.faces: list[Detection] = []
        self.searched: list[tuple[int, int]] = []
        self.look_again: Callable[[NDArray[np.uint8]], list[Detection]] = lambda *_: []

    def detect(self, bgr: NDArray[np.uint8]) -> list[Detection]:
        self.searched.append((bgr.shape[1], bgr.shape[0]))
        return [one.scaled(bgr.shape[1] / self.width) for one in self.faces]

    def detect_scaled(self, bgr: NDArray[np.uint8], longest_side_px: int) -> list[Detection]:
        assert longest_side_px == LANDMARK_PX
        return self.look_again(bgr)


class Scene:
    """A camera in front of which faces come and go."""

    def __init__(
        self,
        *,
        fps: float = 5.0,
        width: int = WIDTH,
        name: str | None = None,
        masks: tuple[Polygon, ...] = (),
        matched_only: bool = False,
    ) -> None:
        self.camera = Camera(
            id=name or f"scene-{next(NUMBERS)}",
            group="hall",
            url="rtsp://host/x",
            analysed_fps=fps,
            masks=masks,
            matched_only=matched_only,
        )
        self.detector = ScriptedDetector(width)
        self.crops: list[Crop] = []
        self.frame_of: dict[str, bytes] = {}
        self.activity = Activity()
        self.analysis = Analysis(
            self.camera, cast("Detector", self.detector), self.publish, self.activity, crop_deadline_s=60
        )
        self.frames = 0

    def publish(self, crop: Crop, frame_jpeg: bytes) -> None:
        self.crops.append(crop)
        self.frame_of[crop.id] = frame_jpeg

    def show(
        self, seconds: float, faces: Iterable[Detection] = (), *, shown: av.VideoFrame = STILL, behind_us: int = 0
    ) -> list[Crop]:
        """Some seconds of the same faces; returns the crops that were published."""
        self.detector.faces = list(faces)
        before = len(self.crops)
        for _ in range(round(seconds * FPS)):
            self.analysis.process(Frame(shown, self.now_us, behind_us, 0))
            self.frames += 1
        return self.crops[before:]

    def finish(self) -> list[Crop]:
        before = len(self.crops)
        self.analysis.finish()
        return self.crops[before:]

    @property
    def now_us(self) -> int:
        """Capture time of the next frame."""
        return BEGAN_US + self.frames * 1_000_000 // FPS

    def count(self, name: str, **labels: str) -> float:
        return REGISTRY.get_sample_value(f"lookout_{name}_total", {"camera": self.camera.id, **labels}) or 0.0


def test_the_first_usable_crop_comes_at_once() -> None:
    scene = Scene()
    assert scene.show(0.4) == []

    [crop] = scene.show(0.04, [face(score=GOOD)])

    assert crop.captured_at_us == crop.track_started_at_us == crop.track_seen_at_us == BEGAN_US + 400_000
    assert (crop.camera_id, crop.camera_group) == (scene.camera.id, "hall")
    assert crop.quality == QUALITY[GOOD]
    assert crop.box_xyxy == pytest.approx((600, 300, 720, 420), abs=0.1)
    assert abs(crop.deadline_us - now_us() - 60_000_000) < 5_000_000


def test_never_every_frame_and_the_last_at_the_end() -> None:
    scene = Scene()

    assert len(scene.show(5, [face()])) == 1
    [last] = scene.finish()

    assert scene.count("frames_analysed") == 25
    assert scene.count("faces_detected") == 25
    assert last.captured_at_us > BEGAN_US
    assert last.track_seen_at_us == BEGAN_US + 4_800_000
    assert last.track_id == scene.crops[0].track_id
    assert scene.finish() == []


def test_a_clearly_better_one_later() -> None:
    scene = Scene()
    scene.show(1, [face(score=FAIR)])

    [better] = scene.show(0.2, [face(score=GOOD)])

    assert scene.crops[0].quality == pytest.approx(QUALITY[FAIR], abs=0.01)
    assert better.quality == QUALITY[GOOD]
    assert better.captured_at_us == BEGAN_US + 1_000_000
    assert scene.show(3, [face(score=GOOD)]) == []


def test_the_best_at_the_end() -> None:
    scene = Scene()
    scene.show(1, [face(score=GOOD)])
    for score in (0.85, 0.88, 0.84):
        scene.show(1, [face(score=score)])

    assert len(scene.crops) == 1
    [best] = scene.show(4)

    assert best.captured_at_us == BEGAN_US + 200_000, "the best since the first, which was published"
    assert best.track_seen_at_us == BEGAN_US + 3_800_000
    assert scene.finish() == []


def test_a_long_track_is_heard_of_now_and_then() -> None:
    scene = Scene()

    crops = scene.show(25, [face()])

    seconds = [(crop.track_seen_at_us - BEGAN_US) / 1e6 for crop in crops]
    assert seconds == [0, 10, 20]
    assert len({crop.track_id for crop in crops}) == 1


def test_ids_are_derived_and_stable() -> None:
    def run() -> list[Crop]:
        scene = Scene(name="stable")
        scene.show(0.4)
        scene.show(1, [face()])
        scene.show(1, [face(score=GOOD), face(100, 100)])
        scene.finish()
        return scene.crops

    first, again = run(), run()

    man = track_id("stable", BEGAN_US + 400_000, 1)
    woman = track_id("stable", BEGAN_US + 1_400_000, 2)
    assert [crop.track_id for crop in first] == [man, man, woman, man, woman]
    assert [crop.id for crop in first] == [
        crop_id(man, 0),
        crop_id(man, 1),
        crop_id(woman, 0),
        crop_id(man, 2),
        crop_id(woman, 1),
    ]
    assert [crop.id for crop in again] == [crop.id for crop in first]
    assert [crop.jpeg for crop in again] == [crop.jpeg for crop in first]


def test_of_a_track_without_a_usable_face_the_best_comes_at_the_end() -> None:
    scene = Scene()

    assert scene.show(1, [face(score=0.72)]) == []
    assert scene.show(1, [face(score=0.74)]) == []
    scene.finish()

    [crop] = scene.crops
    assert 0.25 < crop.quality < 0.5
    assert crop.captured_at_us >= BEGAN_US + 1_000_000, "the best of them"


def test_a_usable_face_replaces_poor_ones() -> None:
    scene = Scene()
    assert scene.show(1, [face(score=0.72)]) == []

    [crop] = scene.show(0.2, [face()])
    scene.show(1, [face(score=0.72)])
    scene.finish()

    assert scene.crops == [crop]


def test_what_is_hardly_a_face_is_never_published() -> None:
    scene = Scene()

    scene.show(3, [face(score=0.66), face(100, 100, width=20, score=GOOD)])
    scene.finish()

    assert scene.count("faces_detected") == 30
    assert scene.crops == []


def test_a_face_becomes_usable() -> None:
    scene = Scene()
    assert scene.show(1, [face(score=POOR)]) == []

    [crop] = scene.show(0.2, [face()])

    assert crop.track_started_at_us == BEGAN_US
    assert crop.captured_at_us == BEGAN_US + 1_000_000


def test_still_scenes_are_skipped() -> None:
    scene = Scene()

    scene.show(32)

    # The first 2 s, as the scene is new, and then every 5 s.
    assert len(scene.detector.searched) == scene.count("frames_analysed") == 11 + 5
    assert scene.count("frames_skipped", reason="still") == 32 * 5 - 16


def test_a_moving_scene_is_not_skipped() -> None:
    scene = Scene()
    scene.show(10)
    before = len(scene.detector.searched)

    scene.show(0.2, shown=av.VideoFrame.from_ndarray(np.zeros((HEIGHT, WIDTH, 3), np.uint8), format="bgr24"))

    assert len(scene.detector.searched) == before + 1


def test_a_face_that_keeps_still_is_followed_and_found_in_a_still_scene() -> None:
    scene = Scene()
    scene.show(10)
    assert scene.show(5.2, [face()]), "a search every 5 s finds it, though nothing moves"

    before = len(scene.detector.searched)
    scene.show(2, [face()])
    assert len(scene.detector.searched) == before + 10, "who is followed is looked at in each sampled frame"


def test_late_frames_are_skipped() -> None:
    scene = Scene()
    scene.show(1, [face()], behind_us=2_000_001)

    assert scene.detector.searched == []
    assert scene.count("frames_skipped", reason="late") == 5
    assert len(scene.show(1, [face()], behind_us=2_000_000)) == 1


@pytest.mark.parametrize(("fps", "analysed"), [(0.1, 2), (0.5, 7), (1, 13), (5, 63), (12.5, 156), (25, 313), (30, 313)])
def test_how_many_frames_are_searched(fps: float, analysed: int) -> None:
    scene = Scene(fps=fps)

    scene.show(12.5, [face(score=POOR)])

    assert abs(len(scene.detector.searched) - analysed) <= 1


def test_a_clock_that_is_set_back() -> None:
    scene = Scene()
    scene.show(2, [face()])
    scene.frames -= 3600 * FPS

    scene.show(2, [face()])

    assert len(scene.detector.searched) == 20


def test_another_picture_size_ends_the_tracks() -> None:
    scene = Scene()
    [before] = scene.show(1, [face()])

    scene.detector.width = 640
    ended, after = scene.show(1, [face(300, 150, width=100)], shown=picture(640, 480))

    assert ended.track_id == before.track_id
    assert ended.track_seen_at_us == BEGAN_US + 800_000
    assert after.track_id == track_id(scene.camera.id, BEGAN_US + 1_000_000, 2)
    assert scene.detector.searched == [(640, 360)] * 5 + [(640, 480)] * 5


@pytest.mark.parametrize(
    ("size", "searched"),
    [((1920, 1080), (640, 360)), ((640, 480), (640, 480)), ((320, 240), (320, 240)), ((722, 577), (640, 511))],
)
def test_the_search_is_on_a_reduced_copy(size: tuple[int, int], searched: tuple[int, int]) -> None:
    scene = Scene(width=size[0])

    [crop] = scene.show(0.2, [face(100, 50)], shown=picture(*size))

    assert scene.detector.searched == [searched]
    assert crop.box_xyxy == pytest.approx((100, 50, 220, 170), abs=0.2), "pixels of the full-size frame"


def test_pictures_smaller_than_the_motion_gates() -> None:
    scene = Scene(width=2)

    assert scene.show(1, shown=picture(2, 2)) == []
    assert scene.show(1, [face(0, 0, 2)], shown=picture(2, 2)) == []
    assert scene.detector.searched == [(2, 2)] * 10


def landmarks_in_jpeg(crop: Crop) -> tuple[NDArray[np.uint8], NDArray[np.float64]]:
    pixels = cv2.imdecode(np.frombuffer(crop.jpeg, np.uint8), cv2.IMREAD_GRAYSCALE)
    assert pixels is not None
    return pixels.astype(np.uint8), np.array(crop.landmarks)


@settings(deadline=None, max_examples=60)
@given(
    size=st.sampled_from([(1280, 720), (1920, 1080), (640, 480), (352, 288)]),
    place=st.tuples(st.floats(0, 1), st.floats(0, 1)),
    share=st.floats(0.1, 1),
)
def test_landmarks_lie_where_the_face_is_in_the_crop(
    size: tuple[int, int], place: tuple[float, float], share: float
) -> None:
    width = share * size[1]
    one = face(place[0] * (size[0] - width), place[1] * (size[1] - width), width)
    shown = np.zeros((size[1], size[0], 3), np.uint8)
    for x, y in one.landmarks:
        cv2.circle(shown, (round(float(x)), round(float(y))), max(2, round(width / 40)), (255, 255, 255), -1)
    scene = Scene(width=size[0])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(analysis_module, "assess", lambda *_: Quality(0.9, ()))
        [crop] = scene.show(0.04, [one], shown=av.VideoFrame.from_ndarray(shown, format="bgr24"))

    pixels, landmarks = landmarks_in_jpeg(crop)
    height_px, width_px = pixels.shape
    assert max(height_px, width_px) <= MAX_CROP_PX
    assert landmarks.shape == (5, 2)
    assert (landmarks >= 0).all()
    assert (landmarks <= [width_px - 1, height_px - 1]).all()
    for x, y in landmarks.round().astype(int):
        assert pixels[y, x] > 128, "the dot that was drawn at that landmark"


@pytest.mark.parametrize(
    ("moved_px", "score", "used"),
    [(0, 0.9, True), (20, 0.9, True), (90, 0.9, False)],
)
def test_landmarks_are_looked_for_again_on_the_crop(moved_px: float, score: float, used: bool) -> None:
    scene = Scene()
    shift = np.float32(1.5)

    def look_again(crop: NDArray[np.uint8]) -> list[Detection]:
        assert crop.shape == (240, 240, 3), "twice the face"
        there = face(60 + moved_px, 60, 120)
        return [face(0, 0, 30), Detection(there.box_xyxy, there.landmarks + shift, score)]

    scene.detector.look_again = look_again
    [crop] = scene.show(0.04, [face()])

    expected = face(60, 60, 120).landmarks
    found = face(60 + moved_px, 60, 120).landmarks + shift
    assert np.array(crop.landmarks) == pytest.approx(found if used else expected, abs=0.01)


def test_the_crop_shows_twice_the_face() -> None:
    scene = Scene()

    crop, large = scene.show(0.04, [face(600, 300, 120), face(100, 100, 400)])

    assert landmarks_in_jpeg(crop)[0].shape == (240, 240)
    assert max(landmarks_in_jpeg(large)[0].shape) == MAX_CROP_PX


def test_a_crop_brings_its_frame_and_a_picture_is_put_up_now_and_then(monkeypatch: pytest.MonkeyPatch) -> None:
    scene = Scene(matched_only=True)
    [crop] = scene.show(0.2, [face(600, 300, 120)])

    assert crop.matched_only
    assert crop.frame_box == pytest.approx((600 / WIDTH, 300 / HEIGHT, 720 / WIDTH, 420 / HEIGHT), abs=1e-3)
    shown = cv2.imdecode(np.frombuffer(scene.frame_of[crop.id], np.uint8), cv2.IMREAD_COLOR)
    assert shown is not None
    assert shown.shape == (540, 960, 3)
    assert (scene.activity.analysed, scene.activity.faces) == (1, 1)

    picture = scene.activity.take_picture()
    assert picture is not None
    assert picture.jpeg == scene.frame_of[crop.id], "encoded once"
    assert [(one.box, one.sent) for one in picture.faces] == [(crop.frame_box, True)]
    scene.show(1, [face()])
    assert scene.activity.take_picture() is None, "not more often than every two seconds"
    monkeypatch.setattr(activity_module, "PICTURE_EVERY_S", 0.0)
    scene.show(0.2, [face(score=POOR)])
    assert scene.activity.take_picture() is not None


def test_what_is_kept_for_later_keeps_its_own_frame() -> None:
    scene = Scene()
    scene.show(1, [face(score=GOOD)])
    scene.show(1, [face(score=0.9)], shown=picture(seed=1))
    [crop] = scene.finish()

    [first, last] = scene.crops
    assert (first.frame_id, last.frame_id) == (frame_id(scene.camera.id, first.captured_at_us), crop.frame_id)
    assert first.frame_id != last.frame_id
    assert scene.frame_of[first.id]
    assert scene.frame_of[last.id]
