"""`lookout up` on a user's own camera, and the commands beside it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx2
import psutil
import pytest

from deploy.local.clips import prepare_clips
from lookout.faces.assets import AssetCache
from tests.servers import wait_until


class Home:
    """Commands on one home."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir()

    def __call__(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "lookout", *arguments],
            env={**os.environ, "LOOKOUT_HOME": str(self.folder), "COLUMNS": "200"},
            capture_output=True, text=True, timeout=150, check=False,
        )  # fmt: skip

    def supervisor(self) -> psutil.Process:
        return psutil.Process(int((self.folder / "run" / "supervisor.pid").read_text()))


@pytest.fixture
def lookout(tmp_path: Path) -> Iterator[Home]:
    home = Home(tmp_path / "home")
    yield home
    if home("down").returncode == 0:
        return
    pid = home.folder / "run" / "supervisor.pid"
    if pid.exists() and pid.read_text():
        psutil.Process(int(pid.read_text())).kill()


@pytest.mark.timeout(300)
def test_a_users_day(lookout: Home, assets: AssetCache) -> None:
    clip = prepare_clips(assets) / "entrance.mp4"
    (lookout.folder / "cameras.toml").write_text(f'[[camera]]\nid = "door"\nurl = "{clip.as_uri()}"\n')

    up = lookout("up", "--detach")
    assert up.returncode == 0, up.stderr
    supervisor = lookout.supervisor()
    processes = [supervisor, *supervisor.children(recursive=True)]
    doctor = lookout("doctor", "--json")
    assert doctor.returncode == 0, doctor.stdout
    assert json.loads(doctor.stdout)["healthy"] is True
    again = lookout("up")
    assert again.returncode == 2
    assert "runs already" in again.stderr

    made = lookout("watchlist", "create", "guests", "--purpose", "welcome", "--legal-basis", "consent")
    assert made.returncode == 0, made.stderr
    added = lookout("targets", "add", "Anna", str(assets.media("single_face.jpg")), "--watchlist", "guests")
    assert added.returncode == 0, added.stderr
    assert "accepted, quality" in added.stdout
    (target,) = json.loads(lookout("targets", "list", "--json").stdout)
    assert (target["name"], target["photos"], target["matchable"]) == ("Anna", 1, True)

    url = json.loads((lookout.folder / "run" / "endpoints.json").read_text())["search_url"]
    token = (lookout.folder / "secrets" / "api_token").read_text()

    def alerts() -> list[dict[str, object]]:
        answer = httpx2.get(f"{url}/api/v1/alerts", headers={"Authorization": f"Bearer {token}"}, timeout=5)
        found: list[dict[str, object]] = answer.raise_for_status().json()["alerts"]
        return found

    # Also where the person stands before the camera already: the next pictures of the track meet the new reference.
    wait_until(alerts, 60, "an alert on the person just enrolled")
    assert [(alert["camera"], alert["verdict"]) for alert in alerts()] == [("door", "unverified")]

    removed = lookout("targets", "remove", "Anna", "--watchlist", "guests")
    assert removed.returncode == 0, removed.stderr
    assert "1 photos and 1 alerts removed" in removed.stdout
    assert alerts() == []
    assert list((lookout.folder / "blobs" / "photos").rglob("*.*")) == []

    assert lookout("down").returncode == 0
    _, alive = psutil.wait_procs(processes, timeout=10)
    assert alive == []
    assert lookout("down").returncode == 2


@pytest.mark.timeout(120)
@pytest.mark.parametrize(
    ("cameras", "says"),
    [
        (None, "does not exist"),
        ('[[camera]]\nid = "door"\nurl = 5\n', "line 3: field `url`"),
        ("[[camera\n", "no valid TOML"),
    ],
)
def test_a_wrong_camera_file_is_told_at_once(lookout: Home, cameras: str | None, says: str) -> None:
    if cameras is not None:
        (lookout.folder / "cameras.toml").write_text(cameras)

    up = lookout("up")

    assert up.returncode == 2
    assert says in up.stderr
    assert "Traceback" not in up.stderr
    assert not (lookout.folder / "run" / "endpoints.json").exists()
