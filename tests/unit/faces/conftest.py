"""Real models, and real people to try them on."""

from __future__ import annotations

from collections.abc import Callable

import av
import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from lookout.faces.assets import AssetCache
from lookout.faces.detector import Detector
from lookout.faces.embedder import Embedder
from lookout.faces.models import open_embedder
from lookout.faces.yunet import YuNet

#: A picture of a clip by the clip's name and the frame's number.
Frame = Callable[[str, int], NDArray[np.uint8]]


@pytest.fixture(scope="session")
def detector(assets: AssetCache) -> Detector:
    return YuNet(assets.model("yunet"))


@pytest.fixture(scope="session")
def embedder(assets: AssetCache) -> Embedder:
    return open_embedder(assets, "mobilefacenet-192")


@pytest.fixture(scope="session")
def man_a(assets: AssetCache) -> NDArray[np.uint8]:
    """A good photo of one man, BGR 562 × 572; his face is 183 pixels wide. Copy it before you change it."""
    return _read(assets, "single_face.jpg")


@pytest.fixture(scope="session")
def five_people(assets: AssetCache) -> NDArray[np.uint8]:
    """A photo of five others, BGR 667 × 1000; their faces are 77 to 102 pixels wide."""
    return _read(assets, "multi_face.jpg")


@pytest.fixture(scope="session")
def frame(assets: AssetCache) -> Frame:
    """`frame("noface_face.mov", 120)`: man A on another day; `"WolfgangLanger_Pexels.mp4"`: woman B."""

    def frame(clip: str, number: int) -> NDArray[np.uint8]:
        with av.open(str(assets.media(clip))) as container:
            for k, decoded in enumerate(container.decode(video=0)):
                if k == number:
                    return decoded.to_ndarray(format="bgr24").astype(np.uint8, copy=False)
        raise AssertionError(f"{clip} has no frame {number}")

    return frame


def _read(assets: AssetCache, name: str) -> NDArray[np.uint8]:
    bgr = cv2.imread(str(assets.media(name)))
    assert bgr is not None
    bgr.setflags(write=False)
    return bgr.astype(np.uint8, copy=False)
