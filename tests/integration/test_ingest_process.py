"""`lookout ingest` as a process of its own."""

from __future__ import annotations

import base64
import contextlib
import json
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import cv2
import httpx2
import numpy as np
import psutil
import pytest
from redis import Redis

from deploy.local.clips import prepare_clips
from deploy.local.parts import free_ports
from lookout.camera_settings import Camera
from lookout.clock import now_us
from lookout.faces.assets import AssetCache
from lookout.messages import Crop
from lookout.queue import CROPS
from lookout.sealing import keyring
from lookout.settings import Settings
from lookout.stores.cameras import CameraBoard, CameraSet
from lookout.stores.crops import Crops
from tests import servers
from tests.servers import wait_until

PASSWORD = "geheim"
#: What one process may hold, and more for each camera.
RSS_MB, RSS_MB_A_CAMERA = 250, 60


class Ingest:
    """One process with a home of its own."""

    def __init__(self, home: Path, redis_url: str) -> None:
        home.mkdir(exist_ok=True)
        self._redis_url = redis_url
        self.keyring = keyring(Settings(home=home))
        (self.port,) = free_ports(1)
        self._log = home / "ingest.log"
        with self._log.open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "lookout", "ingest", "--metrics-port", str(self.port)],
                env={**os.environ, "LOOKOUT_HOME": str(home), "LOOKOUT_REDIS_URL": redis_url},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )

    def watch(self, *cameras: Camera) -> None:
        """Publish the cameras, as housekeeping does."""
        with Redis.from_url(self._redis_url) as redis:
            board = CameraBoard(redis, self.keyring)
            wait_until(lambda: board.replace(board.sealed(), CameraSet(1, list(cameras), "yunet")), what="publication")

    def log(self) -> str:
        return self._log.read_text("utf-8")

    def metrics(self) -> dict[str, float]:
        """What `/metrics` shows; nothing while it does not answer."""
        try:
            text = httpx2.get(f"http://127.0.0.1:{self.port}/metrics", timeout=2).text
        except httpx2.HTTPError:
            return {}
        return {name: float(value) for name, value in re.findall(r"^(lookout_\S+) (\S+)$", text, re.MULTILINE)}

    def state(self, camera: str) -> str:
        """What state the metrics show of a camera; empty if none."""
        pattern = re.compile(rf'lookout_camera_state{{camera="{camera}",state="(\w+)"}}')
        return " ".join(found[1] for name, value in self.metrics().items() if value and (found := pattern.match(name)))

    def terminate(self) -> None:
        """End it as the supervisor does: cleanly, and within five seconds."""
        self.process.send_signal(signal.SIGTERM)
        assert self.process.wait(5) == 0, self.log()


@contextlib.contextmanager
def ingest(home: Path, redis_url: str, **cameras: str) -> Iterator[Ingest]:
    running = Ingest(home, redis_url)
    try:
        if cameras:
            running.watch(*(Camera(id=name, url=url) for name, url in cameras.items()))
        yield running
    finally:
        running.process.kill()
        running.process.wait(10)


@pytest.fixture(scope="module")
def cameras(assets: AssetCache, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The demo's cameras: `<url>/lobby.mp4` shows a woman."""
    with servers.rtsp(prepare_clips(assets), tmp_path_factory.mktemp("rtsp")) as server:
        yield server.url.replace("rtsp://", f"rtsp://admin:{PASSWORD}@")


def named(redis: Redis) -> list[str]:
    """The ids of the crops in all messages."""
    bodies = (json.loads(base64.b64decode(json.loads(raw)["body"])) for raw in redis.lrange(CROPS, 0, -1))
    return [name for (ids,), _, _ in bodies for name in ids]


def assert_frame_shows(jpeg: bytes | None, crop: Crop) -> None:
    """The whole frame is there, and where it says the face is, it looks like the crop."""
    assert jpeg is not None
    frame = cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR)
    assert frame is not None
    assert frame.shape[1] <= 960
    left, top, right, bottom = np.array(crop.frame_box) * np.array([*frame.shape[1::-1]] * 2)
    assert 0 <= left < right <= frame.shape[1]
    assert 0 <= top < bottom <= frame.shape[0]
    face = frame[round(top) : round(bottom), round(left) : round(right)]
    pixels = cv2.imdecode(np.frombuffer(crop.jpeg, np.uint8), cv2.IMREAD_COLOR)
    assert pixels is not None
    assert abs(float(face.mean()) - float(pixels.mean())) < 60


