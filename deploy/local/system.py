"""The embedded system on the user's own cameras: `lookout up` and `lookout down`."""

from __future__ import annotations

import contextlib
import fcntl
import logging
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from deploy.local.parts import Endpoints, Ports, endpoints, ingest, services, stores, write_endpoints
from deploy.local.supervisor import Child, Supervisor
from lookout import audit
from lookout.accounts.users import first_admin
from lookout.camera_settings import load_cameras
from lookout.cameras import import_cameras
from lookout.errors import BadInputError, ConflictError, LookoutError
from lookout.faces.models import asset_cache
from lookout.logging import configure_logging
from lookout.models_in_use import models_in_use
from lookout.sealing import keyring
from lookout.settings import Settings, endpoints_path
from lookout.stores.registry import Registry

log = logging.getLogger(__name__)

START_TIMEOUT_S = 60.0
TICK_S = 0.1
STOP_TIMEOUT_S = 10.0
#: Written when all parts are ready, for `up --detach`.
READY = "ready"
#: How the line begins that names the first admin's link.
FIRST_START = "first start:"


class LocalSystem:
    """Valkey, Milvus Lite, ingest, workers and search on free loopback ports, with all state in `settings.home`."""

    def __init__(
        self,
        settings: Settings,
        *,
        cameras: Path | None = None,
        port: int = 0,
        more: Sequence[Child] = (),
        enrol: Callable[[Registry], None] | None = None,
    ) -> None:
        """Lay out the parts.

        Args:
            settings: whose home they work in.
            cameras: a camera file to be imported at the start.
            port: of the page; 0: a free one.
            more: further processes, started with the stores.
            enrol: called with the registry before anything starts.
        """
        self.settings = settings
        self._cameras = cameras
        self._enrol = enrol
        #: Where the first admin sets a password; empty unless this start made one.
        self.welcome_url = ""
        self._ports = Ports.free(search=port)
        self.endpoints: Endpoints = endpoints(settings, self._ports)
        #: By which any `lookout` command works on this system.
        self.env = {
            "LOOKOUT_HOME": str(settings.home.absolute()),
            "LOOKOUT_CACHE": str(settings.cache.absolute()),
            "LOOKOUT_REDIS_URL": self.endpoints.redis_url,
            "LOOKOUT_MILVUS_URI": self.endpoints.milvus_uri,
            "LOOKOUT_DATABASE_URL": settings.database_url,
            "LOOKOUT_BLOBS_URL": settings.blobs_url,
            "LOOKOUT_FOOTAGE": str(settings.footage_folder),
        }
        self.stores = Supervisor([stores(settings, self._ports, self.endpoints), more], self.logs)
        self.services = Supervisor(
            [[*services(self._ports, self.endpoints, self.env), ingest(self._ports, self.endpoints, self.env)]],
            self.logs,
        )

    @property
    def logs(self) -> Path:
        """Where each process' log is."""
        return self.settings.home / "logs"

    @property
    def children(self) -> list[Child]:
        """All processes."""
        return self.stores.children + self.services.children

    def start(self, stopping: Callable[[], bool] = lambda: False) -> None:
        """Start everything and wait until it is ready.

        Raises:
            LookoutError: a part does not become ready; everything is stopped again.
        """
        # It brings OpenVINO, which the commands beside this one should not wait for.
        from lookout.faces.quantised import prepare

        keyring(self.settings)  # said here once, not by each service, if it is missing
        cameras = load_cameras(self._cameras) if self._cameras is not None else []
        registry = Registry(self.settings.database)
        registry.migrate()
        assets, used = asset_cache(self.settings), models_in_use(registry, self.settings)
        assets.fetch([used.detector, "htmx.min.js"])
        prepare(assets, used.embedder.name)
        import_cameras(registry, keyring(self.settings), audit.SYSTEM, cameras)
        if self._enrol is not None:
            self._enrol(registry)
        with registry.transaction() as session:
            secret = first_admin(session)
        if secret is not None:
            self.welcome_url = f"{self.endpoints.search_url}/welcome/{secret}"
        write_endpoints(self.settings.home, self.endpoints)
        try:
            self.stores.start(START_TIMEOUT_S, stopping=stopping)
            if stopping():
                return

            def stopping_meanwhile() -> bool:
                # A store that dies now is restarted: the services that wait for it would never be ready.
                self.stores.tick()
                return stopping()

            self.services.start(START_TIMEOUT_S, stopping=stopping_meanwhile)
        except BaseException:
            self.stop()
            raise
        finally:
            registry.close()

    def tick(self) -> None:
        """Restart what died. Call it often."""
        self.stores.tick()
        self.services.tick()

    def measure(self) -> None:
        """Take memory and processor time of all processes."""
        self.stores.measure()
        self.services.measure()

    def stop(self) -> None:
        """End everything, the stores last."""
        self.services.stop()
        self.stores.stop()
        endpoints_path(self.settings.home).unlink(missing_ok=True)


