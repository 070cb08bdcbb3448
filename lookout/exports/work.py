"""What making an export can be told, and can tell, while it goes on."""

from __future__ import annotations

from collections.abc import Callable

from lookout.errors import LookoutError

#: Called often with the share that is done, 0..1; raises `StoppedError` if the export is wanted no more.
Tick = Callable[[float], None]


class ExportError(LookoutError):
    """An export cannot be made, and trying again at once would not help; the message is for who asked for it."""


class StoppedError(Exception):
    """The export was removed meanwhile, or somebody else makes it."""


def part(tick: Tick, begin: float, end: float) -> Tick:
    """A tick for a part of the work, which is the share from `begin` to `end`."""
    return lambda share: tick(begin + (end - begin) * min(1.0, max(0.0, share)))
