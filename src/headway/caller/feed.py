"""Another process's answer as it comes over Redis, for all callers of this one that want it."""

from __future__ import annotations

import asyncio
import copy
from typing import Literal

import msgspec

from headway.errors import (
    BadReply,
    ConnectFailed,
    ConnectionLost,
    DeadlineExceeded,
    HeadwayError,
    Overloaded,
    ProviderError,
    ProviderTimeout,
)
from headway.store.redis_flights import End, Failed, Head, Piece, RedisFlights
from headway.store.redis_link import RedisDown
from headway.types import Call, Reply

__all__ = ["Feed"]

_decode_head = msgspec.msgpack.Decoder(Head).decode
_decode_end = msgspec.msgpack.Decoder(End).decode
_decode_failed = msgspec.msgpack.Decoder(Failed).decode
_ERRORS: dict[str, type[ProviderError]] = {
    kind.code: kind for kind in (ProviderError, ConnectFailed, ProviderTimeout, ConnectionLost, BadReply)
}


class Feed:
    """Follows one leader. Ends by itself when the answer does, or when the last of its callers left.

    Args:
        place: What is asked, as `RedisFlights` calls it.
        token: The leader's.
        flights: Where its log is.
        bytes_max: How much of it is held.
    """

    def __init__(self, place: str, token: str, flights: RedisFlights, *, bytes_max: int) -> None:
        self.state: Literal["open", "whole", "orphaned", "failed"] = "open"
        self._place = place
        self._token = token
        self._flights = flights
        self._bytes_max = bytes_max
        self._head: Head | None = None
        self._end = End()
        self._chunks: list[bytes] = []
        self._bytes = 0
        self._error: HeadwayError | None = None
        self._readers = 0
        self._loop = asyncio.get_running_loop()
        self._changed: asyncio.Future[None] = self._loop.create_future()
        self.task = self._loop.create_task(self._run())

    async def reply(self, call: Call) -> Reply | None:
        """What this caller gets; None where the leader went before its first byte: somebody must take over.

        Raises:
            ProviderError: What the leader got, or `ConnectionLost` where it went after its first byte.
            DeadlineExceeded: This caller's deadline passed first.
        """
        follower = _Follower(self, call)
        self._readers += 1
        going_on = False
        try:
            while self.state == "open" and (self._head is None or not self._head.streaming):
                await self.change(call)
            head = self._head
            if head is None and self.state == "orphaned":
                return None
            if head is None or (self._error is not None and not head.streaming):
                raise self.failure()
            call.trace.cache, call.trace.flight_id = "joined", head.flight_id
            call.trace.first_byte_at_s = self._loop.time()
            if not head.streaming:
                self.fill(call)
                return Reply(head.status, head.headers, b"".join(self._chunks), trace=call.trace)
            going_on = True
            return Reply(head.status, head.headers, chunks=follower, close=follower.aclose, trace=call.trace)
        finally:
            if not going_on:
                follower.leave()

    async def change(self, call: Call) -> None:
        """Wait for more, until the caller's deadline."""
        try:
            async with asyncio.timeout_at(call.deadline_at_s):
                await asyncio.shield(self._changed)
        except TimeoutError:
            raise DeadlineExceeded(
                "no whole answer from the process that asks for it before the deadline; raise timeout_s if that is "
                "too short"
            ) from None

    def at(self, index: int) -> bytes | None:
        """That chunk; None while there is none."""
        return self._chunks[index] if index < len(self._chunks) else None

    def failure(self) -> HeadwayError:
        """Why it ended early; a copy for each caller, for tracebacks are not shared."""
        assert self._error is not None
        return copy.copy(self._error)

    def fill(self, call: Call) -> None:
        """Tell a caller's trace what the leader knew in the end."""
        trace, end = call.trace, self._end
        trace.finish, trace.usage = end.finish, end.usage
        trace.dollars, trace.saved_dollars = 0.0, end.dollars
        trace.settled = trace.settled or "ok"

    def left(self) -> None:
        """A caller is through, or went away."""
        self._readers -= 1
        if not self._readers and self.state == "open":
            self._settle("orphaned")  # so that nobody comes in any more
            self.task.cancel()

    async def _run(self) -> None:
        after = "0"
        try:
            while self.state == "open":
                pieces = await self._flights.read(self._token, after)
                if not pieces and not await self._flights.led(self._place, self._token):
                    pieces = await self._flights.rest(self._token, after)  # its last words
                    if not pieces:
                        self._gone("the process that was asking for this answer died")
                for piece in pieces:
                    after = piece.id
                    self._take(piece)
        except RedisDown:
            self._gone("Redis, over which this answer came from another process, does not answer any more")
        except asyncio.CancelledError:
            self._gone("the engine was closed")
            raise

    def _take(self, piece: Piece) -> None:
        if self.state != "open":
            return
        try:
            if piece.kind == "head":
                self._head = _decode_head(piece.data)
            elif piece.kind == "chunk":
                self._chunks.append(piece.data)
                self._bytes += len(piece.data)
            elif piece.kind == "end":
                self._end = _decode_end(piece.data)
                self._settle("whole")
            elif piece.kind == "failed":
                failed = _decode_failed(piece.data)
                self._error = _ERRORS.get(failed.code, ProviderError)(failed.message, maybe_billed=failed.maybe_billed)
                self._settle("failed")
            else:
                self._gone("the process that was asking for this answer gave it up")
        except msgspec.MsgspecError:
            self._gone("the process that was asking for this answer speaks another version of Headway")
        if self._bytes > self._bytes_max:
            self._error = Overloaded(
                f"an answer of more than {self._bytes_max} bytes cannot be shared between processes; "
                "call with cache off"
            )
            self._settle("failed")
        self._tell()

    def _gone(self, why: str) -> None:
        if self.state != "open":
            return
        if self._head is None:
            self._settle("orphaned")
        else:
            self._error = ConnectionLost(f"{why} before it was whole; try again", maybe_billed=True)
            self._settle("failed")

    def _settle(self, state: Literal["whole", "orphaned", "failed"]) -> None:
        self.state = state
        self._tell()

    def _tell(self) -> None:
        changed, self._changed = self._changed, self._loop.create_future()
        if not changed.done():
            changed.set_result(None)


class _Follower:
    """One caller's place in a feed."""

    __slots__ = ("_call", "_feed", "_index", "_left")

    def __init__(self, feed: Feed, call: Call) -> None:
        self._feed = feed
        self._call = call
        self._index = 0
        self._left = False

    def __aiter__(self) -> _Follower:
        return self

    async def __anext__(self) -> bytes:
        feed = self._feed
        while (chunk := feed.at(self._index)) is None:
            if feed.state == "whole":
                feed.fill(self._call)
                raise StopAsyncIteration
            if feed.state != "open":
                raise feed.failure()
            await feed.change(self._call)
        self._index += 1
        return chunk

    async def aclose(self) -> None:
        self.leave()

    def leave(self) -> None:
        """Idempotent."""
        if not self._left:
            self._left = True
            self._feed.left()
