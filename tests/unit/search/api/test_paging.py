"""What lists, changes and creations over HTTP have in common."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import create_engine, select
from sqlalchemy.engine import make_url
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column

from lookout.accounts.rights import Identity, identity
from lookout.accounts.users import create_user
from lookout.audit import SYSTEM
from lookout.errors import BadInputError, StaleError
from lookout.stores.registry import Registry
from search.api import paging
from search.api.once import once
from search.api.versions import check_version


class Base(DeclarativeBase):
    pass


class Row(Base):
    __tablename__ = "rows"

    id: Mapped[str] = mapped_column(primary_key=True)
    at_us: Mapped[int]


ids = st.text("0123456789abc/ä", min_size=1, max_size=3)


@given(
    rows=st.dictionaries(ids, st.integers(-3, 3), max_size=25),
    late=st.dictionaries(ids.map(lambda one: f"late{one}"), st.integers(-3, 3), max_size=10),
    limit=st.integers(1, 7),
)
@settings(deadline=None)
def test_cursors_neither_skip_nor_repeat_whatever_comes_meanwhile(
    rows: dict[str, int], late: dict[str, int], limit: int
) -> None:
    engine = create_engine("sqlite://")
    Base.metadata.create_all(engine)
    coming = iter(late.items())
    seen: list[str] = []
    cursor: str | None = None
    with Session(engine) as session:
        session.add_all(Row(id=one, at_us=at_us) for one, at_us in rows.items())
        while True:
            after = paging.older_than(cursor, Row.at_us, Row.id)
            query = select(Row).where(*([] if after is None else [after]))
            found = session.scalars(query.order_by(Row.at_us.desc(), Row.id.desc()).limit(limit + 1)).all()
            last = found[:limit][-1:]
            page = paging.page(list(found), limit, paging.cursor(last[0].at_us, last[0].id) if last else None)
            seen += [row.id for row in page["items"]]
            if (cursor := page["next"]) is None:
                break
            if (new := next(coming, None)) is not None:
                session.add(Row(id=new[0], at_us=new[1]))
                session.flush()
    engine.dispose()

    assert len(seen) == len(set(seen))
    expected = sorted(rows, key=lambda one: (rows[one], one), reverse=True)
    assert [one for one in seen if one in rows] == expected


@given(given_cursor=st.text(max_size=40))
def test_what_is_no_cursor_is_refused(given_cursor: str) -> None:
    try:
        at_us, row_id = paging.read_cursor(given_cursor)
    except BadInputError:
        return
    assert -(2**63) <= at_us < 2**63
    assert row_id


@given(at_us=st.integers(-(2**63), 2**63 - 1), row_id=st.text(st.characters(exclude_categories=["Cs"]), min_size=1))
def test_a_cursor_is_read_as_it_was_made(at_us: int, row_id: str) -> None:
    if "\0" not in row_id:
        assert paging.read_cursor(paging.cursor(at_us, row_id)) == (at_us, row_id)


@pytest.mark.parametrize("sent", ['"3"', ' "3" ', '"2", "3"', "*"])
def test_the_version_that_was_read_is_changed(sent: str) -> None:
    check_version(sent, 3)


@pytest.mark.parametrize("sent", ['"2"', "3", "", 'W/"3"', '"33"'])
def test_another_version_is_not(sent: str) -> None:
    with pytest.raises(StaleError):
        check_version(sent, 3)


def test_a_version_must_be_named() -> None:
    with pytest.raises(BadInputError, match="If-Match"):
        check_version(None, 3)


@pytest.fixture
def registry(tmp_path: Path) -> Registry:
    made = Registry(make_url(f"sqlite:///{tmp_path / 'registry.db'}"))
    made.migrate()
    return made


@pytest.fixture
def anna(registry: Registry) -> Identity:
    with registry.transaction() as session:
        return identity(create_user(session, SYSTEM, name="anna", role="operator"), via="token", address="")


def test_a_key_makes_one_thing(registry: Registry, anna: Identity) -> None:
    made: list[int] = []

    def make(session: Session) -> dict[str, object]:
        made.append(1)
        return {"id": len(made), "secret": "s"}

    def ask(key: str | None, request: str = "r") -> bytes:
        return bytes(once(registry, anna, key, request, make, shown_once=("secret",)).body)

    with ThreadPoolExecutor(4) as pool:
        answers = [one.result() for one in [pool.submit(ask, "k") for _ in range(4)]]
    assert sorted(answers) == sorted([b'{"id":1,"secret":"s"}'] + [b'{"id":1,"secret":null}'] * 3)
    with pytest.raises(BadInputError, match="another request"):
        ask("k", "another")
    assert ask("l") == b'{"id":2,"secret":"s"}'
    assert ask(None) == b'{"id":3,"secret":"s"}'
    assert ask(None) == b'{"id":4,"secret":"s"}'


def test_what_failed_can_be_tried_again_with_its_key(registry: Registry, anna: Identity) -> None:
    def fail(session: Session) -> dict[str, object]:
        raise BadInputError("not so")

    with pytest.raises(BadInputError, match="not so"):
        once(registry, anna, "k", "r", fail)

    assert once(registry, anna, "k", "r", lambda _session: {"id": 1}).body == b'{"id":1}'
