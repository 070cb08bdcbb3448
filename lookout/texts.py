"""Texts that people type, as they are kept."""

from __future__ import annotations

import unicodedata

from lookout.errors import BadInputError


def clean(field: str, text: str, longest: int, *, required: bool = False) -> str:
    """A text without blanks around it, composed (Unicode NFC), so that the same letters are the same text.

    Args:
        field: what to call it in messages.
        text: as it was typed.
        longest: characters at most.
        required: whether it must not be empty.

    Raises:
        BadInputError: it is too long, empty though required, or holds control characters.
    """
    kept = unicodedata.normalize("NFC", text).strip()
    if required and not kept:
        raise BadInputError(f"{field}: give at least one character.")
    if len(kept) > longest:
        raise BadInputError(f"{field}: give at most {longest} characters.")
    if any(unicodedata.category(letter) in ("Cc", "Cs") and letter not in "\n\r\t" for letter in kept):
        raise BadInputError(f"{field}: leave out control characters.")
    return kept
