"""What passes through with its bytes unread has its row in the call log all the same: a call with one try."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Final

from msgspec.structs import replace

from headway.attempt.outcomes import outcome_of_error, outcome_of_status
from headway.engine import Engine
from headway.engine.record import attempt_trace
from headway.errors import HeadwayError
from headway.types import Call, Handler, Outcome, Reply, Trace

__all__ = ["Passed"]

_FREE: Final = frozenset(("GET", "HEAD", "DELETE", "OPTIONS"))
"""Nobody is charged for these; what another one costs is not known."""


class Passed:
    """Sends a call, and books it when its answer was read to the end, or left.

    Args:
        engine: Whose record it goes to.
        next_: Sends it.
    """

    def __init__(self, engine: Engine, next_: Handler) -> None:
        self._engine = engine
        self._next = next_

    async def __call__(self, call: Call) -> Reply:
        caller = call.trace
        attempt = attempt_trace(caller, 0, asyncio.get_running_loop().time(), caller.start_wall_s)
        attempt.upstream, attempt.flight_id = call.origin, caller.id
        try:
            reply = await self._next(replace(call, trace=attempt))
        except HeadwayError as error:
            error.trace = caller
            attempt.error_code = error.code
            attempt.maybe_billed = call.method not in _FREE and bool(getattr(error, "maybe_billed", False))
            self._book(call, attempt, outcome_of_error(error)[0])
            raise
        except BaseException:
            self._book(call, attempt, "abandoned")
            raise
        attempt.status, ended = reply.status, _outcome(reply.status)
        if ended != "ok":
            attempt.error_code = str(reply.status)
        if reply.body is not None:
            attempt.reply_bytes = len(reply.body)
            self._book(call, attempt, ended)
            return reply
        chunks = _Counted(reply, attempt, ended)

        async def close() -> None:
            await reply.aclose()
            self._book(call, attempt, chunks.outcome)

        return Reply(reply.status, reply.headers, chunks=chunks, close=close, trace=caller)

    def _book(self, call: Call, attempt: Trace, outcome: Outcome) -> None:
        caller = call.trace
        attempt.dollars = 0.0 if call.method in _FREE or outcome not in ("ok", "abandoned") else None
        caller.flight_id, caller.attempts, caller.upstream = caller.id, 1, attempt.upstream
        for name in ("status", "error_code", "maybe_billed", "dollars", "connect_s", "wait_s", "sent_at_s",
                     "first_byte_at_s", "first_content_at_s", "reply_bytes"):  # fmt: skip
            setattr(caller, name, getattr(attempt, name))
        self._engine.settle(attempt, caller, outcome)


class _Counted:
    """An answer's chunks on their way.

    Args:
        reply: The upstream's.
        trace: Of the try.
        ended: What it is when all of it has come.
    """

    def __init__(self, reply: Reply, trace: Trace, ended: Outcome) -> None:
        self._reply = reply
        self._trace = trace
        self._ended = ended
        self.outcome: Outcome = "abandoned"
        """So far."""

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        trace = self._trace
        try:
            chunk = await anext(self._reply)
        except StopAsyncIteration:
            self.outcome = self._ended
            raise
        except HeadwayError as error:
            self.outcome, trace.error_code = outcome_of_error(error)[0], error.code
            raise
        if trace.first_content_at_s is None:
            trace.first_content_at_s = asyncio.get_running_loop().time()
        trace.reply_bytes += len(chunk)
        return chunk


def _outcome(status: int) -> Outcome:
    return "ok" if status < 400 else outcome_of_status(status)[0]
