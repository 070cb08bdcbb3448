from __future__ import annotations

import io
import os
import resource
import struct
import time
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pillow_heif
import psutil
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from lookout.errors import BadInputError, PhotoError
from lookout.faces.detector import Detector
from lookout.faces.embedder import Embedder
from lookout.faces.geometry import Floats
from lookout.faces.photos import MAX_BYTES, MAX_PIXELS, decode_jpeg, decode_photo, read_photo
from lookout.targets import read_photos

Picture = NDArray[np.uint8]
ORIENTATION = 0x0112


def saved(image: Image.Image, kind: str, **options: object) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def image_of(bgr: Picture) -> Image.Image:
    return Image.fromarray(np.ascontiguousarray(bgr[..., ::-1]))


def png_of(pixels: NDArray[Any]) -> bytes:
    """A PNG of as many bits as the pixels have."""
    coded, data = cv2.imencode(".png", pixels)
    assert coded
    return data.tobytes()


def with_orientation(value: int) -> Image.Exif:
    exif = Image.Exif()
    exif[ORIENTATION] = value
    return exif


def heic_of_16_bits(bgr: NDArray[np.uint16]) -> bytes:
    file = io.BytesIO()
    rgb = np.ascontiguousarray(bgr[..., ::-1])
    pillow_heif.encode("RGB;16", (bgr.shape[1], bgr.shape[0]), rgb.tobytes(), file, quality=85)
    return file.getvalue()


@pytest.fixture(scope="module")
def noise() -> Picture:
    return np.random.default_rng(0).integers(0, 256, (40, 50, 3), np.uint8)


@pytest.fixture(scope="module")
def template(detector: Detector, embedder: Embedder) -> Callable[[Picture], Floats]:
    """The template of the one face in a picture."""

    def template(bgr: Picture) -> Floats:
        (face,) = detector.detect(bgr)
        templates = embedder.embed([embedder.align(bgr, face.landmarks)])
        return templates.reshape(-1)

    return template


# --- what is refused, each with its message ---


def png_of_200_megapixels() -> bytes:
    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    header = struct.pack(">IIBBBBB", 20_000, 10_000, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0" * 999)) + chunk(b"IEND", b"")
    )


def claiming(data: bytes, at: int, layout: str, *sides: int) -> bytes:
    """The file with other sides written into its header."""
    return data[:at] + struct.pack(layout, *sides) + data[at + struct.calcsize(layout) :]


def claiming_in_ispe(data: bytes, width: int, height: int) -> bytes:
    """A HEIC or AVIF with other sides in all its image spatial extents properties."""
    changed = bytearray(data)
    at = changed.find(b"ispe")
    while at >= 0:
        changed[at + 8 : at + 16] = struct.pack(">II", width, height)
        at = changed.find(b"ispe", at + 1)
    return bytes(changed)


def without_time_scale(avif: bytes) -> bytes:
    """A moving AVIF of zero ticks a second, which Pillow divides by: `mdhd` of ISO/IEC 14496-12, 8.4.2."""
    at = avif.index(b"mdhd") + 4 + 4 + 8 + 8
    return avif[:at] + bytes(4) + avif[at + 4 :]


