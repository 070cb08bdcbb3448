"""Erasure reaches every store, or changes nothing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from numpy.typing import NDArray
from sqlalchemy import select

from lookout.clock import now_us
from lookout.erasure import Erasure
from lookout.errors import NotFoundError, UnavailableError
from lookout.faces.photos import decode_jpeg
from lookout.messages import Crop
from lookout.stores.registry.tables import (
    Alert,
    AlertEvent,
    AlertSighting,
    AuditEntry,
    Delivery,
    Import,
    ImportItem,
    RejectedPair,
    Sighting,
    StoredCrop,
    Target,
)
from tests.people import MODEL, crop, man_a, woman_b
from tests.workplace import Workplace
from workers.crops import process


def see(workplace: Workplace, *crops: Crop) -> None:
    """Have a worker process crops."""
    process(workplace.parts, workplace.put(*crops))


def files(workplace: Workplace) -> set[Path]:
    """All pictures that are stored."""
    return {path for path in (workplace.settings.home / "blobs").rglob("*") if path.is_file()}


def state(workplace: Workplace) -> dict[str, Any]:
    """What is stored of people."""
    tables = (Target, Sighting, StoredCrop, Alert, AlertSighting, Delivery)
    return {"files": files(workplace)} | {
        table.__tablename__: sorted(
            str({key: value for key, value in vars(row).items() if not key.startswith("_")})
            for row in workplace.rows(table)
        )
        for table in tables
    }


def template_of_man_a(workplace: Workplace) -> NDArray[np.float32]:
    """What a search by his picture asks for, `(1, D)`."""
    face, embedder = man_a(workplace.assets)[0], workplace.parts.embedder
    aligned = embedder.align(decode_jpeg(face.jpeg, "man A"), np.asarray(face.landmarks, np.float32))
    return embedder.embed([aligned])


@pytest.fixture
def enrolled(workplace: Workplace) -> Target:
    """Man A, on a watchlist with a webhook, after he was seen with an alert; and woman B, who is on none."""
    target = workplace.enrol_man_a(webhooks=["http://127.0.0.1:1/"])
    first = msgspec.structs.replace(crop(man_a(workplace.assets)[0]), frame_id="f", frame_box=(0.1, 0.1, 0.2, 0.2))
    workplace.parts.crops.put_frame("f", b"a frame", first.deadline_us)
    see(workplace, first, crop(woman_b(workplace.assets)[0], track=9))
    return target


def test_nothing_of_the_person_is_left(workplace: Workplace, enrolled: Target) -> None:
    before = files(workplace)
    stranger = crop(woman_b(workplace.assets)[0], track=9).track_id

    gone = workplace.erase(enrolled)
    workplace.update_index()

    assert (gone.photos, gone.sightings, gone.crops, gone.frames, gone.alerts) == (1, 1, 1, 1, 1)
    assert gone.deliveries >= 1
    assert gone.kept_sightings == 0
    assert len(before) - len(files(workplace)) == 4, "photo, cut-out face, crop, frame"
    assert [row.id for row in workplace.rows(Sighting)] == [stranger]
    assert workplace.rows(AlertSighting) == []
    assert workplace.rows(Delivery) == []

    (target,) = workplace.rows(Target)
    assert target.name == f"erased {target.id}"
    assert (target.template, target.model, target.note) == (None, None, "")
    (alert,) = workplace.rows(Alert)
    assert (alert.crop_id, alert.reference_id, alert.frame_blob, alert.candidates) == (None, None, None, [])
    assert alert.closed_at_us is not None
    assert [one.kind for one in workplace.rows(AlertEvent)][-1] == "erased"

    template = template_of_man_a(workplace)
    hits = workplace.parts.vectors.search_targets(MODEL, template, 10)[0]
    assert target.id not in {hit.id for hit in hits}
    alike = workplace.parts.vectors.search_sightings(MODEL, template, 10)[0]
    assert {hit.id for hit in alike if hit.score > 0.75} == set()

    (entry,) = [one for one in workplace.rows(AuditEntry) if one.action == "target.erased"]
    assert entry.subject_id == target.id
    assert entry.detail["photos"] == 1

    assert process(workplace.parts, workplace.put(crop(man_a(workplace.assets)[1], track=3))) == []


def test_sightings_that_raised_no_alert_are_found_by_likeness(workplace: Workplace) -> None:
    see(workplace, crop(man_a(workplace.assets)[0]))  # before he was enrolled
    target = workplace.enrol_man_a()
    assert workplace.rows(Alert) == []
    assert workplace.erase(target).sightings == 1
    assert workplace.rows(Sighting) == []


def test_what_another_targets_alert_holds_stays_with_it(workplace: Workplace, enrolled: Target) -> None:
    other = workplace.enrol_man_a(watchlist="other")
    see(workplace, crop(man_a(workplace.assets)[1], track=1))
    shared = crop(man_a(workplace.assets)[1], track=1).track_id

    gone = workplace.erase(enrolled)

    assert gone.kept_sightings == 1
    assert shared in {row.id for row in workplace.rows(Sighting)}
    alerts = {row.target_id: row for row in workplace.rows(Alert)}
    assert alerts[enrolled.id].crop_id is None
    assert alerts[other.id].crop_id is not None


def test_a_rejected_alert_of_another_target_holds_nothing(workplace: Workplace, enrolled: Target) -> None:
    other = workplace.enrol_man_a(watchlist="other")
    see(workplace, crop(man_a(workplace.assets)[1], track=1))
    with workplace.registry.transaction() as session:
        wrong = session.scalars(select(Alert).where(Alert.target_id == other.id)).one()
        wrong.verdict = "rejected"
        sighting = session.scalars(select(AlertSighting).where(AlertSighting.alert_id == wrong.id)).one()
        pair = {"sighting_id": sighting.sighting_id, "score": 0.7, "at_us": now_us()}
        session.add_all([RejectedPair(target_id=one.id, **pair) for one in (other, enrolled)])

    assert workplace.erase(enrolled).kept_sightings == 0
    assert {row.crop_id for row in workplace.rows(Alert)} == {None}
    assert [row.target_id for row in workplace.rows(RejectedPair)] == [other.id]


def test_it_is_done_once(workplace: Workplace, enrolled: Target) -> None:
    workplace.erase(enrolled)
    with pytest.raises(NotFoundError, match="erased before"):
        workplace.erase(enrolled)


@pytest.mark.parametrize("part", ["blobs", "vectors"])
def test_a_store_that_is_away_leaves_everything_as_it_was(
    workplace: Workplace, enrolled: Target, monkeypatch: pytest.MonkeyPatch, part: str
) -> None:
    before = state(workplace)

    def away(*_: object) -> None:
        raise UnavailableError("away")

    with monkeypatch.context() as patch:
        patch.setattr(getattr(workplace.parts, part), "delete", away)
        with pytest.raises(UnavailableError):
            workplace.erase(enrolled)
    after = state(workplace)
    assert after == before
    assert workplace.erase(enrolled).photos == 1


def test_milvus_has_no_row_of_what_was_erased_while_it_was_written(
    workplace: Workplace, enrolled: Target, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A worker that has stored a sighting is about to tell Milvus when the person is erased."""
    upsert = workplace.parts.vectors.upsert_sightings
    erased: list[Erasure] = []

    def erase_first(model: str, rows: Any, templates: Any) -> None:
        if not erased:
            erased.append(workplace.erase(enrolled))
        upsert(model, rows, templates)

    monkeypatch.setattr(workplace.parts.vectors, "upsert_sightings", erase_first)
    seen = crop(man_a(workplace.assets)[1], track=1)
    see(workplace, seen)
    assert erased[0].sightings == 2
    hits = workplace.parts.vectors.search_sightings(MODEL, template_of_man_a(workplace), 10)[0]
    assert seen.track_id not in {hit.id for hit in hits}


def test_an_import_that_would_enrol_the_person_again_is_cancelled(workplace: Workplace, enrolled: Target) -> None:
    names = {"with": enrolled.name, "without": "somebody else"}
    with workplace.registry.transaction() as session:
        for name, person in names.items():
            row = Import(
                id=name,
                watchlist_id=enrolled.watchlist_id,
                source=f"{name}.zip",
                created_by="olga",
                created_at_us=now_us(),
            )
            session.add(row)
            session.flush()
            session.add(ImportItem(import_id=name, position=0, person=person, file="a.jpg"))
    workplace.erase(enrolled)
    assert {row.id: row.state for row in workplace.rows(Import)} == {"with": "cancelled", "without": "running"}
