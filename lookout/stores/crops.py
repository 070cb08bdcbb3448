"""Crops on their way from ingest to the workers, and the frames they were cut from, in Redis."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import msgspec
from redis import Redis

from lookout.clock import now_us
from lookout.messages import Crop
from lookout.sealing import Keyring
from lookout.stores.redis import redis_errors

#: Crops are kept longer than their deadline, so that a late one is seen and counted as late, not as missing.
KEEP_LATE_S = 60

_decoder = msgspec.msgpack.Decoder(Crop)
_encoder = msgspec.msgpack.Encoder()


class Crops:
    """The crops in Redis, each sealed for its key: Redis writes them to disk."""

    def __init__(self, redis: Redis, keyring: Keyring) -> None:
        self._redis = redis
        self._keyring = keyring

    def put(self, crops: Sequence[Crop]) -> None:
        """Store crops until they are embedded, or `KEEP_LATE_S` after their deadline."""
        now = now_us()
        with redis_errors(), self._redis.pipeline(transaction=False) as pipe:
            for crop in crops:
                key = crop_key(crop.id)
                pipe.set(key, self._keyring.seal(_encoder.encode(crop), key), ex=_keep_s(crop.deadline_us, now))
            pipe.execute()

    def get(self, ids: Sequence[str]) -> list[Crop | None]:
        """Fetch crops in the order of their ids; None where one is gone.

        Raises:
            SealError: one cannot be decrypted.
        """
        keys = [crop_key(crop_id) for crop_id in ids]
        with redis_errors():
            found = self._redis.mget(keys) if keys else []
        return [
            _decoder.decode(self._keyring.open(sealed, key)) if isinstance(sealed, bytes) else None
            for key, sealed in zip(keys, found, strict=True)
        ]

    def put_frame(self, frame_id: str, jpeg: bytes, deadline_us: int) -> None:
        """Store the whole frame of crops, reduced, as long as a crop of that deadline."""
        key = frame_key(frame_id)
        with redis_errors():
            self._redis.set(key, self._keyring.seal(jpeg, key), ex=_keep_s(deadline_us, now_us()))

    def get_frame(self, frame_id: str) -> bytes | None:
        """The frame of a crop as JPEG; None where it is gone, or never came.

        Raises:
            SealError: it cannot be decrypted.
        """
        key = frame_key(frame_id)
        with redis_errors():
            sealed = self._redis.get(key)
        return self._keyring.open(sealed, key) if isinstance(sealed, bytes) else None

    def remove(self, ids: Sequence[str], frames: Iterable[str] = ()) -> None:
        """Forget crops whose results are stored, and the frames that they were cut from."""
        keys = [*map(crop_key, ids), *map(frame_key, frames)]
        if keys:
            with redis_errors():
                self._redis.unlink(*keys)

    def renew_deadlines(self, ids: Sequence[str], deadline_us: int) -> list[str]:
        """Give crops of a dead letter a new deadline, for a replay; returns the ids of those still there."""
        crops = [crop for crop in self.get(ids) if crop is not None]
        self.put([msgspec.structs.replace(crop, deadline_us=deadline_us) for crop in crops])
        return [crop.id for crop in crops]


def crop_key(crop_id: str) -> str:
    """A crop's key in Redis."""
    return f"crop:{crop_id}"


def frame_key(frame_id: str) -> str:
    """A frame's key in Redis."""
    return f"frame:{frame_id}"


def _keep_s(deadline_us: int, now: int) -> int:
    return max(0, deadline_us - now) // 1_000_000 + KEEP_LATE_S
