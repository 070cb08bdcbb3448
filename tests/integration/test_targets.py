"""Enrolment and removal through all stores."""

from __future__ import annotations

import contextlib
import hashlib
import resource
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import av
import numpy as np
import pytest
from numpy.typing import NDArray
from pymilvus import MilvusClient
from sqlalchemy import func, select
from sqlalchemy.exc import IntegrityError

from lookout.clock import now_us
from lookout.errors import ConflictError, NotFoundError, PhotoError, UnavailableError
from lookout.faces.assets import AssetCache
from lookout.faces.detector import Detection, YuNet
from lookout.faces.embedder import Embedder
from lookout.faces.enrolment import EnrolledFace
from lookout.faces.quality import Quality
from lookout.stores import index
from lookout.stores.blobs import Blobs
from lookout.stores.index import update_index
from lookout.stores.registry import Registry
from lookout.stores.registry.tables import (
    Alert,
    AlertSighting,
    Base,
    Delivery,
    IndexRemoval,
    Reference,
    Sighting,
    StoredCrop,
    Target,
    Watchlist,
    Webhook,
    new_id,
)
from lookout.stores.templates import unpack
from lookout.stores.vectors import REFERENCES, Vectors
from lookout.targets import Photo, Removal, add_target, read_photos, remove_target
from tests import servers

Floats = NDArray[np.float32]

MODEL, DIMENSION = "targets", 8
#: All that enrolment may write to.
TABLES = (Watchlist, Target, Reference, IndexRemoval, Alert, AlertSighting, Delivery)


def photo(number: int, data: bytes = b"") -> Photo:
    """A photo of person `number` without a picture: its template is the axis of that number."""
    box = np.array([10, 20, 110.26, 150], np.float32)
    landmarks = np.array([[40, 60], [80, 60], [60, 85], [45, 110], [75, 110]], np.float32)
    face = EnrolledFace(Detection(box, landmarks, 0.9), Quality(0.8, ()), template(number))
    return Photo(data or f"photo {number}".encode(), face)


def template(number: int) -> Floats:
    return np.eye(DIMENSION, dtype=np.float32)[number : number + 1].reshape(-1)


class Stores:
    """Registry, photos and Milvus, with one watchlist."""

    def __init__(self, registry: Registry, folder: Path, vectors: Vectors) -> None:
        self.registry, self.folder, self.vectors = registry, folder, vectors
        self.blobs = Blobs(folder.as_uri())
        for name in ("wanted", "missing"):
            with registry.transaction() as session:
                session.add(
                    Watchlist(id=new_id(), name=name, purpose="test", legal_basis="test", created_at_us=now_us())
                )

    def add(self, name: str, *photos: Photo, watchlist: str = "wanted", blobs: Blobs | None = None) -> Target:
        return add_target(
            self.registry, blobs or self.blobs, watchlist=watchlist, name=name, photos=photos, model=MODEL
        )

    def remove(self, name: str, *, watchlist: str = "wanted", blobs: Blobs | None = None) -> Removal:
        return remove_target(self.registry, blobs or self.blobs, watchlist=watchlist, name=name)

    def index(self) -> int:
        return update_index(self.registry, self.vectors, MODEL)

    def found(self, number: int) -> set[str]:
        """References that Milvus has of person `number`."""
        (hits,) = self.vectors.search_references(template(number)[None], 10)
        return {hit.reference_id for hit in hits if hit.score > 0.99}

    def references(self, name: str) -> list[Reference]:
        with self.registry.reading() as session:
            return list(session.scalars(select(Reference).join(Target).where(Target.name == name)))

    def files(self) -> set[Path]:
        return {path for path in self.folder.rglob("*") if path.is_file()}

    def counts(self, *tables: type[Base]) -> dict[str, int]:
        with self.registry.reading() as session:
            return {
                table.__tablename__: session.scalar(select(func.count()).select_from(table)) or 0
                for table in tables or TABLES
            }


def prepare_empty(vectors: Vectors, model: str, dimension: int) -> None:
    """Collections without rows: emptied, as it takes a second to make new ones."""
    vectors.prepare(model, dimension)
    with contextlib.closing(MilvusClient(vectors.uri)) as client:
        client.delete(REFERENCES, filter="id != ''")


