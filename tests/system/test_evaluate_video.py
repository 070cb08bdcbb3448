"""`lookout evaluate video`: a system of its own that watches recordings, and nothing of it afterwards."""

from __future__ import annotations

import shutil
import signal
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from lookout.faces.assets import AssetCache
from tests.servers import wait_until
from tests.system.conftest import START_S, Lookout

RunLookout = Callable[..., Lookout]

#: Who is on the watchlist is nobody in the lobby and in the yard.
CLIPS = {
    "booth": "single_face.mp4",
    "entrance": "face_noface.mov",
    "lobby": "WolfgangLanger_Pexels.mp4",
    "yard": "no_face.mp4",
}
#: As watched: man A is there for the whole of the first clip, and until the cut of the second.
TRUTH = """\
identity,camera,start_s,end_s
Man A,booth,0,2.4
Man A,entrance,0,2.4
Woman B,lobby,0,19.6
"""


@pytest.fixture
def arguments(tmp_path: Path, assets: AssetCache) -> list[str]:
    """The command on the published clips, with man A enrolled by one photo of another day."""
    cameras, truth = tmp_path / "cameras.toml", tmp_path / "truth.csv"
    blocks = [f'[[camera]]\nid = "{one}"\nurl = "{assets.media(clip).as_uri()}"\n' for one, clip in CLIPS.items()]
    cameras.write_text("\n".join(blocks))
    truth.write_text(TRUTH)
    (tmp_path / "people" / "Man A").mkdir(parents=True)
    shutil.copy(assets.media("single_face.jpg"), tmp_path / "people" / "Man A")
    lists = ["--cameras", str(cameras), "--truth", str(truth)]
    return ["evaluate", "video", *lists, "--people", str(tmp_path / "people"), "--json"]


def processes_of(home: Path, mark: str = "") -> list[psutil.Process]:
    """All processes that work in a home, whoever started them; with a mark those that have it in their command line."""
    found = []
    for process in psutil.process_iter():
        try:
            line = " ".join(process.cmdline())
            works_there = str(home) in line or str(home) in process.environ().get("LOOKOUT_HOME", "")
        except psutil.Error:
            continue
        if works_there and mark in line:
            found.append(process)
    return found


@pytest.mark.timeout(300)
def test_man_a_is_found_at_once_and_nobody_else_is_taken_for_him(run_lookout: RunLookout, arguments: list[str]) -> None:
    lookout = run_lookout(*arguments)
    code, answer = lookout.finish(280)

    assert code == 0
    assert (answer["kind"], answer["people"], answer["not_listed"], answer["remarks"]) == ("video", 1, ["Woman B"], [])
    assert (answer["episodes"], answer["missed"], answer["false"]) == (2, 0, 0), answer
    assert answer["false_list"] == []
    assert [(one["identity"], one["camera"], one["found"]) for one in answer["episode_list"]] == [
        ("Man A", "booth", True),
        ("Man A", "entrance", True),
    ]
    assert 0 <= answer["time_to_alert_s"]["median"] <= answer["time_to_alert_s"]["longest"] < 1.5
    assert sum(one["found"] for one in answer["tiers"].values()) == 2
    assert [(one["id"], one["file"], one["episodes"]) for one in answer["cameras"]] == [
        ("booth", "single_face.mp4", 1),
        ("entrance", "face_noface.mov", 1),
        ("lobby", "WolfgangLanger_Pexels.mp4", 0),
        ("yard", "no_face.mp4", 0),
    ]
    assert answer["hours"] == pytest.approx(sum(one["seconds"] for one in answer["cameras"]) / 3600)
    assert set(answer["lists"]) == {"cameras.toml", "truth.csv"}
    assert not (lookout.home / "evaluation").exists()
    assert processes_of(lookout.home) == []


@pytest.mark.timeout(300)
def test_ctrl_c_ends_it_and_leaves_nothing(run_lookout: RunLookout, arguments: list[str]) -> None:
    lookout = run_lookout(*arguments)

    wait_until(lambda: processes_of(lookout.home, "ingest.indexing.child"), START_S, "a recording is searched")
    assert len(processes_of(lookout.home)) > 5

    lookout.process.send_signal(signal.SIGINT)

    assert lookout.process.wait(20) == 130
    assert processes_of(lookout.home) == []
    assert not (lookout.home / "evaluation").exists()


@pytest.mark.timeout(300)
def test_what_cannot_be_evaluated_is_told(run_lookout: RunLookout, arguments: list[str], tmp_path: Path) -> None:
    """Nobody of the truth is listed; and without a folder nobody at all is."""
    (tmp_path / "people" / "Man A").rename(tmp_path / "people" / "Man C")
    strangers = run_lookout(*arguments)
    nobody = run_lookout(*arguments[:-3], home="other")
    for lookout, says in (
        (strangers, "names of targets; these are Man C"),
        (nobody, "name a folder of photos by --people"),
    ):
        out, err = lookout.process.communicate(timeout=120)
        assert (lookout.process.returncode, out) == (2, "")
        assert says in err
        assert "Traceback" not in err
        assert not (lookout.home / "evaluation").exists()