def state_of(board: CameraBoard, test_id: str) -> str:
    result = board.test_result(test_id)
    return "" if result is None else result.state


def test_from_a_camera_to_crops_and_a_clean_end(
    cameras: str, valkey_server: servers.Server, redis: Redis, tmp_path: Path
) -> None:
    urls = {"lobby": f"{cameras}/lobby.mp4?play_count=0", "away": f"{cameras}/none.mp4"}
    with (
        socket.create_server(("127.0.0.1", 0)) as silent,
        ingest(
            tmp_path, valkey_server.url, **urls, silent=f"rtsp://127.0.0.1:{silent.getsockname()[1]}/main"
        ) as process,
    ):
        wait_until(lambda: named(redis), 40, what="a message that names crops")
        wait_until(lambda: process.state("away") == "offline", what="the other camera")

        ids = named(redis)
        stored = Crops(redis, keyring(Settings(home=tmp_path)))
        crops = [crop for crop in stored.get(ids) if crop is not None]
        assert [crop.id for crop in crops] == ids
        for crop in crops:
            assert (crop.camera_id, crop.camera_group) == ("lobby", "lobby")
            assert_frame_shows(stored.get_frame(crop.frame_id), crop)
            assert abs(now_us() - crop.captured_at_us) < 20_000_000
            assert crop.quality >= 0.5
            pixels = cv2.imdecode(np.frombuffer(crop.jpeg, np.uint8), cv2.IMREAD_COLOR)
            assert pixels is not None
            assert (np.array(crop.landmarks) > 0).all()
            assert (np.array(crop.landmarks) < pixels.shape[1::-1]).all()

        board = CameraBoard(redis, process.keyring)
        wait_until(lambda: board.picture("lobby"), what="a picture")
        wait_until(lambda: board.statuses(["lobby"])["lobby"].frames_per_s > 5, what="figures")
        statuses = board.statuses(["lobby", "away", "silent"])
        lobby, away = statuses["lobby"], statuses["away"]
        assert (lobby.state, lobby.codec, lobby.width > 0, lobby.message) == ("live", "h264", True, "")
        assert away.state in {"offline", "connecting"}
        assert away.reason == "not_found"
        assert "the camera has no stream of that path" in away.message
        assert PASSWORD not in away.message
        assert board.picture("away") is None

        assert process.state("lobby") == "live"
        metrics = process.metrics()
        assert metrics['lookout_frames_decoded_total{camera="lobby"}'] > 10
        assert metrics['lookout_frames_analysed_total{camera="lobby"}'] > 0
        assert metrics['lookout_faces_detected_total{camera="lobby"}'] > 0
        assert metrics['lookout_crops_published_total{camera="lobby"}'] >= len(ids)
        assert metrics['lookout_camera_reconnects_total{camera="lobby"}'] == 0
        rss_mb = psutil.Process(process.process.pid).memory_info().rss / 1e6
        assert rss_mb < RSS_MB + 3 * RSS_MB_A_CAMERA
        assert len(redis.keys("lease:camera:*")) == 3
        assert process.state("silent") == "connecting"

        process.terminate()
        assert redis.keys("lease:camera:*") == []
        assert redis.zcard("ingest:processes") == 0
        left = [crop for crop in stored.get(named(redis)) if crop is not None]
        assert len({crop.id for crop in left}) == len(left) >= len(crops)

    log = process.log()
    assert log.rstrip().endswith("stopped")
    assert "the camera has no stream of that path" in log
    assert PASSWORD not in log
    assert "Traceback" not in log


def test_valkey_comes_late_and_goes(cameras: str, tmp_path: Path) -> None:
    (tmp_path / "valkey").mkdir()
    with servers.valkey(tmp_path / "valkey") as valkey:
        valkey.kill()
        with ingest(tmp_path / "home", valkey.url) as process:
            wait_until(lambda: "waiting for Redis" in process.log(), 40, what="the wait")
            assert process.state("yard") == "", "without a lease no camera is watched"

            valkey.start()
            process.watch(Camera(id="yard", url=f"{cameras}/yard.mp4?play_count=0"))
            wait_until(lambda: process.state("yard") == "live", what="the camera")

            valkey.kill()
            frames = 'lookout_frames_decoded_total{camera="yard"}'
            before = process.metrics()[frames]
            # Longer than a tick of the main loop.
            wait_until(lambda: process.metrics()[frames] > before + 50, what="more frames")
            assert process.state("yard") == "live", "nobody else can have taken it"

            process.terminate()
    assert "Traceback" not in process.log()


