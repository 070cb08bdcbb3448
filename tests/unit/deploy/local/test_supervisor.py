"""Processes that die, hang, refuse and multiply."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from deploy.local.supervisor import Child, Supervisor
from lookout.errors import BadInputError, LookoutError
from tests.servers import wait_until

#: Says that it is ready by making a file, then waits.
WAITS = "import pathlib, sys, time; pathlib.Path(sys.argv[1]).touch(); time.sleep(60)"
IGNORES_SIGTERM = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); " + WAITS
#: Has a child of its own, whose id it writes down.
FORKS = (
    "import pathlib, subprocess, sys, time; child = subprocess.Popen(['sleep', '60']); "
    "pathlib.Path(sys.argv[1]).write_text(str(child.pid)); time.sleep(60)"
)


def child(name: str, folder: Path, program: str = WAITS, *, stop_s: float = 2.0) -> Child:
    mark = folder / f"{name}.ready"
    return Child(name, [sys.executable, "-c", program, str(mark)], mark.exists, stop_s=stop_s)


@pytest.fixture
def supervise(tmp_path: Path) -> Iterator[list[Supervisor]]:
    """Supervisors put in here are stopped at the end."""
    made: list[Supervisor] = []
    yield made
    for one in made:
        one.stop()


def process(of: Child) -> psutil.Process:
    assert of.pid is not None
    return psutil.Process(of.pid)


def test_a_stage_starts_when_the_one_before_is_ready(tmp_path: Path, supervise: list[Supervisor]) -> None:
    slow = "import time; time.sleep(0.5); " + WAITS
    looks = (
        "import pathlib, sys, time; mine = pathlib.Path(sys.argv[1]); "
        "mine.write_text(str(mine.with_name('first.ready').exists())); time.sleep(60)"
    )
    first, second = child("first", tmp_path, slow), child("second", tmp_path, looks)
    supervise.append(Supervisor([[first], [second]], tmp_path / "logs"))

    supervise[0].start(20)

    assert (first.was_ready, second.was_ready) == (True, True)
    assert (tmp_path / "second.ready").read_text() == "True"


def test_what_dies_is_started_again(tmp_path: Path, supervise: list[Supervisor]) -> None:
    one = child("one", tmp_path)
    supervise.append(Supervisor([[one]], tmp_path / "logs"))
    supervise[0].start(20)
    before = process(one)

    before.send_signal(signal.SIGKILL)

    def restarted() -> bool:
        supervise[0].tick()
        return one.pid not in (None, before.pid)

    wait_until(restarted, 10, "a restart")
    assert one.restarts == 1


def test_what_dies_again_and_again_is_started_less_and_less_often(tmp_path: Path, supervise: list[Supervisor]) -> None:
    one = Child("one", [sys.executable, "-c", "raise SystemExit(1)"], lambda: False)
    supervise.append(Supervisor([[one]], tmp_path / "logs"))

    with pytest.raises(LookoutError, match="one did not become ready in time"):
        supervise[0].start(2.5)

    # At once it could have been started some fifty times.
    assert 1 <= one.restarts <= 5


def test_the_error_shows_the_end_of_the_log(tmp_path: Path, supervise: list[Supervisor]) -> None:
    one = Child("one", [sys.executable, "-c", "raise SystemExit('the port is taken')"], lambda: False)
    supervise.append(Supervisor([[one]], tmp_path / "logs"))

    with pytest.raises(LookoutError, match="the port is taken"):
        supervise[0].start(1)


def test_bad_input_ends_the_start_at_once(tmp_path: Path, supervise: list[Supervisor]) -> None:
    other = child("other", tmp_path)
    one = Child("one", [sys.executable, "-c", "print('line 3 is wrong'); raise SystemExit(2)"], lambda: False)
    supervise.append(Supervisor([[other, one]], tmp_path / "logs"))
    started = time.monotonic()

    with pytest.raises(BadInputError, match="one cannot start:\nline 3 is wrong"):
        supervise[0].start(60)

    assert time.monotonic() - started < 20
    assert other.pid is None  # nothing is left running


def test_stop_kills_who_does_not_listen_and_what_it_started(tmp_path: Path, supervise: list[Supervisor]) -> None:
    stubborn = child("stubborn", tmp_path, IGNORES_SIGTERM, stop_s=0.3)
    parent = child("parent", tmp_path, FORKS, stop_s=0.3)
    supervise.append(Supervisor([[stubborn, parent]], tmp_path / "logs"))
    supervise[0].start(20)
    wait_until((tmp_path / "parent.ready").read_text, what="the grandchild's id")
    processes = [process(stubborn), process(parent), psutil.Process(int((tmp_path / "parent.ready").read_text()))]

    supervise[0].stop()

    _, alive = psutil.wait_procs(processes, timeout=5)
    assert alive == []


def test_children_die_with_a_killed_supervisor(tmp_path: Path) -> None:
    supervisor = (
        "import sys, time; from pathlib import Path; from tests.unit.deploy.local.test_supervisor import child; "
        "from deploy.local.supervisor import Supervisor; folder = Path(sys.argv[1]); one = child('one', folder); "
        "Supervisor([[one]], folder / 'logs').start(20); (folder / 'pid').write_text(str(one.pid)); time.sleep(60)"
    )
    parent = psutil.Popen([sys.executable, "-c", supervisor, str(tmp_path)], env={**os.environ, "PYTHONPATH": "."})
    try:
        wait_until((tmp_path / "pid").exists, what="its child")
        wait_until((tmp_path / "pid").read_text, what="its child's id")
        orphan = psutil.Process(int((tmp_path / "pid").read_text()))
    finally:
        parent.kill()
        parent.wait(5)

    orphan.wait(5)
    assert not orphan.is_running()


def test_measure_counts_children_and_predecessors(tmp_path: Path, supervise: list[Supervisor]) -> None:
    one = child("one", tmp_path, FORKS)
    supervise.append(Supervisor([[one]], tmp_path / "logs"))
    supervise[0].start(20)

    supervise[0].measure()

    assert one.peak_rss > process(one).memory_info().rss
    assert one.cpu_s > 0


def test_a_long_log_is_put_aside(tmp_path: Path, supervise: list[Supervisor]) -> None:
    logs = tmp_path / "logs"
    logs.mkdir()
    (logs / "one.log").write_bytes(b"x" * 10_000_001)
    one = child("one", tmp_path)
    supervise.append(Supervisor([[one]], logs))

    supervise[0].start(20)

    assert (logs / "one.log.1").stat().st_size == 10_000_001
    assert (logs / "one.log").stat().st_size == 0
