from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from numpy.typing import NDArray
from pymilvus import MilvusClient
from sqlalchemy import func, select
from tenacity import Retrying, retry_if_exception_type, stop_after_delay

from lookout.audit import SYSTEM
from lookout.errors import BadInputError, ConflictError, UnavailableError
from lookout.faces.embedder import Embedder, normalised
from lookout.faces.models import open_embedder, template_model
from lookout.faces.photos import decode_jpeg
from lookout.models_in_use import ModelSwitchedError, names_in_use
from lookout.stores.registry.tables import (
    Alert,
    AuditEntry,
    NextReference,
    NextSighting,
    Reference,
    Sighting,
    StoredCrop,
    Target,
)
from lookout.stores.templates import sighting_place, target_place, unpack
from lookout.stores.vectors import SIGHTINGS, TARGETS, collection_name
from lookout.switching.reembedding import Reembedder, Stores, remaining
from lookout.switching.switch import Switched, switch
from lookout.targets.enrolment import Enroller
from lookout.targets.references import recombine
from tests.people import MODEL, crop, man_a, woman_b
from tests.workplace import Workplace
from workers.crops import embed, match_all, process, write
from workers.parts import Parts
from workers.sightings import fold

OTHER = "dlib-resnet-128"
Floats = NDArray[np.float32]
Told = Callable[[str, int, int], None]


class CutError(Exception):
    """Stands for a kill."""


def nothing(_what: str, _done: int, _total: int) -> None: ...


@pytest.fixture
def other(workplace: Workplace) -> Embedder:
    return open_embedder(workplace.assets, OTHER)


@pytest.fixture
def place(workplace: Workplace, monkeypatch: pytest.MonkeyPatch) -> Workplace:
    """Man A on a watchlist, seen on two tracks, and woman B."""
    # No worker process runs that could still be at a batch.
    monkeypatch.setattr("lookout.switching.switch.REFRESH_S", 0.0)
    workplace.enrol_man_a()
    faces = man_a(workplace.assets)
    see(
        workplace,
        crop(faces[0]),
        crop(faces[1], number=1),
        crop(faces[2], track=1),
        crop(woman_b(workplace.assets)[0], track=2),
    )
    return workplace


def see(place: Workplace, *crops: object) -> None:
    place.parts.models.forget()
    process(place.parts, place.put(*crops))  # type: ignore[arg-type]


def stores(place: Workplace) -> Stores:
    return Stores(place.registry, place.parts.vectors, place.parts.blobs, place.parts.keyring)


def use(place: Workplace, embedder: Embedder, told: Told = nothing) -> Switched:
    model = template_model(place.settings, embedder.name)
    return switch(stores(place), model, Reembedder(stores(place), embedder), SYSTEM, told)


def in_use(place: Workplace) -> str:
    with place.registry.reading() as session:
        return names_in_use(session)[1]


def made_by(place: Workplace) -> set[str | None]:
    return {row.model for table in (Target, Reference, Sighting) for row in place.rows(table)}  # type: ignore[attr-defined]


def waiting(place: Workplace) -> int:
    return len(place.rows(NextReference)) + len(place.rows(NextSighting))


def collections(place: Workplace) -> set[str]:
    with contextlib.closing(MilvusClient(place.settings.milvus_uri)) as client:
        return set(client.list_collections())


def test_there_and_back(place: Workplace, other: Embedder) -> None:
    (before,) = place.rows(Target)
    assert before.template is not None
    first = unpack(before.template, place.parts.keyring, target_place(before.id))

    done = use(place, other)

    assert (done.before, done.after, done.photos, done.sightings, done.gone) == (MODEL, OTHER, 1, 3, 0)
    assert in_use(place) == OTHER
    assert made_by(place) == {OTHER}
    assert waiting(place) == 0
    assert {collection_name(kind, OTHER) for kind in (TARGETS, SIGHTINGS)} <= collections(place)
    assert not {collection_name(kind, MODEL) for kind in (TARGETS, SIGHTINGS)} & collections(place)
    (entry,) = [one for one in place.rows(AuditEntry) if one.action == "model.switched"]
    assert entry.detail == {"role": "embedder", "before": MODEL, "targets": 1}

    place.parts.models.forget()
    back = use(place, place.parts.loaded or other)
    assert (back.before, back.photos, back.sightings) == (OTHER, 1, 3)
    (after,) = place.rows(Target)
    assert after.template is not None
    again = unpack(after.template, place.parts.keyring, target_place(after.id))
    # Landmarks are stored to a hundredth of a pixel.
    assert float(again @ first) > 0.999, "the template that enrolment made"


