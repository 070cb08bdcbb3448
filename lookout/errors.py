"""All errors that Lookout raises on purpose.

Each message says what happened, to what, and what to do about it::

    LookoutError
    ├── BadInputError          the user's file, photo or value is at fault (exit code 2, HTTP 422)
    │   ├── CameraFileError    cameras.toml does not hold
    │   └── PhotoError         a photo cannot be enrolled; `reasons` says why
    ├── NotFoundError          no such watchlist, target, model … (exit code 2, HTTP 404)
    ├── ConflictError          it exists already (exit code 2, HTTP 409)
    ├── RefusedError           who asks may not (exit code 2, HTTP 403)
    ├── StaleError             somebody else changed it meanwhile (HTTP 412)
    ├── AssetError             a model or clip cannot be fetched, or its hash is wrong
    ├── CameraError            a camera cannot be read; `reason` is a label for metrics
    ├── SealError              a photo, crop or template cannot be decrypted
    └── UnavailableError       a part (Redis, Milvus, SQL, blobs) does not answer: wait and try again
"""

from __future__ import annotations

from collections.abc import Sequence

#: How a command ends whose input is wrong, the same as for wrong arguments. No restart mends it.
EXIT_BAD_INPUT = 2


class LookoutError(Exception):
    """Base of all errors that carry a message for a person."""


class BadInputError(LookoutError):
    """What the user gave cannot be used."""


class CameraFileError(BadInputError):
    """`cameras.toml` names something that does not hold; the message gives line and field."""


class PhotoError(BadInputError):
    """A photo cannot be enrolled."""

    def __init__(self, message: str, *, reasons: Sequence[str]) -> None:
        super().__init__(message)
        self.reasons = tuple(reasons)


class NotFoundError(LookoutError):
    """What was named does not exist."""


class ConflictError(LookoutError):
    """What was to be made exists already."""


class RefusedError(LookoutError):
    """Who asks may not do it, or is not who they say."""


class StaleError(LookoutError):
    """What is to be changed is not as it was when it was read."""


class AssetError(LookoutError):
    """A model or a clip cannot be fetched, verified or converted."""


class CameraError(LookoutError):
    """A camera cannot be read.

    Attributes:
        reason: one word, for metrics and tables: `refused`, `not_found`, `unauthorised`, `timeout`, `not_video`, …
    """

    def __init__(self, message: str, *, reason: str) -> None:
        super().__init__(message)
        self.reason = reason


class SealError(LookoutError):
    """What is encrypted at rest cannot be opened: its key is missing, or it is not as it was stored."""


class UnavailableError(LookoutError):
    """A part of the system does not answer now; the same call may work later."""
