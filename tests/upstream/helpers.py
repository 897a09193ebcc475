"""The client on virtual time, against a server that is a coroutine with the other end of an in-memory wire."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from headway.errors import HeadwayError
from headway.sim.loop import VirtualLoop
from headway.types import Call, Reply, RequestView, Timeouts, Trace
from headway.upstream import Upstream

ORIGIN = "http://api.example"
JSON = b"content-type: application/json\r\n"
LIMITS = Timeouts(connect_s=5, first_byte_s=600, first_event_s=60, idle_s=30)


def call(origin: str = ORIGIN, *, stream: bool = False, read: bool = True, **more: Any) -> Call:
    """A request; `read`: a wire reader knows its format."""
    view = RequestView(format="openai_chat" if read else "", stream=stream)
    trace = Trace("attempt", "t", 0.0, 0.0)
    fields = {"path": "/v1/x", "headers": (("content-type", "application/json"),), "body": b"{}"} | more
    return Call(origin=origin, view=view, trace=trace, **fields)


def ok(body: bytes = b"{}", more: bytes = JSON) -> bytes:
    """A whole answer."""
    return b"HTTP/1.1 200 OK\r\n%bcontent-length: %d\r\n\r\n%b" % (more, len(body), body)


class Wire(asyncio.Transport):
    """Both ends of a connection: asyncio's transport for the client, four verbs for the server."""

    def __init__(self, loop: MemoryLoop, protocol: Any) -> None:
        super().__init__()
        self._loop, self._protocol = loop, protocol
        self._inbox = bytearray()
        self._came = asyncio.Event()
        self._closing = self._lost = False
        self._held: list[bytes] | None = None
        self.pauses = 0

    # the server's end
    async def request(self) -> bytes:
        """The next whole request; the client's leaving is an `EOFError`."""
        while b"\r\n\r\n" not in self._inbox:
            await self._more()
        head, _, _ = bytes(self._inbox).partition(b"\r\n\r\n")
        length = next((int(v) for k, _, v in (x.partition(b":") for x in head.split(b"\r\n")) if k == b"content-length"), 0)  # fmt: skip
        while len(self._inbox) < len(head) + 4 + length:
            await self._more()
        whole = bytes(self._inbox[: len(head) + 4 + length])
        del self._inbox[: len(whole)]
        return whole

    async def gone(self) -> None:
        """Until the client has left."""
        while not self._closing:
            await self._more()

    def send(self, data: bytes) -> None:
        """One read of the client's."""
        if self._held is not None:
            self._held.append(data)
        elif not self._closing:
            self._protocol.data_received(data)

    def end(self) -> None:
        """Close in good order."""
        if not self._closing:
            self._protocol.eof_received()
            self._lose(None)

    def reset(self) -> None:
        """Close in disorder."""
        self._lose(ConnectionResetError("reset by peer"))

    def read(self, *, on: bool) -> None:
        """Have room for more, or for one more piece."""
        self._protocol.resume_writing()
        if not on:
            self._protocol.pause_writing()

    async def _more(self) -> None:
        if self._closing:
            raise EOFError
        self._came.clear()
        await self._came.wait()

    def _lose(self, exc: Exception | None) -> None:
        if not self._lost:
            self._lost = self._closing = True
            self._came.set()
            self._loop.call_soon(self._protocol.connection_lost, exc)

    # asyncio's end
    def write(self, data: bytes) -> None:
        self._inbox += data
        self._came.set()

    def close(self) -> None:
        self._lose(None)

    def abort(self) -> None:
        self._loop.aborted += not self._closing
        self._lose(None)

    def is_closing(self) -> bool:
        return self._closing

    def pause_reading(self) -> None:
        assert self._held is None
        self._held = []
        self.pauses += 1

    def resume_reading(self) -> None:
        held, self._held = self._held or [], None
        for data in held:
            self._loop.call_soon(self.send, data)


Serve = Callable[[Wire], Awaitable[None]]


class MemoryLoop(VirtualLoop):
    """Virtual time, and connections that end in `serve`."""

    def __init__(self, serve: Serve) -> None:
        super().__init__()
        self._serve = serve
        self.connects: list[tuple[str, int]] = []
        self.connect_s = 0.0
        self.refusal: Exception | None = None
        self.full = False
        """Whether new connections take nothing before the server reads."""
        self.aborted = 0
        self.serving: set[asyncio.Task[None]] = set()

    async def create_connection(self, factory: Any, host: Any = None, port: Any = None, **_: Any) -> Any:
        self.connects.append((host, port))
        await asyncio.sleep(self.connect_s)
        if self.refusal is not None:
            raise self.refusal
        protocol = factory()
        wire = Wire(self, protocol)
        protocol.connection_made(wire)
        if self.full:
            protocol.pause_writing()
        self.serving.add(self.create_task(self._served(wire)))
        return wire, protocol

    async def _served(self, wire: Wire) -> None:
        try:
            await self._serve(wire)
        except EOFError:
            pass


def run(
    serve: Serve,
    work: Callable[[Upstream, MemoryLoop], Awaitable[Any]],
    *,
    connections_max: int = 100,
    reply_bytes_max: int = 10_000_000,
    limits: Timeouts = LIMITS,
) -> Any:
    """Let `work` use a client whose connections end in `serve`; nothing may be held when it is through."""

    async def main() -> Any:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, MemoryLoop)
        complaints: list[dict[str, Any]] = []
        loop.set_exception_handler(lambda _, context: complaints.append(context))
        upstream = Upstream(limits, connections_max=connections_max, reply_bytes_max=reply_bytes_max)
        result = await work(upstream, loop)
        await asyncio.sleep(0)
        assert (upstream.busy, upstream.waiting) == (0, 0), "something is still held"
        await upstream.aclose()
        assert upstream.idle == 0
        for task in loop.serving:
            task.cancel()
        for gone in await asyncio.gather(*loop.serving, return_exceptions=True):
            assert gone is None or isinstance(gone, asyncio.CancelledError), repr(gone)
        assert not complaints, complaints
        return result

    with asyncio.Runner(loop_factory=lambda: MemoryLoop(serve)) as runner:
        return runner.run(main())


async def ask(upstream: Upstream, what: Call | None = None) -> Any:
    """The reply with its body, or what went wrong."""
    try:
        async with await upstream(what or call()) as reply:
            return reply.status, await reply.read()
    except HeadwayError as error:
        return error


async def stream_of(reply: Reply) -> tuple[bytes, HeadwayError | None]:
    """What came of a body, and how it ended."""
    seen = b""
    try:
        async for chunk in reply:
            seen += chunk
    except HeadwayError as error:
        return seen, error
    return seen, None


async def always(wire: Wire) -> None:
    """Answers every request."""
    while True:
        await wire.request()
        wire.send(ok())
