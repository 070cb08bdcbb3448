"""What passes between the rooms: typed messages, encoded as msgpack, never pickled."""

from __future__ import annotations

import hashlib

import msgspec


class Crop(msgspec.Struct, frozen=True, kw_only=True):
    """A face cut from a full-size frame. Immutable; its id is derived from its track and its place in it.

    Attributes:
        id: `crop_id(track_id, number)`.
        track_id: the track it belongs to, which is also the id of the sighting it becomes.
        camera_id, camera_group: where.
        captured_at_us: wall clock of the camera, UTC microseconds.
        track_started_at_us, track_seen_at_us: the track's first frame, and its last one so far.
        deadline_us: from then on it is dropped; the wall clock of ingest's machine.
        box_xyxy: the face in the full-size frame, pixels.
        landmarks: five points `(x, y)` in the crop's own pixels.
        quality: 0..1.
        jpeg: the picture, with a margin around the face.
        frame_id: the whole frame it was cut from, reduced, as `Crops.get_frame` gives it; empty if there is none.
        frame_box: the face in that frame: left, top, right, bottom as shares of its width and height, 0..1.
        matched_only: nothing is to be stored of who matches nobody.
        video_id: the handed-in video it was found in; empty: seen live.
    """

    id: str
    track_id: str
    camera_id: str
    camera_group: str
    captured_at_us: int
    track_started_at_us: int
    track_seen_at_us: int
    deadline_us: int
    box_xyxy: tuple[float, float, float, float]
    landmarks: list[tuple[float, float]]
    quality: float
    jpeg: bytes
    frame_id: str = ""
    frame_box: tuple[float, float, float, float] = (0.0, 0.0, 0.0, 0.0)
    matched_only: bool = False
    video_id: str = ""


class DeadLetter(msgspec.Struct, frozen=True, kw_only=True):
    """A message to the workers that kept failing.

    Attributes:
        id: the message's id.
        crop_ids: the crops it named.
        error: what happened, the last time.
        attempts: how often it was tried.
        failed_at_us: when it was given up.
    """

    id: str
    crop_ids: list[str]
    error: str
    attempts: int
    failed_at_us: int


def track_id(camera_id: str, started_at_us: int, number: int) -> str:
    """Id of a camera's track: 32 hexadecimal digits."""
    return _derived(f"track/{camera_id}/{started_at_us}/{number}")


def crop_id(track: str, number: int) -> str:
    """Id of a track's crop: 32 hexadecimal digits."""
    return _derived(f"crop/{track}/{number}")


def frame_id(camera_id: str, captured_at_us: int) -> str:
    """Id of a camera's frame: 32 hexadecimal digits."""
    return _derived(f"frame/{camera_id}/{captured_at_us}")


def segment_id(camera_id: str, video_id: str, started_at_us: int) -> str:
    """Id of a piece of footage: 32 hexadecimal digits."""
    return _derived(f"segment/{camera_id}/{video_id}/{started_at_us}")


def _derived(name: str) -> str:
    return hashlib.blake2b(name.encode(), digest_size=16).hexdigest()
