"""What lies on disks while faces go through: nothing that shows or describes one."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from pydantic import SecretStr
from redis import Redis

from lookout.errors import SealError, UnavailableError
from lookout.messages import Crop
from lookout.sealing import Keyring
from lookout.stores.registry.tables import Reference, Sighting, StoredCrop
from lookout.stores.templates import reference_place, sighting_place
from tests.people import crop, enrol_man_a, man_a
from tests.servers import Server
from tests.workplace import Workplace
from workers.crops import process
from workers.parts import Parts

#: Three bytes, as `ff d8 ff` alone, would be found in ciphertext now and then.
JFIF = b"\xff\xd8\xff\xe0\x00\x10JFIF"


def slices(data: bytes) -> list[bytes]:
    """Its beginning, middle and end: long enough not to occur by chance."""
    return [data[:16], data[len(data) // 2 :][:16], data[-16:]]


def stored_bytes(workplace: Workplace, redis: Redis, valkey: Server) -> Iterator[tuple[str, bytes]]:
    """Everything that lies in the home, in Valkey and on its disk, and in the registry's rows."""
    for folder in (workplace.settings.home, valkey.logs):
        for path in folder.rglob("*"):
            if path.is_file():
                yield str(path), path.read_bytes()
    for key in redis.scan_iter("crop:*"):
        value = redis.get(key)
        assert isinstance(value, bytes)
        yield str(key), value
    for reference in workplace.rows(Reference):
        yield reference_place(reference.id), reference.template
    for sighting in workplace.rows(Sighting):
        yield sighting_place(sighting.id), sighting.template_sum


@pytest.fixture
def waiting(workplace: Workplace) -> Crop:
    """A crop that waits in Redis, after man A was enrolled and seen."""
    workplace.enrol_man_a()
    faces = man_a(workplace.assets)
    assert len(process(workplace.parts, workplace.put(crop(faces[0])))) == 1
    left = crop(faces[1], track=1)
    workplace.put(left)
    return left


def test_no_face_lies_open(workplace: Workplace, redis: Redis, valkey_server: Server, waiting: Crop) -> None:
    parts = workplace.parts
    (reference,) = workplace.rows(Reference)
    (sighting,) = workplace.rows(Sighting)
    (stored,) = workplace.rows(StoredCrop)
    assert stored.blob
    open_ones = {
        "the photo": parts.blobs.read(reference.photo_blob),
        "the reference's template": parts.keyring.open(reference.template, reference_place(reference.id)),
        "the stored crop": parts.blobs.read(stored.blob),
        "the waiting crop": waiting.jpeg,
        "the sighting's template": parts.keyring.open(sighting.template_sum, sighting_place(sighting.id)),
    }
    assert open_ones["the stored crop"].startswith(JFIF)
    needles = {"a JPEG": [JFIF]} | {what: slices(data) for what, data in open_ones.items()}

    places = dict(stored_bytes(workplace, redis, valkey_server))

    assert any(place.endswith(stored.blob) for place in places)
    assert any(".aof" in place for place in places)
    found = [
        f"{what} in {place}"
        for place, data in places.items()
        for what, parts_of_it in needles.items()
        if any(one in data for one in parts_of_it)
    ]
    assert found == []


def test_without_the_key_nothing_opens(workplace: Workplace, waiting: Crop) -> None:
    stranger = Parts(workplace.settings.model_copy(update={"data_keys": SecretStr(Keyring.new_key())}))
    (reference,) = workplace.rows(Reference)
    try:
        with pytest.raises(SealError, match=rf"crop:{waiting.id} cannot be opened: the key [0-9a-f]{{8}} is missing"):
            stranger.crops.get([waiting.id])
        with pytest.raises(SealError, match=f"{reference.photo_blob} cannot be opened: the key"):
            stranger.blobs.read(reference.photo_blob)
    finally:
        stranger.redis.close()


def test_a_worker_without_the_key_lets_crops_wait(workplace: Workplace) -> None:
    """Where it cannot read the watchlists no crop is at fault, and none becomes a dead letter."""
    stranger = Parts(workplace.settings.model_copy(update={"data_keys": SecretStr(Keyring.new_key())}))
    enrol_man_a(workplace.registry, workplace.parts.blobs, workplace.parts.keyring, workplace.assets)
    try:
        with pytest.raises(UnavailableError, match=r"watchlists cannot be read: targets/.* the key .* is missing"):
            _ = stranger.watchlists
    finally:
        stranger.vectors.close()
        stranger.registry.close()


def test_after_a_rotation_old_and_new_open(workplace: Workplace, waiting: Crop) -> None:
    old = (workplace.settings.home / "secrets" / "data_keys").read_text()
    rotated = Parts(workplace.settings.model_copy(update={"data_keys": SecretStr(f"{Keyring.new_key()}\n{old}")}))
    rotated.loaded = workplace.parts.embedder
    try:
        later = crop(man_a(workplace.assets)[2], track=1, number=1)
        rotated.crops.put([later])
        process(rotated, [waiting.id, later.id])
        assert len(workplace.rows(Sighting)) == 2
        blobs = [row.blob or "" for row in workplace.rows(StoredCrop)]
        assert sorted(map(rotated.blobs.read, blobs)) == sorted(face.jpeg for face in man_a(workplace.assets)[:3])
    finally:
        rotated.vectors.close()
        rotated.redis.close()
        rotated.registry.close()
