"""Connection, transactions and migrations of the registry."""

from __future__ import annotations

import contextlib
import fcntl
import sqlite3
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, cast

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from alembic.util import CommandError
from sqlalchemy import Connection, create_engine, event, text
from sqlalchemy.engine import URL
from sqlalchemy.exc import DBAPIError, OperationalError
from sqlalchemy.orm import Session

from lookout.errors import ConflictError, UnavailableError

#: One process at a time migrates a PostgreSQL registry; an arbitrary number that only Lookout uses.
MIGRATION_LOCK = 7_013_554
#: Alembic keeps the running migration in global variables: one thread of a process at a time.
_alembic = threading.Lock()
#: What one process at a time does: arbitrary numbers that only Lookout uses.
EXCLUSIVE = {"index": 7_013_556, "switch": 7_013_557}
#: How long SQLite waits for another writer.
SQLITE_BUSY_S = 30


#: Held from a transaction's last steps to its commit.
ORDER_LOCK = 7_013_555
_LAST_STEPS = "last_steps"
LastStep = Callable[[Session], None]


def do_last(session: Session, step: LastStep) -> None:
    """Have something done at the end of a transaction, in an order that is the same for all who look.

    Transactions that number rows one after the other (the audit, events of alerts) take turns from here to their
    commit. Whoever has seen number 7 has then seen 6, too. As it comes last, no two of them can wait for one another.
    """
    session.info.setdefault(_LAST_STEPS, []).append(step)


