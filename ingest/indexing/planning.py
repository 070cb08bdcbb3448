"""A file's parts: each begins where decoding can begin, so that none decodes what belongs to another."""

from __future__ import annotations

from ingest.indexing.orders import Scanned

#: A part is at most about this long: what is done of a video when its process is killed is known to the part.
MAX_PART_US = 60_000_000
#: At least so long, as a track ends with its part; and a short file is shared by some children.
MIN_PART_US = 15_000_000
SHARES = 8

Span = tuple[int, int | None]


def parts_of(scanned: Scanned) -> list[Span]:
    """Begin and end of each part, microseconds since the first frame; the last goes to the end, whenever that is."""
    begins = [0]
    length_us = min(MAX_PART_US, max(MIN_PART_US, scanned.duration_us // SHARES))
    if scanned.can_seek:
        for key_us in scanned.keys_us:
            if key_us - begins[-1] >= length_us and scanned.duration_us - key_us >= length_us // 2:
                begins.append(key_us)
    return list(zip(begins, [*begins[1:], None], strict=True))
