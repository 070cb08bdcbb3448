"""One camera's frames to crops: sample, motion, detect, track, best shot."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import cv2
import numpy as np
from av.video.frame import VideoFrame
from numpy.typing import NDArray

from ingest.activity import Activity
from ingest.bestshot import BestShot, Choice
from ingest.motion import HEIGHT, WIDTH, MotionGate
from ingest.pixels import pixels_of
from ingest.snapshot import Box, Snapshot
from ingest.source import Frame
from ingest.tracker import Track, Tracker
from lookout.camera_settings import Camera
from lookout.clock import now_us
from lookout.faces.detector import Detection, Detector
from lookout.faces.geometry import expand_box, iou_matrix
from lookout.faces.quality import assess
from lookout.masks import Masks
from lookout.messages import Crop, crop_id, frame_id, track_id
from lookout.metrics import FACES_DETECTED, FRAMES_ANALYSED, FRAMES_SKIPPED
from lookout.stores.cameras import CameraPicture, SeenFace

#: Width of the copy that is searched: finds faces of 36 px in a 1080p frame (recall 0.99 at 12 px on the copy).
SEARCH_WIDTH = 640
#: A frame that comes this much later than it should is not searched, so that ingest catches up.
MAX_BEHIND_US = 2_000_000
#: A frame that is due later than this and its interval shows that the camera's clock was set back.
CLOCK_JITTER_US = 1_000_000
#: A crop shows twice the face's box, as the second look at the landmarks needs some surroundings.
CROP_FACTOR = 2.0
#: Longest side of a stored crop: a face of 240 px.
MAX_CROP_PX = 480
#: Longest side of the copy on which a crop's landmarks are found again.
LANDMARK_PX = 256
JPEG_QUALITY = 92


@dataclass(frozen=True, slots=True, eq=False)
class Shot:
    """A face cut from a full-size frame, not yet encoded.

    Attributes:
        bgr: the cut, `(h, w, 3)`.
        origin: its top left pixel in the frame.
        detection: the face in the frame.
        captured_at_us: when.
        frame_jpeg: the whole frame, reduced.
        frame_box: the face in it, as shares.
    """

    bgr: NDArray[np.uint8]
    origin: tuple[int, int]
    detection: Detection
    captured_at_us: int
    frame_jpeg: bytes
    frame_box: Box


class Publish(Protocol):
    """Takes a crop, and the frame that it names."""

    def __call__(self, crop: Crop, frame_jpeg: bytes, /) -> None:
        """Send it on."""


class Analysis:
    """State of one connection to one camera. For one thread."""

    def __init__(
        self,
        camera: Camera,
        detector: Detector,
        publish: Publish,
        activity: Activity,
        *,
        crop_deadline_s: float,
        video_id: str = "",
        part: int = 0,
    ) -> None:
        """Begin.

        Args:
            camera: whose frames they are.
            detector: finds faces.
            publish: takes the crops.
            activity: counts.
            crop_deadline_s: how long a crop may wait for a worker.
            video_id: the handed-in video that they are of; empty: they are live.
            part: which part of it. Of the same frames of a part the same ids are made.
        """
        self._camera = camera
        self._video_id = video_id
        #: What the ids of tracks and frames are derived from.
        self._place = f"{camera.id}/{video_id}/{part}" if video_id else camera.id
        self._activity = activity
        self._masks = Masks(camera.masks)
        self._detector = detector
        self._publish = publish
        self._deadline_us = int(crop_deadline_s * 1e6)
        self._gate = MotionGate()
        self._tracker = Tracker()
        self._shots: dict[int, BestShot[Shot]] = {}
        self._ids: dict[int, str] = {}
        self._crops: dict[int, int] = {}
        self._interval_us = int(1e6 / camera.analysed_fps)
        self._due_at_us = 0
        self._size = (0, 0)

    def is_due(self, at_us: int) -> bool:
        """Whether a frame of that time would be looked at; the others need not be turned or converted."""
        return not 0 < self._due_at_us - at_us <= self._interval_us + CLOCK_JITTER_US

    def process(self, frame: Frame) -> None:
        """Take the next decoded frame."""
        at_us, interval_us = frame.captured_at_us, self._interval_us
        if not self.is_due(at_us):
            return
        on_time = 0 <= at_us - self._due_at_us < interval_us
        self._due_at_us = (self._due_at_us if on_time else at_us) + interval_us
        if frame.behind_us > MAX_BEHIND_US:
            FRAMES_SKIPPED.labels(self._camera.id, "late").inc()
            return
        picture = frame.picture
        if (picture.width, picture.height) != self._size:
            self.finish()  # boxes of another picture size mean nothing
            self._size = (picture.width, picture.height)
            self._gate = MotionGate()
            self._masks.forget_sizes()
        luma = self._masks.fill(pixels_of(picture, "gray", WIDTH, HEIGHT))
        # Without short-cut: the gate's background must see every sampled frame.
        if not self._gate.is_open(luma, at_us) and not self._tracker.tracks:
            FRAMES_SKIPPED.labels(self._camera.id, "still").inc()
            return
        detections = self._search(picture)
        self._count(len(detections))
        tracks, ended = self._tracker.update(detections, at_us)
        snapshot = Snapshot(picture, self._masks)
        if tracks:
            self._choose(picture, snapshot, tracks, at_us)
        for track in ended:
            self._end(track)
        if self._activity.wants_picture():
            faces = [
                SeenFace(snapshot.share(track.detection.box_xyxy), sent=self._crops.get(track.number, 0) > 0)
                for track in tracks
            ]
            self._activity.show(CameraPicture(at_us, snapshot.jpeg(), faces))

    def finish(self) -> None:
        """End all tracks and publish what was kept of them."""
        for track in self._tracker.end_all():
            self._end(track)

    def _count(self, faces: int) -> None:
        FRAMES_ANALYSED.labels(self._camera.id).inc()
        FACES_DETECTED.labels(self._camera.id).inc(faces)
        self._activity.analysed += 1
        self._activity.faces += faces

    def _search(self, picture: VideoFrame) -> list[Detection]:
        factor = min(1.0, SEARCH_WIDTH / picture.width)
        width, height = round(picture.width * factor), round(picture.height * factor)
        reduced = self._masks.fill(pixels_of(picture, "bgr24", width, height))
        return [
            found.scaled(1 / factor)
            for found in self._detector.detect(reduced)
            if not self._masks.hide(*_centre(found), width, height)
        ]

    def _choose(self, picture: VideoFrame, snapshot: Snapshot, tracks: list[Track], at_us: int) -> None:
        luma = self._masks.fill(pixels_of(picture, "gray"))
        bgr: NDArray[np.uint8] | None = None
        for track in tracks:
            shots = self._shots.setdefault(track.number, BestShot())
            quality = assess(luma, track.detection)
            if quality.usable or (quality.kept and track.number not in self._crops):
                choice = shots.choose(quality.value, at_us)
                if choice is not Choice.DISCARD:
                    if bgr is None:
                        bgr = pixels_of(picture, "bgr24")
                    shot = self._cut(bgr, snapshot, track.detection, at_us)
                    if choice is Choice.PUBLISH:
                        self._send(track, shot, quality.value)
                    else:
                        shots.keep(shot, quality.value)
            if shots.is_due(at_us) and (kept := shots.take()):
                self._send(track, *kept)

    def _end(self, track: Track) -> None:
        shots = self._shots.pop(track.number, None)
        if shots is not None and (kept := shots.take()):
            self._send(track, *kept)
        self._ids.pop(track.number, None)
        self._crops.pop(track.number, None)

    def _send(self, track: Track, shot: Shot, quality: float) -> None:
        track_name = self._ids.setdefault(track.number, track_id(self._place, track.started_at_us, track.number))
        number = self._crops.get(track.number, 0)
        self._crops[track.number] = number + 1
        pixels, landmarks = self._encode(shot)
        self._publish(
            Crop(
                id=crop_id(track_name, number),
                track_id=track_name,
                camera_id=self._camera.id,
                camera_group=self._camera.group,
                captured_at_us=shot.captured_at_us,
                track_started_at_us=track.started_at_us,
                track_seen_at_us=track.seen_at_us,
                deadline_us=now_us() + self._deadline_us,
                box_xyxy=tuple(round(float(v), 1) for v in shot.detection.box_xyxy),  # type: ignore[arg-type]
                landmarks=[(round(float(x), 2), round(float(y), 2)) for x, y in landmarks],
                quality=round(quality, 4),
                jpeg=pixels,
                frame_id=frame_id(self._place, shot.captured_at_us),
                frame_box=shot.frame_box,
                matched_only=self._camera.matched_only,
                video_id=self._video_id,
            ),
            shot.frame_jpeg,
        )
        shots = self._shots.get(track.number)
        if shots is not None:
            shots.published(quality, track.seen_at_us)

    def _cut(self, bgr: NDArray[np.uint8], snapshot: Snapshot, detection: Detection, at_us: int) -> Shot:
        height, width = bgr.shape[:2]
        x1, y1, x2, y2 = expand_box(detection.box_xyxy, CROP_FACTOR, width, height)
        # A copy, as a view would keep the whole frame in memory for as long as the crop is kept.
        cut = self._masks.fill_cut(bgr[y1:y2, x1:x2].copy(), (x1, y1), width, height)
        return Shot(cut, (x1, y1), detection, at_us, snapshot.jpeg(), snapshot.share(detection.box_xyxy))

    def _encode(self, shot: Shot) -> tuple[bytes, NDArray[np.float32]]:
        """JPEG of a shot, and its landmarks, found again on the full-size cut: the reduced copy's are coarse."""
        height, width = shot.bgr.shape[:2]
        factor = min(1.0, MAX_CROP_PX / max(height, width))
        x, y = shot.origin
        expected = shot.detection.scaled(1, (-x, -y)).scaled(factor)
        bgr = shot.bgr
        if factor < 1:
            bgr = cv2.resize(bgr, None, fx=factor, fy=factor, interpolation=cv2.INTER_AREA).astype(np.uint8, copy=False)
        landmarks = expected.landmarks
        found = self._detector.detect_scaled(bgr, LANDMARK_PX)
        if found:
            overlap = iou_matrix(expected.box_xyxy[None], np.stack([face.box_xyxy for face in found]))[0]
            best = int(overlap.argmax())
            if overlap[best] > 0.5:
                landmarks = found[best].landmarks
        _, jpeg = cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])
        return jpeg.tobytes(), landmarks


def _centre(detection: Detection) -> tuple[float, float]:
    left, top, right, bottom = detection.box_xyxy.tolist()
    return (left + right) / 2, (top + bottom) / 2
