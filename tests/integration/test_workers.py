"""The work of a worker on the real parts, without its process."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import msgspec
import numpy as np
import pytest
from numpy.typing import NDArray
from prometheus_client import REGISTRY
from pymilvus import MilvusClient
from redis import Redis
from sqlalchemy import select, text
from typer.testing import CliRunner

from lookout.cli.dead_letters import app as dead_letters
from lookout.clock import now_us
from lookout.errors import BadInputError, NotFoundError, UnavailableError
from lookout.queue import CROPS, celery_app
from lookout.stores import crops as crops_store
from lookout.stores import dead_letters as letters_store
from lookout.stores.registry.tables import (
    Alert,
    AlertEvent,
    AlertSighting,
    AuditEntry,
    Delivery,
    Reference,
    Sighting,
    StoredCrop,
)
from lookout.stores.templates import sighting_place, unpack
from lookout.stores.vectors import SIGHTINGS
from tests.people import CAMERA, GROUP, MODEL, crop, man_a, woman_b
from tests.servers import wait_until
from tests.workplace import Workplace, run
from workers import alerts, maintenance, tasks
from workers import crops as crops_module
from workers.crops import process
from workers.matching import match
from workers.parts import Parts

SECOND = 1_000_000
SILENCE = 30 * SECOND


def counter(name: str, **labels: str) -> float:
    return REGISTRY.get_sample_value(f"lookout_{name}_total", labels) or 0.0


def content(workplace: Workplace) -> dict[str, list[dict[str, Any]]]:
    """Everything that processing has written."""
    tables = (Sighting, StoredCrop, Alert, AlertSighting, Delivery)
    return {
        table.__tablename__: [
            {key: value for key, value in vars(row).items() if not key.startswith("_")} for row in workplace.rows(table)
        ]
        for table in tables
    }


def template_sum(workplace: Workplace, sighting: Sighting) -> NDArray[np.float32]:
    """What the registry has of a sighting."""
    return unpack(sighting.template_sum, workplace.parts.keyring, sighting_place(sighting.id))


def sighting_template(workplace: Workplace, track: str) -> list[float]:
    """What Milvus has of a sighting."""
    client = MilvusClient(workplace.settings.milvus_uri)
    try:
        (row,) = client.get(SIGHTINGS, ids=[track])
    finally:
        client.close()
    return [float(value) for value in row["template"]]


def fail_once(monkeypatch: pytest.MonkeyPatch, owner: object, name: str) -> None:
    """The next call of a method finds its part away; those after it work."""
    works: Callable[..., object] = getattr(owner, name)

    def fail(*_: object, **__: object) -> None:
        monkeypatch.setattr(owner, name, works)
        raise UnavailableError("gone")

    monkeypatch.setattr(owner, name, fail)


def close_silent(workplace: Workplace) -> int:
    with workplace.registry.transaction() as session:
        return alerts.close_silent(session, silence_us=SILENCE)


def events(workplace: Workplace) -> list[str]:
    return sorted(str(row.payload["type"]) for row in workplace.rows(Delivery))


def test_a_face_on_the_watchlist_opens_an_alert(workplace: Workplace) -> None:
    target = workplace.enrol_man_a()
    face = man_a(workplace.assets)[0]
    seen = crop(face)
    embedded, opened = counter("crops_embedded"), counter("alerts", watchlist="wanted", tier="likely")

    (result,) = run(workplace, seen)

    (alert,) = workplace.rows(Alert)
    assert (result.alert_id, result.watchlist, result.tier) == (alert.id, "wanted", "likely")
    assert 0 < result.latency_s < 30
    assert alert.target_id == target.id
    assert alert.reference_id == workplace.rows(Reference)[0].id
    assert (alert.camera_id, alert.camera_group) == (CAMERA, GROUP)
    assert (alert.tier, alert.verdict, alert.updates) == ("likely", "unverified", 0)
    assert alert.threshold == pytest.approx(workplace.parts.model.calibration.threshold(1e-4, 1))
    assert 0.87 <= alert.score <= 0.91
    assert alert.first_captured_at_us == alert.last_seen_at_us == seen.captured_at_us
    assert alert.closed_at_us is None
    assert alert.latency_us == alert.stored_at_us - seen.captured_at_us

    (stored,) = workplace.rows(StoredCrop)
    assert (stored.id, alert.crop_id) == (seen.id, seen.id)
    assert stored.blob is not None
    assert workplace.parts.blobs.read(stored.blob) == face.jpeg

    (sighting,) = workplace.rows(Sighting)
    assert (sighting.id, sighting.camera_id, sighting.model) == (seen.track_id, CAMERA, MODEL)
    template = template_sum(workplace, sighting)
    assert sighting_template(workplace, seen.track_id) == pytest.approx(template / np.linalg.norm(template), abs=1e-5)

    assert workplace.parts.crops.get([seen.id]) == [None], "its results are stored"
    assert counter("crops_embedded") == embedded + 1
    assert counter("alerts", watchlist="wanted", tier="likely") == opened + 1


def test_one_message_of_many_people_and_cameras(workplace: Workplace) -> None:
    workplace.enrol_man_a()
    man, woman = man_a(workplace.assets), woman_b(workplace.assets)
    opened = run(
        workplace,
        crop(man[0], track=1),
        crop(woman[0], track=2),
        crop(man[1], track=3),
        crop(man[2], track=4, camera="back door", group="back"),
        crop(woman[1], track=2, number=1),
    )
    assert len(opened) == 2, "one a camera group"
    assert sorted(alert.camera_group for alert in workplace.rows(Alert)) == sorted([GROUP, "back"])
    assert workplace.counts() == {"sightings": 4, "crops": 5, "alerts": 2, "alert_sightings": 3, "deliveries": 0}


@pytest.mark.parametrize("again", ["named again", "sent again"])
def test_a_message_that_comes_twice_changes_nothing(workplace: Workplace, again: str) -> None:
    workplace.enrol_man_a(webhooks=["http://127.0.0.1:1/"])
    crops = [crop(man_a(workplace.assets)[0]), crop(woman_b(workplace.assets)[0], track=1)]
    run(workplace, *crops)
    before = content(workplace)
    missing, embedded = counter("crops_missing"), counter("crops_embedded")

    if again == "sent again":
        workplace.put(*crops)
    assert process(workplace.parts, [one.id for one in crops]) == []

    assert content(workplace) == before
    assert (counter("crops_missing"), counter("crops_embedded")) == (missing, embedded)
    assert workplace.parts.crops.get([one.id for one in crops]) == [None, None]


def test_a_message_whose_worker_was_killed_halfway_is_completed(
    workplace: Workplace, monkeypatch: pytest.MonkeyPatch
) -> None:
    workplace.enrol_man_a(webhooks=["http://127.0.0.1:1/"])
    seen = crop(man_a(workplace.assets)[0])
    fail_once(monkeypatch, workplace.parts.crops, "remove")
    with pytest.raises(UnavailableError):
        run(workplace, seen)
    before = content(workplace)
    assert len(before["alerts"]) == len(before["deliveries"]) == 1, "the registry has it"
    assert workplace.parts.crops.get([seen.id]) == [seen], "so has Redis"

    assert process(workplace.parts, [seen.id]) == []

    assert content(workplace) == before
    template = template_sum(workplace, workplace.rows(Sighting)[0])
    assert sighting_template(workplace, seen.track_id) == pytest.approx(template / np.linalg.norm(template), abs=1e-5)
    assert workplace.parts.crops.get([seen.id]) == [None]


def test_a_registry_that_fails_keeps_nothing_and_loses_nothing(
    workplace: Workplace, monkeypatch: pytest.MonkeyPatch
) -> None:
    workplace.enrol_man_a()
    seen = crop(man_a(workplace.assets)[0])
    fail_once(monkeypatch, alerts, "record")
    with pytest.raises(UnavailableError):
        run(workplace, seen)
    assert sum(workplace.counts().values()) == 0
    assert len(process(workplace.parts, [seen.id])) == 1


def test_a_better_crop_updates_the_alert_and_a_worse_one_does_not(workplace: Workplace) -> None:
    workplace.enrol_man_a(webhooks=["http://127.0.0.1:1/"])
    faces = man_a(workplace.assets)
    at_us = now_us()
    fair, better, worse = (
        crop(faces[index], number=number, at_us=at_us + number * SECOND) for number, index in enumerate((1, 2, 0))
    )

    run(workplace, fair)
    (first,) = workplace.rows(Alert)
    assert run(workplace, better) == []
    (second,) = workplace.rows(Alert)
    assert run(workplace, worse) == []
    (third,) = workplace.rows(Alert)

    assert first.id == second.id == third.id
    assert second.score > first.score
    assert (second.crop_id, second.updates) == (better.id, 1)
    assert second.first_captured_at_us == fair.captured_at_us
    assert (third.score, third.crop_id, third.updates) == (second.score, better.id, 1)
    assert third.last_seen_at_us == worse.captured_at_us
    assert events(workplace) == ["alert.opened", "alert.updated"]
    assert [one.score for one in workplace.rows(AlertSighting)] == [second.score]


def test_who_is_erased_between_match_and_store_is_not_alerted(
    workplace: Workplace, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = workplace.enrol_man_a()
    names = spy_on_writes(workplace, monkeypatch)

    def match_and_erase(*arguments: Any) -> Any:
        found = match(*arguments)
        assert [len(one) for one in found] == [1]
        workplace.erase(target)
        return found

    monkeypatch.setattr(crops_module, "match", match_and_erase)
    assert run(workplace, crop(man_a(workplace.assets)[0])) == []
    assert workplace.counts() == {"sightings": 0, "crops": 0, "alerts": 0, "alert_sightings": 0, "deliveries": 0}
    assert len(names) == 1, "its picture was written before"
    with pytest.raises(NotFoundError):
        workplace.parts.blobs.read(names[0])


def spy_on_writes(workplace: Workplace, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the pictures that are written from now on."""
    names: list[str] = []
    write = workplace.parts.blobs.write

    def spy(name: str, data: bytes) -> None:
        names.append(name)
        write(name, data)

    monkeypatch.setattr(workplace.parts.blobs, "write", spy)
    return names


