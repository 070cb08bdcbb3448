"""Cameras of all kinds, and what is said of those that cannot be read."""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import shutil
import signal
import socketserver
import threading
import time
import wave
from collections.abc import Callable, Iterator, Sequence
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
from av.video.codeccontext import VideoCodecContext
from av.video.stream import VideoStream
from numpy.typing import NDArray
from prometheus_client import REGISTRY

from deploy.local.parts import free_ports
from ingest import source, watch
from ingest.analysis import Analysis
from ingest.source import BadFrame, Frame, read_frames
from ingest.watch import Watch
from lookout.camera_settings import Camera
from lookout.clock import now_us
from lookout.errors import CameraError
from lookout.faces.assets import AssetCache
from lookout.faces.detector import Detector
from lookout.faces.yunet import YuNet
from lookout.footage.folder import FootageFolder
from lookout.messages import Crop
from tests import servers
from tests.servers import wait_until

FPS = 25
SMALL, LARGE = (320, 240), (640, 360)
PASSWORD = "geheim"


def grey(size: tuple[int, int], count: int) -> list[NDArray[np.uint8]]:
    """Pictures of different brightness."""
    return [np.full((size[1], size[0], 3), 40 + 3 * k % 200, np.uint8) for k in range(count)]


def write_clip(path: Path, *scenes: Sequence[NDArray[np.uint8]], codec: str = "libx264") -> None:
    """A clip as cameras send it: no B-frames, a key frame a second. The scenes may differ in size."""
    with av.open(path, "w", format="mp4") as output:
        stream = output.add_stream(codec, rate=FPS)
        assert isinstance(stream, VideoStream)
        stream.height, stream.width = scenes[0][0].shape[:2]
        stream.pix_fmt = "yuv420p"
        written = 0
        for scene in scenes:
            encoder = av.CodecContext.create(codec, "w")
            assert isinstance(encoder, VideoCodecContext)
            encoder.height, encoder.width = scene[0].shape[:2]
            encoder.pix_fmt, encoder.time_base, encoder.framerate = "yuv420p", Fraction(1, FPS), Fraction(FPS)
            # Headers before each key frame, so that a decoder learns of another size.
            parameters = "repeat-headers=1:annexb=1:bframes=0:log-level=none"
            encoder.options = {"g": str(FPS), "preset": "ultrafast", f"{codec.removeprefix('lib')}-params": parameters}
            frames = [av.VideoFrame.from_ndarray(picture, format="bgr24") for picture in scene]
            for number, frame in enumerate(frames, written):
                frame.pts = number
            for packet in [*(packet for frame in frames for packet in encoder.encode(frame)), *encoder.encode(None)]:
                packet.stream = stream
                output.mux(packet)
            written += len(frames)