def test_it_ends_while_it_waits_for_valkey(tmp_path: Path) -> None:
    (port,) = free_ports(1)
    with ingest(tmp_path, f"redis://:{PASSWORD}@127.0.0.1:{port}/0") as process:
        wait_until(lambda: "waiting for Redis" in process.log(), 40, what="the wait")

        process.terminate()

    assert PASSWORD not in process.log()


def test_cameras_come_change_and_go(cameras: str, valkey_server: servers.Server, redis: Redis, tmp_path: Path) -> None:
    def gate(group: str = "gate") -> Camera:
        return Camera(id="gate", url=f"{cameras}/yard.mp4?play_count=0", group=group)

    with ingest(tmp_path, valkey_server.url) as process:
        wait_until(lambda: redis.zcard("ingest:processes"), 40, what="the process")
        assert "Traceback" not in process.log(), "no cameras is a state"

        process.watch(gate(), Camera(id="lobby", url=f"{cameras}/lobby.mp4?play_count=0"))
        wait_until(lambda: process.state("gate") == process.state("lobby") == "live", what="both")
        assert len(redis.keys("lease:camera:*")) == 2
        board = CameraBoard(redis, process.keyring)
        wait_until(lambda: board.picture("lobby"), what="a picture")

        process.watch(gate())
        wait_until(lambda: process.state("lobby") == "", 5, what="the end of it")
        wait_until(lambda: len(redis.keys("lease:camera:*")) == 1, 5, what="the end of its lease")
        wait_until(
            lambda: board.picture("lobby") is None and not board.statuses(["lobby"]), 5, what="it to be forgotten"
        )

        process.watch(gate("other"))
        wait_until(lambda: "gate: changed" in process.log(), 5, what="the change")
        wait_until(lambda: process.state("gate") == "live", what="the camera again")

        redis.set("cameras", b"no set of cameras")
        wait_until(lambda: "the cameras cannot be read" in process.log(), 5, what="a word about it")
        redis.delete("cameras")
        frames = 'lookout_frames_decoded_total{camera="gate"}'
        before = process.metrics()[frames]
        wait_until(lambda: process.metrics()[frames] > before + 50, what="more frames")

        process.terminate()
    assert "Traceback" not in process.log()


def test_a_url_is_tried_by_an_ingest_process(
    cameras: str, valkey_server: servers.Server, redis: Redis, tmp_path: Path
) -> None:
    left_half = ((0.0, 0.0), (0.5, 0.0), (0.5, 1.0), (0.0, 1.0))
    with ingest(tmp_path, valkey_server.url) as process:
        board = CameraBoard(redis, process.keyring)
        good = Camera(id="test", url=f"{cameras}/lobby.mp4?play_count=0", masks=(left_half,))
        assert board.ask_test("1", good).reason == "no_ingest"
        wait_until(board.has_ingest, 40, what="the process")

        assert board.ask_test("2", good).state == "waiting"
        board.ask_test("3", Camera(id="test", url=f"{cameras}/none.mp4"))
        wait_until(lambda: state_of(board, "2") != "waiting" != state_of(board, "3"), what="both answers")

        found, missing = board.test_result("2"), board.test_result("3")
        assert found is not None
        assert (found.state, found.codec, round(found.fps)) == ("ok", "h264", 25), found.message
        picture = cv2.imdecode(np.frombuffer(found.jpeg, np.uint8), cv2.IMREAD_GRAYSCALE)
        assert picture is not None
        assert picture.shape[1] == min(960, found.width)
        assert picture[:, : picture.shape[1] // 2].max() < 20
        assert picture[:, picture.shape[1] // 2 + 8 :].max() > 60
        assert missing is not None
        assert (missing.state, missing.reason) == ("failed", "not_found")
        assert missing.message.startswith("rtsp://…@127.0.0.1")
        assert missing.message.endswith("the camera has no stream of that path; look into its manual.")
        assert "waiting" not in str(board.test_result("1"))
        assert redis.keys("*geheim*") == []
        assert all(PASSWORD.encode() not in (redis.get(key) or b"") for key in redis.keys("camera_test:*"))
        process.terminate()
    assert PASSWORD not in process.log()