@pytest.fixture
def vectors(milvus_server: servers.Server) -> Iterator[Vectors]:
    with contextlib.closing(Vectors(milvus_server.url)) as made:
        prepare_empty(made, MODEL, DIMENSION)
        yield made


@pytest.fixture
def stores(registry: Registry, vectors: Vectors, tmp_path: Path) -> Stores:
    return Stores(registry, tmp_path / "blobs", vectors)


@contextlib.contextmanager
def nothing_changes(stores: Stores) -> Iterator[None]:
    """Neither rows nor files."""
    rows, files = stores.counts(), stores.files()
    yield
    assert stores.counts() == rows
    assert stores.files() == files


# --- enrolment ---


def test_who_is_enrolled_is_matchable_straight_after(stores: Stores) -> None:
    target = stores.add("A", photo(0))

    (reference,) = stores.references("A")
    assert reference.target_id == target.id
    assert not reference.indexed
    assert stores.found(0) == set()

    assert stores.index() == 1

    assert stores.found(0) == {reference.id}
    assert stores.references("A")[0].indexed
    assert stores.index() == 0, "it is done once"


def test_a_reference_says_all_about_its_photo(stores: Stores) -> None:
    given = photo(3, b"the very bytes of the file")

    target = stores.add("A", given)

    (reference,) = stores.references("A")
    assert stores.blobs.read(reference.photo_blob) == given.data
    assert stores.files() == {stores.folder / reference.photo_blob}
    assert reference.photo_sha256 == hashlib.sha256(given.data).hexdigest()
    assert reference.box_xyxy == [10, 20, 110.3, 150]
    assert reference.landmarks == given.face.detection.landmarks.tolist()
    assert (reference.quality, reference.model) == (0.8, MODEL)
    np.testing.assert_array_equal(unpack(reference.template), given.face.template)
    assert abs(reference.created_at_us - now_us()) < 60e6
    assert (target.name, [one.id for one in target.references]) == ("A", [reference.id])


def test_a_name_that_is_there_gets_further_photos(stores: Stores) -> None:
    first = stores.add("A", photo(0), photo(1))
    again = stores.add("A", photo(2))

    assert again.id == first.id
    assert stores.index() == 3
    assert {len(stores.found(number)) for number in (0, 1, 2)} == {1}
    assert stores.counts(Target, Reference) == {"targets": 1, "references": 3}


@pytest.mark.parametrize(
    "photos", [[0], [1, 0], [1, 2, 1]], ids=["one it has", "a new one and one it has", "a new one twice"]
)
def test_a_photo_is_enrolled_once(stores: Stores, photos: list[int]) -> None:
    stores.add("A", photo(0))

    with nothing_changes(stores), pytest.raises(ConflictError, match="A has this photo already"):
        stores.add("A", *(photo(number) for number in photos))


def test_of_a_new_name_nothing_stays_when_its_photos_are_one(stores: Stores) -> None:
    with nothing_changes(stores), pytest.raises(ConflictError):
        stores.add("A", photo(0), photo(0))


def test_the_same_photo_may_stand_for_several_people(stores: Stores) -> None:
    """A group photo, of which another face is meant each time; or the same person on two watchlists."""
    stores.add("A", photo(0, b"group"))
    stores.add("B", photo(1, b"group"))
    stores.add("A", photo(0, b"group"), watchlist="missing")

    assert stores.counts(Target, Reference) == {"targets": 3, "references": 3}
    assert len(stores.files()) == 3


def test_an_unknown_watchlist_is_named(stores: Stores) -> None:
    with nothing_changes(stores), pytest.raises(NotFoundError, match=r"no watchlist nosuch; make it with `lookout"):
        stores.add("A", photo(0), watchlist="nosuch")


class FailingBlobs(Blobs):
    """Its `n`-th change fails, as on a network drive that goes away."""

    def __init__(self, url: str, n: int) -> None:
        super().__init__(url)
        self.left = n

    def _count(self) -> None:
        self.left -= 1
        if self.left == 0:
            raise UnavailableError("the blob store is gone")

    def write(self, name: str, data: bytes) -> None:
        self._count()
        super().write(name, data)

    def delete(self, name: str) -> None:
        self._count()
        super().delete(name)