@pytest.fixture(scope="session")
def media(tmp_path_factory: pytest.TempPathFactory, assets: AssetCache) -> Path:
    """Clips, and things that are none."""
    folder = tmp_path_factory.mktemp("media")
    write_clip(folder / "grey.mp4", grey(SMALL, 2 * FPS))
    write_clip(folder / "short # 1.mp4", grey(SMALL, FPS // 2))
    write_clip(folder / "h265.mp4", grey(SMALL, 2 * FPS), codec="libx265")
    write_clip(folder / "change.mp4", grey(SMALL, FPS), grey(LARGE, FPS))
    photo = cv2.imread(str(assets.media("single_face.jpg")))
    assert photo is not None
    scale = 720 / max(photo.shape[:2])
    even = [round(side * scale / 2) * 2 for side in photo.shape[1::-1]]
    still = cv2.resize(photo, (even[0], even[1]), interpolation=cv2.INTER_AREA).astype(np.uint8)
    write_clip(folder / "still.mp4", [still] * FPS)
    cv2.imwrite(str(folder / "still.jpg"), still)
    (folder / "text.mp4").write_text("Dear reader, this is no video.\n" * 100)
    (folder / "empty.mp4").touch()
    whole = (folder / "grey.mp4").read_bytes()
    (folder / "cut.mp4").write_bytes(whole[: len(whole) // 2])
    with wave.open(str(folder / "sound.wav"), "wb") as sound:
        sound.setparams((1, 2, 8000, 0, "NONE", ""))
        sound.writeframes(bytes(16000))
    return folder


@pytest.fixture(scope="module")
def server(media: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[servers.Server]:
    with servers.rtsp(media, tmp_path_factory.mktemp("rtsp")) as running:
        yield running


Reply = Callable[[str], bytes | Iterator[bytes] | None]


@contextlib.contextmanager
def answering(reply: Reply) -> Iterator[str]:
    """A server that answers each request with what `reply` says of it, nothing for None; yields `host:port`."""

    class Handler(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            received = b""
            with contextlib.suppress(OSError):
                while chunk := self.request.recv(65536):
                    *requests, received = (received + chunk).split(b"\r\n\r\n")
                    for request in requests:
                        answer = reply(request.decode())
                        if answer == HANG_UP:
                            return
                        for part in [answer or b""] if isinstance(answer, bytes | None) else answer:
                            self.request.sendall(part)

    class Server(socketserver.ThreadingTCPServer):
        block_on_close = True

    with Server(("127.0.0.1", 0), Handler) as running:
        thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield f"127.0.0.1:{running.server_address[1]}"
        finally:
            running.shutdown()
            thread.join()


HANG_UP = b"hang up"
SDP = "v=0\r\ns=x\r\nt=0 0\r\nm={media} 0 RTP/AVP 96\r\na=rtpmap:96 {codec}\r\na=control:t\r\n"


def rtsp_answer(request: str, status: str = "200 OK", *headers: str, body: str = "") -> bytes:
    [sequence] = [line for line in request.split("\r\n") if line.startswith("CSeq")]
    return "\r\n".join([f"RTSP/1.0 {status}", sequence, *headers, f"Content-Length: {len(body)}", "", body]).encode()


def http_status(status: str, *headers: str) -> Reply:
    return lambda _: "\r\n".join([f"HTTP/1.1 {status}", *headers, "Content-Length: 0", "", ""]).encode()


def rtsp_status(status: str, *headers: str) -> Reply:
    return lambda request: rtsp_answer(request, status, *headers)


def rtsp_camera(*, silent_at: str = "", media: str = "video", codec: str = "H264/90000") -> Reply:
    """Plays a stream in which nothing ever comes; from one request on it says nothing more."""

    def reply(request: str) -> bytes | None:
        method = request.split(maxsplit=1)[0]
        if method == silent_at:
            return None
        if method == "DESCRIBE":
            body = SDP.format(media=media, codec=codec)
            return rtsp_answer(request, "200 OK", "Content-Type: application/sdp", body=body)
        return rtsp_answer(request, "200 OK", "Session: 1", "Transport: RTP/AVP/TCP;unicast;interleaved=0-1")

    return reply


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(source, "OPEN_TIMEOUT_S", 1.0)
    monkeypatch.setattr(source, "READ_TIMEOUT_S", 0.5)


def error_of(url: str) -> CameraError:
    """What is said of a camera that cannot be read."""
    with pytest.raises(CameraError) as caught:
        for _ in read_frames(Camera(id="door", url=url), threading.Event()):
            pass
    return caught.value


def collect(url: str, enough: Callable[[list[Frame]], bool], timeout_s: float = 20.0) -> list[Frame]:
    """A camera's frames, until there are enough."""
    frames: list[Frame] = []
    stop = threading.Event()
    deadline = time.monotonic() + timeout_s
    for frame in read_frames(Camera(id="door", url=url), stop):
        assert time.monotonic() < deadline, f"only {len(frames)} frames"
        if isinstance(frame, Frame):
            frames.append(frame)
        if enough(frames):
            stop.set()
    return frames


SILENT = "it does not answer; look at power, cable and firewall."
WRONG_PASSWORD = "user or password is wrong."
NO_STREAM = "the camera has no stream of that path; look into its manual."
NO_VIDEO = "it hung up, or what comes is no video."
DIGEST = 'WWW-Authenticate: Digest realm="cam", nonce="0123"'
BASIC = 'WWW-Authenticate: Basic realm="cam"'


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize(
    ("scheme", "reply", "reason", "message"),
    [
        pytest.param("rtsp", rtsp_status("401 Unauthorized", DIGEST), "unauthorised", WRONG_PASSWORD, id="digest"),
        pytest.param("rtsp", rtsp_status("401 Unauthorized", BASIC), "unauthorised", WRONG_PASSWORD, id="basic"),
        pytest.param("rtsp", rtsp_status("403 Forbidden"), "unauthorised", WRONG_PASSWORD, id="rtsp 403"),
        pytest.param("http", http_status("401 Unauthorized", BASIC), "unauthorised", WRONG_PASSWORD, id="http 401"),
        pytest.param("rtsp", rtsp_status("404 Not Found"), "not_found", NO_STREAM, id="rtsp 404"),
        pytest.param("http", http_status("404 Not Found"), "not_found", NO_STREAM, id="http 404"),
        pytest.param(
            *("rtsp", rtsp_status("503 Service Unavailable"), "rejected"),
            *("Server returned 5XX Server Error reply; look into the camera's log.",),
            id="rtsp 503",
        ),
        pytest.param("rtsp", lambda _: None, "timeout", SILENT, id="accepts, says nothing"),
        pytest.param("http", lambda _: None, "timeout", SILENT, id="accepts, says nothing (http)"),
        pytest.param("rtsp", rtsp_camera(silent_at="DESCRIBE"), "timeout", SILENT, id="silent at DESCRIBE"),
        pytest.param("rtsp", rtsp_camera(silent_at="SETUP"), "timeout", SILENT, id="silent at SETUP"),
        pytest.param("rtsp", rtsp_camera(silent_at="PLAY"), "timeout", SILENT, id="silent at PLAY"),
        pytest.param("rtsp", rtsp_camera(), "timeout", SILENT, id="plays, and nothing comes"),
        pytest.param("http", lambda _: HANG_UP, "closed", "it closed the connection.", id="hangs up"),
        pytest.param("rtsp", lambda _: HANG_UP, "not_video", NO_VIDEO, id="hangs up (rtsp)"),
        pytest.param(
            "rtsp", rtsp_camera(media="audio", codec="OPUS/48000/2"), "not_video", "carries no video.", id="sound"
        ),
        pytest.param(
            *("rtsp", rtsp_camera(codec="UNHEARD-OF/90000"), "not_video", "is of a video format nobody knows."),
            id="unknown codec",
        ),
    ],
)
def test_a_server_that_gives_no_video(
    scheme: str, reply: Reply, reason: str, message: str, caplog: pytest.LogCaptureFixture
) -> None:
    began = time.monotonic()
    with caplog.at_level(logging.DEBUG), answering(reply) as address:
        error = error_of(f"{scheme}://admin:{PASSWORD}@{address}/main")
        place = f"door: {scheme}://…@{address}/main"

    assert str(error) in {f"{place}: {message}", f"{place} {message}"}
    assert error.reason == reason
    assert time.monotonic() - began < 5
    assert PASSWORD not in caplog.text


@pytest.mark.parametrize(
    ("name", "reason", "message"),
    [
        ("absent.mp4", "not_found", NO_STREAM),
        ("grey.mov", "not_found", NO_STREAM),
        ("text.mp4", "rejected", "Server returned 400 Bad Request; look into the camera's log."),
        ("empty.mp4", "rejected", "Server returned 400 Bad Request; look into the camera's log."),
    ],
)
def test_what_the_real_server_does_not_have(server: servers.Server, name: str, reason: str, message: str) -> None:
    error = error_of(f"{server.url}/{name}")

    assert str(error) == f"door: {server.url}/{name}: {message}"
    assert error.reason == reason


def test_nothing_listens() -> None:
    (port,) = free_ports(1)

    for url in (f"rtsp://127.0.0.1:{port}/main", f"http://127.0.0.1:{port}/main"):
        error = error_of(url)
        assert str(error) == f"door: {url}: nothing listens on that address and port; is it switched on?"
        assert error.reason == "refused"


def test_no_such_host() -> None:
    # A label of a name has 63 letters at most, so nobody needs to be asked.
    error = error_of(f"rtsp://admin:{PASSWORD}@{'x' * 64}/main")

    assert str(error) == f"door: rtsp://…@{'x' * 64}/main: no way there; is the name or address right?"
    assert error.reason == "unreachable"


@pytest.mark.parametrize(
    ("name", "reason", "message"),
    [
        ("absent.mp4", "not_found", ": there is no such file or stream."),
        ("text.mp4", "not_video", f": {NO_VIDEO}"),
        ("empty.mp4", "not_video", f": {NO_VIDEO}"),
        ("cut.mp4", "not_video", f": {NO_VIDEO}"),
        ("sound.wav", "not_video", " carries no video."),
        ("", "other", f": {os.strerror(errno.EISDIR)}."),
    ],
)
def test_a_file_that_is_no_video(media: Path, name: str, reason: str, message: str) -> None:
    url = (media / name).as_uri()

    error = error_of(url)

    assert str(error) == f"door: {url}{message}"
    assert error.reason == reason


@pytest.mark.parametrize("name", ["grey.mp4", "h265.mp4"])
def test_frames_come_and_their_times_are_the_cameras(server: servers.Server, name: str) -> None:
    arrived_us: list[int] = []

    def enough(frames: list[Frame]) -> bool:
        arrived_us.append(now_us())
        return len(frames) == 60  # the clip has started over

    frames = collect(f"{server.url}/{name}?play_count=0", enough)

    assert {(frame.picture.width, frame.picture.height) for frame in frames} == {SMALL}
    steps_us = [after.captured_at_us - before.captured_at_us for before, after in pairwise(frames)]
    assert all(step_us > 0 for step_us in steps_us)
    assert all(0 <= at - frame.captured_at_us < 2_000_000 for at, frame in zip(arrived_us, frames, strict=True))
    # The server sends RTCP at once. So even the frames that FFmpeg holds back while it looks at the stream, and that
    # then arrive in one instant, are 40 ms apart.
    assert all(abs(step_us - 40_000) < 20_000 for step_us in steps_us[:15])
    assert arrived_us[10] - arrived_us[0] < 200_000
    assert all(frame.camera_offset_us != 0 for frame in frames)
    assert frames[0].behind_us == 0
    assert all(frame.behind_us < 1_000_000 for frame in frames)


def test_without_rtcp_the_arrival_counts(server: servers.Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(source, "_observe_rtcp", lambda *_: None)

    frames = collect(f"{server.url}/grey.mp4?play_count=0", lambda frames: len(frames) == 50)

    steps_us = [after.captured_at_us - before.captured_at_us for before, after in pairwise(frames)]
    assert all(step_us >= 0 for step_us in steps_us)
    assert all(abs(step_us - 40_000) < 20_000 for step_us in steps_us[30:])
    assert {frame.camera_offset_us for frame in frames} == {0}


@pytest.mark.parametrize("by", ["rtsp", "file"])
def test_a_resolution_that_changes(server: servers.Server, media: Path, by: str) -> None:
    url = f"{server.url}/change.mp4?play_count=0" if by == "rtsp" else (media / "change.mp4").as_uri()

    frames = collect(url, lambda frames: len(frames) == 60)

    sizes = [(frame.picture.width, frame.picture.height) for frame in frames]
    changes = [after for before, after in pairwise(sizes) if before != after]
    assert sizes[0] == SMALL
    assert changes == [LARGE, SMALL]
    assert all(a.captured_at_us < b.captured_at_us for a, b in pairwise(frames))


def test_a_recording_plays_in_real_time_and_starts_over(media: Path) -> None:
    began_us = now_us()
    frames = collect((media / "short # 1.mp4").as_uri(), lambda frames: len(frames) == 30)
    took_us = now_us() - began_us

    # 12 frames, and as it is shorter than a second the next play waits for one.
    steps_us = [after.captured_at_us - before.captured_at_us for before, after in pairwise(frames)]
    assert steps_us == [40_000] * 11 + [560_000] + [40_000] * 11 + [560_000] + [40_000] * 5
    assert 2_200_000 <= took_us < 3_500_000
    assert 0 <= frames[0].captured_at_us - began_us < 500_000
    assert all(frame.behind_us < 1_000_000 for frame in frames)


def test_a_recording_stops_when_told(media: Path) -> None:
    stop = threading.Event()
    frames = read_frames(Camera(id="door", url=(media / "grey.mp4").as_uri()), stop)
    assert isinstance(next(frames), Frame)

    stop.set()

    began = time.monotonic()
    assert len(list(frames)) <= 1
    assert time.monotonic() - began < 1


def test_jpegs_over_http_are_as_late_as_they_are() -> None:
    """FFmpeg counts 25 frames a second, whatever comes: by that a camera of ten falls further and further behind."""
    _, jpeg = cv2.imencode(".jpg", grey(SMALL, 1)[0])
    part = b"--x\r\nContent-Type: image/jpeg\r\nContent-Length: %d\r\n\r\n" % len(jpeg) + jpeg.tobytes() + b"\r\n"

    gone = threading.Event()

    def reply(request: str) -> Iterator[bytes]:
        assert request.startswith("GET /video ")
        yield b"HTTP/1.1 200 OK\r\nContent-Type: multipart/x-mixed-replace; boundary=x\r\n\r\n"
        while not gone.wait(0.1):
            yield part

    arrived_us: list[int] = []

    def enough(frames: list[Frame]) -> bool:
        arrived_us.append(now_us())
        return len(frames) == 15

    with answering(reply) as address:
        frames = collect(f"http://{address}/video", enough)
        gone.set()

    assert all(abs(at - frame.captured_at_us) < 100_000 for at, frame in zip(arrived_us, frames, strict=True))
    assert {frame.behind_us for frame in frames} == {0}


class Watched:
    """A camera that is watched, as the process' main loop does it."""

    def __init__(self, camera: Camera, detector: Detector, footage: FootageFolder) -> None:
        self.camera = camera
        self.crops: list[Crop] = []
        self.states: list[str] = []
        self.watch = Watch(
            camera,
            lambda camera, activity: Analysis(
                camera, detector, lambda crop, _: self.crops.append(crop), activity, crop_deadline_s=60
            ),
            footage,
        )

    def state(self) -> str:
        """Its state now; remembers all it had."""
        self.watch.check()
        if self.states[-1:] != [self.watch.state]:
            self.states.append(self.watch.state)
        return self.watch.state

    def wait_for(self, state: str, timeout_s: float = 20.0) -> None:
        wait_until(lambda: self.state() == state, timeout_s, what=f"{self.camera.id} {state}")

    def count(self, name: str, **labels: str) -> float:
        return REGISTRY.get_sample_value(f"lookout_{name}", {"camera": self.camera.id, **labels}) or 0.0


@pytest.fixture(scope="module")
def detector(assets: AssetCache) -> Detector:
    return YuNet(assets.model("yunet"))


@pytest.fixture
def watched(detector: Detector, request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Callable[[str], Watched]]:
    """Watch a URL until the test's end."""
    running: list[Watched] = []

    def start(url: str) -> Watched:
        made = Watched(
            Camera(id=f"{request.node.originalname}-{len(running)}", url=url),
            detector,
            FootageFolder(tmp_path / "footage"),
        )
        made.watch.start()
        running.append(made)
        return made

    yield start
    for one in running:
        one.watch.stop()
    for one in running:
        assert one.watch.join(15)


@pytest.mark.usefixtures("impatient")
def test_a_server_that_dies_and_returns(
    watched: Callable[[str], Watched], media: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.DEBUG), servers.rtsp(media, tmp_path) as server:
        address = server.url.removeprefix("rtsp://")
        camera = watched(f"rtsp://admin:{PASSWORD}@{address}/grey.mp4?play_count=0")
        camera.wait_for("live")
        assert camera.count("camera_reconnects_total") == 0

        server.kill()
        camera.wait_for("offline")
        assert camera.count("camera_state", state="offline") == 1
        wait_until(lambda: f"rtsp://…@{address}/grey.mp4?play_count=0: nothing listens" in caplog.text, what="refusal")
        server.start()
        camera.wait_for("live")
        assert camera.count("camera_state", state="live") == 1
        assert camera.count("camera_state", state="offline") == 0

    assert camera.states[0] == "connecting"
    assert camera.count("camera_reconnects_total") >= 1
    assert camera.count("frames_decoded_total") > 2
    text = "\n".join(f"{record.getMessage()} {record.args}" for record in caplog.records)
    assert "is it switched on? Next try in" in text
    assert PASSWORD not in text


def test_a_server_that_freezes_and_thaws(
    watched: Callable[[str], Watched], media: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watch, "STALLED_S", 0.5)
    with servers.rtsp(media, tmp_path) as server:
        camera = watched(f"{server.url}/grey.mp4?play_count=0")
        camera.wait_for("live")
        assert server.child.pid is not None

        os.kill(server.child.pid, signal.SIGSTOP)
        try:
            camera.wait_for("stalled", timeout_s=4)
            assert camera.count("camera_state", state="stalled") == 1
        finally:
            os.kill(server.child.pid, signal.SIGCONT)
        camera.wait_for("live", timeout_s=4)

        camera.watch.stop()
        assert camera.watch.join(5)
    assert camera.states == ["connecting", "live", "stalled", "live"]
    assert camera.count("camera_reconnects_total") == 0


@pytest.mark.usefixtures("impatient")
def test_a_server_that_stays_frozen_is_given_up(
    watched: Callable[[str], Watched], media: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with servers.rtsp(media, tmp_path) as server:
        camera = watched(f"{server.url}/grey.mp4?play_count=0")
        camera.wait_for("live")
        assert server.child.pid is not None
        os.kill(server.child.pid, signal.SIGSTOP)
        try:
            camera.wait_for("offline", timeout_s=4)
        finally:
            os.kill(server.child.pid, signal.SIGCONT)
        camera.wait_for("live")

    assert any("grey.mp4?play_count=0: it does not answer" in message for message in caplog.messages)


@pytest.mark.parametrize("name", ["still.mp4", "still.jpg", "rtsp"])
def test_a_still_picture_is_searched_and_found(
    watched: Callable[[str], Watched], server: servers.Server, media: Path, name: str
) -> None:
    camera = watched(f"{server.url}/still.mp4?play_count=0" if name == "rtsp" else (media / name).as_uri())

    wait_until(lambda: camera.crops, what="a crop")
    analysed = camera.count("frames_analysed_total")
    wait_until(lambda: camera.count("frames_analysed_total") >= analysed + 2, what="searched again")

    assert camera.state() == "live"
    assert set(camera.states) <= {"connecting", "live"}
    assert camera.count("camera_reconnects_total") == 0
    assert len({crop.track_id for crop in camera.crops}) == 1
    [crop, *_] = camera.crops
    pixels = cv2.imdecode(np.frombuffer(crop.jpeg, np.uint8), cv2.IMREAD_COLOR)
    assert pixels is not None
    landmarks = np.array(crop.landmarks)
    assert (landmarks > 0).all()
    assert (landmarks < pixels.shape[1::-1]).all()


def test_a_recording_is_never_offline(watched: Callable[[str], Watched], media: Path) -> None:
    camera = watched((media / "short # 1.mp4").as_uri())

    wait_until(lambda: camera.state() == "live" and camera.count("frames_decoded_total") >= 30, what="three plays")

    assert camera.states in (["connecting", "live"], ["live"])
    assert camera.count("camera_reconnects_total") == 0


def test_a_recording_that_is_not_there_yet(watched: Callable[[str], Watched], media: Path, tmp_path: Path) -> None:
    camera = watched((tmp_path / "later.mp4").as_uri())
    camera.wait_for("offline")

    shutil.copy(media / "grey.mp4", tmp_path / "later.part")
    (tmp_path / "later.part").rename(tmp_path / "later.mp4")

    camera.wait_for("live")


def test_frames_that_cannot_be_decoded_are_told_from_those_that_can(media: Path, tmp_path: Path) -> None:
    """The second key frame is rubbish, so that what follows until the next one shows nothing."""
    with av.open(media / "grey.mp4") as clip:
        packets = [packet for packet in clip.demux(video=0) if packet.size]
        damaged = packets[0].pos or 0
        broken = bytearray((media / "grey.mp4").read_bytes())
        broken[damaged : damaged + packets[0].size] = b"\xff" * packets[0].size
    (tmp_path / "broken.mp4").write_bytes(broken)
    found: list[Frame | BadFrame] = []
    stop = threading.Event()

    for frame in read_frames(Camera(id="door", url=(tmp_path / "broken.mp4").as_uri()), stop):
        found.append(frame)
        if len(found) >= 2 * FPS:
            stop.set()

    assert any(isinstance(frame, BadFrame) for frame in found)
    assert any(isinstance(frame, Frame) for frame in found)
