"""Faces in a plane, where scores can be worked out by hand: each is the cosine of the angle between two pictures."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np

from lookout.evaluation.pictures import Face, Pictures
from lookout.faces.calibration import Calibration
from lookout.faces.quality import Quality

CALIBRATION = Calibration(operating_points={1e-2: 0.4, 1e-4: 0.6})


def face(degrees: float, quality: float = 1.0) -> Face:
    """A face whose template points that way."""
    way = math.radians(degrees)
    return Face(np.array([math.cos(way), math.sin(way)], np.float32), 100, Quality(quality, ()))


def pictures_at(angles: Mapping[str, float | None]) -> Pictures:
    """Pictures by their angles in degrees; None where no face was found."""
    return Pictures(
        {path: face(degrees) for path, degrees in angles.items() if degrees is not None},
        {path: "no face found" for path, degrees in angles.items() if degrees is None},
        "ab" * 32,
    )


def cos(degrees: float) -> float:
    """The score of two faces that far apart."""
    return math.cos(math.radians(degrees))
