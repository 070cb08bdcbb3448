"""Crops on their way from ingest to the workers, in Redis, and the dead letters of those that failed."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence

import msgspec
from redis import Redis
from redis.exceptions import RedisError

from lookout.clock import now_us
from lookout.errors import UnavailableError
from lookout.messages import Crop, DeadLetter

#: Crops are kept longer than their deadline, so that a late one is seen and counted as late, not as missing.
KEEP_LATE_S = 60
#: How long the attempts of a message are remembered.
KEEP_ATTEMPTS_S = 600
#: Crops of a dead letter wait this long for somebody to look; then privacy wins.
KEEP_DEAD_S = 24 * 3600
MAX_DEAD_LETTERS = 1000

_DEAD = "dead_letters"
_crops = msgspec.msgpack.Decoder(Crop)
_letters = msgspec.msgpack.Decoder(DeadLetter)
_encoder = msgspec.msgpack.Encoder()


class Crops:
    """The crops in Redis."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis

    def put(self, crops: Sequence[Crop]) -> None:
        """Store crops until they are embedded, or `KEEP_LATE_S` after their deadline."""
        now = now_us()
        with _redis_errors(), self._redis.pipeline(transaction=False) as pipe:
            for crop in crops:
                left_s = max(0, crop.deadline_us - now) // 1_000_000
                pipe.set(_key(crop.id), _encoder.encode(crop), ex=left_s + KEEP_LATE_S)
            pipe.execute()

    def get(self, ids: Sequence[str]) -> list[Crop | None]:
        """Fetch crops in the order of their ids; None where one is gone."""
        with _redis_errors():
            found = self._redis.mget([_key(crop_id) for crop_id in ids]) if ids else []
        return [_crops.decode(data) if isinstance(data, bytes) else None for data in found]

    def remove(self, ids: Sequence[str]) -> None:
        """Forget crops whose results are stored."""
        if ids:
            with _redis_errors():
                self._redis.unlink(*map(_key, ids))

    def count_attempt(self, message_id: str) -> int:
        """Count that a message is tried once more; also when the attempt before took its process down."""
        key = _attempts(message_id)
        with _redis_errors(), self._redis.pipeline() as pipe:
            pipe.incr(key)
            pipe.expire(key, KEEP_ATTEMPTS_S)
            return int(pipe.execute()[0])

    def forget_attempts(self, message_id: str) -> None:
        """Count a message's attempts from the beginning: it was not what failed."""
        with _redis_errors():
            self._redis.delete(_attempts(message_id))

    def bury(self, letter: DeadLetter) -> None:
        """Put a message on the list of dead letters, and keep its crops for a look."""
        with _redis_errors(), self._redis.pipeline() as pipe:
            pipe.hset(_DEAD, letter.id, _encoder.encode(letter))
            pipe.delete(_attempts(letter.id))
            for crop_id in letter.crop_ids:
                pipe.expire(_key(crop_id), KEEP_DEAD_S)
            pipe.execute()
            letters = self.dead_letters()
            for old in letters[: max(0, len(letters) - MAX_DEAD_LETTERS)]:
                self.exhume(old.id)

    def dead_letters(self) -> list[DeadLetter]:
        """All dead letters, oldest first."""
        with _redis_errors():
            letters = [_letters.decode(data) for data in self._redis.hvals(_DEAD) if isinstance(data, bytes)]
        return sorted(letters, key=lambda letter: letter.failed_at_us)

    def exhume(self, letter_id: str) -> None:
        """Take a message off the list of dead letters."""
        with _redis_errors():
            self._redis.hdel(_DEAD, letter_id)

    def renew_deadlines(self, ids: Sequence[str], deadline_us: int) -> list[str]:
        """Give crops of a dead letter a new deadline, for a replay; returns the ids of those still there."""
        crops = [crop for crop in self.get(ids) if crop is not None]
        self.put([msgspec.structs.replace(crop, deadline_us=deadline_us) for crop in crops])
        return [crop.id for crop in crops]


def _key(crop_id: str) -> str:
    return f"crop:{crop_id}"


def _attempts(message_id: str) -> str:
    return f"attempts:{message_id}"


@contextlib.contextmanager
def _redis_errors() -> Iterator[None]:
    try:
        yield
    except RedisError as error:
        raise UnavailableError(f"Redis does not answer: {error}") from error
