"""Connections, kept for further exchanges: who gets which, how many there are, and when they are closed.

Last in, first out: the connection that was used last is the least likely to have been closed by the server, and those
that are not needed any more grow old and go. Beyond `connections_max` (over all endpoints) calls wait in line, first
come, first served; idle connections of other endpoints make room.
"""

from __future__ import annotations

import asyncio
import ssl
from collections import OrderedDict

from headway.types import Headers, Trace
from headway.upstream import failures
from headway.upstream.connection import Connection
from headway.upstream.headers import HeaderNames
from headway.upstream.link import connect

__all__ = ["Endpoint", "Pool"]

IDLE_S = 30.0
"""How long a connection is kept unused. Many servers grant less (uvicorn and Node.js 5 s): then their end is seen."""


class Endpoint:
    """Where an origin's connections go, and what is known of it.

    Args:
        authority: What stands in the `host` header.
    """

    __slots__ = ("authority", "heads", "host", "idle", "lines", "origin", "port", "tls")

    def __init__(self, origin: str, host: str, port: int, *, tls: bool, authority: bytes) -> None:
        self.origin = origin
        self.host = host
        self.port = port
        self.tls = tls
        self.authority = authority
        self.idle: list[Connection] = []
        """The last one was used last."""
        self.heads: dict[tuple[int, str, str], tuple[Headers, bytes]] = {}
        """Encoded heads, by what they were made of; see `requests.head_of`."""
        self.lines: dict[tuple[str, str], bytes] = {}
        """Encoded headers."""


