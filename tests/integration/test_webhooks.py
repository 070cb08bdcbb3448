"""Alerts to the outside: real HTTP, a receiver that can be slow, broken or away."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pytest
from redis import Redis
from sqlalchemy import select, text
from typer.testing import CliRunner

from deploy.local.parts import free_ports
from lookout.alerts import webhooks
from lookout.audit import SYSTEM
from lookout.cli.dead_letters import app as dead_letters
from lookout.clock import now_us
from lookout.erasure import erase_target
from lookout.errors import BadInputError, ConflictError
from lookout.queue import DELIVERIES, celery_app
from lookout.sealing import Keyring
from lookout.secret_files import read_or_make, secret_path
from lookout.stores.registry import Registry
from lookout.stores.registry.tables import (
    Alert,
    AuditEntry,
    Base,
    Delivery,
    Target,
    User,
    Verdict,
    Watchlist,
    Webhook,
    new_id,
)
from tests.people import GROUP, crop, man_a
from tests.receiver import Receiver, documented_check, listening
from tests.servers import Server, wait_until
from tests.workplace import Workplace, worker
from workers import alerts, maintenance
from workers.crops import process
from workers.deliveries import LEASE_S, MAX_ATTEMPTS, deliver, due, retry_delay_s

SECOND = 1_000_000
HOUR = 3600 * SECOND


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with listening() as made:
        yield made


@dataclass
class Outbox:
    """A watchlist with webhooks, and what was put by for them."""

    registry: Registry
    keyring: Keyring
    watchlist_id: str = "w"

    def hook(self, url: str) -> str:
        """Add a webhook; returns its secret."""
        with self.registry.transaction() as session:
            watchlist = session.get_one(Watchlist, self.watchlist_id)
            return webhooks.create_webhook(session, SYSTEM, self.keyring, watchlist, url)[1]

    def see(self, number: int = 0) -> str:
        """An alert of the target; returns its id."""
        with self.registry.transaction() as session:
            now = now_us()
            alert = Alert(
                id=f"{number:032}", target_id="t", camera_group=f"group {number}", camera_id="door", tier="likely",
                score=0.7, threshold=0.6, candidates=[], first_captured_at_us=now, last_seen_at_us=now, latency_us=1,
                stored_at_us=now,
            )  # fmt: skip
            session.add(alert)
            session.flush()
            webhooks.enqueue(session, alert, webhooks.OPENED)
            return alert.id

    def deliver_due(self) -> int:
        """Do what the workers do every second; returns how many were tried."""
        ids = due(self.registry)
        for delivery_id in ids:
            deliver(self.registry, self.keyring, delivery_id)
        return len(ids)

    def deliveries(self) -> list[Delivery]:
        """Oldest first."""
        with self.registry.reading() as session:
            return list(session.scalars(select(Delivery).order_by(Delivery.created_at_us, Delivery.id)))

    def the_delivery(self) -> Delivery:
        (delivery,) = self.deliveries()
        return delivery

    def set_back(self) -> None:
        """Let the time of all next attempts come."""
        with self.registry.transaction() as session:
            for delivery in session.scalars(select(Delivery)):
                delivery.next_attempt_at_us = now_us() - 1

    def enable(self, *, enabled: bool) -> None:
        """Enable or disable the one webhook."""
        with self.registry.transaction() as session:
            webhooks.change(session, SYSTEM, session.scalars(select(Webhook)).one(), enabled=enabled)


@pytest.fixture
def outbox(registry: Registry, tmp_path: Path) -> Outbox:
    with registry.transaction() as session:
        session.add(Watchlist(id="w", name="wanted", purpose="p", legal_basis="l", created_at_us=0))
        session.flush()
        session.add(Target(id="t", watchlist_id="w", name="man A", created_at_us=0))
    keys = read_or_make(secret_path(tmp_path, "data_keys"), Keyring.new_key)
    return Outbox(registry, Keyring.parse(keys))


def enrolled(workplace: Workplace, *urls: str) -> tuple[Outbox, Target, list[str]]:
    """Man A on a watchlist with these webhooks, for tests of the whole way; and the webhooks' secrets."""
    target = workplace.enrol_man_a()
    box = Outbox(workplace.registry, workplace.parts.keyring, target.watchlist_id)
    return box, target, [box.hook(url) for url in urls]


