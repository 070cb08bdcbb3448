"""Real worker processes: end to end, killed, without their parts, and ended."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import msgspec
import psutil
import pytest
from redis import Redis
from sqlalchemy.engine import make_url

from lookout.faces.assets import AssetCache
from lookout.queue import CROPS
from lookout.settings import Settings
from lookout.stores.registry import Registry
from lookout.stores.registry.tables import Alert, Sighting
from tests import servers
from tests.people import crop, enrol_man_a, man_a, woman_b
from tests.servers import Server, wait_until
from tests.workplace import Workplace, worker
from workers.sightings import blob_name
from workers.tasks import MAX_ATTEMPTS

#: How long a part is away.
AWAY_S = 20.0


@contextlib.contextmanager
def workplace_in(home: Path, redis_url: str, milvus_uri: str, assets: AssetCache) -> Iterator[Workplace]:
    home.mkdir()
    registry = Registry(make_url(f"sqlite:///{home / 'registry.db'}"))
    registry.migrate()
    with contextlib.closing(
        Workplace(Settings(home=home, redis_url=redis_url, milvus_uri=milvus_uri), registry, assets)
    ) as made:
        yield made
    registry.close()


@pytest.fixture
def workplace(
    redis: Redis, valkey_server: Server, milvus_server: Server, tmp_path: Path, assets: AssetCache
) -> Iterator[Workplace]:
    with workplace_in(tmp_path / "home", valkey_server.url, milvus_server.url, assets) as made:
        made.enrol_man_a()
        yield made


def is_idle(workplace: Workplace) -> bool:
    """Whether no message waits, and no worker holds one."""
    redis = workplace.parts.redis
    return not redis.llen(CROPS) and not redis.hlen("unacked")


@contextlib.contextmanager
def in_the_middle(workplace: Workplace, *, track: int) -> Iterator[None]:
    """A worker has matched a crop of man A and is about to store it, but cannot while this lasts."""
    seen = crop(man_a(workplace.assets)[0], track=track)
    picture = workplace.settings.home / "blobs" / blob_name(seen)
    with workplace.registry.transaction() as session:
        session.connection()
        workplace.send(seen)
        wait_until(picture.exists, 30, "the picture of a matched crop")
        yield


def lookout(workplace: Workplace, *arguments: str) -> str:
    env = {
        **os.environ,
        "LOOKOUT_HOME": str(workplace.settings.home),
        "LOOKOUT_REDIS_URL": workplace.settings.redis_url.get_secret_value(),
    }
    command = [sys.executable, "-m", "lookout", *arguments]
    return subprocess.run(command, env=env, check=True, capture_output=True, text=True, timeout=60).stdout


def test_messages_become_alerts_and_a_worker_ends_when_asked(workplace: Workplace) -> None:
    man, woman = man_a(workplace.assets), woman_b(workplace.assets)
    with worker(workplace.settings, "--queues", "crops", "--concurrency", "2") as running:
        processes = [psutil.Process(running.process.pid), *running.children()]
        workplace.send(crop(man[0], track=1), crop(woman[0], track=2))
        for number in range(6):
            workplace.send(crop(man[number % 4], track=10 + number), crop(woman[number % 2], track=20 + number))
        wait_until(lambda: is_idle(workplace), 60, "all messages done")

        assert len(workplace.rows(Sighting)) == 14
        (alert,) = workplace.rows(Alert)
        assert alert.tier == "likely"
        metrics = running.metrics()
        assert metrics["lookout_crops_embedded_total"] == 14, "of both children together"
        assert metrics["lookout_sightings_total"] == 14
        assert metrics["lookout_alert_latency_seconds_count"] == 1
        assert metrics["lookout_crops_missing_total"] == metrics["lookout_crops_failed_total"] == 0
        assert {child.pid for child in running.children()} <= {process.pid for process in processes}

        with in_the_middle(workplace, track=30):
            running.process.terminate()
        asked_at = time.monotonic()
        assert running.process.wait(30) == 0
        assert time.monotonic() - asked_at < 5
        assert psutil.wait_procs(processes, timeout=0)[1] == [], "no process is left"
        assert len(workplace.rows(Sighting)) == 15, "what was begun was finished"
        assert is_idle(workplace)
        assert "Traceback" not in running.log


# What follows takes long and mostly waits: the scenarios run side by side.

Scenario = Callable[[Path, Server, AssetCache], None]


def a_message_is_poisonous(folder: Path, milvus: Server, assets: AssetCache) -> None:
    fine = crop(man_a(assets)[0])
    with servers.valkey(folder) as valkey, workplace_in(folder / "home", valkey.url, milvus.url, assets) as workplace:
        workplace.enrol_man_a()
        with worker(workplace.settings, "--queues", "crops") as running:
            workplace.send(msgspec.structs.replace(fine, jpeg=b"no jpeg"))
            wait_until(workplace.parts.dead_letters.all, 30, "a dead letter")

            (row,) = json.loads(lookout(workplace, "dead-letters", "list", "--json"))
            assert (row["kind"], row["what"], row["attempts"]) == ("crops", "1 crops", MAX_ATTEMPTS)
            assert row["error"] == f"BadInputError: the picture of {fine.id} is damaged."
            assert running.metrics()["lookout_crops_failed_total"] == 1
            wait_until(lambda: is_idle(workplace), what="the message gone")
            assert workplace.rows(Sighting) == []

            # What was wrong is mended.
            workplace.put(fine)
            assert lookout(workplace, "dead-letters", "replay", row["id"]) == "1 sent again\n"
            wait_until(lambda: workplace.rows(Alert), 30, "an alert")
            assert workplace.parts.dead_letters.all() == []


def a_pool_child_is_killed(folder: Path, milvus: Server, assets: AssetCache) -> None:
    with servers.valkey(folder) as valkey, workplace_in(folder / "home", valkey.url, milvus.url, assets) as workplace:
        workplace.enrol_man_a()
        with worker(workplace.settings, "--queues", "crops") as running:
            with in_the_middle(workplace, track=1):
                (child,) = running.children()
                child.kill()
            wait_until(lambda: workplace.rows(Alert), 20, "an alert by the next child")
            wait_until(lambda: is_idle(workplace), what="all messages done")
            assert child.pid not in {other.pid for other in running.children()}
        assert workplace.counts() == {"sightings": 1, "crops": 1, "alerts": 1, "alert_sightings": 1, "deliveries": 0}


def a_worker_is_killed(folder: Path, milvus: Server, assets: AssetCache) -> None:
    with servers.valkey(folder) as valkey, workplace_in(folder / "home", valkey.url, milvus.url, assets) as workplace:
        workplace.enrol_man_a()
        with worker(workplace.settings, "--queues", "crops") as first, in_the_middle(workplace, track=1):
            children = first.children()
            first.kill()
            killed_at = time.monotonic()
            assert psutil.wait_procs(children, timeout=5)[1] == [], "its children go with it"
        with worker(workplace.settings, "--queues", "crops"):
            wait_until(lambda: workplace.rows(Alert), 30, "an alert by the next worker")
            assert time.monotonic() - killed_at < 25
            wait_until(lambda: is_idle(workplace), what="all messages done")
        assert workplace.counts() == {"sightings": 1, "crops": 1, "alerts": 1, "alert_sightings": 1, "deliveries": 0}


def milvus_goes_away(folder: Path, _: Server, assets: AssetCache) -> None:
    with (
        servers.valkey(folder) as valkey,
        servers.milvus(folder) as milvus,
        workplace_in(folder / "home", valkey.url, milvus.url, assets) as workplace,
    ):
        milvus.kill()
        # Only the registry knows man A: the worker has to tell Milvus itself.
        enrol_man_a(workplace.registry, workplace.parts.blobs, workplace.parts.keyring, assets)
        faces = man_a(assets)
        workplace.send(crop(faces[0], track=1))
        with worker(workplace.settings, "--queues", "crops") as waiting:
            wait_until(lambda: "does not answer" in waiting.log, 30, "the worker waits for Milvus")
            asked_at = time.monotonic()
            assert waiting.end() == 0
            assert time.monotonic() - asked_at < 8, "it does not wait as long as Milvus is away"
        with worker(workplace.settings, "--queues", "crops") as running:
            wait_until(lambda: "does not answer" in running.log, 30, "the next one waits for Milvus")
            assert workplace.rows(Alert) == []
            milvus.start()
            wait_until(lambda: workplace.rows(Alert), 30, "an alert when Milvus is there")

            milvus.kill()
            back_at = time.monotonic() + AWAY_S
            for track in range(2, 6):
                workplace.send(crop(faces[track % 4], track=track))
            wait_until(lambda: time.monotonic() > back_at, AWAY_S + 1)
            assert len(workplace.rows(Sighting)) == 1
            milvus.start()
            wait_until(lambda: len(workplace.rows(Sighting)) == 5, 20, "all sightings when Milvus is back")
            wait_until(lambda: is_idle(workplace), what="all messages done")
        assert workplace.counts() == {"sightings": 5, "crops": 5, "alerts": 1, "alert_sightings": 5, "deliveries": 0}
        assert workplace.parts.dead_letters.all() == []


def valkey_goes_away(folder: Path, milvus: Server, assets: AssetCache) -> None:
    with servers.valkey(folder) as valkey, workplace_in(folder / "home", valkey.url, milvus.url, assets) as workplace:
        workplace.enrol_man_a()
        valkey.kill()
        with worker(workplace.settings, "--queues", "crops", wait_ready=False) as running:
            wait_until(lambda: "Cannot connect to redis" in running.log, 30, "the worker waits for Valkey")
            valkey.start()
            faces = man_a(assets)
            workplace.send(crop(faces[0], track=1))
            wait_until(lambda: workplace.rows(Alert), 30, "an alert when Valkey is there")
            wait_until(lambda: is_idle(workplace), what="the message done")

            with in_the_middle(workplace, track=2):
                for track in range(3, 6):
                    workplace.send(crop(faces[track % 4], track=track))
                valkey.kill()
                back_at = time.monotonic() + AWAY_S
            wait_until(lambda: time.monotonic() > back_at, AWAY_S + 1)
            valkey.start()
            wait_until(lambda: len(workplace.rows(Sighting)) == 5, 40, "all sightings when Valkey is back")
            wait_until(lambda: is_idle(workplace), 30, what="all messages done")
            assert running.process.poll() is None
        assert workplace.counts() == {"sightings": 5, "crops": 5, "alerts": 1, "alert_sightings": 5, "deliveries": 0}
        assert workplace.parts.dead_letters.all() == []


SCENARIOS: list[Scenario] = [
    milvus_goes_away,
    valkey_goes_away,
    a_worker_is_killed,
    a_pool_child_is_killed,
    a_message_is_poisonous,
]


@pytest.fixture(scope="module")
def outcomes(
    tmp_path_factory: pytest.TempPathFactory, milvus_server: Server, assets: AssetCache
) -> Iterator[dict[Scenario, Future[None]]]:
    man_a(assets)
    with ThreadPoolExecutor(len(SCENARIOS)) as pool:
        yield {
            scenario: pool.submit(scenario, tmp_path_factory.mktemp(scenario.__name__), milvus_server, assets)
            for scenario in SCENARIOS
        }


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_nothing_is_lost_or_doubled_when(scenario: Scenario, outcomes: dict[Scenario, Future[None]]) -> None:
    outcomes[scenario].result(170)
