"""Many rows through one engine: bounded, lazy, validated, repaired; every row ends as one `Result`."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterable, Iterable, Mapping
from contextlib import aclosing
from typing import Any, Literal, TypeAlias

import msgspec

from headway.config import Settings
from headway.engine.arguments import check_arguments
from headway.engine.asking import Asker, Priority, Sender, asked_apart
from headway.engine.bounds import open_bound
from headway.engine.fan import open_fan
from headway.errors import ConfigError
from headway.policy.output_bound import ROWS_FIRST
from headway.types import Result, Tags, TaskLike

__all__ = ["MapSettings", "Sender", "map_rows"]

Row = Mapping[str, Any]
_Ready: TypeAlias = "asyncio.Queue[asyncio.Task[Result] | None]"


class MapSettings(msgspec.Struct, frozen=True, kw_only=True):
    """How rows are sent; see `Engine.map`."""

    order: Literal["input", "completed"]
    concurrency: int
    tags: Tags
    priority: Priority
    adapt: bool | None

    def __post_init__(self) -> None:
        """Raises `ConfigError`."""
        if self.concurrency < 1:
            raise ConfigError(f"concurrency must be at least 1, not {self.concurrency}")
        check_arguments(None, None, self.priority)


async def map_rows(
    engine: Sender,
    rows: Iterable[Row] | AsyncIterable[Row],
    task: TaskLike,
    how: MapSettings,
    settings: Settings,
) -> AsyncGenerator[Result, None]:
    """See `Engine.map`."""
    concurrency, order = how.concurrency, how.order
    whole = not asked_apart(task)
    fan = open_fan(settings, task, rows, concurrency) if whole else None
    bound = open_bound(task, how.adapt, settings, how.priority) if whole else None
    asker = Asker(engine, task, tags=how.tags, priority=how.priority, bound=bound, fan=fan)
    loop = asyncio.get_running_loop()
    ready: _Ready = asyncio.Queue()  # bounded by `slots`
    held = max(0, concurrency - ROWS_FIRST) if asker.learning else 0
    slots = asyncio.Semaphore(concurrency - held)
    jobs: set[asyncio.Task[Result]] = set()
    fed = 0

    async def feed() -> None:
        nonlocal fed
        try:
            async with aclosing(_each(rows)) as source:
                async for row in source:
                    await slots.acquire()
                    if fan is not None:
                        await fan.admit(row)
                    job = loop.create_task(_one(asker, fed, row, ready if order == "completed" else None))
                    if fan is not None:
                        fan.sent(job)
                    fed += 1
                    jobs.add(job)
                    if order == "input":
                        ready.put_nowait(job)
        finally:
            ready.put_nowait(None)

    feeder = asyncio.create_task(feed())
    given, more = 0, True
    try:
        while more or given < fed:
            job = await ready.get()
            if job is None:
                more = False
                continue
            result = await job
            jobs.discard(job)
            slots.release()
            given += 1
            if held and (given >= ROWS_FIRST or not asker.learning):
                while held:
                    slots.release()
                    held -= 1
            yield result
        await feeder  # a source that failed says so after what it gave has been handed on
    finally:
        feeder.cancel()
        for job in jobs:
            job.cancel()
        await asyncio.gather(feeder, *jobs, return_exceptions=True)


async def _each(rows: Iterable[Row] | AsyncIterable[Row]) -> AsyncGenerator[Row, None]:
    if isinstance(rows, AsyncIterable):
        source = aiter(rows)
        try:
            async for row in source:
                yield row
        finally:
            # A generator holds files and connections: it is closed here, not when the collector comes by.
            if isinstance(source, AsyncGenerator):
                await source.aclose()
    else:
        for row in rows:
            yield row


async def _one(asker: Asker, index: int, row: Row, ready: _Ready | None) -> Result:
    """Send the row, and what it asks next, until it is settled. Raises `ConfigError`: a mistake in the program."""
    try:
        return await asker.ask(row, index)
    finally:
        if ready is not None:  # as the last thing it does: a callback of the task would cost a turn of the loop
            ready.put_nowait(asyncio.current_task())
