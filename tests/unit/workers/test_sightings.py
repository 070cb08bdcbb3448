from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime

import numpy as np
import pytest
from numpy.typing import NDArray
from sqlalchemy.engine import URL

from lookout.messages import Crop
from lookout.sealing import Keyring
from lookout.stores.registry import Registry
from lookout.stores.registry.tables import Sighting, StoredCrop
from lookout.stores.templates import sighting_place, unpack
from workers.sightings import EmbeddedCrop, Seen, blob_name, fold, store

AT_US = int(datetime(2026, 11, 1, 23, 59, 59, tzinfo=UTC).timestamp() * 1e6)
KEYRING = Keyring.parse(Keyring.new_key())
MODEL = "model"
X, Y, Z = np.eye(3, dtype=np.float32)


@pytest.fixture
def registry() -> Iterator[Registry]:
    # In memory: what is tested here is arithmetic.
    made = Registry(URL.create("sqlite"))
    made.migrate()
    yield made
    made.close()


def embedded(
    name: str, embedding: NDArray[np.float32], *, track: str = "t", quality: float = 1.0, at_s: float = 0.0
) -> EmbeddedCrop:
    at_us = AT_US + int(at_s * 1e6)
    crop = Crop(
        id=name,
        track_id=track,
        camera_id="entrance",
        camera_group="doors",
        captured_at_us=at_us,
        track_started_at_us=AT_US,
        track_seen_at_us=at_us,
        deadline_us=at_us,
        box_xyxy=(0.0, 0.0, 1.0, 1.0),
        landmarks=[(0.0, 0.0)],
        quality=quality,
        jpeg=b"",
    )
    return EmbeddedCrop(crop, embedding)


def store_all(registry: Registry, seen: list[Seen]) -> list[bool]:
    with registry.transaction() as session:
        return [store(session, KEYRING, one, {crop.crop.id: None for crop in one.crops}, MODEL) for one in seen]


@pytest.mark.parametrize(
    ("crops", "template"),
    [
        pytest.param([(X, 1.0)], [1, 0, 0], id="one crop is its own template"),
        pytest.param([(X, 0.3)], [1, 0, 0], id="of whatever quality"),
        pytest.param([(X, 1.0), (Y, 1.0)], [1, 1, 0], id="equal crops count equally"),
        pytest.param([(X, 0.9), (Y, 0.3)], [3, 1, 0], id="quality is the weight"),
        pytest.param([(X, 1.0), (Y, 0.0)], [100, 1, 0], id="the worst still counts a little"),
        pytest.param([(X, 0.0)], [1, 0, 0], id="and alone is no zero vector"),
        pytest.param([(X, 0.5), (Y, 0.5), (Z, 1.0)], [1, 1, 2], id="three"),
    ],
)
def test_folds_crops_by_quality(
    registry: Registry, crops: list[tuple[NDArray[np.float32], float]], template: list[float]
) -> None:
    (seen,) = fold(
        registry, KEYRING, [embedded(f"c{n}", vector, quality=q) for n, (vector, q) in enumerate(crops)], MODEL
    )

    expected = np.asarray(template, np.float32)
    assert seen.template == pytest.approx(expected / np.linalg.norm(expected), abs=1e-6)
    assert seen.template.dtype == np.float32


def test_folds_what_comes_later_into_what_is_stored(registry: Registry) -> None:
    one_by_one = [embedded("a", X, quality=0.9), embedded("b", Y, quality=0.6, at_s=1), embedded("c", Z, at_s=2)]
    for crop in one_by_one:
        (last,) = fold(registry, KEYRING, [crop], MODEL)
        store_all(registry, [last])

    (again,) = fold(registry, KEYRING, one_by_one, MODEL)
    assert again.crops == [], "all are stored"
    assert again.template == pytest.approx(last.template, abs=1e-6)
    with registry.reading() as session:
        sighting = session.get_one(Sighting, "t")
        assert unpack(sighting.template_sum, KEYRING, sighting_place("t")) == pytest.approx([0.9, 0.6, 1.0], abs=1e-6)
        assert sighting.best_quality == 1.0
        assert (sighting.started_at_us, sighting.ended_at_us) == (AT_US, AT_US + 2_000_000)


def test_groups_by_track_and_orders_by_time(registry: Registry) -> None:
    seen = fold(
        registry,
        KEYRING,
        [
            embedded("late", X, at_s=2),
            embedded("other", Y, track="u", at_s=1),
            embedded("early", X, at_s=0),
        ],
        MODEL,
    )
    assert {one.track_id: [crop.crop.id for crop in one.crops] for one in seen} == {
        "t": ["early", "late"],
        "u": ["other"],
    }


def test_a_sighting_is_new_once(registry: Registry) -> None:
    assert store_all(registry, fold(registry, KEYRING, [embedded("a", X)], MODEL)) == [True]
    assert store_all(registry, fold(registry, KEYRING, [embedded("b", X)], MODEL)) == [False]


def test_a_crop_without_picture_is_stored_all_the_same(registry: Registry) -> None:
    store_all(registry, fold(registry, KEYRING, [embedded("a", X)], MODEL))
    with registry.reading() as session:
        assert session.get_one(StoredCrop, "a").blob is None


def test_pictures_lie_by_the_day_of_their_capture_in_utc() -> None:
    assert blob_name(embedded("a", X).crop) == "crops/2026-11-01/a.jpg"
    assert blob_name(embedded("a", X, at_s=1).crop) == "crops/2026-11-02/a.jpg"
