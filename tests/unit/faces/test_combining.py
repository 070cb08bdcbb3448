from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lookout.faces.combining import combine
from lookout.faces.embedder import normalised
from lookout.faces.geometry import Floats

LIMIT = 0.35


def photos(*people: int, noise: float = 0.5, seed: int = 0) -> Floats:
    """Templates `(N, 64)`: of the people by their numbers, each photo a little different."""
    rng = np.random.default_rng(seed)
    person = np.eye(64)[list(people)]
    return normalised(
        (person + noise * normalised(rng.normal(size=person.shape).astype(np.float32))).astype(np.float32)
    )


def test_one_photo_is_its_own_combination() -> None:
    (template,) = photos(1)

    combination = combine(template[None], [0.7], LIMIT)

    np.testing.assert_allclose(combination.template, template, atol=1e-6)
    assert combination.outliers == ()


def test_the_template_is_the_mean_weighted_by_quality() -> None:
    templates = photos(1, 1, 1)
    qualities = [1.0, 0.5, 0.75]

    combination = combine(templates, qualities, LIMIT)

    expected = normalised(sum(q * t for q, t in zip(qualities, templates, strict=True)))
    np.testing.assert_allclose(combination.template, expected, atol=1e-6)
    assert combination.template.dtype == np.float32
    assert np.linalg.norm(combination.template) == pytest.approx(1, abs=1e-6)


@pytest.mark.parametrize(
    ("people", "confirmed", "outliers"),
    [
        ((1, 1), (), ()),
        ((1, 2), (), (1,)),  # nobody can tell which: the later one
        ((1, 2), (1,), (0,)),  # unless that one was confirmed
        ((1, 2), (0, 1), ()),
        ((2, 1, 1), (), (0,)),
        ((1, 2, 1), (), (1,)),
        ((1, 1, 2), (2,), ()),  # the two hold each other, and the third may stay
        ((1, 1, 1, 2), (3,), ()),
        ((1, 1, 1, 2, 3), (), (3, 4)),
        ((1, 1, 1, 2, 3), (3,), (4,)),
        ((2, 1, 1, 1, 2), (), (0, 4)),
        ((1, 2, 3), (), (1, 2)),
    ],
)
def test_who_is_somebody_else(people: tuple[int, ...], confirmed: tuple[int, ...], outliers: tuple[int, ...]) -> None:
    templates = photos(*people)

    combination = combine(templates, [1.0] * len(people), LIMIT, confirmed=confirmed)

    assert combination.outliers == outliers
    kept = [k for k in range(len(people)) if k not in outliers]
    np.testing.assert_allclose(combination.template, normalised(templates[kept].sum(axis=0)), atol=1e-6)


@given(st.lists(st.integers(0, 3), min_size=1, max_size=8), st.sets(st.integers(0, 7)), st.integers(0, 99))
def test_some_photo_stays_the_confirmed_ones_do_and_what_stays_agrees(
    people: list[int], confirmed: set[int], seed: int
) -> None:
    templates = photos(*people, seed=seed)

    combination = combine(templates, [0.8] * len(people), LIMIT, confirmed=confirmed)

    kept = [k for k in range(len(people)) if k not in combination.outliers]
    assert kept
    assert not set(combination.outliers) & confirmed
    assert np.linalg.norm(combination.template) == pytest.approx(1, abs=1e-5)
    for k in set(kept) - confirmed:
        others = [other for other in kept if other != k]
        if others:
            assert float(normalised(templates[others].sum(axis=0)) @ templates[k]) >= LIMIT - 1e-4


@pytest.mark.parametrize(("count", "qualities"), [(0, []), (2, [1.0]), (2, [1.0, 0.0])])
def test_without_photos_or_qualities_there_is_no_template(count: int, qualities: list[float]) -> None:
    with pytest.raises(ValueError, match="at least one template"):
        combine(photos(*range(count)) if count else np.zeros((0, 64), np.float32), qualities, LIMIT)
