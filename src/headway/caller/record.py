"""A row for every caller: what it asked, what it got, and what that took; written when its reply is closed."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from typing import cast

from headway.caller.deadline import bounded
from headway.caller.scoped import scoped
from headway.errors import Closed, DeadlineExceeded, HeadwayError
from headway.types import Call, Handler, Outcome, Reply, Trace
from headway.types.scope import SCOPE

__all__ = ["Record", "outcome_of"]

TEXT_BYTES_MAX = 1024 * 1024
"""How much of an answer the log keeps where texts were asked for."""


class Record:
    """The outermost layer. `finished(trace)` is called once per call, with the trace ended.

    It runs in its caller's own context: a call made inside of a pipeline's step becomes one of the step's here
    (`caller.scoped`). The deadline is checked here (`caller.deadline`), so that a call that was late from the start has
    its row too.
    Whoever is in `starts` (it may grow) is told of each call that begins.
    With `texts`, the request and the answer (its first `TEXT_BYTES_MAX`) are in the trace as well.
    """

    __slots__ = ("_finished", "_loop", "_next", "_open", "_starts", "_texts", "_timeout_s")

    def __init__(
        self,
        next_: Handler,
        finished: Callable[[Trace], None],
        *,
        timeout_s: float,
        texts: bool = False,
        starts: Sequence[Callable[[Call], None]] = (),
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._next = next_
        self._finished = finished
        self._starts = starts
        self._texts = texts
        self._timeout_s = timeout_s
        self._open: dict[_Watched, None] = {}

    async def __call__(self, call: Call) -> Reply:
        trace = call.trace
        loop = self._loop
        if SCOPE.get() is not None:
            call = scoped(call)
        trace.on_end(self._finished)
        if self._starts:
            for began in self._starts:
                began(call)
        if self._texts:
            trace.prompt, trace.answer = call.body, b""
        try:
            if call.deadline_at_s - trace.started_at_s > self._timeout_s or call.deadline_at_s <= loop.time():
                call = bounded(call, loop.time(), self._timeout_s)
            reply = await self._next(call)
        except HeadwayError as error:
            error.trace = trace
            trace.error_code = trace.error_code or error.code
            trace.maybe_billed = trace.maybe_billed or bool(getattr(error, "maybe_billed", False))
            trace.end(outcome_of(error), loop.time())
            raise
        except BaseException:
            trace.end("abandoned", loop.time())
            raise
        trace.status = reply.status
        body = reply.body
        if body is not None:
            trace.reply_bytes = len(body)
            if self._texts:
                trace.answer = body[:TEXT_BYTES_MAX]
            trace.end(trace.settled or "ok", loop.time())
            return reply
        stream = _Watched(reply, trace, self._open)
        self._open[stream] = None
        return Reply(reply.status, reply.headers, chunks=stream, close=stream.aclose, trace=trace)

    async def aclose(self) -> None:
        """End the streams that are still being read, for the log is about to close: their readers get `Closed`."""
        for stream in list(self._open):
            await stream.end()


class _Watched:
    """A stream whose end ends the caller's trace."""

    __slots__ = ("_chunks", "_ended", "_open", "_reply", "_trace", "_whole")

    def __init__(self, reply: Reply, trace: Trace, open_: dict[_Watched, None]) -> None:
        self._open = open_
        self._ended = self._whole = False
        self._reply = reply
        self._chunks = reply.chunks()
        self._trace = trace

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        trace = self._trace
        if self._ended:
            raise Closed("the engine was closed while this answer was being read; read it before that")
        try:
            chunk = await anext(self._chunks)
        except StopAsyncIteration:
            self._whole = True
            raise
        except HeadwayError as error:
            trace.error_code = error.code
            trace.settled = outcome_of(error)
            raise
        trace.reply_bytes += len(chunk)
        if trace.answer is not None and len(trace.answer) < TEXT_BYTES_MAX:
            trace.answer += chunk
        return chunk

    async def end(self) -> None:
        """The engine closes: that is how it ended, unless that is known already."""
        self._ended = True
        self._trace.settled = self._trace.settled or "closed"
        await self.aclose()

    async def aclose(self) -> None:
        self._open.pop(self, None)
        # Leaving the flight first lets it fill in what it knows: tokens, dollars, times.
        await self._reply.aclose()
        # A stream that was read to its end may have ended in an error event: the flight has said so by now.
        outcome = self._trace.settled or ("ok" if self._whole else "abandoned")
        self._trace.end(outcome, asyncio.get_running_loop().time())


def outcome_of(error: HeadwayError) -> Outcome:
    """The call log's word for an error."""
    if isinstance(error, DeadlineExceeded):
        return "deadline"
    return cast("Outcome", error.code) if error.code in _OUTCOMES else "bad_reply"


_OUTCOMES = frozenset(
    "budget queue_full closed deadline connect_failed provider_timeout connection_lost bad_reply".split()
)
