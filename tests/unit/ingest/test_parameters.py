from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest.parameters import MAX_UNITS, parameter_sets

START = b"\0\0\0\1"
#: SPS, PPS and a key frame of H.264; VPS, SPS, PPS and a key frame of H.265.
H264 = [b"\x67\x64\x00\x1f", b"\x68\xeb\xe3", b"\x65\x88\x84"]
HEVC = [b"\x40\x01\x0c", b"\x42\x01\x01", b"\x44\x01\xc1", b"\x26\x01\xaf"]
AVCC = bytes([1, 0x64, 0, 0x1F, 0xFF, 0xE1])
HVCC = bytes([1, *[0] * 20, 3])


def annex_b(units: list[bytes]) -> bytes:
    return b"".join(START + unit for unit in units)


def counted(units: list[bytes]) -> bytes:
    return b"".join(len(unit).to_bytes(4, "big") + unit for unit in units)


@pytest.mark.parametrize(("codec", "units", "record"), [("h264", H264, AVCC), ("hevc", HEVC, HVCC)])
def test_the_sets_before_a_key_frame(codec: str, units: list[bytes], record: bytes) -> None:
    expected = annex_b(units[:-1])

    assert parameter_sets(codec, annex_b(units[:-1]), annex_b(units)) == expected
    assert parameter_sets(codec, record, counted(units)) == expected
    assert parameter_sets(codec, b"", annex_b(units).replace(START, START[1:])) == expected
    assert parameter_sets(codec, b"", annex_b(units[-1:])) == b""


def test_units_after_the_picture_are_not_looked_at() -> None:
    assert parameter_sets("h264", b"", annex_b([H264[2], *H264])) == b""
    assert parameter_sets("h264", b"", annex_b([b"\x06\x05"] * MAX_UNITS + H264)) == b""


@given(
    st.sampled_from(["h264", "hevc"]), st.binary(max_size=30) | st.just(AVCC) | st.just(HVCC), st.binary(max_size=200)
)
def test_any_bytes(codec: str, extradata: bytes, packet: bytes) -> None:
    assert len(parameter_sets(codec, extradata, packet)) <= 5 * len(packet)