def test_sightings_are_as_if_the_new_model_had_seen_them(place: Workplace, other: Embedder) -> None:
    use(place, other)

    for sighting in place.rows(Sighting):
        with place.registry.reading() as session:
            crops = session.scalars(select(StoredCrop).where(StoredCrop.sighting_id == sighting.id)).all()
        faces = [
            other.align(
                decode_jpeg(place.parts.blobs.read(one.blob or ""), one.id), np.asarray(one.landmarks, np.float32)
            )
            for one in crops
        ]
        weights = np.array([[one.quality] for one in crops], np.float32)
        expected = (other.embed(faces) * weights).sum(axis=0)
        found = unpack(sighting.template_sum, place.parts.keyring, sighting_place(sighting.id))
        np.testing.assert_allclose(found, expected, atol=1e-5)
        ((hit, *_),) = place.parts.vectors.search_sightings(OTHER, normalised(expected)[None], 1)
        assert hit.id == sighting.id
        assert hit.score == pytest.approx(1, abs=1e-5)
        assert sighting.indexed


def test_the_next_face_is_matched_by_the_new_model_and_its_thresholds(place: Workplace, other: Embedder) -> None:
    alerts = len(place.rows(Alert))
    use(place, other)

    see(place, crop(man_a(place.assets)[3], track=3, camera="yard", group="yard"))

    assert place.parts.embedder.name == OTHER
    (newest,) = [one for one in place.rows(Alert) if one.camera_group == "yard"]
    assert len(place.rows(Alert)) == alerts + 1
    calibration = template_model(place.settings, OTHER).calibration
    assert newest.threshold == pytest.approx(
        calibration.threshold(1 / (500 if newest.tier == "possible" else 10_000), 1)
    )


def test_workers_go_on_with_the_old_model_until_then(place: Workplace, other: Embedder) -> None:
    faces = man_a(place.assets)
    seen: list[str] = []

    def told(what: str, done: int, _total: int) -> None:
        # Once after the photos, and once in the last moment: that one is embedded after the switch.
        if (what, done) in {("sightings", 0), ("switching", 0)} and what not in seen:
            seen.append(what)
            see(place, crop(faces[len(seen)], track=10 + len(seen), camera=f"c{len(seen)}", group=f"g{len(seen)}"))
            assert place.parts.embedder.name == in_use(place) == MODEL

    done = use(place, other, told)

    assert seen == ["sightings", "switching"]
    assert {alert.camera_group for alert in place.rows(Alert)} >= {"g1", "g2"}, "alerts kept flowing"
    assert done.sightings == 5
    assert made_by(place) == {OTHER}


def test_whoever_is_enrolled_meanwhile_is_switched_too(place: Workplace, other: Embedder) -> None:
    def told(what: str, _done: int, _total: int) -> None:
        if what == "switching" and len(place.rows(Target)) == 1:
            place.enrol_man_a(watchlist="another")

    assert use(place, other, told).photos == 2
    assert made_by(place) == {OTHER}
    ((*hits,),) = place.parts.vectors.search_targets(OTHER, np.zeros((1, 128), np.float32) + 1, 5)
    assert {hit.id for hit in hits} == {target.id for target in place.rows(Target)}


def test_one_that_was_cut_off_goes_on_where_it_was(place: Workplace, other: Embedder) -> None:
    def cut(at: str) -> Told:
        def told(what: str, done: int, _total: int) -> None:
            if what == at and done:
                raise CutError

        return told

    for at in ("photos", "sightings"):
        with pytest.raises(CutError):
            use(place, other, cut(at))
        assert made_by(place) == {MODEL}, "nothing has changed for anybody"
    assert waiting(place) == 4
    with pytest.raises(CutError):
        use(place, other, cut("switching"))
    assert in_use(place) == OTHER
    assert waiting(place) == 3, "the sightings'"

    done = use(place, other)
    assert (done.before, done.photos, done.sightings) == (OTHER, 0, 0)
    assert made_by(place) == {OTHER}
    assert waiting(place) == 0


def test_one_that_is_given_up_leaves_nothing(place: Workplace, other: Embedder) -> None:
    def cut(what: str, done: int, _total: int) -> None:
        if what == "sightings" and done:
            raise CutError

    with pytest.raises(CutError):
        use(place, other, cut)

    use(place, place.parts.embedder)

    assert waiting(place) == 0
    assert not {collection_name(kind, OTHER) for kind in (TARGETS, SIGHTINGS)} & collections(place)
    assert made_by(place) == {MODEL}


def test_sightings_without_pictures_are_counted_and_stay(place: Workplace, other: Embedder) -> None:
    gone, *_ = place.rows(Sighting)
    for one in place.rows(StoredCrop):
        if one.sighting_id == gone.id:
            place.parts.blobs.delete(one.blob or "")

    done = use(place, other)

    assert (done.sightings, done.gone) == (2, 1)
    assert {row.id: row.model for row in place.rows(Sighting)}[gone.id] == MODEL
    assert use(place, place.parts.loaded or other).gone == 0, "back, it can be found again"


def test_nobody_is_lost_for_a_photo_that_cannot_be_read(place: Workplace, other: Embedder) -> None:
    (reference,) = place.rows(Reference)
    place.parts.blobs.delete(reference.photo_blob)

    with pytest.raises(BadInputError, match=f"nothing was switched, as 1 photos .* references {reference.id}"):
        use(place, other)

    assert in_use(place) == MODEL
    assert made_by(place) == {MODEL}


