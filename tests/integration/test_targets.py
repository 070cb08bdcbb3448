"""Enrolment through all stores: photos, templates, what disagrees, and who resembles whom."""

from __future__ import annotations

import contextlib
import hashlib
import resource
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import av
import numpy as np
import pytest
from numpy.typing import NDArray
from pymilvus import MilvusClient
from sqlalchemy import func, select

from lookout.audit import Actor
from lookout.clock import now_us
from lookout.errors import BadInputError, ConflictError, NotFoundError, PhotoError, UnavailableError
from lookout.faces.assets import AssetCache
from lookout.faces.detector import Detection
from lookout.faces.enrolment import EnrolledFace
from lookout.faces.manifest import load_manifest
from lookout.faces.models import TemplateModel, open_embedder
from lookout.faces.photos import decode_jpeg
from lookout.faces.quality import Quality
from lookout.faces.yunet import YuNet
from lookout.sealing import Keyring
from lookout.stores import index
from lookout.stores.blobs import Blobs
from lookout.stores.index import update_index
from lookout.stores.registry import Registry
from lookout.stores.registry.tables import (
    AuditEntry,
    Base,
    IndexRemoval,
    ModelChoice,
    Reference,
    Target,
    Watchlist,
    new_id,
)
from lookout.stores.templates import reference_place, target_place, unpack
from lookout.stores.vectors import TARGETS, Vectors
from lookout.targets import Photo, add_target, read_photos
from lookout.targets.enrolment import Enroller, TargetFields, change_target, confirm_photo, remove_photo
from lookout.targets.photos import FACE_PX
from lookout.targets.references import DisagreesError
from lookout.targets.resemblance import Resemblance, resembling
from lookout.watchlists.records import archive_watchlist
from tests import servers

Floats = NDArray[np.float32]

DIMENSION = 8
CALIBRATION = load_manifest().embedder("mobilefacenet-192").calibration
MODEL = TemplateModel("targets", DIMENSION, CALIBRATION)
KEYRING = Keyring.parse(Keyring.new_key())
ACTOR = Actor("olga", "session")
#: All that enrolment may write to.
TABLES = (Watchlist, Target, Reference, IndexRemoval, AuditEntry)


def photo(number: int, data: bytes = b"", *, like: Floats | None = None) -> Photo:
    """A photo of person `number` without a picture: its template is the axis of that number, or another one."""
    box = np.array([10, 20, 110.26, 150], np.float32)
    landmarks = np.array([[40, 60], [80, 60], [60, 85], [45, 110], [75, 110]], np.float32)
    shown = template(number) if like is None else like
    face = EnrolledFace(Detection(box, landmarks, 0.9), Quality(0.8, ()), shown, MODEL.name)
    return Photo(f"{number}.jpg", data or f"photo {number}".encode(), face, b"the face")


def template(number: int) -> Floats:
    return np.eye(DIMENSION, dtype=np.float32)[number : number + 1].reshape(-1)


def turned(number: int, other: int, cosine: float) -> Floats:
    """Person `number` as a photo shows them that resembles another by so much less."""
    return np.asarray(cosine * template(number) + np.sqrt(1 - cosine**2) * template(other), np.float32)