class Registry:
    """The SQL registry: the authority on everything. SQLite in WAL mode or PostgreSQL."""

    def __init__(self, url: URL) -> None:
        self.url = url
        self._sqlite = url.get_backend_name() == "sqlite"
        if self._sqlite:
            if url.database:
                path = Path(url.database)
                path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
                # Only the owner reads it, as it holds templates; SQLite gives its other files the mode of this one.
                with contextlib.suppress(OSError):  # its first use will say what is wrong
                    path.touch(mode=0o600)
            self.engine = create_engine(url, connect_args={"timeout": SQLITE_BUSY_S})
            event.listen(self.engine, "connect", _configure_sqlite)
            event.listen(self.engine, "begin", _begin_sqlite)
        else:
            self.engine = create_engine(url, pool_pre_ping=True, connect_args={"connect_timeout": 5})

    @contextlib.contextmanager
    def transaction(self) -> Iterator[Session]:
        """A session that commits at the end, or rolls back on an error. For writing.

        Raises:
            UnavailableError: the database does not answer.
        """
        with self._session(immediate=True) as session, session.begin():
            yield session
            self._finish(session)

    @contextlib.contextmanager
    def reading(self) -> Iterator[Session]:
        """A session that only reads; in SQLite it waits for no writer.

        Raises:
            UnavailableError: the database does not answer.
        """
        with self._session(immediate=False) as session:
            yield session

    @contextlib.contextmanager
    def _session(self, *, immediate: bool) -> Iterator[Session]:
        bind = self.engine.execution_options(immediate=immediate)
        try:
            with Session(bind, expire_on_commit=False) as session:
                yield session
        except OperationalError as error:
            raise UnavailableError(
                f"the registry ({self.url.render_as_string()}) does not answer: {error.orig}"
            ) from error
        except DBAPIError as error:
            if error.connection_invalidated:
                raise UnavailableError(f"the registry ({self.url.render_as_string()}) broke the connection") from error
            raise

    def _finish(self, session: Session) -> None:
        last_steps: list[LastStep] = session.info.pop(_LAST_STEPS, [])
        if not last_steps:
            return
        session.flush()
        if not self._sqlite:  # where there is one writer at a time anyway
            session.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": ORDER_LOCK})
        for step in last_steps:
            step(session)

    @contextlib.contextmanager
    def exclusively(self, what: str, *, wait: bool = True) -> Iterator[None]:
        """Nobody else, in no process, does what is named in `EXCLUSIVE` meanwhile.

        Args:
            what: its name there.
            wait: until others have done it.

        Raises:
            ConflictError: somebody does it just now, and nobody was to wait.
        """
        busy = ConflictError(f"another process is at the same work ({what}): wait until it is done.")
        if self._sqlite:
            with Path(f"{self.url.database}.{what}.lock").open("w") as lock:
                try:
                    fcntl.flock(lock, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError:
                    raise busy from None
                yield
            return
        key = {"key": EXCLUSIVE[what]}
        with self.engine.connect() as connection:
            if wait:
                connection.execute(text("SELECT pg_advisory_lock(:key)"), key)
            elif not connection.scalar(text("SELECT pg_try_advisory_lock(:key)"), key):
                raise busy
            try:
                yield
            finally:
                connection.execute(text("SELECT pg_advisory_unlock(:key)"), key)

    def migrate(self) -> None:
        """Bring the schema to the newest version. Several processes may call it at once.

        Raises:
            UnavailableError: the database does not answer.
            ConflictError: its schema is none that this version knows, or rows in it point to what is not there.
        """
        try:
            with _alembic, self._migration_lock():
                if self.is_current():
                    return
                with self._free_of_references() as connection:
                    config = _alembic_config()
                    config.attributes["connection"] = connection
                    command.upgrade(config, "head")
        except CommandError as error:
            raise ConflictError(
                f"the registry ({self.url.render_as_string()}) was made by another version of Lookout: {error}. "
                "Run that version, or begin with an empty one."
            ) from error
        except OperationalError as error:
            raise UnavailableError(
                f"the registry ({self.url.render_as_string()}) does not answer: {error.orig}"
            ) from error

    def is_current(self) -> bool:
        """Whether the schema is the newest version; False also when the database does not answer."""
        try:
            with self.engine.connect() as connection:
                found = MigrationContext.configure(connection).get_current_revision()
        except OperationalError:
            return False
        return found == ScriptDirectory.from_config(_alembic_config()).get_current_head()

    @contextlib.contextmanager
    def _free_of_references(self) -> Iterator[Connection]:
        """A transaction that may put another table in a table's place, as SQLite changes one, though rows point there.

        What SQLite's documentation says of it is in https://www.sqlite.org/lang_altertable.html, section 7.
        """
        with self.engine.connect() as connection:
            if not self._sqlite:
                with connection.begin():
                    yield connection
                return
            # Within a transaction it would change nothing.
            execute = cast("sqlite3.Connection", connection.connection.driver_connection).execute
            execute("PRAGMA foreign_keys=OFF")
            try:
                with connection.begin():
                    yield connection
                    if lost := connection.exec_driver_sql("PRAGMA foreign_key_check").all():
                        raise ConflictError(
                            f"the registry ({self.url.render_as_string()}) was not migrated: {len(lost)} rows, of "
                            f"{lost[0][0]} first, point to what is not there. Bring back its latest backup."
                        )
            finally:
                execute("PRAGMA foreign_keys=ON")

    @contextlib.contextmanager
    def _migration_lock(self) -> Iterator[None]:
        if self._sqlite:
            if not self.url.database:
                yield
                return
            with Path(f"{self.url.database}.lock").open("w") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX)
                yield
        else:
            with self.engine.connect() as connection:
                connection.execute(text("SELECT pg_advisory_lock(:key)"), {"key": MIGRATION_LOCK})
                try:
                    yield
                finally:
                    connection.execute(text("SELECT pg_advisory_unlock(:key)"), {"key": MIGRATION_LOCK})

    def close(self) -> None:
        """Close all connections."""
        self.engine.dispose()


def _alembic_config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).with_name("migrations")).replace("%", "%%"))
    return config


def _configure_sqlite(connection: Any, _record: object) -> None:
    # The driver's own transaction handling would begin late; `_begin_sqlite` does it instead.
    connection.isolation_level = None
    for pragma in ("journal_mode=WAL", "synchronous=NORMAL", "foreign_keys=ON", "secure_delete=ON"):
        connection.execute(f"PRAGMA {pragma}")


def _begin_sqlite(connection: Any) -> None:
    # A writer that starts as a reader cannot wait for its turn later ("database is locked"), so it takes it at once.
    immediate = connection.get_execution_options().get("immediate", True)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if immediate else "BEGIN")
