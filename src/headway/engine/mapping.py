"""Many rows through one engine: bounded, lazy, validated, repaired; every row ends as one `Result`."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterable, Iterable, Mapping
from contextlib import aclosing
from typing import Any, Literal, Protocol

from headway.engine.fan import Fan
from headway.engine.sentences import CUT, FAULTS, cut, failure, fault
from headway.errors import ConfigError, HeadwayError, InputError
from headway.types import Reply, Result, Tags, TaskLike, Trace, Usage
from headway.wire import reader_for

__all__ = ["Sender", "map_rows"]

Row = Mapping[str, Any]


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
    ) -> Reply:
        """As `Engine.send`."""
        ...  # fmt: skip


async def map_rows(
    engine: Sender,
    rows: Iterable[Row] | AsyncIterable[Row],
    task: TaskLike,
    *,
    order: Literal["input", "completed"],
    concurrency: int,
    tags: Tags,
    fan: Fan | None = None,
) -> AsyncGenerator[Result, None]:
    """See `Engine.map`."""
    if concurrency < 1:
        raise ConfigError(f"concurrency must be at least 1, not {concurrency}")
    ready: asyncio.Queue[asyncio.Task[Result] | None] = asyncio.Queue()  # bounded by `slots`
    slots = asyncio.Semaphore(concurrency)
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
                    job = asyncio.create_task(_one(engine, fed, row, task, tags, fan))
                    if fan is not None:
                        fan.sent(job)
                    fed += 1
                    jobs.add(job)
                    if order == "input":
                        ready.put_nowait(job)
                    else:
                        job.add_done_callback(ready.put_nowait)
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


class _Taken:
    """What a row has taken so far: latency, tokens, dollars, over all its requests."""

    __slots__ = ("attempts", "cache", "dollars", "saved", "usage", "wait_s")

    def __init__(self) -> None:
        self.attempts = 0
        self.cache = ""
        self.dollars: float | None = 0.0
        self.saved: float | None = None
        self.usage: Usage | None = None
        self.wait_s = 0.0

    def add(self, trace: Trace) -> None:
        self.attempts += trace.attempts
        self.cache = self.cache or trace.cache
        self.wait_s += trace.wait_s
        unknown = trace.dollars is None or self.dollars is None
        self.dollars = None if unknown else (self.dollars or 0.0) + (trace.dollars or 0.0)
        if trace.saved_dollars is not None:
            self.saved = (self.saved or 0.0) + trace.saved_dollars
        if trace.usage is not None:
            self.usage = trace.usage if self.usage is None else _sum(self.usage, trace.usage)


async def _one(engine: Sender, index: int, row: Row, task: TaskLike, tags: Tags, fan: Fan | None) -> Result:
    loop = asyncio.get_running_loop()
    started_s = loop.time()
    draft = _Draft()
    try:
        await _ask(engine, row, task, tags, draft, fan)
    except ConfigError:
        raise  # a mistake in the program, the same for every row
    except HeadwayError as problem:
        draft.judge(problem.code, str(problem), problem.code)
        if problem.trace is not None:
            draft.taken.add(problem.trace)
        if getattr(problem, "maybe_billed", False):
            draft.taken.dollars = None
    taken = draft.taken
    return Result(
        index=index,
        row=row,
        value=draft.value,
        text=draft.text,
        error=draft.error,
        outcome=draft.outcome,
        status=draft.status,
        error_code=draft.error_code,
        latency_s=loop.time() - started_s,
        wait_s=taken.wait_s,
        usage=taken.usage,
        dollars=taken.dollars,
        saved_dollars=taken.saved,
        cache=taken.cache or "off",
        attempts=taken.attempts,
        repairs=draft.repairs,
        started_at_s=started_s,
    )


class _Draft:
    """What is known of a row so far."""

    __slots__ = ("error", "error_code", "outcome", "repairs", "status", "taken", "text", "value")

    def __init__(self) -> None:
        self.taken = _Taken()
        self.value: Any = None
        self.text = self.error = self.error_code = ""
        self.outcome = "ok"
        self.status: int | None = None
        self.repairs = 0

    def judge(self, outcome: str, error: str = "", error_code: str = "") -> None:
        self.outcome, self.error, self.error_code = outcome, error, error_code


async def _ask(engine: Sender, row: Row, task: TaskLike, tags: Tags, draft: _Draft, fan: Fan | None) -> None:
    """Send the row, and send its repairs, until an answer is accepted or there is no more to try."""
    try:
        body, key_body = task.body(row), task.key_body(row)
    except FAULTS as odd:
        raise InputError(fault("body or key_body", odd)) from odd
    while True:
        # A repair asks about one bad answer: reusing another's would defeat it.
        cache: Literal["off"] | None = "off" if draft.repairs else None
        sent = body if fan is None else fan.marked(body)
        if sent is not body and key_body is None:
            key_body = body  # a breakpoint changes the price, not the question
        reply = await engine.send(task.path, sent, key_body=key_body, tags=tags, cache=cache)
        try:
            data = await reply.read()
        except HeadwayError as error:
            error.trace = reply.trace
            raise
        draft.status = status = reply.status
        trace = reply.trace
        assert trace is not None  # the engine's replies carry their caller's trace
        draft.taken.add(trace)
        if trace.outcome != "ok" or status >= 400:
            draft.judge(trace.outcome or "bad_reply", failure(task.path, status, data, trace), trace.error_code)
            return
        reader = reader_for(task.path)
        text = draft.text = reader.text(data) if reader is not None else data.decode("utf-8", "replace")
        if trace.finish in CUT and not task.bears_cutting:
            # Asking again would be cut again: the bound is what must change.
            draft.judge("invalid_output", cut(trace), "cut")
            return
        try:
            draft.value = task.accept(text)
        except ValueError as problem:
            draft.judge("invalid_output", str(problem), "invalid_output")
        except FAULTS as odd:
            raise _InvalidOutput(fault("accept", odd)) from odd
        else:
            draft.judge("ok")
            return
        if draft.repairs >= task.repairs_max:
            return
        draft.repairs += 1
        try:
            body, key_body = task.repair(row, text, draft.error), None
        except FAULTS as odd:
            raise _InvalidOutput(fault("repair", odd)) from odd


class _InvalidOutput(HeadwayError):
    """An answer that the task's own code could not deal with."""

    code = "invalid_output"


def _sum(a: Usage, b: Usage) -> Usage:
    return Usage(
        input_tokens=a.input_tokens + b.input_tokens,
        cached_tokens=a.cached_tokens + b.cached_tokens,
        cache_write_tokens=a.cache_write_tokens + b.cache_write_tokens,
        cache_write_1h_tokens=a.cache_write_1h_tokens + b.cache_write_1h_tokens,
        output_tokens=a.output_tokens + b.output_tokens,
        reasoning_tokens=a.reasoning_tokens + b.reasoning_tokens,
        estimated=a.estimated or b.estimated,
    )