class Stores:
    """Registry, photos and Milvus, with two watchlists."""

    def __init__(self, registry: Registry, folder: Path, vectors: Vectors) -> None:
        self.registry, self.folder, self.vectors = registry, folder, vectors
        self.blobs = Blobs(folder.as_uri(), KEYRING)
        self.by = Enroller(ACTOR, self.blobs, KEYRING, MODEL)
        with registry.transaction() as session:
            session.get_one(ModelChoice, "embedder").name = MODEL.name
        for name in ("wanted", "missing"):
            with registry.transaction() as session:
                session.add(
                    Watchlist(id=new_id(), name=name, purpose="test", legal_basis="test", created_at_us=now_us())
                )

    def add(
        self, name: str, *photos: Photo, watchlist: str = "wanted", blobs: Blobs | None = None, confirm: bool = False
    ) -> Target:
        return add_target(
            self.registry,
            blobs or self.blobs,
            KEYRING,
            watchlist=watchlist,
            name=name,
            photos=photos,
            model=MODEL,
            actor=ACTOR,
            confirm_disagreement=confirm,
        )

    def index(self) -> int:
        return update_index(self.registry, self.vectors, KEYRING, MODEL.name)

    def found(self, like: Floats) -> set[str]:
        """Targets that Milvus has with about that template."""
        (hits,) = self.vectors.search_targets(MODEL.name, like[None], 10)
        return {hit.id for hit in hits if hit.score > 0.99}

    def references(self, name: str) -> list[Reference]:
        with self.registry.reading() as session:
            query = select(Reference).join(Target).where(Target.name == name)
            return list(session.scalars(query.order_by(Reference.created_at_us)))

    def target(self, name: str) -> Target:
        with self.registry.reading() as session:
            return session.scalars(select(Target).where(Target.name == name)).one()

    def template(self, name: str) -> Floats:
        target = self.target(name)
        assert target.template is not None
        return unpack(target.template, KEYRING, target_place(target.id))

    def resembling(self, *photos: Photo) -> list[Resemblance]:
        with self.registry.reading() as session:
            return resembling(session, self.vectors, KEYRING, MODEL, None, photos)

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
        client.delete(TARGETS, filter="id != ''")


@pytest.fixture
def vectors(milvus_server: servers.Server) -> Iterator[Vectors]:
    with contextlib.closing(Vectors(milvus_server.url)) as made:
        prepare_empty(made, MODEL.name, DIMENSION)
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
    assert stores.found(template(0)) == set()

    assert stores.index() == 1

    assert stores.found(template(0)) == {target.id}
    assert stores.target("A").indexed
    assert stores.index() == 0, "it is done once"


def test_a_reference_says_all_about_its_photo(stores: Stores) -> None:
    given = photo(3, b"the very bytes of the file")

    stores.add("A", given)

    (reference,) = stores.references("A")
    assert stores.blobs.read(reference.photo_blob) == given.data
    assert stores.blobs.read(reference.face_blob) == given.face_jpeg
    assert stores.files() == {stores.folder / reference.photo_blob, stores.folder / reference.face_blob}
    assert all(given.data not in path.read_bytes() for path in stores.files())
    assert reference.photo_sha256 == hashlib.sha256(given.data).hexdigest()
    assert reference.box_xyxy == [10, 20, 110.3, 150]
    assert reference.landmarks == given.face.detection.landmarks.tolist()
    assert (reference.quality, reference.model) == (0.8, MODEL.name)
    np.testing.assert_array_equal(
        unpack(reference.template, KEYRING, reference_place(reference.id)), given.face.template
    )


def test_a_name_that_is_there_gets_further_photos(stores: Stores) -> None:
    first = stores.add("A", photo(0))
    again = stores.add("A", photo(2, like=turned(0, 1, 0.8)))

    assert again.id == first.id
    assert stores.index() == 1
    assert stores.found(stores.template("A")) == {first.id}
    assert 0.9 < stores.template("A") @ template(0) < 0.99, "both photos have a part in it"
    assert stores.counts(Target, Reference) == {"targets": 1, "references": 2}


@pytest.mark.parametrize("photos", [[0], [1, 0], [1, 2, 1]], ids=["one it has", "one new, one it has", "one twice"])
def test_a_photo_is_enrolled_once(stores: Stores, photos: list[int]) -> None:
    stores.add("A", photo(0))

    with nothing_changes(stores), pytest.raises(ConflictError, match="A has this photo already"):
        stores.add("A", *(photo(number, like=template(0)) for number in photos))


