"""Passwords: argon2id with the parameters of RFC 9106's second recommendation, as argon2-cffi chooses them."""

from __future__ import annotations

from argon2 import PasswordHasher
from argon2.exceptions import VerificationError

from lookout.errors import BadInputError

#: NIST SP 800-63B-4 asks for 15 characters where a password is all there is, and for no rules about which.
MIN_CHARACTERS = 15
MAX_CHARACTERS = 200

_hasher = PasswordHasher()
#: Verified when there is no such user, so that an answer takes as long.
_NOBODY = _hasher.hash("no user has this password")


def hash_password(password: str, *, user: str) -> str:
    """What is stored of a new password.

    Raises:
        BadInputError: it is too short, too long, or as good as the user's name.
    """
    if not MIN_CHARACTERS <= len(password) <= MAX_CHARACTERS:
        raise BadInputError(f"password: choose {MIN_CHARACTERS} to {MAX_CHARACTERS} characters; some words are fine.")
    if not password.lower().replace(user.lower(), "").strip() or len(set(password)) < 5:
        raise BadInputError("password: this one is too easy to guess; choose another.")
    return _hasher.hash(password)


def is_right(password: str, stored: str | None) -> bool:
    """Whether it is the password; it takes the same time where there is none."""
    try:
        return _hasher.verify(stored or _NOBODY, password) and stored is not None
    except VerificationError:
        return False
