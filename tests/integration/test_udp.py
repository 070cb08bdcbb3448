"""RTSP over UDP, from a server that offers both."""

from __future__ import annotations

import subprocess
import threading
from pathlib import Path

import pytest

from deploy.local.clips import prepare_clips
from deploy.local.parts import free_ports, listens
from deploy.local.supervisor import Child
from ingest.source import Frame, read_frames
from lookout.camera_settings import Camera
from lookout.clock import now_us
from lookout.faces.assets import AssetCache
from tests.servers import wait_until

PYTHON = "/usr/bin/python3"
NEEDS = "import gi; gi.require_version('GstRtspServer', '1.0'); from gi.repository import GstRtspServer"
PACKAGES = "gir1.2-gst-rtsp-server-1.0 gstreamer1.0-plugins-good gstreamer1.0-plugins-bad python3-gi"


@pytest.mark.parametrize("transport", ["udp", "tcp"])
def test_frames_come_and_rtcp_tells_their_time(assets: AssetCache, tmp_path: Path, transport: str) -> None:
    if not Path(PYTHON).exists() or subprocess.run([PYTHON, "-c", NEEDS], capture_output=True, check=False).returncode:
        pytest.skip(f"GStreamer's RTSP server is not installed: apt-get install {PACKAGES}")
    (port,) = free_ports(1)
    script = Path(__file__).parents[1] / "gst_rtsp_server.py"
    clip = prepare_clips(assets) / "entrance.mp4"
    server = Child("gst", [PYTHON, str(script), str(port), str(clip)], lambda: listens(port))
    server.start(tmp_path)
    try:
        wait_until(server.ready, what="the RTSP server")
        camera = Camera(id="door", url=f"rtsp://127.0.0.1:{port}/clip", transport=transport)  # type: ignore[arg-type]
        stop = threading.Event()
        frames = []
        for frame in read_frames(camera, stop):
            assert isinstance(frame, Frame)
            frames.append((frame.captured_at_us, frame.camera_offset_us, now_us()))
            if len(frames) == 100:
                stop.set()
    finally:
        server.end(deadline=0)

    captured = [at_us for at_us, _, _ in frames]
    assert captured == sorted(captured)
    # Servers send the first second in a burst; once the sender report has come, frames are 40 ms apart.
    assert captured[-1] - captured[-26] == pytest.approx(1_000_000, abs=50_000)
    assert all(0 <= now - at_us < 500_000 for at_us, _, now in frames)
    # The sender report has come: the camera's clock is this machine's, and the way from it takes some milliseconds.
    assert 0 < frames[-1][1] < 500_000
