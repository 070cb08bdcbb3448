"""Crops on their way out of an ingest process, with a real Valkey and a real Celery."""

from __future__ import annotations

import base64
import json
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from celery import Celery
from kombu import pools
from kombu.exceptions import OperationalError
from prometheus_client import REGISTRY
from pydantic import SecretStr
from redis import Redis

from ingest.outbox import Outbox
from ingest.publisher import BACKLOG_EVERY_S, BATCH_SIZE, Publisher
from lookout.clock import now_us
from lookout.messages import Crop, crop_id, track_id
from lookout.queue import CROPS, EMBED_CROPS, celery_app
from lookout.sealing import Keyring
from lookout.settings import Settings
from lookout.stores.crops import Crops
from lookout.stores.redis import connect
from tests import servers
from tests.servers import wait_until

KEYRING = Keyring.parse(Keyring.new_key())


def crop(track: int, quality: float = 0.8, number: int = 0, *, camera: str = "door") -> Crop:
    name = track_id(camera, 1, track)
    return Crop(
        id=crop_id(name, number),
        track_id=name,
        camera_id=camera,
        camera_group="hall",
        captured_at_us=now_us(),
        track_started_at_us=1,
        track_seen_at_us=2,
        deadline_us=now_us() + 60_000_000,
        box_xyxy=(1.5, 2, 3, 4),
        landmarks=[(1.25, 2)] * 5,
        quality=quality,
        jpeg=bytes(30_000),
    )


def messages(redis: Redis) -> list[list[str]]:
    """The crops' ids in each message that waits, oldest first."""
    found = []
    for raw in reversed(redis.lrange(CROPS, 0, -1)):
        message = json.loads(raw)
        assert message["headers"]["task"] == EMBED_CROPS
        assert message["content-type"] == "application/json"
        (ids,), keywords, _ = json.loads(base64.b64decode(message["body"]))
        assert keywords == {}
        found.append(ids)
    return found


def published(camera: str) -> float:
    return REGISTRY.get_sample_value("lookout_crops_published_total", {"camera": camera}) or 0.0


class Bench:
    """A publisher with its outbox."""

    def __init__(self, url: str, *, queue_limit: int = 200) -> None:
        settings = Settings(redis_url=SecretStr(url))
        self.outbox = Outbox()
        self.redis = connect(settings)
        self.app: Celery = celery_app(settings)
        self.publisher = Publisher(self.outbox, self.redis, KEYRING, self.app, queue_limit=queue_limit)
        self.stop = threading.Event()
        self._thread = threading.Thread(target=self.publisher.run, args=(self.stop,))

    def start(self) -> None:
        self._thread.start()

    def put(self, *crops: Crop) -> None:
        for one in crops:
            self.outbox.put(one)

    def close(self) -> None:
        self.stop.set()
        if self._thread.ident is not None:
            self._thread.join(10)
            assert not self._thread.is_alive()
        pools.reset()  # they are the process', one for each URL
        self.app.close()
        self.redis.close()


@pytest.fixture
def bench(valkey_server: servers.Server, redis: Redis) -> Iterator[Bench]:
    made = Bench(valkey_server.url)
    yield made
    made.close()


def test_a_message_a_batch_names_the_crops(bench: Bench, redis: Redis) -> None:
    crops = [crop(track, camera="gate") for track in range(40)]
    bench.put(*crops)

    bench.start()
    wait_until(lambda: len(messages(redis)) == 3, what="three messages")

    ids = [one.id for one in crops]
    assert messages(redis) == [ids[:BATCH_SIZE], ids[BATCH_SIZE : 2 * BATCH_SIZE], ids[2 * BATCH_SIZE :]]
    assert Crops(redis, KEYRING).get(ids) == crops
    assert all(int(redis.ttl(key)) > 60 for key in redis.keys("crop:*")), "longer than their deadline"
    wait_until(lambda: published("gate") == 40, what="the count")
    assert len(bench.outbox) == 0


def test_crops_of_one_moment_share_a_message(bench: Bench, redis: Redis) -> None:
    bench.start()
    bench.put(crop(0))
    wait_until(lambda: len(messages(redis)) == 1, what="the connection")

    began = time.monotonic()
    bench.put(*(crop(track) for track in range(1, 6)))
    wait_until(lambda: len(messages(redis)) > 1, 5, what="a message")

    assert [len(ids) for ids in messages(redis)] == [1, 5]
    assert time.monotonic() - began < 1


