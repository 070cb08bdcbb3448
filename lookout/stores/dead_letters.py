"""Messages to the workers that keep failing, in Redis: how often each was tried, and those that were given up."""

from __future__ import annotations

import msgspec
from redis import Redis

from lookout.messages import DeadLetter
from lookout.stores.crops import crop_key
from lookout.stores.redis import redis_errors

#: How long the attempts of a message are remembered.
KEEP_ATTEMPTS_S = 600
#: Crops of a dead letter wait this long for somebody to look; then privacy wins.
KEEP_DEAD_S = 24 * 3600
MAX_DEAD_LETTERS = 1000

_KEY = "dead_letters"
_decoder = msgspec.msgpack.Decoder(DeadLetter)
_encoder = msgspec.msgpack.Encoder()


class DeadLetters:
    """The dead letters in Redis. They name crops, and hold none."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis

    def count_attempt(self, message_id: str) -> int:
        """Count that a message is tried once more; also when the attempt before took its process down."""
        key = _attempts(message_id)
        with redis_errors(), self._redis.pipeline() as pipe:
            pipe.incr(key)
            pipe.expire(key, KEEP_ATTEMPTS_S)
            return int(pipe.execute()[0])

    def forget_attempts(self, message_id: str) -> None:
        """Count a message's attempts from the beginning: it was not what failed."""
        with redis_errors():
            self._redis.delete(_attempts(message_id))

    def bury(self, letter: DeadLetter) -> None:
        """Put a message on the list, and keep its crops for a look."""
        with redis_errors(), self._redis.pipeline() as pipe:
            pipe.hset(_KEY, letter.id, _encoder.encode(letter))
            pipe.delete(_attempts(letter.id))
            for crop_id in letter.crop_ids:
                pipe.expire(crop_key(crop_id), KEEP_DEAD_S)
            pipe.execute()
        letters = self.all()
        for old in letters[: max(0, len(letters) - MAX_DEAD_LETTERS)]:
            self.exhume(old.id)

    def all(self) -> list[DeadLetter]:
        """All of them, oldest first."""
        with redis_errors():
            letters = [_decoder.decode(data) for data in self._redis.hvals(_KEY) if isinstance(data, bytes)]
        return sorted(letters, key=lambda letter: letter.failed_at_us)

    def exhume(self, letter_id: str) -> None:
        """Take a message off the list."""
        with redis_errors():
            self._redis.hdel(_KEY, letter_id)


def _attempts(message_id: str) -> str:
    return f"attempts:{message_id}"
