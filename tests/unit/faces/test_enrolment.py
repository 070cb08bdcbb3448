from __future__ import annotations

import re
from collections.abc import Callable

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from lookout.errors import PhotoError
from lookout.faces.detector import Detection, Detector
from lookout.faces.embedder import Embedder
from lookout.faces.enrolment import EnrolledFace, Examination, complete, enrol_photo, examine, glance
from lookout.faces.gates import MIN_WIDTH_PX, USABLE, USUAL, Gates
from lookout.faces.geometry import Floats
from lookout.faces.remedies import remedies
from lookout.faces.yunet import YuNet

Picture = NDArray[np.uint8]
Enrol = Callable[..., EnrolledFace]


@pytest.fixture(scope="module")
def enrol(detector: Detector, embedder: Embedder) -> Enrol:
    def enrol(bgr: Picture, *, face: int | None = None) -> EnrolledFace:
        return enrol_photo(bgr, "photo.jpg", detector, embedder, face=face)

    return enrol


@pytest.fixture(scope="module")
def template_a(enrol: Enrol, man_a: Picture) -> Floats:
    return enrol(man_a).template


def resized(picture: Picture, factor: float) -> Picture:
    how = cv2.INTER_AREA if factor < 1 else cv2.INTER_CUBIC
    return cv2.resize(picture, None, fx=factor, fy=factor, interpolation=how).astype(np.uint8, copy=False)


def on_wall(picture: Picture, height: int, width: int, top: int, left: int) -> Picture:
    """The picture hung on a grey wall."""
    wall = np.full((height, width, 3), 120, np.uint8)
    wall[top : top + picture.shape[0], left : left + picture.shape[1]] = picture
    return wall


def test_a_good_photo_becomes_a_reference(enrol: Enrol, embedder: Embedder, man_a: Picture) -> None:
    enrolled = enrol(man_a)

    assert enrolled.quality.value >= USABLE
    assert enrolled.quality.reasons == ()
    assert enrolled.detection.width_px == pytest.approx(183, abs=5)
    assert enrolled.template.shape == (192,)
    assert np.linalg.norm(enrolled.template) == pytest.approx(1, abs=1e-5)
    np.testing.assert_array_equal(
        enrolled.template, embedder.embed([embedder.align(man_a, enrolled.detection.landmarks)])[0]
    )


# --- which face ---


def test_of_several_faces_one_must_be_chosen(enrol: Enrol, five_people: Picture) -> None:
    with pytest.raises(PhotoError) as refused:
        enrol(five_people)

    assert refused.value.reasons == ("several_faces",)
    message = str(refused.value)
    assert message.startswith("photo.jpg: 5 faces found (1: ")
    assert "Choose one with --face 1…5, counted from the left." in message
    lefts = [int(left) for left in re.findall(r"\d: \d+×\d+ pixels at (\d+),\d+", message)]
    np.testing.assert_allclose(lefts, [212, 315, 439, 531, 686], atol=6)


def test_the_chosen_face_is_enrolled(enrol: Enrol, five_people: Picture) -> None:
    enrolled = [enrol(five_people, face=number) for number in (1, 2, 3, 4, 5)]

    lefts = [float(one.detection.box_xyxy[0]) for one in enrolled]
    assert lefts == sorted(lefts)
    templates = np.stack([one.template for one in enrolled])
    # Two of them resemble each other by .56 to .61, which depends on how this machine calculates.
    assert (templates @ templates.T - 2 * np.eye(5)).max() < 0.7, "five different people"


@pytest.mark.parametrize("face", [-1, 0, 6, 99])
def test_a_face_that_is_not_there_cannot_be_chosen(enrol: Enrol, five_people: Picture, face: int) -> None:
    with pytest.raises(PhotoError, match=rf"photo\.jpg: there is no face {face}; 5 found, counted from the left") as no:
        enrol(five_people, face=face)

    assert no.value.reasons == ("no_face",)


def test_the_only_face_may_be_chosen(enrol: Enrol, man_a: Picture) -> None:
    np.testing.assert_array_equal(enrol(man_a, face=1).template, enrol(man_a).template)
    with pytest.raises(PhotoError, match="there is no face 2; 1 found"):
        enrol(man_a, face=2)


@pytest.mark.parametrize("face", [None, 1])
@pytest.mark.parametrize("shape", [(1, 1), (1, 5000), (480, 640)])
def test_nobody(enrol: Enrol, shape: tuple[int, int], face: int | None) -> None:
    with pytest.raises(PhotoError, match=r"photo\.jpg: no face found\. Use a photo where") as refused:
        enrol(np.full((*shape, 3), 120, np.uint8), face=face)

    assert refused.value.reasons == ("no_face",)


