"""Frames turned as the file says that they are to be shown: a phone held upright writes them lying on their side."""

from __future__ import annotations

import av.filter
from av.video.frame import VideoFrame

_FILTERS = {90: ("transpose", "cclock"), 180: ("hflip", ""), 270: ("transpose", "clock")}


class Upright:
    """Turns frames. For one thread."""

    def __init__(self) -> None:
        self._key: tuple[int, int, int, str] | None = None
        self._graph: av.filter.Graph | None = None

    def turn(self, picture: VideoFrame) -> VideoFrame:
        """A frame as browsers show it; itself where it is upright, or turned by something else than quarters."""
        quarters = picture.rotation % 360
        if quarters not in _FILTERS:
            return picture
        key = (quarters, picture.width, picture.height, picture.format.name)
        if self._graph is None or key != self._key:
            self._key, self._graph = key, _graph(picture, quarters)
        self._graph.push(picture)
        return self._graph.vpull()


def _graph(picture: VideoFrame, quarters: int) -> av.filter.Graph:
    graph = av.filter.Graph()
    source = graph.add_buffer(
        width=picture.width, height=picture.height, format=picture.format, time_base=picture.time_base
    )
    steps = [graph.add(*_FILTERS[quarters])] + ([graph.add("vflip")] if quarters == 180 else [])
    for before, after in zip([source, *steps], [*steps, graph.add("buffersink")], strict=True):
        before.link_to(after)
    graph.configure()
    return graph
