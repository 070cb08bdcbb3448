"""`lookout demo`: the main job on real streams and real faces, and what it survives."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import psutil
import pytest
from numpy.typing import NDArray
from sqlalchemy import select

from lookout.faces.photos import decode_jpeg
from lookout.sealing import keyring
from lookout.settings import Settings
from lookout.stores.blobs import Blobs
from lookout.stores.registry import Registry
from lookout.stores.registry.tables import StoredCrop
from tests.servers import wait_until
from tests.system.conftest import MARKS, Lookout

RunLookout = Callable[..., Lookout]


@pytest.mark.timeout(300)
def test_man_a_is_alerted_on_entrance_and_nobody_else(run_lookout: RunLookout) -> None:
    demo = run_lookout("demo", "--seconds", "30", "--json")
    code, report = demo.finish(280)

    assert [(alert["target"], alert["watchlist"], alert["camera"]) for alert in report["alerts"]] == [
        ("Man A", "demo", "entrance")
    ]
    assert code == 0
    (alert,) = report["alerts"]
    assert alert["tier"] in ("possible", "likely")
    assert 0.5 < alert["score"] < 1
    assert alert["latency_ms"] > 0
    assert min(picture(demo.home / "demo", alert["crop"]).shape[:2]) > 50
    cameras = {camera["name"]: camera for camera in report["cameras"]}
    assert {name: camera["state"] for name, camera in cameras.items()} == dict.fromkeys(cameras, "live")
    assert set(cameras) == {"entrance", "lobby", "yard"}
    assert all(camera["frames_decoded"] > 25 * 20 for camera in cameras.values())
    assert all(camera["frames_analysed"] < camera["frames_decoded"] / 4 for camera in cameras.values())
    assert cameras["entrance"]["faces"] > 0
    assert cameras["lobby"]["faces"] > 0
    assert cameras["yard"]["faces"] == 0
    crops = report["crops"]
    assert crops["published"] >= crops["embedded"] > 0
    assert (crops["shed"], crops["expired"], crops["failed"]) == (0, 0, 0)
    assert report["sightings"] >= 2
    assert {process["name"] for process in report["processes"]} == set(MARKS)


def picture(home: Path, crop: str) -> NDArray[np.uint8]:
    """A crop's picture, opened with the demo's own keys, `(H, W, 3)`."""
    settings = Settings(home=home, database_url="", blobs_url="")
    registry = Registry(settings.database)
    with registry.reading() as session:
        blob = session.scalar(select(StoredCrop.blob).where(StoredCrop.id == crop))
    registry.close()
    assert blob is not None
    return decode_jpeg(Blobs(settings.blobs, keyring(settings)).read(blob), crop)


@pytest.mark.timeout(400)
def test_every_child_may_be_killed(run_lookout: RunLookout) -> None:
    """Each in turn, with -9; the system goes on, and the one alert stays one."""
    demo = run_lookout("demo", "--json")
    home = demo.home = demo.home / "demo"
    demo.wait_ready()
    for name in MARKS:
        victim = demo.children()[name]
        victim.send_signal(signal.SIGKILL)
        wait_until(lambda: not victim.is_running(), what=f"{name} gone")  # noqa: B023
        wait_until(lambda: name in demo.children(), 30, f"{name} started again")  # noqa: B023
        demo.wait_ready()
    # Ingest was the last one: its leases run out before its successor may take the cameras.
    wait_until(lambda: demo.live_cameras() == {"entrance", "lobby", "yard"}, 60, "all cameras live again")
    wait_until(demo.alerts, 60, "an alert")
    demo.process.send_signal(signal.SIGINT)
    code, report = demo.finish(60)

    assert [(alert["target"], alert["camera"]) for alert in report["alerts"]] == [("Man A", "entrance")], report
    assert code == 0
    assert {process["name"]: process["restarts"] for process in report["processes"]} == dict.fromkeys(MARKS, 1)
    assert {camera["state"] for camera in report["cameras"]} == {"live"}
    assert not (home / "run" / "endpoints.json").exists()


@pytest.mark.timeout(300)
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_nothing_is_left_behind(run_lookout: RunLookout, number: signal.Signals) -> None:
    demo = run_lookout("demo", "--json")
    demo.home = demo.home / "demo"
    demo.wait_ready()
    processes = demo.tree()
    assert len(processes) > len(MARKS)

    sent = time.monotonic()
    demo.process.send_signal(number)
    _, alive = psutil.wait_procs(processes, timeout=15)

    assert alive == []
    assert time.monotonic() - sent < 5
