from __future__ import annotations

import contextlib
import os
import signal
import time
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from pymilvus import MilvusClient
from sqlalchemy import select

from deploy.local.parts import free_ports
from lookout.audit import SYSTEM
from lookout.errors import UnavailableError
from lookout.sealing import Keyring
from lookout.stores import vectors as vectors_module
from lookout.stores.index import prepare_index, update_index
from lookout.stores.registry import Registry
from lookout.stores.registry.tables import IndexRemoval, Target, Watchlist
from lookout.stores.templates import pack, target_place
from lookout.stores.vectors import SIGHTINGS, TARGETS, SightingRow, Vectors, collection_name
from lookout.watchlists.records import archive_watchlist, restore_watchlist
from tests import servers
from tests.servers import wait_until

Floats = NDArray[np.float32]

DIMENSION = 8
MODEL = "model"
KEYRING = Keyring.parse(Keyring.new_key())
X, Y, Z = np.eye(DIMENSION, dtype=np.float32)[:3]


@pytest.fixture
def vectors(milvus_server: servers.Server) -> Iterator[Vectors]:
    with contextlib.closing(Vectors(milvus_server.url)) as made:
        yield made


@pytest.fixture
def model() -> str:
    """A name that nobody has used."""
    return f"model-{uuid.uuid4().hex}"


@pytest.fixture
def prepared(vectors: Vectors, milvus_server: servers.Server) -> Vectors:
    """The empty collections of `MODEL`: emptied, as it takes a second to make them."""
    vectors.prepare(MODEL, DIMENSION)
    with contextlib.closing(MilvusClient(milvus_server.url)) as client:
        client.delete(TARGETS, filter="id != ''")
    return vectors


def between(one: Floats, other: Floats, share: float) -> Floats:
    mixed = one * (1 - share) + other * share
    return np.asarray(mixed / np.linalg.norm(mixed), np.float32)


def ids(vectors: Vectors, template: Floats, limit: int = 20, *, model: str = MODEL) -> list[str]:
    (hits,) = vectors.search_targets(model, template[None], limit)
    return [hit.id for hit in hits]


def enrol(registry: Registry, model: str, templates: dict[str, Floats]) -> None:
    with registry.transaction() as session:
        session.merge(Watchlist(id="w", name="w", purpose="p", legal_basis="l", camera_groups=[], created_at_us=0))
        session.add_all(
            Target(
                id=name,
                watchlist_id="w",
                name=name,
                model=model,
                template=pack(template, KEYRING, target_place(name)),
                created_at_us=0,
            )
            for name, template in templates.items()
        )


def change(registry: Registry, name: str, template: Floats) -> None:
    with registry.transaction() as session:
        target = session.get_one(Target, name)
        target.template, target.indexed = pack(template, KEYRING, target_place(name)), False


def erase(registry: Registry, name: str) -> None:
    with registry.transaction() as session:
        target = session.get_one(Target, name)
        target.template, target.indexed, target.erased_at_us = None, False, 1
        session.merge(IndexRemoval(target_id=name))


def drop(url: str, model: str) -> None:
    """Lose a model's collections, as a Milvus with a new disk would."""
    with contextlib.closing(MilvusClient(url)) as client:
        for alias in (TARGETS, SIGHTINGS):
            client.drop_alias(alias)
            client.drop_collection(collection_name(alias, model))


def test_collections_are_made_once(vectors: Vectors, model: str) -> None:
    assert vectors.prepare(model, DIMENSION)
    assert not vectors.prepare(model, DIMENSION)


def test_several_processes_may_prepare_at_once(milvus_server: servers.Server, model: str) -> None:
    made = [Vectors(milvus_server.url) for _ in range(3)]
    with ThreadPoolExecutor(len(made)) as pool:
        list(pool.map(lambda one: one.prepare(model, DIMENSION), made))
    made[0].upsert_targets(model, ["x"], X[None])
    for one in made:
        assert ids(one, X, model=model) == ["x"]
        one.close()


