"""Encryption at rest of what shows or describes a face: photos, crops, templates.

An item is sealed with XAES-256-GCM (https://c2sp.org/XAES-256-GCM): AES-256-GCM whose key is derived from the data key
and half of a random nonce of 192 bits. AES-GCM alone allows 2^32 items a key with random nonces, and many cameras seal
that many within months; here nobody has to count. Each item says which key sealed it, so that keys can be rotated, and
is bound to its place, so that no item can be put where another was.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.ciphers.algorithms import AES256
from cryptography.hazmat.primitives.cmac import CMAC

from lookout.errors import BadInputError, SealError
from lookout.secret_files import read_or_make, secret_path
from lookout.settings import Settings

#: An item is header (`MAGIC` and the key's id), nonce, and the ciphertext with its tag.
MAGIC = b"LK1"
KEY_ID_BYTES = 4
KEY_BYTES = 32
NONCE_BYTES = 24
HEADER_BYTES = len(MAGIC) + KEY_ID_BYTES
_LINE = re.compile(rf"([0-9a-f]{{{2 * KEY_ID_BYTES}}}):([0-9a-f]{{{2 * KEY_BYTES}}})", re.IGNORECASE)
_REMEDY = "put its line back into the data keys (docs/operations.md, Secrets)"


@dataclass(frozen=True, slots=True)
class Keyring:
    """Data keys by their ids; the first one seals, all of them open.

    Attributes:
        keys: id of 4 bytes -> key of 32 bytes.
    """

    keys: Mapping[bytes, bytes] = field(repr=False)

    @classmethod
    def parse(cls, text: str) -> Keyring:
        """Read a ring: one key a line, `id:key`, as 8 and 64 hexadecimal digits.

        Raises:
            BadInputError: a line is no key; the message says which line, and nothing of what is in it.
        """
        keys: dict[bytes, bytes] = {}
        for number, line in enumerate(text.split(), 1):
            found = _LINE.fullmatch(line)
            if found is None:
                raise BadInputError(
                    f"data keys: line {number} is not `id:key`, 8 and 64 hexadecimal digits; "
                    "docs/operations.md, Secrets, tells how to make one."
                )
            key_id, key = map(bytes.fromhex, found.groups())
            if key_id in keys:
                raise BadInputError(f"data keys: line {number} has the id of a line before, {key_id.hex()}.")
            keys[key_id] = key
        if not keys:
            raise BadInputError("data keys: there is none; docs/operations.md, Secrets, tells how to make one.")
        return cls(keys)

    @staticmethod
    def new_key() -> str:
        """A line with a random key."""
        return f"{os.urandom(KEY_ID_BYTES).hex()}:{os.urandom(KEY_BYTES).hex()}"

    def seal(self, data: bytes, place: str) -> bytes:
        """Encrypt an item for its place, say its blob's name; it gets 47 bytes longer."""
        key_id, key = next(iter(self.keys.items()))
        header, nonce = MAGIC + key_id, os.urandom(NONCE_BYTES)
        return header + nonce + xaes_seal(key, nonce, data, header + place.encode())

    def open(self, item: bytes, place: str) -> bytes:
        """Decrypt the item that lies in a place.

        Raises:
            SealError: its key is not in the ring, or it is not as it was sealed for this place.
        """
        header, nonce = item[:HEADER_BYTES], item[HEADER_BYTES : HEADER_BYTES + NONCE_BYTES]
        if not header.startswith(MAGIC):
            raise SealError(f"{place} cannot be opened: it is not sealed.")
        key_id = header[len(MAGIC) :]
        if key_id not in self.keys:
            raise SealError(f"{place} cannot be opened: the key {key_id.hex()} is missing; {_REMEDY}.")
        try:
            return xaes_open(self.keys[key_id], nonce, item[HEADER_BYTES + NONCE_BYTES :], header + place.encode())
        except (InvalidTag, ValueError) as error:
            raise SealError(
                f"{place} cannot be opened: it is damaged, or was sealed for another place, or with another key "
                f"of the id {key_id.hex()}."
            ) from error


def keyring(settings: Settings) -> Keyring:
    """The data keys of the settings, or those in `<home>/secrets/data_keys`, made when there is no data yet.

    Raises:
        BadInputError: a line is no key; or the file is missing where there is, or may be, data that it sealed.
    """
    if settings.data_keys is not None:
        return Keyring.parse(settings.data_keys.get_secret_value())
    path = secret_path(settings.home, "data_keys")
    # In this order: a process that writes data has made the keys before.
    if _may_have_data(settings) and not path.exists():
        raise BadInputError(
            f"there are no data keys: set LOOKOUT_DATA_KEYS, or put them back into {path}. "
            "Photos, crops and templates open only with the keys that sealed them."
        )
    return Keyring.parse(read_or_make(path, Keyring.new_key))


def xaes_seal(key: bytes, nonce: bytes, data: bytes, associated: bytes) -> bytes:
    """Encrypt with a key of 32 bytes and a nonce of 24; the result is 16 bytes longer than the data."""
    return _derived(key, nonce).encrypt(nonce[12:], data, associated)


def xaes_open(key: bytes, nonce: bytes, ciphertext: bytes, associated: bytes) -> bytes:
    """Decrypt what `xaes_seal` made of the same key, nonce and associated data.

    Raises:
        InvalidTag, ValueError: it did not, or is cut off.
    """
    return _derived(key, nonce).decrypt(nonce[12:], ciphertext, associated)


def _derived(key: bytes, nonce: bytes) -> AESGCM:
    halves = []
    for counter in (1, 2):
        mac = CMAC(AES256(key))
        mac.update(b"\x00" + bytes([counter]) + b"X\x00" + nonce[:12])
        halves.append(mac.finalize())
    return AESGCM(b"".join(halves))


def _may_have_data(settings: Settings) -> bool:
    """Whether something was sealed in this home; yes where that is elsewhere, and other homes need the same keys.

    Every reference and nearly every sighting has a picture.
    """
    elsewhere = settings.database_url or settings.blobs_url
    return bool(elsewhere) or any(files for _, _, files in os.walk(settings.home / "blobs"))
