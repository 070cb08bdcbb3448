"""Many photos examined: decoding and detection on several threads, one call to the embedder a chunk."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice

from lookout.errors import PhotoError
from lookout.faces.detector import Detector
from lookout.faces.embedder import Embedder
from lookout.faces.enrolment import Examination, Glance, complete, glance
from lookout.faces.gates import USUAL, Gates
from lookout.faces.photos import decode_photo

#: Photos whose faces are embedded in one call. A larger one gains nothing, as the embedder's own batch, and holds more.
CHUNK = 16


@dataclass(frozen=True, slots=True, eq=False)
class ExaminedPhoto:
    """One of many photos: its bytes as they came (empty if they could not be read), and what it shows."""

    data: bytes
    examination: Examination


def examine_many(
    photos: Iterable[tuple[str, Callable[[], bytes]]],
    detector: Detector,
    embedder: Embedder,
    *,
    gates: Gates = USUAL,
    threads: int = 2,
) -> Iterator[ExaminedPhoto]:
    """Examine photos as `examine` does, faster. A bad photo stops no other: its examination carries the error.

    While one chunk is embedded the next is decoded, so the files of two chunks and the pixels of `threads` photos are
    held at a time, however many there are.

    Args:
        photos: what to call each in messages, and how to get its file, such as `partial(read_photo, path)`: called
            once, on any thread; it may raise PhotoError. They are taken as they are needed.
        detector: finds the faces; each thread has its own inference request.
        embedder: used by the caller's thread alone.
        gates: what a face must have.
        threads: how many photos are decoded and searched at a time.

    Yields:
        one result for each photo, in their order.
    """
    remaining = iter(photos)
    waiting: deque[list[Future[tuple[bytes, Glance]]]] = deque()
    pool = ThreadPoolExecutor(threads, thread_name_prefix="examine")
    try:
        while chunk := list(islice(remaining, CHUNK)):
            waiting.append([pool.submit(_glance, name, read, detector, embedder, gates) for name, read in chunk])
            if len(waiting) == 2:
                yield from _finished(waiting.popleft(), embedder)
        while waiting:
            yield from _finished(waiting.popleft(), embedder)
    finally:
        # Whoever stops listening waits for the photos in hand only.
        pool.shutdown(cancel_futures=True)


def _glance(
    name: str, read: Callable[[], bytes], detector: Detector, embedder: Embedder, gates: Gates
) -> tuple[bytes, Glance]:
    data = b""
    try:
        data = read()
        return data, glance(decode_photo(data, name), name, detector, embedder, gates)
    except PhotoError as error:
        # Made anew: the one caught holds, by its traceback, all that was decoded.
        unread = PhotoError(str(error), reasons=error.reasons)
        return data, Glance(Examination(name, (0, 0), (), unread))


def _finished(chunk: list[Future[tuple[bytes, Glance]]], embedder: Embedder) -> list[ExaminedPhoto]:
    files, glances = zip(*(future.result() for future in chunk), strict=True)
    return [
        ExaminedPhoto(data, examination) for data, examination in zip(files, complete(glances, embedder), strict=True)
    ]