@pytest.mark.parametrize("n", [1, 2, 3])
@pytest.mark.parametrize("known", [False, True], ids=["new target", "known target"])
def test_a_blob_store_that_fails_leaves_nothing_behind(stores: Stores, known: bool, n: int) -> None:
    if known:
        stores.add("A", photo(7))

    with nothing_changes(stores), pytest.raises(UnavailableError, match="gone"):
        stores.add("A", photo(0), photo(1), photo(2), blobs=FailingBlobs(stores.folder.as_uri(), n))

    stores.add("A", photo(0), photo(1), photo(2))
    assert len(stores.files()) == len(stores.references("A")) == 3 + known


def test_a_disk_that_takes_only_half_a_photo_keeps_nothing_of_it(stores: Stores) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    with nothing_changes(stores):
        resource.setrlimit(resource.RLIMIT_FSIZE, (8_000_000, hard))
        try:
            with pytest.raises(UnavailableError, match="blob store"):
                stores.add("A", photo(0), photo(1, b"x" * 12_000_000))
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_registry_that_refuses_leaves_no_photo_behind(stores: Stores) -> None:
    worthless = photo(1)
    worthless = replace(worthless, face=replace(worthless.face, quality=Quality(None, ())))  # type: ignore[arg-type]

    with nothing_changes(stores), pytest.raises(IntegrityError):
        stores.add("A", photo(0), worthless)


def test_two_who_enrol_the_same_photo_at_once(stores: Stores) -> None:
    def add(_: int) -> str:
        try:
            return stores.add("A", photo(0)).id
        except ConflictError:
            return "refused"

    with ThreadPoolExecutor(4) as threads:
        results = list(threads.map(add, range(4), timeout=60))

    assert results.count("refused") == 3
    assert stores.counts(Target, Reference) == {"targets": 1, "references": 1}
    assert len(stores.files()) == 1


def test_several_who_enrol_one_person_at_once(stores: Stores) -> None:
    with ThreadPoolExecutor(4) as threads:
        targets = list(threads.map(lambda number: stores.add("A", photo(number)).id, range(6), timeout=60))

    assert len(set(targets)) == 1
    assert stores.counts(Target, Reference) == {"targets": 1, "references": 6}
    assert len(stores.files()) == 6


# --- a real face ---


def test_a_real_photo_finds_its_man_in_a_clip_and_nobody_else(
    stores: Stores, milvus_server: servers.Server, assets: AssetCache
) -> None:
    name = "mobilefacenet-192"
    detector = YuNet(assets.model("yunet"))
    embedder = Embedder(assets.model(name), assets.manifest.embedder(name).contract)

    def probe(clip: str, number: int) -> Floats:
        with av.open(str(assets.media(clip))) as container:
            bgr = next(frame for k, frame in enumerate(container.decode(video=0)) if k == number)
            picture = bgr.to_ndarray(format="bgr24").astype(np.uint8, copy=False)
        (face,) = detector.detect_scaled(picture, 640)
        return embedder.embed([embedder.align(picture, face.landmarks)])

    with contextlib.closing(Vectors(milvus_server.url)) as vectors:
        prepare_empty(vectors, "targets-real", embedder.dimension)
        photos = read_photos([assets.media("single_face.jpg")], detector, embedder)
        add_target(stores.registry, stores.blobs, watchlist="wanted", name="A", photos=photos, model="targets-real")
        for number in (1, 2, 3, 4, 5):
            others = read_photos([assets.media("multi_face.jpg")], detector, embedder, face=number)
            add_target(
                stores.registry, stores.blobs, watchlist="wanted", name=f"{number}", photos=others, model="targets-real"
            )
        assert update_index(stores.registry, vectors, "targets-real") == 6

        ((best, *rest),) = vectors.search_references(probe("noface_face.mov", 130), 6)
        ((nearest, *_),) = vectors.search_references(probe("WolfgangLanger_Pexels.mp4", 0), 6)

    (reference,) = stores.references("A")
    assert best.reference_id == reference.id
    assert best.score > 0.60
    assert max(hit.score for hit in rest) < 0.45
    assert nearest.score < 0.45


