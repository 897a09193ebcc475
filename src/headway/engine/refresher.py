"""Cached answers fetched anew in the background, once per key; calls in the log like any other."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING

from headway.engine.calls import refreshing
from headway.engine.ways import fetched
from headway.types import Call, Reply
from headway.types.scope import outside

if TYPE_CHECKING:
    from headway.engine.stack import Stack

__all__ = ["Refresher"]

REFRESHES_MAX = 64
"""Background refreshes under way at once; further ones are left for the next caller."""


class Refresher:
    """Starts refreshes. They are nobody's: the caller that found a stale answer need not be there when one ends.

    Args:
        stack: What sends them; None while the engine is not open.
    """

    __slots__ = ("_stack", "_tasks")

    def __init__(self, stack: Callable[[], Stack | None]) -> None:
        self._stack = stack
        self._tasks: dict[bytes, asyncio.Task[Reply | None]] = {}

    def __call__(self, call: Call) -> asyncio.Task[Reply | None] | None:
        """Fetch the call's answer anew, or join who does already; None when too many are under way."""
        stack, key, tasks = self._stack(), call.key, self._tasks
        if stack is None or key is None:
            return None
        if key in tasks:
            return tasks[key]
        if len(tasks) >= REFRESHES_MAX:
            return None
        work = fetched(stack.handle, refreshing(call, stack.new_trace()))
        task = tasks[key] = asyncio.get_running_loop().create_task(work, context=outside())
        task.add_done_callback(lambda _: tasks.pop(key, None))
        return task

    async def aclose(self) -> None:
        """End those under way. Idempotent."""
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
