"""How long enrolling one photo takes over the API, and how many photos a second a bulk import takes."""

from __future__ import annotations

import shutil
import statistics
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from fastapi.testclient import TestClient
from pydantic import SecretStr

from lookout.audit import Actor
from lookout.clock import now_us
from lookout.faces.models import asset_cache
from lookout.settings import Settings
from lookout.stores.index import prepare_index
from lookout.stores.registry.tables import Watchlist
from lookout.targets.enrolment import Enroller
from lookout.targets.imports import Models, begin_import, run_import
from lookout.targets.sources import FolderSource
from search.app import create_app
from search.indexing import index_now
from search.parts import Parts
from tests import servers
from tests.wall import token_of

IMPORTED = 400


def measure(photos: Path | None = None) -> dict[str, float]:
    """Milliseconds to enrol one photo of up to 667 × 1000 (median and worst), and imported photos a second.

    Args:
        photos: a folder with a sub-folder a person, such as LFW; without it one photo is imported many times.
    """
    with (
        tempfile.TemporaryDirectory() as name,
        servers.milvus(Path(name)) as milvus,
        servers.valkey(Path(name)) as valkey,
    ):
        home = Path(name) / "home"
        settings = Settings(home=home, milvus_uri=milvus.url, redis_url=SecretStr(valkey.url))
        parts = Parts(settings)
        parts.registry.migrate()
        with parts.registry.transaction() as session:
            token = token_of(session, "bench", "admin")
            for watchlist in ("one", "many"):
                session.add(
                    Watchlist(id=watchlist, name=watchlist, purpose="p", legal_basis="l", created_at_us=now_us())
                )
        prepare_index(parts.registry, parts.vectors, parts.model.name, parts.model.dimension)
        assets = asset_cache(settings)
        man, group = (assets.media(file).read_bytes() for file in ("single_face.jpg", "multi_face.jpg"))
        # Five different people, so that each is checked against those before.
        taken = _enrol(TestClient(create_app(parts)), token, [(man, ""), *((group, f"{face}") for face in range(1, 5))])
        folder = photos or _copies(Path(name) / "copies", man)
        return {
            "enrol one photo, median ms": statistics.median(taken),
            "enrol one photo, worst ms": max(taken),
            "bulk import, photos/s": _import(parts, folder),
        }


def _enrol(client: TestClient, token: dict[str, str], people: Sequence[tuple[bytes, str]]) -> list[float]:
    # Models are loaded at the start of the service.
    client.post("/api/v1/photos/examination", headers=token, files=[("photos", ("a.jpg", people[0][0], "image/jpeg"))])
    taken = []
    for photo, face in people:
        began = time.perf_counter()
        answer = client.post(
            "/api/v1/watchlists/one/targets",
            headers=token,
            data={"name": f"person {face}", "face": face},
            files=[("photos", ("a.jpg", photo, "image/jpeg"))],
        )
        taken.append((time.perf_counter() - began) * 1000)
        assert answer.status_code == 201, answer.text
    return taken


def _import(parts: Parts, folder: Path) -> float:
    by = Enroller(Actor("bench", "cli"), parts.blobs, parts.keyring, parts.model)
    models = Models(*parts.models().load(parts.settings))
    with parts.registry.transaction() as session:
        import_id = begin_import(session, by.actor, session.get_one(Watchlist, "many"), "bench").id
    began, count = time.perf_counter(), 0
    for lines in run_import(parts.registry, by, import_id, FolderSource(folder), models):
        index_now(parts)
        count += len(lines)
    return count / (time.perf_counter() - began)


def _copies(folder: Path, photo: bytes) -> Path:
    shutil.rmtree(folder, ignore_errors=True)
    for number in range(IMPORTED):
        path = folder / f"person {number // 2}" / f"{number}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(photo + number.to_bytes(4))
    return folder


if __name__ == "__main__":
    for label, figure in measure().items():
        print(f"{label:<58} {figure:.1f}")  # noqa: T201
