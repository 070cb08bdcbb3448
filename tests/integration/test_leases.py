"""Ingest processes that share the cameras through a real Valkey."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Collection, Iterator
from itertools import combinations
from pathlib import Path

import pytest
from redis import Redis

from ingest import leases as leases_module
from ingest.leases import TICK_S, Leases, wait_for_redis
from tests import servers
from tests.servers import wait_until

CAMERAS = ["entrance", "lobby", "yard"]


class Process(Leases):
    """A process that is told of some cameras."""

    def __init__(self, redis: Redis, cameras: Collection[str]) -> None:
        super().__init__(redis)
        self.cameras = cameras

    def tick_once(self) -> set[str]:
        return self.tick(self.cameras)


Join = Callable[..., Process]


def settle(*processes: Process) -> list[int]:
    """Let processes tick until nothing changes; returns how many cameras each holds, the most first."""
    before: list[set[str]] = []
    for _ in range(10):
        now = [process.tick_once() for process in processes]
        assert not any(a & b for a, b in combinations(now, 2)), "no camera is held by two"
        if now == before:
            return sorted(map(len, now), reverse=True)
        before = now
    raise AssertionError(f"they do not settle: {before}")


def watched(*processes: Process) -> list[str]:
    return sorted(camera for process in processes for camera in process.held)


@pytest.fixture
def join(valkey_server: servers.Server, redis: Redis) -> Iterator[Join]:
    """Start another process, with a connection of its own."""
    with contextlib.ExitStack() as connections:

        def start(cameras: list[str] = CAMERAS) -> Process:
            return Process(connections.enter_context(Redis.from_url(valkey_server.url)), cameras)

        yield start


@pytest.fixture
def short(monkeypatch: pytest.MonkeyPatch) -> float:
    """Leases that run out soon."""
    monkeypatch.setattr(leases_module, "LEASE_S", 0.4)
    return 0.4


@pytest.mark.parametrize(
    ("cameras", "processes", "shares"),
    [(3, 1, [3]), (3, 2, [2, 1]), (3, 3, [1, 1, 1]), (3, 4, [1, 1, 1, 0]), (10, 3, [4, 4, 2]), (0, 2, [0, 0])],
)
def test_processes_share_the_cameras(join: Join, cameras: int, processes: int, shares: list[int]) -> None:
    names = [f"camera-{number}" for number in range(cameras)]
    all_of_them = [join(names) for _ in range(processes)]

    assert settle(*all_of_them) == shares
    assert watched(*all_of_them) == sorted(names)


def test_who_joins_later_gets_a_share(join: Join) -> None:
    first = join()
    assert settle(first) == [3]

    second = join()
    assert settle(first, second) == [2, 1]
    held = first.held, second.held
    assert settle(first, second) == [2, 1]
    assert (first.held, second.held) == held, "nobody's cameras move without need"

    third = join()
    assert settle(first, second, third) == [1, 1, 1]
    assert watched(first, second, third) == CAMERAS


def test_a_process_that_dies_is_replaced_within_ten_seconds(join: Join) -> None:
    first, second = join(), join()
    settle(first, second)
    kept = second.held
    assert kept < set(CAMERAS)

    began = time.monotonic()
    # The first one ticks no more; the second one as its main loop does.
    ticks: list[float] = []

    def second_has_all() -> bool:
        if not ticks or time.monotonic() - ticks[-1] >= TICK_S:
            ticks.append(time.monotonic())
            assert second.tick_once() >= kept
        return second.held == set(CAMERAS)

    wait_until(second_has_all, 10, what="the takeover")
    assert time.monotonic() - began > 2, "not sooner either than the first one would have been missed"


def test_a_clean_end_leaves_the_cameras_at_once(join: Join, redis: Redis) -> None:
    first, second = join(), join()
    settle(first, second)

    first.release_all()

    assert first.held == set()
    assert second.tick_once() == set(CAMERAS)
    second.release_all()
    assert redis.keys("*") == [], "nothing is left behind"


def test_a_process_that_comes_back_after_a_long_pause_gives_way(join: Join, short: float) -> None:
    first, second = join(), join()
    settle(first, second)
    wait_until(lambda: second.tick_once() == set(CAMERAS), 5, what="the takeover")

    # The first one was suspended, and believes still that it has its cameras.
    assert first.held & second.held
    first.tick_once()

    assert not first.held & second.held
    assert settle(first, second) == [2, 1]
    assert watched(first, second) == CAMERAS


def test_one_that_was_paused_alone_takes_its_cameras_again(join: Join, redis: Redis, short: float) -> None:
    first = join()
    settle(first)
    wait_until(lambda: not redis.keys("lease:*"), 5, what="the end of the leases")

    assert first.tick_once() == set(CAMERAS)
    assert len(redis.keys("lease:*")) == 3


def test_leases_are_held_while_they_are_renewed(join: Join, redis: Redis, short: float) -> None:
    first = join()
    settle(first)
    names = {f"lease:camera:{camera}".encode() for camera in CAMERAS}

    until = time.monotonic() + 3 * short
    wait_until(lambda: first.tick_once() == set(CAMERAS) and time.monotonic() > until, what="time to pass")
    assert set(redis.keys("lease:*")) == names
    assert all(0 < int(redis.pttl(name)) <= 1000 * short for name in names)


@pytest.mark.parametrize("forgets", [False, True])
def test_redis_goes_and_returns(tmp_path: Path, forgets: bool) -> None:
    with servers.valkey(tmp_path) as server, Redis.from_url(server.url) as mine, Redis.from_url(server.url) as other:
        first, second = Process(mine, CAMERAS), Process(other, CAMERAS)
        settle(first, second)
        before = first.held, second.held

        server.kill()
        began = time.monotonic()
        for _ in range(3):
            assert (first.tick_once(), second.tick_once()) == before, "nobody can take them now"
        assert time.monotonic() - began < 2, "the main loop has more to do than to wait for Redis"

        server.start()
        if forgets:
            mine.flushall()
        assert settle(first, second) == [2, 1]
        assert watched(first, second) == CAMERAS
        assert forgets or (first.held, second.held) == before


def test_an_end_without_redis(tmp_path: Path) -> None:
    with servers.valkey(tmp_path) as server, Redis.from_url(server.url) as redis:
        only = Process(redis, CAMERAS)
        settle(only)
        server.kill()

        began = time.monotonic()
        only.release_all()

        assert time.monotonic() - began < 1


def test_waiting_for_redis(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with servers.valkey(tmp_path) as server, Redis.from_url(server.url) as redis:
        server.kill()
        stop = threading.Event()
        waiting = threading.Thread(target=wait_for_redis, args=(redis, stop))
        waiting.start()
        wait_until(lambda: "waiting for Redis" in caplog.text, what="the wait")
        assert waiting.is_alive()

        server.start()
        waiting.join(5)
        assert not waiting.is_alive()

        server.kill()
        waiting = threading.Thread(target=wait_for_redis, args=(redis, stop))
        waiting.start()
        stop.set()
        waiting.join(5)
        assert not waiting.is_alive(), "who is told to stop waits no longer"
