"""Work that takes long, beside the loop."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final, TypeVar

__all__ = ["aside"]

T = TypeVar("T")
_CHARS: Final = 200_000
"""A text of so many characters is split, or searched, in some tens of milliseconds."""


async def aside(work: Callable[[], T], chars: int) -> T:
    """What `work` gives; over long texts in a thread, so that the loop goes on.

    Under virtual time at once: a loop that waits for a thread has nothing to wait for.
    """
    if chars < _CHARS or getattr(asyncio.get_running_loop(), "is_virtual", False):
        return work()
    return await asyncio.to_thread(work)
