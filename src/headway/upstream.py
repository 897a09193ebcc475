"""The terminal handler: a call goes out over a pooled connection, a reply comes in.

`Upstream` sends over httpx2's own transport, so proxies, TLS and HTTP rules are httpx2's; `InProcess` hands calls to
any other `Handler` (a simulator, a test's fake) and keeps the same books: when it was sent, when the first byte came,
who is at fault when it fails.
"""

from __future__ import annotations

import asyncio
import urllib.request
from collections.abc import AsyncGenerator
from typing import TYPE_CHECKING, Any, cast
from urllib.parse import urlsplit

from headway.errors import BadReply, ConnectFailed, ConnectionLost, ProviderError, ProviderTimeout
from headway.types import Call, Handler, Headers, Reply, Timeouts, Trace

if TYPE_CHECKING:
    import httpx2

__all__ = ["InProcess", "Upstream", "end_to_end"]

_CONNECTION = ("connection", "content-length", "host", "keep-alive", "te", "trailer", "transfer-encoding", "upgrade")
_HOP_BY_HOP = frozenset((*_CONNECTION, "proxy-authenticate", "proxy-authorization", "accept-encoding"))


class Upstream:
    """Pooled connections to providers. Open it on the loop that uses it; close it there.

    Args:
        timeouts: See `Timeouts`.
        connections_max: Open connections at once; tries beyond it wait for one.
        reply_bytes_max: A larger body is a `BadReply`.
    """

    def __init__(self, timeouts: Timeouts, *, connections_max: int, reply_bytes_max: int) -> None:
        self._timeouts = timeouts
        self._connections_max = connections_max
        self._reply_bytes_max = reply_bytes_max
        # Here, not at the first call: importing the client and reading the trust store takes a tenth of a second.
        self._transports: dict[str | None, httpx2.AsyncHTTPTransport] = {None: self._open(None)}
        self._proxies: dict[str, str | None] = {}

    async def __call__(self, call: Call) -> Reply:
        import httpx2

        timeouts, trace = call.timeouts or self._timeouts, call.trace
        first_s = timeouts.first_event_s if call.view.stream else timeouts.first_byte_s
        limits_s: dict[str, float | None] = {
            "connect": timeouts.connect_s,
            "read": first_s,
            "write": timeouts.idle_s,
            "pool": None,  # waiting for a connection is our queue, and bounded by the deadline
        }
        clock = _Clock(trace)
        request = httpx2.Request(
            call.method,
            call.origin + call.path,
            headers=[
                *((name, value) for name, value in call.headers if name not in _HOP_BY_HOP),
                ("accept-encoding", "identity"),  # what is read must not be compressed
            ],
            content=call.body,
            extensions={"timeout": limits_s, "trace": clock},
        )
        try:
            response = await self._transport_to(call.origin).handle_async_request(request)
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

    def _transport_to(self, origin: str) -> httpx2.AsyncHTTPTransport:
        """The pool for an origin: direct, or through the proxy that the environment names for it."""
        if origin not in self._proxies:
            if len(self._proxies) >= 256:
                self._proxies.clear()
            self._proxies[origin] = _proxy_for(origin)
        proxy = self._proxies[origin]
        if proxy not in self._transports:
            self._transports[proxy] = self._open(proxy)
        return self._transports[proxy]

    def _open(self, proxy: str | None) -> httpx2.AsyncHTTPTransport:
        import httpx2

        limits = httpx2.Limits(
            max_connections=self._connections_max,
            max_keepalive_connections=self._connections_max,
            keepalive_expiry=30.0,
        )
        return httpx2.AsyncHTTPTransport(limits=limits, proxy=proxy)


class InProcess:
    """Another handler in the place of the network, with the network's book-keeping."""

    __slots__ = ("_handler", "_reply_bytes_max")

    def __init__(self, handler: Handler, *, reply_bytes_max: int) -> None:
        self._handler = handler
        self._reply_bytes_max = reply_bytes_max

    async def __call__(self, call: Call) -> Reply:
        loop = asyncio.get_running_loop()
        trace = call.trace
        trace.sent_at_s = loop.time()
        reply = await self._handler(call)
        trace.first_byte_at_s = loop.time()
        body = reply.body
        if body is not None and len(body) > self._reply_bytes_max:
            raise _too_large(call, self._reply_bytes_max)
        return reply

    async def aclose(self) -> None:
        """Nothing is held."""


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


def _proxy_for(origin: str) -> str | None:
    """The proxy's URL from HTTPS_PROXY, HTTP_PROXY, ALL_PROXY and NO_PROXY, as the SDKs read them."""
    parts = urlsplit(origin)
    proxies = urllib.request.getproxies()
    if urllib.request.proxy_bypass(parts.netloc):
        return None
    proxy = proxies.get(parts.scheme) or proxies.get("all")
    return f"http://{proxy}" if proxy and "://" not in proxy else proxy


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
            raise _too_large(self._call, self._bytes_max)
        return chunk

    async def aclose(self) -> None:
        # The iterator first: it is a generator, and one left suspended would be finalised after the loop is gone.
        await self._chunks.aclose()
        await self._stream.aclose()


def _failure(error: httpx2.HTTPError, call: Call, silence_s: float) -> ProviderError:
    import httpx2

    where = call.origin
    sent = call.trace.sent_at_s is not None
    if isinstance(error, httpx2.ConnectTimeout):
        return ConnectFailed(f"{where} did not accept a connection in time; check the base URL and the network")
    if isinstance(error, httpx2.ConnectError | httpx2.UnsupportedProtocol | httpx2.ProxyError):
        reason = str(error) or type(error).__name__
        return ConnectFailed(f"no connection to {where} ({reason}); check that base_url is right and the server is up")
    if isinstance(error, httpx2.TimeoutException):
        return ProviderTimeout(
            f"{where} was silent for {silence_s:g} s; raise the timeout if its answers take that long",
            maybe_billed=sent,
        )
    reason = str(error) or type(error).__name__
    return ConnectionLost(f"the connection to {where} broke before the answer was whole ({reason})", maybe_billed=sent)


def _too_large(call: Call, bytes_max: int) -> BadReply:
    return BadReply(
        f"the answer from {call.origin} is larger than {bytes_max} bytes; raise reply_bytes_max if that is meant",
        maybe_billed=True,
        final=True,
    )


def end_to_end(headers: Headers) -> Headers:
    """The headers a caller may see: hop-by-hop ones are the connection's own business."""
    return tuple(pair for pair in headers if pair[0] not in _HOP_BY_HOP or pair[0] == "content-length")
