"""Bulk imports and exports: what becomes of each photo, also when one is cut off."""

from __future__ import annotations

import io
import json
import os
import struct
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import cv2
import pytest
from sqlalchemy import select

from lookout.audit import Actor
from lookout.clock import now_us
from lookout.errors import BadInputError, PhotoError, UnavailableError
from lookout.faces.assets import AssetCache
from lookout.faces.embedder import Embedder
from lookout.faces.models import template_model
from lookout.faces.yunet import YuNet
from lookout.sealing import Keyring
from lookout.settings import Settings
from lookout.stores import pieces
from lookout.stores.blobs import Blobs
from lookout.stores.pieces import PieceFile, PieceWriter, delete_pieces
from lookout.stores.registry import Registry
from lookout.stores.registry.tables import AuditEntry, Import, ImportItem, Reference, Target, Watchlist, new_id
from lookout.targets import imports
from lookout.targets.batches import Line
from lookout.targets.enrolment import Enroller
from lookout.targets.exports import export
from lookout.targets.imports import Models, begin_import, cancel_import, counts, run_import, try_import
from lookout.targets.sources import FolderSource, Source, ZipSource, open_source
from tests.people import MODEL

KEYRING = Keyring.parse(Keyring.new_key())


@dataclass
class Desk:
    """A watchlist to import into."""

    registry: Registry
    by: Enroller
    models: Models
    watchlist_id: str

    def begin(self, source: str = "people") -> str:
        with self.registry.transaction() as session:
            watchlist = session.get_one(Watchlist, self.watchlist_id)
            return begin_import(session, self.by.actor, watchlist, source).id

    def run(self, source: Source) -> dict[str, Line]:
        import_id = self.begin()
        lines = [line for batch in run_import(self.registry, self.by, import_id, source, self.models) for line in batch]
        return {line.file: line for line in lines}

    def people(self) -> dict[str, int]:
        """How many photos each has."""
        with self.registry.reading() as session:
            return {one.name: len(one.references) for one in session.scalars(select(Target))}

    def files(self) -> list[Path]:
        return [path for path in Path(self.by.blobs.url.removeprefix("file://")).rglob("*") if path.is_file()]


@pytest.fixture
def desk(registry: Registry, assets: AssetCache, embedder: Embedder, tmp_path: Path) -> Desk:
    blobs = Blobs((tmp_path / "blobs").as_uri(), KEYRING)
    by = Enroller(Actor("olga", "cli"), blobs, KEYRING, template_model(Settings(), MODEL))
    watchlist = Watchlist(id=new_id(), name="w", purpose="p", legal_basis="l", created_at_us=now_us())
    with registry.transaction() as session:
        session.add(watchlist)
    return Desk(registry, by, Models(YuNet(assets.model("yunet")), embedder), watchlist.id)


@pytest.fixture(scope="module")
def man(assets: AssetCache) -> bytes:
    return assets.media("single_face.jpg").read_bytes()


@pytest.fixture(scope="module")
def group(assets: AssetCache) -> bytes:
    return assets.media("multi_face.jpg").read_bytes()


@pytest.fixture(scope="module")
def woman(assets: AssetCache) -> bytes:
    """One of the group, alone."""
    bgr = cv2.imread(str(assets.media("multi_face.jpg")))
    assert bgr is not None
    faces = YuNet(assets.model("yunet")).detect_scaled(bgr.astype("uint8"), 640)
    left = max(faces, key=lambda face: float(face.box_xyxy[0]))
    x1, y1, x2, y2 = (int(v) for v in left.box_xyxy)
    return cv2.imencode(".jpg", bgr[max(0, y1 - 60) : y2 + 60, x1 - 10 : x2 + 60])[1].tobytes()


def again(picture: bytes, number: int) -> bytes:
    """The same picture as another file."""
    return picture + bytes([number])


@pytest.fixture
def folder(tmp_path: Path, man: bytes, woman: bytes, group: bytes) -> Path:
    root = tmp_path / "people"
    files = {
        "Anna/one.jpg": woman,
        "Anna/two.jpg": again(woman, 1),
        "Ben.jpg": man,
        "Ben_2.jpg": again(man, 1),
        "Ben_3.jpg": man,
        "Carl/party.jpg": group,
        "Dora/notes.txt": b"no picture",
        ".DS_Store": b"x",
        "__MACOSX/._Ben.jpg": b"x",
    }
    for name, data in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(data)
    return root


