from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from lookout.errors import PhotoError
from lookout.faces.assets import AssetCache
from lookout.faces.bulk import CHUNK, examine_many
from lookout.faces.detector import Detector
from lookout.faces.embedder import AlignedFace, Embedder
from lookout.faces.enrolment import examine
from lookout.faces.photos import decode_photo, read_photo

Picture = NDArray[np.uint8]
Source = tuple[str, Callable[[], bytes]]


def jpeg(bgr: Picture) -> bytes:
    coded, data = cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, 90])
    assert coded
    return data.tobytes()


def given(name: str, data: bytes) -> Source:
    return name, lambda: data


@pytest.fixture(scope="module")
def files(man_a: Picture, five_people: Picture) -> list[bytes]:
    """Good, several, small, nobody, damaged, empty, no picture: more than two chunks of them."""
    seven = [
        jpeg(man_a),
        jpeg(five_people),
        jpeg(cv2.resize(man_a, None, fx=0.15, fy=0.15).astype(np.uint8)),
        jpeg(np.full((200, 300, 3), 90, np.uint8)),
        jpeg(man_a)[:5000],
        b"",
        b"Dear Sir",
    ]
    return (seven * (2 * CHUNK // 7 + 2))[: 2 * CHUNK + 5]


def test_many_photos_come_out_as_each_alone(files: list[bytes], detector: Detector, embedder: Embedder) -> None:
    results = list(examine_many([given(f"{k}.jpg", data) for k, data in enumerate(files)], detector, embedder))

    assert [result.data for result in results] == files
    assert [result.examination.name for result in results] == [f"{k}.jpg" for k in range(len(files))]
    for data, result in zip(files, results, strict=True):
        found = result.examination
        if found.unread is not None:
            with pytest.raises(PhotoError) as refused:
                decode_photo(data, found.name)
            assert (str(found.unread), found.unread.reasons) == (str(refused.value), refused.value.reasons)
            assert found.faces == ()
            continue
        alone = examine(decode_photo(data, found.name), found.name, detector, embedder)
        assert found.size_wh == alone.size_wh
        assert [face.reasons for face in found.faces] == [face.reasons for face in alone.faces]
        assert str(found.problem()) == str(alone.problem())
        for face, same in zip(found.faces, alone.faces, strict=True):
            np.testing.assert_array_equal(face.detection.box_xyxy, same.detection.box_xyxy)
            assert face.quality == same.quality
            if same.template is None:
                assert face.template is None
            else:
                assert face.template is not None
                np.testing.assert_allclose(face.template, same.template, atol=1e-6)
    assert {result.examination.unread is None for result in results} == {True, False}


def test_what_cannot_be_read_stops_nobody(
    tmp_path: Path, assets: AssetCache, detector: Detector, embedder: Embedder
) -> None:
    paths = [tmp_path / "absent.jpg", assets.media("single_face.jpg")]

    absent, good = examine_many([(path.name, partial(read_photo, path)) for path in paths], detector, embedder)

    assert absent.data == b""
    problem = absent.examination.problem()
    assert problem is not None
    assert problem.reasons == ("unreadable",)
    assert "absent.jpg cannot be read: No such file" in str(problem)
    assert good.examination.problem() is None


def test_a_failed_photo_holds_no_pixels(detector: Detector, embedder: Embedder, man_a: Picture) -> None:
    (result,) = examine_many([given("a.jpg", jpeg(man_a)[:5000])], detector, embedder)

    unread = result.examination.unread
    assert unread is not None
    assert unread.__traceback__ is None
    assert unread.__context__ is None


def test_photos_are_taken_as_they_are_needed(man_a: Picture, detector: Detector, embedder: Embedder) -> None:
    data, taken = jpeg(cv2.resize(man_a, (200, 200)).astype(np.uint8)), 0

    def endless() -> Iterator[Source]:
        nonlocal taken
        while True:
            taken += 1
            yield given("a.jpg", data)

    results = examine_many(endless(), detector, embedder)
    for seen in range(1, 3 * CHUNK):
        next(results)
        assert taken <= seen + 2 * CHUNK
    results.close()  # type: ignore[attr-defined]

    assert not [thread for thread in threading.enumerate() if thread.name.startswith("examine")]


def test_one_call_of_the_embedder_serves_a_chunk(
    man_a: Picture, detector: Detector, embedder: Embedder, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[tuple[int, int]] = []
    embed = Embedder.embed

    def counted(self: Embedder, aligned: Sequence[AlignedFace]) -> NDArray[np.float32]:
        calls.append((len(aligned), threading.get_ident()))
        return embed(self, aligned)

    monkeypatch.setattr(Embedder, "embed", counted)
    data = jpeg(cv2.resize(man_a, (200, 200)).astype(np.uint8))

    list(examine_many([given("a.jpg", data)] * (CHUNK + 3), detector, embedder))

    assert calls == [(CHUNK, threading.get_ident()), (3, threading.get_ident())]


def test_no_photos(detector: Detector, embedder: Embedder) -> None:
    assert list(examine_many([], detector, embedder)) == []


def test_a_mistake_of_the_program_is_not_taken_for_a_bad_photo(detector: Detector, embedder: Embedder) -> None:
    def broken() -> bytes:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        list(examine_many([("a.jpg", broken)], detector, embedder))
