"""How a connection is made: whom TLS trusts, both address families, and what its socket is told."""

from __future__ import annotations

import asyncio
import os
import socket
import ssl
from collections.abc import Callable
from functools import lru_cache

__all__ = ["connect", "probe", "trust_store"]

HAPPY_EYEBALLS_S = 0.25
"""The head start of the first address. Source: RFC 8305."""

ABANDONED_S = 1.0
"""How long a connection is still waited for after its caller has gone."""

PROBES = {"TCP_KEEPIDLE": 60, "TCP_KEEPINTVL": 60, "TCP_KEEPCNT": 5}
"""Seconds of silence, seconds between probes, probes. Source: what the official SDKs set."""


def trust_store() -> ssl.SSLContext:
    """TLS as httpx2 does it: the system's certificates, SSL_CERT_FILE and SSL_CERT_DIR; HTTP/1.1 is all we offer.

    Read once in a process, for that takes a tenth of a second.
    """
    return _trust_store(os.environ.get("SSL_CERT_FILE", ""), os.environ.get("SSL_CERT_DIR", ""))


@lru_cache(maxsize=4)
def _trust_store(file: str, folder: str) -> ssl.SSLContext:
    import httpx2

    context = httpx2.create_ssl_context()
    context.set_alpn_protocols(["http/1.1"])
    return context


async def connect(
    loop: asyncio.AbstractEventLoop,
    protocol: Callable[[], asyncio.Protocol],
    host: str,
    port: int,
    context: ssl.SSLContext | None,
) -> None:
    """Connect `protocol`; with a context over TLS, for that host's name. Raises what the loop raises."""
    name = host if context is not None else None
    if not isinstance(loop, asyncio.BaseEventLoop):  # uvloop's has no such argument
        await loop.create_connection(protocol, host, port, ssl=context, server_hostname=name)
        return
    making = loop.create_task(
        loop.create_connection(
            protocol, host, port, ssl=context, server_hostname=name, happy_eyeballs_delay=HAPPY_EYEBALLS_S
        )
    )
    try:
        await asyncio.shield(making)
    except asyncio.CancelledError:
        # Cancelled when a socket has just been connected, asyncio would lose it to the garbage collector, which may not
        # come by for hours: `staggered_race` keeps its winner in a cycle (CPython 3.11 to 3.13).
        late = loop.call_later(ABANDONED_S, making.cancel)

        def abandoned(made: asyncio.Task[tuple[asyncio.Transport, asyncio.Protocol]]) -> None:
            late.cancel()
            if not made.cancelled() and made.exception() is None:
                made.result()[0].abort()

        making.add_done_callback(abandoned)
        raise


def probe(transport: asyncio.BaseTransport) -> None:
    """Have TCP probe a silent connection: gateways on the way forget one that waits minutes for an answer.

    TCP_NODELAY needs no setting: asyncio's and uvloop's sockets come with it.
    """
    own = transport.get_extra_info("socket")
    if own is None:
        return  # an in-memory network's
    own.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in PROBES.items():
        option = getattr(socket, name, None)  # not every system has all of them
        if option is not None:
            own.setsockopt(socket.IPPROTO_TCP, option, value)
