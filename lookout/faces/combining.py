"""Several photos of one person to one template, and which of them may show somebody else."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np

from lookout.faces.embedder import normalised
from lookout.faces.geometry import Floats

#: A photo agrees with the others if at most one stranger in five hundred fits a photo as well: a cosine of 0.814 for
#: fusion-320. Measured on 300 people of LFW with two to five photos (`tests/accuracy/test_combining.py`): at least
#: 99.4 % of true photos are kept, and of photos of strangers put among them at least 98.4 % are noticed. At one in a
#: hundred it would be 99.9 % and 96.0 %.
STRANGER_RATE = 2e-3


@dataclass(frozen=True, slots=True, eq=False)
class Combination:
    """Photos of one person taken together.

    Attributes:
        template: `(D,)` float32 of length 1: the mean of the photos that agree, weighted by their quality.
        outliers: indices, ascending, of the photos that disagree with the others and are left out of `template`, until
            a person confirms them.
    """

    template: Floats
    outliers: tuple[int, ...]


def combine(
    templates: Floats, qualities: Sequence[float], min_cosine: float, *, confirmed: Collection[int] = ()
) -> Combination:
    """Combine photos of one person.

    Each photo is compared with the combined others; the one that fits worst is left out if it fits too badly, then the
    rest is compared anew, until all agree. Of two that disagree nobody can tell which is wrong: the later one is left
    out, so that a photo added to a person never displaces the one that was there; show both. The majority is taken to
    be right: where most photos show somebody else, the true ones are the outliers.

    Args:
        templates: `(N, D)` of length 1 each, N at least 1, in the order in which the photos were added.
        qualities: the photos' qualities, N figures above 0.
        min_cosine: what a photo must reach against the combined others, in -1..1: the model's at `STRANGER_RATE`.
        confirmed: indices of photos that a person has confirmed; they are never left out.

    Raises:
        ValueError: no photo, or not a quality above 0 for each.
    """
    if not len(templates) or len(qualities) != len(templates) or min(qualities) <= 0:
        raise ValueError("combine needs at least one template, and for each a quality above 0")
    weighted = templates.astype(np.float64) * np.array(qualities, np.float64)[:, None]
    kept = list(range(len(templates)))
    while len(kept) > 1:
        others = normalised((weighted[kept].sum(axis=0) - weighted[kept]).astype(np.float32))
        # Rounded, so that two photos fit each other equally well; of equals the later one goes.
        cosines = np.round(np.sum(others * templates[kept], axis=1), 5)
        fits = [(cosine, -index) for cosine, index in zip(cosines, kept, strict=True) if index not in confirmed]
        worst, place = min(fits, default=(1.0, 0))
        if worst >= min_cosine:
            break
        kept.remove(-place)
    template = normalised(weighted[kept].sum(axis=0).astype(np.float32))
    return Combination(template, tuple(index for index in range(len(templates)) if index not in kept))
