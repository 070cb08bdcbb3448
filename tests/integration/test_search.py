"""Search by face: who is found, who is not, what is refused, and what the audit keeps of it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import select, update
from typer.testing import CliRunner

from lookout.cli import app as command
from lookout.clock import isoformat, now_us
from lookout.errors import BadInputError
from lookout.faces.embedder import normalised
from lookout.sightings.removal import remove_sightings
from lookout.stores.index import prepare_index, update_sightings
from lookout.stores.registry.tables import AuditEntry, CameraRow, Sighting, Target
from lookout.stores.templates import sighting_place, unpack
from lookout.stores.vectors import SIGHTINGS, SightingRow
from search.app import create_app
from search.parts import Parts
from tests.people import CAMERA, MODEL, crop, man_a, woman_b
from tests.wall import token_of
from tests.workplace import Workplace
from workers.crops import process

SECOND = 1_000_000


class Desk:
    """An analyst's desk: sightings, the service, and people who ask it."""

    def __init__(self, workplace: Workplace) -> None:
        self.workplace = workplace
        self.parts = Parts(workplace.settings)
        self.client = TestClient(create_app(self.parts))
        self.photo = workplace.assets.media("single_face.jpg").read_bytes()
        self.now = now_us()
        with workplace.registry.transaction() as session:
            self.anna = token_of(session, "anna", "analyst")
            self.ben = token_of(session, "ben", "analyst", groups=["garden"], watchlists=[])
            for name, group in ((CAMERA, "doors"), ("pond", "garden")):
                session.add(
                    CameraRow(
                        id=name, name=f"The {name}", url=b"", camera_group=group, analysed_fps=5, transport="tcp",
                        created_at_us=0,
                    )
                )  # fmt: skip

    def see(self, face: Any, track: int, camera: str = CAMERA, group: str = "doors", ago_s: float = 10) -> str:
        """Have a worker see somebody; the sighting's id."""
        seen = crop(face, track=track, camera=camera, group=group, at_us=self.now - round(ago_s * SECOND))
        process(self.workplace.parts, self.workplace.put(seen))
        return seen.track_id

    def photos(self, who: dict[str, str] | None = None, photo: bytes | None = None, **fields: Any) -> Any:
        """Search with a photo."""
        files = [("photos", ("photo.jpg", self.photo if photo is None else photo, "image/jpeg"))]
        return self.client.post(
            "/api/v1/search", headers=who or self.anna, data={"reason": "a test", **fields}, files=files
        )

    def search(self, who: dict[str, str] | None = None, **body: Any) -> Any:
        """Search with a sighting or a target."""
        return self.client.post("/api/v1/search", headers=who or self.anna, json={"reason": "a test", **body})

    def audited(self, action: str) -> list[AuditEntry]:
        return [entry for entry in self.workplace.rows(AuditEntry) if entry.action == action]


@pytest.fixture
def desk(workplace: Workplace) -> Iterator[Desk]:
    workplace.update_index()
    made = Desk(workplace)
    yield made
    made.parts.vectors.close()
    made.parts.registry.close()


def found(answer: Any) -> list[str]:
    assert answer.status_code == 200, answer.text
    return [one["sighting"] for one in answer.json()["results"]]


def test_a_photo_finds_the_person_and_nobody_else(desk: Desk) -> None:
    faces = man_a(desk.workplace.assets)
    a1, a2 = desk.see(faces[0], 1), desk.see(faces[2], 2, "pond", "garden", ago_s=5)
    desk.see(woman_b(desk.workplace.assets)[0], 3)

    answer = desk.photos()

    assert set(found(answer)) == {a1, a2}
    body = answer.json()
    assert (body["searched"], body["waiting"], body["warnings"]) == (3, 0, [])
    assert [one["score"] for one in body["results"]] == sorted((one["score"] for one in body["results"]), reverse=True)
    assert {visit["camera"] for visit in body["visits"]} == {CAMERA, "pond"}
    first = next(one for one in body["results"] if one["sighting"] == a1)
    assert (first["camera"], first["camera_name"], first["video_offset_s"]) == (CAMERA, f"The {CAMERA}", None)
    picture = desk.client.get(first["crop"], headers=desk.anna)
    assert (picture.status_code, picture.headers["content-type"]) == (200, "image/jpeg")


