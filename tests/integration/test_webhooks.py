"""Alerts to the outside: real HTTP, a receiver that can be slow, broken or away."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from redis import Redis
from typer.testing import CliRunner

from deploy.local.parts import free_ports
from lookout.cli.dead_letters import app as dead_letters
from lookout.clock import now_us
from lookout.queue import DELIVERIES, celery_app
from lookout.stores.registry.tables import Alert, Delivery, new_id
from lookout.targets import remove_target
from tests.people import GROUP, SECRET, crop, man_a
from tests.servers import wait_until
from tests.workplace import Workplace, worker
from workers import alerts, maintenance
from workers.crops import process
from workers.deliveries import LEASE_S, MAX_ATTEMPTS, deliver, due, retry_delay_s

SECOND = 1_000_000
HOUR = 3600 * SECOND
DOCUMENTED = Path(__file__).parents[2] / "docs" / "alerts.md"


@dataclass(frozen=True)
class Request:
    """What a receiver was sent."""

    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def event(self) -> dict[str, Any]:
        """The body as JSON."""
        content: dict[str, Any] = json.loads(self.body)
        return content


@dataclass
class Receiver:
    """A webhook's other end. It answers with `statuses` in turn, and with the last one from then on."""

    url: str
    requests: list[Request] = field(default_factory=list)
    statuses: list[int] = field(default_factory=lambda: [200])
    #: It answers only while this is set.
    answers: threading.Event = field(default_factory=threading.Event)
    #: It announces a long answer that never comes.
    endless: bool = False
    #: Called before an answer.
    meanwhile: Callable[[], object] = lambda: None


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            headers = {name.lower(): value for name, value in self.headers.items()}
            made.requests.append(Request(self.path, headers, body))
            made.meanwhile()
            made.answers.wait(30)
            self.send_response(made.statuses.pop(0) if len(made.statuses) > 1 else made.statuses[0])
            self.send_header("content-length", "1000000" if made.endless else "0")
            self.send_header("location", "/elsewhere")
            self.end_headers()
            if made.endless:
                over.wait(30)

        def log_message(self, *_: object) -> None:
            pass

    over = threading.Event()
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    made = Receiver(f"http://127.0.0.1:{server.server_port}/hook")
    made.answers.set()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    yield made
    over.set()
    made.answers.set()
    server.shutdown()
    server.server_close()
    thread.join()


def see(workplace: Workplace, *, face: int = 0, track: int = 0, group: str = GROUP, at_us: int | None = None) -> None:
    """Man A is seen, and the crop is done."""
    seen = crop(man_a(workplace.assets)[face], track=track, camera=group, group=group, at_us=at_us)
    process(workplace.parts, workplace.put(seen))


def deliver_due(workplace: Workplace) -> int:
    ids = due(workplace.registry)
    for delivery_id in ids:
        deliver(workplace.registry, delivery_id)
    return len(ids)


def the_delivery(workplace: Workplace) -> Delivery:
    (delivery,) = workplace.rows(Delivery)
    return delivery


def set_back(workplace: Workplace) -> None:
    """Let the time of the next attempt come."""
    with workplace.registry.transaction() as session:
        session.get_one(Delivery, the_delivery(workplace).id).next_attempt_at_us = now_us() - 1


def documented_check() -> Callable[[str, dict[str, str], bytes], bool]:
    """How the documentation tells receivers to verify a signature."""
    (code,) = re.findall(r"```python\n(.*?)```", DOCUMENTED.read_text("utf-8"), re.DOTALL)
    names: dict[str, Any] = {}
    exec(code, names)  # noqa: S102 - our own documentation
    check: Callable[[str, dict[str, str], bytes], bool] = names["is_genuine"]
    return check


