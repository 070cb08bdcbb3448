from __future__ import annotations

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from lookout.faces.assets import AssetCache
from lookout.faces.yunet import YuNet

Picture = NDArray[np.uint8]


@pytest.fixture(scope="module")
def yunet(assets: AssetCache) -> YuNet:
    return YuNet(assets.model("yunet"))


def test_the_box_is_where_the_published_model_has_it(yunet: YuNet, man_a: Picture) -> None:
    (face,) = yunet.detect(man_a)

    np.testing.assert_allclose(face.box_xyxy, [191, 148, 374, 399], atol=5)


@pytest.mark.parametrize("width_px", [16, 24, 60, 183, 300])
def test_small_faces_and_large_ones_are_found(yunet: YuNet, man_a: Picture, width_px: int) -> None:
    factor = width_px / 183
    resized = cv2.resize(man_a, None, fx=factor, fy=factor, interpolation=cv2.INTER_AREA).astype(np.uint8, copy=False)

    (face,) = yunet.detect(resized)

    assert face.width_px == pytest.approx(width_px, rel=0.2)
