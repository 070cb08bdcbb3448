from __future__ import annotations

import io
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from lookout.faces import photos  # it makes HEIC known to Pillow
from lookout.faces.headers import MAX_BOXES, heif_sizes, is_heif


def box(kind: bytes, content: bytes = b"", *, large: bool = False) -> bytes:
    if large:
        return struct.pack(">I4sQ", 1, kind, 16 + len(content)) + content
    return struct.pack(">I4s", 8 + len(content), kind) + content


def ispe(width: int, height: int, *, large: bool = False) -> bytes:
    return box(b"ispe", struct.pack(">III", 0, width, height), large=large)


def heif(*properties: bytes) -> bytes:
    meta = b"\0\0\0\0" + box(b"hdlr") + box(b"iprp", box(b"ipco", b"".join(properties)))
    return box(b"ftyp", b"heic") + box(b"meta", meta) + box(b"mdat", ispe(7, 7))


@pytest.mark.parametrize("kind", ["HEIF", "AVIF"])
def test_sizes_of_real_files(kind: str) -> None:
    assert kind in photos.FORMATS
    file = io.BytesIO()
    Image.new("RGB", (128, 64), "teal").save(file, kind)

    assert is_heif(file.getvalue())
    assert heif_sizes(file.getvalue()) == [(128, 64)]


def test_every_size_is_found_and_only_among_the_properties() -> None:
    made = heif(ispe(1, 2), box(b"free", b"abc"), ispe(2**32 - 1, 4, large=True))

    assert heif_sizes(made) == [(1, 2), (2**32 - 1, 4)]


def test_a_box_may_reach_to_the_end() -> None:
    meta = struct.pack(">I4sI", 0, b"meta", 0) + box(b"iprp", box(b"ipco", ispe(5, 6)))

    assert heif_sizes(box(b"ftyp", b"avif") + meta) == [(5, 6)]


@pytest.mark.parametrize(("count", "refused"), [(MAX_BOXES - 6, False), (MAX_BOXES, True)])
def test_too_many_boxes_are_refused(count: int, refused: bool) -> None:
    made = heif(*[box(b"free")] * count)

    if refused:
        with pytest.raises(ValueError, match="more boxes than a photo has"):
            heif_sizes(made)
    else:
        assert heif_sizes(made) == []


@pytest.mark.parametrize("data", [b"", b"\0\0\0\x0cftypisom", b"\xff\xd8\xff\xe0\0\x10JFIF", b"heic"])
def test_other_files_are_no_heif(data: bytes) -> None:
    assert not is_heif(data)


@given(st.binary(max_size=400), st.integers(0, 200), st.booleans())
def test_no_bytes_lead_astray(data: bytes, cut: int, behind: bool) -> None:
    made = heif(ispe(1, 2), ispe(3, 4))[:cut]

    assert all(width >= 0 and height >= 0 for width, height in heif_sizes(made + data if behind else data + made))
