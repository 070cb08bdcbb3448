"""What ingest reads and writes in Redis: which cameras to watch, how they are, their last picture, and tests of URLs.

Ingest decodes what strangers send. So it never speaks to the registry: the services that may do publish the cameras.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

import msgspec
from redis import Redis
from redis.exceptions import WatchError

from lookout.camera_settings import Camera
from lookout.clock import now_us
from lookout.errors import SealError
from lookout.sealing import Keyring
from lookout.stores.redis import redis_errors

#: Living ingest processes, each with when it was last seen (Redis' clock).
PROCESSES = "ingest:processes"
#: A dead process is forgotten after this time, and others may take its cameras.
LEASE_S = 6.0
#: A status of a process that died is gone after this time, a picture after that.
KEEP_STATUS_S = 15
KEEP_PICTURE_S = 60
#: A test that nobody took by then is dropped; its answer is kept longer.
TEST_TIMEOUT_S = 30
KEEP_TEST_S = 180
MAX_TESTS = 20
#: For so long one who looks at a camera is one viewer.
VIEW_S = 300

NO_INGEST = "No ingest process runs that could try it: start one with `lookout up` or `lookout ingest`."
NO_STREAM = "It has no stream that could be tried: its videos are handed in as files."
NO_ANSWER = "No ingest process had time to try it: look whether they are overloaded, then try again."

_SET = "cameras"
_TESTS = "camera_tests"
_encoder = msgspec.msgpack.Encoder()
Value = TypeVar("Value", bound=msgspec.Struct)


class CameraSet(msgspec.Struct, frozen=True):
    """The cameras to watch.

    Attributes:
        version: counts how often they were published.
        cameras: the enabled ones.
        detector: which finds their faces.
    """

    version: int
    cameras: list[Camera]
    detector: str


class CameraStatus(msgspec.Struct, frozen=True, kw_only=True):
    """How a camera is.

    Attributes:
        state: `connecting`, `live`, `stalled`, `offline`.
        since_us: since when.
        reason, message: why the last connection failed, in one word and in a sentence; empty if none failed.
        frames_per_s, analysed_per_s, faces_per_min: over the last seconds; faces of one person count in each frame.
        width, height: of its picture, pixels; 0 until one came.
        codec: what its video is encoded in.
        clock_offset_ms: how far its clock is behind the arrival of its frames.
        process: which ingest process watches it.
        recording: `off`, `recording`, `unsupported` (its codec), `disk_full` or `failed`.
        recording_message: in a sentence what is wrong with the recording, or what is missing of it.
    """

    id: str
    state: str
    since_us: int
    reason: str = ""
    message: str = ""
    frames_per_s: float = 0.0
    analysed_per_s: float = 0.0
    faces_per_min: float = 0.0
    width: int = 0
    height: int = 0
    codec: str = ""
    clock_offset_ms: int = 0
    process: str = ""
    recording: str = "off"
    recording_message: str = ""


class SeenFace(msgspec.Struct, frozen=True):
    """A face in a picture.

    Attributes:
        box: left, top, right, bottom as shares of the picture's width and height.
        sent: whether a crop of its track went to the workers.
    """

    box: tuple[float, float, float, float]
    sent: bool


class CameraPicture(msgspec.Struct, frozen=True):
    """The last frame of a camera that was searched for faces, reduced, with its masks filled.

    Attributes:
        captured_at_us: when.
        jpeg: the picture.
        faces: what was found in it.
    """

    captured_at_us: int
    jpeg: bytes
    faces: list[SeenFace]


class CameraTest(msgspec.Struct, frozen=True, kw_only=True):
    """A URL to be tried by an ingest process.

    Attributes:
        id: of the test.
        camera: what to open; its masks are filled in the picture.
        asked_at_us: when; nobody waits for long.
    """

    id: str
    camera: Camera
    asked_at_us: int


class TestResult(msgspec.Struct, frozen=True, kw_only=True):
    """What became of a test.

    Attributes:
        state: `waiting`, `ok` or `failed`.
        asked_at_us: when it was asked for.
        reason, message: of a failure, in one word, and in a sentence that says what helps.
        width, height, codec, fps, jpeg: of a success.
    """

    __test__ = False  # pytest, this is none of yours

    id: str
    state: str
    asked_at_us: int
    reason: str = ""
    message: str = ""
    width: int = 0
    height: int = 0
    codec: str = ""
    fps: float = 0.0
    jpeg: bytes = b""


class CameraBoard:
    """The part of Redis that is about cameras. What may hold a password or show a face is sealed."""

    def __init__(self, redis: Redis, keyring: Keyring) -> None:
        self._redis = redis
        self._keyring = keyring

    # Which cameras to watch

    def sealed(self) -> bytes | None:
        """The set as it is stored; it differs from the one before if anything was published. None: nothing was yet."""
        with redis_errors():
            found = self._redis.get(_SET)
        return found if isinstance(found, bytes) else None

    def read(self, sealed: bytes | None) -> CameraSet | None:
        """What is in a stored set; None if it is missing, cannot be opened, or is of another version of Lookout."""
        if sealed is None:
            return None
        try:
            return self._open(sealed, _SET, CameraSet)
        except (SealError, msgspec.DecodeError):
            return None

    def replace(self, previous: bytes | None, cameras: CameraSet) -> bool:
        """Publish a set if the one that is there is still `previous`; whether it was."""
        with redis_errors(), self._redis.pipeline() as pipe:
            try:
                pipe.watch(_SET)  # type: ignore[no-untyped-call]
                if pipe.get(_SET) != previous:
                    return False
                pipe.multi()
                pipe.set(_SET, self._seal(cameras, _SET))
                pipe.execute()
            except WatchError:
                return False
        return True

    # How they are

    def put_statuses(self, statuses: Sequence[CameraStatus]) -> None:
        """Show how cameras are."""
        with redis_errors(), self._redis.pipeline(transaction=False) as pipe:
            for status in statuses:
                pipe.set(f"camera:status:{status.id}", _encoder.encode(status), ex=KEEP_STATUS_S)
            pipe.execute()

    def statuses(self, ids: Sequence[str]) -> dict[str, CameraStatus]:
        """How cameras are; those that no process watches are missing."""
        with redis_errors():
            found = self._redis.mget([f"camera:status:{one}" for one in ids]) if ids else []
        decoded = [msgspec.msgpack.decode(one, type=CameraStatus) for one in found if isinstance(one, bytes)]
        return {status.id: status for status in decoded}

    def put_picture(self, camera_id: str, picture: CameraPicture) -> None:
        """Show a camera's last picture."""
        key = _picture_key(camera_id)
        with redis_errors():
            self._redis.set(key, self._seal(picture, key), ex=KEEP_PICTURE_S)

    def picture(self, camera_id: str) -> CameraPicture | None:
        """A camera's last picture; None if there is none of the last minute.

        Raises:
            SealError: it cannot be opened.
        """
        return self._get(_picture_key(camera_id), CameraPicture)

    def forget(self, camera_id: str) -> None:
        """Remove what is shown of a camera."""
        with redis_errors():
            self._redis.unlink(f"camera:status:{camera_id}", _picture_key(camera_id))

    def new_views(self, user_id: str, ids: Sequence[str]) -> list[str]:
        """The cameras that a user begins to look at, and has not looked at within the last minutes."""
        with redis_errors(), self._redis.pipeline(transaction=False) as pipe:
            for one in ids:
                pipe.set(f"camera:viewed:{one}:{user_id}", 1, ex=VIEW_S, nx=True)
            return [one for one, is_new in zip(ids, pipe.execute(), strict=True) if is_new]

    # Tests of URLs

    def has_ingest(self) -> bool:
        """Whether an ingest process lives."""
        with redis_errors():
            seconds, microseconds = self._redis.time()
            return bool(self._redis.zcount(PROCESSES, seconds + microseconds / 1e6 - LEASE_S, "+inf"))

    def ask_test(self, test_id: str, camera: Camera) -> TestResult:
        """Have an ingest process try a camera; returns the result so far, which is final if none lives."""
        asked_at_us = now_us()
        result = TestResult(id=test_id, state="waiting", asked_at_us=asked_at_us)
        if not camera.has_stream:
            result = msgspec.structs.replace(result, state="failed", reason="no_stream", message=NO_STREAM)
        elif not self.has_ingest():
            result = msgspec.structs.replace(result, state="failed", reason="no_ingest", message=NO_INGEST)
        self.answer_test(result)
        if result.state == "waiting":
            test = CameraTest(id=test_id, camera=camera, asked_at_us=asked_at_us)
            with redis_errors(), self._redis.pipeline() as pipe:
                pipe.lpush(_TESTS, self._seal(test, _TESTS))
                pipe.ltrim(_TESTS, 0, MAX_TESTS - 1)
                pipe.expire(_TESTS, TEST_TIMEOUT_S)
                pipe.execute()
        return result

    def take_test(self, timeout_s: float) -> CameraTest | None:
        """The next test that somebody waits for; None if there is none within some seconds.

        Raises:
            SealError: it cannot be opened.
        """
        with redis_errors():
            found = self._redis.brpop([_TESTS], timeout=timeout_s)
        if not found or not isinstance(found[1], bytes):
            return None
        test = self._open(found[1], _TESTS, CameraTest)
        return None if _is_late(test.asked_at_us) else test

    def answer_test(self, result: TestResult) -> None:
        """Tell what became of a test."""
        key = _test_key(result.id)
        with redis_errors():
            self._redis.set(key, self._seal(result, key), ex=KEEP_TEST_S)

    def test_result(self, test_id: str) -> TestResult | None:
        """What became of a test; None if there is none of that id, or no longer."""
        result = self._get(_test_key(test_id), TestResult)
        if result is not None and result.state == "waiting" and _is_late(result.asked_at_us):
            return msgspec.structs.replace(result, state="failed", reason="no_answer", message=NO_ANSWER)
        return result

    def _get(self, key: str, kind: type[Value]) -> Value | None:
        with redis_errors():
            sealed = self._redis.get(key)
        return self._open(sealed, key, kind) if isinstance(sealed, bytes) else None

    def _seal(self, value: msgspec.Struct, place: str) -> bytes:
        return self._keyring.seal(_encoder.encode(value), place)

    def _open(self, sealed: bytes, place: str, kind: type[Value]) -> Value:
        return msgspec.msgpack.decode(self._keyring.open(sealed, place), type=kind)


def _is_late(asked_at_us: int) -> bool:
    return now_us() - asked_at_us > TEST_TIMEOUT_S * 1_000_000


def _picture_key(camera_id: str) -> str:
    return f"camera:picture:{camera_id}"


def _test_key(test_id: str) -> str:
    return f"camera_test:{test_id}"
