"""A connection protocol with a handle of the test's own, and a whole gateway in front of a handler, both on real sockets."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

from headway.gateway.data.guard import is_data
from headway.gateway.limits import DOOR_LIMITS, LIMITS, DoorLimits, Limits
from headway.gateway.protocol import Connection, Site
from headway.gateway.request import Request
from headway.gateway.server import listen, run, url_of
from headway.gateway.settings import ServeSettings
from headway.types import Handler, Reply

JSON = (("content-type", "application/json"),)


async def echo(request: Request) -> Reply:
    """Says what was asked."""
    return Reply(200, JSON, f"{request.method} {request.target} ".encode() + request.body)


class Other(asyncio.Protocol):
    """Stands in for uvicorn's protocol: answers whatever it is handed, and ends."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport: Any = transport

    def data_received(self, data: bytes) -> None:
        self.transport.write(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\nother" % 5)
        self.transport.close()


@asynccontextmanager
async def spoken_to(
    handle: Callable[[Request], Awaitable[Reply]] = echo, limits: Limits = LIMITS
) -> AsyncIterator[tuple[Callable[[], Awaitable[tuple[asyncio.StreamReader, asyncio.StreamWriter]]], Site]]:
    """The protocol alone; gives what opens a client's connection to it."""
    loop = asyncio.get_running_loop()
    site = Site(handle, lambda request: None, is_data, Other, limits, set())
    server = await loop.create_server(lambda: Connection(site, loop), "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    writers = []

    async def dial() -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writers.append(writer)
        return reader, writer

    try:
        yield dial, site
    finally:
        server.close()
        for writer in writers:
            writer.close()
        for connection in list(site.connections):
            connection.abort()
        await asyncio.sleep(0.01)
        await server.wait_closed()


@asynccontextmanager
async def gateway(
    handler: Handler,
    *,
    limits: Limits = LIMITS,
    config: str = "",
    host: str = "127.0.0.1",
    keys: str = "",
    model: str = "",
    doors: DoorLimits = DOOR_LIMITS,
    drain_s: float = 1,
    **engine: Any,
) -> AsyncIterator[str]:
    """A whole gateway in front of a handler; gives its URL, without /v1."""
    engine = {"api_key": "sk-own", **engine}
    settings = ServeSettings(
        host=host,
        port=0,
        engine=engine,
        limits=limits,
        config=config,
        keys=keys,
        drain_s=drain_s,
        model=model,
        doors=doors,
    )
    listener, stop, ready = listen(settings), asyncio.Event(), asyncio.Event()
    serving = asyncio.ensure_future(run(settings, listener, ready=ready.set, handler=handler, stop=stop))
    waiting = asyncio.ensure_future(ready.wait())
    try:
        await asyncio.wait((serving, waiting), return_when=asyncio.FIRST_COMPLETED)
        if serving.done():
            serving.result()
        yield url_of(listener)
    finally:
        waiting.cancel()
        stop.set()
        await serving
        listener.close()


async def said(url: str, *parts: bytes) -> bytes:
    """Send raw bytes to a gateway, and read until it ends the connection."""
    host, _, port = url.removeprefix("http://").rpartition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    try:
        for part in parts:
            writer.write(part)
            await writer.drain()
        async with asyncio.timeout(20):
            return await reader.read()
    finally:
        writer.close()
        await asyncio.gather(writer.wait_closed(), return_exceptions=True)


async def answer(reader: asyncio.StreamReader) -> tuple[int, dict[str, str], bytes]:
    """Read one answer with a length."""
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    line, *lines = head.strip().split("\r\n")
    headers = dict(one.split(": ", 1) for one in lines)
    body = await reader.readexactly(int(headers["content-length"])) if "content-length" in headers else b""
    return int(line.split()[1]), headers, body


async def until(true: Callable[[], object]) -> None:
    """Wait for something that nobody announces."""
    while not true():  # noqa: ASYNC110
        await asyncio.sleep(0.001)


def within(main: Any) -> None:
    """Run it; what hangs fails."""

    async def bounded() -> None:
        async with asyncio.timeout(30):
            await main

    asyncio.run(bounded())
