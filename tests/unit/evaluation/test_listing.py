from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from sqlalchemy import select
from sqlalchemy.engine import URL

from lookout.errors import BadInputError
from lookout.evaluation.listing import copy_models, copy_watchlists, people_of, strangers_of
from lookout.models_in_use import names_in_use
from lookout.sealing import Keyring
from lookout.stores.registry import Registry
from lookout.stores.registry.tables import ModelChoice, Reference, Target, Watchlist
from lookout.stores.templates import pack, reference_place, target_place, unpack

TEMPLATE = np.array([0.6, 0.8], np.float32)

Make = Callable[[str], Registry]


@pytest.fixture
def make(tmp_path: Path) -> Make:
    """A registry by its name."""

    def made(name: str) -> Registry:
        registry = Registry(URL.create("sqlite", database=str(tmp_path / f"{name}.db")))
        registry.migrate()
        return registry

    return made


def watchlist(name: str, **fields: object) -> Watchlist:
    given = {"id": name, "name": name, "purpose": "p", "legal_basis": "l", "created_at_us": 1, **fields}
    return Watchlist(**given)


def person(name: str, of: str, model: str, ring: Keyring, **fields: object) -> list[Target | Reference]:
    """A target with one photo."""
    given = {
        "id": name, "watchlist_id": of, "name": name, "created_at_us": 1, "model": model, "indexed": True,
        "template": pack(TEMPLATE, ring, target_place(name)), **fields,
    }  # fmt: skip
    photo = Reference(
        id=f"{name}-1", target_id=name, photo_blob="photo", photo_sha256="00", face_blob="face", box_xyxy=[],
        landmarks=[], quality=1.0, model=model, created_at_us=1,
        template=pack(TEMPLATE, ring, reference_place(f"{name}-1")),
    )  # fmt: skip
    return [Target(**given), photo]


def test_watchlists_in_use_are_copied_with_their_templates(make: Make) -> None:
    source, copy = make("source"), make("copy")
    ring, own = Keyring.parse(Keyring.new_key()), Keyring.parse(Keyring.new_key())
    with source.transaction() as session:
        session.get_one(ModelChoice, "embedder").name = "mobilefacenet-192"
        session.add_all([
            watchlist("vip", possible_strangers=2000, schedule={"zone": "UTC"}, camera_groups=["doors"]),
            watchlist("old", archived_at_us=5),
        ])  # fmt: skip
        session.flush()
        for one in (
            person("Ann", "vip", "mobilefacenet-192", ring, valid_until_us=7, snoozed_until_us=9),
            person("Bob", "vip", "fusion-320", ring),  # not embedded anew since the model was switched
            person("Cleo", "old", "mobilefacenet-192", ring),
            person("", "vip", "mobilefacenet-192", ring, erased_at_us=3),
        ):
            session.add(one[0])
            session.flush()
            session.add(one[1])

    with source.reading() as session, copy.transaction() as copied:
        copy_models(session, copied)
        remarks = copy_watchlists(session, ring, copied, own)

    assert remarks == ["Bob has no photo that can be matched"]
    with copy.reading() as session:
        assert names_in_use(session)[1] == "mobilefacenet-192"
        assert people_of(session) == {"Ann", "Bob"}
        assert strangers_of(session) == {"possible": 2000, "likely": 10_000}
        (vip,) = session.scalars(select(Watchlist))
        assert (vip.camera_groups, vip.schedule) == (["doors"], None)
        ann, bob = session.get_one(Target, "Ann"), session.get_one(Target, "Bob")
        assert ann.template is not None
        assert unpack(ann.template, own, target_place("Ann")).tolist() == TEMPLATE.tolist()
        assert (ann.indexed, ann.valid_until_us, ann.snoozed_until_us, bob.template) == (False, None, None, None)
        (photo,) = session.scalars(select(Reference))
        assert unpack(photo.template, own, reference_place("Ann-1")).tolist() == TEMPLATE.tolist()


def test_watchlists_that_state_different_rates_are_told_by_the_default(make: Make) -> None:
    registry = make("one")
    with registry.transaction() as session:
        session.add_all([watchlist("a"), watchlist("b", likely_strangers=50_000)])
    with registry.reading() as session:
        assert strangers_of(session) == {"possible": 500, "likely": 10_000}


def test_nobody_listed_is_told_with_what_to_do(make: Make) -> None:
    source, copy = make("source"), make("copy")
    ring = Keyring.parse(Keyring.new_key())
    with (
        source.reading() as session,
        copy.transaction() as copied,
        pytest.raises(BadInputError, match=r"nobody is on a watchlist.*--people"),
    ):
        copy_watchlists(session, ring, copied, ring)
