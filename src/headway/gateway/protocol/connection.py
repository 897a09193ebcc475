"""One client's connection: requests in, one after the other, answers out.

What is for the data plane goes straight to its `Handle`, without an ASGI scope in between; anything else is handed,
with the bytes that have come, to the server's own protocol and so to the ASGI application, which keeps the connection.

Requests that were sent ahead (pipelining) wait as bytes, of which there are few before the client is held back. A
client that has gone ends what was asked for it; one that does not read what it asked for holds the provider back, and
is dropped when it takes nothing for too long.
"""

from __future__ import annotations

import asyncio
from math import inf
from typing import cast

from headway.errors import HeadwayError
from headway.gateway.protocol.alarm import Alarm
from headway.gateway.protocol.incoming import Incoming
from headway.gateway.protocol.outgoing import CONTINUE, END, ENDED, broken_off, head_of, refusal, whole
from headway.gateway.protocol.site import Site
from headway.gateway.protocol.turns import Turns
from headway.gateway.request import Refused, Request
from headway.types import Reply

__all__ = ["Connection"]


class Connection(asyncio.Protocol):
    """See the module. Its one timer is not moved with every byte, but looks, when it fires, at what is due."""

    __slots__ = (
        "_alarm", "_closing", "_counted_bytes", "_drained", "_incoming", "_lingering", "_loop", "_paused",
        "_pending_bytes", "_reading", "_reply", "_site", "_stage", "_transport", "_turns",
    )  # fmt: skip

    def __init__(self, site: Site, loop: asyncio.AbstractEventLoop) -> None:
        self._site = site
        self._loop = loop
        self._incoming = Incoming(site.limits, site.names, site.heads)
        self._transport: asyncio.Transport
        self._turns = Turns(loop, self._serve)
        self._reply: Reply | None = None  # the stream that is being written
        self._stage = ""
        """What the deadline is for: "idle", "head", "body", "linger"; "" until there is an answer, then "answer"."""
        self._closing = False  # after the answer that is being made
        self._lingering = False
        self._reading = True
        self._paused = False
        self._pending_bytes = 0
        self._counted_bytes = 0
        self._drained: asyncio.Future[None] | None = None
        self._alarm = Alarm(loop, self._late)

    # -- the transport's side ----------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """It stands."""
        self._transport = cast("asyncio.Transport", transport)
        connections = self._site.connections
        if len(connections) >= self._site.limits.connections_max:
            many = Refused(503, "too many connections are open; try again in a moment", "overloaded")
            self._site.refused(many)
            self._transport.write(refusal("", many, (("retry-after", "1"),)))
            self._transport.close()
            return
        connections.add(self)
        self._due("idle", self._site.limits.idle_s)

    def data_received(self, data: bytes) -> None:
        """Bytes came."""
        if self._lingering:
            return
        incoming = self._incoming
        incoming.receive(data)
        if self._turns.request is None and not self._paused:
            self._advance()
        elif incoming.ahead_bytes > self._site.limits.ahead_bytes_max and self._reading:
            self._reading = False
            self._transport.pause_reading()

    def eof_received(self) -> bool:
        """The client has sent its last byte: it is taken for gone, as one that waits would keep its side open."""
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        """It ended: what was asked for it ends, too."""
        self._site.connections.discard(self)
        self._forget_body()
        self._alarm.close()
        self._turns.end()

    def pause_writing(self) -> None:
        """The client takes less than is written."""
        self._paused = True
        self._pending_bytes = self._transport.get_write_buffer_size()
        self._alarm.after(self._site.limits.write_s)

    def resume_writing(self) -> None:
        """It has taken most of it."""
        self._paused = False
        if self._turns.request is not None:
            self._alarm.deadline_s = inf
            if self._drained is not None and not self._drained.done():
                self._drained.set_result(None)
        elif self._lingering or self._transport.is_closing():
            self._alarm.after(self._site.limits.linger_s)
        else:
            self._due("idle", self._site.limits.idle_s)
            self._next()

    def shutdown(self) -> None:
        """The server ends: what is being answered is answered, nothing else is."""
        self._closing = True
        if self._turns.request is None and not self._lingering:
            self._close()

    @property
    def answering(self) -> asyncio.Future[None] | None:
        """Done when the present request is answered, or never will be; None between two."""
        return self._turns.answered

    def end(self) -> None:
        """The gateway ends before the answer has: say so, and end the connection."""
        if self._turns.request is not None and not self._transport.is_closing():
            if (reply := self._reply) is not None:
                self._transport.write(broken_off(self._incoming.target, reply.status, ENDED, bare=self._incoming.old))
                if reply.trace is not None:
                    reply.trace.settled = reply.trace.settled or "closed"
            elif not self._stage:
                self._transport.write(refusal(self._incoming.target, Refused(503, str(ENDED), ENDED.code)))
        self._transport.close()

    def abort(self) -> None:
        """End it at once."""
        self._transport.abort()

    # -- requests ----------------------------------------------------------------------------------------------------

    def _advance(self) -> None:
        """Read on; start answering if a request is whole."""
        incoming, limits = self._incoming, self._site.limits
        begun = incoming.request is not None
        try:
            head = incoming.head()
            if head is None:
                if incoming.ahead_bytes and self._stage != "head":
                    self._due("head", limits.head_s)
                return
            if not begun and (incoming.upgrade or not self._site.wants(head)):
                self._hand_over()
                return
            request = incoming.body()
            if request is None and not begun:
                self._site.check(head)
            self._count_body()
        except Refused as refused:
            self._refuse(refused)
            return
        if request is None:
            if not begun:
                self._due("body", incoming.body_s)
                if incoming.continues and not incoming.held_bytes:
                    self._transport.write(CONTINUE)
            return
        self._stage = ""
        self._alarm.deadline_s = inf
        self._turns.begin(request)

    def _hand_over(self) -> None:
        """Give the connection to the server's own protocol, as if it had been there from the beginning."""
        self._alarm.close()
        self._turns.end()
        self._site.connections.discard(self)
        other = self._site.other()
        self._transport.set_protocol(other)
        other.connection_made(self._transport)
        other.data_received(self._incoming.raw_head + self._incoming.rest())

    def _refuse(self, refused: Refused) -> None:
        """Answer what cannot be read to its end, and end the connection when that was read."""
        self._site.refused(refused)
        self._transport.write(refusal(self._incoming.target, refused))
        self._linger()

    def _linger(self) -> None:
        """Say that nothing follows, and drop what still comes: a close with unread bytes would destroy the answer."""
        self._incoming.rest()
        self._forget_body()
        self._lingering = True
        self._due("linger", self._site.limits.linger_s)
        if self._transport.can_write_eof():
            self._transport.write_eof()

    def _count_body(self) -> None:
        """Count what is held of bodies, over all connections."""
        more_bytes = self._incoming.held_bytes - self._counted_bytes
        self._counted_bytes += more_bytes
        self._site.hold(more_bytes)

    def _forget_body(self) -> None:
        self._site.bodies_bytes -= self._counted_bytes
        self._counted_bytes = 0

    # -- answers -----------------------------------------------------------------------------------------------------

    async def _serve(self, request: Request) -> None:
        try:
            reply = await self._site.handle(request)
            self._stage = "answer"
            if reply.body is not None:
                keep = self._incoming.keep and not self._closing
                self._transport.write(whole(request.method, reply.status, reply.headers, reply.body, keep=keep))
                if reply.held:
                    await reply.aclose()
            else:
                await self._write_stream(request, reply)
        except Exception:
            self._transport.abort()  # ours to mend: the loop's handler has the traceback, the client an end
            raise
        self._answered()

    def _answered(self) -> None:
        """The answer is written: go on with the next request, or end."""
        self._turns.over()
        self._forget_body()
        if self._closing or not self._incoming.keep:
            self._close()
            return
        self._incoming.over()
        self._due("idle", self._site.limits.idle_s)
        if not self._paused:  # else: who does not read what is there gets nothing more
            self._next()

    def _next(self) -> None:
        """Go on with what was sent ahead."""
        if not self._reading:
            self._reading = True
            self._transport.resume_reading()
        if self._incoming.ahead_bytes:
            self._advance()

    def _close(self) -> None:
        """End it when what is written has been sent."""
        self._transport.close()
        self._due("close", self._site.limits.write_s)

    async def _write_stream(self, request: Request, reply: Reply) -> None:
        transport, old = self._transport, self._incoming.old
        if old:
            self._closing = True
        keep = self._incoming.keep and not self._closing
        try:
            transport.write(head_of(reply.status, reply.headers, None, keep=keep, chunked=not old))
            self._reply = reply
            async for chunk in reply:
                if chunk:
                    transport.write(chunk if old else b"%x\r\n%b\r\n" % (len(chunk), chunk))
                if self._paused:
                    self._drained = self._loop.create_future()
                    await self._drained
        except HeadwayError as error:
            self._closing = True
            transport.write(broken_off(request.target, reply.status, error, bare=old))
        else:
            if not old:
                transport.write(END)
        finally:
            self._reply = None
            await reply.aclose()

    # -- time --------------------------------------------------------------------------------------------------------

    def _due(self, stage: str, after_s: float) -> None:
        self._stage = stage
        if not self._paused:  # else: that the client reads is what is due
            self._alarm.after(after_s)

    def _late(self) -> None:
        """Something is due."""
        if self._paused:
            self._look_at_reader()
        elif self._stage in ("head", "body"):
            what = "headers" if self._stage == "head" else "body"
            self._refuse(Refused(408, f"the request's {what} did not come in time", "request_timeout"))
        elif self._stage == "idle":
            self._close()
        else:
            self._transport.abort()

    def _look_at_reader(self) -> None:
        """Somebody has much to read: has he read anything?"""
        limits, left = self._site.limits, self._transport.get_write_buffer_size()
        if left > self._pending_bytes - limits.write_bytes_min:
            self._transport.abort()
            return
        self._pending_bytes = left
        self._alarm.after(limits.write_s)
