"""The alert wall live, over real HTTP on both databases: nothing is left out, nothing comes twice."""

from __future__ import annotations

import contextlib
import json
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx2
import pytest
from sqlalchemy import delete, func, select

from deploy.local.parts import free_ports
from lookout.accounts.rights import identity
from lookout.accounts.users import change_user, find_user
from lookout.alerts.records import event, find_alert
from lookout.alerts.verdicts import judge
from lookout.alerts.wall import events_after
from lookout.audit import SYSTEM
from lookout.stores.registry import Registry
from lookout.stores.registry.tables import Alert, AlertEvent, Target, User, Verdict
from search import live
from tests.servers import wait_until
from tests.wall import parts_on, put_alert, put_target, serve, token_of

Headers = dict[str, str]


class Reader:
    """A program that listens, and keeps what it hears."""

    def __init__(self, url: str, headers: Headers, after: int | None = None) -> None:
        self.heard: list[tuple[int, str, str]] = []
        self.status = 0
        self.ended = threading.Event()
        self._url = f"{url}/api/v1/alerts/events"
        self._headers = headers | ({} if after is None else {"Last-Event-ID": str(after)})
        self._thread = threading.Thread(target=self._listen, daemon=True)
        self._thread.start()

    def names(self) -> list[str]:
        return [name for _, name, _ in self.heard]

    def numbers(self) -> list[int]:
        return [number for number, name, _ in self.heard if name not in ("ready", "reload")]

    def alerts(self) -> list[str]:
        return [json.loads(data)["alert"]["id"] for _, name, data in self.heard if name not in ("ready", "reload")]

    def _listen(self) -> None:
        with (
            contextlib.suppress(httpx2.HTTPError),
            httpx2.Client(timeout=30) as client,
            client.stream("GET", self._url, headers=self._headers) as answer,
        ):
            self.status = answer.status_code
            fields: dict[str, str] = {}
            for line in answer.iter_lines():
                if line:
                    name, _, value = line.partition(": ")
                    fields[name] = fields[name] + "\n" + value if name in fields else value
                else:
                    if "data" in fields:
                        self.heard.append((int(fields["id"]), fields["event"], fields["data"]))
                    fields = {}
        self.ended.set()


def ready(reader: Reader) -> Reader:
    wait_until(lambda: reader.heard, what="listening")
    return reader


@pytest.fixture
def anna(registry: Registry) -> Headers:
    with registry.transaction() as session:
        put_target(session, "w", "t")
        put_target(session, "v", "u")
        return token_of(session, "anna")


@pytest.fixture
def url(registry: Registry, tmp_path: Path) -> Iterator[str]:
    parts = parts_on(registry, tmp_path)
    with serve(parts) as found:
        yield found
    parts.registry.close()
    parts.redis.close()


def test_events_arrive_live_with_the_alert_as_it_is(registry: Registry, url: str, anna: Headers) -> None:
    reader = ready(Reader(url, anna))

    with registry.transaction() as session:
        put_alert(session, "t", "a", open_=True)
    wait_until(lambda: len(reader.heard) == 2, what="opened")
    with registry.transaction() as session:
        session.get_one(Alert, "a").closed_at_us = 1
        event(session, "a", "closed")
    wait_until(lambda: len(reader.heard) == 3, what="closed")

    assert reader.names() == ["ready", "opened", "closed"]
    opened, closed = (json.loads(data)["alert"] for _, _, data in reader.heard[1:])
    assert opened["verdict"] == "unverified"
    assert (opened["closed_at"] is None, closed["closed_at"] is None) == (True, False)


def test_a_restart_loses_and_doubles_nothing_while_others_write(
    registry: Registry, anna: Headers, tmp_path: Path
) -> None:
    """Writers go on all the time; the service is stopped and started anew twice in between."""
    stop = threading.Event()
    written: list[str] = []

    def write(writer: int) -> None:
        number = 0
        while not stop.wait(0.01) and number < 500:
            alert_id = f"{writer}-{number}"
            with registry.transaction() as session:
                put_alert(session, "t" if writer % 2 else "u", alert_id, at_us=number)
            written.append(alert_id)
            number += 1

    heard: list[tuple[int, str]] = []
    with ThreadPoolExecutor(4) as pool:
        writers = [pool.submit(write, writer) for writer in range(4)]
        try:
            after = 0
            for _ in range(3):
                parts = parts_on(registry, tmp_path)
                with serve(parts, free_ports(1)[0]) as url:
                    reader = ready(Reader(url, anna, after))
                    enough = len(written) + 40
                    wait_until(lambda: len(written) >= enough, 30, what="alerts written")  # noqa: B023
                    wait_until(lambda: len(reader.heard) > 10, what="events heard")  # noqa: B023
                reader.ended.wait(10)
                events = zip(
                    [number for number, name, _ in reader.heard if name != "ready"], reader.alerts(), strict=True
                )
                heard += list(events)
                after = heard[-1][0]
                parts.registry.close()
                parts.redis.close()
        finally:
            stop.set()
        for writer in writers:
            writer.result(10)
    parts = parts_on(registry, tmp_path)
    with serve(parts) as url:
        reader = ready(Reader(url, anna, after))
        wait_until(lambda: len(heard) + len(reader.alerts()) >= len(written), what="the rest")
    heard += zip(reader.numbers(), reader.alerts(), strict=True)

    numbers = [number for number, _ in heard]
    assert numbers == sorted(set(numbers))
    assert sorted(alert for _, alert in heard) == sorted(written)
    with registry.reading() as session:
        assert len(heard) == session.scalar(select(func.count()).select_from(AlertEvent))