def test_an_alert_is_told_once_and_signed(workplace: Workplace, receiver: Receiver) -> None:
    target = workplace.enrol_man_a(webhooks=[receiver.url])
    see(workplace)
    assert deliver_due(workplace) == 1

    (request,) = receiver.requests
    (alert,) = workplace.rows(Alert)
    delivery = the_delivery(workplace)
    assert (delivery.state, delivery.attempts, delivery.last_error) == ("delivered", 1, None)
    assert request.path == "/hook"
    assert request.headers["content-type"] == "application/json"
    assert request.headers["idempotency-key"] == request.headers["webhook-id"] == delivery.id
    assert abs(int(request.headers["webhook-timestamp"]) - now_us() / SECOND) < 30

    is_genuine = documented_check()
    assert is_genuine(SECRET, request.headers, request.body)
    assert not is_genuine(SECRET, request.headers, request.body.replace(b"man A", b"man B"))
    assert not is_genuine(SECRET, {**request.headers, "webhook-timestamp": "1"}, request.body)
    assert not is_genuine(SECRET, {**request.headers, "webhook-id": "another"}, request.body)

    assert request.event["type"] == "alert.opened"
    assert request.event["id"] == delivery.id
    told = request.event["alert"]
    assert told["verdict"] == "unverified", "nobody may act on it"
    assert told["id"] == alert.id
    assert told["target"] == {"id": target.id, "name": "man A"}
    assert told["watchlist"]["name"] == "wanted"
    assert (told["camera_group"], told["tier"], told["threshold"]) == (GROUP, "likely", 0.6)
    assert told["score"] == pytest.approx(alert.score, abs=1e-4)
    assert (told["closed_at"], told["updates"]) == (None, 0)

    assert deliver_due(workplace) == 0
    deliver(workplace.registry, delivery.id)
    assert len(receiver.requests) == 1, "what was delivered is not delivered again"


def test_opening_updates_and_the_end_are_told(workplace: Workplace, receiver: Receiver) -> None:
    workplace.enrol_man_a(webhooks=[receiver.url])
    at_us = now_us() - 100 * SECOND
    for number, face in enumerate((1, 2)):
        see(workplace, face=face, track=number, at_us=at_us + number * SECOND)
        deliver_due(workplace)
    with workplace.registry.transaction() as session:
        assert alerts.close_silent(session, silence_us=30 * SECOND) == 1
    deliver_due(workplace)

    told = [request.event for request in receiver.requests]
    assert [event["type"] for event in told] == ["alert.opened", "alert.updated", "alert.closed"]
    assert len({event["id"] for event in told}) == 3
    assert len({event["alert"]["id"] for event in told}) == 1
    assert told[1]["alert"]["score"] > told[0]["alert"]["score"]
    assert [event["alert"]["updates"] for event in told] == [0, 1, 1]
    assert [event["alert"]["closed_at"] is None for event in told] == [True, True, False]
    assert {event["alert"]["verdict"] for event in told} == {"unverified"}


def test_each_webhook_of_a_watchlist_is_told(workplace: Workplace, receiver: Receiver) -> None:
    workplace.enrol_man_a(webhooks=[f"{receiver.url}/1", f"{receiver.url}/2"])
    see(workplace)
    assert deliver_due(workplace) == 2
    assert sorted(request.path for request in receiver.requests) == ["/hook/1", "/hook/2"]
    assert len({request.headers["idempotency-key"] for request in receiver.requests}) == 2


@pytest.mark.parametrize("status", [500, 429, 404, 302])
def test_what_is_refused_is_sent_again_as_the_same_event(workplace: Workplace, receiver: Receiver, status: int) -> None:
    receiver.statuses = [status, 200]
    workplace.enrol_man_a(webhooks=[receiver.url])
    see(workplace)
    deliver_due(workplace)

    delivery = the_delivery(workplace)
    assert (delivery.state, delivery.attempts, delivery.last_error) == ("pending", 1, f"HTTP {status}")
    assert retry_delay_s(1, 0) - 1 < (delivery.next_attempt_at_us - now_us()) / SECOND <= retry_delay_s(1, 1)
    assert deliver_due(workplace) == 0, "not before its time"
    deliver(workplace.registry, delivery.id)
    assert len(receiver.requests) == 1

    set_back(workplace)
    assert deliver_due(workplace) == 1
    delivery = the_delivery(workplace)
    assert (delivery.state, delivery.attempts, delivery.last_error) == ("delivered", 2, None)
    first, second = receiver.requests
    assert first.path == second.path == "/hook", "redirects are not followed"
    assert first.body == second.body
    assert first.headers["idempotency-key"] == second.headers["idempotency-key"] == delivery.id
    assert documented_check()(SECRET, second.headers, second.body)


