"""The client: a call goes out over a kept or a new connection of our own, or over the fallback."""

from __future__ import annotations

import asyncio
import ssl
import urllib.request
from urllib.parse import urlsplit

import msgspec

from headway.types import Call, Reply, Timeouts
from headway.upstream.connection import PIECE_BYTES, Stale
from headway.upstream.failures import broken
from headway.upstream.fallback import Fallback
from headway.upstream.link import trust_store
from headway.upstream.pool import Endpoint, Pool
from headway.upstream.requests import check, endpoint_of, head_of

__all__ = ["Upstream", "proxy_for"]

ORIGINS_MAX = 256
"""Origins remembered with their connections; an application has a handful."""


class _Way(msgspec.Struct, frozen=True):
    """How an origin is reached: by our own client, or (None) by the fallback, through a proxy if there is one."""

    endpoint: Endpoint | None
    proxy: str | None


class Upstream:
    """Pooled connections to providers. Open it on the loop that uses it; close it there.

    Args:
        timeouts: See `Timeouts`; a call's own win.
        connections_max: Open connections at once; tries beyond it wait for one.
        reply_bytes_max: A larger body is a `BadReply`.
    """

    def __init__(self, timeouts: Timeouts, *, connections_max: int, reply_bytes_max: int) -> None:
        self._timeouts = timeouts
        # On a virtual network nothing of the machine counts: neither its certificates nor its proxies.
        self._virtual = bool(getattr(asyncio.get_running_loop(), "is_virtual", False))
        # Here, not at the first call: reading the trust store takes a tenth of a second.
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT) if self._virtual else trust_store()
        self._pool = Pool(connections_max=connections_max, reply_bytes_max=reply_bytes_max, context=context)
        self._fallback = Fallback(connections_max=connections_max, reply_bytes_max=reply_bytes_max)
        self._ways: dict[str, _Way] = {}

    @property
    def busy(self) -> int:
        """Our own connections that carry an exchange, or are being opened for one."""
        return self._pool.busy

    @property
    def idle(self) -> int:
        """Our own connections that are kept for later."""
        return self._pool.idle

    @property
    def waiting(self) -> int:
        """Calls in line for one of them."""
        return self._pool.waiting

    async def __call__(self, call: Call) -> Reply:
        """Send a call; the reply is complete where all of it has come, else its body is iterated as it comes.

        Raises:
            ConfigError: The request cannot be written; nothing was sent.
            ProviderError: See `headway.errors`.
            Closed: This was closed.
        """
        timeouts = call.timeouts or self._timeouts
        way = self._ways.get(call.origin) or self._find(call.origin)
        endpoint = way.endpoint
        if endpoint is None:
            check(call)
            return await self._fallback.send(call, timeouts, way.proxy)
        head, body, pool = head_of(endpoint, call), call.body, self._pool
        connection = pool.take(endpoint) or await pool.acquire(endpoint, call.trace, timeouts.connect_s)
        again = False
        while True:
            large = len(body) > PIECE_BYTES
            waiter = connection.begin(call, timeouts, head if large else head + body)
            try:
                if large:
                    await connection.upload(body)
                return await waiter
            except Stale:
                # A server closes connections that have been idle for its taste, and may do so while a request is on its
                # way. That request was not looked at, so it is sent once more, over a new connection. (One that takes a
                # request from a kept connection, works on it, and closes without a byte gets it twice: browsers, curl
                # and nginx take the same chance.) Once: the second time it is an error like any other.
                if again:
                    raise broken(call.origin, "closed by the server", maybe_billed=True) from None
                again = True
            except BaseException:
                connection.leave(waiter)
                raise
            connection = await pool.acquire(endpoint, call.trace, timeouts.connect_s)

    async def aclose(self) -> None:
        """Close every connection; calls under way end with `Closed`."""
        await self._pool.aclose()
        await self._fallback.aclose()

    def _find(self, origin: str) -> _Way:
        if len(self._ways) >= ORIGINS_MAX:
            self._ways.clear()  # connections of endpoints that are forgotten grow old like any other
        proxy = None if self._virtual else proxy_for(origin)
        way = self._ways[origin] = _Way(None if proxy else endpoint_of(origin), proxy)
        return way


def proxy_for(origin: str) -> str | None:
    """The proxy's URL from HTTPS_PROXY, HTTP_PROXY, ALL_PROXY and NO_PROXY, as the SDKs read them."""
    parts = urlsplit(origin)
    proxies = urllib.request.getproxies()
    if urllib.request.proxy_bypass(parts.netloc):
        return None
    proxy = proxies.get(parts.scheme) or proxies.get("all")
    return f"http://{proxy}" if proxy and "://" not in proxy else proxy
