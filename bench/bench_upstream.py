"""What the HTTP client costs: ours, httpx2's transport and (where it is installed) aiohttp, side by side.

The server is a minimal one in a process of its own; what is measured is the client's process: CPU microseconds a call
and calls a second, one after the other and with 32 at once, and CPU microseconds a streamed chunk. Most of that is the
system's (send, receive, wait), so there is a floor to read it by: a protocol and a parser that do nothing else, without
timeouts, bounds, back-pressure or a pool. Rounds take turns, so that the machine's moods hit all alike.
"""

from __future__ import annotations

import asyncio
import gc
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import httptools

from common import emit, own_state, spread
from headway.types import Call, RequestView, Timeouts, Trace
from headway.upstream import Upstream
from headway.upstream.fallback import Fallback

ROUNDS, CALLS, AT_ONCE = 7, 3200, 32
STREAMS, CHUNKS, PAUSE_S = 16, 100, 0.004
HEADERS = (
    ("content-type", "application/json"),
    ("accept", "application/json"),
    ("user-agent", "bench"),
    ("authorization", "Bearer sk-0123456789"),
)
BODY = b'{"model":"m","input":"I ordered a card more than a week ago and it has not arrived, what now?"}'
ANSWER = b'{"id":"resp_1","output":[{"content":[{"type":"output_text","text":"%b"}]}]}' % (b"card arrival " * 30)
HEAD = (
    b"HTTP/1.1 200 OK\r\ndate: Mon, 02 Nov 2026 10:00:00 GMT\r\nserver: bench\r\nx-request-id: req_0123456789\r\n"
    b"openai-processing-ms: 7\r\nx-ratelimit-limit-requests: 30000\r\nx-ratelimit-remaining-requests: 29999\r\n"
    b"x-ratelimit-reset-requests: 2ms\r\n"
)
WHOLE = HEAD + b"content-type: application/json\r\ncontent-length: %d\r\n\r\n%b" % (len(ANSWER), ANSWER)
OPEN = HEAD + b"content-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
EVENT = b'data: {"type":"response.output_text.delta","item_id":"msg_1","content_index":0,"delta":" word"}\n\n'
CHUNK = b"%x\r\n%b\r\n" % (len(EVENT), EVENT)


class Server(asyncio.Protocol):
    """Answers at once; /stream in paced chunks."""

    def connection_made(self, transport: Any) -> None:
        self.transport, self.parser = transport, httptools.HttpRequestParser(self)

    def data_received(self, data: bytes) -> None:
        self.parser.feed_data(data)

    def on_url(self, url: bytes) -> None:
        self.url = url

    def on_message_complete(self) -> None:
        if self.url == b"/stream":
            self.transport.write(OPEN)
            self.left = CHUNKS
            asyncio.get_running_loop().call_later(PAUSE_S, self.more)
        else:
            self.transport.write(WHOLE)

    def more(self) -> None:
        self.left -= 1
        self.transport.write(CHUNK if self.left else CHUNK + b"0\r\n\r\n")
        if self.left:
            asyncio.get_running_loop().call_later(PAUSE_S, self.more)


async def serve() -> None:
    server = await asyncio.get_running_loop().create_server(Server, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


class Client:
    """`plain` makes one call; `stream` reads one and returns how many chunks it was handed."""

    def __init__(self, plain: Callable[[], Awaitable[None]], stream: Callable[[], Awaitable[int]]) -> None:
        self.plain, self.stream = plain, stream


def call(origin: str, path: str, *, stream: bool) -> Call:
    view = RequestView(format="openai_responses", stream=stream)
    return Call(origin=origin, path=path, headers=HEADERS, body=BODY, view=view, trace=Trace("attempt", "x", 0.0, 0.0))


@asynccontextmanager
async def handler(origin: str, *, lean: bool) -> AsyncIterator[Client]:
    """Ours, or the fallback over httpx2's transport: the same interface."""
    timeouts = Timeouts()
    upstream = Upstream(timeouts, connections_max=64, reply_bytes_max=2**26)
    fallback = Fallback(connections_max=64, reply_bytes_max=2**26)

    async def send(what: Call) -> Any:
        return await (upstream(what) if lean else fallback.send(what, timeouts, None))

    async def plain() -> None:
        reply = await send(call(origin, "/v1/responses", stream=False))
        assert len(await reply.read()) == len(ANSWER)

    async def stream() -> int:
        seen = 0
        async for _ in await send(call(origin, "/stream", stream=True)):
            seen += 1
        return seen

    yield Client(plain, stream)
    await upstream.aclose()
    await fallback.aclose()


class Bare(asyncio.Protocol):
    """A write, a parser, a future."""

    def connection_made(self, transport: Any) -> None:
        self.transport, self.parser = transport, httptools.HttpResponseParser(self)

    def data_received(self, data: bytes) -> None:
        self.chunks: list[bytes] = []
        self.parser.feed_data(data)
        if not self.future.done():
            self.future.set_result(b"".join(self.chunks))

    def on_header(self, name: bytes, value: bytes) -> None:
        pass

    def on_body(self, data: bytes) -> None:
        self.chunks.append(data)
        self.seen += 1

    def next(self) -> asyncio.Future[bytes]:
        self.future = asyncio.get_running_loop().create_future()
        return self.future

    def send(self, path: bytes) -> asyncio.Future[bytes]:
        self.seen = 0
        self.transport.write(b"POST %b HTTP/1.1\r\ncontent-length: %d\r\n\r\n%b" % (path, len(BODY), BODY))
        return self.next()


@asynccontextmanager
async def bare(origin: str) -> AsyncIterator[Client]:
    idle: list[Bare] = []
    port = int(origin.rpartition(":")[2])

    async def connection() -> Bare:
        if idle:
            return idle.pop()
        return (await asyncio.get_running_loop().create_connection(Bare, "127.0.0.1", port))[1]

    async def plain() -> None:
        own = await connection()
        assert len(await own.send(b"/v1/responses")) == len(ANSWER)
        idle.append(own)

    async def stream() -> int:
        own, reads = await connection(), 1
        await own.send(b"/stream")
        while own.seen < CHUNKS:
            await own.next()
            reads += 1
        idle.append(own)
        return reads

    yield Client(plain, stream)
    for own in idle:
        own.transport.abort()
    await asyncio.sleep(0)


@asynccontextmanager
async def aiohttp_client(origin: str) -> AsyncIterator[Client]:
    import aiohttp

    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=64), headers=dict(HEADERS)) as session:

        async def plain() -> None:
            async with session.post(f"{origin}/v1/responses", data=BODY) as reply:
                assert len(await reply.read()) == len(ANSWER)

        async def stream() -> int:
            seen = 0
            async with session.post(f"{origin}/stream", data=BODY) as reply:
                async for _ in reply.content.iter_any():
                    seen += 1
            return seen

        yield Client(plain, stream)