class Pool:
    """All connections of one `Upstream`.

    Args:
        connections_max: Open, or being opened, at once.
        reply_bytes_max: See `Upstream`.
        context: What TLS connections are made with.
    """

    def __init__(self, *, connections_max: int, reply_bytes_max: int, context: ssl.SSLContext) -> None:
        self._loop = asyncio.get_running_loop()
        self._connections_max = connections_max
        self._context = context
        self._connections: dict[Connection, None] = {}  # in the order they were made: the same for the same seed
        self._opening = 0
        self._waiters: OrderedDict[asyncio.Future[Connection | None], Endpoint] = OrderedDict()
        self._sweeper: asyncio.TimerHandle | None = None
        self._closed = False
        self.reply_bytes_max = reply_bytes_max
        self.names = HeaderNames()

    @property
    def busy(self) -> int:
        """Connections that carry an exchange, or are being opened for one."""
        return self._opening + sum(connection.busy for connection in self._connections)

    @property
    def idle(self) -> int:
        """Connections that are kept for later."""
        return sum(connection.idle_since_s is not None for connection in self._connections)

    @property
    def waiting(self) -> int:
        """Calls in line."""
        return len(self._waiters)

    def take(self, endpoint: Endpoint) -> Connection | None:
        """A kept connection, if there is one."""
        idle = endpoint.idle
        while idle:
            connection = idle.pop()
            connection.idle_since_s = None
            if connection.usable:
                return connection
            connection.abort()
        return None

    async def acquire(self, endpoint: Endpoint, trace: Trace, connect_s: float) -> Connection:
        """A new connection, or one that becomes free while there is no room for a new one.

        Args:
            trace: Gets the time in line (`wait_s`, ours) and that of connecting (`connect_s`).
            connect_s: Seconds for name look-up, TCP and TLS together.

        Raises:
            ConnectFailed: None came about.
            Closed: The pool was closed meanwhile.
        """
        while not self._claim():
            connection = await self._in_line(endpoint, trace)
            if connection is None:
                break
            if connection.usable:
                return connection
            connection.abort()
        try:
            return await self._open(endpoint, trace, connect_s)
        finally:
            self._opening -= 1
            self._serve()  # where none came about, the place is the next one's

    def release(self, connection: Connection) -> None:
        """Take a connection back that is as good as new."""
        while self._waiters:
            waiter, endpoint = next(iter(self._waiters.items()))
            if waiter.done():
                del self._waiters[waiter]
            elif endpoint is connection.endpoint:
                del self._waiters[waiter]
                waiter.set_result(connection)
                return
            else:
                connection.abort()  # the first in line goes elsewhere: its place is taken over by a new connection
                return
        if self._closed:
            connection.abort()
            return
        connection.idle_since_s = self._loop.time()
        connection.endpoint.idle.append(connection)
        if self._sweeper is None:
            self._sweeper = self._loop.call_at(connection.idle_since_s + IDLE_S, self._sweep)

    def discard(self, connection: Connection) -> None:
        """Forget a connection that was closed."""
        if connection in self._connections:
            del self._connections[connection]
            if connection.idle_since_s is not None:
                connection.idle_since_s = None
                connection.endpoint.idle.remove(connection)
            self._serve()

    async def aclose(self) -> None:
        """Close every connection; calls under way end with `Closed`."""
        self._closed = True
        if self._sweeper is not None:
            self._sweeper.cancel()
        while self._waiters:
            waiter, _ = self._waiters.popitem(last=False)
            if not waiter.done():
                waiter.set_exception(failures.closed())
        for connection in list(self._connections):
            connection.fail(failures.closed())
        for _ in range(5):  # transports close in the loop's next rounds, TLS ones in two
            await asyncio.sleep(0)

    def _claim(self) -> bool:
        """Count a connection that is about to be opened; where there is no room, the oldest idle one makes some."""
        if self._closed:
            raise failures.closed()
        if self._waiters:
            return False
        if len(self._connections) + self._opening >= self._connections_max:
            idle = [connection for connection in self._connections if connection.idle_since_s is not None]
            if not idle:
                return False
            min(idle, key=lambda connection: connection.idle_since_s or 0.0).abort()
        self._opening += 1
        return True

    async def _in_line(self, endpoint: Endpoint, trace: Trace) -> Connection | None:
        """Wait for a connection, or (None) for the place of one, already counted in `_opening`."""
        entered_s = self._loop.time()
        waiter: asyncio.Future[Connection | None] = self._loop.create_future()
        self._waiters[waiter] = endpoint
        try:
            return await waiter
        except asyncio.CancelledError:
            if waiter.done() and not waiter.cancelled() and waiter.exception() is None:
                self._give_back(waiter.result())  # it was this one's turn just now
            raise
        finally:
            self._waiters.pop(waiter, None)
            trace.wait_s += self._loop.time() - entered_s

    def _give_back(self, got: Connection | None) -> None:
        if got is None:
            self._opening -= 1
            self._serve()
        elif got.usable:
            self.release(got)
        else:
            got.abort()

    def _serve(self) -> None:
        """Give free places to those in line."""
        while self._waiters and len(self._connections) + self._opening < self._connections_max:
            waiter, _ = self._waiters.popitem(last=False)
            if not waiter.done():
                self._opening += 1
                waiter.set_result(None)

    async def _open(self, endpoint: Endpoint, trace: Trace, connect_s: float) -> Connection:
        loop = self._loop
        begun_s = loop.time()
        connection = Connection(self, endpoint, loop)
        try:
            async with asyncio.timeout(connect_s):
                context = self._context if endpoint.tls else None
                await connect(loop, lambda: connection, endpoint.host, endpoint.port, context)
        except TimeoutError as error:
            raise failures.unreachable(endpoint.origin) from error
        except (OSError, UnicodeError) as error:  # ssl.SSLError and socket.gaierror are OSErrors
            raise failures.refused(endpoint.origin, str(error) or type(error).__name__) from error
        except BaseException:
            connection.abort()
            raise
        if self._closed:
            connection.abort()
            raise failures.closed()
        if not connection.usable:
            raise failures.refused(endpoint.origin, "it was closed at once")
        trace.connect_s = loop.time() - begun_s
        self._connections[connection] = None
        return connection

    def _sweep(self) -> None:
        """Close what has been idle for too long; come again when the next one will have been."""
        now_s = self._loop.time()
        self._sweeper = None
        oldest_s: float | None = None
        for connection in list(self._connections):
            since_s = connection.idle_since_s
            if since_s is None:
                continue
            if since_s + IDLE_S <= now_s:  # the very sum that the timer was set to
                connection.abort()
            elif oldest_s is None or since_s < oldest_s:
                oldest_s = since_s
        if oldest_s is not None:
            self._sweeper = self._loop.call_at(oldest_s + IDLE_S, self._sweep)