def test_only_what_one_may_see_comes_live_and_later(registry: Registry, url: str, anna: Headers) -> None:
    with registry.transaction() as session:
        ben = token_of(session, "ben", watchlists=["w"], groups=["doors"])
    places = [("t", "doors"), ("t", "yard"), ("u", "doors"), ("u", "yard")]
    reader = ready(Reader(url, ben))

    with registry.transaction() as session:
        for target, group in places:
            put_alert(session, target, f"{target}-{group}", group=group)
        put_alert(session, "t", "last")
    wait_until(lambda: "last" in reader.alerts(), what="the last one")
    later = ready(Reader(url, ben, 0))
    wait_until(lambda: "last" in later.alerts(), what="the last one, later")

    assert reader.alerts() == later.alerts() == ["t-doors", "last"]


def test_who_may_no_more_hears_no_more(
    registry: Registry, url: str, anna: Headers, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(live, "RIGHTS_S", 0.0)
    monkeypatch.setattr(live, "HEARTBEAT_S", 0.2)
    reader = ready(Reader(url, anna))

    with registry.transaction() as session:
        user = find_user(session, "anna")
        token_of(session, "chief", "admin")
        change_user(session, SYSTEM, user, role="operator", watchlist_ids=None, camera_groups=None, disabled=True)

    assert reader.ended.wait(10)
    assert Reader(url, anna).ended.wait(10)


def test_who_missed_what_is_gone_is_told_to_read_anew(registry: Registry, url: str, anna: Headers) -> None:
    with registry.transaction() as session:
        for number in range(5):
            put_alert(session, "t", f"{number}")
    with registry.transaction() as session:
        ids = list(session.scalars(select(AlertEvent.id).order_by(AlertEvent.id)))
        session.execute(delete(AlertEvent).where(AlertEvent.id < ids[3]))

    knows = ready(Reader(url, anna, ids[2]))
    wait_until(lambda: len(knows.heard) == 3, what="two events")

    assert knows.alerts() == ["3", "4"]
    assert ready(Reader(url, anna, ids[1])).names() == ["reload"]
    assert ready(Reader(url, anna, ids[4] + 7)).names() == ["reload"]


def test_there_is_a_bound_on_listeners(url: str, anna: Headers, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live, "LISTENERS", 1)
    first = ready(Reader(url, anna))

    second = httpx2.get(f"{url}/api/v1/alerts/events", headers=anna)

    assert first.status == 200
    assert second.status_code == 503
    assert second.headers["content-type"] == "application/problem+json"


def test_a_listener_that_is_too_slow_is_cut_off(registry: Registry) -> None:
    listener = live.Listener()
    with registry.transaction() as session:
        put_target(session, "w", "t")
        put_alert(session, "t", "a")
    with registry.reading() as session:
        (happened,) = events_after(session, 0, 10)

    slow = []
    for _ in range(live.QUEUE + 1):
        listener.offer(happened)
        slow.append(listener.ended)

    assert slow == [False] * live.QUEUE + [True]
    assert listener.waiting.qsize() == live.QUEUE


def test_two_persons_judging_at_once_both_count(registry: Registry) -> None:
    with registry.transaction() as session:
        put_target(session, "w", "t", two_person_tiers=["likely"])
        for number in range(10):
            put_alert(session, "t", f"{number}")
        token_of(session, "anna")
        token_of(session, "ben")
    start = threading.Barrier(2, timeout=10)

    def speak(name: str) -> None:
        with registry.reading() as session:
            who = identity(session.scalars(select(User).where(User.name == name)).one(), via="token", address="")
        for number in range(10):
            start.wait()
            with registry.transaction() as session:
                alert = find_alert(session, who, f"{number}", lock=True)
                judge(session, who.actor, who.user_id, alert, "rejected", "another nose")

    with ThreadPoolExecutor(2) as pool:
        for spoken in [pool.submit(speak, name) for name in ("anna", "ben")]:
            spoken.result(60)

    with registry.reading() as session:
        assert set(session.scalars(select(Alert.verdict))) == {"rejected"}
        assert session.scalar(select(func.count()).select_from(Verdict)) == 20


def test_judging_waits_for_whoever_holds_the_target(registry: Registry) -> None:
    """A worker locks the target, then its alerts; so must who judges, or both would wait for ever."""
    with registry.transaction() as session:
        put_target(session, "w", "t")
        put_alert(session, "t", "a")
        token_of(session, "anna")
        who = identity(session.scalars(select(User)).one(), via="token", address="")

    def speak() -> None:
        with registry.transaction() as session:
            alert = find_alert(session, who, "a", lock=True)
            judge(session, who.actor, who.user_id, alert, "rejected", "another nose")

    with ThreadPoolExecutor(1) as pool:
        with registry.transaction() as session:
            session.get_one(Target, "t", with_for_update=True)
            spoken = pool.submit(speak)
            with pytest.raises(TimeoutError):
                spoken.result(0.5)
            session.get_one(Alert, "a", with_for_update=True).updates = 1
        spoken.result(20)

    with registry.reading() as session:
        alert = session.get_one(Alert, "a")
        assert (alert.verdict, alert.updates) == ("rejected", 1)