def test_an_alert_shows_frame_photo_and_candidates_and_is_audited(workplace: Workplace) -> None:
    target = workplace.enrol_man_a()
    face = msgspec.structs.replace(crop(man_a(workplace.assets)[0]), frame_id="f1", frame_box=(0.1, 0.2, 0.3, 0.4))
    workplace.parts.crops.put_frame("f1", b"a frame", face.deadline_us)
    run(workplace, face)
    (alert,) = workplace.rows(Alert)
    assert alert.frame_blob is not None
    assert workplace.parts.blobs.read(alert.frame_blob) == b"a frame"
    assert alert.frame_box == [0.1, 0.2, 0.3, 0.4]
    assert alert.reference_id == workplace.rows(Reference)[0].id
    assert alert.candidates == [{"target": target.id, "score": pytest.approx(alert.score, abs=1e-4)}]
    assert [(one.alert_id, one.kind) for one in workplace.rows(AlertEvent)] == [(alert.id, "opened")]

    with workplace.registry.transaction() as session:
        session.scalars(select(Alert)).one().last_seen_at_us = now_us() - 3600 * SECOND
    maintenance.close_episodes(workplace.parts)
    entries = {one.action: one for one in workplace.rows(AuditEntry) if one.subject == "alert"}
    assert entries["alert.opened"].watchlist_id == target.watchlist_id
    assert entries["alert.opened"].detail["crop"] == face.id
    assert entries["alert.opened"].detail["target"] == target.id
    assert entries["alert.closed"].detail["sightings"] == [face.track_id]


