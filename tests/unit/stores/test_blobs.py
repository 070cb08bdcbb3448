from __future__ import annotations

import errno
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from fsspec.implementations.local import LocalFileSystem

from lookout.errors import NotFoundError, SealError, UnavailableError
from lookout.sealing import Keyring
from lookout.stores.blobs import Blobs

NAME = "crops/2026-11-01/a.jpg"
PICTURE = bytes(range(256)) * 8
KEYRING = Keyring.parse(Keyring.new_key())


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "blobs"


@pytest.fixture(params=["file", "memory"])
def blobs(request: pytest.FixtureRequest, folder: Path) -> Blobs:
    """A folder, and a store that is none, as S3."""
    return Blobs(folder.as_uri() if request.param == "file" else f"memory://{folder}", KEYRING)


@pytest.fixture
def full_disk(folder: Path) -> Iterator[Path]:
    """A disk with room for one picture of 32 kB."""
    folder.mkdir()
    if os.geteuid() != 0:
        pytest.skip("only root can mount a small disk")
    mount = ["mount", "-t", "tmpfs", "-o", "size=48k", "tmpfs", str(folder)]
    mounted = subprocess.run(mount, check=False, capture_output=True, text=True, timeout=10)
    if mounted.returncode != 0:
        pytest.skip(f"no small disk can be mounted here: {mounted.stderr}")
    try:
        yield folder
    finally:
        subprocess.run(["umount", folder], check=True, timeout=10)


def files(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def test_reads_what_was_written(blobs: Blobs) -> None:
    blobs.write(NAME, PICTURE)
    assert blobs.read(NAME) == PICTURE


def test_writing_again_replaces(blobs: Blobs) -> None:
    blobs.write(NAME, PICTURE)
    blobs.write(NAME, b"shorter")
    assert blobs.read(NAME) == b"shorter"


def test_what_is_not_there_cannot_be_read(blobs: Blobs) -> None:
    with pytest.raises(NotFoundError, match=r"the blob store has no crops/2026-11-01/a\.jpg"):
        blobs.read(NAME)


def test_what_is_not_there_can_be_deleted(blobs: Blobs) -> None:
    blobs.delete(NAME)
    blobs.write(NAME, PICTURE)
    blobs.delete(NAME)
    blobs.delete(NAME)
    with pytest.raises(NotFoundError):
        blobs.read(NAME)


def test_a_check_leaves_nothing(folder: Path) -> None:
    Blobs(folder.as_uri(), KEYRING).check()
    assert files(folder) == []


def test_only_the_picture_is_left_of_a_write(folder: Path) -> None:
    Blobs(folder.as_uri(), KEYRING).write(NAME, PICTURE)
    assert files(folder) == [NAME]


@pytest.mark.parametrize(
    ("code", "message"),
    [
        (errno.ENOSPC, r"is full: make room or lower retention"),
        (errno.EDQUOT, r"is full: make room or lower retention"),
        (errno.EIO, r"cannot be written: .*Input/output error"),
    ],
    ids=["no space", "quota", "broken"],
)
def test_a_write_that_fails_halfway_leaves_what_was_there(
    folder: Path, monkeypatch: pytest.MonkeyPatch, code: int, message: str
) -> None:
    blobs = Blobs(folder.as_uri(), KEYRING)
    blobs.write(NAME, b"before")

    def fail_halfway(_: LocalFileSystem, path: str, value: bytes) -> None:
        Path(path).write_bytes(value[: len(value) // 2])
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(LocalFileSystem, "pipe_file", fail_halfway)
    with pytest.raises(UnavailableError, match=message):
        blobs.write(NAME, PICTURE)
    assert files(folder) == [NAME]
    assert blobs.read(NAME) == b"before"


def test_a_disk_that_is_really_full(full_disk: Path) -> None:
    blobs = Blobs(full_disk.as_uri(), KEYRING)
    blobs.write("first.jpg", bytes(32_000))
    with pytest.raises(UnavailableError, match="is full"):
        blobs.write("second.jpg", bytes(32_000))
    with pytest.raises(UnavailableError, match="is full"):
        blobs.write("first.jpg", bytes(33_000))

    assert files(full_disk) == ["first.jpg"]
    assert blobs.read("first.jpg") == bytes(32_000)

    blobs.delete("first.jpg")
    blobs.write("second.jpg", bytes(32_000))
    assert files(full_disk) == ["second.jpg"]


def test_a_folder_that_cannot_be_made(folder: Path) -> None:
    folder.write_bytes(b"a file is in the way")
    blobs = Blobs(folder.as_uri(), KEYRING)
    with pytest.raises(UnavailableError, match="cannot be written"):
        blobs.write(NAME, PICTURE)
    with pytest.raises(UnavailableError, match="cannot be read"):
        blobs.read(NAME)
    with pytest.raises(UnavailableError, match="cannot be changed"):
        blobs.delete(NAME)


def test_a_file_shows_nothing_of_its_picture(folder: Path) -> None:
    Blobs(folder.as_uri(), KEYRING).write(NAME, PICTURE)
    assert PICTURE[:16] not in (folder / NAME).read_bytes()


def test_a_picture_under_another_name_is_refused(folder: Path) -> None:
    blobs = Blobs(folder.as_uri(), KEYRING)
    blobs.write(NAME, PICTURE)
    (folder / NAME).rename(folder / "other.jpg")
    with pytest.raises(SealError, match=r"other\.jpg cannot be opened"):
        blobs.read("other.jpg")
