"""What comes back is read byte for byte, however it is cut, and broken answers are named for what they are."""

from __future__ import annotations

import asyncio
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headway.errors import BadReply, ConnectionLost
from headway.upstream.headers import HeaderNames, end_to_end
from headway.upstream.incoming import HEADERS_MAX, Incoming

from .helpers import JSON, Wire, always, ask, call, ok, run, stream_of

CHUNKED = b"HTTP/1.1 200 OK\r\n" + JSON + b"transfer-encoding: chunked\r\n\r\n"
LENGTH = ok(b'{"a":1}', JSON + b"X-Request-Id:  r1 \r\n")
CHUNKS = CHUNKED + b'3\r\n{"a\r\n4;x=y\r\n":1}\r\n0\r\ntrailer: t\r\n\r\n'
INTERIM = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nlink: </x>\r\n\r\n" + LENGTH
ANSWERS = {"length": LENGTH, "chunked": CHUNKS, "interim": INTERIM}


def sent_as(*parts: bytes, end: bool = False):
    """Serve these reads, one in each round of the loop."""

    async def serve(wire: Wire) -> None:
        while True:
            await wire.request()
            for part in parts:
                wire.send(part)
                await asyncio.sleep(0)
            if end:
                wire.end()

    return serve


def cut(data: bytes, *places: int) -> list[bytes]:
    edges = [0, *sorted(places), len(data)]
    return [data[a:b] for a, b in pairwise(edges) if a < b]


@pytest.mark.parametrize("name", ANSWERS)
@pytest.mark.parametrize("kind", ["whole", "stream"])
def test_every_cut_in_two_and_byte_by_byte_gives_the_same_reply(name, kind):
    """However an answer is cut into reads, reply and connection come out the same."""
    data = ANSWERS[name]
    cuts = [cut(data, at) for at in range(len(data))] + [[data[i : i + 1] for i in range(len(data))]]
    for parts in cuts:

        async def work(upstream, loop):
            first = await ask(upstream, call(stream=kind == "stream"))
            return first, await ask(upstream), len(loop.connects)

        assert run(sent_as(*parts), work) == ((200, b'{"a":1}'), (200, b'{"a":1}'), 1), parts


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_any_answer_in_any_cut_reads_the_same(data):
    """Any valid answer, in any cut: status, headers, body, and whether the connection may be kept."""
    body = data.draw(st.binary(max_size=200))
    framing = data.draw(st.sampled_from(["length", "chunked", "eof"]))
    close = data.draw(st.booleans())
    head = b"HTTP/1.1 %d X\r\nA-b: c\r\n" % data.draw(st.sampled_from([200, 201, 404, 429, 503]))
    head += b"connection: close\r\n" if close else b""
    if framing == "length":
        raw = head + b"content-length: %d\r\n\r\n" % len(body) + body
    elif framing == "chunked":
        parts = cut(body, *data.draw(st.lists(st.integers(0, len(body)), max_size=4)))
        raw = head + b"transfer-encoding: chunked\r\n\r\n" + b"".join(b"%x\r\n%b\r\n" % (len(p), p) for p in parts)
        raw += b"0\r\n\r\n"
    else:
        raw = head + b"\r\n" + body
    incoming = Incoming(HeaderNames(), 10_000)
    incoming.feed(LENGTH)  # not the connection's first answer
    incoming.expect()
    for part in cut(raw, *data.draw(st.lists(st.integers(0, len(raw)), max_size=12))):
        assert not incoming.complete
        incoming.feed(part)
    assert incoming.eof() == (framing == "eof" or incoming.complete)
    assert (b"".join(incoming.chunks), incoming.buffered_bytes) == (body, len(body))
    assert incoming.headers[0] == ("a-b", "c")
    assert incoming.keep == (framing != "eof" and not close)


def test_a_whole_answer_in_one_read_is_a_ready_body():
    """Nothing has to be awaited for it, and its connection is already back."""

    async def work(upstream, loop):
        reply = await upstream(call(stream=True))
        return reply.body, reply.headers, upstream.idle

    headers = (("content-type", "application/json"), ("x-request-id", "r1"), ("content-length", "7"))
    assert run(sent_as(LENGTH), work) == (b'{"a":1}', headers, 1)


