"""Versions of what is edited: nobody overwrites what somebody else changed meanwhile (RFC 9110, `If-Match`)."""

from __future__ import annotations

from typing import Annotated

from fastapi import Header, Response

from lookout.errors import BadInputError, StaleError

IfMatch = Annotated[str | None, Header(description="the `ETag` of what you read", max_length=100)]


def set_etag(response: Response, version: int) -> None:
    """Tell the version that an answer shows."""
    response.headers["ETag"] = f'"{version}"'


def check_version(if_match: str | None, version: int) -> None:
    """Refuse a change of what is not as the caller read it.

    Raises:
        BadInputError: no version is named.
        StaleError: it has another version now.
    """
    if if_match is None:
        raise BadInputError("If-Match: send the ETag of what you read, so that nobody's change is overwritten.")
    if if_match.strip() != "*" and f'"{version}"' not in [one.strip() for one in if_match.split(",")]:
        raise StaleError("somebody changed it meanwhile: read it again, then change it.")