@pytest.mark.parametrize(("share", "faces"), [(0.15, 1), (0.3, 2)])
def test_a_passer_by_in_the_background_is_no_second_face(
    enrol: Enrol, man_a: Picture, five_people: Picture, share: float, faces: int
) -> None:
    passer_by = five_people[40:200, 190:330]  # the face of one of them, 91 pixels wide
    photo = on_wall(man_a, 562, 900, 0, 0)
    small = resized(passer_by, share * 183 / 91)
    photo[100 : 100 + small.shape[0], 700 : 700 + small.shape[1]] = small

    if faces == 1:
        assert enrol(photo).detection.width_px > 170
    else:
        with pytest.raises(PhotoError, match="2 faces found"):
            enrol(photo)


# --- how large it is in the picture ---


@pytest.mark.parametrize("enlarged", [1, 2, 3, 4, 6, 8])
@pytest.mark.parametrize("margin_px", [10, 60, 140])
def test_a_portrait_is_accepted_however_many_pixels_it_has(
    enrol: Enrol, template_a: Floats, man_a: Picture, enlarged: float, margin_px: int
) -> None:
    x1, y1, x2, y2 = 191, 148, 374, 399
    portrait = man_a[y1 - margin_px : y2 + margin_px, x1 - margin_px : x2 + margin_px]

    enrolled = enrol(resized(portrait, enlarged))

    assert enrolled.detection.width_px == pytest.approx(183 * enlarged, rel=0.05)
    assert float(enrolled.template @ template_a) > 0.93


@pytest.mark.parametrize("width_px", [45, 60])
def test_a_small_face_in_a_large_photo_is_found(
    enrol: Enrol, template_a: Floats, man_a: Picture, width_px: float
) -> None:
    photo = on_wall(resized(man_a, width_px / 183), 900, 1280, 300, 700)

    enrolled = enrol(photo)

    assert enrolled.detection.box_xyxy[0] > 700
    assert float(enrolled.template @ template_a) > 0.75


# --- how good it is ---


@pytest.mark.parametrize(
    ("what", "reasons"),
    [
        ("20 pixels", {"small"}),
        ("38 pixels", {"small"}),  # good enough to be seen by a camera, not to be a reference
        ("blurred", {"blurred"}),
        ("dark", {"dark"}),
        ("hidden", {"low_score"}),
    ],
)
def test_a_poor_face_is_refused_with_what_would_help(
    enrol: Enrol, man_a: Picture, what: str, reasons: set[str]
) -> None:
    hidden = man_a.copy()
    hidden[230:] = 120  # from the eyes downwards
    photos: dict[str, Callable[[], Picture]] = {
        "20 pixels": lambda: resized(man_a, 20 / 183),
        "38 pixels": lambda: resized(man_a, 38 / 183),
        "blurred": lambda: cv2.GaussianBlur(man_a, (0, 0), 11).astype(np.uint8, copy=False),
        "dark": lambda: (man_a * 0.15).astype(np.uint8),
        "hidden": lambda: hidden,
    }
    photo = photos[what]()

    with pytest.raises(PhotoError, match=r"photo\.jpg: the face \(\d+ pixels wide\) is not good enough") as refused:
        enrol(photo)

    assert reasons <= set(refused.value.reasons)
    for remedy in remedies(refused.value.reasons):
        assert remedy in str(refused.value)
    assert str(refused.value).count("use ") == len(refused.value.reasons)


@pytest.mark.parametrize("width_px", range(36, 46))
def test_the_least_width_is_kept(enrol: Enrol, detector: Detector, man_a: Picture, width_px: int) -> None:
    photo = resized(man_a, width_px / 183)
    found = detector.detect(photo)[0].width_px

    if found >= MIN_WIDTH_PX:
        assert enrol(photo).detection.width_px == found
    else:
        with pytest.raises(PhotoError) as refused:
            enrol(photo)
        assert refused.value.reasons == ("small",)


@pytest.mark.parametrize(
    ("gates", "accepted"),
    [
        pytest.param(USUAL, False, id="usual"),
        pytest.param(Gates(min_face_px=25, min_quality=0.3), True, id="less"),
        pytest.param(Gates(min_face_px=25), False, id="smaller, of the usual quality"),
        pytest.param(Gates(min_quality=0.3), False, id="poorer, of the usual size"),
    ],
)
def test_gates_may_ask_for_less(
    detector: Detector, embedder: Embedder, man_a: Picture, gates: Gates, accepted: bool
) -> None:
    small = resized(man_a, 26 / 183)

    (face,) = examine(small, "photo.jpg", detector, embedder).faces
    assert 25 < face.detection.width_px < 40
    assert 0.3 < face.quality.value < 0.5
    (face,) = complete([glance(small, "photo.jpg", detector, embedder, gates)], embedder)[0].faces
    assert (face.accepted, face.template is not None) == (accepted, accepted)


