"""A watchlist and its people over the API and the pages."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient
from redis import Redis
from sqlalchemy import select

from lookout.faces.assets import AssetCache
from lookout.faces.gates import USUAL
from lookout.stores.index import prepare_index
from lookout.stores.registry import Registry
from lookout.stores.registry.tables import AuditEntry, Import, Target, User
from lookout.stores.vectors import TARGETS
from search.app import create_app
from search.importing import Importer
from search.parts import Parts
from tests import servers
from tests.people import MODEL
from tests.wall import parts_on, token_of

API = "/api/v1"
WATCHLIST = {"name": "Guests", "purpose": "Greet", "legal_basis": "Consent"}


class Desk:
    """An operator who sees one watchlist at most, and an admin."""

    def __init__(self, parts: Parts, assets: AssetCache) -> None:
        self.parts, self.assets = parts, assets
        self.client = TestClient(create_app(parts))
        with parts.registry.transaction() as session:
            self.olga = token_of(session, "olga", "operator", watchlists=[])
            self.other = token_of(session, "otto", "operator", watchlists=[])

    def ask(self, method: str, path: str, *, who: dict[str, str] | None = None, **given: Any) -> Any:
        headers = {**(who or self.olga), **given.pop("headers", {})}
        return self.client.request(method, API + path, headers=headers, **given)

    def watchlist(self, **fields: Any) -> str:
        made = self.ask("POST", "/watchlists", json={**WATCHLIST, **fields})
        assert made.status_code == 201, made.text
        return str(made.json()["id"])

    def photo(self, name: str = "single_face.jpg") -> tuple[str, tuple[str, bytes, str]]:
        return ("photos", (name, self.assets.media(name).read_bytes(), "image/jpeg"))

    def enrol(self, watchlist: str, name: str, *photos: Any, **fields: Any) -> Any:
        data = {"name": name, **fields}
        return self.ask("POST", f"/watchlists/{watchlist}/targets", data=data, files=list(photos) or [self.photo()])

    def in_milvus(self) -> set[str]:
        name, data, _ = self.photo()[1]
        template = self.parts.faces.enrol(data, name, None, USUAL).face.template
        (hits,) = self.parts.vectors.search_targets(MODEL, template[None], 10)
        with self.parts.registry.reading() as session:
            mine = set(session.scalars(select(Target.id)))
        return {hit.id for hit in hits if hit.score > 0.9} & mine

    def actions(self) -> list[str]:
        with self.parts.registry.reading() as session:
            entries = session.scalars(select(AuditEntry).order_by(AuditEntry.number))
            return [entry.action for entry in entries if not entry.action.startswith(("user.", "token."))]


@pytest.fixture
def desk(
    registry: Registry,
    redis: Redis,
    valkey_server: servers.Server,
    milvus_server: servers.Server,
    tmp_path: Path,
    assets: AssetCache,
) -> Iterator[Desk]:
    parts = parts_on(registry, tmp_path, redis_url=valkey_server.url, milvus_uri=milvus_server.url)
    prepare_index(registry, parts.vectors, parts.model.name, parts.model.dimension)
    made = Desk(parts, assets)
    yield made
    with registry.reading() as session:
        parts.vectors.delete(TARGETS, list(session.scalars(select(Target.id))))
    parts.vectors.close()
    parts.redis.close()


def test_a_watchlists_life(desk: Desk) -> None:
    schedule = {"zone": "Europe/Berlin", "windows": [{"days": ["sat"], "from": "22:00", "to": "04:00"}]}
    made = desk.ask("POST", "/watchlists", json={**WATCHLIST, "schedule": schedule}, headers={"Idempotency-Key": "k"})
    again = desk.ask("POST", "/watchlists", json={**WATCHLIST, "schedule": schedule}, headers={"Idempotency-Key": "k"})
    assert (made.status_code, made.json()) == (201, again.json())
    path = f"/watchlists/{made.json()['id']}"
    assert made.json()["schedule"] == schedule
    assert made.json()["thresholds"]["possible"]["strangers"] == 500
    assert made.json()["thresholds"]["possible"]["false_match_rate"] == pytest.approx(1 / 500, rel=0.01)

    read = desk.ask("GET", path)
    assert read.status_code == 200, "who makes it gets the right to it"
    tag = {"If-Match": read.headers["ETag"]}
    changed = desk.ask("PUT", path, json={**WATCHLIST, "purpose": "Other", "retention_days": 7}, headers=tag)
    assert (changed.status_code, changed.json()["purpose"]) == (200, "Other")
    assert desk.ask("PUT", path, json=WATCHLIST, headers=tag).status_code == 412
    assert desk.ask("PUT", path, json=WATCHLIST).status_code == 422
    assert desk.ask("POST", "/watchlists", json=WATCHLIST).status_code == 409
    bad = {**WATCHLIST, "name": "x", "possible_strangers": 900, "likely_strangers": 500}
    assert desk.ask("POST", "/watchlists", json=bad).status_code == 422

    assert desk.ask("POST", path + "/archive").json()["archived_at"]
    assert desk.ask("GET", "/watchlists").json()["items"] == []
    assert len(desk.ask("GET", "/watchlists?archived=true").json()["items"]) == 1
    assert desk.enrol(made.json()["id"], "A").status_code == 422
    assert desk.ask("POST", path + "/restore").json()["archived_at"] is None
    assert desk.actions() == ["watchlist.created", "watchlist.changed", "watchlist.archived", "watchlist.restored"]
    with desk.parts.registry.reading() as session:
        changes = session.scalars(select(AuditEntry.detail).where(AuditEntry.action == "watchlist.changed")).one()
        assert changes["purpose"] == ["Greet", "Other"]
        assert session.scalars(select(User.watchlist_ids).where(User.name == "olga")).one() == [made.json()["id"]]


def test_an_examination_tells_what_each_photo_shows(desk: Desk) -> None:
    files = [desk.photo(), desk.photo("multi_face.jpg"), ("photos", ("a.txt", b"no picture", "text/plain"))]
    answer = desk.ask("POST", "/photos/examination", files=files)
    one, several, none = answer.json()["photos"]
    assert (one["accepted"], one["reasons"], len(one["faces"])) == (True, [], 1)
    assert one["preview"].startswith("data:image/jpeg;base64,")
    assert all(0 <= share <= 1 for share in one["faces"][0]["box"])
    assert (several["accepted"], several["reasons"], len(several["faces"])) == (False, ["several_faces"], 5)
    assert (none["accepted"], none["reasons"], none["preview"]) == (False, ["not_a_picture"], None)
    assert "JPEG" in none["remedies"][0]


def test_a_watchlists_gates_hold_for_photos_too(desk: Desk) -> None:
    strict = desk.watchlist(name="strict", min_face_px=300)
    refused = desk.enrol(strict, "Man A")
    assert (refused.status_code, refused.json()["reasons"]) == (422, ["small"])
    assert "at least 300 pixels wide" in refused.json()["detail"]
    examined = desk.ask("POST", f"/photos/examination?watchlist={strict}", files=[desk.photo()]).json()["photos"]
    assert (examined[0]["accepted"], examined[0]["reasons"]) == (False, ["small"])
    assert "300 pixels" in examined[0]["remedies"][0]
    assert desk.ask("POST", "/photos/examination?watchlist=nosuch", files=[desk.photo()]).status_code == 404
    foreign = desk.ask("POST", f"/photos/examination?watchlist={strict}", files=[desk.photo()], who=desk.other)
    assert foreign.status_code == 404

    usual = desk.watchlist(name="usual")
    target = desk.enrol(usual, "Man A").json()
    assert (
        desk.ask(
            "PUT",
            f"/watchlists/{usual}",
            json={**WATCHLIST, "name": "usual", "min_face_px": 300},
            headers={"If-Match": '"1"'},
        ).status_code
        == 200
    )
    more = desk.ask("POST", f"/targets/{target['id']}/photos", files=[desk.photo("multi_face.jpg")], data={"face": "1"})
    assert (more.status_code, more.json()["reasons"]) == (422, ["small"])


def test_a_persons_life(desk: Desk) -> None:
    watchlist = desk.watchlist()
    made = desk.enrol(watchlist, "Man A", reference_number="R-7")
    assert made.status_code == 201, made.text
    target = made.json()
    assert desk.in_milvus() == {target["id"]}, "matchable when the answer is there"

    assert desk.enrol(watchlist, "Man A").status_code == 409
    twin = desk.enrol(watchlist, "Somebody")
    assert twin.status_code == 409
    assert [one["target"] for one in twin.json()["resembles"]] == [target["id"]]
    assert twin.json()["resembles"][0]["score"] > 0.99

    group = desk.enrol(watchlist, "Woman", desk.photo("multi_face.jpg"))
    assert (group.status_code, group.json()["reasons"]) == (422, ["several_faces"])
    assert desk.enrol(watchlist, "Woman", desk.photo("multi_face.jpg"), face="2").status_code == 201

    odd = desk.ask("POST", f"/targets/{target['id']}/photos", files=[desk.photo("multi_face.jpg")], data={"face": "1"})
    assert (odd.status_code, odd.json()["disagrees"]) == (409, {"photos": [0], "known": []})
    sure = {"face": "1", "confirm_disagreement": "true"}
    more = desk.ask("POST", f"/targets/{target['id']}/photos", files=[desk.photo("multi_face.jpg")], data=sure)
    assert (more.status_code, more.json()["photo_count"]) == (201, 2)
    face = desk.client.get(more.json()["photos"][1]["face"], headers=desk.olga)
    assert (face.headers["content-type"], face.headers["cache-control"][:7]) == ("image/jpeg", "private")
    less = desk.ask("DELETE", f"/photos/{more.json()['photos'][1]['id']}")
    assert (less.status_code, less.json()["photo_count"]) == (200, 1)

    read = desk.ask("GET", f"/targets/{target['id']}")
    body = {"name": "Man B", "valid_until": "2030-01-01T00:00:00Z"}
    tag = {"If-Match": read.headers["ETag"]}
    assert desk.ask("PUT", f"/targets/{target['id']}", json=body, headers=tag).json()["name"] == "Man B"
    assert desk.ask("PUT", f"/targets/{target['id']}", json=body, headers=tag).status_code == 412
    found = desk.ask("GET", f"/watchlists/{watchlist}/targets?search=mAN b").json()["items"]
    assert [one["id"] for one in found] == [target["id"]]
    assert desk.actions().count("target.viewed") == 1

    desk.ask("POST", f"/watchlists/{watchlist}/archive")
    assert desk.in_milvus() == set()
    assert desk.enrol(desk.watchlist(name="Other"), "Man A").status_code == 201, "archived ones are not compared with"


def test_lists_come_page_by_page(desk: Desk) -> None:
    watchlist = desk.watchlist()
    for number in range(1, 6):
        # Two of them resemble one another as much as an alert would need.
        sure = {"face": f"{number}", "confirm_resemblance": "true"}
        assert desk.enrol(watchlist, f"P{number}", desk.photo("multi_face.jpg"), **sure).status_code == 201
    names, cursor = [], ""
    for _ in range(3):
        page = desk.ask("GET", f"/watchlists/{watchlist}/targets?limit=2{cursor}").json()
        names += [one["name"] for one in page["items"]]
        cursor = f"&cursor={page['next']}"
    assert names == ["P5", "P4", "P3", "P2", "P1"]
    assert page["next"] is None


def test_where_a_reason_is_demanded_nobody_looks_without(desk: Desk) -> None:
    target = desk.enrol(desk.watchlist(reason_required=True), "Man A").json()["id"]
    refused = desk.ask("GET", f"/targets/{target}")
    assert (refused.status_code, "reason" in refused.json()["detail"]) == (422, True)
    assert desk.ask("GET", f"/targets/{target}", headers={"X-Reason": "case 7"}).status_code == 200
    with desk.parts.registry.reading() as session:
        entry = session.scalars(select(AuditEntry).where(AuditEntry.action == "target.viewed")).one()
    assert (entry.reason, entry.subject_id) == ("case 7", target)


def test_what_is_anothers_does_not_exist(desk: Desk) -> None:
    watchlist = desk.watchlist()
    target = desk.enrol(watchlist, "Man A").json()
    photo = target["photos"][0]["id"]
    for method, path in [
        ("GET", f"/watchlists/{watchlist}"),
        ("GET", f"/watchlists/{watchlist}/targets"),
        ("GET", f"/watchlists/{watchlist}/imports"),
        ("POST", f"/watchlists/{watchlist}/archive"),
        ("GET", f"/targets/{target['id']}"),
        ("GET", f"/photos/{photo}/face"),
        ("DELETE", f"/photos/{photo}"),
    ]:
        answer = desk.ask(method, path, who=desk.other)
        assert answer.status_code == 404, path
        unknown = desk.ask(method, path.replace(watchlist, "x").replace(target["id"], "x").replace(photo, "x"))
        assert answer.json()["detail"][:12] == unknown.json()["detail"][:12]
    mine = desk.ask("POST", "/watchlists", json={**WATCHLIST, "name": "Otto's"}, who=desk.other).json()["id"]
    unseen = desk.ask(
        "POST", f"/watchlists/{mine}/targets", data={"name": "Man A"}, files=[desk.photo()], who=desk.other
    )
    assert unseen.status_code == 201, "nothing is told of whom another watchlist holds"


def test_a_body_that_is_too_large_is_cut_off(desk: Desk) -> None:
    def endless() -> Iterator[bytes]:
        yield b'--b\r\nContent-Disposition: form-data; name="photos"; filename="a.jpg"\r\n\r\n'
        for _ in range(200):
            yield bytes(1_000_000)

    headers = {"Content-Type": "multipart/form-data; boundary=b"}
    assert desk.ask("POST", "/photos/examination", content=endless(), headers=headers).status_code == 413
    one = ("photos", ("a.jpg", bytes(33_000_000), "image/jpeg"))
    answer = desk.ask("POST", "/photos/examination", files=[one]).json()
    assert answer["photos"][0]["reasons"] == ["too_large"]
    assert desk.ask("POST", "/photos/examination", files=[desk.photo()] * 21).status_code == 400


def test_an_archive_is_imported_by_the_service_and_exported_again(desk: Desk) -> None:
    watchlist = desk.watchlist()
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w") as archive:
        archive.writestr("Man A/1.jpg", desk.photo()[1][1])
        archive.writestr("Group.jpg", desk.photo("multi_face.jpg")[1][1])
    answer = desk.ask("POST", f"/watchlists/{watchlist}/imports?source=people.zip", content=made.getvalue())
    assert (answer.status_code, answer.json()["state"]) == (201, "running")
    assert desk.ask("POST", f"/watchlists/{watchlist}/imports", content=b"no zip").status_code == 422

    Importer(desk.parts).work()

    path = f"/imports/{answer.json()['id']}"
    done = desk.ask("GET", path).json()
    assert (done["state"], done["photos"]) == ("done", {"waiting": 0, "accepted": 1, "refused": 1, "known": 0})
    (refused,) = desk.ask("GET", f"{path}/photos?state=refused").json()["items"]
    assert (refused["file"], refused["reasons"]) == ("Group.jpg", ["several_faces"])
    assert len(desk.in_milvus()) == 1
    with desk.parts.registry.reading() as session:
        assert session.scalars(select(Import.blob)).one() is None
    assert not list(Path(desk.parts.settings.home, "blobs", "imports").rglob("*00000*"))

    export = desk.ask("POST", f"/watchlists/{watchlist}/export", json={"reason": "moving"})
    names = zipfile.ZipFile(io.BytesIO(export.content)).namelist()
    assert (len(names), names[-1]) == (2, "targets.csv")
    assert desk.actions()[-1] == "watchlist.exported"


def test_a_cancelled_import_leaves_no_archive(desk: Desk) -> None:
    watchlist = desk.watchlist()
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w") as archive:
        archive.writestr("Man A/1.jpg", desk.photo()[1][1])
    answer = desk.ask("POST", f"/watchlists/{watchlist}/imports", content=made.getvalue()).json()
    assert desk.ask("POST", f"/imports/{answer['id']}/cancellation").json()["state"] == "cancelled"
    Importer(desk.parts).work()
    assert desk.in_milvus() == set()
    with desk.parts.registry.reading() as session:
        assert session.scalars(select(Import.blob)).one() is None
