"""The parameter sets at the head of a key frame: what a decoder must know of the pictures that follow."""

from __future__ import annotations

from collections.abc import Iterator

_START = b"\0\0\1"
#: H.264: SPS and PPS. H.265: VPS, SPS and PPS.
_H264_SETS = frozenset({7, 8})
_HEVC_SETS = frozenset({32, 33, 34})
#: Units of pictures, which come after all parameter sets.
_H264_PICTURES = range(1, 6)
_HEVC_PICTURES = range(32)
#: No frame begins with more.
MAX_UNITS = 64


def parameter_sets(codec: str, extradata: bytes, packet: bytes) -> bytes:
    """The sets that a key frame brings along, in Annex B; empty if it brings none, as they came with the connection.

    Args:
        codec: `h264` or `hevc`.
        extradata: what the connection said of the codec; it tells how units are told apart.
        packet: the key frame as it came.
    """
    sets, pictures = (_HEVC_SETS, _HEVC_PICTURES) if codec == "hevc" else (_H264_SETS, _H264_PICTURES)
    found = []
    units = _annex_b(packet) if is_annex_b(extradata) else _counted(packet, _length_size(codec, extradata))
    for number, unit in enumerate(units):
        kind = (unit[0] >> 1) & 0x3F if codec == "hevc" else unit[0] & 0x1F
        if kind in pictures or number == MAX_UNITS:
            break
        if kind in sets:
            found.append(b"\0" + _START + unit)
    return b"".join(found)


def is_annex_b(extradata: bytes) -> bool:
    """Whether units are separated by start codes, as streams do it, or have their length before them, as files do."""
    return extradata[:1] != b"\1"


def _annex_b(packet: bytes) -> Iterator[bytes]:
    at = packet.find(_START)
    while at >= 0:
        begin = at + len(_START)
        at = packet.find(_START, begin)
        unit = (packet[begin:at] if at >= 0 else packet[begin:]).rstrip(b"\0")
        if unit:
            yield unit


def _counted(packet: bytes, size: int) -> Iterator[bytes]:
    at = 0
    while at + size < len(packet):
        length = int.from_bytes(packet[at : at + size], "big")
        at += size
        if not 0 < length <= len(packet) - at:
            return
        yield packet[at : at + length]
        at += length


def _length_size(codec: str, extradata: bytes) -> int:
    place = 21 if codec == "hevc" else 4
    return (extradata[place] & 3) + 1 if len(extradata) > place else 4