def test_the_very_next_search_finds_what_was_written(milvus_server: servers.Server, model: str) -> None:
    with (
        contextlib.closing(Vectors(milvus_server.url)) as writer,
        contextlib.closing(Vectors(milvus_server.url)) as reader,
    ):
        writer.prepare(model, DIMENSION)
        for number in range(20):
            name = f"r{number}"
            writer.upsert_targets(model, [name], between(X, Y, number / 20)[None])
            assert name in ids(reader, X, model=model), "another connection sees it"
            writer.delete(TARGETS, [name])
            assert name not in ids(reader, X, model=model), "and that it is gone"


def test_hits_come_best_first_with_their_cosine(prepared: Vectors) -> None:
    near = between(X, Y, 0.2)
    prepared.upsert_targets(MODEL, ["opposite", "x", "near", "y"], np.stack([-X, X, near, Y]))

    of_x, of_y = prepared.search_targets(MODEL, np.stack([X, Y]), 4)

    assert [hit.id for hit in of_x] == ["x", "near", "y", "opposite"]
    assert [hit.score for hit in of_x] == pytest.approx([1, float(near @ X), 0, -1], abs=1e-5)
    assert [hit.id for hit in of_y[:2]] == ["y", "near"]
    assert [hit.score for hit in of_y[:2]] == pytest.approx([1, float(near @ Y)], abs=1e-5)
    assert [len(hits) for hits in prepared.search_targets(MODEL, np.stack([X, Y, Z]), 2)] == [2, 2, 2]


def test_writing_an_id_again_replaces_it(prepared: Vectors) -> None:
    prepared.upsert_targets(MODEL, ["a", "b"], np.stack([X, Y]))
    prepared.upsert_targets(MODEL, ["a"], Z[None])
    assert ids(prepared, Z) == ["a", "b"]
    assert prepared.search_targets(MODEL, X[None], 20)[0][0].score == pytest.approx(0, abs=1e-5)


def test_nothing_to_search_write_or_delete(prepared: Vectors) -> None:
    nothing = np.zeros((0, DIMENSION), np.float32)
    assert prepared.search_targets(MODEL, nothing, 5) == []
    prepared.upsert_targets(MODEL, [], nothing)
    prepared.delete(TARGETS, ["never", "written"])
    assert ids(prepared, X) == []


def test_more_rows_than_fit_a_request(prepared: Vectors, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vectors_module, "ROWS_PER_REQUEST", 3)
    names = [f"r{number}" for number in range(7)]
    prepared.upsert_targets(MODEL, names, np.stack([between(X, Y, number / 10) for number in range(7)]))
    assert ids(prepared, X) == names
    prepared.delete(TARGETS, names[:5])
    assert ids(prepared, X) == names[5:]


def test_a_removal_reaches_the_collections_of_all_models(vectors: Vectors, model: str) -> None:
    other = f"{model}-b"
    rows = [SightingRow("kept", "c", "g", 0, 1), SightingRow("gone", "c", "g", 0, 1)]
    for name in (model, other):
        vectors.prepare(name, DIMENSION)
        vectors.upsert_sightings(name, rows, np.stack([X, X]))

    vectors.delete(SIGHTINGS, ["gone"])

    for name in (model, other):
        assert [hit.id for hit in vectors.search_sightings(name, X[None], 5)[0]] == ["kept"]


