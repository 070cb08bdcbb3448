"""One run of the sweeps: how long it goes on, and how much it does at once, so that nobody waits long for it."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator

from sqlalchemy.orm import Session

from lookout.metrics import SWEPT
from lookout.stores.registry import Registry

#: How long a transaction should hold SQLite's only lock for writing. Workers that store crops wait for it.
WRITE_S = 0.05
FEWEST_ROWS, MOST_ROWS = 25, 1000
#: After each step others have so many times as long: two cores that watch cameras have little to spare.
PAUSE = 2.0


class Turn:
    """One run.

    Attributes:
        rows: how many rows the next transaction should delete, after what the last ones took.
        swept: what went so far, by kind.
        longest_write_s: how long the longest transaction held the lock.
    """

    def __init__(self, seconds: float, still_ours: Callable[[], bool] = lambda: True) -> None:
        self.rows = 100
        self.swept: dict[str, int] = {}
        self.longest_write_s = 0.0
        self._ends_at = time.monotonic() + seconds
        self._still_ours = still_ours

    @property
    def is_over(self) -> bool:
        """Whether the time is up, or another process does the work."""
        return time.monotonic() >= self._ends_at or not self._still_ours()

    @contextlib.contextmanager
    def write(self, registry: Registry, rows: int) -> Iterator[Session]:
        """A transaction that deletes about so many rows; afterwards others have their turn."""
        with registry.transaction() as session:
            session.connection()  # waits for the lock
            began = time.monotonic()
            yield session
        took = time.monotonic() - began
        time.sleep(took * PAUSE)
        self.longest_write_s = max(self.longest_write_s, took)
        self.rows = min(max(int(rows * WRITE_S / max(took, 1e-4)), FEWEST_ROWS), self.rows * 2, MOST_ROWS)

    @contextlib.contextmanager
    def work(self) -> Iterator[None]:
        """The same of what holds no lock, but takes the time of a store or of the machine."""
        began = time.monotonic()
        yield
        time.sleep((time.monotonic() - began) * PAUSE)

    def count(self, **kinds: int) -> None:
        """Count what went, by kind."""
        for kind, number in kinds.items():
            if number:
                SWEPT.labels(kind).inc(number)
                self.swept[kind] = self.swept.get(kind, 0) + number
