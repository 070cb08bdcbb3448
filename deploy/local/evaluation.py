"""`lookout evaluate video`: a system of its own for as long as recordings are searched, and what it found."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec
import psutil
from pydantic import SecretStr
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from deploy.local.system import TICK_S, LocalSystem, only_one, until_signalled
from lookout import audit
from lookout.camera_settings import FILES_ONLY, Camera
from lookout.cameras import import_cameras
from lookout.clock import isoformat, now_us
from lookout.errors import EXIT_BAD_INPUT, BadInputError, ConflictError, LookoutError
from lookout.evaluation import listing
from lookout.evaluation.findings import Findings, read_alerts, read_cameras
from lookout.evaluation.truth import Recording
from lookout.faces.models import asset_cache
from lookout.logging import configure_logging
from lookout.models_in_use import models_in_use
from lookout.sealing import Keyring, keyring
from lookout.settings import Settings
from lookout.stores.blobs import Blobs
from lookout.stores.dead_letters import DeadLetters
from lookout.stores.redis import connect
from lookout.stores.registry import Registry
from lookout.targets.enrolment import Enroller
from lookout.targets.imports import Models

#: All recordings are taken to have begun so long ago, in days: none reaches into the future, and nothing expires
#: that is kept for a year.
BEGAN_DAYS, KEPT_HOURS = 200, 8760
SECOND_US = 1_000_000
STOP_S = 10.0

#: Raises what ends all, if it shall end.
GoOn = Callable[[], None]


def run(
    settings: Settings,
    registry: Registry,
    *,
    recordings: Sequence[Recording],
    people: Path | None,
    check: Callable[[set[str]], object],
) -> Findings:
    """Have recordings searched by a system in `<home>/evaluation`, which is removed again, whatever happens.

    Args:
        settings: of the installation; whether it runs does not matter.
        registry: its own.
        recordings: one a camera; all began at the same time.
        people: a folder of those who are on the watchlist; None: those of the installation.
        check: is told the names of all of them before anything is searched; what it raises ends all.

    Raises:
        KeyboardInterrupt: a signal ended it.
        BadInputError: nobody can be enrolled, or a recording cannot be searched.
        ConflictError: another evaluation runs in this home.
    """
    configure_logging("evaluate", level=logging.WARNING)
    own = settings.model_copy(
        update={"home": settings.home / "evaluation", "database_url": "", "blobs_url": "", "footage": None}
    )
    start_us = (now_us() // SECOND_US - BEGAN_DAYS * 24 * 3600) * SECOND_US  # as the command takes whole milliseconds
    with _alone(own.home), until_signalled() as stopping, _emptied(own.home), _bar(len(recordings)) as show:

        def go_on() -> None:
            if stopping():
                raise KeyboardInterrupt

        remarks = _prepare(settings, registry, own, recordings, people, check, go_on)
        system = LocalSystem(own)
        try:
            system.start(stopping)
            for one in recordings:
                go_on()
                show(one.file.name)
                remarks += _index(system, one, start_us, go_on)
            _check_workers(system)
            return _read(own, recordings, start_us, remarks)
        finally:
            system.stop()


@contextlib.contextmanager
def _alone(home: Path) -> Iterator[None]:
    with contextlib.ExitStack() as stack:
        try:
            stack.enter_context(only_one(home))
        except ConflictError:
            raise ConflictError(f"another evaluation runs in {home}: wait until it is done.") from None
        yield


@contextlib.contextmanager
def _emptied(home: Path) -> Iterator[None]:
    """A home made anew, and removed afterwards: it holds photos, and pictures of strangers."""
    for path in home.iterdir():
        if path.is_dir() and path.name != "run":  # which holds the lock
            shutil.rmtree(path)
        elif not path.is_dir():
            path.unlink()
    try:
        yield
    finally:
        shutil.rmtree(home)


def _prepare(
    settings: Settings,
    registry: Registry,
    own: Settings,
    recordings: Sequence[Recording],
    people: Path | None,
    check: Callable[[set[str]], object],
    go_on: GoOn,
) -> list[str]:
    """Models, people and cameras for the system; returns remarks."""
    if (models := settings.home / "models.toml").exists():
        (own.home / "models.toml").symlink_to(models.resolve())  # its paths start where it lies
    ring = keyring(own)
    with contextlib.closing(Registry(own.database)) as copy:
        copy.migrate()
        with registry.reading() as session, copy.transaction() as copied:
            listing.copy_models(session, copied)
        if people is None:
            with registry.reading() as session, copy.transaction() as copied:
                remarks = listing.copy_watchlists(session, keyring(settings), copied, ring)
        else:
            remarks = _enrol(own, copy, people, ring, go_on)
        with copy.reading() as session:
            check(listing.people_of(session))
        import_cameras(copy, ring, audit.SYSTEM, [_as_files(one) for one in recordings])
    return remarks


def _enrol(own: Settings, copy: Registry, people: Path, ring: Keyring, go_on: GoOn) -> list[str]:
    # It brings OpenVINO, which the commands beside this one should not wait for.
    from lookout.faces.quantised import prepare

    used = models_in_use(copy, own)
    prepare(asset_cache(own), used.embedder.name)
    by = Enroller(audit.SYSTEM, Blobs(own.blobs, ring), ring, used.embedder)
    models = Models(*used.load(own), max(2, os.cpu_count() or 1))
    return listing.enrol_people(copy, by, models, people, go_on)


def _as_files(one: Recording) -> Camera:
    """The camera as one whose videos are handed in, and of which everything is kept."""
    changes = {"url": FILES_ONLY, "enabled": True, "record": False, "matched_only": False}
    return msgspec.structs.replace(one.camera, **changes, retention_hours=KEPT_HOURS, footage_hours=KEPT_HOURS)


def _index(system: LocalSystem, one: Recording, start_us: int, go_on: GoOn) -> list[str]:
    """Search a recording, until all that was found in it is stored; returns remarks.

    Raises:
        LookoutError: it cannot be searched.
    """
    # Whoever ends this process ends the command, too, by the signal upon which it ends its own children.
    argv = ["setpriv", "--pdeathsig", "INT", "--", sys.executable, "-m", "lookout", "index", str(one.file), "--json"]
    argv += ["--camera", one.camera.id, "--start", isoformat(start_us), "--fps", str(one.camera.analysed_fps)]
    process = subprocess.Popen(
        argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env={**os.environ, **system.env}, start_new_session=True,
    )  # fmt: skip
    try:
        while True:
            go_on()
            system.tick()
            with contextlib.suppress(subprocess.TimeoutExpired):
                out, err = process.communicate(timeout=TICK_S)
                break
    finally:
        _end(process)
    said: dict[str, Any] = json.loads(out)["videos"][0] if out else {"error": err.strip()}
    if process.returncode:
        kind = BadInputError if process.returncode == EXIT_BAD_INPUT else LookoutError
        raise kind(f"camera {one.camera.id}: {one.file} cannot be searched: {said['error']}")
    remarks: list[str] = said["warnings"]
    if said["broken_frames"]:
        remarks.append(f"{said['broken_frames']} broken frames were left out")
    return [f"camera {one.camera.id}: {remark}" for remark in remarks]


def _end(process: subprocess.Popen[str]) -> None:
    """End a command that still runs, with its children."""
    if process.poll() is None:
        family = [psutil.Process(process.pid), *psutil.Process(process.pid).children(recursive=True)]
        process.send_signal(signal.SIGINT)
        _, left = psutil.wait_procs(family, STOP_S)
        for one in left:
            one.kill()
        process.communicate()


def _check_workers(system: LocalSystem) -> None:
    """Make sure that no face was given up: who was missed by a fault would seem to be missed by the models."""
    redis = connect(system.settings.model_copy(update={"redis_url": SecretStr(system.endpoints.redis_url)}))
    with contextlib.closing(redis):
        letters = DeadLetters(redis).all()
    if letters:
        count = sum(len(letter.crop_ids) for letter in letters)
        raise LookoutError(f"the workers gave up {count} faces, so nothing was measured: {letters[0].error}")


def _read(own: Settings, recordings: Sequence[Recording], start_us: int, remarks: Sequence[str]) -> Findings:
    with contextlib.closing(Registry(own.database)) as registry, registry.reading() as session:
        return Findings(
            people=frozenset(listing.people_of(session)),
            strangers=listing.strangers_of(session),
            cameras=read_cameras(session, [one.camera.id for one in recordings]),
            alerts=read_alerts(session, start_us),
            remarks=tuple(remarks),
        )


@contextlib.contextmanager
def _bar(total: int) -> Iterator[Callable[[str], None]]:
    """A progress bar: tell it each recording as it is begun."""
    columns = (TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("starting a system", total=total)
        begun = 0

        def show(name: str) -> None:
            nonlocal begun
            progress.update(task, description=name, completed=begun)
            begun += 1

        yield show