def zipped(files: dict[str, bytes]) -> io.BytesIO:
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    made.seek(0)
    return made


def as_zip(folder: Path) -> ZipSource:
    return ZipSource(
        zipped({path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*.*")}), "people.zip"
    )


@pytest.mark.parametrize("kind", [FolderSource, as_zip])
def test_each_photo_is_told_of(desk: Desk, folder: Path, kind: Callable[[Path], Source]) -> None:
    told = desk.run(kind(folder))

    states = {file: (line.state, line.reasons) for file, line in told.items()}
    known = {file for file, (state, _) in states.items() if state == "known"}
    assert len(known) == 1
    assert known <= {"Ben.jpg", "Ben_3.jpg"}, "the same file twice"
    assert {file: state for file, state in states.items() if not file.startswith("Ben")} == {
        "Anna/one.jpg": ("accepted", ()),
        "Anna/two.jpg": ("accepted", ()),
        "Carl/party.jpg": ("refused", ("several_faces",)),
        "Dora/notes.txt": ("refused", ("not_a_picture",)),
    }
    assert desk.people() == {"Anna": 2, "Ben": 2}
    assert len(desk.files()) == 2 * 4
    with desk.registry.reading() as session:
        importing = session.scalars(select(Import)).one()
        assert importing.state == "done"
        assert counts(session, importing.id) == {"waiting": 0, "accepted": 4, "refused": 2, "known": 1}
        assert all(target.template for target in session.scalars(select(Target)))
        actions = list(session.scalars(select(AuditEntry.action).order_by(AuditEntry.number)))
    assert actions == ["import.started", "target.created", "target.created", "import.finished"]


def test_a_second_run_knows_all(desk: Desk, folder: Path) -> None:
    first = desk.run(FolderSource(folder))
    second = desk.run(FolderSource(folder))

    for file, line in first.items():
        assert second[file].state == ("refused" if line.state == "refused" else "known")
    assert desk.people() == {"Anna": 2, "Ben": 2}
    assert len(desk.files()) == 2 * 4


def test_a_dry_run_stores_nothing(desk: Desk, folder: Path) -> None:
    lines = list(try_import(desk.registry, desk.watchlist_id, FolderSource(folder), desk.models))
    assert sorted(line.state for line in lines) == ["accepted"] * 4 + ["known"] + ["refused"] * 2
    assert desk.people() == {}
    assert desk.files() == []


def test_one_that_is_cut_off_goes_on(desk: Desk, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(imports, "BATCH", 2)
    import_id = desk.begin()
    list(islice(run_import(desk.registry, desk.by, import_id, FolderSource(folder), desk.models), 1))
    with desk.registry.reading() as session:
        assert counts(session, import_id)["waiting"] == 5

    (folder / "Emil.jpg").write_bytes(again((folder / "Ben.jpg").read_bytes(), 7))
    (folder / "Dora" / "notes.txt").unlink()
    assert desk.begin() == import_id, "the same source into the same watchlist"
    list(run_import(desk.registry, desk.by, import_id, FolderSource(folder), desk.models))

    assert desk.people() == {"Anna": 2, "Ben": 2, "Emil": 1}
    assert desk.begin() != import_id, "it is done"


def test_one_that_is_cancelled_stores_no_more(desk: Desk, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(imports, "BATCH", 2)
    import_id = desk.begin()
    running = run_import(desk.registry, desk.by, import_id, FolderSource(folder), desk.models)
    next(running)
    files = len(desk.files())
    with desk.registry.transaction() as session:
        cancel_import(session, desk.by.actor, session.get_one(Import, import_id))

    assert list(running) == []

    assert desk.people() == {"Anna": 2}
    assert len(desk.files()) == files


def test_a_store_that_fails_loses_nothing(desk: Desk, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import_id = desk.begin()
    write, left = desk.by.blobs.write, iter(range(5))

    def fail_late(name: str, data: bytes) -> None:
        if next(left, None) is None:
            raise UnavailableError("the blob store is full")
        write(name, data)

    monkeypatch.setattr(desk.by.blobs, "write", fail_late)
    with pytest.raises(UnavailableError, match="full"):
        list(run_import(desk.registry, desk.by, import_id, FolderSource(folder), desk.models))
    assert desk.people() == {}
    assert desk.files() == []

    monkeypatch.undo()
    list(run_import(desk.registry, desk.by, import_id, FolderSource(folder), desk.models))
    assert desk.people() == {"Anna": 2, "Ben": 2}


def test_a_photo_of_somebody_else_is_kept_out_of_the_template(desk: Desk, folder: Path, man: bytes) -> None:
    (folder / "Anna" / "zzz.jpg").write_bytes(again(man, 9))

    told = desk.run(FolderSource(folder))

    assert (told["Anna/zzz.jpg"].state, told["Anna/zzz.jpg"].reasons) == ("accepted", ("disagrees",))
    with desk.registry.reading() as session:
        rows = session.scalars(select(Reference).join(Target).where(Target.name == "Anna")).all()
        assert sorted(row.in_template for row in rows) == [False, True, True]


def test_a_table_names_people_and_says_more_of_them(desk: Desk, folder: Path) -> None:
    table = folder / "list.csv"
    table.write_bytes(
        "\ufeffname;photo;reference_number;note;valid_until\r\n"
        "Rene\u0301;Ben.jpg;R-1;a note;2030-01-31\r\n"
        "René;Ben_2.jpg;;;\r\n"
        "Thief;../../etc/passwd;;;\r\n"
        ";Anna/one.jpg;;;\r\n".encode()
    )

    told = desk.run(open_source(table))

    assert told["Ben.jpg"].state == told["Ben_2.jpg"].state == "accepted"
    assert told["../../etc/passwd"].reasons == ("unreadable",)
    assert told["Anna/one.jpg"].reasons == ("bad_field",)
    with desk.registry.reading() as session:
        target = session.scalars(select(Target)).one()
    assert (target.name, target.reference_number, target.note) == ("René", "R-1", "a note")
    assert target.valid_until_us == 1_896_134_399_000_000


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b"name\nAnna\n", "no column photo"),
        (b"", "no column"),
        ("name,photo\nJosé,a.jpg".encode("latin-1"), "UTF-8"),
        (b"name,photo,valid_until\nA,a.jpg,tomorrow", "line 2: valid_until"),
    ],
)
def test_a_table_that_is_none_says_why(tmp_path: Path, text: bytes, message: str) -> None:
    (tmp_path / "list.csv").write_bytes(text)
    with pytest.raises(BadInputError, match=message):
        open_source(tmp_path / "list.csv").entries()


def test_what_was_exported_can_be_imported(desk: Desk, folder: Path, registry: Registry) -> None:
    desk.run(FolderSource(folder))
    with registry.transaction() as session:
        anna = session.scalars(select(Target).where(Target.name == "Anna")).one()
        anna.reference_number, anna.valid_until_us = "N-7", 1_900_000_000_000_000
    archive = io.BytesIO(b"".join(export(registry, desk.by.blobs, desk.watchlist_id)))
    other = Watchlist(id=new_id(), name="other", purpose="p", legal_basis="l", created_at_us=now_us())
    with registry.transaction() as session:
        session.add(other)

    desk.watchlist_id = other.id
    told = desk.run(ZipSource(archive, "export.zip"))

    assert [line.state for line in told.values()] == ["accepted"] * 4
    with registry.reading() as session:
        copy = session.scalars(select(Target).where(Target.name == "Anna", Target.watchlist_id == other.id)).one()
        assert (copy.reference_number, copy.valid_until_us) == ("N-7", 1_900_000_000_000_000)
        pairs = session.execute(select(Target.name, Reference.photo_sha256).join(Reference.target)).all()
    assert len(pairs) == 8
    assert len(set(pairs)) == 4, "the very files"


# --- archives that mean harm ---


def test_a_bomb_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(BadInputError, match="200 times its own size"):
        ZipSource(zipped({f"{number}.jpg": bytes(30_000_000) for number in range(8)}), "bomb.zip")


def test_a_member_that_is_or_claims_to_be_too_large_is_not_read() -> None:
    source = ZipSource(zipped({"large.jpg": bytes(33_000_000)}), "a.zip")
    with pytest.raises(PhotoError) as refusal:
        source.read("large.jpg")
    assert refusal.value.reasons == ("too_large",)


def test_one_that_lies_about_its_members_is_cut_off() -> None:
    data = bytearray(zipped({"small.jpg": bytes(40_000_000)}).getvalue())
    at = data.rfind(b"PK\x01\x02")
    struct.pack_into("<I", data, at + 24, 100)
    source = ZipSource(io.BytesIO(data), "a.zip")
    try:
        assert len(source.read("small.jpg")) <= 32_000_001
    except PhotoError as error:
        assert error.reasons == ("damaged",)  # noqa: PT017


def test_a_table_of_contents_without_end_is_refused() -> None:
    data = bytearray(zipped({"a.jpg": b"x"}).getvalue())
    struct.pack_into("<I", data, data.rfind(b"PK\x05\x06") + 12, 900_000_000)
    with pytest.raises(BadInputError, match="too many files"):
        ZipSource(io.BytesIO(data), "a.zip")


@pytest.mark.parametrize("data", [b"", b"PK", b"PK\x03\x04" + bytes(100), b"PK\x05\x06", os.urandom(5000)])
def test_what_is_no_zip_is_said_so(data: bytes) -> None:
    with pytest.raises(BadInputError, match=r"a\.zip"):
        ZipSource(io.BytesIO(data), "a.zip")


def test_members_that_lead_out_or_are_encrypted_are_only_names() -> None:
    made = zipped({"../../evil/a.jpg": b"x", "/abs/b.jpg": b"y"})
    source = ZipSource(made, "a.zip")
    assert [entry.person for entry in source.entries()] == ["abs"]
    data = bytearray(made.getvalue())
    struct.pack_into("<H", data, data.rfind(b"PK\x01\x02") + 8, 1)
    with pytest.raises(PhotoError):
        ZipSource(io.BytesIO(data), "a.zip").read("/abs/b.jpg")


# --- archives in pieces ---


@pytest.fixture
def small_pieces(monkeypatch: pytest.MonkeyPatch) -> int:
    monkeypatch.setattr(pieces, "PIECE_BYTES", 1000)
    return 1000


@pytest.mark.parametrize("size", [0, 1, 999, 1000, 1001, 5500])
def test_an_archive_in_pieces_is_read_like_a_file(small_pieces: int, tmp_path: Path, size: int) -> None:
    data = os.urandom(size)
    blobs = Blobs(tmp_path.as_uri(), KEYRING)
    writer = PieceWriter(blobs, "imports/x")
    for start in range(0, size, 700):
        writer.write(data[start : start + 700])
    blob = writer.close()

    archive, plain = PieceFile(blobs, blob), io.BytesIO(data)
    assert archive.read() == data
    for offset, whence, count in [(0, 2, 5), (-min(size, 30), 2, 10), (min(size, 995), 0, 20), (0, 0, -1), (3, 1, 7)]:
        assert archive.seek(offset, whence) == plain.seek(offset, whence)
        assert archive.read(count) == plain.read(count)

    delete_pieces(blobs, blob)
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


def test_a_zip_in_pieces_is_imported(desk: Desk, folder: Path, small_pieces: int) -> None:
    files = {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*.jpg")}
    writer = PieceWriter(desk.by.blobs, "imports/y")
    writer.write(zipped(files).getvalue())
    blob = writer.close()
    desk.run(ZipSource(PieceFile(desk.by.blobs, blob), "people.zip"))  # type: ignore[arg-type]
    assert desk.people() == {"Anna": 2, "Ben": 2}


def test_items_can_be_shown_as_json(desk: Desk, folder: Path) -> None:
    desk.run(FolderSource(folder))
    with desk.registry.reading() as session:
        assert json.dumps([item.reasons for item in session.scalars(select(ImportItem))])
