from __future__ import annotations

import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr

from lookout.errors import BadInputError, SealError
from lookout.sealing import HEADER_BYTES, Keyring, keyring, xaes_open, xaes_seal
from lookout.secret_files import secret_path
from lookout.settings import Settings

ID, KEY = "0a1b2c3d", "0123456789abcdef" * 4
RING = Keyring.parse(f"{ID}:{KEY}")
PLACE = "crops/2026-11-01/a.jpg"
PLACES = st.text(max_size=60)


@pytest.mark.parametrize(
    ("key", "associated", "ciphertext"),
    [
        (1, b"", "ce546ef63c9cc60765923609b33a9a1974e96e52daf2fcf7075e2271"),
        (3, b"c2sp.org/XAES-256-GCM", "986ec1832593df5443a179437fd083bf3fdb41abd740a21f71eb769d"),
    ],
)
def test_it_is_xaes_256_gcm(key: int, associated: bytes, ciphertext: str) -> None:
    """The test vectors of https://c2sp.org/XAES-256-GCM."""
    arguments = bytes([key]) * 32, b"ABCDEFGHIJKLMNOPQRSTUVWX"
    assert xaes_seal(*arguments, b"XAES-256-GCM", associated).hex() == ciphertext
    assert xaes_open(*arguments, bytes.fromhex(ciphertext), associated) == b"XAES-256-GCM"


@given(st.binary(max_size=2000), PLACES)
def test_opens_what_it_sealed(data: bytes, place: str) -> None:
    item = RING.seal(data, place)
    assert RING.open(item, place) == data
    assert len(item) == len(data) + 47
    assert item != RING.seal(data, place), "equal pictures do not look equal"
    assert len(data) < 4 or data not in item


@given(st.binary(max_size=100), PLACES, PLACES)
def test_an_item_is_bound_to_its_place(data: bytes, place: str, other: str) -> None:
    item = RING.seal(data, place)
    if place != other:
        with pytest.raises(SealError, match="sealed for another place"):
            RING.open(item, other)


@given(st.binary(max_size=100), st.data())
def test_a_flipped_bit_is_noticed(data: bytes, draw: st.DataObject) -> None:
    item = bytearray(RING.seal(data, PLACE))
    position = draw.draw(st.integers(0, len(item) * 8 - 1))
    item[position // 8] ^= 1 << position % 8
    with pytest.raises(SealError, match="cannot be opened"):
        RING.open(bytes(item), PLACE)


@given(st.integers(0, 60))
def test_a_cut_off_item_is_noticed(left: int) -> None:
    with pytest.raises(SealError, match="cannot be opened"):
        RING.open(RING.seal(bytes(14), PLACE)[:left], PLACE)


@given(st.binary(max_size=100))
def test_what_is_not_sealed_is_not_taken_for_it(data: bytes) -> None:
    with pytest.raises(SealError, match="cannot be opened"):
        RING.open(data, PLACE)


def test_a_missing_key_is_named_with_the_remedy() -> None:
    item = Keyring.parse(f"deadbeef:{KEY}").seal(b"face", PLACE)
    with pytest.raises(SealError) as raised:
        RING.open(item, PLACE)
    assert str(raised.value) == (
        f"{PLACE} cannot be opened: the key deadbeef is missing; "
        "put its line back into the data keys (docs/operations.md, Secrets)."
    )


def test_another_key_under_the_same_id_opens_nothing() -> None:
    item = Keyring.parse(f"{ID}:{KEY[::-1]}").seal(b"face", PLACE)
    with pytest.raises(SealError, match=f"with another key of the id {ID}"):
        RING.open(item, PLACE)


def test_the_first_key_seals_and_all_open() -> None:
    old, new = Keyring.new_key(), Keyring.new_key()
    before = Keyring.parse(old).seal(b"face", PLACE)
    rotated = Keyring.parse(f"{new}\n{old}\n")

    assert rotated.open(before, PLACE) == b"face"
    after = rotated.seal(b"face", PLACE)
    assert Keyring.parse(new).open(after, PLACE) == b"face"
    assert after[:HEADER_BYTES].hex().endswith(new[:8])
    with pytest.raises(SealError, match="is missing"):
        Keyring.parse(old).open(after, PLACE)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "there is none"),
        (" \n\n", "there is none"),
        (KEY, "line 1 is not"),
        (f"{ID}:{KEY}\n{ID}{KEY}", "line 2 is not"),
        (f"{ID}:{KEY[:-1]}", "line 1 is not"),
        (f"{ID}:{KEY}00", "line 1 is not"),
        (f"{ID[:-1]}:{KEY}", "line 1 is not"),
        (f"{ID}:{KEY[:-1]}g", "line 1 is not"),
        (f"{ID}:{KEY}:{KEY}", "line 1 is not"),
        (f"{ID}:{KEY}\n{ID.upper()}:{KEY[::-1]}", f"line 2 has the id of a line before, {ID}"),
    ],
)
def test_what_is_no_ring_is_refused_without_showing_it(text: str, says: str) -> None:
    with pytest.raises(BadInputError, match=says) as raised:
        Keyring.parse(text)
    message = str(raised.value).lower()
    assert not any(part in message for part in (KEY[:8], KEY[::-1][:8]))


