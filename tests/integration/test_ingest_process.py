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
from lookout.clock import now_us
from lookout.faces.assets import AssetCache
from lookout.queue import CROPS
from lookout.stores.crops import Crops
from tests import servers
from tests.servers import wait_until

PASSWORD = "geheim"
#: What one process may hold, and more for each camera.
RSS_MB, RSS_MB_A_CAMERA = 250, 60


class Ingest:
    """One process with a home of its own."""

    def __init__(self, home: Path, redis_url: str, cameras: dict[str, str]) -> None:
        home.mkdir(exist_ok=True)
        file = home / "cameras.toml"
        file.write_text("".join(f'[[camera]]\nid = "{name}"\nurl = "{url}"\n' for name, url in cameras.items()))
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
    running = Ingest(home, redis_url, cameras)
    try:
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
        crops = [crop for crop in Crops(redis).get(ids) if crop is not None]
        assert [crop.id for crop in crops] == ids
        for crop in crops:
            assert (crop.camera_id, crop.camera_group) == ("lobby", "lobby")
            assert abs(now_us() - crop.captured_at_us) < 20_000_000
            assert crop.quality >= 0.5
            pixels = cv2.imdecode(np.frombuffer(crop.jpeg, np.uint8), cv2.IMREAD_COLOR)
            assert pixels is not None
            assert (np.array(crop.landmarks) > 0).all()
            assert (np.array(crop.landmarks) < pixels.shape[1::-1]).all()

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
        left = [crop for crop in Crops(redis).get(named(redis)) if crop is not None]
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
        with ingest(tmp_path / "home", valkey.url, yard=f"{cameras}/yard.mp4?play_count=0") as process:
            wait_until(lambda: "waiting for Redis" in process.log(), 40, what="the wait")
            assert process.state("yard") == "", "without a lease no camera is watched"

            valkey.start()
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
    with ingest(tmp_path, f"redis://:{PASSWORD}@127.0.0.1:{port}/0", yard="rtsp://127.0.0.1/x") as process:
        wait_until(lambda: "waiting for Redis" in process.log(), 40, what="the wait")

        process.terminate()

    assert PASSWORD not in process.log()


def test_a_camera_file_with_a_fault_is_said_at_once(tmp_path: Path) -> None:
    with ingest(tmp_path, "redis://127.0.0.1:1/0", yard=f"gopher://admin:{PASSWORD}@host/x") as process:
        assert process.process.wait(40) == 2

    log = process.log()
    assert f"{tmp_path / 'cameras.toml'}, line 3: field `url`: Expected a URL" in log
    assert "Traceback" not in log
    assert PASSWORD not in log