def see(workplace: Workplace, *, face: int = 0, track: int = 0, group: str = GROUP, at_us: int | None = None) -> None:
    """Man A is seen, and the crop is done."""
    seen = crop(man_a(workplace.assets)[face], track=track, camera=group, group=group, at_us=at_us)
    process(workplace.parts, workplace.put(seen))


def test_an_alert_is_told_once_and_signed(workplace: Workplace, receiver: Receiver) -> None:
    box, target, (secret,) = enrolled(workplace, receiver.url)
    see(workplace)
    assert box.deliver_due() == 1

    (request,) = receiver.requests
    (alert,) = workplace.rows(Alert)
    delivery = box.the_delivery()
    assert (delivery.state, delivery.attempts, delivery.last_error) == ("delivered", 1, None)
    assert abs((delivery.last_attempt_at_us or 0) - now_us()) < 30 * SECOND
    assert request.path == "/hook"
    assert request.headers["content-type"] == "application/json"
    assert request.headers["idempotency-key"] == request.headers["webhook-id"] == delivery.id
    assert abs(int(request.headers["webhook-timestamp"]) - now_us() / SECOND) < 30

    is_genuine = documented_check()
    assert is_genuine(secret, request.headers, request.body)
    assert not is_genuine(secret, request.headers, request.body.replace(b"man A", b"man B"))
    assert not is_genuine(secret, {**request.headers, "webhook-timestamp": "1"}, request.body)
    assert not is_genuine(secret, {**request.headers, "webhook-id": "another"}, request.body)

    assert request.event["type"] == "alert.opened"
    assert request.event["id"] == delivery.id
    told = request.event["alert"]
    assert told["verdict"] == "unverified", "nobody may act on it"
    assert told["id"] == alert.id
    assert told["target"] == {"id": target.id, "name": "man A"}
    assert told["watchlist"]["name"] == "wanted"
    assert (told["camera_group"], told["tier"]) == (GROUP, "likely")
    assert told["threshold"] == pytest.approx(alert.threshold, abs=1e-4)
    assert told["score"] == pytest.approx(alert.score, abs=1e-4)
    assert (told["closed_at"], told["updates"]) == (None, 0)

    assert box.deliver_due() == 0
    deliver(box.registry, box.keyring, delivery.id)
    assert len(receiver.requests) == 1, "what was delivered is not delivered again"


def test_opening_updates_and_the_end_are_told(workplace: Workplace, receiver: Receiver) -> None:
    box, _, _ = enrolled(workplace, receiver.url)
    at_us = now_us() - 100 * SECOND
    for number, face in enumerate((1, 2)):
        see(workplace, face=face, track=number, at_us=at_us + number * SECOND)
        box.deliver_due()
    with workplace.registry.transaction() as session:
        assert alerts.close_silent(session, silence_us=30 * SECOND) == 1
    box.deliver_due()

    told = [request.event for request in receiver.requests]
    assert [event["type"] for event in told] == ["alert.opened", "alert.updated", "alert.closed"]
    assert len({event["id"] for event in told}) == 3
    assert len({event["alert"]["id"] for event in told}) == 1
    assert told[1]["alert"]["score"] > told[0]["alert"]["score"]
    assert [event["alert"]["updates"] for event in told] == [0, 1, 1]
    assert [event["alert"]["closed_at"] is None for event in told] == [True, True, False]
    assert {event["alert"]["verdict"] for event in told} == {"unverified"}


def test_each_webhook_of_a_watchlist_is_told(outbox: Outbox, receiver: Receiver) -> None:
    secrets = {f"/hook/{number}": outbox.hook(f"{receiver.url}/{number}") for number in (1, 2)}
    outbox.see()
    assert outbox.deliver_due() == 2
    assert sorted(request.path for request in receiver.requests) == sorted(secrets)
    assert len({request.headers["idempotency-key"] for request in receiver.requests}) == 2
    for request in receiver.requests:
        assert documented_check()(secrets[request.path], request.headers, request.body)


