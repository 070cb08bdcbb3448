"""What a process asks of the operating system."""

from __future__ import annotations

import ctypes
import signal

_PR_SET_PDEATHSIG = 1
# Loaded here, as between fork and exec nothing may be loaded.
_LIBC = ctypes.CDLL(None, use_errno=True)


def die_with_parent() -> None:
    """Have the kernel kill this process when its parent dies, however that dies (Linux, prctl(2)).

    Everything Lookout stores survives a kill at any point, so no process needs to outlive its parent to tidy up.
    """
    _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