def test_a_small_answer_in_pieces_is_ready_too_but_a_stream_is_handed_on_at_once():
    """Where a reader knows that it is no stream, one wake-up is enough; nothing else is held back."""

    async def serve(wire: Wire) -> None:
        while True:
            await wire.request()
            wire.send(LENGTH[:-7])
            await asyncio.sleep(1)
            wire.send(LENGTH[-7:])

    async def work(upstream, loop):
        begun_s = loop.time()
        plain = await upstream(call())
        took = [loop.time() - begun_s]
        for other in (call(stream=True), call(read=False)):
            begun_s = loop.time()
            reply = await upstream(other)
            took.append(loop.time() - begun_s)
            assert reply.body is None
            assert await reply.read() == b'{"a":1}'
        return plain.body, took

    assert run(serve, work) == (b'{"a":1}', [1.0, 0.0, 0.0])


@pytest.mark.parametrize(
    ("method", "answer", "keeps"),
    [
        ("HEAD", b"HTTP/1.1 200 OK\r\ncontent-length: 12\r\n\r\n", False),
        ("HEAD", b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n", False),
        ("GET", b"HTTP/1.1 204 No Content\r\n\r\n", True),
        ("GET", b"HTTP/1.1 304 Not Modified\r\ncontent-length: 12\r\n\r\n", True),
        ("GET", b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n", True),
        ("GET", b"HTTP/1.0 200 OK\r\ncontent-length: 0\r\n\r\n", False),
        ("GET", b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n", False),
    ],
)
def test_answers_without_a_body(method, answer, keeps):
    """HEAD, 204 and 304 have no body whatever their headers say; only what may be kept is kept."""

    async def work(upstream, loop):
        status, body = await ask(upstream, call(method=method, body=b""))
        return status, body, bool(upstream.idle)

    assert run(sent_as(answer), work) == (int(answer.split()[1]), b"", keeps)


@pytest.mark.parametrize("more", [b"", b"connection: close\r\n"])
def test_a_body_without_a_length_ends_with_the_connection(more):
    """As old servers do it; a reset is no end, and the connection is not kept."""
    head = b"HTTP/1.1 200 OK\r\n" + more + b"\r\nhello "

    async def work(upstream, loop):
        return await ask(upstream), upstream.idle

    assert run(sent_as(head, b"there", end=True), work) == ((200, b"hello there"), 0)

    async def serve(wire: Wire) -> None:
        await wire.request()
        wire.send(head)
        wire.reset()

    error, _ = run(serve, work)
    assert isinstance(error, ConnectionLost)


@pytest.mark.parametrize("name", ANSWERS)
@pytest.mark.parametrize("how", ["end", "reset"])
@pytest.mark.parametrize("stream", [False, True])
def test_a_connection_that_ends_at_any_byte_is_never_half_an_answer(name, how, stream):
    """Cut off before its last byte, an answer is a `ConnectionLost` that may have been billed."""
    data = ANSWERS[name]
    for at in range(len(data)):

        async def serve(wire: Wire, at: int = at) -> None:
            await wire.request()
            if at:
                wire.send(data[:at])
            await asyncio.sleep(0)
            getattr(wire, how)()

        async def work(upstream, loop):
            return await ask(upstream, call(stream=stream)), upstream.idle, len(loop.connects)

        error, idle, connects = run(serve, work)
        assert isinstance(error, ConnectionLost), (at, error)
        assert error.maybe_billed
        assert (idle, connects) == (0, 1)


@pytest.mark.parametrize(
    "answer",
    [
        b"<html>not HTTP</html>",
        b"HTTP/2 200 OK\r\n\r\n",
        b"SSH-2.0-OpenSSH_9.6\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-length: -1\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-length: 1\r\ntransfer-encoding: chunked\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nx: a\r\n folded\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nx: \x00\r\n\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\nupgrade: h2c\r\nconnection: upgrade\r\n\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\n\r\nabc",
        CHUNKED + b"zz\r\n",
        b"HTTP/1.1 200 OK\r\n" + b"x: y\r\n" * (HEADERS_MAX + 1) + b"\r\n",
        b"HTTP/1.1 200 OK\r\nx: " + b"y" * 70_000,
        b"HTTP/1.1 200 OK\r\nx: " + b"y" * 70_000 + b"\r\ncontent-length: 0\r\n\r\n",
        b"HTTP/1.1 100 Continue\r\n\r\n" * 3000,
    ],
)
@pytest.mark.parametrize("size", [1_000_000, 1000])
def test_what_is_no_http_answer_is_a_bad_reply(answer, size):
    """Garbage, ambiguous framing, unasked protocols, header bombs: typed, bounded, and the connection is gone."""

    async def work(upstream, loop):
        return await ask(upstream), upstream.idle

    error, idle = run(sent_as(*(answer[i : i + size] for i in range(0, len(answer), size))), work)
    assert isinstance(error, BadReply), error
    assert "api.example" in str(error)
    assert (error.maybe_billed, error.final, idle) == (True, False, 0)


@pytest.mark.parametrize("flood", [b"x: y\r\n", b"x" * 1000], ids=["trailers", "one trailer without end"])
def test_framing_without_end_is_bounded(flood):
    """Trailers after the last chunk bring no body: beyond 64 KiB they are no answer any more."""

    async def serve(wire: Wire) -> None:
        await wire.request()
        wire.send(CHUNKED + b"2\r\n{}\r\n0\r\n")
        while True:
            wire.send(flood * 4)
            await asyncio.sleep(0)
            if wire.is_closing():
                return

    async def work(upstream, loop):
        return await ask(upstream)

    assert isinstance(run(serve, work), BadReply)


@pytest.mark.parametrize("answer", [ok(b"x" * 5000), CHUNKED + b"1388\r\n" + b"x" * 5000 + b"\r\n0\r\n\r\n"])
@pytest.mark.parametrize("stream", [False, True])
def test_a_body_beyond_the_bound_is_refused_for_good(answer, stream):
    """It would be as large again: final, in pieces as in one read."""

    async def work(upstream, loop):
        return await ask(upstream, call(stream=stream)), upstream.idle

    for size in (100, 100_000):
        error, idle = run(sent_as(*(answer[i : i + size] for i in range(0, 9000, size))), work, reply_bytes_max=4000)
        assert isinstance(error, BadReply)
        assert (error.final, error.maybe_billed, idle) == (True, True, 0)
        assert "reply_bytes_max" in str(error)


def test_chunks_come_as_they_come_and_what_came_before_an_error_is_handed_on():
    """No chunk waits for the next; a stream's failure comes after its bytes."""

    async def serve(wire: Wire) -> None:
        await wire.request()
        wire.send(CHUNKED)
        for part in (b"a", b"b", b"c"):
            await asyncio.sleep(1)
            wire.send(b"1\r\n" + part + b"\r\n")
        wire.reset()

    async def work(upstream, loop):
        reply = await upstream(call(stream=True))
        times = []
        chunks = aiter(reply)
        for _ in range(3):
            times.append((await anext(chunks), loop.time()))
        with pytest.raises(ConnectionLost):
            await anext(chunks)
        with pytest.raises(StopAsyncIteration):
            await anext(chunks)
        late = await upstream(call(stream=True))
        await asyncio.sleep(10)  # the connection is long gone when this one is read
        return times, await stream_of(late)

    times, (seen, error) = run(serve, work)
    assert times == [(b"a", 1.0), (b"b", 2.0), (b"c", 3.0)]
    assert seen == b"abc"
    assert isinstance(error, ConnectionLost)


def test_a_reader_that_is_slow_slows_the_server():
    """Beyond the window the transport is told to pause; reading on resumes it; nothing is lost."""
    piece = b"8000\r\n" + b"x" * 0x8000 + b"\r\n"
    wires = []

    async def serve(wire: Wire) -> None:
        wires.append(wire)
        await wire.request()
        wire.send(CHUNKED)
        for _ in range(100):
            wire.send(piece)
        wire.send(b"0\r\n\r\n")

    async def work(upstream, loop):
        reply = await upstream(call(stream=True))
        await asyncio.sleep(5)
        held = reply._chunks._connection._incoming.buffered_bytes
        return held, len(await reply.read()), upstream.idle

    held, total, idle = run(serve, work)
    assert 256 * 1024 < held <= 256 * 1024 + 0x8000
    assert (total, idle) == (100 * 0x8000, 1)
    assert wires[0].pauses >= 2


def test_hop_by_hop_headers_are_taken_out_for_callers():
    """The connection's own business stays here; the length is kept."""
    headers = (("connection", "x"), ("content-length", "1"), ("server", "s"), ("transfer-encoding", "chunked"))
    assert end_to_end(headers) == (("content-length", "1"), ("server", "s"))


def test_header_names_are_remembered_within_bounds():
    """Names a server makes up do not fill the memory."""
    names = HeaderNames()
    for n in range(2000):
        assert names[b"X-%d" % n] == f"x-{n}"
    assert len(names) <= 512
    assert names[b"X" * 100] == "x" * 100
    assert b"X" * 100 not in names


def test_a_call_on_a_closed_client_is_refused():
    """After `aclose` there are no connections to be had."""

    async def work(upstream, loop):
        await ask(upstream)
        await upstream.aclose()
        return await ask(upstream)

    assert type(run(always, work)).__name__ == "Closed"
