"""How a connection is made: whom TLS trusts, both address families, and what its socket is told."""

from __future__ import annotations

import asyncio
import os
import socket
import ssl
from collections import Counter, deque
from collections.abc import Awaitable, Callable, Sequence
from functools import lru_cache, partial
from operator import itemgetter
from typing import Any, TypeAlias

__all__ = ["connect", "probe", "race", "trust_store"]

Address: TypeAlias = tuple[Any, ...]
"""As `getaddrinfo` gives it: family, type, protocol, name, socket address."""

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
    if not isinstance(loop, asyncio.BaseEventLoop):  # uvloop's does not race a host's addresses
        sock = await race(partial(_dialled, loop), await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM))
        await loop.create_connection(protocol, sock=sock, ssl=context, server_hostname=name)
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


async def race(dial: Callable[[Address], Awaitable[socket.socket]], addresses: Sequence[Address]) -> socket.socket:
    """The first that connects; each address has a head start before the next, and the families take turns.

    Raises:
        OSError: None connects; of the last one that said so.
    """
    taken: Counter[int] = Counter()
    turns: list[tuple[int, Address]] = []
    for address in addresses:
        turns.append((taken[address[0]], address))
        taken[address[0]] += 1
    waiting = deque(address for _, address in sorted(turns, key=itemgetter(0)))
    dialling: set[asyncio.Task[socket.socket]] = set()
    error: BaseException = OSError("the host has no address")
    try:
        while waiting or dialling:
            if waiting:
                dialling.add(asyncio.ensure_future(dial(waiting.popleft())))
            head_start_s = HAPPY_EYEBALLS_S if waiting else None
            done, _ = await asyncio.wait(dialling, timeout=head_start_s, return_when=asyncio.FIRST_COMPLETED)
            for one in done:
                dialling.discard(one)
                if (failed := one.exception()) is None:
                    return one.result()
                error = failed
        raise error
    finally:
        for one in dialling:
            one.add_done_callback(_closed)
            one.cancel()


async def _dialled(loop: asyncio.AbstractEventLoop, address: Address) -> socket.socket:
    family, kind, number, _, where = address
    own = socket.socket(family, kind, number)
    try:
        own.setblocking(False)  # noqa: FBT003  # positional only
        await loop.sock_connect(own, where)
    except BaseException:
        own.close()
        raise
    return own


def _closed(late: asyncio.Task[socket.socket]) -> None:
    """It connected, or failed, when another one already had."""
    if not late.cancelled() and late.exception() is None:
        late.result().close()


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