def test_the_same_photo_may_stand_for_several_people(stores: Stores) -> None:
    """A group photo, of which another face is meant each time; or the same person on two watchlists."""
    stores.add("A", photo(0, b"group"))
    stores.add("B", photo(1, b"group"))
    stores.add("A", photo(0, b"group"), watchlist="missing")

    assert stores.counts(Target, Reference) == {"targets": 3, "references": 3}


@pytest.mark.parametrize("name", ["", "  ", "x" * 201, "a\0b"])
def test_a_name_that_cannot_be_kept_is_refused(stores: Stores, name: str) -> None:
    with nothing_changes(stores), pytest.raises(BadInputError, match="name"):
        stores.add(name, photo(0))


def test_the_same_letters_are_the_same_name(stores: Stores) -> None:
    one = stores.add("Ren\u00e9", photo(0))
    other = stores.add(" Rene\u0301 ", photo(1, like=template(0)))
    assert one.id == other.id


def test_an_unknown_or_archived_watchlist_is_named(stores: Stores) -> None:
    with nothing_changes(stores), pytest.raises(NotFoundError, match=r"no watchlist nosuch; make it with `lookout"):
        stores.add("A", photo(0), watchlist="nosuch")
    with stores.registry.transaction() as session:
        archive_watchlist(session, ACTOR, session.scalars(select(Watchlist).where(Watchlist.name == "wanted")).one())
    with nothing_changes(stores), pytest.raises(BadInputError, match="archived"):
        stores.add("A", photo(0))


# --- photos that disagree ---


def test_a_photo_of_somebody_else_is_not_taken_unasked(stores: Stores) -> None:
    stores.add("A", photo(0))

    with nothing_changes(stores), pytest.raises(DisagreesError, match=r"1\.jpg") as refusal:
        stores.add("A", photo(1))

    assert refusal.value.photos == (0,)


def test_confirmed_all_photos_have_a_part_in_the_template(stores: Stores) -> None:
    stores.add("A", photo(0))
    stores.add("A", photo(1), confirm=True)

    assert [one.in_template for one in stores.references("A")] == [True, True]
    assert stores.template("A") @ template(0) == pytest.approx(np.sqrt(0.5), abs=1e-3)


def test_one_that_was_left_out_can_be_confirmed_or_removed(stores: Stores) -> None:
    target = stores.add("A", photo(0), photo(1), confirm=True)
    first, second = stores.references("A")
    with stores.registry.transaction() as session:
        second = session.get_one(Reference, second.id)
        session.get_one(Reference, first.id).confirmed = second.confirmed = second.in_template = False
        confirm_photo(session, stores.by, session.get_one(Target, target.id), second)
    assert all(one.in_template for one in stores.references("A"))

    with stores.registry.transaction() as session:
        remove_photo(session, stores.by, session.get_one(Target, target.id), session.get_one(Reference, second.id))

    assert stores.template("A") @ template(0) == pytest.approx(1, abs=1e-6)
    assert len(stores.files()) == 2
    stores.index()
    assert stores.found(template(0)) == {target.id}


def test_who_has_no_photo_left_is_matched_no_more(stores: Stores) -> None:
    target = stores.add("A", photo(0))
    stores.index()
    with stores.registry.transaction() as session:
        (reference,) = session.scalars(select(Reference))
        remove_photo(session, stores.by, session.get_one(Target, target.id), reference)

    stores.index()

    assert stores.found(template(0)) == set()
    assert stores.files() == set()
    assert stores.counts(IndexRemoval) == {"index_removals": 0}


# --- who resembles whom ---


def test_a_new_person_who_resembles_one_is_found_with_the_photo_most_alike(stores: Stores) -> None:
    stores.add("A", photo(0), photo(5, like=turned(0, 1, 0.8)))
    stores.add("B", photo(2))
    stores.index()

    (one,) = stores.resembling(photo(9, like=turned(0, 1, 0.7)))

    assert one.name == "A"
    assert one.watchlist == "wanted"
    assert one.face_id == stores.references("A")[1].id
    assert one.score >= one.threshold
    assert stores.resembling(photo(4)) == []


