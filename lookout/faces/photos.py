"""A user's photo file to pixels, safely: whatever the file claims, nothing large is decoded before it was measured."""

from __future__ import annotations

import io
import struct
import warnings
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image, UnidentifiedImageError

from lookout.errors import BadInputError, PhotoError

MAX_BYTES = 32_000_000
#: The largest phone cameras deliver 200 megapixels; a face needs none of that, and 64 take a gigabyte while decoded.
MAX_PIXELS = 64_000_000
FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "TIFF", "GIF")

#: What turns a picture of that EXIF orientation upright (CIPA DC-008, "Orientation").
UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


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
        data: the file's bytes: JPEG, PNG, WebP, BMP, TIFF, or the first picture of a GIF; any colour space.
        name: what to call it in messages.

    Raises:
        PhotoError: it is empty, truncated, no picture, of too many pixels or too many bytes.
    """
    if not data:
        raise PhotoError(f"{name} is empty: copy the file again.", reasons=["empty"])
    _refuse_too_large(data, name)
    try:
        with warnings.catch_warnings():
            # Pillow warns of many pixels and of broken metadata; the first is refused below, the second harms nobody.
            warnings.simplefilter("ignore")
            with Image.open(io.BytesIO(data), formats=FORMATS) as image:
                width, height = image.size
                if width * height > MAX_PIXELS:
                    raise PhotoError(
                        f"{name} claims {width} × {height} pixels, more than {MAX_PIXELS / 1e6:.0f} megapixels: "
                        "reduce it first.",
                        reasons=["too_large"],
                    )
                image.load()
                return _to_bgr(_upright(image))
    except UnidentifiedImageError as error:
        raise PhotoError(
            f"{name} is no picture Lookout reads: use {', '.join(FORMATS)}.", reasons=["not_a_picture"]
        ) from error
    except Image.DecompressionBombError as error:
        raise PhotoError(f"{name} has far too many pixels: reduce it first.", reasons=["too_large"]) from error
    except (OSError, SyntaxError, ValueError, struct.error) as error:
        raise PhotoError(f"{name} is damaged or cut off: copy the file again.", reasons=["damaged"]) from error


def decode_jpeg(data: bytes, name: str) -> NDArray[np.uint8]:
    """Decode a JPEG that Lookout wrote itself: BGR `(H, W, 3)`.

    Raises:
        BadInputError: it is damaged.
    """
    bgr = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR) if data else None
    if bgr is None:
        raise BadInputError(f"the picture of {name} is damaged.")
    return bgr.astype(np.uint8, copy=False)


def _refuse_too_large(data: bytes, name: str) -> None:
    if len(data) > MAX_BYTES:
        raise PhotoError(f"{name} is larger than {MAX_BYTES / 1e6:.0f} MB: save it smaller.", reasons=["too_large"])


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
    return np.ascontiguousarray(np.asarray(image.convert("RGB"))[..., ::-1])
