"""`lookout up` on a user's own camera, and the commands beside it."""

from __future__ import annotations

import json
import os
import re
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
    cameras = lookout.folder / "cameras.toml"
    cameras.write_text(f'[[camera]]\nid = "door"\nurl = "{clip.as_uri()}"\n')

    up = lookout("up", "--cameras", str(cameras), "--detach")
    assert up.returncode == 0, up.stderr
    assert re.search(r"first start: open http://127.0.0.1:\d+/welcome/\S+", up.stdout)
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
    token = lookout("tokens", "create", "tests", "--user", "admin", "--scope", "alerts:read", "--json").stdout
    secret = json.loads(token)["secret"]

    def alerts() -> list[dict[str, object]]:
        answer = httpx2.get(f"{url}/api/v1/alerts", headers={"Authorization": f"Bearer {secret}"}, timeout=5)
        found: list[dict[str, object]] = answer.raise_for_status().json()["items"]
        return found

    # Also where the person stands before the camera already: the next pictures of the track meet the new reference.
    wait_until(alerts, 60, "an alert on the person just enrolled")
    assert [(alert["camera"], alert["verdict"]) for alert in alerts()] == [("door", "unverified")]

    erased = lookout("erase", "--target", "Anna", "--json")
    assert erased.returncode == 0, erased.stderr
    assert (json.loads(erased.stdout)["photos"], json.loads(erased.stdout)["alerts"]) == (1, 1)
    assert [alert["crop"] for alert in alerts()] == [None]
    assert [path for path in (lookout.folder / "blobs" / "photos").rglob("*") if path.is_file()] == []
    assert lookout("audit", "verify").returncode == 0

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
    file = lookout.folder / "cameras.toml"
    if cameras is not None:
        file.write_text(cameras)

    up = lookout("up", "--cameras", str(file))

    assert up.returncode == 2
    assert says in up.stderr
    assert "Traceback" not in up.stderr
    assert not (lookout.folder / "run" / "endpoints.json").exists()
