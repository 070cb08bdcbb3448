"""The audit log keeps what was written, and shows what somebody did to it; on both databases."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import threading
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import text
from sqlalchemy.exc import DatabaseError

from lookout import audit
from lookout.audit import BEGIN, SYSTEM, Actor, Verification
from lookout.audit import reading as audit_reading
from lookout.audit.reading import Filter
from lookout.stores.registry import Registry

ANNA = Actor("anna", "session", "192.0.2.1")


def write(registry: Registry, count: int = 1, action: str = "target.viewed") -> None:
    for number in range(count):
        with registry.transaction() as session:
            audit.record(session, ANNA, action, "target", f"t{number}", detail={"number": number})


def verify(registry: Registry, known: str | None = None) -> Verification:
    with registry.reading() as session:
        return audit.verify(session, known)


def behind_its_back(registry: Registry, *statements: str) -> None:
    """What somebody with the database's password can do."""
    with registry.engine.begin() as connection:
        if registry.engine.dialect.name == "sqlite":
            triggers = ["audit_entries_no_update", "audit_entries_no_delete"]
            drops = [f"DROP TRIGGER {trigger}" for trigger in triggers]
        else:
            drops = ["DROP TRIGGER audit_entries_append_only ON audit_entries"]
        for statement in (*drops, *statements):
            connection.exec_driver_sql(statement)


def test_an_empty_log_is_whole(registry: Registry) -> None:
    assert verify(registry) == Verification(0, BEGIN)
    assert verify(registry, BEGIN).fault == ""


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE audit_entries SET reason = 'another' WHERE number = 2",
        "UPDATE audit_entries SET hash = hash",
        "DELETE FROM audit_entries WHERE number = 3",
        "DELETE FROM audit_entries",
    ],
)
def test_the_database_refuses_to_change_it(registry: Registry, statement: str) -> None:
    write(registry, 3)

    with pytest.raises(DatabaseError, match="append-only"), registry.engine.begin() as connection:
        connection.execute(text(statement))

    assert verify(registry).entries == 3


@pytest.mark.parametrize(
    ("statements", "whole", "fault"),
    [
        (["UPDATE audit_entries SET reason = 'another' WHERE number = 3"], 2, "entry 3 was changed"),
        (["UPDATE audit_entries SET actor = 'ben' WHERE number = 3"], 2, "entry 3 was changed"),
        (["UPDATE audit_entries SET at_us = at_us + 1 WHERE number = 3"], 2, "entry 3 was changed"),
        (["""UPDATE audit_entries SET detail = '{"number": 7}' WHERE number = 3"""], 2, "entry 3 was changed"),
        (["UPDATE audit_entries SET watchlist_id = 'w' WHERE number = 1"], 0, "entry 1 was changed"),
        (["UPDATE audit_entries SET hash = previous_hash WHERE number = 5"], 4, "entry 5 was changed"),
        (["DELETE FROM audit_entries WHERE number = 3"], 2, "after entry 2 comes 4"),
        (["DELETE FROM audit_entries WHERE number < 3"], 0, "after entry 0 comes 3"),
        (
            [
                "DELETE FROM audit_entries WHERE number = 3",
                "UPDATE audit_entries SET number = number - 1 WHERE number = 4",
                "UPDATE audit_entries SET number = number - 1 WHERE number = 5",
            ],
            2,
            "entry 3 does not follow on entry 2",
        ),
    ],
)
def test_what_was_done_behind_its_back_is_found(
    registry: Registry, statements: list[str], whole: int, fault: str
) -> None:
    write(registry, 5)

    behind_its_back(registry, *statements)

    found = verify(registry)
    assert found.entries == whole
    assert fault in found.fault


def test_a_cut_end_is_found_by_a_hash_noted_before(registry: Registry) -> None:
    write(registry, 3)
    early = verify(registry).head
    write(registry, 2)
    late = verify(registry).head

    behind_its_back(registry, "DELETE FROM audit_entries WHERE number > 3")

    assert verify(registry).fault == ""
    assert verify(registry, early).fault == ""
    assert "cut off" in verify(registry, late).fault