def test_on_a_camera_of_matches_only_nothing_of_others_is_stored(
    workplace: Workplace, monkeypatch: pytest.MonkeyPatch
) -> None:
    workplace.enrol_man_a()
    names = spy_on_writes(workplace, monkeypatch)
    stranger = msgspec.structs.replace(crop(woman_b(workplace.assets)[0], track=1), matched_only=True)
    assert run(workplace, stranger) == []
    assert (sum(workplace.counts().values()), names) == (0, [])
    assert workplace.parts.crops.get([stranger.id]) == [None]

    assert len(run(workplace, msgspec.structs.replace(crop(man_a(workplace.assets)[0]), matched_only=True))) == 1
    assert len(workplace.rows(Sighting)) == 1


def test_crops_that_are_late_or_gone_are_counted_and_left(workplace: Workplace) -> None:
    workplace.enrol_man_a()
    face = man_a(workplace.assets)[0]
    late, gone, fine = crop(face, track=1, deadline_s=-0.001), crop(face, track=2), crop(face, track=3)
    expired, missing = counter("crops_expired"), counter("crops_missing")

    workplace.put(late, fine)
    opened = process(workplace.parts, [late.id, gone.id, fine.id])

    assert len(opened) == 1, "the others of the message are not held up"
    assert [row.id for row in workplace.rows(StoredCrop)] == [fine.id]
    assert (counter("crops_expired"), counter("crops_missing")) == (expired + 1, missing + 1)
    assert workplace.parts.crops.get([late.id]) == [None]
    assert process(workplace.parts, []) == []


