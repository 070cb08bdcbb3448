"""What all tables share."""

from __future__ import annotations

import uuid
from typing import Any

from sqlalchemy import JSON, BigInteger, Integer, MetaData
from sqlalchemy.orm import DeclarativeBase

#: Counts up by itself in both databases; SQLite does so with its own integers only.
Counter = BigInteger().with_variant(Integer, "sqlite")


class Base(DeclarativeBase):
    """Base of all tables; constraints have names, so that migrations can change them."""

    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(table_name)s_%(column_0_N_name)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "ck": "ck_%(table_name)s_%(constraint_name)s",
            "fk": "fk_%(table_name)s_%(column_0_name)s_%(referred_table_name)s",
            "pk": "pk_%(table_name)s",
        }
    )
    # An absent list is SQL's null, not JSON's: queries can ask for it.
    type_annotation_map = {  # noqa: RUF012
        int: BigInteger,
        dict[str, Any]: JSON(none_as_null=True),
        list[int]: JSON(none_as_null=True),
        list[str]: JSON(none_as_null=True),
        list[dict[str, Any]]: JSON(none_as_null=True),
        list[float]: JSON(none_as_null=True),
        list[list[float]]: JSON(none_as_null=True),
        list[list[list[float]]]: JSON(none_as_null=True),
    }


def new_id() -> str:
    """A random id."""
    return uuid.uuid4().hex