@given(st.text("0123456789abcdef:", min_size=6, max_size=63))
def test_no_fault_in_a_ring_shows_a_key(key: str) -> None:
    with pytest.raises(BadInputError) as raised:
        Keyring.parse(f"{ID}:{key}")
    assert key not in str(raised.value)


def test_no_key_shows_when_a_ring_is_printed() -> None:
    assert KEY not in f"{RING!r} {RING}"
    assert repr(bytes.fromhex(KEY))[2:-1] not in f"{RING!r} {RING}"


class TestKeyring:
    """Where a process gets its keys from."""

    @pytest.fixture(autouse=True)
    def here(self, tmp_path: Path) -> None:
        self.home = tmp_path / "home"
        self.file = secret_path(self.home, "data_keys")

    def blob(self) -> None:
        picture = self.home / "blobs" / PLACE
        picture.parent.mkdir(parents=True)
        picture.write_bytes(b"sealed")

    def test_those_of_the_settings(self) -> None:
        ring = keyring(Settings(home=self.home, data_keys=SecretStr(f"{ID}:{KEY}")))
        assert ring.open(RING.seal(b"face", PLACE), PLACE) == b"face"
        assert not self.file.exists()

    def test_they_are_made_once_and_for_the_owner_only(self) -> None:
        settings = Settings(home=self.home)
        item = keyring(settings).seal(b"face", PLACE)
        self.blob()
        assert keyring(settings).open(item, PLACE) == b"face"
        assert stat.S_IMODE(self.file.stat().st_mode) == 0o600
        assert stat.S_IMODE(self.file.parent.stat().st_mode) == 0o700
        assert list(self.file.parent.iterdir()) == [self.file]

    def test_all_who_come_at_once_get_the_same(self) -> None:
        settings = Settings(home=self.home)
        with ThreadPoolExecutor(8) as pool:
            rings = list(pool.map(keyring, [settings] * 40))
        item = rings[0].seal(b"face", PLACE)
        assert {ring.open(item, PLACE) for ring in rings} == {b"face"}
        assert list(self.file.parent.iterdir()) == [self.file]

    def test_lost_keys_are_not_replaced(self) -> None:
        self.blob()
        with pytest.raises(BadInputError, match=r"put them back into .*/secrets/data_keys"):
            keyring(Settings(home=self.home))
        assert not self.file.exists()

    @pytest.mark.parametrize(
        "elsewhere",
        [{"database_url": "postgresql+psycopg://u@db/lookout"}, {"blobs_url": "s3://lookout"}],
        ids=["database", "blobs"],
    )
    def test_none_are_made_for_data_that_others_share(self, elsewhere: dict[str, str]) -> None:
        settings = Settings(home=self.home).model_copy(update=elsewhere)
        with pytest.raises(BadInputError, match="set LOOKOUT_DATA_KEYS"):
            keyring(settings)
        self.file.parent.mkdir(parents=True)
        self.file.write_text(f"{ID}:{KEY}\n")
        assert keyring(settings).open(RING.seal(b"face", PLACE), PLACE) == b"face"
