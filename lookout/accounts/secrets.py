"""Secrets that Lookout hands out: tokens of sessions, programs and one-time links. Only their hashes are stored."""

from __future__ import annotations

import hashlib
import secrets


def new_secret(prefix: str) -> str:
    """256 random bits as text. The prefix lets scanners find one that was committed by mistake."""
    return f"{prefix}_{secrets.token_urlsafe(32)}"


def digest(secret: str) -> str:
    """What is stored of a secret: SHA-256, as nobody can guess 256 random bits."""
    return hashlib.sha256(secret.encode()).hexdigest()
