from __future__ import annotations

import hashlib
import io
import os
import subprocess
import sys
import tarfile
import time
import venv
import zipfile
from pathlib import Path

import pytest

from lookout.errors import AssetError
from lookout.faces import fetch
from lookout.faces.manifest import Archive, WheelTags
from lookout.settings import Settings
from tests.conftest import Publish

PHOTO = b"a photo"
LINUX = WheelTags(platform="manylinux2014_x86_64", python_version="3.11", implementation="cp", abi="cp311")
MAC = WheelTags(platform="macosx_11_0_arm64", python_version="3.12", implementation="cp", abi="cp312")


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def tarball(members: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        folder = tarfile.TarInfo("package")
        folder.type = tarfile.DIRTYPE
        archive.addfile(folder)
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return buffer.getvalue()


def scrambled(content: bytes) -> bytes:
    return content[:20] + bytes(byte ^ 0xFF for byte in content[20:])


@pytest.fixture
def work(tmp_path: Path) -> Path:
    folder = tmp_path / "work"
    folder.mkdir()
    return folder


@pytest.fixture
def npm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A stand-in on PATH for npm; a test writes its script."""
    file = tmp_path / "bin" / "npm"
    file.parent.mkdir()
    file.touch(mode=0o755)
    monkeypatch.setenv("PATH", str(file.parent), prepend=os.pathsep)
    return file


def npm_archive(content: bytes) -> Archive:
    return Archive(registry="npm", package="tiny", version="1.0.0", sha256=sha256(content))


def test_a_wheel_is_downloaded_by_pip(publish: Publish, work: Path) -> None:
    archive = publish({"tiny/photo.jpg": PHOTO})

    file = fetch.download(archive, work, tools=work)

    assert file.is_relative_to(work)
    assert fetch.read_member(file, "tiny/photo.jpg", sha256(PHOTO)) == PHOTO


@pytest.mark.parametrize("wheel", [LINUX, MAC], ids=["linux", "mac"])
def test_the_wheel_that_is_named_comes_whatever_machine_asks(publish: Publish, work: Path, wheel: WheelTags) -> None:
    published = {tags.platform: publish({"tiny.so": tags.platform.encode()}, wheel=tags) for tags in (LINUX, MAC)}

    file = fetch.download(published[wheel.platform], work, tools=work)

    content = wheel.platform.encode()
    assert fetch.read_member(file, "tiny.so", sha256(content)) == content


def test_another_archive_than_the_known_one_is_refused(publish: Publish, work: Path) -> None:
    known = publish({"tiny/photo.jpg": PHOTO})
    changed = publish({"tiny/photo.jpg": b"another photo"})

    with pytest.raises(AssetError) as caught:
        fetch.download(known, work, tools=work)

    message = str(caught.value)
    assert message.startswith(f"tiny 1.0 as downloaded has SHA-256 {changed.sha256}, not {known.sha256}")
    assert "which index or mirror" in message


def test_what_no_index_has_is_reported_with_the_clients_words(publish: Publish, work: Path) -> None:
    archive = Archive(registry="pypi", package="nowhere", version="1.0", sha256="0" * 64)

    with pytest.raises(AssetError) as caught:
        fetch.download(archive, work, tools=work)

    message = str(caught.value)
    assert message.startswith("nowhere 1.0 cannot be downloaded. Does this machine reach its package index?")
    assert "No matching distribution found for nowhere==1.0" in message.splitlines()[-1]


def test_a_python_without_pip_is_told_how_to_get_it(
    publish: Publish, work: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    venv.create(work / "bare", with_pip=False)
    python = work / "bare" / "bin" / "python"
    monkeypatch.setattr(sys, "executable", str(python))

    with pytest.raises(AssetError, match=f"This Python has no pip: run `{python} -m ensurepip`"):
        fetch.download(publish({}), work, tools=work)


def test_an_npm_package_is_packed_without_running_its_scripts(npm: Path, work: Path) -> None:
    content = tarball({"package/model.bin": PHOTO})
    (npm.parent / "tiny.tgz").write_bytes(content)
    npm.write_text(
        '#!/bin/sh\necho "$@" > "$0.called"\n'
        'while [ "$1" != --pack-destination ]; do shift; done\ncp "${0%/npm}/tiny.tgz" "$2"\n'
    )

    file = fetch.download(npm_archive(content), work, tools=work)

    called = Path(f"{npm}.called").read_text().split()
    assert called[0] == "pack"
    assert called[-1] == "tiny@1.0.0"
    assert "--ignore-scripts" in called
    assert fetch.read_member(file, "package/model.bin", sha256(PHOTO)) == PHOTO


@pytest.mark.parametrize(
    ("script", "message"),
    [
        ("echo early; echo E404 >&2; exit 1", r"tiny 1\.0\.0 cannot be downloaded\.(.|\n)*early\n  E404$"),
        ("exit 0", "the client brought 0 files, not 1"),
    ],
)
def test_a_failing_npm_is_reported(npm: Path, work: Path, script: str, message: str) -> None:
    npm.write_text(f"#!/bin/sh\n{script}\n")

    with pytest.raises(AssetError, match=message):
        fetch.download(npm_archive(b""), work, tools=work)


def test_an_npm_that_cannot_start_is_reported(npm: Path, work: Path) -> None:
    npm.write_text("#!/no/such/interpreter\n")

    with pytest.raises(AssetError, match="npm cannot be started"):
        fetch.download(npm_archive(b""), work, tools=work)


def test_a_client_that_hangs_is_ended_with_all_it_started(
    npm: Path, work: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fetch, "CLIENT_TIMEOUT_S", 0.5)
    npm.write_text('#!/bin/sh\nsleep 60 &\necho $! > "$0.pid"\nwait\n')

    started = time.monotonic()
    with pytest.raises(AssetError, match="no end after"):
        fetch.download(npm_archive(b""), work, tools=work)

    assert time.monotonic() - started < 10
    grandchild = int(Path(f"{npm}.pid").read_text())
    deadline = time.monotonic() + 5
    while is_running(grandchild) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not is_running(grandchild)


def is_running(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2][0]
    except FileNotFoundError:
        return False
    return state != "Z"  # killed, but nobody has collected it yet


def test_npm_comes_from_pypi_where_there_is_none(work: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(work))

    command = fetch._npm(work, Settings().cache.absolute() / "tools")

    done = subprocess.run([*command, "--version"], capture_output=True, text=True, check=True, timeout=60)
    assert int(done.stdout.partition(".")[0]) >= 10


@pytest.mark.parametrize("kind", ["zip", "tar"])
@pytest.mark.parametrize(
    ("member", "expected_sha256", "message"),
    [
        ("package/other.jpg", sha256(PHOTO), "has no file package/other.jpg"),
        ("package/photo.jpg", sha256(b"other"), f"package/photo.jpg in .* has SHA-256 {sha256(PHOTO)}, not"),
    ],
)
def test_a_wrong_member_is_refused(work: Path, kind: str, member: str, expected_sha256: str, message: str) -> None:
    file = work / f"tiny.{kind}"
    if kind == "zip":
        with zipfile.ZipFile(file, "w") as archive:
            archive.writestr("package/photo.jpg", PHOTO)
    else:
        file.write_bytes(tarball({"package/photo.jpg": PHOTO}))

    with pytest.raises(AssetError, match=message):
        fetch.read_member(file, member, expected_sha256)


@pytest.mark.parametrize(
    ("content", "member", "message"),
    [
        (b"", "photo.jpg", "cannot be read"),
        (b"neither zip nor tar", "photo.jpg", "cannot be read"),
        (tarball({"package/photo.jpg": PHOTO})[:60], "package/photo.jpg", "cannot be read"),
        (scrambled(tarball({"package/photo.jpg": PHOTO})), "package/photo.jpg", "cannot be read"),
        (tarball({}), "package", "has no file package"),
    ],
    ids=["empty", "text", "cut off", "scrambled", "folder"],
)
def test_a_broken_archive_is_refused(work: Path, content: bytes, member: str, message: str) -> None:
    file = work / "broken"
    file.write_bytes(content)

    with pytest.raises(AssetError, match=message):
        fetch.read_member(file, member, sha256(PHOTO))