@contextlib.contextmanager
def only_one(home: Path) -> Iterator[None]:
    """Hold a home for one supervisor.

    Raises:
        ConflictError: another one runs on it.
    """
    run = home / "run"
    home.mkdir(parents=True, exist_ok=True, mode=0o700)
    run.mkdir(exist_ok=True, mode=0o700)
    with (run / "supervisor.pid").open("a+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise ConflictError(f"Lookout runs already in {home}; stop it with `lookout down`.") from error
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        (run / READY).unlink(missing_ok=True)
        try:
            yield
        finally:
            (run / READY).unlink(missing_ok=True)
            file.truncate(0)


@contextlib.contextmanager
def until_signalled() -> Iterator[Callable[[], bool]]:
    """A question that SIGINT or SIGTERM answers with yes; further signals change nothing while all is stopped."""
    signals: list[int] = []
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    for number in before:
        signal.signal(number, lambda received, _frame: signals.append(received))
    try:
        yield lambda: bool(signals)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def up(settings: Settings, *, cameras: Path | None, port: int, detach: bool) -> None:
    """Run the system until a signal comes; with `detach` in the background, returning when all is ready."""
    if detach:
        _detach(settings, cameras, port)
        return
    configure_logging("up")
    with only_one(settings.home), until_signalled() as stopping:
        system = LocalSystem(settings, cameras=cameras, port=port)
        try:
            system.start(stopping)
            if not stopping():
                (settings.home / "run" / READY).touch()
                log.info("ready: %s; logs in %s", system.endpoints.search_url, system.logs)
                if system.welcome_url:
                    _welcome(system.welcome_url)
            while not stopping():
                system.tick()
                time.sleep(TICK_S)
        finally:
            system.stop()
    log.info("stopped")


def _welcome(url: str) -> None:
    """Say once where the first admin begins. Not by the log, which may be kept where such a link has no business."""
    print(f"{FIRST_START} open {url} to set the password of `admin`", flush=True)  # noqa: T201


def _detach(settings: Settings, cameras: Path | None, port: int) -> None:
    home = settings.home.absolute()
    (home / "logs").mkdir(parents=True, exist_ok=True)
    log_file = home / "logs" / "up.log"
    with log_file.open("ab") as output:
        begun = output.tell()
        process = subprocess.Popen(
            [
                *(sys.executable, "-m", "lookout", "up", "--port", str(port)),
                *(("--cameras", str(cameras.absolute())) if cameras is not None else ()),
            ],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            env={**os.environ, "LOOKOUT_HOME": str(home)},
            start_new_session=True,
        )
    # Models may have to be fetched first.
    deadline = time.monotonic() + START_TIMEOUT_S * 5
    while not (home / "run" / READY).exists():
        if process.poll() is not None or time.monotonic() > deadline:
            process.terminate()
            said = log_file.read_bytes()[begun:].decode("utf-8", "replace").strip()
            raise LookoutError(f"Lookout did not start:\n{said}")
        time.sleep(0.05)
    said = log_file.read_bytes()[begun:].decode("utf-8", "replace")
    for line in said.splitlines():
        if line.startswith(FIRST_START):
            print(line)  # noqa: T201 - what a start in the foreground shows


def down(settings: Settings) -> None:
    """Stop the system that runs in this home.

    Raises:
        BadInputError: none runs.
        LookoutError: it does not stop.
    """
    pid_file = settings.home / "run" / "supervisor.pid"
    with contextlib.suppress(FileNotFoundError), pid_file.open("r+") as file:
        if _is_locked(file.fileno()):
            os.kill(int(file.read()), signal.SIGTERM)
            deadline = time.monotonic() + STOP_TIMEOUT_S
            while _is_locked(file.fileno()):
                if time.monotonic() > deadline:
                    raise LookoutError(f"Lookout in {settings.home} does not stop; see {settings.home / 'logs'}.")
                time.sleep(0.05)
            return
    raise BadInputError(f"no Lookout runs in {settings.home}.")


def _is_locked(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    fcntl.flock(descriptor, fcntl.LOCK_UN)
    return False