def test_a_verdict_is_told_each_time_it_changes(outbox: Outbox, receiver: Receiver) -> None:
    outbox.hook(receiver.url)
    alert_id = outbox.see()
    with outbox.registry.transaction() as session:
        session.add(User(id="u", name="u", role="operator", created_at_us=0))
    for verdict in ("confirmed", "rejected"):
        for _ in range(2):  # the second time tells nothing new
            with outbox.registry.transaction() as session:
                alert = session.get_one(Alert, alert_id)
                if alert.verdict != verdict:
                    session.add(Verdict(alert_id=alert_id, user_id="u", verdict=verdict, at_us=now_us()))
                    alert.verdict = verdict
                webhooks.enqueue(session, alert, webhooks.JUDGED)
    outbox.deliver_due()
    told = [(request.event["type"], request.event["alert"]["verdict"]) for request in receiver.requests]
    assert told == [("alert.opened", "unverified"), ("alert.judged", "confirmed"), ("alert.judged", "rejected")]


def test_the_secret_is_nowhere_in_the_clear(outbox: Outbox, receiver: Receiver) -> None:
    secret = outbox.hook(receiver.url)
    outbox.see()
    outbox.deliver_due()
    with outbox.registry.reading() as session:
        everything = b"".join(
            repr(row).encode() for table in Base.metadata.sorted_tables for row in session.execute(table.select())
        )
        (sealed,) = session.scalars(select(Webhook.secret))
    assert b"alert.opened" in everything
    assert secret.removeprefix("whsec_").encode() not in everything
    assert sealed.startswith(b"LK1")


def test_a_secret_cannot_be_put_where_another_was(outbox: Outbox, receiver: Receiver) -> None:
    outbox.hook(receiver.url)
    outbox.hook(f"{receiver.url}/other")
    with outbox.registry.transaction() as session:
        one, other = session.scalars(select(Webhook).order_by(Webhook.created_at_us))
        other.secret = one.secret
    outbox.see()
    outbox.deliver_due()
    assert [request.path for request in receiver.requests] == ["/hook"]
    states = {delivery.state: delivery.last_error or "" for delivery in outbox.deliveries()}
    assert set(states) == {"delivered", "pending"}
    assert "cannot be opened" in states["pending"]


def test_a_new_secret_signs_at_once(outbox: Outbox, receiver: Receiver) -> None:
    before = outbox.hook(receiver.url)
    outbox.see()
    with outbox.registry.transaction() as session:
        webhook = session.scalars(select(Webhook)).one()
        secret = webhooks.rotate_secret(session, SYSTEM, outbox.keyring, webhook)
    outbox.deliver_due()
    (request,) = receiver.requests
    assert secret != before
    assert documented_check()(secret, request.headers, request.body)
    assert not documented_check()(before, request.headers, request.body)


def test_what_waits_for_a_disabled_webhook_goes_once_it_is_enabled(outbox: Outbox, receiver: Receiver) -> None:
    outbox.hook(receiver.url)
    outbox.see(1)
    outbox.enable(enabled=False)
    outbox.see(2)
    assert outbox.deliver_due() == 0
    deliver(outbox.registry, outbox.keyring, outbox.the_delivery().id)
    assert receiver.requests == []
    assert outbox.the_delivery().attempts == 0

    outbox.enable(enabled=True)
    assert outbox.deliver_due() == 1
    assert [request.event["alert"]["camera_group"] for request in receiver.requests] == ["group 1"]


