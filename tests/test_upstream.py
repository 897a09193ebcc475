"""The network side against a real server that misbehaves on purpose, over loopback."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from headway import BadReply, ConnectFailed, ConnectionLost, Engine, ProviderTimeout

from .engine.helpers import BODY, RESPONSES

Client = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
ANSWER = (
    b'{"object":"response","status":"completed","model":"m","output":[{"type":"message","role":"assistant",'
    b'"content":[{"type":"output_text","text":"hi"}]}],"usage":{"input_tokens":3,"output_tokens":1}}'
)
EVENT = b'data: {"type":"response.output_text.delta","delta":"hi"}\n\n'
DONE = b'data: {"type":"response.completed","response":' + ANSWER + b"}\n\n"


def ok(body: bytes, kind: bytes = b"application/json", more: bytes = b"") -> bytes:
    return b"HTTP/1.1 200 OK\r\ncontent-type: %b\r\ncontent-length: %d\r\n%b\r\n%b" % (
        kind,
        len(body),
        more,
        body,
    )


async def request_of(reader: asyncio.StreamReader) -> bytes:
    head = await reader.readuntil(b"\r\n\r\n")
    for line in head.split(b"\r\n"):
        if line.lower().startswith(b"content-length:"):
            return head + await reader.readexactly(int(line.split(b":")[1]))
    return head


def run(serve: Client, work: Callable[[Engine], Awaitable[object]], **settings: object) -> object:
    """Serve every connection with `serve`, and let `work` use an engine that points there."""

    async def main() -> object:
        tasks = set()

        async def connected(reader, writer):
            tasks.add(asyncio.current_task())
            try:
                await serve(reader, writer)
            except (ConnectionError, asyncio.IncompleteReadError):
                pass
            finally:
                writer.close()

        server = await asyncio.start_server(connected, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        quiet = {"log": "off", "log_level": "off", "api_key": "sk-secret", "attempts_max": 1} | settings
        try:
            async with Engine(base_url=f"http://127.0.0.1:{port}/v1", **quiet) as engine:
                return await work(engine)
        finally:
            server.close()
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    return asyncio.run(main())


async def plain(engine: Engine) -> object:
    try:
        reply = await engine.send(RESPONSES, BODY)
        return reply, await reply.read()
    except Exception as error:
        return error


async def stream(engine: Engine) -> object:
    seen = []
    try:
        async for chunk in await engine.send(RESPONSES, BODY | {"stream": True}):
            seen.append(chunk)
    except Exception as error:
        return error, b"".join(seen)
    return None, b"".join(seen)


def test_a_call_goes_out_as_it_was_written_and_connections_are_kept():
    """The client's bytes, its credential, no compression; the second call needs no second connection."""
    heads: list[bytes] = []
    connections = 0

    async def serve(reader, writer):
        nonlocal connections
        connections += 1
        while True:
            heads.append(await request_of(reader))
            writer.write(ok(ANSWER, more=b"x-request-id: req_1\r\nopenai-processing-ms: 7\r\n"))

    async def work(engine):
        first, _ = await plain(engine)
        second, _ = await plain(engine)
        return first.trace, second.trace

    first, second = run(serve, work)
    assert connections == 1
    assert heads[0].startswith(b"POST /v1/responses HTTP/1.1\r\n")
    assert b"authorization: bearer sk-secret\r\n" in heads[0].lower()
    assert b"accept-encoding: identity\r\n" in heads[0].lower()
    assert heads[0].endswith(b'{"model":"gpt-5.4-mini","input":"Hello"}')
    assert (first.request_id, first.provider_processing_s) == ("req_1", 0.007)
    assert first.connect_s is not None
    assert second.connect_s is None
    assert first.started_at_s <= first.sent_at_s <= first.first_byte_at_s <= first.ended_at_s


def test_a_refused_connection_was_never_billed():
    """Nobody listens: the message names the address and the way out."""

    async def work(_):
        async with Engine(
            base_url="http://127.0.0.1:9/v1", api_key="k", log="off", log_level="off", attempts_max=1
        ) as e:
            return await plain(e)

    error = run(lambda r, w: asyncio.sleep(0), work)
    assert isinstance(error, ConnectFailed)
    assert "127.0.0.1:9" in str(error)
    assert not error.maybe_billed


@pytest.mark.parametrize(
    "sent", [b"", ok(ANSWER)[:60], ok(ANSWER)[:-10]], ids=["nothing", "half a head", "half a body"]
)
def test_a_connection_that_breaks_is_named_and_may_be_billed(sent):
    """Closed before the announced length: no half answer is ever handed on."""

    async def serve(reader, writer):
        await request_of(reader)
        writer.write(sent)
        await writer.drain()

    error = run(serve, plain)
    assert isinstance(error, ConnectionLost)
    assert error.maybe_billed


def test_silence_before_the_first_byte_has_its_limit():
    """Connected, then nothing."""

    async def serve(reader, writer):
        await request_of(reader)
        await asyncio.sleep(30)

    error = run(serve, plain, first_byte_timeout_s=0.1)
    assert isinstance(error, ProviderTimeout)
    assert "0.1 s" in str(error)