def test_archived_watchlists_do_not_count(stores: Stores) -> None:
    stores.add("A", photo(0))
    stores.index()
    with stores.registry.transaction() as session:
        archive_watchlist(session, ACTOR, session.scalars(select(Watchlist).where(Watchlist.name == "wanted")).one())
    assert stores.resembling(photo(0)) == [], "also before Milvus knows"


# --- the audit ---


def test_the_audit_tells_of_changes_and_nothing_of_the_person(stores: Stores) -> None:
    target = stores.add("Secret Name", photo(0))
    with stores.registry.transaction() as session:
        row = session.get_one(Target, target.id)
        change_target(session, ACTOR, row, TargetFields(name="Other Name", note="Secret note", valid_until_us=10**15))
    with stores.registry.transaction() as session:
        row = session.get_one(Target, target.id)
        change_target(session, ACTOR, row, TargetFields(name="Other Name", note="Secret note", valid_until_us=10**15))

    with stores.registry.reading() as session:
        created, changed = session.scalars(select(AuditEntry).order_by(AuditEntry.number))
    assert (created.action, changed.action) == ("target.created", "target.changed")
    assert changed.detail == {"fields": ["name", "note", "valid_until_us"], "valid_until_us": [None, 10**15]}
    assert changed.subject_id == target.id
    assert "Name" not in str(created.detail) + str(changed.detail)


# --- stores that fail ---


class FailingBlobs(Blobs):
    """Its `n`-th change fails, as on a network drive that goes away."""

    def __init__(self, url: str, n: int) -> None:
        super().__init__(url, KEYRING)
        self.left = n

    def write(self, name: str, data: bytes) -> None:
        self.left -= 1
        if self.left == 0:
            raise UnavailableError("the blob store is gone")
        super().write(name, data)


@pytest.mark.parametrize("n", [1, 2, 3, 6])
@pytest.mark.parametrize("known", [False, True], ids=["new target", "known target"])
def test_a_blob_store_that_fails_leaves_nothing_behind(stores: Stores, known: bool, n: int) -> None:
    given = [photo(number, like=template(0)) for number in range(3)]
    if known:
        stores.add("A", photo(7, like=template(0)))

    with nothing_changes(stores), pytest.raises(UnavailableError, match="gone"):
        stores.add("A", *given, blobs=FailingBlobs(stores.folder.as_uri(), n))

    stores.add("A", *given)
    assert len(stores.files()) == 2 * len(stores.references("A")) == 2 * (3 + known)


def test_a_disk_that_takes_only_half_a_photo_keeps_nothing_of_it(stores: Stores) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    with nothing_changes(stores):
        resource.setrlimit(resource.RLIMIT_FSIZE, (8_000_000, hard))
        try:
            with pytest.raises(UnavailableError, match="blob store"):
                stores.add("A", photo(0), photo(1, b"x" * 12_000_000, like=template(0)))
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_registry_that_refuses_leaves_no_photo_behind(stores: Stores, monkeypatch: pytest.MonkeyPatch) -> None:
    def record(*_: object, **__: object) -> None:
        raise UnavailableError("the audit cannot be written")

    monkeypatch.setattr("lookout.targets.enrolment.audit.record", record)
    with nothing_changes(stores), pytest.raises(UnavailableError, match="audit"):
        stores.add("A", photo(0))


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
    assert len(stores.files()) == 2


def test_several_who_enrol_one_person_at_once(stores: Stores) -> None:
    with ThreadPoolExecutor(4) as threads:
        targets = list(
            threads.map(lambda number: stores.add("A", photo(number, like=template(0))).id, range(6), timeout=60)
        )

    assert len(set(targets)) == 1
    assert stores.counts(Target, Reference) == {"targets": 1, "references": 6}
    assert len(stores.files()) == 12


# --- a real face ---


