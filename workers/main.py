"""The worker process: a Celery worker on some of the queues."""

from __future__ import annotations

import logging
import os
import tempfile
import threading
import warnings
from collections.abc import Sequence

from lookout.errors import BadInputError, UnavailableError
from lookout.faces.models import asset_cache
from lookout.logging import configure_logging
from lookout.models_in_use import models_in_use
from lookout.process import die_with_parent
from lookout.queue import CROPS, MAINTENANCE, QUEUES, celery_app
from lookout.settings import Settings
from lookout.stores.registry import Registry

log = logging.getLogger(__name__)


def run(settings: Settings, *, queues: Sequence[str], concurrency: int, metrics_host: str, metrics_port: int) -> None:
    """Work until SIGTERM, which lets running tasks end.

    Crops are embedded in forked processes, one per core that they may use; queues without crops wait for other
    machines most of the time, and are served by threads.
    """
    unknown = set(queues) - set(QUEUES)
    if unknown:
        raise BadInputError(f"no queue is named {', '.join(sorted(unknown))}; there are {', '.join(QUEUES)}.")
    configure_logging(f"worker[{','.join(queues)}]")
    forks = CROPS in queues
    if forks:
        # Here, not in the first task, which would make dead letters of all crops: a wrong model is no fault of theirs.
        _fetch_models(settings)
    with tempfile.TemporaryDirectory(prefix="lookout-metrics-") as metrics_dir:
        if forks:
            # Before the first import of prometheus_client: it decides then where numbers are kept.
            os.environ["PROMETHEUS_MULTIPROC_DIR"] = metrics_dir
        _work(settings, queues, concurrency, metrics_host, metrics_port, forks=forks)


def _fetch_models(settings: Settings) -> None:
    registry = Registry(settings.database)
    try:
        asset_cache(settings).fetch([models_in_use(registry, settings).embedder.name])
    except UnavailableError as error:
        log.warning("the models are looked up later: %s", error)
    finally:
        registry.close()


def _work(
    settings: Settings, queues: Sequence[str], concurrency: int, metrics_host: str, metrics_port: int, *, forks: bool
) -> None:
    from celery import signals
    from celery.exceptions import CPendingDeprecationWarning
    from kombu.transport import TRANSPORT_ALIASES
    from prometheus_client import multiprocess

    from lookout.metrics import serve_metrics
    from workers.parts import Parts
    from workers.tasks import HOUSEKEEPING, register

    for scheme in ("redis", "rediss"):
        TRANSPORT_ALIASES[scheme] = "workers.transport:Transport"
    app = celery_app(settings)
    parts = Parts(settings)
    # Made before the fork, so that all children have it; and a missing key is no fault of the messages either.
    _ = parts.keyring
    register(app, parts)
    stop = threading.Event()

    # It warns of a setting that Celery 6 will have another default for; `celery_app` says why it is as it is.
    warnings.filterwarnings("ignore", category=CPendingDeprecationWarning)

    # It tells of each message that goes back to the queue, with a traceback; what matters of it we have logged before.
    logging.getLogger("celery.app.trace").setLevel(logging.ERROR)

    @signals.setup_logging.connect(weak=False)
    def keep_our_logging(**_: object) -> None:
        """Celery would set up its own."""

    @signals.worker_process_init.connect(weak=False)
    def begin(**_: object) -> None:
        die_with_parent()

        import workers.crops  # noqa: F401 - it and the model are loaded now, not when the first face waits

        embedder = parts.embedder
        log.info("embeddings of %d numbers, ready", embedder.dimension)

    @signals.worker_process_shutdown.connect(weak=False)
    def end(pid: int | None = None, **_: object) -> None:
        if pid is not None:
            multiprocess.mark_process_dead(pid)  # type: ignore[no-untyped-call]

    port = serve_metrics(metrics_host, metrics_port)
    log.info("queues %s, %d at a time, metrics on port %d", ", ".join(queues), concurrency, port)
    if MAINTENANCE in queues:
        from workers.pulse import beat

        intervals = {name: interval_s for name, (interval_s, _) in HOUSEKEEPING.items()}
        threading.Thread(target=beat, args=(app, parts.redis, intervals, stop), name="pulse", daemon=True).start()
    try:
        app.worker_main(
            [
                "--quiet",
                "worker",
                f"--pool={'prefork' if forks else 'threads'}",
                f"--concurrency={concurrency}",
                f"--queues={','.join(queues)}",
                f"--hostname={'-'.join(queues)}-{os.getpid()}@%h",
                "--loglevel=INFO",
                "--without-gossip",
                "--without-mingle",
                "--without-heartbeat",
            ]
        )
    finally:
        stop.set()