def test_a_test_is_sent_once_and_at_once(outbox: Outbox, receiver: Receiver) -> None:
    secret = outbox.hook(receiver.url)
    receiver.statuses = [503, 200]
    for _ in range(2):
        with outbox.registry.transaction() as session:
            webhooks.send_test(session, SYSTEM, session.scalars(select(Webhook)).one())
        assert outbox.deliver_due() == 1
        outbox.set_back()
        assert outbox.deliver_due() == 0, "who waits for it wants to know now"
    assert [(one.state, one.last_error) for one in outbox.deliveries()] == [("dead", "HTTP 503"), ("delivered", None)]
    request = receiver.requests[0]
    assert request.event["type"] == "webhook.test"
    assert request.event["watchlist"] == {"id": "w", "name": "wanted"}
    assert documented_check()(secret, request.headers, request.body)

    outbox.enable(enabled=False)
    with pytest.raises(ConflictError, match="disabled"), outbox.registry.transaction() as session:
        webhooks.send_test(session, SYSTEM, session.scalars(select(Webhook)).one())


def test_a_removed_webhook_takes_along_what_waits(outbox: Outbox, receiver: Receiver) -> None:
    outbox.hook(receiver.url)
    outbox.hook(f"{receiver.url}/other")
    outbox.see()
    with outbox.registry.transaction() as session:
        webhook = session.scalars(select(Webhook).where(Webhook.url == receiver.url)).one()
        webhooks.remove(session, SYSTEM, webhook)
    assert outbox.deliver_due() == 1
    assert [request.path for request in receiver.requests] == ["/hook/other"]


def test_a_webhook_removed_during_an_attempt(outbox: Outbox, receiver: Receiver) -> None:
    def remove() -> None:
        with outbox.registry.transaction() as session:
            webhooks.remove(session, SYSTEM, session.scalars(select(Webhook)).one())

    outbox.hook(receiver.url)
    outbox.see()
    receiver.meanwhile = remove
    assert outbox.deliver_due() == 1
    assert outbox.deliveries() == []


def test_a_webhook_removed_while_an_event_is_put_by_for_it(outbox: Outbox) -> None:
    def remove() -> None:
        with outbox.registry.transaction() as session:
            webhooks.remove(session, SYSTEM, session.scalars(select(Webhook)).one())

    outbox.hook("https://example.org/hook")
    alert_id = outbox.see()
    with ThreadPoolExecutor(1) as pool:
        with outbox.registry.transaction() as session:
            webhooks.enqueue(session, session.get_one(Alert, alert_id), webhooks.CLOSED)
            removed = pool.submit(remove)
        removed.result(20)
    assert outbox.deliveries() == []


def test_an_event_put_by_while_its_webhook_is_removed(outbox: Outbox) -> None:
    def enqueue() -> None:
        with outbox.registry.transaction() as session:
            webhooks.enqueue(session, session.get_one(Alert, alert_id), webhooks.CLOSED)

    outbox.hook("https://example.org/hook")
    alert_id = outbox.see()
    with ThreadPoolExecutor(1) as pool:
        with outbox.registry.transaction() as session:
            webhooks.remove(session, SYSTEM, session.scalars(select(Webhook)).one())
            session.flush()
            enqueued = pool.submit(enqueue)
        enqueued.result(20)
    assert outbox.deliveries() == []


@pytest.mark.parametrize("status", [500, 429, 404, 302])
def test_what_is_refused_is_sent_again_as_the_same_event(outbox: Outbox, receiver: Receiver, status: int) -> None:
    receiver.statuses = [status, 200]
    secret = outbox.hook(receiver.url)
    outbox.see()
    outbox.deliver_due()

    delivery = outbox.the_delivery()
    assert (delivery.state, delivery.attempts, delivery.last_error) == ("pending", 1, f"HTTP {status}")
    assert retry_delay_s(1, 0) - 1 < (delivery.next_attempt_at_us - now_us()) / SECOND <= retry_delay_s(1, 1)
    assert outbox.deliver_due() == 0, "not before its time"
    deliver(outbox.registry, outbox.keyring, delivery.id)
    assert len(receiver.requests) == 1

    outbox.set_back()
    assert outbox.deliver_due() == 1
    delivery = outbox.the_delivery()
    assert (delivery.state, delivery.attempts, delivery.last_error) == ("delivered", 2, None)
    first, second = receiver.requests
    assert first.path == second.path == "/hook", "redirects are not followed"
    assert first.body == second.body
    assert first.headers["idempotency-key"] == second.headers["idempotency-key"] == delivery.id
    assert documented_check()(secret, second.headers, second.body)


