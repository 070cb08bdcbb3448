"""Alerts put straight into the registry, users who look at them, and the service that shows them."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import uvicorn
from sqlalchemy.orm import Session
from sse_starlette.sse import AppStatus

from deploy.local.parts import free_ports
from lookout.accounts.rights import ROLE_SCOPES
from lookout.accounts.sessions import create_token
from lookout.accounts.users import create_user
from lookout.alerts.records import event
from lookout.audit import SYSTEM
from lookout.clock import now_us
from lookout.sealing import Keyring
from lookout.secret_files import read_or_make, secret_path
from lookout.settings import Settings
from lookout.stores.blobs import Blobs
from lookout.stores.registry import Registry
from lookout.stores.registry.tables import (
    Alert,
    AlertSighting,
    Reference,
    Sighting,
    StoredCrop,
    Target,
    Watchlist,
    new_id,
)
from search.app import create_app
from search.parts import Parts
from tests.servers import wait_until


def parts_on(registry: Registry, home: Path, **settings: Any) -> Parts:
    """What the service works with, on a registry; the other parts are away unless settings name them."""
    # Put there, as where a database is named no keys are made.
    read_or_make(secret_path(home, "data_keys"), Keyring.new_key)
    away = {"redis_url": "redis://127.0.0.1:1", "milvus_uri": "http://127.0.0.1:1"}
    url = registry.url.render_as_string(hide_password=False)
    return Parts(Settings(home=home, database_url=url, **{**away, **settings}))


@contextlib.contextmanager
def serve(parts: Parts, port: int | None = None) -> Iterator[str]:
    """The service on Uvicorn in a thread; yields its URL."""
    port = port or free_ports(1)[0]
    # So long that nothing is cut off: streams end by themselves, and what they read from SQL ends with them.
    config = uvicorn.Config(
        create_app(parts), port=port, log_config=None, access_log=False, timeout_graceful_shutdown=10
    )
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    try:
        wait_until(lambda: server.started, what="service ready")
        yield f"http://127.0.0.1:{port}"
    finally:
        # As a signal does, of which a server in a thread hears nothing.
        AppStatus.should_exit = server.should_exit = True
        thread.join(15)
        AppStatus.should_exit = False
        assert not thread.is_alive(), "the service did not end"


def token_of(
    session: Session,
    name: str,
    role: str = "operator",
    *,
    watchlists: Sequence[str] | None = None,
    groups: Sequence[str] | None = None,
) -> dict[str, str]:
    """Make a user; the header with which a program of theirs asks."""
    user = create_user(session, SYSTEM, name=name, role=role, watchlist_ids=watchlists, camera_groups=groups)
    _, secret = create_token(session, SYSTEM, user, name="test", scopes=sorted(ROLE_SCOPES[role]), days=None)
    return {"Authorization": f"Bearer {secret}"}


def put_target(session: Session, watchlist: str, name: str, **fields: Any) -> Target:
    """A target on a watchlist, which is made if it is not there; its id is its name."""
    found = session.get(Watchlist, watchlist)
    if found is None:
        found = Watchlist(
            id=watchlist, name=f"list {watchlist}", purpose="p", legal_basis="l", created_at_us=0, **fields
        )
        session.add(found)
        session.flush()
    target = Target(id=name, watchlist_id=watchlist, name=f"person {name}", created_at_us=0)
    session.add(target)
    session.flush()
    return target


def put_alert(
    session: Session,
    target: str,
    alert_id: str,
    *,
    group: str = "doors",
    camera: str = "entrance",
    at_us: int | None = None,
    open_: bool = False,
    sightings: int = 1,
    tell: bool = True,
    **fields: Any,
) -> Alert:
    """An alert with sightings of one crop each, as a worker stores it."""
    at_us = now_us() if at_us is None else at_us
    crops = []
    for number in range(sightings):
        sighting_id, crop_id = f"s{alert_id}{number}"[-32:], f"c{alert_id}{number}"[-32:]
        session.add(
            Sighting(
                id=sighting_id, camera_id=camera, camera_group=group, started_at_us=at_us, ended_at_us=at_us, model="m",
                template_sum=b"", best_quality=1, created_at_us=at_us,
            )
        )  # fmt: skip
        session.flush()
        session.add(
            StoredCrop(
                id=crop_id, sighting_id=sighting_id, captured_at_us=at_us + number, quality=0.9, box_xyxy=[],
                landmarks=[], blob=f"crops/{crop_id}.jpg",
            )
        )  # fmt: skip
        crops.append((sighting_id, crop_id))
    session.flush()
    values: dict[str, Any] = {
        "target_id": target, "camera_group": group, "camera_id": camera, "tier": "likely", "score": 0.64,
        "threshold": 0.6, "crop_id": crops[0][1] if crops else None, "first_captured_at_us": at_us,
        "last_seen_at_us": at_us, "latency_us": 200_000, "stored_at_us": at_us,
        "closed_at_us": None if open_ else at_us + 1, "candidates": [],
    }  # fmt: skip
    alert = Alert(id=alert_id, **(values | fields))
    session.add(alert)
    session.flush()
    session.add_all(AlertSighting(alert_id=alert_id, sighting_id=sighting, score=0.6) for sighting, _ in crops)
    session.flush()
    if tell:
        event(session, alert_id, "opened")
    return alert


def put_reference(session: Session, target: str, blob: str) -> Reference:
    """An enrolment photo, of which only the name of the face's picture matters."""
    reference = Reference(
        id=new_id(), target_id=target, photo_blob=f"photos/{blob}", photo_sha256=new_id(), face_blob=blob, box_xyxy=[],
        landmarks=[], quality=1, model="m", template=b"", created_at_us=now_us(),
    )  # fmt: skip
    session.add(reference)
    session.flush()
    return reference


def put_picture(blobs: Blobs, name: str, colour: tuple[int, int, int] = (90, 120, 150), size: int = 64) -> bytes:
    """A small JPEG in the blob store."""
    encoded, jpeg = cv2.imencode(".jpg", np.full((size, size, 3), colour, np.uint8))
    assert encoded
    blobs.write(name, jpeg.tobytes())
    return jpeg.tobytes()