def test_filters_narrow_what_is_searched(desk: Desk) -> None:
    face = man_a(desk.workplace.assets)[0]
    early, late = desk.see(face, 1, ago_s=7200), desk.see(face, 2, "pond", "garden", ago_s=60)

    assert found(desk.photos(cameras="pond")) == [late]
    assert found(desk.photos(cameras="The pond")) == [late]
    assert found(desk.photos(until=isoformat(desk.now - 3600 * SECOND))) == [early]
    assert found(desk.photos(since=isoformat(desk.now - 3600 * SECOND))) == [late]
    assert desk.photos(cameras="pond").json()["searched"] == 1
    assert found(desk.photos(min_score="0.99")) == []
    assert len(found(desk.photos(limit="1"))) == 1


def test_who_sees_some_cameras_finds_nobody_elsewhere(desk: Desk) -> None:
    face = man_a(desk.workplace.assets)[0]
    hidden, shown = desk.see(face, 1), desk.see(face, 2, "pond", "garden")

    answer = desk.photos(desk.ben)

    assert found(answer) == [shown]
    assert answer.json()["searched"] == 1
    refused = desk.photos(desk.ben, cameras=CAMERA)
    assert refused.status_code == 422
    assert CAMERA not in refused.json()["detail"].split(";")[1]
    absent = desk.search(desk.ben, sighting="0" * 32)
    for path in (f"/api/v1/sightings/{hidden}", f"/api/v1/sightings/{hidden}/crops/x"):
        assert desk.client.get(path, headers=desk.ben).status_code == 404
    assert desk.search(desk.ben, sighting=hidden).status_code == absent.status_code == 404
    assert desk.client.get(f"/api/v1/sightings/{shown}", headers=desk.ben).json()["camera"] == "pond"


def test_search_by_sighting_and_by_target(desk: Desk) -> None:
    target = desk.workplace.enrol_man_a()
    faces = man_a(desk.workplace.assets)
    a1, a2 = desk.see(faces[0], 1), desk.see(faces[2], 2)
    desk.see(woman_b(desk.workplace.assets)[0], 3)

    assert found(desk.search(sighting=a1)) == [a1, a2]
    assert set(found(desk.search(target=target.id))) == {a1, a2}
    assert desk.search(desk.ben, target=target.id).status_code == 404
    assert desk.search(target="0" * 32).status_code == 404
    with desk.workplace.registry.transaction() as session:
        session.execute(update(Target).values(template=None))
    assert "no photo" in desk.search(target=target.id).json()["detail"]


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"cameras": "nowhere"}, "there is no camera 'nowhere'; there are"),
        ({"since": "2026-01-02T00:00:00Z", "until": "2026-01-01T00:00:00Z"}, "reversed"),
        ({"since": "2999-01-01T00:00:00Z"}, "in the future"),
        ({"min_score": "1.5"}, ""),
        ({"limit": "0"}, ""),
        ({"reason": " x "}, ""),
        ({"since": "yesterday"}, ""),
        ({"face": "7"}, "there is no face 7"),
        ({"sighting": "0" * 32}, "not with both"),
    ],
)
def test_what_makes_no_sense_is_refused(desk: Desk, fields: dict[str, Any], says: str) -> None:
    answer = desk.photos(**fields)
    assert answer.status_code == 422
    assert says in answer.json()["detail"]
    assert not desk.audited("search.made")


def test_photos_without_a_face_or_with_several_are_refused(desk: Desk) -> None:
    group = desk.workplace.assets.media("multi_face.jpg").read_bytes()
    several = desk.photos(photo=group)
    assert several.status_code == 422
    assert several.json()["reasons"] == ["several_faces"]
    assert desk.photos(photo=group, face="2").status_code == 200
    assert desk.photos(photo=b"no picture").json()["reasons"] == ["not_a_picture"]
    assert desk.client.post("/api/v1/search", headers=desk.anna, data={"reason": "why"}).status_code == 422
    two = [("photos", ("a.jpg", desk.photo, "image/jpeg")), ("photos", ("b.jpg", group, "image/jpeg"))]
    other = desk.client.post("/api/v1/search", headers=desk.anna, data={"reason": "why", "face": ["", "1"]}, files=two)
    assert (other.status_code, other.json()["reasons"]) == (422, ["disagrees"])


