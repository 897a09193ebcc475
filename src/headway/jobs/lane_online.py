"""The online lane: rows through the engine at once, at the default tier or at flex."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterable, Mapping
from contextlib import aclosing
from typing import Any, Literal, Protocol

import msgspec

from headway.jobs.feed import Counted
from headway.jobs.lanes import Item, LaneView, Settle, Took
from headway.types import Result, Tags, TaskLike

__all__ = ["EngineLike", "OnlineLane"]

_AHEAD_MAX = 64
_ELSEWHERE = frozenset({"throttled", "overloaded", "provider_timeout"})
"""What a row meets at the flex tier when there is no room: it goes on at the default tier."""


class EngineLike(Protocol):
    """What is asked of an engine; `headway.engine.Engine` is one."""

    def map(
        self,
        rows: AsyncIterable[Mapping[str, Any]],
        task: TaskLike,
        *,
        order: Literal["input", "completed"],
        concurrency: int,
        priority: int,
        tags: Tags | None,
    ) -> AsyncGenerator[Result, None]:
        """See `Engine.map`."""
        ...


class OnlineLane:
    """See the module. A failure of `Engine.map` itself (a mistake in the program) ends `closed` with it.

    Args:
        engine: Sends the rows.
        task: What is asked about each; with the flex tier in its bodies, for that lane.
        concurrency: Rows in flight at once.
        settle: See `lanes.Settle`.
        flex: Rows for which flex has no room, and all once flex is refused, are given back.
        priority: As in `Engine.send`; small rows below 0 may be grouped under load.
        tags: For the call log.
        rows: How many there will be, where that is known.
    """

    def __init__(
        self,
        engine: EngineLike,
        task: TaskLike,
        *,
        concurrency: int,
        settle: Settle,
        flex: bool = False,
        priority: int = 0,
        tags: Tags | None = None,
        rows: int | None = None,
    ) -> None:
        self.name = "flex" if flex else "online"
        self.answered = 0
        """Rows that were really asked about: no hits, no failures."""
        self.dollars = 0.0
        self.refused = ""
        """Why flex is not offered for this model."""
        self._engine = engine
        self._task = task
        self._concurrency = concurrency
        self._priority = priority
        self._tags = tags
        self._settle = settle
        self._rows = rows
        self._room = asyncio.Semaphore(_AHEAD_MAX)
        self._coming: asyncio.Queue[Item | None] = asyncio.Queue()  # bounded by `_room`
        self._in_flight: dict[int, Item] = {}
        self._waiting = 0
        self._fed = 0
        self._flushed = 0
        self.closed = asyncio.get_running_loop().create_task(self._work())
        """Done when the lane is."""

    async def put(self, item: Item) -> None:
        """See `Lane`."""
        await self._room.acquire()
        self._waiting += 1
        self._fed += 1
        self._coming.put_nowait(item)

    def flush(self) -> None:
        """Those that came are sent to their end; with the next one a new round begins."""
        if self._fed > self._flushed:
            self._flushed = self._fed
            self._coming.put_nowait(None)

    def owes(self, key: str) -> bool:
        """No: a run that is gone has left nothing under way here."""
        return False

    async def recall(self) -> None:
        """What is under way is soon done."""

    async def aclose(self) -> None:
        """See `Lane`."""
        self.closed.cancel()
        await asyncio.gather(self.closed, return_exceptions=True)

    def view(self) -> LaneView:
        """Live figures."""
        return LaneView(name=self.name, waiting=self._waiting, out=len(self._in_flight))

    async def _feed(self, first: Item) -> AsyncGenerator[Mapping[str, Any], None]:
        item: Item | None = first
        index = 0
        while item is not None:
            self._room.release()
            self._waiting -= 1
            self._in_flight[index] = item
            index += 1
            yield item.data
            item = await self._coming.get()

    async def _work(self) -> None:
        while True:
            first = await self._coming.get()
            if first is not None:
                await self._round(first)

    async def _round(self, first: Item) -> None:
        rows = self._feed(first)
        counted = rows if self._rows is None else Counted(rows, self._rows)
        concurrency = self._concurrency
        async with aclosing(
            self._engine.map(
                counted,
                self._task,
                order="completed",
                concurrency=concurrency,
                priority=self._priority,
                tags=self._tags,
            )
        ) as results:
            async for result in results:
                item = self._in_flight.pop(result.index)
                if result.attempts and not result.error:
                    self.answered += 1
                    self.dollars += result.dollars or 0.0
                if self.name == "online":
                    self._settle(item, result)
                elif self._goes_on(result):
                    self._settle(_paid(item, result), None)
                else:
                    self._settle(item, msgspec.structs.replace(result, lane="flex"))

    def _goes_on(self, result: Result) -> bool:
        """Whether a row that flex did not answer is to be asked at the default tier."""
        if result.status == 400 and "service_tier" in result.error:
            self.refused = result.error
        return bool(self.refused) or result.outcome in _ELSEWHERE


def _paid(item: Item, result: Result) -> Item:
    """The row with what its other questions took where one of several was not answered."""
    if result.dollars == 0.0:
        return item
    took = Took(result.dollars, result.attempts, result.repairs)
    return msgspec.structs.replace(item, took=took if item.took is None else took + item.took)
