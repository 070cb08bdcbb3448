"""The demo's cameras: published clips, made once into what a camera would send."""

from __future__ import annotations

import os
from fractions import Fraction
from pathlib import Path

import av
from av.video.stream import VideoStream

from lookout.faces.assets import AssetCache

#: Camera -> clip. Who is to be seen there is said in the manifest.
CLIPS = {
    "entrance": "noface_face.mov",
    "lobby": "WolfgangLanger_Pexels.mp4",
    "yard": "no_face.mp4",
}
WIDTH, HEIGHT, FPS = 1280, 720, 25
#: A key frame every two seconds, as cameras send them.
KEY_FRAME_EVERY = 50
#: Clips are repeated to this length: at each start over the server's time stamps have a seam.
MIN_FRAMES = 20 * FPS
#: Raise it when the clips are to be made anew.
REVISION = 1


def prepare_clips(assets: AssetCache) -> Path:
    """A folder with a clip per camera that an RTSP server can send as it is: 720p, 25 frames a second, no B-frames."""
    folder = assets.root / "clips" / str(REVISION)
    folder.mkdir(parents=True, exist_ok=True)
    for camera, clip in CLIPS.items():
        target = folder / f"{camera}.mp4"
        if not target.exists():
            # A name that the server, which another demo may run now, does not offer.
            part = folder / f".{camera}.{os.getpid()}.part"
            try:
                _make_camera_like(assets.media(clip), part)
                part.replace(target)
            finally:
                part.unlink(missing_ok=True)
    return folder


def _make_camera_like(source: Path, target: Path) -> None:
    with av.open(target, "w", format="mp4") as output:
        stream = output.add_stream("libx264", rate=FPS)
        assert isinstance(stream, VideoStream)  # noqa: S101 - for the type checker: libx264 makes video
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        # B-frames would arrive out of order: the server stamps frames in the order of the file.
        stream.codec_context.max_b_frames = 0
        stream.options = {"preset": "veryfast", "crf": "20", "g": str(KEY_FRAME_EVERY), "bf": "0", "sc_threshold": "0"}
        written = 0
        while written < MIN_FRAMES:
            started = written
            with av.open(source) as clip:
                for frame in clip.decode(video=0):
                    picture = frame.reformat(width=WIDTH, height=HEIGHT, format="yuv420p")
                    # A slower clip repeats frames, a faster one loses some: real time stays real.
                    due = started + round((frame.time or 0.0) * FPS) + 1
                    for pts in range(written, due):
                        picture.pts, picture.time_base = pts, Fraction(1, FPS)
                        output.mux(stream.encode(picture))
                    written = max(written, due)
        output.mux(stream.encode(None))
