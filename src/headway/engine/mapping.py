"""Many rows through one engine: bounded, lazy, validated, repaired; every row ends as one `Result`."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterable, Iterable, Mapping
from typing import Any, Literal, Protocol

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
            async for row in _each(rows):
                await slots.acquire()
                job = asyncio.create_task(_one(engine, fed, row, task, tags))
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
        async for row in rows:
            yield row
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


async def _one(engine: Sender, index: int, row: Row, task: TaskLike, tags: Tags) -> Result:
    loop = asyncio.get_running_loop()
    started_s = loop.time()
    taken = _Taken()
    value: Any = None
    text = error = error_code = ""
    outcome, status, repairs = "ok", None, 0
    try:
        body, key_body = task.body(row), task.key_body(row)
        while True:
            # A repair asks about one bad answer: reusing another's would defeat it.
            reply = await engine.send(task.path, body, key_body=key_body, tags=tags, cache="off" if repairs else None)
            data = await reply.read()
            status = reply.status
            trace = reply.trace
            assert trace is not None  # the engine's replies carry their caller's trace
            taken.add(trace)
            if trace.outcome != "ok" or status >= 400:
                outcome, error_code = trace.outcome or "bad_reply", trace.error_code
                error = _failure(task.path, status, data, trace)
                break
            reader = reader_for(task.path)
            text = reader.text(data) if reader is not None else data.decode("utf-8", "replace")
            if trace.finish in _CUT and not task.bears_cutting:
                # Asking again would be cut again: the bound is what must change.
                outcome, error, error_code = "invalid_output", _cut(trace), "cut"
                break
            try:
                value = task.accept(text)
            except ValueError as problem:
                outcome, error, error_code = "invalid_output", str(problem), "invalid_output"
                if repairs >= task.repairs_max:
                    break
                repairs += 1
                body, key_body = task.repair(row, text, str(problem)), None
            else:
                outcome = "ok"
                error = error_code = ""
                break
    except InputError as problem:
        outcome, error, error_code = "input", str(problem), problem.code
    except HeadwayError as problem:
        outcome, error, error_code = problem.code, str(problem), problem.code
        if getattr(problem, "maybe_billed", False):
            taken.dollars = None
    return Result(
        index=index,
        row=row,
        value=value,
        text=text,
        error=error,
        outcome=outcome,
        status=status,
        error_code=error_code,
        latency_s=loop.time() - started_s,
        wait_s=taken.wait_s,
        usage=taken.usage,
        dollars=taken.dollars,
        saved_dollars=taken.saved,
        cache=taken.cache or "off",
        attempts=taken.attempts,
        repairs=repairs,
        started_at_s=started_s,
    )


def _failure(path: str, status: int, data: bytes, trace: Trace) -> str:
    """One sentence for an answer that is an error."""
    reader = reader_for(path)
    view = reader.read_answer(status, data).error if reader is not None else None
    said = f": {view.message.rstrip('.')}" if view is not None and view.message else ""
    model = f" for model {trace.model!r}" if trace.model else ""
    hint = _HINTS.get(trace.outcome or "", "")
    code = f" {trace.error_code}" if trace.error_code and trace.error_code != str(status) else ""
    return f"{trace.upstream} answered {status}{code}{model}{said}{hint}"


_CUT = frozenset({"length", "incomplete", "max_output_tokens"})


def _cut(trace: Trace) -> str:
    bound = f" of {trace.output_tokens_max} tokens" if trace.output_tokens_max else ""
    return f"the answer was cut at its bound{bound}; raise max_output_tokens, or ask for less"


_HINTS = {
    "auth": "; check the API key (OPENAI_API_KEY or api_key)",
    "billing": "; the account has no money or budget left: top it up, then run again",
    "throttled": "; the limits were still exceeded after several tries: send less at once, or later",
}


def _sum(a: Usage, b: Usage) -> Usage:
    return Usage(
        input_tokens=a.input_tokens + b.input_tokens,
        cached_tokens=a.cached_tokens + b.cached_tokens,
        cache_write_tokens=a.cache_write_tokens + b.cache_write_tokens,
        output_tokens=a.output_tokens + b.output_tokens,
        reasoning_tokens=a.reasoning_tokens + b.reasoning_tokens,
        estimated=a.estimated or b.estimated,
    )