def test_each_search_and_look_is_audited(desk: Desk) -> None:
    seen = desk.see(man_a(desk.workplace.assets)[0], 1)
    desk.photos(reason="case 17", cameras=CAMERA)
    desk.client.get(f"/api/v1/sightings/{seen}", headers=desk.anna)

    (entry,) = desk.audited("search.made")
    assert (entry.actor, entry.reason) == ("anna", "case 17")
    assert entry.detail["results"] == 1
    assert entry.detail["cameras"] == [CAMERA]
    assert len(entry.detail["photos"][0]) == 64
    (look,) = desk.audited("sighting.viewed")
    assert (look.actor, look.subject_id) == ("anna", seen)


def test_operators_may_not_search(desk: Desk) -> None:
    with desk.workplace.registry.transaction() as session:
        operator = token_of(session, "olga", "operator")
    assert desk.photos(operator).status_code == 403


def test_what_is_gone_from_the_registry_is_never_found(desk: Desk) -> None:
    face = man_a(desk.workplace.assets)[0]
    ids = [desk.see(face, number) for number in range(4)]
    parts = desk.workplace.parts
    with desk.workplace.registry.transaction() as session:
        remove_sightings(session, parts.blobs, parts.vectors, ids[:2])
    # As a worker leaves it that was killed between writing to Milvus and looking whether it is still there.
    with desk.workplace.registry.reading() as session:
        (row,) = session.scalars(select(Sighting).where(Sighting.id == ids[2]))
    template = normalised(unpack(row.template_sum, parts.keyring, sighting_place(row.id)))
    ghost = SightingRow(ids[0], CAMERA, "doors", row.started_at_us, row.ended_at_us)
    parts.vectors.upsert_sightings(MODEL, [ghost], template[None])

    assert set(found(desk.photos(limit="2"))) == set(ids[2:])
    hits = parts.vectors.search_sightings(MODEL, template[None], 100)[0]
    assert ids[0] not in {hit.id for hit in hits}


def test_milvus_is_filled_again_from_the_registry(desk: Desk) -> None:
    seen = desk.see(man_a(desk.workplace.assets)[0], 1)
    parts = desk.workplace.parts
    parts.vectors.delete(SIGHTINGS, [seen])
    with desk.workplace.registry.transaction() as session:
        session.execute(update(Sighting).values(indexed=False))

    waiting = desk.photos()
    assert (found(waiting), waiting.json()["waiting"]) == ([], 1)
    assert update_sightings(desk.workplace.registry, parts.vectors, parts.keyring, MODEL) == 1
    assert update_sightings(desk.workplace.registry, parts.vectors, parts.keyring, MODEL) == 0
    assert found(desk.photos()) == [seen]


def test_a_collection_that_is_lost_is_made_and_filled_again(desk: Desk) -> None:
    seen = desk.see(man_a(desk.workplace.assets)[0], 1)
    parts = desk.workplace.parts
    parts.vectors.drop_sightings(MODEL)
    assert desk.photos().status_code == 503

    prepare_index(desk.workplace.registry, parts.vectors, MODEL, parts.model.dimension)
    update_sightings(desk.workplace.registry, parts.vectors, parts.keyring, MODEL)
    assert found(desk.photos()) == [seen]


def test_the_command_finds_and_prints(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = desk.see(man_a(desk.workplace.assets)[0], 1)
    settings = desk.workplace.settings
    monkeypatch.setenv("LOOKOUT_HOME", str(settings.home))
    monkeypatch.setenv("LOOKOUT_MILVUS_URI", settings.milvus_uri)
    monkeypatch.setenv("LOOKOUT_DATABASE_URL", settings.database_url)
    photo = str(desk.workplace.assets.media("single_face.jpg"))

    run = CliRunner().invoke(command, ["search", photo, "--camera", CAMERA, "--json"], catch_exceptions=False)

    body = json.loads(run.stdout)
    (one,) = body["results"]
    assert (one["sighting"], one["camera"]) == (seen, CAMERA)
    assert {"start", "end", "score", "video_offset_s"} <= one.keys()
    assert body["searched"] == 1
    assert desk.audited("search.made")[0].reason == "command line"
    shown = CliRunner().invoke(command, ["search", "--sighting", seen], catch_exceptions=False)
    assert f"The {CAMERA}" in shown.stdout
    for arguments in (["--camera", "nowhere"], ["--since", "2999-01-01"], ["--since", "soon"], ["--sighting", seen]):
        with pytest.raises(BadInputError):
            CliRunner().invoke(command, ["search", photo, *arguments], catch_exceptions=False)