async def calls(client: Client, at_once: int) -> tuple[float, float]:
    """CPU microseconds a call, and calls a second."""
    gc.collect()
    each = CALLS // at_once // (1 if at_once > 1 else 4)

    async def worker() -> None:
        for _ in range(each):
            await client.plain()

    wall_s, cpu_s = time.perf_counter(), time.process_time()
    await asyncio.gather(*[worker() for _ in range(at_once)])
    wall_s, cpu_s = time.perf_counter() - wall_s, time.process_time() - cpu_s
    return cpu_s / (each * at_once) * 1e6, each * at_once / wall_s


async def chunks(client: Client) -> float:
    """CPU microseconds a chunk that the server sent."""
    gc.collect()
    cpu_s = time.process_time()
    seen = await asyncio.gather(*[client.stream() for _ in range(STREAMS)])
    cpu_s = time.process_time() - cpu_s
    assert min(seen) > CHUNKS * 0.5, "chunks came in clusters: the machine is too busy to measure them"
    return cpu_s / (STREAMS * CHUNKS) * 1e6


async def measure(origin: str) -> None:
    makers: dict[str, Any] = {
        "floor": bare(origin),
        "ours": handler(origin, lean=True),
        "httpx2": handler(origin, lean=False),
    }
    try:
        import aiohttp  # noqa: F401 - only whether it is there
    except ImportError:
        pass
    else:
        makers["aiohttp"] = aiohttp_client(origin)
    clients = {name: await maker.__aenter__() for name, maker in makers.items()}
    rounds: dict[str, dict[str, list[float]]] = {name: {} for name in clients}
    for n in range(ROUNDS + 1):
        for name, client in clients.items():
            many_us, rate = await calls(client, AT_ONCE)
            one_us, _ = await calls(client, 1)
            chunk_us = await chunks(client)
            if n:  # the first round warms up
                for key, value in (("many", many_us), ("rate", rate), ("one", one_us), ("chunk", chunk_us)):
                    rounds[name].setdefault(key, []).append(value)
    for maker in makers.values():
        await maker.__aexit__(None, None, None)
    for name, figures in rounds.items():
        emit(f"{name}: CPU us a call, {AT_ONCE} at once", "-", spread(figures["many"]), reached=None)
        emit(f"{name}: CPU us a call, one at a time", "-", spread(figures["one"]), reached=None)
        emit(f"{name}: calls/s, {AT_ONCE} at once", "-", spread(figures["rate"]), reached=None)
        emit(f"{name}: CPU us a streamed chunk", "-", spread(figures["chunk"]), reached=None)
    ours, floor = rounds.pop("ours"), rounds.pop("floor")
    for key, what, most_us in (("many", f"a call, {AT_ONCE} at once", 20), ("chunk", "a streamed chunk", 5)):
        added = spread([mine - least for mine, least in zip(ours[key], floor[key], strict=True)])
        emit(f"ours above the floor: CPU us {what}", f"<= {most_us} us", added, reached=added["median"] <= most_us)
        for name, figures in rounds.items():
            ratio = spread(ours[key])["median"] / spread(figures[key])["median"]
            emit(f"ours / {name}: CPU {what}", "< 1", round(ratio, 3), reached=ratio < 1)


def main() -> None:
    own_state()
    with subprocess.Popen([sys.executable, __file__, "--serve"], stdout=subprocess.PIPE, text=True) as server:
        try:
            assert server.stdout is not None
            asyncio.run(measure(f"http://127.0.0.1:{int(server.stdout.readline())}"))
        finally:
            server.terminate()


if __name__ == "__main__":
    asyncio.run(serve()) if "--serve" in sys.argv else main()
