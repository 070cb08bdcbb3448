"""How fast files are indexed, with all of Lookout on the machine. The floor: 8 times real time on two cores."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import av
import cv2
import numpy as np
import psutil

from lookout.faces.models import asset_cache
from lookout.settings import Settings

SECONDS, FPS, SIZE = 150, 25, (1920, 1080)
#: Another person, in another place, each second: about one face a second.
CLIPS = ("WolfgangLanger_Pexels.mp4", "single_face.mp4", "noface_face.mov")
PLACES = ((40, 40), (1240, 40), (640, 360), (40, 680), (1240, 680))
CLIP_SIZE = (640, 360)


def measure() -> dict[str, float]:
    """Times real time at which a 1080p25 H.264 file is indexed, and the processor seconds of all that takes part."""
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        make_file(home / "bench.mp4")
        env = {**os.environ, "LOOKOUT_HOME": folder}
        lookout = [sys.executable, "-m", "lookout"]
        subprocess.run([*lookout, "up", "--detach"], env=env, check=True, stdout=subprocess.DEVNULL, timeout=300)
        try:
            before = _cpu_s(home)
            began = os.times()
            run = subprocess.run(
                [
                    *(*lookout, "index", str(home / "bench.mp4"), "--camera", "bench"),
                    *("--start", "2026-11-01T08:00:00+01:00", "--json"),
                ],
                env=env, check=True, stdout=subprocess.PIPE, text=True, timeout=600,
            )  # fmt: skip
            ended, after = os.times(), _cpu_s(home)
        finally:
            subprocess.run([*lookout, "down"], env=env, check=False, timeout=60)
    (video,) = json.loads(run.stdout)["videos"]
    own_s = ended.children_user + ended.children_system - began.children_user - began.children_system
    return {
        "indexing, 1080p25 H.264, times real time": video["rate"],
        "indexing: sightings in 150 s": video["sightings"],
        "indexing: processor seconds of the command and its children": own_s,
        "indexing: processor seconds of workers and stores": after - before,
    }


def make_file(path: Path) -> None:
    """A file in which a face shows up each second."""
    media = asset_cache(Settings())
    clips = [_frames(str(media.media(name))) for name in CLIPS]
    rng = np.random.default_rng(1)
    ground = cv2.resize(rng.integers(40, 200, (68, 120, 3), np.uint8), SIZE, interpolation=cv2.INTER_CUBIC)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=FPS, options={"preset": "veryfast"})
        stream.width, stream.height, stream.pix_fmt = *SIZE, "yuv420p"
        for number in range(SECONDS * FPS):
            second, clip = number // FPS, clips[number // FPS % len(clips)]
            x, y = PLACES[second % len(PLACES)]
            bgr = ground.copy()
            bgr[y : y + CLIP_SIZE[1], x : x + CLIP_SIZE[0]] = clip[number % FPS % len(clip)]
            frame = av.VideoFrame.from_ndarray(bgr.astype(np.uint8, copy=False), format="bgr24")
            frame.pts = number
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))


def _frames(path: str) -> list[np.ndarray[tuple[int, ...], np.dtype[np.uint8]]]:
    """The last frames of a clip: all of them end with a face."""
    width, height = CLIP_SIZE
    with av.open(path) as container:
        frames = list(container.decode(video=0))[-40:]
        return [frame.to_ndarray(format="bgr24", width=width, height=height).astype(np.uint8) for frame in frames]


def _cpu_s(home: Path) -> float:
    """Processor time of the running system, all processes together."""
    supervisor = psutil.Process(int((home / "run" / "supervisor.pid").read_text()))
    total = 0.0
    for process in [supervisor, *supervisor.children(recursive=True)]:
        times = process.cpu_times()
        total += times.user + times.system
    return total


if __name__ == "__main__":
    for name, figure in measure().items():
        print(f"{name:<75} {figure:.1f}")  # noqa: T201
