"""How long a search takes, from the photo to the first results. The floor: p95 300 ms at 10,000 sightings on Lite."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path

import numpy as np
from fastapi.testclient import TestClient
from pydantic import SecretStr
from sqlalchemy import insert

from lookout.clock import now_us
from lookout.faces.models import asset_cache
from lookout.settings import Settings
from lookout.sightings.benchmark import CAMERAS, Collection, synthetic
from lookout.stores.index import prepare_index
from lookout.stores.registry.tables import CameraRow, Sighting, StoredCrop
from lookout.stores.templates import pack, sighting_place
from search.app import create_app
from search.parts import Parts
from tests import servers
from tests.people import MODEL
from tests.wall import token_of

SIGHTINGS, SEARCHES = 10_000, 60


def measure() -> dict[str, float]:
    """Milliseconds from sending a photo to the whole answer, by the API, on SQLite and Milvus Lite."""
    with (
        tempfile.TemporaryDirectory() as name,
        servers.milvus(Path(name)) as milvus,
        servers.valkey(Path(name)) as valkey,
    ):
        home = Path(name) / "home"
        settings = Settings(home=home, milvus_uri=milvus.url, redis_url=SecretStr(valkey.url))
        parts = Parts(settings)
        parts.registry.migrate()
        prepare_index(parts.registry, parts.vectors, MODEL, parts.model.dimension)
        with parts.registry.transaction() as session:
            token = token_of(session, "bench", "admin")
        seen = synthetic(MODEL, parts.model.dimension, SIGHTINGS)
        seed(parts, seen)
        parts.vectors.upsert_sightings(seen.model, seen.rows, seen.templates)
        photo = asset_cache(settings).media("single_face.jpg").read_bytes()
        with TestClient(create_app(parts)) as client:
            taken = _search(client, token, photo, seen)
        parts.vectors.close()
        parts.registry.close()
    figures = {}
    for label, times in taken.items():
        figures[f"search {SIGHTINGS} sightings, {label}, median ms"] = float(np.median(times))
        figures[f"search {SIGHTINGS} sightings, {label}, p95 ms"] = float(np.percentile(times, 95))
    return figures


def seed(parts: Parts, seen: Collection) -> None:
    """Put sightings into the registry, with a crop each."""
    camera = {"url": b"", "analysed_fps": 5, "transport": "tcp", "created_at_us": 0}
    sightings = [
        {
            "id": row.id, "camera_id": row.camera_id, "camera_group": row.camera_group,
            "started_at_us": row.started_at_us, "ended_at_us": row.ended_at_us, "model": seen.model,
            "template_sum": pack(template, parts.keyring, sighting_place(row.id)), "best_quality": 1.0,
            "indexed": True, "created_at_us": now_us(),
        }
        for row, template in zip(seen.rows, seen.templates, strict=True)
    ]  # fmt: skip
    crops = [
        {
            "id": f"c{row.id[1:]}", "sighting_id": row.id, "captured_at_us": row.started_at_us, "quality": 1.0,
            "box_xyxy": [0.0, 0.0, 9.0, 9.0], "landmarks": [], "blob": "crops/none.jpg",
        }
        for row in seen.rows
    ]  # fmt: skip
    with parts.registry.transaction() as session:
        cameras = [
            {"id": f"camera-{n}", "name": f"Camera {n}", "camera_group": f"group-{n % 4}", **camera}
            for n in range(CAMERAS)
        ]
        session.execute(insert(CameraRow), cameras)
        session.execute(insert(Sighting), sightings)
        session.execute(insert(StoredCrop), crops)


def _search(client: TestClient, token: dict[str, str], photo: bytes, seen: Collection) -> dict[str, list[float]]:
    half = {
        "cameras": [f"camera-{number}" for number in range(CAMERAS // 2)],
        "since": "2024-10-04T12:00:00Z",
        "until": "2024-10-06T00:00:00Z",
    }
    taken: dict[str, list[float]] = {"all": [], "half of the cameras and of the time": []}
    for label, fields in zip(taken, ({}, half), strict=True):
        for number in range(-3, SEARCHES):  # the first ones load the models
            began = time.perf_counter()
            # Strangers' scores, too: all results are looked up and shown.
            answer = client.post(
                "/api/v1/search",
                headers=token,
                data={"reason": "a measurement", "min_score": "-1", **fields},
                files=[("photos", ("a.jpg", photo, "image/jpeg"))],
            )
            assert answer.status_code == 200, answer.text
            body = answer.json()
            assert len(body["results"]) == 50
            assert label != "all" or body["searched"] == len(seen.rows)
            if number >= 0:
                taken[label].append(1000 * (time.perf_counter() - began))
    return taken


if __name__ == "__main__":
    for label, figure in measure().items():
        print(f"{label:<75} {figure:.1f}")  # noqa: T201