def test_a_photo_that_is_refused_stores_nothing(stores: Stores, assets: AssetCache) -> None:
    name = "mobilefacenet-192"
    detector = YuNet(assets.model("yunet"))
    embedder = Embedder(assets.model(name), assets.manifest.embedder(name).contract)

    with nothing_changes(stores), pytest.raises(PhotoError, match=r"multi_face\.jpg: 5 faces found"):
        stores.add(
            "A", *read_photos([assets.media("single_face.jpg"), assets.media("multi_face.jpg")], detector, embedder)
        )


# --- removal ---


def alerted(stores: Stores, target: Target) -> str:
    """An alert on the target, with a sighting, a crop and a delivery that waits."""
    now = now_us()
    with stores.registry.transaction() as session:
        sighting = Sighting(
            id=new_id(),
            camera_id="entrance",
            camera_group="doors",
            started_at_us=now,
            ended_at_us=now,
            model=MODEL,
            template_sum=b"",
            best_quality=1,
            created_at_us=now,
        )
        session.add(sighting)
        session.flush()
        crop = StoredCrop(
            id=new_id(), sighting_id=sighting.id, captured_at_us=now, quality=1, box_xyxy=[], landmarks=[], blob=None
        )
        session.add(crop)
        session.flush()
        alert = Alert(
            id=new_id(),
            target_id=target.id,
            camera_group="doors",
            camera_id="entrance",
            tier="likely",
            score=0.7,
            threshold=0.6,
            reference_id=target.references[0].id,
            crop_id=crop.id,
            first_captured_at_us=now,
            last_seen_at_us=now,
            latency_us=1,
            stored_at_us=now,
            closed_at_us=None,
        )
        webhook = Webhook(
            id=new_id(),
            watchlist_id=target.watchlist_id,
            url=f"http://127.0.0.1/{target.id}",
            secret="s",
            created_at_us=now,
        )
        session.add_all([alert, webhook])
        session.flush()
        session.add(AlertSighting(alert_id=alert.id, sighting_id=sighting.id, score=0.7))
        session.add(
            Delivery(
                id=new_id(),
                webhook_id=webhook.id,
                alert_id=alert.id,
                payload={},
                next_attempt_at_us=now,
                created_at_us=now,
            )
        )
        return alert.id


def test_removal_leaves_no_trace_of_a_target_and_all_of_the_others(stores: Stores) -> None:
    stores.add("A", photo(0), photo(1))
    gone = stores.add("A", photo(2))
    kept = stores.add("B", photo(3))
    same_name = stores.add("A", photo(0), watchlist="missing")
    alerted(stores, gone)
    kept_alert = alerted(stores, kept)
    stores.index()

    assert stores.remove("A") == Removal(references=3, alerts=1)

    with stores.registry.reading() as session:
        assert set(session.scalars(select(Target.id))) == {kept.id, same_name.id}
        assert {one.target_id for one in session.scalars(select(Reference))} == {kept.id, same_name.id}
        assert list(session.scalars(select(Alert.id))) == [kept_alert]
        assert list(session.scalars(select(AlertSighting.alert_id))) == [kept_alert]
        assert list(session.scalars(select(Delivery.alert_id))) == [kept_alert]
    assert {path.parent.name for path in stores.files()} == {kept.id, same_name.id}
    assert stores.index() == 3
    assert [len(stores.found(number)) for number in range(4)] == [1, 0, 0, 1]
    assert stores.counts(IndexRemoval) == {"index_removals": 0}


def test_who_was_removed_can_be_enrolled_again(stores: Stores) -> None:
    stores.add("A", photo(0))
    stores.index()
    stores.remove("A")
    stores.add("A", photo(0))

    assert stores.index() == 2, "one row went, one came"

    assert stores.found(0) == {reference.id for reference in stores.references("A")}