def test_gates_may_ask_for_more(detector: Detector, embedder: Embedder, man_a: Picture) -> None:
    with pytest.raises(PhotoError, match=r"181 pixels wide.*\(small\): the face must be at least 300 pixels wide"):
        enrol_photo(man_a, "photo.jpg", detector, embedder, gates=Gates(min_face_px=300))


# --- all that a photo shows ---


@pytest.fixture(scope="module")
def looked(detector: Detector, embedder: Embedder) -> Callable[[Picture], Examination]:
    return lambda bgr: examine(bgr, "photo.jpg", detector, embedder)


def test_all_faces_are_told_from_left_to_right(
    looked: Callable[[Picture], Examination], enrol: Enrol, five_people: Picture
) -> None:
    examination = looked(five_people)

    assert examination.size_wh == (1000, 667)
    assert [face.accepted for face in examination.faces] == [True] * 5
    problem = examination.problem()
    assert problem is not None
    assert problem.reasons == ("several_faces",)
    for number, face in enumerate(examination.faces, 1):
        alone = enrol(five_people, face=number)
        assert examination.problem(number) is None
        chosen = examination.choose(number)
        np.testing.assert_array_equal(chosen.detection.box_xyxy, alone.detection.box_xyxy)
        np.testing.assert_allclose(chosen.template, alone.template, atol=1e-6)
        assert (face.reasons, face.remedies) == ((), ())


def test_of_a_good_and_a_poor_face_only_the_good_one_has_a_template(
    looked: Callable[[Picture], Examination], enrol: Enrol, man_a: Picture, five_people: Picture
) -> None:
    photo = on_wall(man_a, 562, 900, 0, 0)
    blurred = cv2.GaussianBlur(five_people[40:200, 190:330], (0, 0), 6).astype(np.uint8)
    photo[100:260, 700:840] = blurred

    good, poor = looked(photo).faces

    assert good.accepted
    assert good.template is not None
    assert not poor.accepted
    assert poor.template is None
    assert "blurred" in poor.reasons
    assert poor.remedies == remedies(poor.reasons)
    with pytest.raises(PhotoError) as refused:
        enrol(photo, face=2)
    assert str(looked(photo).problem(2)) == str(refused.value)
    with pytest.raises(PhotoError, match="is not good enough"):
        looked(photo).choose(2)


@pytest.mark.parametrize("face", [None, 0, 1, 2])
def test_nobody_examined(looked: Callable[[Picture], Examination], face: int | None) -> None:
    examination = looked(np.full((48, 64, 3), 120, np.uint8))

    problem = examination.problem(face)
    assert examination.faces == ()
    assert problem is not None
    assert problem.reasons == ("no_face",)
    with pytest.raises(PhotoError, match="no face found"):
        examination.choose(face)


def test_a_file_that_could_not_be_read_has_its_own_error() -> None:
    error = PhotoError("a.jpg is empty: copy the file again.", reasons=["empty"])

    examination = Examination("a.jpg", (0, 0), (), error)

    assert examination.problem() is error
    assert examination.problem(1) is error
    with pytest.raises(PhotoError, match="is empty"):
        examination.choose()


# --- how often the detector is asked ---


@pytest.mark.parametrize(
    ("what", "copies"),
    [
        ("no larger than the overview", 1),
        ("a portrait of 3 megapixels", 1),
        ("a group", 2),
        ("nobody", 2),
    ],
)
def test_a_portrait_is_searched_once(
    detector: Detector,
    embedder: Embedder,
    man_a: Picture,
    five_people: Picture,
    monkeypatch: pytest.MonkeyPatch,
    what: str,
    copies: int,
) -> None:
    photos: dict[str, Callable[[], Picture]] = {
        "no larger than the overview": lambda: resized(man_a, 0.6),
        "a portrait of 3 megapixels": lambda: resized(man_a, 3),
        "a group": lambda: five_people,
        "nobody": lambda: np.full((900, 1200, 3), 120, np.uint8),
    }
    photo = photos[what]()
    searched: list[tuple[int, ...]] = []
    detect = YuNet.detect

    def counted(self: YuNet, bgr: Picture) -> list[Detection]:
        searched.append(bgr.shape)
        return detect(self, bgr)

    monkeypatch.setattr(YuNet, "detect", counted)
    examine(photo, "photo.jpg", detector, embedder)

    assert len(searched) == copies
    assert max(searched[0][:2]) <= 400


@pytest.mark.parametrize("share", [0.25, 0.4, 0.7, 1.0])
def test_a_second_person_beside_a_portrait_is_noticed(
    looked: Callable[[Picture], Examination], man_a: Picture, five_people: Picture, share: float
) -> None:
    other = resized(five_people[40:200, 190:330], share * 3 * 183 / 91)
    photo = on_wall(resized(man_a, 3), 1686, 2900, 0, 0)
    photo[300 : 300 + other.shape[0], 1750 : 1750 + other.shape[1]] = other

    assert len(looked(photo).faces) == 2