def test_models_do_not_mix_and_the_aliases_show_which_is_in_use(
    vectors: Vectors, model: str, milvus_server: servers.Server
) -> None:
    other = f"{model}-b"
    vectors.prepare(model, DIMENSION)
    vectors.upsert_targets(model, ["of the first"], X[None])
    vectors.prepare(other, DIMENSION // 2)
    assert ids(vectors, X[:4], model=other) == []
    vectors.upsert_targets(other, ["of the second"], X[None, :4])
    assert ids(vectors, X[:4], model=other) == ["of the second"]
    assert ids(vectors, X, model=model) == ["of the first"], "whatever is in use"

    with contextlib.closing(MilvusClient(milvus_server.url)) as client:
        for name in (other, model):
            assert not vectors.prepare(name, DIMENSION), "nothing was lost meanwhile"
            for alias in (TARGETS, SIGHTINGS):
                assert client.describe_alias(alias)["collection_name"] == collection_name(alias, name)


def test_sightings_are_no_targets(prepared: Vectors) -> None:
    prepared.upsert_sightings(MODEL, [SightingRow("seen", "door", "in", 1, 2)], X[None])
    try:
        assert ids(prepared, X) == []
        ((seen, *_),) = prepared.search_sightings(MODEL, X[None], 5)
        assert seen.id == "seen"
        assert seen.score == pytest.approx(1, abs=1e-5)
    finally:
        prepared.delete(SIGHTINGS, ["seen"])


def test_an_absent_server_is_noticed_at_once() -> None:
    (port,) = free_ports(1)
    vectors = Vectors(f"http://127.0.0.1:{port}")
    started = time.monotonic()
    for _ in range(3):
        with pytest.raises(UnavailableError, match=f"Milvus at http://127.0.0.1:{port} does not answer"):
            vectors.check()
    assert time.monotonic() - started < 3


def test_a_server_that_dies_and_returns(tmp_path: Path, model: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vectors_module, "REQUEST_TIMEOUT_S", 1.0)
    with servers.milvus(tmp_path) as server, contextlib.closing(Vectors(server.url)) as vectors:
        vectors.prepare(model, DIMENSION)
        names = [f"r{number}" for number in range(500)]
        vectors.upsert_targets(model, names, np.stack([between(X, Y, number / 500) for number in range(500)]))

        server.kill()
        gone_since = time.monotonic()
        # As long as workers do: gRPC waits longer after each failure, which must not hold up the return.
        while time.monotonic() - gone_since < 4:
            with pytest.raises(UnavailableError):
                vectors.search_targets(model, X[None], 1)
        server.start()

        wait_until(lambda: _answers(vectors), 1.0, "an answer as soon as it is back")
        assert sorted(ids(vectors, X, limit=1000, model=model)) == sorted(names), "a kill lost nothing"
        vectors.upsert_targets(model, ["new"], X[None])
        vectors.delete(TARGETS, ["r0"])
        assert ids(vectors, X, limit=2, model=model) == ["new", "r1"]
        assert not vectors.prepare(model, DIMENSION)

        assert server.child.pid is not None
        os.kill(server.child.pid, signal.SIGSTOP)
        with pytest.raises(UnavailableError):
            vectors.search_targets(model, X[None], 1)
        os.kill(server.child.pid, signal.SIGCONT)
        wait_until(lambda: _answers(vectors), 5.0, "an answer after it hung")


def _answers(vectors: Vectors) -> bool:
    try:
        vectors.check()
    except UnavailableError:
        return False
    return True


def test_targets_become_searchable(registry: Registry, prepared: Vectors) -> None:
    enrol(registry, MODEL, {"x": X, "y": Y})
    assert update_index(registry, prepared, KEYRING, MODEL) == 2
    assert update_index(registry, prepared, KEYRING, MODEL) == 0
    assert ids(prepared, X) == ["x", "y"]


def test_targets_of_another_model_are_left_alone(registry: Registry, prepared: Vectors) -> None:
    enrol(registry, MODEL, {"x": X})
    enrol(registry, "another", {"y": Y[:4]})
    assert update_index(registry, prepared, KEYRING, MODEL) == 1
    assert ids(prepared, X) == ["x"]


def test_what_milvus_lost_is_written_again(
    registry: Registry, vectors: Vectors, milvus_server: servers.Server, model: str
) -> None:
    prepare_index(registry, vectors, model, DIMENSION)
    enrol(registry, model, {"x": X, "y": Y})
    update_index(registry, vectors, KEYRING, model)

    drop(milvus_server.url, model)
    with pytest.raises(UnavailableError):
        vectors.search_targets(model, X[None], 1)
    prepare_index(registry, vectors, model, DIMENSION)
    assert update_index(registry, vectors, KEYRING, model) == 2
    assert ids(vectors, X, model=model) == ["x", "y"]


def test_what_was_erased_is_removed(registry: Registry, prepared: Vectors) -> None:
    enrol(registry, MODEL, {"x": X, "y": Y})
    update_index(registry, prepared, KEYRING, MODEL)

    erase(registry, "x")
    assert ids(prepared, Y) == ["y", "x"], "until then the registry decides"
    assert update_index(registry, prepared, KEYRING, MODEL) == 1
    assert ids(prepared, Y) == ["y"]
    with registry.reading() as session:
        assert session.scalars(select(IndexRemoval)).all() == []


def test_removals_wait_for_a_milvus_that_is_away(registry: Registry, prepared: Vectors) -> None:
    enrol(registry, MODEL, {"x": X})
    update_index(registry, prepared, KEYRING, MODEL)
    erase(registry, "x")

    (port,) = free_ports(1)
    with pytest.raises(UnavailableError):
        update_index(registry, Vectors(f"http://127.0.0.1:{port}"), KEYRING, MODEL)
    assert update_index(registry, prepared, KEYRING, MODEL) == 1
    assert ids(prepared, X) == []


Meanwhile = Callable[[Callable[[], object]], None]


@pytest.fixture
def meanwhile(prepared: Vectors, monkeypatch: pytest.MonkeyPatch) -> Meanwhile:
    """Have something done after templates were read from the registry, before they are written to Milvus."""
    write = prepared.upsert_targets

    def arrange(step: Callable[[], object]) -> None:
        def write_late(model: str, names: list[str], templates: Floats) -> None:
            monkeypatch.setattr(prepared, "upsert_targets", write)
            step()
            write(model, names, templates)

        monkeypatch.setattr(prepared, "upsert_targets", write_late)

    return arrange


def test_who_is_erased_while_being_written_is_removed(
    registry: Registry, prepared: Vectors, meanwhile: Meanwhile
) -> None:
    enrol(registry, MODEL, {"x": X, "y": Y})
    meanwhile(lambda: erase(registry, "x"))

    update_index(registry, prepared, KEYRING, MODEL)
    update_index(registry, prepared, KEYRING, MODEL)

    assert ids(prepared, X) == ["y"]


def test_who_is_changed_while_being_written_is_written_again(
    registry: Registry, prepared: Vectors, meanwhile: Meanwhile
) -> None:
    enrol(registry, MODEL, {"x": X})
    meanwhile(lambda: change(registry, "x", Z))

    update_index(registry, prepared, KEYRING, MODEL)

    assert prepared.search_targets(MODEL, Z[None], 1)[0][0].score == pytest.approx(1, abs=1e-5)
    with registry.reading() as session:
        assert session.get_one(Target, "x").indexed


def test_a_slow_process_does_not_bring_back_what_another_has_removed(
    registry: Registry, prepared: Vectors, meanwhile: Meanwhile, milvus_server: servers.Server
) -> None:
    enrol(registry, MODEL, {"x": X})
    with contextlib.closing(Vectors(milvus_server.url)) as other, ThreadPoolExecutor(1) as thread:
        waiting: list[Future[int]] = []

        def erase_and_tell() -> None:
            erase(registry, "x")
            waiting.append(thread.submit(update_index, registry, other, KEYRING, MODEL))

        meanwhile(erase_and_tell)
        update_index(registry, prepared, KEYRING, MODEL)
        waiting[0].result(30)

    assert ids(prepared, X) == []


def test_an_archived_watchlist_is_not_in_milvus(registry: Registry, prepared: Vectors) -> None:
    enrol(registry, MODEL, {"x": X, "y": Y})
    update_index(registry, prepared, KEYRING, MODEL)

    with registry.transaction() as session:
        archive_watchlist(session, SYSTEM, session.get_one(Watchlist, "w"))
    update_index(registry, prepared, KEYRING, MODEL)
    assert ids(prepared, X) == []

    with registry.transaction() as session:
        restore_watchlist(session, SYSTEM, session.get_one(Watchlist, "w"))
    update_index(registry, prepared, KEYRING, MODEL)
    assert ids(prepared, X) == ["x", "y"]


def test_one_archived_while_being_written_and_restored_is_found(
    registry: Registry, prepared: Vectors, meanwhile: Meanwhile
) -> None:
    enrol(registry, MODEL, {"x": X})

    def archive() -> None:
        with registry.transaction() as session:
            archive_watchlist(session, SYSTEM, session.get_one(Watchlist, "w"))

    meanwhile(archive)
    update_index(registry, prepared, KEYRING, MODEL)
    with registry.transaction() as session:
        restore_watchlist(session, SYSTEM, session.get_one(Watchlist, "w"))
    update_index(registry, prepared, KEYRING, MODEL)

    assert ids(prepared, X) == ["x"]