def test_a_stream_that_goes_idle_has_another_limit():
    """Content came, then nothing: the bytes are handed on, then the typed error."""

    async def serve(reader, writer):
        await request_of(reader)
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n")
        writer.write(b"%x\r\n%b\r\n" % (len(EVENT), EVENT))
        await asyncio.sleep(30)

    error, seen = run(serve, stream, idle_timeout_s=0.1, first_event_timeout_s=5)
    assert isinstance(error, ProviderTimeout)
    assert seen == EVENT


@pytest.mark.parametrize("cut", [1, 7, 64, 4096])
def test_a_stream_arrives_whole_however_it_is_cut(cut):
    """Splits anywhere, even inside a UTF-8 sequence, change no byte."""
    text = EVENT * 3 + 'data: {"type":"response.output_text.delta","delta":"π≈3"}\n\n'.encode() + DONE

    async def serve(reader, writer):
        while True:
            await request_of(reader)
            writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n")
            for at in range(0, len(text), cut):
                part = text[at : at + cut]
                writer.write(b"%x\r\n%b\r\n" % (len(part), part))
                await asyncio.sleep(0)
            writer.write(b"0\r\n\r\n")

    error, seen = run(serve, stream)
    assert error is None
    assert seen == text


def test_a_stream_cut_before_its_end_is_an_error():
    """A clean close without the terminal event is still no answer."""

    async def serve(reader, writer):
        await request_of(reader)
        writer.write(ok(EVENT, b"text/event-stream"))
        await writer.drain()

    error, seen = run(serve, stream)
    assert isinstance(error, ConnectionLost)
    assert seen == EVENT


def test_an_answer_beyond_the_bound_is_refused():
    """A body without end does not eat the memory."""

    async def serve(reader, writer):
        await request_of(reader)
        writer.write(ok(b"x" * 300_000))
        await writer.drain()

    error = run(serve, plain, reply_bytes_max=100_000)
    assert isinstance(error, BadReply)
    assert "reply_bytes_max" in str(error)


def test_html_is_no_answer():
    """A proxy's error page in a 200 is named for what it is."""

    async def serve(reader, writer):
        await request_of(reader)
        writer.write(ok(b"<html>Welcome</html>", b"text/html"))
        await writer.drain()

    assert isinstance(run(serve, plain), BadReply)


def test_a_stale_kept_connection_is_replaced():
    """The server closed it while it was idle: the next call goes out on a new one."""
    connections = 0

    async def serve(reader, writer):
        nonlocal connections
        connections += 1
        await request_of(reader)
        writer.write(ok(ANSWER))
        await writer.drain()

    async def work(engine):
        await plain(engine)
        await asyncio.sleep(0.02)
        reply, _ = await plain(engine)
        return reply.status

    assert run(serve, work) == 200
    assert connections == 2


def test_a_cancelled_call_leaves_no_dirty_connection():
    """Left in mid-answer, the connection is not used again."""
    connections = 0

    async def serve(reader, writer):
        nonlocal connections
        connections += 1
        mine = connections
        while True:
            await request_of(reader)
            if mine == 1:
                writer.write(ok(ANSWER)[:-10])
                await asyncio.sleep(30)
            writer.write(ok(ANSWER))

    async def work(engine):
        call = asyncio.create_task(engine.send(RESPONSES, BODY))
        await asyncio.sleep(0.02)
        call.cancel()
        await asyncio.gather(call, return_exceptions=True)
        reply, data = await plain(engine)
        return reply.status, data

    assert run(serve, work) == (200, ANSWER)
    assert connections == 2


def test_a_proxy_of_the_environment_is_used_and_no_proxy_is_obeyed(monkeypatch):
    """HTTP_PROXY names where plain requests go; hosts of NO_PROXY are asked directly."""
    seen: list[bytes] = []

    async def serve(reader, writer):
        seen.append(await request_of(reader))
        writer.write(ok(ANSWER))
        await writer.drain()

    async def through(engine):
        monkeypatch.setenv("HTTP_PROXY", engine.settings.base_url.removesuffix("/v1"))
        monkeypatch.setenv("NO_PROXY", "127.0.0.1")
        direct, _ = await plain(engine)
        async with Engine(base_url="http://api.example/v1", api_key="k", log="off", log_level="off") as e:
            proxied, _ = await plain(e)
        return direct.status, proxied.status

    assert run(serve, through) == (200, 200)
    assert seen[0].startswith(b"POST /v1/responses ")
    assert seen[1].startswith(b"POST http://api.example/v1/responses ")


def test_waiting_for_a_free_connection_is_our_wait():
    """One connection, two calls: the second waits at least as long as the server keeps the first, and that is ours."""

    async def serve(reader, writer):
        while True:
            await request_of(reader)
            await asyncio.sleep(0.02)
            writer.write(ok(ANSWER))

    async def work(engine):
        (first, _), (second, _) = await asyncio.gather(plain(engine), plain(engine))
        return sorted([first.trace.wait_s, second.trace.wait_s])

    waits = run(serve, work, connections_max=1)
    assert waits[0] < waits[1]
    assert waits[1] >= 0.015  # a lower bound that the server's own pause guarantees, whatever the machine does