def test_concurrent_writers_leave_no_gap_and_no_fork(registry: Registry) -> None:
    faults: list[Exception] = []
    start = threading.Barrier(6)

    def work() -> None:
        start.wait(10)
        try:
            write(registry, 15)
        except Exception as error:  # noqa: BLE001 - whatever it is, the test tells
            faults.append(error)

    threads = [threading.Thread(target=work) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)

    assert not faults
    found = verify(registry)
    assert (found.entries, found.fault) == (90, "")


def test_entry_and_change_stand_or_fall_together(registry: Registry) -> None:
    def fail() -> None:
        with registry.transaction() as session:
            audit.record(session, ANNA, "target.erased", "target", "t")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()

    assert verify(registry).entries == 0
    write(registry)
    assert verify(registry).entries == 1


def test_two_entries_of_one_transaction_are_chained(registry: Registry) -> None:
    with registry.transaction() as session:
        audit.record(session, ANNA, "user.created", "user", "u")
        audit.record(session, ANNA, "link.created", "user", "u")

    assert verify(registry) == Verification(2, verify(registry).head)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"]), max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=10,
)  # fmt: skip


@given(
    detail=st.dictionaries(
        st.text(st.characters(exclude_categories=["Cs"]), max_size=10) | st.integers(0, 20), json_values, max_size=5
    ),
    reason=st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=50),
)
@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_whatever_is_written_verifies_when_it_is_read(registry: Registry, detail: Any, reason: str) -> None:
    with registry.transaction() as session:
        audit.record(session, ANNA, "target.changed", "target", "t", detail=detail, reason=reason)

    assert verify(registry).fault == ""


@pytest.mark.parametrize("detail", [{"score": float("nan")}, {"score": float("inf")}, {"photo": b"jpeg"}])
def test_what_is_no_json_fails_where_it_is_written(registry: Registry, detail: dict[str, Any]) -> None:
    with pytest.raises((ValueError, TypeError)), registry.transaction() as session:
        audit.record(session, ANNA, "target.changed", "target", "t", detail=detail)


def exported(registry: Registry, wanted: Filter | None = None, **more: Any) -> str:
    return "".join(audit_reading.export(registry, ANNA, wanted or Filter(), **more))


def test_an_export_is_an_entry_and_can_be_verified_elsewhere(registry: Registry) -> None:
    write(registry, 3)

    lines = [json.loads(line) for line in exported(registry).splitlines()]

    assert [line["number"] for line in lines] == [1, 2, 3, 4]
    assert (lines[3]["action"], lines[3]["actor"]) == ("audit.exported", "anna")
    previous = BEGIN
    for line in lines:
        assert line["previous_hash"] == previous
        previous = line["hash"]
        assert documented_hash(line) == previous
    assert lines[-1]["hash"] == verify(registry).head