def test_crops_are_kept_beyond_their_deadline_however_long_it_is(workplace: Workplace, redis: Redis) -> None:
    face = man_a(workplace.assets)[0]
    short, long = crop(face, track=1, deadline_s=60), crop(face, track=2, deadline_s=3600)
    workplace.put(short, long)
    assert 60 < redis.ttl(f"crop:{short.id}") <= 60 + crops_store.KEEP_LATE_S
    assert 3600 < redis.ttl(f"crop:{long.id}") <= 3600 + crops_store.KEEP_LATE_S


def test_a_full_blob_store_costs_only_the_picture(workplace: Workplace, monkeypatch: pytest.MonkeyPatch) -> None:
    workplace.enrol_man_a()
    lost = counter("blob_errors")
    fail_once(monkeypatch, workplace.parts.blobs, "write")
    assert len(run(workplace, crop(man_a(workplace.assets)[0]))) == 1
    (stored,) = workplace.rows(StoredCrop)
    assert stored.blob is None
    assert counter("blob_errors") == lost + 1


class TestTogether:
    """Two workers at once. Each round both have matched before either writes."""

    ROUNDS = 10

    @pytest.fixture
    def both(self, workplace: Workplace, monkeypatch: pytest.MonkeyPatch) -> Iterator[Sequence[Parts]]:
        workplace.enrol_man_a(webhooks=["http://127.0.0.1:1/"])
        barrier = threading.Barrier(2)

        def match_together(*arguments: Any) -> Any:
            found = match(*arguments)
            barrier.wait(30)
            return found

        monkeypatch.setattr(crops_module, "match", match_together)
        other = Parts(workplace.settings)
        yield workplace.parts, other
        other.vectors.close()
        other.redis.close()
        other.registry.close()

    @pytest.mark.parametrize("tracks", [(0, 0), (0, 1)], ids=["one track", "two tracks"])
    def test_two_crops_of_one_person(
        self, workplace: Workplace, both: Sequence[Parts], tracks: tuple[int, int]
    ) -> None:
        faces = man_a(workplace.assets)
        with ThreadPoolExecutor(2) as pool:
            for turn in range(self.ROUNDS):
                group = f"group {turn}"
                crops = [
                    crop(faces[number], track=track, number=number, camera=group, group=group)
                    for number, track in enumerate(tracks)
                ]
                workplace.put(*crops)
                opened = list(pool.map(process, both, [[one.id] for one in crops]))
                assert sum(map(len, opened)) == 1, "one of them opened it"

        sightings = len(set(tracks)) * self.ROUNDS
        counts = workplace.counts()
        updates = sum(alert.updates for alert in workplace.rows(Alert))
        assert counts == {
            "sightings": sightings,
            "crops": 2 * self.ROUNDS,
            "alerts": self.ROUNDS,
            "alert_sightings": sightings,
            "deliveries": self.ROUNDS + updates,
        }
        assert len({alert.camera_group for alert in workplace.rows(Alert)}) == self.ROUNDS
        for sighting in workplace.rows(Sighting):
            template = template_sum(workplace, sighting)
            assert np.linalg.norm(template) > (1.5 if tracks == (0, 0) else 0.9), "no crop was lost in it"
            expected = pytest.approx(template / np.linalg.norm(template), abs=1e-5)
            assert sighting_template(workplace, sighting.id) == expected

    def test_messages_that_share_a_crop(self, workplace: Workplace, both: Sequence[Parts]) -> None:
        faces = man_a(workplace.assets)
        with ThreadPoolExecutor(2) as pool:
            for turn in range(self.ROUNDS):
                camera = f"camera {turn}"
                a, b, c = workplace.put(*(crop(faces[number], number=number, camera=camera) for number in range(3)))
                list(pool.map(process, both, [[a, b], [b, c]]))
        assert len(workplace.rows(Sighting)) == self.ROUNDS
        assert len(workplace.rows(StoredCrop)) == 3 * self.ROUNDS, "none was lost"

    def test_the_same_message(self, workplace: Workplace, both: Sequence[Parts]) -> None:
        face = man_a(workplace.assets)[0]
        with ThreadPoolExecutor(2) as pool:
            for turn in range(self.ROUNDS):
                ids = workplace.put(crop(face, camera=f"camera {turn}", group=f"group {turn}"))
                opened = list(pool.map(process, both, [ids, ids]))
                assert sum(map(len, opened)) == 1
        assert workplace.counts() == dict.fromkeys(workplace.counts(), self.ROUNDS)