def test_who_is_erased_meanwhile_does_not_come_back(place: Workplace, other: Embedder) -> None:
    (target,) = place.rows(Target)

    def told(what: str, done: int, _total: int) -> None:
        if what == "switching" and not done:
            place.erase(target)

    use(place, other, told)

    (erased,) = place.rows(Target)
    assert (erased.template, erased.model) == (None, None)
    assert place.rows(NextReference) == []
    ((*hits,),) = place.parts.vectors.search_targets(OTHER, np.ones((1, 128), np.float32), 5)
    assert hits == []


def test_a_batch_of_the_old_model_is_not_stored_after_the_switch(place: Workplace, other: Embedder) -> None:
    late = crop(man_a(place.assets)[3], track=9)
    old = place.parts.embedder
    tracks = match_all(place.parts, fold(place.registry, place.parts.keyring, embed(old, [late]), MODEL), MODEL)
    use(place, other)

    with pytest.raises(ModelSwitchedError):
        write(place.parts, tracks, {}, MODEL)
    assert late.id not in {one.id for one in place.rows(StoredCrop)}

    see(place, late)
    assert late.id in {one.id for one in place.rows(StoredCrop)}, "done again, by the new one"


def test_a_track_that_goes_on_across_the_switch_keeps_its_template(place: Workplace, other: Embedder) -> None:
    faces = man_a(place.assets)

    def told(what: str, done: int, _total: int) -> None:
        # After the switch, before the sightings have come to their new sums.
        if what == "switching" and done:
            see(place, crop(faces[3], number=2))

    use(place, other, told)

    names = [one.id for one in place.rows(StoredCrop)]
    assert crop(faces[3], number=2).id in names
    sighting = next(one for one in place.rows(Sighting) if one.id == crop(faces[0]).track_id)
    kept = unpack(sighting.template_sum, place.parts.keyring, sighting_place(sighting.id))
    aligned = [
        other.align(decode_jpeg(one.jpeg, ""), np.asarray(one.landmarks, np.float32))
        for one in (faces[0], faces[1], faces[3])
    ]
    np.testing.assert_allclose(kept, other.embed(aligned).sum(axis=0), atol=1e-4)


def test_a_template_of_the_old_model_is_not_enrolled_after_the_switch(place: Workplace, other: Embedder) -> None:
    old = template_model(place.settings, MODEL)
    use(place, other)

    by = Enroller(SYSTEM, place.parts.blobs, place.parts.keyring, old)
    with (
        pytest.raises(ModelSwitchedError, match=f"{OTHER} has come into use meanwhile"),
        place.registry.transaction() as session,
    ):
        recombine(session, by.keyring, session.scalars(select(Target)).one(), old)
    with pytest.raises(ModelSwitchedError):
        place.enrol_man_a(watchlist="late")


def test_workers_that_write_meanwhile_lose_no_face_and_hold_nobody_up(place: Workplace, other: Embedder) -> None:
    faces, begun = man_a(place.assets), threading.Barrier(3)

    def work(number: int) -> list[str]:
        parts = Parts(place.settings)
        parts.loaded = open_embedder(place.assets, MODEL)
        done = []
        for count in range(12):
            seen = crop(faces[count % 4], track=100 * number + count, camera=f"c{number}", group=f"g{count}")
            parts.crops.put([seen])
            if count == 1:
                begun.wait(30)
            # As the task does: what finds a part away, or another model in use, is done again.
            for attempt in Retrying(retry=retry_if_exception_type(UnavailableError), stop=stop_after_delay(60)):
                with attempt:
                    process(parts, [seen.id])
            done.append(seen.id)
        parts.vectors.close()
        parts.redis.close()
        return done

    with ThreadPoolExecutor(2) as pool:
        working = [pool.submit(work, number) for number in (1, 2)]
        begun.wait(30)
        use(place, other)
        use(place, open_embedder(place.assets, MODEL))
        seen = {one for each in working for one in each.result(120)}

    assert seen <= {one.id for one in place.rows(StoredCrop)}
    assert made_by(place) == {MODEL}
    assert waiting(place) == 0
    assert {one.camera_group for one in place.rows(Alert)} >= {f"g{count}" for count in range(12)}


def test_two_at_once_are_refused(place: Workplace, other: Embedder) -> None:
    with (
        place.registry.exclusively("switch"),
        pytest.raises(ConflictError, match="another process is at the same work"),
    ):
        use(place, other)


def test_a_milvus_that_is_away_changes_nothing(
    place: Workplace, other: Embedder, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(*_: object) -> None:
        raise UnavailableError("gone")

    monkeypatch.setattr(place.parts.vectors, "upsert_targets", away)
    with pytest.raises(UnavailableError):
        use(place, other)
    assert in_use(place) == MODEL
    assert made_by(place) == {MODEL}


def test_what_is_left_to_do_is_told(place: Workplace) -> None:
    with place.registry.reading() as session:
        work = remaining(session, OTHER)
        assert session.scalar(select(func.count()).select_from(StoredCrop)) == work.crops == 4
    assert (work.photos, work.sightings) == (1, 3)
