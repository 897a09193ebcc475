"""One connection: an asyncio protocol that carries one exchange at a time.

A connection is given back to the pool only here (`_finish`), when the request was written whole, the answer was read
whole, nothing follows it, and both sides want to keep it. In every other case it is aborted: a request that was left in
the middle would put its answer in front of the next one's.
"""

from __future__ import annotations

import asyncio
from math import inf
from typing import TYPE_CHECKING, cast

from headway.errors import HeadwayError
from headway.types import Call, Reply, Timeouts
from headway.upstream import failures
from headway.upstream.body import Body
from headway.upstream.incoming import Incoming, Oversize, Unreadable
from headway.upstream.link import probe

if TYPE_CHECKING:
    from headway.upstream.pool import Endpoint, Pool

__all__ = ["PIECE_BYTES", "Connection", "Stale"]

WINDOW_BYTES = 256 * 1024
"""Unread bytes of a body beyond which the server is made to wait."""

PIECE_BYTES = 64 * 1024
"""Larger request bodies are written in pieces of this size, each when there is room for it."""

HELD_BYTES = 64 * 1024
"""Answers up to this size that are no streams are handed on whole: one wake-up instead of several."""


class Stale(Exception):
    """A kept connection was closed by the server before a byte of the answer came."""


class Connection(asyncio.Protocol):
    """One connection to one endpoint. `begin` an exchange, `upload` the rest of it, await what `begin` returned.

    Silence has one timer for the whole life of the connection: it is not moved with each chunk, but looks, when it
    fires, whether somebody has been waiting for too long, and sets itself anew.
    """

    __slots__ = (
        "_body", "_call", "_deadline_s", "_drained", "_head_seen", "_idle_s", "_incoming", "_limit_s", "_loop",
        "_paused", "_pool", "_sending", "_timer", "_timer_at_s", "_touched", "_transport", "_used", "_waiter",
        "_write_paused", "endpoint", "idle_since_s", "open",
    )  # fmt: skip

    def __init__(self, pool: Pool, endpoint: Endpoint, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._pool = pool
        self.endpoint = endpoint
        self.open = False
        self.idle_since_s: float | None = None
        """Since when it is in the pool; None while it is not."""
        self._incoming = Incoming(pool.names, pool.reply_bytes_max)
        self._transport: asyncio.Transport
        self._waiter: asyncio.Future[Reply] | None = None
        """The exchange that is going on, known by the future that its reply is awaited with. None: none is."""
        self._body: Body | None = None
        self._call: Call
        self._used = False
        self._touched = False  # a byte of this exchange's answer came
        self._head_seen = False
        self._sending = False
        self._drained: asyncio.Future[None] | None = None
        self._write_paused = False
        self._paused = False
        self._limit_s = self._idle_s = inf
        self._deadline_s = self._timer_at_s = inf
        self._timer: asyncio.TimerHandle | None = None

    @property
    def usable(self) -> bool:
        """Whether another exchange may begin."""
        return self.open and self._waiter is None and not self._transport.is_closing()

    @property
    def busy(self) -> bool:
        """Whether an exchange is going on."""
        return self._waiter is not None

    # -- the caller's side -------------------------------------------------------------------------------------------

    def begin(self, call: Call, timeouts: Timeouts, data: bytes) -> asyncio.Future[Reply]:
        """Begin an exchange and write `data`; the future is set to its reply, a `HeadwayError`, or `Stale`."""
        now_s = self._loop.time()
        call.trace.sent_at_s = now_s
        self._call = call
        self._idle_s = timeouts.idle_s
        self._touched = self._head_seen = False
        self._incoming.expect(head_only=call.method == "HEAD")
        self._limit_s = timeouts.first_event_s if call.view.stream else timeouts.first_byte_s
        self._silence_until(now_s + self._limit_s)
        waiter = self._waiter = self._loop.create_future()
        self._transport.write(data)
        return waiter

    async def upload(self, body: bytes) -> None:
        """A large body, as fast as the server takes it; not to its end if it answers before, or goes away."""
        waiter, first_s = self._waiter, self._limit_s
        self._sending = True
        self._limit_s = self._idle_s
        for at in range(0, len(body), PIECE_BYTES):
            self._transport.write(body[at : at + PIECE_BYTES])
            if self._write_paused:
                self._silence_until(self._loop.time() + self._limit_s)
                self._drained = self._loop.create_future()
                await self._drained
            if self._waiter is not waiter or self._head_seen:
                return  # `_sending` stays: this connection carries nothing else
        self._sending = False
        self._limit_s = first_s
        self._silence_until(self._loop.time() + first_s)

    def leave(self, waiter: asyncio.Future[Reply]) -> None:
        """The caller of that exchange has gone, or has had its error. Idempotent."""
        if self._waiter is waiter:
            self.drop()
        elif waiter.done() and not waiter.cancelled():
            waiter.exception()  # seen, so that the loop does not report it as lost

    def drop(self) -> None:
        """Give up the exchange that is going on, and the connection with it."""
        self._waiter = self._body = None
        self.abort()

    def fail(self, error: Exception) -> None:
        """End the exchange with an error, and the connection."""
        waiter, body = self._waiter, self._body
        self.drop()
        if body is not None:
            body.end(cast("HeadwayError", error))  # `Stale` is for exchanges without a byte, let alone a body
        elif waiter is not None and not waiter.done():
            waiter.set_exception(error)

    def abort(self) -> None:
        """Close at once. Idempotent."""
        if self.open:
            self.open = False
            if self._timer is not None:
                self._timer.cancel()
            self.resume_writing()
            self._transport.abort()
            self._pool.discard(self)

    def patience(self) -> asyncio.Future[None]:
        """A future for the body's next bytes; the idle limit runs from now."""
        self._silence_until(self._loop.time() + self._idle_s)
        return self._loop.create_future()

    def taken(self) -> None:
        """The body's buffered bytes were taken."""
        self._incoming.buffered_bytes = 0
        if self._paused:
            self._paused = False
            self._transport.resume_reading()

    # -- the transport's side ----------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """It stands."""
        self._transport = cast("asyncio.Transport", transport)
        self.open = True
        probe(transport)

    def data_received(self, data: bytes) -> None:
        """Bytes came: to an exchange, or unasked."""
        waiter, incoming = self._waiter, self._incoming
        if waiter is None:
            self.abort()
            return
        self._touched = True
        try:
            incoming.feed(data)
        except Unreadable as fault:
            self.fail(failures.not_http(self._call.origin, str(fault)))
            return
        except Oversize:
            self.fail(failures.too_large(self._call.origin, self._pool.reply_bytes_max))
            return
        if incoming.status and not self._head_seen:
            self._head_seen = True
            self._call.trace.first_byte_at_s = self._loop.time()
            if self._sending:
                self.resume_writing()  # the upload need not go on
        if incoming.complete:
            self._finish()
        elif self._body is not None:
            self._body.wake()
            self._hold_back()
        elif waiter.done():
            self.drop()  # cancelled, and its caller has not run yet
        elif self._head_seen:
            self._head_without_all(waiter)

    def eof_received(self) -> bool:
        """The server has sent its last byte."""
        self.connection_lost(None)
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        """It ended: in good order (None) or not. After `abort` there is nothing left to do."""
        if not self.open:
            return
        if self._waiter is None:
            self.abort()
        elif exc is None and self._incoming.eof():
            self._finish()
        elif self._used and not self._touched:
            self.fail(Stale())
        else:
            reason = "closed by the server" if exc is None else str(exc) or type(exc).__name__
            # Its own doing if the request was not even written: then there was nothing to bill.
            self.fail(failures.broken(self._call.origin, reason, maybe_billed=not self._sending))

    def pause_writing(self) -> None:
        """The transport's buffer is full."""
        self._write_paused = True

    def resume_writing(self) -> None:
        """There is room again, or nothing more to wait for."""
        self._write_paused = False
        if self._drained is not None and not self._drained.done():
            self._drained.set_result(None)

    # -- inside ------------------------------------------------------------------------------------------------------

    def _finish(self) -> None:
        """The answer is whole: hand it on, and give the connection back if it is as good as new."""
        incoming, waiter, body, trace = self._incoming, self._waiter, self._body, self._call.trace
        self._waiter = self._body = None
        if incoming.keep and not self._sending and not self._write_paused:
            self._used = True
            if self._paused:
                self._paused = False
                self._transport.resume_reading()
            self._pool.release(self)
        else:
            self.abort()
        if body is not None:
            body.end(None)
        elif waiter is not None and not waiter.done():
            chunks = incoming.chunks
            data = chunks[0] if len(chunks) == 1 else b"".join(chunks)
            waiter.set_result(Reply(incoming.status, incoming.headers, data, trace=trace))

    def _head_without_all(self, waiter: asyncio.Future[Reply]) -> None:
        """The head has come, not all of the body: wait for the rest of a small answer, hand on what is a stream."""
        incoming, view = self._incoming, self._call.view
        if (
            view.format  # a reader knows that this is no stream
            and not view.stream
            and incoming.buffered_bytes <= HELD_BYTES
            and incoming.header("content-type").startswith("application/json")
        ):
            self._limit_s = self._idle_s
            self._silence_until(self._loop.time() + self._idle_s)
            return
        self._limit_s = self._idle_s
        body = self._body = Body(self, incoming.chunks)
        self._hold_back()
        reply = Reply(incoming.status, incoming.headers, chunks=body, close=body.aclose, trace=self._call.trace)
        waiter.set_result(reply)

    def _hold_back(self) -> None:
        if self._incoming.buffered_bytes > WINDOW_BYTES and not self._paused:
            self._paused = True
            self._transport.pause_reading()

    def _silence_until(self, deadline_s: float) -> None:
        """Silence is a failure from then on; the timer is only touched when it would fire too late."""
        self._deadline_s = deadline_s
        if deadline_s < self._timer_at_s:
            if self._timer is not None:
                self._timer.cancel()
            self._timer_at_s = deadline_s
            self._timer = self._loop.call_at(deadline_s, self._look)

    def _look(self) -> None:
        """The timer fired: is somebody waiting for longer than the limit?"""
        self._timer, self._timer_at_s = None, inf
        waiter, body = self._waiter, self._body
        if waiter is None or (body is not None and not body.waiting):
            return  # nobody waits; whoever does next sets the timer
        if self._loop.time() < self._deadline_s:
            self._silence_until(self._deadline_s)
        else:
            origin = self._call.origin
            self.fail(failures.silent(origin, self._limit_s, maybe_billed=not self._sending))
