"""One reader's place in a flight."""

from __future__ import annotations

import asyncio
import copy
from collections.abc import Callable
from typing import TYPE_CHECKING

from headway.errors import HeadwayError
from headway.types import Call, Reply

if TYPE_CHECKING:
    from headway.flight.flight import Flight

__all__ = ["Cursor"]


class Cursor:
    """One reader's place in a flight's log, and its deadline."""

    __slots__ = ("call", "error", "flight", "index", "leader", "on_leave", "waiter")

    def __init__(self, flight: Flight, call: Call, *, leader: bool) -> None:
        self.flight = flight
        self.call = call
        self.leader = leader
        """The one that carries the flight's cost; when it leaves, the next reader does."""
        self.index = 0
        self.waiter: asyncio.Future[None] | None = None
        self.error: Exception | None = None
        self.on_leave: Callable[[Cursor], None] | None = None
        """Called once, when the cursor leaves: what the flight knows by then belongs in its caller's trace."""

    async def reply(self) -> Reply:
        """Wait until the flight has something to hand on; leave it when cancelled while waiting."""
        flight = self.flight
        try:
            while not flight.committed and not flight.done and self.error is None:
                self.waiter = flight.loop.create_future()
                await self.waiter
        except asyncio.CancelledError:
            self.leave()
            raise
        error = self.error or (None if flight.committed else flight.error)
        if error is not None:
            self.leave()
            raise self._own(error)
        if not flight.streaming:
            body = flight.log.body()
            self.leave()
            return Reply(flight.status, flight.headers, body, trace=self.call.trace)
        trace = self.call.trace
        if self.leader:  # known already, and wanted before the stream has ended
            trace.attempts = len(flight.traces)
            trace.wait_s = flight.backed_off_s + sum([attempt.wait_s for attempt in flight.traces])
        return Reply(flight.status, flight.headers, chunks=self, close=self.aclose, trace=trace)

    def __aiter__(self) -> Cursor:
        return self

    async def __anext__(self) -> bytes:
        flight = self.flight
        while True:
            if self.error is not None:
                raise self._own(self.error)
            chunk = flight.log.at(self.index)
            if chunk is not None:
                self.index += 1
                flight.consumed()
                return chunk
            if flight.done:
                if flight.error is not None:
                    raise self._own(flight.error)
                raise StopAsyncIteration
            self.waiter = flight.loop.create_future()
            await self.waiter

    async def aclose(self) -> None:
        """Leave the flight."""
        self.leave()

    def leave(self) -> None:
        """Detach; idempotent."""
        self.flight.detach(self)
        if self.on_leave is not None:
            told, self.on_leave = self.on_leave, None
            told(self)

    def wake(self) -> None:
        """Something changed."""
        waiter = self.waiter
        if waiter is not None and not waiter.done():
            waiter.set_result(None)

    def _own(self, error: Exception) -> Exception:
        """The leader raises the error itself, everybody else a copy: tracebacks are not shared."""
        if self.leader or not isinstance(error, HeadwayError):
            return error
        own = copy.copy(error)
        own.__cause__ = error.__cause__  # tells a connection that was refused from one that nobody answered
        return own
