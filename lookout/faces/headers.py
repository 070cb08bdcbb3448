"""What a HEIC or AVIF file says of its pictures' sizes, read without a decoder.

Their decoders tell too little, too late: libheif reports the size after cropping (`clap`) and decodes what was cropped
away, libavif enlarges what it decoded to the size that the file claims.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

#: A phone's photo has some 200 boxes: tiles, their sizes and colours. More than this would take long to look through.
MAX_BOXES = 10_000
#: The boxes that lead to the sizes, and the bytes of version and flags that they begin with.
_PATH = {b"meta": 4, b"iprp": 0, b"ipco": 0}


#: Major brands of HEIC and AVIF, single pictures and sequences, and of either.
_BRANDS = {b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs", b"avif", b"avis", b"mif1", b"msf1"}


def is_heif(data: bytes) -> bool:
    """Whether the file says of itself that it is HEIC or AVIF."""
    return data[4:8] == b"ftyp" and data[8:12] in _BRANDS


def heif_sizes(data: bytes) -> list[tuple[int, int]]:
    """Width and height of every picture, tile and thumbnail of a HEIC or AVIF file, as claimed before any cropping.

    ISO/IEC 23008-12, 6.5.3: each has an image spatial extents property (`ispe`). A sequence of frames has none.

    Raises:
        ValueError: it has more boxes than a photo has.
    """
    sizes = []
    for count, (kind, start) in enumerate(_boxes(data, 0, len(data))):
        if count == MAX_BOXES:
            raise ValueError("more boxes than a photo has")
        if kind == b"ispe" and start + 12 <= len(data):
            sizes.append(struct.unpack_from(">II", data, start + 4))
    return [(width, height) for width, height in sizes]


def _boxes(data: bytes, start: int, end: int) -> Iterator[tuple[bytes, int]]:
    """Type and start of the content of each box between two places, and of the boxes in those of `_PATH`."""
    while start + 8 <= end:
        size, kind = struct.unpack_from(">I4s", data, start)
        content = start + 8
        if size == 1 and start + 16 <= end:
            (size,) = struct.unpack_from(">Q", data, start + 8)
            content = start + 16
        stop = end if size == 0 else min(start + size, end)
        if stop < content:
            return
        yield kind, content
        if kind in _PATH:
            yield from _boxes(data, content + _PATH[kind], stop)
        start = stop