@pytest.mark.parametrize(
    ("name", "watchlist", "message"),
    [
        ("nobody", "wanted", "there is no target nobody on watchlist wanted; `lookout targets list` shows all"),
        ("A", "missing", "there is no target A on watchlist missing"),
        ("A", "nosuch", "there is no watchlist nosuch"),
    ],
)
def test_who_is_not_there_cannot_be_removed(stores: Stores, name: str, watchlist: str, message: str) -> None:
    stores.add("A", photo(0))

    with nothing_changes(stores), pytest.raises(NotFoundError, match=message):
        stores.remove(name, watchlist=watchlist)


@pytest.mark.parametrize("n", [1, 2])
def test_a_photo_that_cannot_be_deleted_is_not_forgotten(stores: Stores, n: int) -> None:
    alerted(stores, stores.add("A", photo(0), photo(1)))
    rows = stores.counts()

    with pytest.raises(UnavailableError, match="gone"):
        stores.remove("A", blobs=FailingBlobs(stores.folder.as_uri(), n))

    assert stores.counts() == rows, "it can be removed again"
    assert stores.remove("A") == Removal(references=2, alerts=1)
    assert stores.files() == set()


def test_a_photo_that_is_gone_already_does_not_hinder_removal(stores: Stores) -> None:
    stores.add("A", photo(0))
    for file in stores.files():
        file.unlink()

    assert stores.remove("A") == Removal(references=1, alerts=0)


# --- Milvus follows ---


class PausedVectors(Vectors):
    """Milvus, with something done in the midst of each write or deletion."""

    def __init__(self, uri: str) -> None:
        super().__init__(uri)
        self.before_upsert: Callable[[], object] = lambda: None
        self.after_delete: Callable[[], object] = lambda: None

    def upsert(self, alias: str, ids: Sequence[str], templates: Floats) -> None:
        self.before_upsert()
        super().upsert(alias, ids, templates)

    def delete(self, alias: str, ids: Sequence[str]) -> None:
        super().delete(alias, ids)
        self.after_delete()


@pytest.fixture
def paused(milvus_server: servers.Server, vectors: Vectors) -> Iterator[PausedVectors]:
    with contextlib.closing(PausedVectors(milvus_server.url)) as made:
        yield made


def test_who_is_removed_while_milvus_is_told_does_not_stay_there(stores: Stores, paused: PausedVectors) -> None:
    stores.add("A", photo(0))
    paused.before_upsert = lambda: stores.remove("A")

    update_index(stores.registry, paused, MODEL)

    assert stores.found(0) == set()
    stores.index()
    assert stores.counts(IndexRemoval) == {"index_removals": 0}


def test_nor_while_another_process_has_removed_too_early(stores: Stores, paused: PausedVectors) -> None:
    """One process deletes the row before the other one writes it, and forgets about it afterwards."""
    stores.add("A", photo(0))
    deleted, written = threading.Event(), threading.Event()
    with contextlib.closing(PausedVectors(stores.vectors.uri)) as hasty, ThreadPoolExecutor(1) as thread:

        def pause() -> None:
            deleted.set()
            assert written.wait(30)

        hasty.after_delete = pause

        def remove_and_let_the_other_delete() -> None:
            stores.remove("A")
            waiting.append(thread.submit(update_index, stores.registry, hasty, MODEL))
            assert deleted.wait(30)

        waiting: list[object] = []
        paused.before_upsert = remove_and_let_the_other_delete
        try:
            update_index(stores.registry, paused, MODEL)
        finally:
            written.set()
    assert waiting

    assert stores.counts(IndexRemoval) == {"index_removals": 0}
    assert stores.found(0) == set()


def test_more_changes_than_one_request_takes(stores: Stores, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(index, "BATCH", 3)
    stores.add("A", *(photo(number) for number in range(8)))
    assert stores.index() == 8
    assert all(stores.found(number) for number in range(8))

    stores.remove("A")

    assert stores.index() == 8
    assert not any(stores.found(number) for number in range(8))


def test_a_milvus_that_is_away_is_told_later(stores: Stores) -> None:
    stores.add("A", photo(0))
    with (
        contextlib.closing(Vectors("http://127.0.0.1:9")) as away,
        pytest.raises(UnavailableError, match=r"Milvus at http://127\.0\.0\.1:9"),
    ):
        update_index(stores.registry, away, MODEL)

    assert stores.index() == 1
    assert len(stores.found(0)) == 1
