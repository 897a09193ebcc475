"""One variant asked row by row, with its clocks: as in a job, streamed where the variant says so."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from contextvars import ContextVar
from typing import Any, Final, Literal, TypeAlias

import msgspec

from headway.engine import Engine
from headway.engine.asking import Asker, Priority
from headway.errors import HeadwayError
from headway.measure.compare.variant import Variant
from headway.prompts.merge import MergedTask
from headway.types import Reply, Result, Tags
from headway.wire import reader_for
from headway.wire.sse import EventSplitter

__all__ = ["Answered", "Lane", "Row"]

EVENT_BYTES_MAX = 16 * 1024 * 1024
STREAM_BYTES_MAX = 64 * 1024 * 1024
"""Of one streamed answer: as much as a whole one may have (`Settings.reply_bytes_max`)."""

CacheMode: TypeAlias = Literal["on", "off", "refresh"]
Row: TypeAlias = tuple[int, Mapping[str, Any]]
"""Its place in the input, from 0, and its columns."""


class Answered(msgspec.Struct, frozen=True, kw_only=True):
    """What came of a row on one side.

    `ttft_s`: from hand-over to the first text of the answer that was accepted; with answers that come whole it is the
    end. None: no answer came. `streamed`: whether the provider did stream.
    """

    result: Result
    ttft_s: float | None = None
    streamed: bool = False


class Lane:
    """One variant, and the engine that it is asked through.

    Args:
        engine: The variant's.
        variant: What is asked, and whether streamed.
        step: What the call log calls it; the variant's name when "".
        cache: "off" to go past the engine's own; None: as the engine is set.
    """

    def __init__(self, engine: Engine, variant: Variant, *, step: str = "", cache: CacheMode | None = None) -> None:
        self.engine = engine
        self.variant = variant
        sender = _Streams(engine) if variant.run.stream else engine
        task, merge = variant.task, variant.run.merge
        if merge and isinstance(task, MergedTask) and task.merge.mode != merge:
            task = task.merged_as(mode=merge)
        self._asker = Asker(sender, task, tags=Tags(run="compare", step=step or variant.name), cache=cache)

    def bare(self) -> Lane:
        """The same, past the engine's cache."""
        return Lane(self.engine, self.variant, cache="off")

    async def ask(self, row: Row) -> Answered:
        """Ask about one row until the answer is accepted or given up; every failure is a `Result`.

        Raises:
            ConfigError: A mistake in the call, not in a row.
        """
        seen = _Seen()
        token = _SEEN.set(seen)
        try:
            result = await self._asker.ask(row[1], row[0])
        finally:
            _SEEN.reset(token)
        streamed, first_s = seen.streamed, seen.first_s
        if result.outcome not in ("ok", "invalid_output"):
            return Answered(result=result, streamed=streamed)
        ttft_s = first_s - result.started_at_s if streamed and first_s is not None else result.latency_s
        return Answered(result=result, ttft_s=ttft_s, streamed=streamed)


class _Seen:
    """What was seen of one row's streams; the last one's first text counts."""

    first_s: float | None = None
    streamed = False


_SEEN: Final[ContextVar[_Seen]] = ContextVar("headway.compare.seen")


class _Streams:
    """An engine whose answers are asked for as streams, watched, and handed on whole."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    async def send(
        self,
        path: str,
        body: bytes,
        *,
        key_body: bytes | None = None,
        tags: Tags | None = None,
        cache: CacheMode | None = None,
        priority: Priority = 0,
    ) -> Reply:
        """As `Engine.send`; `body` is a task's, a JSON object that does not say "stream"."""
        asked = b'{"stream":true,' + body[1:] if body[:1] == b"{" else body
        reply = await self._engine.send(path, asked, key_body=key_body, tags=tags, cache=cache, priority=priority)
        seen = _SEEN.get()
        seen.streamed = reply.header("content-type").startswith("text/event-stream")
        if not seen.streamed:
            return reply  # an error, or a server that ignores the wish
        try:
            whole = await _read(path, reply, seen)
        except HeadwayError as error:
            error.trace = reply.trace
            raise
        finally:
            await reply.aclose()
        return Reply(reply.status, (("content-type", "application/json"),), whole, trace=reply.trace)


async def _read(path: str, reply: Reply, seen: _Seen) -> bytes:
    """The whole answer that the stream amounts to; b"" where it amounts to none."""
    reader = reader_for(path)
    assert reader is not None  # what has no reader is handed on as it comes, and tasks' paths have one
    loop = asyncio.get_running_loop()
    splitter, follower = EventSplitter(EVENT_BYTES_MAX), reader.open_stream()
    chunks: list[bytes] = []
    size, begun = 0, False
    async for chunk in reply:
        chunks.append(chunk)
        size += len(chunk)
        if size > STREAM_BYTES_MAX:
            break  # no whole answer: the row says so
        if not begun and any(follower.feed(event) == "content" for event in splitter.feed(chunk)):
            seen.first_s, begun = loop.time(), True
    return reader.aggregate(b"".join(chunks)) or b""
