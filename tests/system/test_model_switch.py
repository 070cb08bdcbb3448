"""`lookout models use` beside the demo's live cameras."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import onnx.parser
import pytest
from sqlalchemy import select

from lookout.settings import Settings
from lookout.stores.registry import Registry
from lookout.stores.registry.tables import AuditEntry, Sighting, Target
from tests.servers import wait_until
from tests.system.conftest import Lookout

DEFAULT, DLIB, OWN = "fusion-320", "dlib-resnet-128", "own"


def lookout(home: Path, *arguments: str) -> Any:
    """What a command prints as JSON."""
    done = subprocess.run(
        [sys.executable, "-m", "lookout", *arguments, "--json"],
        env={**os.environ, "LOOKOUT_HOME": str(home)},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def alerted_by(home: Path) -> list[str]:
    """Which embedder raised each alert, in their order."""
    registry = Registry(Settings(home=home, database_url="").database)
    try:
        with registry.reading() as session:
            opened = select(AuditEntry).where(AuditEntry.action == "alert.opened").order_by(AuditEntry.number)
            return [str((entry.detail or {})["model"]) for entry in session.scalars(opened)]
    finally:
        registry.close()


def made_by(home: Path) -> set[str | None]:
    """The embedders of all templates."""
    registry = Registry(Settings(home=home, database_url="").database)
    try:
        with registry.reading() as session:
            return {*session.scalars(select(Target.model)), *session.scalars(select(Sighting.model))}
    finally:
        registry.close()


def own_model(home: Path) -> None:
    """An embedder of the user's own: the mean colours of 49 squares, which nobody's face passes as another's."""
    model = onnx.parser.parse_model(
        """
        <ir_version: 8, opset_import: ["" : 13]>
        own (float[N,3,112,112] x) => (float[N,147] y) {
            pooled = AveragePool<kernel_shape=[16,16], strides=[16,16]>(x)
            y = Flatten<axis=1>(pooled)
        }
        """
    )
    (home / "own.onnx").write_bytes(model.SerializeToString())
    sha256 = hashlib.sha256((home / "own.onnx").read_bytes()).hexdigest()
    (home / "models.toml").write_text(
        f'[models.own]\nrole = "embedder"\nfile = "own.onnx"\nsha256 = "{sha256}"\nlicence = "ours"\n'
        'source = "this test"\n[models.own.contract]\nsize = 112\ntemplate = "arcface112"\ncolour = "rgb"\n'
        'layout = "nchw"\nmean = 127.5\nscale = 127.5\ndimension = 147\n'
        "[models.own.calibration]\noperating_points = { 1e-2 = 0.9999, 1e-3 = 0.99999 }\n"
    )


@pytest.mark.timeout(400)
def test_embedders_are_switched_while_alerts_flow(
    run_lookout: Callable[..., Lookout], monkeypatch: pytest.MonkeyPatch
) -> None:
    # Each time that man A comes is an alert: every six seconds.
    monkeypatch.setenv("LOOKOUT_ALERT_SILENCE_S", "1")
    demo = run_lookout("demo", "--json")
    home = demo.home = demo.home / "demo"
    demo.wait_ready()
    wait_until(lambda: alerted_by(home), 60, "an alert")

    assert lookout(home, "models", "use", DLIB, "--dry-run")["photos"] == 6
    there = lookout(home, "models", "use", DLIB)
    assert (there["before"], there["after"], there["photos"], there["gone"]) == (DEFAULT, DLIB, 6, 0)
    assert made_by(home) == {DLIB}
    wait_until(lambda: alerted_by(home)[-1] == DLIB, 30, "an alert by the new model")
    (listed,) = lookout(home, "watchlist", "list")
    assert listed["thresholds"]["likely"] > 0.93, "those of the new model, whose strangers have a cosine of 0.84"

    own_model(home)
    assert lookout(home, "models", "use", OWN)["before"] == DLIB
    (listed,) = lookout(home, "watchlist", "list")
    assert listed["thresholds"]["possible"] > 0.9999, "as the user's file says"

    back = lookout(home, "models", "use", DEFAULT)
    assert (back["before"], back["after"], back["gone"]) == (OWN, DEFAULT, 0)
    wait_until(lambda: alerted_by(home)[-1] == DEFAULT, 30, "an alert by the first model again")
    assert made_by(home) == {DEFAULT}

    assert lookout(home, "models", "use", "mtcnn")["before"] == "yunet"
    log = home / "logs" / "ingest.log"
    wait_until(lambda: "faces are found by mtcnn" in log.read_text("utf-8"), 30, "the other detector")
    alerts = len(alerted_by(home))
    wait_until(lambda: len(alerted_by(home)) > alerts, 30, "an alert for a face that it found")

    demo.process.send_signal(signal.SIGINT)
    _, report = demo.finish(60)
    assert {alert["target"] for alert in report["alerts"]} == {"Man A"}
    crops = report["crops"]
    assert (crops["shed"], crops["expired"], crops["failed"]) == (0, 0, 0), "nothing was lost on the way"
    assert {process["name"]: process["restarts"] for process in report["processes"] if process["restarts"]} == {}
