"""Clips as cameras would send them."""

from __future__ import annotations

import itertools

import av

from deploy.local.clips import CLIPS, FPS, HEIGHT, KEY_FRAME_EVERY, MIN_FRAMES, WIDTH, prepare_clips
from lookout.faces.assets import AssetCache


def test_clips_are_camera_like(assets: AssetCache) -> None:
    folder = prepare_clips(assets)

    for camera in CLIPS:
        with av.open(folder / f"{camera}.mp4") as clip:
            stream = clip.streams.video[0]
            packets = [packet for packet in clip.demux(stream) if packet.pts is not None]
        assert (stream.codec_context.name, stream.width, stream.height) == ("h264", WIDTH, HEIGHT)
        assert stream.average_rate == FPS
        assert len(packets) >= MIN_FRAMES
        # No B-frames: shown in the order of sending.
        assert all(packet.pts == packet.dts for packet in packets)
        keys = [number for number, packet in enumerate(packets) if packet.is_keyframe]
        assert keys[0] == 0
        assert max(b - a for a, b in itertools.pairwise(keys)) <= KEY_FRAME_EVERY


def test_clips_are_made_once(assets: AssetCache) -> None:
    made = {path: path.stat().st_mtime_ns for path in prepare_clips(assets).glob("*.mp4")}

    assert {path: path.stat().st_mtime_ns for path in prepare_clips(assets).glob("*.mp4")} == made
    assert len(made) == len(CLIPS)