def bad_files() -> dict[str, tuple[str, bytes, str, str]]:
    """What it is -> file name, bytes, reason, message."""
    small = Image.new("RGB", (64, 48), "teal")
    jpeg = saved(small.resize((640, 480)), "JPEG")
    frame_header = jpeg.index(b"\xff\xc0") + 5
    heic, avif = (saved(Image.effect_noise((99, 77), 50).convert("RGB"), kind) for kind in ("HEIF", "AVIF"))
    return {
        "empty": ("a.jpg", b"", "empty", r"a\.jpg is empty: copy the file again\."),
        "truncated JPEG": (
            "a.jpg",
            jpeg[: len(jpeg) // 2],
            "damaged",
            r"a\.jpg is damaged or cut off: copy the file again\.",
        ),
        "truncated PNG": (
            "a.png",
            saved(small.resize((640, 480)), "PNG")[:800],
            "damaged",
            r"a\.png is damaged or cut off",
        ),
        "truncated GIF": (
            "a.gif",
            saved(Image.effect_noise((99, 99), 50), "GIF")[:3000],
            "damaged",
            r"a\.gif is damaged",
        ),
        "header of a JPEG alone": (
            "a.jpg",
            jpeg[:2],
            "not_a_picture",
            r"a\.jpg is no picture Lookout reads: use JPEG, PNG",
        ),
        "text renamed": (
            "a.jpg",
            b"Dear Sir, enclosed is my photo.\n",
            "not_a_picture",
            r"a\.jpg is no picture Lookout reads",
        ),
        "a page": ("a.jpg", b"<!DOCTYPE html><html></html>", "not_a_picture", "no picture Lookout reads"),
        "a vector drawing": (
            "a.svg",
            b'<svg xmlns="http://www.w3.org/2000/svg"/>',
            "not_a_picture",
            "no picture Lookout reads",
        ),
        "another kind of picture": (
            "a.ppm",
            saved(small, "PPM"),
            "not_a_picture",
            r"use JPEG, PNG, WebP, HEIC, AVIF, BMP, TIFF, GIF\.",
        ),
        "200 megapixels, PNG": (
            "a.png",
            png_of_200_megapixels(),
            "too_large",
            r"a\.png has far too many pixels: reduce it first",
        ),
        "65 megapixels, GIF": (
            "a.gif",
            claiming(saved(small, "GIF"), 6, "<HH", 8100, 8100),
            "too_large",
            "8100 × 8100 pixels, more than 64 megapixels",
        ),
        "4 gigapixels, GIF": (
            "a.gif",
            claiming(saved(small, "GIF"), 6, "<HH", 65535, 65535),
            "too_large",
            "too many pixels",
        ),
        "4 gigapixels, JPEG": (
            "a.jpg",
            claiming(jpeg, frame_header, ">HH", 65500, 65500),
            "too_large",
            "too many pixels",
        ),
        "100 megapixels, BMP": (
            "a.bmp",
            claiming(saved(small, "BMP"), 18, "<ii", 10_000, 10_000),
            "too_large",
            "10000 × 10000 pixels",
        ),
        "10 gigapixels, HEIC": (
            "a.heic",
            claiming_in_ispe(heic, 100_000, 100_000),
            "too_large",
            "100000 × 100000 pixels, more than 64 megapixels",
        ),
        "65 megapixels, HEIC cropped to less": (
            "a.heic",
            claiming_in_ispe(heic, 8100, 8100),
            "too_large",
            "8100 × 8100 pixels",
        ),
        "10 gigapixels, AVIF": (
            "a.avif",
            claiming_in_ispe(avif, 100_000, 100_000),
            "too_large",
            "100000 × 100000 pixels",
        ),
        "65 megapixels, AVIF": ("a.avif", claiming_in_ispe(avif, 8100, 8100), "too_large", "8100 × 8100 pixels"),
        "too large a WebP": (
            "a.webp",
            claiming(saved(small, "WEBP"), 26, "<HH", 8200, 8200),
            "too_large",
            "8200 × 8200 pixels",
        ),
        "truncated HEIC": ("a.heic", heic[: len(heic) // 2], "damaged", r"a\.heic is damaged or cut off"),
        "truncated AVIF": ("a.avif", avif[: len(avif) // 2], "damaged", r"a\.avif is damaged or cut off"),
        "moving AVIF without time": (
            "a.avif",
            without_time_scale(saved(small, "AVIF", save_all=True, append_images=[small.rotate(90)])),
            "damaged",
            r"a\.avif is damaged",
        ),
        "no boxes but many": (
            "a.heic",
            heic[:28] + b"\0\0\0\x08free" * 20_000 + heic[28:],
            "damaged",
            r"a\.heic is damaged",
        ),
        "film": ("a.mp4", b"\0\0\0\x18ftypisom\0\0\0\0isommp41", "not_a_picture", "no picture Lookout reads"),
        "nobody": ("a.png", saved(small, "PNG"), "no_face", r"a\.png: no face found\. Use a photo where the face"),
        "one pixel": ("a.png", saved(small.resize((1, 1)), "PNG"), "no_face", r"a\.png: no face found"),
        "a line": ("a.png", saved(small.resize((9000, 1)), "PNG"), "no_face", r"a\.png: no face found"),
    }


@contextmanager
def memory_limited(more_bytes: int) -> Iterator[None]:
    """Whoever allocates more than that in one piece gets a MemoryError."""
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (psutil.Process().memory_info().vms + more_bytes, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))


@pytest.mark.parametrize("what", bad_files())
def test_a_bad_file_is_refused_with_its_reason(
    what: str, tmp_path: Path, detector: Detector, embedder: Embedder
) -> None:
    name, data, reason, message = bad_files()[what]
    (tmp_path / name).write_bytes(data)

    with pytest.raises(PhotoError, match=message) as refused:
        read_photos([tmp_path / name], detector, embedder)

    assert refused.value.reasons == (reason,)


@pytest.mark.parametrize("what", [what for what in bad_files() if "pixels" in what])
def test_a_huge_picture_is_refused_at_its_header(what: str) -> None:
    name, data, *_ = bad_files()[what]
    started = time.monotonic()

    with memory_limited(64 * 1024 * 1024), pytest.raises(PhotoError) as refused:
        decode_photo(data, name)

    assert refused.value.reasons == ("too_large",)
    assert time.monotonic() - started < 1


def test_a_file_above_32_megabytes_is_refused_and_not_read_to_its_end(tmp_path: Path) -> None:
    huge = tmp_path / "huge.jpg"
    with huge.open("wb") as file:
        file.truncate(8 * 1024**3)

    with (
        memory_limited(256 * 1024 * 1024),
        pytest.raises(PhotoError, match=r"huge\.jpg is larger than 32 MB") as refused,
    ):
        read_photo(huge)

    assert refused.value.reasons == ("too_large",)


def test_the_last_byte_that_is_allowed(tmp_path: Path, noise: Picture) -> None:
    padded = saved(image_of(noise), "PNG").ljust(MAX_BYTES, b"\0")
    (tmp_path / "full.png").write_bytes(padded)

    assert decode_photo(read_photo(tmp_path / "full.png"), "full.png").shape == (40, 50, 3)
    with pytest.raises(PhotoError, match="larger than 32 MB"):
        decode_photo(padded + b"\0", "full.png")


def test_a_pipe_without_end_is_refused(tmp_path: Path) -> None:
    with pytest.raises(PhotoError, match="zero is larger than 32 MB"):
        read_photo(Path("/dev/zero"))


@pytest.mark.parametrize(("path", "message"), [("absent.jpg", "No such file"), (".", "Is a directory")])
def test_what_cannot_be_read_is_named(tmp_path: Path, path: str, message: str) -> None:
    with pytest.raises(PhotoError, match=f"{tmp_path}.* cannot be read: {message}") as refused:
        read_photo(tmp_path / path)

    assert refused.value.reasons == ("unreadable",)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_of_somebody_else_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(b"x")
    (tmp_path / "a.jpg").chmod(0)

    with pytest.raises(PhotoError, match="Permission denied"):
        read_photo(tmp_path / "a.jpg")


def test_of_several_photos_the_bad_one_is_named(
    tmp_path: Path, man_a: Picture, detector: Detector, embedder: Embedder
) -> None:
    good, bad = tmp_path / "good.jpg", tmp_path / "bad.jpg"
    good.write_bytes(saved(image_of(man_a), "JPEG"))
    bad.write_bytes(b"")

    with pytest.raises(PhotoError, match=r"bad\.jpg is empty"):
        read_photos([good, bad], detector, embedder)

    assert [photo.data for photo in read_photos([good], detector, embedder)] == [good.read_bytes()]


# --- what is read, whatever its colours ---


@pytest.mark.parametrize("kind", ["PNG", "BMP", "TIFF", "GIF", "WEBP"])
def test_pictures_without_loss_come_out_as_they_went_in(noise: Picture, kind: str) -> None:
    picture = (noise // 128 * 255).astype(np.uint8)  # eight colours, so that a palette holds them

    decoded = decode_photo(saved(image_of(picture), kind, **({"lossless": True} if kind == "WEBP" else {})), "a")

    assert decoded.dtype == np.uint8
    assert decoded.flags.c_contiguous
    np.testing.assert_array_equal(decoded, picture)


@pytest.mark.parametrize("mode", ["L", "1", "P", "LA", "RGBA", "CMYK", "YCbCr", "I;16", "I", "F"])
def test_every_colour_mode_is_read(noise: Picture, mode: str) -> None:
    image = image_of(noise)
    grey = np.asarray(image.convert("L"))
    match mode:
        case "I;16":
            image, expected = Image.fromarray(grey.astype(np.uint16) * 257), image.convert("L")
        case "I":
            image, expected = Image.fromarray(grey.astype(np.int32) * 257), image.convert("L")
        case "F":
            image, expected = Image.fromarray(grey.astype(np.float32) / grey.max() * 255), image.convert("L")
        case _:
            image = image.convert(mode)
            expected = image
    reference = np.asarray(expected.convert("RGB"))[..., ::-1].astype(int)

    decoded = decode_photo(saved(image, "PNG" if mode in {"L", "1", "P", "LA", "RGBA", "I;16"} else "TIFF"), "a")

    assert decoded.shape == (40, 50, 3)
    span = 255 / grey.max() if mode == "F" else 1  # floats have no white of their own: the brightest pixel is it
    np.testing.assert_allclose(decoded, np.minimum(reference * span, 255), atol=1.5)


@pytest.mark.parametrize("channels", [1, 3])
def test_16_bits_become_8_by_scaling(channels: int) -> None:
    ramp = np.linspace(0, 65535, 64 * 64).astype(np.uint16).reshape(64, 64)
    deep = np.dstack([ramp, ramp[::-1], ramp.T]) if channels == 3 else ramp

    decoded = decode_photo(png_of(deep), "deep.png")

    expected = deep if channels == 3 else np.dstack([deep] * 3)
    np.testing.assert_allclose(decoded, expected / 257, atol=1)


def test_a_dark_16_bit_picture_stays_dark() -> None:
    assert (decode_photo(png_of(np.full((8, 8), 3000, np.uint16)), "deep.png") == 11).all()


def transparent_files() -> dict[str, bytes]:
    """Pictures whose left half is transparent (over black) and whose right half is blue."""
    rgba = Image.new("RGBA", (20, 10), (0, 0, 0, 0))
    rgba.paste((0, 0, 255, 255), (10, 0, 20, 10))
    palette = Image.new("P", (20, 10), 0)
    palette.putpalette([0, 0, 0, 0, 0, 255])
    palette.paste(1, (10, 0, 20, 10))
    rgb = Image.new("RGB", (20, 10), (9, 9, 9))
    rgb.paste((0, 0, 255), (10, 0, 20, 10))
    return {
        "PNG with alpha": saved(rgba, "PNG"),
        "WebP with alpha": saved(rgba, "WEBP", lossless=True),
        "TIFF with alpha": saved(rgba, "TIFF"),
        "PNG palette with one transparent colour": saved(palette, "PNG", transparency=0),
        "PNG palette with alphas": saved(palette, "PNG", transparency=b"\x00\xff"),
        "PNG with one transparent colour": saved(rgb, "PNG", transparency=(9, 9, 9)),
        "GIF": saved(palette, "GIF", transparency=0),
        "animated GIF": saved(palette, "GIF", transparency=0, save_all=True, append_images=[palette.rotate(180)]),
    }


@pytest.mark.parametrize("what", transparent_files())
def test_transparency_lies_on_white(what: str) -> None:
    decoded = decode_photo(transparent_files()[what], "a")

    assert (decoded[:, :10] == 255).all()
    assert (decoded[:, 10:] == [255, 0, 0]).all()


def test_half_transparency_is_mixed_with_white() -> None:
    decoded = decode_photo(saved(Image.new("LA", (4, 4), (0, 128)), "PNG"), "a")

    np.testing.assert_allclose(decoded, 127, atol=1)


def test_of_an_animated_gif_the_first_picture_counts(man_a: Picture, template: Callable[[Picture], Floats]) -> None:
    first = image_of(man_a)
    moving = saved(first, "GIF", save_all=True, append_images=[Image.new("RGB", first.size, "red")] * 3, duration=50)

    decoded = decode_photo(moving, "moving.gif")

    assert decoded.shape == man_a.shape
    assert float(template(decoded) @ template(man_a)) > 0.9


@pytest.mark.parametrize(
    ("what", "alike"),
    [
        ("JPEG in CMYK", 0.95),
        ("progressive JPEG", 0.95),
        ("JPEG in grey", 0.8),
        ("PNG with a palette", 0.85),
        ("PNG with alpha", 0.999),
        ("16-bit PNG", 0.999),
        ("16-bit PNG in grey", 0.8),
        ("WebP", 0.95),
        ("HEIC", 0.95),
        ("HEIC of 10 bits", 0.95),
        ("AVIF", 0.95),
    ],
)
def test_the_same_man_in_every_colour_mode(
    man_a: Picture, template: Callable[[Picture], Floats], what: str, alike: float
) -> None:
    image = image_of(man_a)
    deep = man_a.astype(np.uint16) * 257
    data = {
        "JPEG in CMYK": lambda: saved(image.convert("CMYK"), "JPEG", quality=92),
        "progressive JPEG": lambda: saved(image, "JPEG", quality=92, progressive=True),
        "JPEG in grey": lambda: saved(image.convert("L"), "JPEG", quality=92),
        "PNG with a palette": lambda: saved(image.quantize(64), "PNG"),
        "PNG with alpha": lambda: saved(image.convert("RGBA"), "PNG"),
        "16-bit PNG": lambda: png_of(deep),
        "16-bit PNG in grey": lambda: png_of(cv2.cvtColor(deep, cv2.COLOR_BGR2GRAY)),
        "WebP": lambda: saved(image, "WEBP", quality=92),
        "HEIC": lambda: saved(image, "HEIF", quality=85),
        "HEIC of 10 bits": lambda: heic_of_16_bits(deep),
        "AVIF": lambda: saved(image, "AVIF", quality=85, speed=10),
    }[what]()

    assert float(template(decode_photo(data, what)) @ template(man_a)) > alike


# --- EXIF ---

#: Orientation -> which side of the upright picture the file's first row is, and which its first column (CIPA DC-008).
FIRST_ROW_AND_COLUMN = {
    1: ("top", "left"),
    2: ("top", "right"),
    3: ("bottom", "right"),
    4: ("bottom", "left"),
    5: ("left", "top"),
    6: ("right", "top"),
    7: ("right", "bottom"),
    8: ("left", "bottom"),
}


def stored(upright: Picture, orientation: int) -> Picture:
    """The picture as a camera held that way stores it."""
    row, column = FIRST_ROW_AND_COLUMN[orientation]
    turned = upright if row in {"top", "bottom"} else upright.swapaxes(0, 1)
    turned = turned if row in {"top", "left"} else turned[::-1]
    turned = turned if column in {"top", "left"} else turned[:, ::-1]
    return np.ascontiguousarray(turned)


@pytest.mark.parametrize("orientation", FIRST_ROW_AND_COLUMN)
def test_all_orientations_give_the_same_template(
    man_a: Picture, template: Callable[[Picture], Floats], orientation: int
) -> None:
    image, exif = image_of(stored(man_a, orientation)), with_orientation(orientation)

    np.testing.assert_array_equal(decode_photo(saved(image, "PNG", exif=exif), "a.png"), man_a)
    np.testing.assert_array_equal(decode_photo(saved(image, "TIFF", exif=exif), "a.tif"), man_a)
    jpeg = decode_photo(saved(image, "JPEG", exif=exif, quality=95), "a.jpg")
    assert jpeg.shape == man_a.shape
    assert float(template(jpeg) @ template(man_a)) > 0.98, "the coding's loss alone"


@pytest.mark.parametrize("kind", ["HEIF", "AVIF", "WEBP"])
@pytest.mark.parametrize("orientation", FIRST_ROW_AND_COLUMN)
def test_other_formats_are_turned_once(man_a: Picture, kind: str, orientation: int) -> None:
    upright = np.ascontiguousarray(man_a[100:412, 120:400])
    image, exif = image_of(stored(upright, orientation)), with_orientation(orientation).tobytes()

    decoded = decode_photo(saved(image, kind, exif=exif, quality=90), "a")

    assert decoded.shape == upright.shape
    assert np.abs(decoded.astype(int) - upright).mean() < 4, "the coding's loss alone"


def test_a_heic_whose_exif_alone_is_turned_stays_as_it_is(noise: Picture) -> None:
    """ISO/IEC 23008-12: the turn of the item holds (here none), the EXIF's is information only."""
    turned = saved(image_of(noise), "HEIF", exif=with_orientation(6).tobytes())
    in_exif = struct.pack(">HHI", ORIENTATION, 3, 1)
    at = turned.index(in_exif) + len(in_exif)
    assert b"irot" in turned
    assert decode_photo(turned, "a.heic").shape == (50, 40, 3)

    both = turned[:at] + struct.pack(">H", 6) + turned[at + 2 :]
    exif_alone = both.replace(b"irot", b"free")

    assert decode_photo(both, "a.heic").shape == (50, 40, 3), "turned once, as a phone's photo is"
    assert decode_photo(exif_alone, "a.heic").shape == (40, 50, 3)


@pytest.mark.parametrize("kind", ["HEIF", "AVIF", "WEBP", "TIFF", "PNG", "GIF"])
def test_of_many_pictures_in_a_file_one_is_decoded(noise: Picture, kind: str) -> None:
    first = image_of(noise).resize((300, 200))
    others = [Image.new("RGB", (300, 200), (k, 0, 0)) for k in range(100)]
    options = {"compression": "tiff_deflate"} if kind == "TIFF" else {}
    data = saved(first, kind, save_all=True, append_images=others, **options)
    alone = saved(first, kind, **options)

    def seconds(data: bytes) -> float:
        started = time.process_time()
        decode_photo(data, "a")
        return time.process_time() - started

    decoded = decode_photo(data, "a").astype(int)

    assert np.abs(decoded - decode_photo(alone, "a")).mean() < 12, "the first one"
    assert min(seconds(data) for _ in range(3)) < 20 * min(seconds(alone) for _ in range(3)) + 0.05


@pytest.mark.parametrize("orientation", [0, 9, 65535])
def test_an_orientation_that_does_not_exist_turns_nothing(noise: Picture, orientation: int) -> None:
    decoded = decode_photo(saved(image_of(noise), "PNG", exif=with_orientation(orientation)), "a.png")

    np.testing.assert_array_equal(decoded, noise)


def exif_with(*entry: int) -> bytes:
    """EXIF of two fields: a right orientation, and one of the given tag, type, count and value."""
    return (
        b"Exif\0\0II*\0\x08\0\0\0\x02\0"
        + struct.pack("<HHII", ORIENTATION, 3, 1, 6)
        + struct.pack("<HHII", *entry)
        + b"\0\0\0\0"
    )


@pytest.mark.parametrize(
    "entry",
    [
        (0x0100, 2, 4, 0x414141),  # the width as text
        (0x0128, 2, 4, 0x414141),  # the unit of resolution as text
        (0x011A, 2, 4, 0x414141),  # the resolution as text
        (0x8769, 4, 1, 0x7FFFFFFF),  # a table beyond the end
        (0x010F, 77, 1, 0),  # an unknown type
        (0x010F, 2, 0x7FFFFFFF, 0),  # endless text
    ],
)
def test_wrong_metadata_does_not_spoil_a_photo(noise: Picture, entry: tuple[int, ...]) -> None:
    decoded = decode_photo(saved(image_of(noise), "JPEG", exif=exif_with(*entry)), "a.jpg")

    assert decoded.shape == (50, 40, 3), "turned upright"


# --- anything at all ---


def seeds() -> list[bytes]:
    noise = np.random.default_rng(0).integers(0, 256, (24, 30, 3), np.uint8)
    image, exif = image_of(noise), with_orientation(6)
    deep = Image.fromarray(noise[..., 0].astype(np.uint16) * 257)
    return [
        saved(image, "JPEG", exif=exif),
        saved(image, "JPEG", progressive=True),
        saved(image.convert("CMYK"), "JPEG"),
        saved(image, "PNG", exif=exif),
        saved(image.quantize(16), "PNG", transparency=3),
        saved(deep, "PNG"),
        saved(image, "WEBP", exif=exif),
        saved(image, "BMP"),
        saved(image, "GIF", save_all=True, append_images=[image.rotate(90)]),
        saved(image, "HEIF", exif=exif.tobytes()),
        saved(image.convert("RGBA"), "HEIF", save_all=True, append_images=[image]),
        saved(image, "AVIF", exif=exif),
        saved(image.convert("RGBA"), "AVIF", save_all=True, append_images=[image.convert("RGBA")]),
        *(saved(image, "TIFF", compression=how, exif=exif) for how in ("raw", "tiff_lzw", "tiff_deflate", "jpeg")),
    ]


def decoded_or_refused(data: bytes) -> None:
    try:
        decoded = decode_photo(data, "fuzz")
    except PhotoError:
        return
    assert decoded.ndim == 3
    assert decoded.shape[2] == 3
    assert decoded.dtype == np.uint8
    assert decoded.shape[0] * decoded.shape[1] <= MAX_PIXELS


@settings(max_examples=300, deadline=None)
@given(
    st.binary(max_size=300),
    st.sampled_from([b"", b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"GIF89a", b"BM", b"II*\0", b"\0\0\0\x18ftypheic"]),
)
def test_random_bytes_raise_nothing_else(data: bytes, magic: bytes) -> None:
    decoded_or_refused(magic + data)


@settings(max_examples=1000, deadline=None)
@given(
    st.sampled_from(seeds()),
    st.floats(0, 1),
    st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.integers(0, 255)), max_size=8),
    st.booleans(),
)
def test_broken_pictures_raise_nothing_else(
    seed: bytes, share: float, changes: list[tuple[float, int]], headers_only: bool
) -> None:
    data = bytearray(seed[: round(len(seed) * share)] if changes == [] else seed)
    for place, value in changes:
        # Headers decide what a decoder does: half of the time only they are changed.
        data[int(place * (min(len(data), 120) if headers_only else len(data)))] = value
    decoded_or_refused(bytes(data))


# --- decode_jpeg: Lookout's own crops ---


def test_own_crops_are_read(man_a: Picture) -> None:
    coded, data = cv2.imencode(".jpg", man_a, [cv2.IMWRITE_JPEG_QUALITY, 95])
    assert coded

    decoded = decode_jpeg(data.tobytes(), "crop 7")

    assert decoded.shape == man_a.shape
    assert np.abs(decoded.astype(int) - man_a).mean() < 3


@pytest.mark.parametrize("data", [b"", b"no picture", b"\xff\xd8\xff\xe0"])
def test_a_damaged_crop_is_named(data: bytes) -> None:
    with pytest.raises(BadInputError, match="the picture of crop 7 is damaged"):
        decode_jpeg(data, "crop 7")