@pytest.mark.parametrize("where", ["waiting", "held by workers"])
def test_when_workers_lag_the_best_of_each_track_waits(valkey_server: servers.Server, redis: Redis, where: str) -> None:
    bench = Bench(valkey_server.url, queue_limit=2)
    try:
        if where == "waiting":
            redis.lpush(CROPS, "one", "two")
        else:
            redis.hset("unacked", mapping={"one": "", "two": ""})

        best = crop(3, 0.9, 1)
        bench.put(crop(3, 0.6), best, crop(3, 0.7, 2), other := crop(4, 0.5))
        assert not bench.publisher.publish_once()
        assert len(bench.outbox) == 2

        redis.delete(CROPS, "unacked")
        wait_until(bench.publisher.publish_once, 2 * BACKLOG_EVERY_S + 1, what="room in the queue")
        assert messages(redis) == [[best.id, other.id]]
    finally:
        bench.close()


def test_valkey_forgets_all(bench: Bench, redis: Redis) -> None:
    """It was started anew without its data, say, and with them it lost what Celery declared there."""
    bench.start()
    bench.put(crop(0))
    wait_until(lambda: len(messages(redis)) == 1, what="a message")

    redis.flushall()
    bench.put(crop(1))

    wait_until(lambda: len(messages(redis)) == 1, what="a message")


def test_valkey_dies_and_returns(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with servers.valkey(tmp_path) as server, Redis.from_url(server.url) as redis:
        bench = Bench(server.url)
        try:
            before = [crop(track) for track in range(20)]
            bench.put(*before)
            bench.start()
            wait_until(lambda: sum(map(len, messages(redis))) == 20, what="the first messages")

            server.kill()
            worse = [crop(100 + track, 0.6) for track in range(20)]
            bench.put(*worse)
            wait_until(lambda: "crops wait: Redis does not answer" in caplog.text, what="a warning")
            better = [crop(100 + track, 0.9, 1) for track in range(0, 20, 2)]
            bench.put(*better)
            wait_until(lambda: len(bench.outbox) == 20, 10, what="what could not be published is back")

            server.start()
            after = {one.track_id: one for one in (*worse, *better)}
            wait_until(lambda: sum(map(len, messages(redis))) >= 40, what="the others")
            assert bench.publisher.drain(2) == 0

            ids = [name for batch in messages(redis) for name in batch]
            assert len(set(ids)) == len(ids) == 40, "nothing lost, nothing doubled"
            assert set(ids) == {one.id for one in (*before, *after.values())}
            assert all(Crops(redis, KEYRING).get(ids))
            assert caplog.text.count("crops wait") == 1, "said once, not at each try"
            assert "Traceback" not in caplog.text
        finally:
            bench.close()


@pytest.mark.parametrize("error", [OperationalError("gone"), RuntimeError("a fault of ours")])
def test_a_message_that_cannot_be_sent_gives_its_crops_back(
    bench: Bench, redis: Redis, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    """Valkey may die between the two steps."""
    before = published("back")
    crops = [crop(track, camera="back") for track in range(3)]
    bench.put(*crops)

    def fail(*_: Any, **__: Any) -> None:
        raise error

    with monkeypatch.context() as patch:
        patch.setattr(bench.app, "send_task", fail)
        assert not bench.publisher.publish_once()
    assert published("back") == before
    assert len(bench.outbox) == 3

    assert bench.publisher.publish_once()
    assert messages(redis) == [[one.id for one in crops]]
    assert published("back") == before + 3


def test_draining(bench: Bench, redis: Redis) -> None:
    crops = [crop(track) for track in range(50)]
    bench.put(*crops)

    assert bench.publisher.drain(5) == 0
    assert sum(map(len, messages(redis))) == 50


def test_draining_without_redis_ends_in_time(tmp_path: Path) -> None:
    with servers.valkey(tmp_path) as server:
        bench = Bench(server.url)
        try:
            server.kill()
            bench.put(*(crop(track) for track in range(50)))

            began = time.monotonic()
            assert bench.publisher.drain(0.5) == 50
            assert time.monotonic() - began < 2
        finally:
            bench.close()


def test_valkey_without_memory_keeps_the_crops_waiting(tmp_path: Path) -> None:
    """It refuses, it evicts nothing; when the workers have caught up, there is room again."""
    with servers.valkey(tmp_path) as server, Redis.from_url(server.url) as redis:
        bench = Bench(server.url)
        try:
            redis.config_set("maxmemory", "1mb")
            bench.put(*(crop(track) for track in range(10)))

            assert not bench.publisher.publish_once()
            assert len(bench.outbox) == 10

            redis.config_set("maxmemory", "256mb")
            wait_until(bench.publisher.publish_once, what="room")
            [ids] = messages(redis)
            assert len(ids) == 10
            assert all(Crops(redis, KEYRING).get(ids))
        finally:
            bench.close()
