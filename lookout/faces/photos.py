"""A user's photo file to pixels, safely: whatever the file claims, nothing large is decoded before it was measured."""

from __future__ import annotations

import contextlib
import io
import struct
import threading
import warnings
from pathlib import Path

import cv2
import numpy as np
import pillow_heif
from numpy.typing import NDArray
from PIL import ExifTags, Image, UnidentifiedImageError

from lookout.errors import BadInputError, PhotoError
from lookout.faces.headers import heif_sizes, is_heif
from lookout.faces.remedies import REMEDIES

MAX_BYTES = 32_000_000
#: The largest phone cameras deliver 200 megapixels; a face needs none of that, and 64 take a gigabyte while decoded.
MAX_PIXELS = 64_000_000
#: As Pillow names them. AVIF stands before HEIF: of a file that could be either, pillow_heif opens also what it cannot
#: decode, and Pillow's AVIF does not.
FORMATS = ("JPEG", "PNG", "WEBP", "AVIF", "HEIF", "BMP", "TIFF", "GIF")
pillow_heif.register_heif_opener(thumbnails=False, depth_images=False, aux_images=False)

#: What turns a picture of that EXIF orientation upright (CIPA DC-008, "Orientation"). A HEIC comes upright from its
#: decoder, which takes the orientation out of its EXIF; the turn and mirror of an AVIF come to us as that orientation.
UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}

#: What decoders raise when a file is not as its format wants it.
_DAMAGED = (
    ArithmeticError,
    EOFError,
    LookupError,
    OSError,
    RuntimeError,
    SyntaxError,
    TypeError,
    ValueError,
    struct.error,
)


def read_photo(path: Path) -> bytes:
    """Read a photo file that is not too large.

    Raises:
        PhotoError: it is absent, unreadable, empty or too large.
    """
    try:
        with path.open("rb") as file:
            # What the file system says of its size is not asked: a pipe or a device has none.
            data = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise PhotoError(f"{path} cannot be read: {error.strerror}.", reasons=["unreadable"]) from error
    _refuse_too_large(data, path.name)
    return data


def decode_photo(data: bytes, name: str) -> NDArray[np.uint8]:
    """Decode a photo: BGR `(H, W, 3)` uint8, upright after its EXIF orientation, transparency on white.

    Args:
        data: the file's bytes: JPEG, PNG, WebP, HEIC, AVIF, BMP, TIFF, or the first picture of a GIF; any colour space.
            Of several pictures in a file only the first, or the one that the file calls its main one, is decoded.
        name: what to call it in messages.

    Raises:
        PhotoError: it is empty, truncated, no picture, of too many pixels or too many bytes.
    """
    if not data:
        raise PhotoError(f"{name} is empty: {REMEDIES['empty']}.", reasons=["empty"])
    _refuse_too_large(data, name)
    try:
        for size in heif_sizes(data) if is_heif(data) else ():
            _refuse_too_many_pixels(size, name)
        # Pillow warns of many pixels and of broken metadata; the first is refused below, the second harms nobody.
        with _quiet, Image.open(io.BytesIO(data), formats=FORMATS) as image:
            _refuse_too_many_pixels(image.size, name)
            image.load()
            return _to_bgr(_upright(image))
    except UnidentifiedImageError as error:
        if is_heif(data):  # Pillow does not tell a HEIC or AVIF cut off from something else
            raise _damaged(name) from error
        raise PhotoError(
            f"{name} is no picture Lookout reads: {REMEDIES['not_a_picture']}.", reasons=["not_a_picture"]
        ) from error
    except Image.DecompressionBombError as error:
        raise PhotoError(f"{name} has far too many pixels: {REMEDIES['too_large']}.", reasons=["too_large"]) from error
    except _DAMAGED as error:
        raise _damaged(name) from error


def decode_jpeg(data: bytes, name: str) -> NDArray[np.uint8]:
    """Decode a JPEG that Lookout wrote itself: BGR `(H, W, 3)`.

    Raises:
        BadInputError: it is damaged.
    """
    bgr = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR) if data else None
    if bgr is None:
        raise BadInputError(f"the picture of {name} is damaged.")
    return bgr.astype(np.uint8, copy=False)


class _Quiet:
    """Warnings ignored while any thread decodes.

    `warnings.catch_warnings` changes the process's filters: of two threads that each use it, the first to leave would
    bring warnings back for the second, and the second would leave them off for ever.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._inside = 0
        self._filters = contextlib.ExitStack()

    def __enter__(self) -> None:
        with self._lock:
            self._inside += 1
            if self._inside == 1:
                self._filters.enter_context(warnings.catch_warnings())
                warnings.simplefilter("ignore")

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._inside -= 1
            if self._inside == 0:
                self._filters.close()


_quiet = _Quiet()


def _damaged(name: str) -> PhotoError:
    return PhotoError(f"{name} is damaged or cut off: {REMEDIES['damaged']}.", reasons=["damaged"])


def _refuse_too_large(data: bytes, name: str) -> None:
    if len(data) > MAX_BYTES:
        raise PhotoError(
            f"{name} is larger than {MAX_BYTES / 1e6:.0f} MB: {REMEDIES['too_large']}.", reasons=["too_large"]
        )


def _refuse_too_many_pixels(size: tuple[int, int], name: str) -> None:
    width, height = size
    if width * height > MAX_PIXELS:
        raise PhotoError(
            f"{name} claims {width} × {height} pixels, more than {MAX_PIXELS / 1e6:.0f} megapixels: "
            f"{REMEDIES['too_large']}.",
            reasons=["too_large"],
        )


def _upright(image: Image.Image) -> Image.Image:
    # Not `ImageOps.exif_transpose`: it writes the metadata anew and fails where a camera wrote some other tag wrongly.
    turn = UPRIGHT.get(image.getexif().get(ExifTags.Base.Orientation, 1))
    return image if turn is None else image.transpose(turn)


def _to_bgr(image: Image.Image) -> NDArray[np.uint8]:
    if image.mode.startswith(("I", "F")):
        # 16-bit pictures: Pillow would clip instead of scaling them.
        deep = np.array(image, np.float32)
        deep *= 255 / max(65535.0 if image.mode.startswith("I") else 1.0, float(deep.max()))
        image = Image.fromarray(np.clip(deep, 0, 255, out=deep).astype(np.uint8))
    if image.has_transparency_data:
        rgba = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", rgba.size, "white"), rgba)
    return cv2.cvtColor(np.asarray(image.convert("RGB")), cv2.COLOR_RGB2BGR).astype(np.uint8, copy=False)