def documented_hash(line: dict[str, Any]) -> str:
    """As docs/privacy.md tells it, without Lookout's code."""
    from datetime import datetime, timedelta

    content = {name: value for name, value in line.items() if name not in ("at", "hash")}
    since = datetime.fromisoformat(line["at"]) - datetime.fromisoformat("1970-01-01T00:00:00Z")
    content["at_us"] = since // timedelta(microseconds=1)
    return hashlib.sha256(json.dumps(content, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def test_an_export_is_written_down_also_if_nobody_reads_it(registry: Registry) -> None:
    audit_reading.export(registry, ANNA, Filter())

    assert verify(registry).entries == 1


def test_a_table_starts_no_formula(registry: Registry) -> None:
    with registry.transaction() as session:
        audit.record(session, ANNA, "target.viewed", "target", "t", reason='=HYPERLINK("https://example.org")')

    first, _ = csv.DictReader(io.StringIO(exported(registry, form="csv")))

    assert first["reason"] == '\'=HYPERLINK("https://example.org")'
    assert json.loads(first["detail"]) == {}
    assert set(first) == set(audit_reading.COLUMNS)


@pytest.mark.parametrize(
    ("wanted", "numbers"),
    [
        (Filter(), [5, 4, 3, 2, 1]),
        (Filter(actor="system"), [4]),
        (Filter(action="alert.opened"), [4]),
        (Filter(subject="target", subject_id="t2"), [2]),
        (Filter(watchlist_id="v"), [3]),
        (Filter(watchlists=frozenset()), [5, 1]),
        (Filter(watchlists=frozenset({"w"})), [5, 4, 2, 1]),
        (Filter(watchlists=frozenset({"w"}), watchlist_id="v"), []),
        (Filter(since_us=2_000_000, until_us=4_000_000), [3, 2]),
    ],
)
def test_entries_are_filtered(
    registry: Registry, wanted: Filter, numbers: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    times = iter(range(1_000_000, 10_000_000, 1_000_000))
    monkeypatch.setattr("lookout.audit.log.now_us", lambda: next(times))
    with registry.transaction() as session:
        audit.record(session, ANNA, "user.created", "user", "u")
        audit.record(session, ANNA, "target.viewed", "target", "t2", watchlist_id="w")
        audit.record(session, ANNA, "target.viewed", "target", "t3", watchlist_id="v")
        audit.record(session, SYSTEM, "alert.opened", "alert", "a", watchlist_id="w")
        audit.record(session, ANNA, "session.ended", "user", "u")

    with registry.reading() as session:
        assert [entry.number for entry in audit_reading.newest(session, wanted, limit=10)] == numbers
        assert [entry.number for entry in audit_reading.newest(session, wanted, limit=10, before=3)] == [
            number for number in numbers if number < 3
        ]
        assert audit_reading.head(session)[0] == 5


@pytest.mark.parametrize("form", ["jsonl", "csv"])
def test_an_export_carries_what_article_12_asks_of_an_alert(registry: Registry, form: str) -> None:
    """Article 12(3) of Regulation (EU) 2024/1689; docs/privacy.md says where each of the four is found."""
    opened = {
        "target": "t", "sighting": "s", "crop": "c", "camera": "entrance", "camera_group": "doors", "tier": "likely",
        "score": 0.71, "threshold": 0.6, "first_captured_at": "2026-07-31T12:00:00.000Z", "model": "mobilefacenet-192",
    }  # fmt: skip
    closed = {
        "first_captured_at": "2026-07-31T12:00:00.000Z",
        "last_seen_at": "2026-07-31T12:00:41.000Z",
        "sightings": ["s", "s2"],
    }
    ben = Actor("ben", "session", "192.0.2.2")
    with registry.transaction() as session:
        about: dict[str, Any] = {"subject": "alert", "subject_id": "a", "watchlist_id": "w"}
        audit.record(session, SYSTEM, "alert.opened", **about, detail=opened)
        audit.record(session, SYSTEM, "alert.closed", **about, detail=closed)
        first = {"target": "t", "final": False}
        audit.record(session, ANNA, "alert.confirmed", **about, detail=first, reason="the scar")
        audit.record(session, ben, "alert.confirmed", **about, detail=first | {"final": True})
        audit.record(session, SYSTEM, "alert.opened", "alert", "another", watchlist_id="v", detail=opened)

    read: dict[str, Callable[[str], list[dict[str, Any]]]] = {
        "jsonl": lambda text: [json.loads(line) for line in text.splitlines()],
        "csv": lambda text: [row | {"detail": json.loads(row["detail"])} for row in csv.DictReader(io.StringIO(text))],
    }
    entries = read[form](exported(registry, Filter(subject="alert", subject_id="a"), form=form))

    by_action: dict[str, list[dict[str, Any]]] = {}
    for entry in entries:
        by_action.setdefault(entry["action"], []).append(entry)
    (start,), (end,) = by_action["alert.opened"], by_action["alert.closed"]
    # (a) the period of the use
    assert start["detail"]["first_captured_at"] == end["detail"]["first_captured_at"] == "2026-07-31T12:00:00.000Z"
    assert end["detail"]["last_seen_at"] == "2026-07-31T12:00:41.000Z"
    # (b) the reference database
    assert {entry["watchlist_id"] for entry in entries} == {"w"}
    # (c) the input that led to a match
    assert (start["detail"]["crop"], start["detail"]["sighting"]) == ("c", "s")
    assert end["detail"]["sightings"] == ["s", "s2"]
    # (d) who verified the result
    assert [(entry["actor"], entry["detail"]["final"]) for entry in by_action["alert.confirmed"]] == [
        ("anna", False),
        ("ben", True),
    ]