class TestEpisodes:
    """When alerts open, go on and end, in rows."""

    @pytest.fixture
    def watched(self, workplace: Workplace) -> Workplace:
        workplace.enrol_man_a(webhooks=["http://127.0.0.1:1/"])
        return workplace

    def see(self, workplace: Workplace, seconds_ago: float, *, track: int) -> int:
        at_us = now_us() - int(seconds_ago * SECOND)
        run(workplace, crop(man_a(workplace.assets)[0], track=track, at_us=at_us))
        return at_us

    def test_after_silence_it_closes_and_a_new_one_opens(self, watched: Workplace) -> None:
        at_us = self.see(watched, 100, track=1)
        assert close_silent(watched) == 1
        assert close_silent(watched) == 0
        (first,) = watched.rows(Alert)
        assert first.closed_at_us == at_us + SILENCE

        self.see(watched, 0, track=2)
        assert close_silent(watched) == 0, "it is not silent yet"
        closed = {alert.id: alert.closed_at_us for alert in watched.rows(Alert)}
        assert closed.pop(first.id) == first.closed_at_us
        assert list(closed.values()) == [None]
        assert events(watched) == ["alert.closed", "alert.opened", "alert.opened"]

    def test_the_next_episode_closes_one_that_nobody_closed(self, watched: Workplace) -> None:
        at_us = self.see(watched, 100, track=1)
        self.see(watched, 0, track=2)
        assert sorted(alert.closed_at_us or 0 for alert in watched.rows(Alert)) == [0, at_us + SILENCE]
        assert events(watched) == ["alert.closed", "alert.opened", "alert.opened"]

    def test_a_lagging_crop_opens_a_closed_one_again(self, watched: Workplace) -> None:
        self.see(watched, 31, track=1)
        assert close_silent(watched) == 1
        seen_us = self.see(watched, 5, track=2)
        (alert,) = watched.rows(Alert)
        assert (alert.closed_at_us, alert.last_seen_at_us) == (None, seen_us)
        assert len(watched.rows(AlertSighting)) == 2

    def test_a_crop_that_lags_far_behind_only_prolongs_it(self, watched: Workplace) -> None:
        self.see(watched, 100, track=1)
        assert close_silent(watched) == 1
        seen_us = self.see(watched, 80, track=2)
        (alert,) = watched.rows(Alert)
        assert (alert.closed_at_us, alert.last_seen_at_us) == (seen_us + SILENCE, seen_us)

    def test_a_closed_one_stays_closed_while_the_next_runs(self, watched: Workplace) -> None:
        first_us = self.see(watched, 62, track=1)
        self.see(watched, 0, track=2)
        assert len(watched.rows(Alert)) == 2
        seen_us = self.see(watched, 33, track=3)
        closed = {alert.first_captured_at_us: alert.closed_at_us for alert in watched.rows(Alert)}
        assert len(closed) == 2
        assert closed[first_us] == seen_us + SILENCE
        assert list(closed.values()).count(None) == 1

    def test_a_crop_of_the_past_makes_an_episode_of_the_past(self, watched: Workplace) -> None:
        self.see(watched, 0, track=1)
        past_us = self.see(watched, 50, track=2)
        closed = {alert.first_captured_at_us: alert.closed_at_us for alert in watched.rows(Alert)}
        assert closed[past_us] == past_us + SILENCE
        assert list(closed.values()).count(None) == 1

    def test_it_lasts_as_long_as_the_track_is_seen(self, watched: Workplace) -> None:
        now = now_us()
        face = man_a(watched.assets)[0]
        run(watched, crop(face, at_us=now - 100 * SECOND, seen_at_us=now))
        assert close_silent(watched) == 0

        past_us = now - 200 * SECOND
        run(watched, crop(face, track=1, at_us=past_us, seen_at_us=past_us + SECOND))
        closed = {alert.first_captured_at_us: alert.closed_at_us for alert in watched.rows(Alert)}
        assert closed == {now - 100 * SECOND: None, past_us: past_us + SECOND + SILENCE}

    @pytest.mark.parametrize("registry", ["postgresql"], indirect=True)
    def test_what_is_being_closed_opens_again(self, watched: Workplace) -> None:
        self.see(watched, 31, track=1)

        def waits_for_a_lock() -> bool:
            with watched.registry.engine.connect() as connection:
                waiting = text("SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'")
                return bool(connection.scalar(waiting))

        with ThreadPoolExecutor(1) as pool:
            with watched.registry.transaction() as session:
                assert alerts.close_silent(session, silence_us=SILENCE) == 1
                session.flush()
                seen = pool.submit(self.see, watched, 5, track=2)
                wait_until(waits_for_a_lock, what="the worker waits for the one who closes")
            seen_us = seen.result(30)
        (alert,) = watched.rows(Alert)
        assert (alert.closed_at_us, alert.last_seen_at_us) == (None, seen_us)


