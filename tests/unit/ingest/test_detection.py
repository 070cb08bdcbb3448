from __future__ import annotations

import logging
from types import SimpleNamespace
from typing import cast

import numpy as np
import pytest
from numpy.typing import NDArray

from ingest import detection, main
from ingest.detection import RETRY_S, ChosenDetector
from ingest.main import Published
from lookout.camera_settings import Camera
from lookout.errors import AssetError, NotFoundError, UnavailableError
from lookout.faces.detector import SCORE_THRESHOLD, Detection, Detector
from lookout.settings import Settings
from lookout.stores.cameras import CameraBoard, CameraSet

BLACK = np.zeros((4, 4, 3), np.uint8)


class FakeDetector(Detector):
    """Finds one face, whose box says which detector found it and from which score on."""

    def __init__(self, name: str) -> None:
        self.name = name

    def detect(self, bgr: NDArray[np.uint8], *, score_threshold: float = SCORE_THRESHOLD) -> list[Detection]:
        box = np.array([len(self.name), *bgr.shape], np.float32)
        return [Detection(box, np.zeros((5, 2), np.float32), score_threshold)]


class Stage:
    """Which detectors can be loaded, and what time it is."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 1000.0
        self.broken: dict[str, Exception] = {}
        self.asked: list[str] = []
        monkeypatch.setattr(detection, "load_detector", self.load)
        monkeypatch.setattr(detection, "time", SimpleNamespace(monotonic=lambda: self.now))
        self.chosen = ChosenDetector(Settings())

    def load(self, _settings: Settings, name: str) -> Detector:
        self.asked.append(name)
        if name in self.broken:
            raise self.broken[name]
        return FakeDetector(name)

    @property
    def used(self) -> float:
        """How long the name of the detector in use is."""
        (found,) = self.chosen.detect(BLACK)
        return float(found.box_xyxy[0])


@pytest.fixture
def stage(monkeypatch: pytest.MonkeyPatch) -> Stage:
    return Stage(monkeypatch)


def test_before_one_is_chosen_nobody_can_detect(stage: Stage) -> None:
    with pytest.raises(RuntimeError, match="no detector was chosen"):
        stage.chosen.detect(BLACK)


def test_the_chosen_one_detects_as_it_is_told(stage: Stage) -> None:
    assert stage.chosen.choose("yunet")

    (found,) = stage.chosen.detect(np.zeros((6, 8, 3), np.uint8), score_threshold=0.75)

    assert (found.box_xyxy.tolist(), found.score) == ([5, 6, 8, 3], 0.75)
    (found,) = stage.chosen.detect_scaled(np.zeros((40, 80, 3), np.uint8), 8)
    assert found.box_xyxy.tolist() == [50, 40, 80, 30], "found on a copy a tenth as large"


def test_it_is_loaded_once_and_again_when_it_changes(stage: Stage) -> None:
    for name in ("yunet", "yunet", "mtcnn!", "mtcnn!", "yunet"):
        assert stage.chosen.choose(name)
        assert stage.used == len(name)
    assert stage.asked == ["yunet", "mtcnn!", "yunet"]


@pytest.mark.parametrize("error", [AssetError("nothing can be downloaded."), NotFoundError("no such detector.")])
def test_one_that_cannot_be_loaded_is_tried_again_after_a_while(
    stage: Stage, caplog: pytest.LogCaptureFixture, error: Exception
) -> None:
    assert stage.chosen.choose("yunet")
    stage.broken["mtcnn!"] = error

    for later in (0.0, RETRY_S / 2, RETRY_S - 0.1):
        stage.now = 1000.0 + later
        assert stage.chosen.choose("mtcnn!"), "the one before works on"
        assert stage.used == len("yunet")
    assert stage.asked == ["yunet", "mtcnn!"]
    assert f"the detector mtcnn! cannot be used: {error}" in caplog.text

    stage.now = 1000.0 + RETRY_S
    assert stage.chosen.choose("mtcnn!")
    assert stage.asked[2:] == ["mtcnn!"]
    stage.broken.clear()
    assert stage.chosen.choose("mtcnn!")
    assert stage.used == len("yunet"), "it waits again"
    stage.now += RETRY_S
    assert stage.chosen.choose("mtcnn!")
    assert stage.used == len("mtcnn!")


def test_without_any_there_is_nothing_to_work_with_until_one_is_there(stage: Stage) -> None:
    stage.broken["yunet"] = AssetError("gone")
    assert not stage.chosen.choose("yunet")
    with pytest.raises(RuntimeError):
        stage.chosen.detect(BLACK)
    stage.broken.clear()
    stage.now += RETRY_S
    assert stage.chosen.choose("yunet")


def test_a_defect_is_not_taken_for_a_model_that_is_missing(stage: Stage) -> None:
    stage.broken["yunet"] = ZeroDivisionError()
    with pytest.raises(ZeroDivisionError):
        stage.chosen.choose("yunet")


# --- what ingest is told ---


class FakeBoard:
    """Where a set of cameras is published; what is stored is its number."""

    def __init__(self) -> None:
        self.sets: list[CameraSet | None] = []
        self.away = False

    def put(self, detector: str, *cameras: str) -> None:
        found = [Camera(id=one, url="rtsp://host/") for one in cameras]
        self.sets.append(CameraSet(version=len(self.sets), cameras=found, detector=detector))

    def sealed(self) -> bytes | None:
        if self.away:
            raise UnavailableError("gone")
        return str(len(self.sets)).encode() if self.sets else None

    def read(self, sealed: bytes | None) -> CameraSet | None:
        assert sealed is not None
        return self.sets[int(sealed) - 1]


@pytest.fixture
def board() -> FakeBoard:
    return FakeBoard()


@pytest.fixture
def published(stage: Stage, board: FakeBoard) -> Published:
    return Published(cast("CameraBoard", board), stage.chosen)


def test_ingest_follows_cameras_and_their_detector(stage: Stage, board: FakeBoard, published: Published) -> None:
    published.read()
    assert (published.cameras, stage.asked) == ({}, []), "nothing was published yet"

    board.put("yunet", "a", "b")
    published.read()
    assert (set(published.cameras), stage.used) == ({"a", "b"}, len("yunet"))

    board.put("mtcnn!", "a")
    published.read()
    assert (set(published.cameras), stage.used) == ({"a"}, len("mtcnn!"))
    published.read()
    assert stage.asked == ["yunet", "mtcnn!"]


def test_cameras_wait_for_a_first_detector(stage: Stage, board: FakeBoard, published: Published) -> None:
    stage.broken["yunet"] = AssetError("gone")
    board.put("yunet", "a")
    published.read()
    assert published.cameras == {}

    stage.broken.clear()
    stage.now += RETRY_S
    published.read()  # nothing new was published
    assert set(published.cameras) == {"a"}


def test_cameras_change_also_where_the_next_detector_cannot_be_loaded(
    stage: Stage, board: FakeBoard, published: Published
) -> None:
    board.put("yunet", "a")
    published.read()
    stage.broken["mtcnn!"] = AssetError("gone")

    board.put("mtcnn!", "b")
    published.read()

    assert (set(published.cameras), stage.used) == ({"b"}, len("yunet"))


def test_what_was_told_last_holds_on(
    stage: Stage, board: FakeBoard, published: Published, caplog: pytest.LogCaptureFixture
) -> None:
    board.put("yunet", "a")
    published.read()

    board.sets.append(None)  # it cannot be opened
    with caplog.at_level(logging.ERROR, main.__name__):
        published.read()
        published.read()
    assert (set(published.cameras), stage.used) == ({"a"}, len("yunet"))
    assert len(caplog.records) == 1, "said once"

    board.away = True
    with pytest.raises(UnavailableError):
        published.read()
    board.away, board.sets = False, []
    published.read()
    assert set(published.cameras) == {"a"}