def test_of_two_workers_one_delivers(outbox: Outbox, receiver: Receiver) -> None:
    outbox.hook(receiver.url)
    for number in range(10):
        outbox.see(number)
    together = threading.Barrier(2)

    def deliver_together(delivery_id: str) -> None:
        together.wait(10)
        deliver(outbox.registry, outbox.keyring, delivery_id)

    with ThreadPoolExecutor(2) as pool:
        for delivery_id in due(outbox.registry):
            list(pool.map(deliver_together, [delivery_id, delivery_id]))
    deliveries = outbox.deliveries()
    assert sorted(request.headers["webhook-id"] for request in receiver.requests) == sorted(
        delivery.id for delivery in deliveries
    )
    assert {(delivery.state, delivery.attempts) for delivery in deliveries} == {("delivered", 1)}


def test_an_attempt_whose_worker_died_is_made_again(
    outbox: Outbox, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    outbox.hook(receiver.url)
    outbox.see()

    def die(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("workers.deliveries._post", die)
        with pytest.raises(KeyboardInterrupt):
            outbox.deliver_due()
    delivery = outbox.the_delivery()
    assert (delivery.state, delivery.attempts) == ("pending", 1)
    assert LEASE_S - 30 < (delivery.next_attempt_at_us - now_us()) / SECOND <= LEASE_S
    outbox.set_back()
    outbox.deliver_due()
    assert outbox.the_delivery().state == "delivered"
    assert len(receiver.requests) == 1


def test_nobody_there_is_asked_less_and_less_often_and_given_up(
    outbox: Outbox, receiver: Receiver, valkey_server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (port,) = free_ports(1)
    outbox.hook(f"http://user:hush@127.0.0.1:{port}/hook")
    outbox.see()
    waits = []
    for attempt in range(1, MAX_ATTEMPTS + 1):
        assert outbox.the_delivery().state == "pending"
        outbox.deliver_due()
        delivery = outbox.the_delivery()
        assert delivery.attempts == attempt
        assert (delivery.last_error or "").startswith("ConnectError: ")
        assert "hush" not in (delivery.last_error or "")
        waits.append(delivery.next_attempt_at_us - now_us())
        outbox.set_back()
    growing = waits[:-2]  # the last ones are as long as a wait may be
    assert growing == sorted(growing)
    assert growing[0] < 3 * SECOND
    assert growing[-1] > 2 * HOUR
    assert max(waits) < 8 * HOUR

    delivery = outbox.the_delivery()
    assert delivery.state == "dead"
    assert outbox.deliver_due() == 0

    monkeypatch.setenv("LOOKOUT_HOME", str(tmp_path))
    monkeypatch.setenv("LOOKOUT_REDIS_URL", valkey_server.url)
    monkeypatch.setenv("LOOKOUT_DATABASE_URL", outbox.registry.url.render_as_string(hide_password=False))
    rows = json.loads(command("list", "--json"))
    assert [(row["id"], row["kind"], row["attempts"]) for row in rows] == [(delivery.id, "delivery", MAX_ATTEMPTS)]
    assert rows[0]["what"] == f"alert.opened to http://…@127.0.0.1:{port}/hook"
    assert "hush" not in str(rows)

    with outbox.registry.transaction() as session:
        session.scalars(select(Webhook)).one().url = receiver.url
    assert command("replay", delivery.id) == "1 sent again\n"
    assert outbox.deliver_due() == 1
    assert outbox.the_delivery().state == "delivered"
    assert [request.headers["idempotency-key"] for request in receiver.requests] == [delivery.id]
    assert json.loads(command("list", "--json")) == []
    with outbox.registry.reading() as session:
        (entry,) = session.scalars(select(AuditEntry).where(AuditEntry.action == "delivery.replayed"))
    assert (entry.via, entry.subject_id, entry.watchlist_id) == ("cli", delivery.id, "w")


def command(*arguments: str) -> str:
    """What `lookout dead-letters` prints."""
    return CliRunner().invoke(dead_letters, arguments, catch_exceptions=False).stdout


def test_all_dead_letters_of_a_webhook_are_sent_again_but_tests(outbox: Outbox, receiver: Receiver) -> None:
    outbox.hook(receiver.url)
    for number in range(3):
        outbox.see(number)
    with outbox.registry.transaction() as session:
        webhook = session.scalars(select(Webhook)).one()
        webhooks.send_test(session, SYSTEM, webhook)
        for delivery in session.scalars(select(Delivery)).all()[1:]:
            delivery.state = "dead"
            delivery.attempts = MAX_ATTEMPTS
    with outbox.registry.transaction() as session:
        dead = session.scalars(select(Delivery).where(Delivery.state == "dead", Delivery.alert_id.is_not(None))).all()
        assert webhooks.replay_dead(session, SYSTEM, session.scalars(select(Webhook)).one()) == len(dead)
        with pytest.raises(ConflictError, match="no dead letter"):
            webhooks.replay(session, SYSTEM, dead[0])
    outbox.deliver_due()
    assert {request.event["type"] for request in receiver.requests[:3]} == {"alert.opened"}
    assert outbox.deliver_due() == 0


def test_an_answer_that_never_ends_is_an_answer(outbox: Outbox, receiver: Receiver) -> None:
    receiver.endless = True
    outbox.hook(receiver.url)
    outbox.see()
    outbox.deliver_due()
    assert outbox.the_delivery().state == "delivered"


def test_a_receiver_that_takes_too_long_is_tried_again(
    outbox: Outbox, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("workers.deliveries.TIMEOUT_S", 0.2)
    receiver.answers.clear()
    outbox.hook(receiver.url)
    outbox.see()
    outbox.deliver_due()
    delivery = outbox.the_delivery()
    assert delivery.state == "pending"
    assert (delivery.last_error or "").startswith("ReadTimeout")


def test_a_receiver_that_answers_byte_by_byte_is_left(
    outbox: Outbox, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("workers.deliveries.ATTEMPT_S", 0.3)
    receiver.trickles = True
    outbox.hook(receiver.url)
    outbox.see()
    outbox.deliver_due()
    delivery = outbox.the_delivery()
    assert delivery.state == "pending"
    assert (delivery.last_error or "").startswith("no whole answer within")


@pytest.mark.parametrize("host", ["169.254.169.254", "[fe80::1]", "[::ffff:169.254.169.254]"])
def test_no_webhook_leads_where_machines_get_their_credentials(outbox: Outbox, host: str) -> None:
    with pytest.raises(BadInputError, match="link-local"):
        outbox.hook(f"http://{host}/latest")


def test_a_name_does_not_lead_there_either(outbox: Outbox, receiver: Receiver, monkeypatch: pytest.MonkeyPatch) -> None:
    # As nothing listens on a link-local address here, loopback stands for one.
    monkeypatch.setattr("workers.deliveries.is_link_local", lambda address: address == "127.0.0.1")
    outbox.hook(receiver.url.replace("127.0.0.1", "localhost"))
    outbox.see()
    outbox.deliver_due()
    assert receiver.requests == [], "not a byte"
    assert outbox.the_delivery().last_error == (
        "not sent: 127.0.0.1 is link-local, where machines get their credentials"
    )


@pytest.mark.parametrize(
    "url",
    [
        "", "example.org", "ftp://example.org/", "http://", "http:///hook", "javascript:alert(1)", "https://a\x00b/",
        "http://example.org:70000/", "http://…@example.org/", "http://example.org/" + "a" * 2000, "http://[::1/",
        "http://user:hush@", "\ud800http://example.org",
    ],
)  # fmt: skip
def test_what_is_no_url_of_a_webhook(outbox: Outbox, url: str) -> None:
    with pytest.raises(BadInputError, match="url: ") as refused:
        outbox.hook(url)
    assert "hush" not in str(refused.value)
    with outbox.registry.reading() as session:
        assert session.scalars(select(Webhook)).all() == []


def test_a_watchlist_has_each_url_once_and_not_too_many(outbox: Outbox) -> None:
    outbox.hook("https://user:hush@example.org/hook")
    with pytest.raises(ConflictError) as refused:
        outbox.hook("https://user:hush@EXAMPLE.org/hook")
    assert "hush" not in str(refused.value)
    for number in range(webhooks.MAX_WEBHOOKS - 1):
        outbox.hook(f"https://example.org/{number}")
    with pytest.raises(ConflictError, match="remove one"):
        outbox.hook("https://example.org/one-too-many")


def test_the_log_is_kept_for_a_while(outbox: Outbox, receiver: Receiver) -> None:
    outbox.hook(receiver.url)
    outbox.see(1)
    outbox.deliver_due()
    outbox.see(2)
    with outbox.registry.transaction() as session:
        webhooks.forget_old(session)
        assert len(session.scalars(select(Delivery)).all()) == 2
        session.execute(text("UPDATE deliveries SET created_at_us = 0"))
        webhooks.forget_old(session)
    assert outbox.the_delivery().state == "pending", "what is still to be sent stays"


def test_who_is_erased_during_a_delivery(workplace: Workplace, receiver: Receiver) -> None:
    box, target, _ = enrolled(workplace, receiver.url)
    see(workplace)
    receiver.meanwhile = lambda: erase_target(
        workplace.registry,
        workplace.parts.blobs,
        workplace.parts.vectors,
        workplace.parts.keyring,
        workplace.parts.model,
        target_id=target.id,
        actor=SYSTEM,
    )
    box.deliver_due()
    assert len(receiver.requests) == 1
    assert box.deliveries() == []


def test_slow_receivers_do_not_fill_the_queue(workplace: Workplace, receiver: Receiver, redis: Redis) -> None:
    enrolled(workplace, *(f"{receiver.url}/{number}" for number in range(5)))
    see(workplace)
    app = celery_app(workplace.settings)
    for _ in range(3):
        maintenance.relay_deliveries(app, workplace.parts)
        assert redis.llen(DELIVERIES) == 5


@pytest.mark.parametrize("registry", ["sqlite"], indirect=True)
def test_a_slow_receiver_holds_up_nobody_else(workplace: Workplace, receiver: Receiver) -> None:
    workplace.settings = workplace.settings.model_copy(update={"alert_silence_s": 1.0})
    receiver.answers.clear()
    enrolled(workplace, receiver.url)
    faces = man_a(workplace.assets)
    with (
        worker(workplace.settings, "--queues", "crops"),
        worker(workplace.settings, "--queues", "deliveries,maintenance", "--concurrency", "2") as courier,
    ):
        workplace.send(crop(faces[0], track=1, group="first"))
        wait_until(lambda: receiver.requests, 30, "a delivery that hangs")

        workplace.send(crop(faces[1], track=2, group="second"), crop(faces[2], track=3, group="third"))
        wait_until(lambda: len(workplace.rows(Alert)) == 3, 10, "alerts meanwhile")
        other = workplace.enrol_man_a(watchlist=f"new {new_id()}")
        workplace.send(crop(faces[3], track=4, group="fourth"))
        wait_until(lambda: len(workplace.rows(Alert)) == 5, 10, "alerts of two watchlists")
        assert other.id in {alert.target_id for alert in workplace.rows(Alert)}

        receiver.answers.set()
        wait_until(lambda: [row.state for row in workplace.rows(Delivery)] == ["delivered"] * 8, 30, "all delivered")
        assert courier.end() == 0
    assert all(alert.closed_at_us is not None for alert in workplace.rows(Alert))
    # On a slow machine the first may have been tried again: the key is the same then.
    events = {request.headers["idempotency-key"]: request.event for request in receiver.requests}
    told = sorted((event["alert"]["camera_group"], event["type"]) for event in events.values())
    groups = ("first", "fourth", "second", "third")
    assert told == [(group, event) for group in groups for event in ("alert.closed", "alert.opened")]