def test_a_real_photo_finds_its_man_in_a_clip_and_nobody_else(
    stores: Stores, milvus_server: servers.Server, assets: AssetCache
) -> None:
    name = "mobilefacenet-192"
    detector = YuNet(assets.model("yunet"))
    embedder = open_embedder(assets, name)

    def probe(clip: str, number: int) -> Floats:
        with av.open(str(assets.media(clip))) as container:
            bgr = next(frame for k, frame in enumerate(container.decode(video=0)) if k == number)
            picture = bgr.to_ndarray(format="bgr24").astype(np.uint8, copy=False)
        (face,) = detector.detect_scaled(picture, 640)
        return embedder.embed([embedder.align(picture, face.landmarks)])

    with contextlib.closing(Vectors(milvus_server.url)) as vectors:
        # A collection of its own, whoever else uses this embedder's.
        embedder.name = "targets-real"
        prepare_empty(vectors, embedder.name, embedder.dimension)
        people = {"A": read_photos([assets.media("single_face.jpg")], detector, embedder)}
        for number in (1, 2, 3, 4, 5):
            people[f"{number}"] = read_photos([assets.media("multi_face.jpg")], detector, embedder, face=number)
        model = TemplateModel(embedder.name, embedder.dimension, CALIBRATION)
        with stores.registry.transaction() as session:
            session.get_one(ModelChoice, "embedder").name = model.name
        for who, theirs in people.items():
            add_target(stores.registry, stores.blobs, KEYRING, watchlist="wanted", name=who, photos=theirs, model=model)
        assert update_index(stores.registry, vectors, KEYRING, model.name) == 6

        ((best, *rest),) = vectors.search_targets(model.name, probe("noface_face.mov", 130), 6)
        ((nearest, *_),) = vectors.search_targets(model.name, probe("WolfgangLanger_Pexels.mp4", 0), 6)

    assert best.id == stores.target("A").id
    assert best.score > 0.60
    assert max(hit.score for hit in rest) < 0.45
    assert nearest.score < 0.45


def test_a_photo_that_is_refused_stores_nothing(stores: Stores, assets: AssetCache) -> None:
    name = "mobilefacenet-192"
    detector = YuNet(assets.model("yunet"))
    embedder = open_embedder(assets, name)

    with nothing_changes(stores), pytest.raises(PhotoError, match=r"multi_face\.jpg: 5 faces found"):
        stores.add(
            "A", *read_photos([assets.media("single_face.jpg"), assets.media("multi_face.jpg")], detector, embedder)
        )


def test_the_cut_out_face_is_the_one_that_was_enrolled(assets: AssetCache) -> None:
    name = "mobilefacenet-192"
    detector = YuNet(assets.model("yunet"))
    embedder = open_embedder(assets, name)
    for number in (1, 5):
        (given,) = read_photos([assets.media("multi_face.jpg")], detector, embedder, face=number)
        cut = decode_jpeg(given.face_jpeg, "face")
        assert cut.shape == (FACE_PX, FACE_PX, 3)
        (seen,) = detector.detect(cut)
        again = embedder.embed([embedder.align(cut, seen.landmarks)])[0]
        assert again @ given.face.template > 0.9


def test_more_changes_than_one_request_takes(stores: Stores, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(index, "BATCH", 3)
    targets = [stores.add(f"{number}", photo(number)) for number in range(8)]
    assert stores.index() == 8
    assert [stores.found(template(number)) for number in range(8)] == [{one.id} for one in targets]


def test_a_milvus_that_is_away_is_told_later(stores: Stores) -> None:
    stores.add("A", photo(0))
    with (
        contextlib.closing(Vectors("http://127.0.0.1:9")) as away,
        pytest.raises(UnavailableError, match=r"Milvus at http://127\.0\.0\.1:9"),
    ):
        update_index(stores.registry, away, KEYRING, MODEL.name)

    assert stores.index() == 1
    assert len(stores.found(template(0))) == 1
