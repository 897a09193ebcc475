"""Many rows through one engine: bounded, lazy, validated, repaired; every row ends as one `Result`."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterable, Iterable, Mapping
from contextlib import aclosing
from typing import Any, Literal, NamedTuple, Protocol, TypeAlias

import msgspec

from headway.config import Settings
from headway.engine.arguments import check_arguments
from headway.engine.bounds import open_bound
from headway.engine.fan import Fan, open_fan
from headway.engine.row import RowAsk
from headway.errors import ConfigError, HeadwayError
from headway.policy.output_bound import ROWS_FIRST, OutputBound
from headway.types import Reply, Result, Tags, TaskLike

__all__ = ["MapSettings", "Sender", "map_rows"]

Row = Mapping[str, Any]
_Ready: TypeAlias = "asyncio.Queue[asyncio.Task[Result] | None]"
Priority: TypeAlias = int | Literal["low", "normal", "high"]


class Sender(Protocol):
    """What is needed of an engine."""

    async def send(
        self,
        path: str,
        body: bytes,
        *,
        key_body: bytes | None = None,
        tags: Tags | None = None,
        cache: Literal["on", "off", "refresh"] | None = None,
        priority: Priority = 0,
    ) -> Reply:
        """As `Engine.send`."""
        ...  # fmt: skip


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


class _Shared(NamedTuple):
    """What all rows of one run have in common."""

    engine: Sender
    task: TaskLike
    how: MapSettings
    bound: OutputBound | None
    fan: Fan | None


async def map_rows(
    engine: Sender,
    rows: Iterable[Row] | AsyncIterable[Row],
    task: TaskLike,
    how: MapSettings,
    settings: Settings,
) -> AsyncGenerator[Result, None]:
    """See `Engine.map`."""
    concurrency, order = how.concurrency, how.order
    fan = open_fan(settings, task, rows, concurrency)
    shared = _Shared(engine, task, how, open_bound(task, how.adapt, settings, how.priority), fan)
    loop = asyncio.get_running_loop()
    ready: _Ready = asyncio.Queue()  # bounded by `slots`
    bound = shared.bound
    held = max(0, concurrency - ROWS_FIRST) if bound is not None and bound.learning else 0
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
                    job = loop.create_task(_one(shared, fed, row, ready if order == "completed" else None))
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
            if held and (given >= ROWS_FIRST or bound is None or not bound.learning):
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


async def _one(shared: _Shared, index: int, row: Row, ready: _Ready | None) -> Result:
    """Send the row, and what it asks next, until it is settled. Raises `ConfigError`: a mistake in the program."""
    try:
        return await _settled(shared, index, row)
    finally:
        if ready is not None:  # as the last thing it does: a callback of the task would cost a turn of the loop
            ready.put_nowait(asyncio.current_task())


async def _settled(shared: _Shared, index: int, row: Row) -> Result:
    loop = asyncio.get_running_loop()
    started_s = loop.time()
    engine, task, how, bound, fan = shared
    ask = RowAsk(task, row, bound)
    try:
        while not ask.settled:
            body, key_body = ask.body, ask.key_body
            if fan is not None:
                body = fan.marked(body)
                if body is not ask.body and key_body is None:
                    key_body = ask.body  # a breakpoint changes the price, not the question
            reply = await engine.send(
                task.path, body, key_body=key_body, tags=how.tags, cache=ask.cache, priority=how.priority
            )
            try:
                data = await reply.read()
            except HeadwayError as error:
                error.trace = reply.trace
                raise
            assert reply.trace is not None  # the engine's replies carry their caller's trace
            ask.answered(reply.status, data, reply.trace)
    except ConfigError:
        raise
    except HeadwayError as problem:
        ask.failed(problem)
    return ask.result(index, latency_s=loop.time() - started_s, started_at_s=started_s)
