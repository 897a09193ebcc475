"""A process that serves for weeks takes as much memory as it did after its first minutes.

A connection that ended, and a call that was cancelled, hold each other until the garbage collector looks. The longer
that waits, the longer it stops the process, and the more such rubbish stands between what is in use: the C library
gives memory back from the end of its heap only, unless it is asked.
"""

from __future__ import annotations

import ctypes
import gc
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any, Final

__all__ = ["settle"]

ALLOCATIONS: Final = 5_000
"""Objects more than before at which the collector looks at the youngest. A call that succeeds leaves none, a client
who leaves over a hundred: more of them are longer pauses."""
YOUNG: Final = 5
"""Looks at the youngest for one at those that outlived one, and so on: what was under way at a look outlives it, and is
rubbish a moment later. At 20 and 50 that grew for seven minutes (by 50 MB, 600 calls a second)."""


def settle() -> None:
    """Once, when all is set up."""
    gc.collect()
    gc.freeze()  # what stands now stands to the end: nobody need look at it again
    gc.collect()  # of nothing: the oldest are looked at when they have grown by a quarter, as of now without the frozen
    gc.set_threshold(ALLOCATIONS, YOUNG, YOUNG)
    if _give_back not in gc.callbacks:
        gc.callbacks.append(_give_back)


def _give_back(phase: str, info: Mapping[str, Any]) -> None:
    """After a longer look, some times a minute under load: free pages go back to the system (about 1 ms)."""
    if phase == "stop" and info["generation"]:
        trim = _trimmer()
        if trim is not None:
            trim(0)


@cache
def _trimmer() -> Callable[[int], int] | None:
    try:
        trim: Callable[[int], int] = ctypes.CDLL(None).malloc_trim
    except (AttributeError, OSError, TypeError):
        return None  # not the GNU C library
    return trim