class TestFailures:
    """What happens to messages that cannot be done."""

    @pytest.fixture(autouse=True)
    def here(self, workplace: Workplace, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(tasks, "PATIENCE_S", 0.1)
        self.workplace = workplace
        self.app = celery_app(workplace.settings)
        face = man_a(workplace.assets)[0]
        self.good = crop(face, track=1)
        self.broken = msgspec.structs.replace(crop(face, track=2), jpeg=b"no jpeg")

    def work_off(self, *ids: str, message: str = "m") -> None:
        tasks.work_off(self.app, self.workplace.parts, message, list(ids))

    def test_one_that_keeps_failing_is_a_dead_letter(self, redis: Redis) -> None:
        crops, dead = self.workplace.parts.crops, self.workplace.parts.dead_letters
        failed = counter("crops_failed")
        self.workplace.put(self.broken)
        for _ in range(tasks.MAX_ATTEMPTS - 1):
            with pytest.raises(Exception, match="is damaged"):
                self.work_off(self.broken.id)
            assert dead.all() == []
        self.work_off(self.broken.id)

        (letter,) = dead.all()
        assert (letter.id, letter.crop_ids, letter.attempts) == ("m", [self.broken.id], tasks.MAX_ATTEMPTS)
        assert letter.error == f"BadInputError: the picture of {self.broken.id} is damaged."
        assert crops.get([self.broken.id]) == [self.broken]
        assert redis.ttl(f"crop:{self.broken.id}") > letters_store.KEEP_DEAD_S - 60, "somebody may look at it"
        assert counter("crops_failed") == failed + 1
        assert sum(self.workplace.counts().values()) == 0

    def test_one_bad_crop_does_not_take_the_others_with_it(self, redis: Redis) -> None:
        self.workplace.put(self.broken, self.good)
        for _ in range(tasks.MAX_ATTEMPTS - 1):
            with pytest.raises(Exception, match="is damaged"):
                self.work_off(self.broken.id, self.good.id)
        self.work_off(self.broken.id, self.good.id)

        assert redis.llen(CROPS) == 2, "each has a message of its own now"
        assert self.workplace.parts.dead_letters.all() == []
        self.work_off(self.good.id, message="good")
        assert [row.id for row in self.workplace.rows(StoredCrop)] == [self.good.id]

    def test_one_that_kills_its_worker_is_a_dead_letter(self) -> None:
        self.workplace.put(self.good)
        for _ in range(tasks.MAX_ATTEMPTS):
            self.workplace.parts.dead_letters.count_attempt("m")
        self.work_off(self.good.id)
        (letter,) = self.workplace.parts.dead_letters.all()
        assert (letter.error, letter.attempts) == ("it took its worker down each time", tasks.MAX_ATTEMPTS)
        assert sum(self.workplace.counts().values()) == 0

    def test_a_part_that_is_away_is_not_its_fault(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.workplace.put(self.good)
        with monkeypatch.context() as patch:
            patch.setattr(Parts, "watchlists", property(fail))
            for _ in range(tasks.MAX_ATTEMPTS + 2):
                with pytest.raises(UnavailableError):
                    self.work_off(self.good.id)
        self.work_off(self.good.id)
        assert self.workplace.parts.dead_letters.all() == []
        assert len(self.workplace.rows(Sighting)) == 1

    def test_dead_letters_do_not_pile_up(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(letters_store, "MAX_DEAD_LETTERS", 3)
        for number in range(5):
            tasks.give_up(self.app, self.workplace.parts, f"m{number}", [f"c{number}"], "error", 4)
        assert [letter.id for letter in self.workplace.parts.dead_letters.all()] == ["m2", "m3", "m4"]

    def replay(self, monkeypatch: pytest.MonkeyPatch, *arguments: str) -> str:
        with monkeypatch.context() as patch:
            patch.setenv("LOOKOUT_HOME", str(self.workplace.settings.home))
            patch.setenv("LOOKOUT_REDIS_URL", self.workplace.settings.redis_url.get_secret_value())
            return CliRunner().invoke(dead_letters, ["replay", *arguments], catch_exceptions=False).stdout

    def test_a_replay_says_what_had_expired(self, redis: Redis, monkeypatch: pytest.MonkeyPatch) -> None:
        (there,) = self.workplace.put(crop(man_a(self.workplace.assets)[0], deadline_s=0))
        for name in (there, "gone"):
            tasks.give_up(self.app, self.workplace.parts, f"m-{name}", [name], "error", 4)

        with pytest.raises(BadInputError, match="or say --all"):
            self.replay(monkeypatch)
        with pytest.raises(NotFoundError, match="there is no dead letter m-other"):
            self.replay(monkeypatch, f"m-{there}", "m-other")
        assert len(self.workplace.parts.dead_letters.all()) == 2, "nothing is replayed by halves"

        assert self.replay(monkeypatch, "--all") == "2 sent again; 1 crops had expired meanwhile\n"
        assert self.workplace.parts.dead_letters.all() == []
        assert redis.llen(CROPS) == 1
        (renewed,) = self.workplace.parts.crops.get([there])
        assert renewed is not None
        assert renewed.deadline_us > now_us() + 30 * SECOND


def fail(_: object) -> None:
    raise UnavailableError("gone")


def test_a_milvus_that_hangs_holds_up_one_thread(workplace: Workplace, monkeypatch: pytest.MonkeyPatch) -> None:
    called, goes_on = threading.Event(), threading.Event()

    def hang(*_: object) -> int:
        called.set()
        assert goes_on.wait(30)
        return 0

    monkeypatch.setattr(maintenance, "update_index", hang)
    with ThreadPoolExecutor(1) as pool:
        hanging = pool.submit(maintenance.bring_index_up_to_date, workplace.parts)
        assert called.wait(30)
        called.clear()
        maintenance.bring_index_up_to_date(workplace.parts)
        assert not called.is_set(), "the second one leaves at once"
        goes_on.set()
        hanging.result(30)
    maintenance.bring_index_up_to_date(workplace.parts)
    assert called.is_set()
