"""What the lean client does not cover goes over httpx2's transport: proxies, and addresses out of the ordinary."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from typing import TYPE_CHECKING, Any, cast

from headway.errors import ConfigError, ProviderError
from headway.types import Call, Reply, Timeouts, Trace
from headway.upstream.failures import broken, refused, silent, too_large, unreachable
from headway.upstream.headers import HOP_BY_HOP
from headway.upstream.proxies import through

if TYPE_CHECKING:
    import httpx2

__all__ = ["Fallback"]


class Fallback:
    """Pooled connections of httpx2's, one pool for each proxy and one without.

    Args:
        connections_max: Open connections at once in each pool; tries beyond it wait for one.
        reply_bytes_max: A larger body is a `BadReply`.
    """

    def __init__(self, *, connections_max: int, reply_bytes_max: int) -> None:
        self._connections_max = connections_max
        self._reply_bytes_max = reply_bytes_max
        self._transports: dict[str | None, httpx2.AsyncHTTPTransport] = {}

    async def send(self, call: Call, timeouts: Timeouts, proxy: str | None) -> Reply:
        """Send the call, through `proxy` (a URL) where there is one."""
        import httpx2

        trace = call.trace
        first_s = timeouts.first_event_s if call.view.stream else timeouts.first_byte_s
        limits_s: dict[str, float | None] = {
            "connect": timeouts.connect_s,
            "read": first_s,
            "write": timeouts.idle_s,
            "pool": None,  # waiting for a connection is our queue, and bounded by the deadline
        }
        clock = _Clock(trace)
        try:
            request = httpx2.Request(
                call.method,
                call.origin + call.path,
                headers=[
                    *((name, value) for name, value in call.headers if name.lower() not in HOP_BY_HOP),
                    ("accept-encoding", "identity"),  # what is read must not be compressed
                ],
                content=call.body,
                extensions={"timeout": limits_s, "trace": clock},
            )
        except (httpx2.InvalidURL, ValueError) as error:
            raise ConfigError(
                f"{call.origin} is no address that can be called ({error}); check the base URL"
            ) from error
        try:
            response = await self._transport_through(proxy).handle_async_request(request)
        except httpx2.HTTPError as error:
            raise _failure(error, call, first_s) from error
        finally:
            trace.wait_s += clock.waited_s()  # for a free connection: our queue, not theirs
        trace.first_byte_at_s = clock.loop.time()
        limits_s["read"] = timeouts.idle_s  # read again by the transport before each chunk
        headers = tuple(
            (name.decode("latin-1").lower(), value.decode("latin-1")) for name, value in response.headers.raw
        )
        body = _Body(response, call, timeouts.idle_s, self._reply_bytes_max)
        return Reply(response.status_code, headers, chunks=body, close=body.aclose, trace=trace)

    async def aclose(self) -> None:
        """Close every connection."""
        for transport in self._transports.values():
            await transport.aclose()

    def _transport_through(self, proxy: str | None) -> httpx2.AsyncHTTPTransport:
        if proxy not in self._transports:
            import httpx2

            limits = httpx2.Limits(
                max_connections=self._connections_max,
                max_keepalive_connections=self._connections_max,
                keepalive_expiry=30.0,
            )
            self._transports[proxy] = through(httpx2.AsyncHTTPTransport, limits, proxy)
        return self._transports[proxy]


class _Clock:
    """httpcore's trace hook: notes when the connection stood and when the request was sent."""

    __slots__ = ("_connecting_at_s", "_entered_at_s", "_trace", "loop")

    def __init__(self, trace: Trace) -> None:
        self.loop = asyncio.get_running_loop()
        self._entered_at_s = self.loop.time()
        self._trace = trace
        self._connecting_at_s: float | None = None

    async def __call__(self, event: str, info: dict[str, Any]) -> None:
        if event.endswith("send_request_headers.started"):
            now_s = self.loop.time()
            self._trace.sent_at_s = now_s
            if self._connecting_at_s is not None:
                self._trace.connect_s = now_s - self._connecting_at_s
        elif event == "connection.connect_tcp.started":
            self._connecting_at_s = self.loop.time()

    def waited_s(self) -> float:
        """How long the request waited for a connection to be free, before one was opened or reused."""
        begun_s = self._connecting_at_s if self._connecting_at_s is not None else self._trace.sent_at_s
        return max(0.0, (self.loop.time() if begun_s is None else begun_s) - self._entered_at_s)


class _Body:
    """A reply's body as it comes over the connection, bounded; closing it gives the connection back or ends it."""

    __slots__ = ("_bytes_left", "_bytes_max", "_call", "_chunks", "_idle_s", "_stream")

    def __init__(self, response: httpx2.Response, call: Call, idle_s: float, bytes_max: int) -> None:
        self._stream = cast("httpx2.AsyncByteStream", response.stream)
        self._chunks = cast("AsyncGenerator[bytes, None]", aiter(self._stream))
        self._call = call
        self._idle_s = idle_s
        self._bytes_max = bytes_max
        self._bytes_left = bytes_max

    def __aiter__(self) -> _Body:
        return self

    async def __anext__(self) -> bytes:
        import httpx2

        try:
            chunk = await anext(self._chunks)
        except httpx2.HTTPError as error:
            raise _failure(error, self._call, self._idle_s) from error
        self._bytes_left -= len(chunk)
        if self._bytes_left < 0:
            raise too_large(self._call.origin, self._bytes_max)
        return chunk

    async def aclose(self) -> None:
        # The iterator first: it is a generator, and one left suspended would be finalised after the loop is gone.
        await self._chunks.aclose()
        await self._stream.aclose()


def _failure(error: httpx2.HTTPError, call: Call, silence_s: float) -> ProviderError:
    import httpx2

    sent = call.trace.sent_at_s is not None
    reason = str(error) or type(error).__name__
    if isinstance(error, httpx2.ConnectTimeout):
        return unreachable(call.origin)
    if isinstance(error, httpx2.ConnectError | httpx2.UnsupportedProtocol | httpx2.ProxyError):
        return refused(call.origin, reason)
    if isinstance(error, httpx2.TimeoutException):
        return silent(call.origin, silence_s, maybe_billed=sent)
    return broken(call.origin, reason, maybe_billed=sent)