def test_of_two_workers_one_delivers(workplace: Workplace, receiver: Receiver) -> None:
    workplace.enrol_man_a(webhooks=[receiver.url])
    for turn in range(10):
        see(workplace, group=f"group {turn}")
    together = threading.Barrier(2)

    def deliver_together(delivery_id: str) -> None:
        together.wait(10)
        deliver(workplace.registry, delivery_id)

    with ThreadPoolExecutor(2) as pool:
        for delivery_id in due(workplace.registry):
            list(pool.map(deliver_together, [delivery_id, delivery_id]))
    assert sorted(request.headers["webhook-id"] for request in receiver.requests) == sorted(
        delivery.id for delivery in workplace.rows(Delivery)
    )
    assert {(delivery.state, delivery.attempts) for delivery in workplace.rows(Delivery)} == {("delivered", 1)}


def test_an_attempt_whose_worker_died_is_made_again(
    workplace: Workplace, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    workplace.enrol_man_a(webhooks=[receiver.url])
    see(workplace)

    def die(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("workers.deliveries._post", die)
        with pytest.raises(KeyboardInterrupt):
            deliver_due(workplace)
    delivery = the_delivery(workplace)
    assert (delivery.state, delivery.attempts) == ("pending", 1)
    assert LEASE_S - 30 < (delivery.next_attempt_at_us - now_us()) / SECOND <= LEASE_S
    set_back(workplace)
    deliver_due(workplace)
    assert the_delivery(workplace).state == "delivered"
    assert len(receiver.requests) == 1


def test_nobody_there_is_asked_less_and_less_often_and_given_up(
    workplace: Workplace, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    (port,) = free_ports(1)
    workplace.enrol_man_a(webhooks=[f"http://user:hush@127.0.0.1:{port}/hook"])
    see(workplace)
    waits = []
    for attempt in range(1, MAX_ATTEMPTS + 1):
        assert the_delivery(workplace).state == "pending"
        deliver_due(workplace)
        delivery = the_delivery(workplace)
        assert delivery.attempts == attempt
        assert (delivery.last_error or "").startswith("ConnectError: ")
        assert "hush" not in (delivery.last_error or "")
        waits.append(delivery.next_attempt_at_us - now_us())
        set_back(workplace)
    growing = waits[:-2]  # the last ones are as long as a wait may be
    assert growing == sorted(growing)
    assert growing[0] < 3 * SECOND
    assert growing[-1] > 2 * HOUR
    assert max(waits) < 8 * HOUR

    delivery = the_delivery(workplace)
    assert delivery.state == "dead"
    assert deliver_due(workplace) == 0
    rows = json.loads(command(workplace, monkeypatch, "list", "--json"))
    assert [(row["id"], row["kind"], row["attempts"]) for row in rows] == [(delivery.id, "delivery", MAX_ATTEMPTS)]
    assert rows[0]["what"] == f"alert.opened to http://…@127.0.0.1:{port}/hook"
    assert "hush" not in str(rows)

    with workplace.registry.transaction() as session:
        session.get_one(Delivery, delivery.id, populate_existing=True).webhook.url = receiver.url
    assert command(workplace, monkeypatch, "replay", delivery.id) == "1 sent again\n"
    assert deliver_due(workplace) == 1
    assert the_delivery(workplace).state == "delivered"
    assert [request.headers["idempotency-key"] for request in receiver.requests] == [delivery.id]
    assert json.loads(command(workplace, monkeypatch, "list", "--json")) == []


def command(workplace: Workplace, monkeypatch: pytest.MonkeyPatch, *arguments: str) -> str:
    """What `lookout dead-letters` prints."""
    with monkeypatch.context() as patch:
        patch.setenv("LOOKOUT_HOME", str(workplace.settings.home))
        patch.setenv("LOOKOUT_REDIS_URL", workplace.settings.redis_url.get_secret_value())
        patch.setenv("LOOKOUT_DATABASE_URL", workplace.settings.database_url)
        return CliRunner().invoke(dead_letters, arguments, catch_exceptions=False).stdout


def test_an_answer_that_never_ends_is_an_answer(workplace: Workplace, receiver: Receiver) -> None:
    receiver.endless = True
    workplace.enrol_man_a(webhooks=[receiver.url])
    see(workplace)
    deliver_due(workplace)
    assert the_delivery(workplace).state == "delivered"


def test_a_receiver_that_takes_too_long_is_tried_again(
    workplace: Workplace, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("workers.deliveries.TIMEOUT_S", 0.2)
    receiver.answers.clear()
    workplace.enrol_man_a(webhooks=[receiver.url])
    see(workplace)
    deliver_due(workplace)
    delivery = the_delivery(workplace)
    assert delivery.state == "pending"
    assert (delivery.last_error or "").startswith("ReadTimeout")


def test_who_is_erased_during_a_delivery(workplace: Workplace, receiver: Receiver) -> None:
    workplace.enrol_man_a(webhooks=[receiver.url])
    see(workplace)
    receiver.meanwhile = lambda: remove_target(
        workplace.registry, workplace.parts.blobs, watchlist="wanted", name="man A"
    )
    deliver_due(workplace)
    assert len(receiver.requests) == 1
    assert workplace.rows(Delivery) == []


def test_slow_receivers_do_not_fill_the_queue(workplace: Workplace, receiver: Receiver, redis: Redis) -> None:
    workplace.enrol_man_a(webhooks=[f"{receiver.url}/{number}" for number in range(5)])
    see(workplace)
    app = celery_app(workplace.settings)
    for _ in range(3):
        maintenance.relay_deliveries(app, workplace.parts)
        assert redis.llen(DELIVERIES) == 5


@pytest.mark.parametrize("registry", ["sqlite"], indirect=True)
def test_a_slow_receiver_holds_up_nobody_else(workplace: Workplace, receiver: Receiver) -> None:
    workplace.settings = workplace.settings.model_copy(update={"alert_silence_s": 1.0})
    receiver.answers.clear()
    workplace.enrol_man_a(webhooks=[receiver.url])
    faces = man_a(workplace.assets)
    with (
        worker(workplace.settings, "--queues", "crops"),
        worker(workplace.settings, "--queues", "deliveries,maintenance", "--concurrency", "2") as courier,
    ):
        workplace.send(crop(faces[0], track=1, group="first"))
        wait_until(lambda: receiver.requests, 30, "a delivery that hangs")

        workplace.send(crop(faces[1], track=2, group="second"), crop(faces[2], track=3, group="third"))
        wait_until(lambda: len(workplace.rows(Alert)) == 3, 10, "alerts meanwhile")
        enrolled = workplace.enrol_man_a(watchlist=f"new {new_id()}")
        workplace.send(crop(faces[3], track=4, group="fourth"))
        wait_until(lambda: len(workplace.rows(Alert)) == 5, 10, "alerts of two watchlists")
        assert enrolled.id in {alert.target_id for alert in workplace.rows(Alert)}

        receiver.answers.set()
        wait_until(lambda: [row.state for row in workplace.rows(Delivery)] == ["delivered"] * 8, 30, "all delivered")
        assert courier.end() == 0
    assert all(alert.closed_at_us is not None for alert in workplace.rows(Alert))
    # On a slow machine the first may have been tried again: the key is the same then.
    events = {request.headers["idempotency-key"]: request.event for request in receiver.requests}
    told = sorted((event["alert"]["camera_group"], event["type"]) for event in events.values())
    groups = ("first", "fourth", "second", "third")
    assert told == [(group, event) for group in groups for event in ("alert.closed", "alert.opened")]
