"""Answers fetched before they are asked for: a likely next request, at the lowest priority, for the cache.

The real request joins the one under way, or finds its answer stored. A prefetch must never cost a caller anything: it
is dropped where others wait for the provider's limits or where the budget is short, and its failures are nobody's.
Whole steps of pipelines are fetched ahead here, too (`pipeline.speculation`).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Mapping
from contextvars import Context
from typing import Any, Protocol

from headway.attempt.line import PREFETCH_PRIORITY
from headway.errors import HeadwayError
from headway.types import Reply
from headway.types.scope import left_behind

__all__ = ["Prefetcher"]

UNDER_WAY_MAX = 16


class Send(Protocol):
    """What is needed of `Engine.send`."""

    async def __call__(self, path: str, body: Mapping[str, Any] | bytes, *, priority: int = 0) -> Reply:
        """As `Engine.send`."""
        ...  # fmt: skip


class Prefetcher:
    """Fetches in the background, at most 16 at once.

    Args:
        send: `Engine.send`; called with the lowest priority, and the reply is read whole here.
        welcome: Whether there is room: a cache to put the answer in, nobody waiting, and a budget that is not short.
    """

    def __init__(self, send: Send, welcome: Callable[[], bool]) -> None:
        self._send = send
        self._welcome = welcome
        self._tasks: set[asyncio.Task[None]] = set()
        self.book: object | None = None
        """What decides about whole steps keeps its account here, for as long as the engine lives."""

    @property
    def room(self) -> bool:
        """Whether one more would be started now."""
        return len(self._tasks) < UNDER_WAY_MAX and self._welcome()

    def __call__(self, path: str, body: Mapping[str, Any] | bytes) -> bool:
        """Start fetching; False where it was dropped. Never raises for what becomes of it."""
        if not self.room:
            return False
        self.start(self._fetch(path, body), context=left_behind())
        return True

    def start(self, work: Coroutine[Any, Any, None], *, context: Context | None = None) -> asyncio.Task[None]:
        """Do something in the background, ended with the engine. Ask for `room` before; failures are not told here."""
        task = asyncio.get_running_loop().create_task(work, context=context)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def aclose(self) -> None:
        """End those under way. Idempotent."""
        tasks = tuple(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _fetch(self, path: str, body: Mapping[str, Any] | bytes) -> None:
        try:
            reply = await self._send(path, body, priority=PREFETCH_PRIORITY)
            await reply.read()
        except (HeadwayError, TypeError, ValueError):
            return  # its row in the call log says so; the real request will meet the same, and tell
