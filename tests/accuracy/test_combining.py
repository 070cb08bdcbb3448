"""How well photos of one person are told from a photo of somebody else that came among them."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from lookout.faces.assets import AssetCache
from lookout.faces.bulk import examine_many
from lookout.faces.combining import STRANGER_RATE, combine
from lookout.faces.enrolment import ExaminedFace
from lookout.faces.geometry import Floats
from lookout.faces.models import open_embedder
from lookout.faces.photos import read_photo
from lookout.faces.yunet import YuNet

DATA = Path(__file__).resolve().parents[2].parent / "shared" / "data"
#: Photos a person at most: the few people with dozens would count for most of the rest.
PHOTOS = 5
SIZES = (2, 3, 4, 5)
MODEL = "fusion-320"

pytestmark = pytest.mark.skipif(not DATA.is_dir(), reason=f"the accuracy data is not there: {DATA}")

#: Template and quality.
Photo = tuple[Floats, float]


@pytest.fixture(scope="module")
def people(assets: AssetCache) -> list[list[Photo]]:
    """The photos, good enough for enrolment, of 300 people with at least two."""
    embedder = open_embedder(assets, MODEL)
    detector = YuNet(assets.model("yunet"))
    folders = [sorted(folder.glob("*.jpg"))[:PHOTOS] for folder in sorted((DATA / "lfw").iterdir())]
    chosen = [paths for paths in folders if len(paths) > 1][:300]
    files = ((path.name, partial(read_photo, path)) for paths in chosen for path in paths)
    examined = examine_many(files, detector, embedder)
    people = []
    for paths in chosen:
        photos = []
        for _ in paths:
            examination = next(examined).examination
            face = in_the_middle(examination.faces, examination.size_wh)
            if face is not None and face.template is not None:
                photos.append((face.template, face.quality.value))
        people.append(photos)
    return [photos for photos in people if len(photos) > 1]


def in_the_middle(faces: tuple[ExaminedFace, ...], size_wh: tuple[int, int]) -> ExaminedFace | None:
    """The face that an LFW picture is about; others are passers-by."""

    def from_centre(face: ExaminedFace) -> float:
        box = face.detection.box_xyxy
        return float(np.hypot(*((box[:2] + box[2:]) / 2 - np.array(size_wh) / 2)))

    return min(faces, key=from_centre, default=None)


def outliers(photos: list[Photo], min_cosine: float) -> tuple[int, ...]:
    return combine(np.stack([template for template, _ in photos]), [q for _, q in photos], min_cosine).outliers


def test_true_photos_are_kept_and_strangers_noticed(
    people: list[list[Photo]],
    assets: AssetCache,
    record_property: Callable[[str, object], None],
    capsys: pytest.CaptureFixture[str],
) -> None:
    min_cosine = assets.manifest.embedder(MODEL).calibration.score_at(STRANGER_RATE)
    rng = np.random.default_rng(0)
    for size in SIZES:
        left_out = photos_seen = noticed = strangers = blamed = 0
        for person, photos in enumerate(people):
            for _ in range(3 if len(photos) >= size else 0):
                chosen = [photos[k] for k in rng.choice(len(photos), size, replace=False)]
                left_out += len(outliers(chosen, min_cosine))
                photos_seen += size
                stranger = people[(person + int(rng.integers(1, len(people)))) % len(people)]
                # Of two photos the later one is named: there the stranger comes second.
                place = int(rng.integers(0, size)) if size > 2 else 1
                chosen[place] = stranger[int(rng.integers(0, len(stranger)))]
                found = outliers(chosen, min_cosine)
                noticed += place in found
                blamed += len(set(found) - {place})
                strangers += 1
        kept, seen = 1 - left_out / photos_seen, noticed / strangers
        wrong = blamed / (strangers * (size - 1))
        record_property(f"combining_{size}", (kept, seen))
        with capsys.disabled():
            print(  # noqa: T201
                f"\n{size} photos: {kept:.4f} of {photos_seen} true ones kept, {seen:.4f} of {strangers} strangers "
                f"noticed, {wrong:.4f} of true ones blamed beside a stranger",
                end="",
            )
        assert strangers > 100
        assert kept >= 0.99
        assert seen >= 0.98
        assert wrong <= 0.01
