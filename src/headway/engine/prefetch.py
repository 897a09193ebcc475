"""Answers fetched before they are asked for: a likely next request, at the lowest priority, for the cache.

The real request joins the one under way, or finds its answer stored. A prefetch must never cost a caller anything: it
is dropped where others wait for the provider's limits or where the budget is short, and its failures are nobody's.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Any, Protocol

from headway.attempt.budget import PREFETCH_PRIORITY
from headway.errors import HeadwayError
from headway.types import Reply

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

    def __call__(self, path: str, body: Mapping[str, Any] | bytes) -> bool:
        """Start fetching; False where it was dropped. Never raises for what becomes of it."""
        if len(self._tasks) >= UNDER_WAY_MAX or not self._welcome():
            return False
        task = asyncio.get_running_loop().create_task(self._fetch(path, body))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return True

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
