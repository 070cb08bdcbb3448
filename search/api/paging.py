"""Pages of a list, by cursors: no row is seen twice or left out while others are added."""

from __future__ import annotations

import base64
import binascii
from typing import Annotated, Any

from fastapi import Query
from sqlalchemy import ColumnElement, and_, or_
from sqlalchemy.orm import InstrumentedAttribute

from lookout.errors import BadInputError

MAX_LIMIT = 500

Limit = Annotated[int, Query(ge=1, le=MAX_LIMIT, description="how many at most")]
Cursor = Annotated[str | None, Query(max_length=400, description="`next` of the page before")]


def cursor(at_us: int, row_id: str) -> str:
    """Where the next page begins: after the row of this time and id."""
    return base64.urlsafe_b64encode(f"{at_us}/{row_id}".encode()).decode()


def older_than(
    given: str | None, at_us: InstrumentedAttribute[int], row_id: InstrumentedAttribute[str]
) -> ColumnElement[bool] | None:
    """The rows after a cursor, where the newest come first; None for the first page.

    Raises:
        BadInputError: it is no cursor.
    """
    if given is None:
        return None
    last_us, last_id = read_cursor(given)
    return or_(at_us < last_us, and_(at_us == last_us, row_id < last_id))


def read_cursor(given: str) -> tuple[int, str]:
    """Time and id of a cursor.

    Raises:
        BadInputError: it is none.
    """
    try:
        at_us, _, row_id = base64.urlsafe_b64decode(given).decode().partition("/")
        found = int(at_us)
    except (binascii.Error, ValueError) as error:
        raise BadInputError("cursor: this is none that Lookout gave; begin without one.") from error
    if not -(2**63) <= found < 2**63 or not row_id or "\0" in row_id:
        raise BadInputError("cursor: this is none that Lookout gave; begin without one.")
    return found, row_id


def page(items: list[Any], limit: int, next_cursor: str | None) -> dict[str, Any]:
    """A page of a list as JSON: `items`, and `next`, null on the last page."""
    return {"items": items[:limit], "next": next_cursor if len(items) > limit else None}
