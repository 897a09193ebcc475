"""A client's connection: turns, limits, departures, slow readers. Raw bytes over real sockets."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from headway.errors import ConnectionLost
from headway.gateway.limits import Limits
from headway.gateway.protocol.outgoing import head_of
from headway.gateway.request import Request
from headway.types import Reply
from tests.gateway.helpers import JSON, answer, spoken_to, until, within

pytestmark = pytest.mark.usefixtures("each_loop")

HEAD = b"POST /v1/x HTTP/1.1\r\nHost: localhost\r\n"
GET = b"GET /v1/%d HTTP/1.1\r\nHost: localhost\r\n\r\n"
SSE = (("content-type", "text/event-stream"),)


def plain(body: bytes) -> bytes:
    return HEAD + b"Content-Length: %d\r\n\r\n" % len(body) + body


def streamed(chunks: Any) -> Reply:
    return Reply(200, SSE, chunks=chunks)


def test_a_connection_carries_one_request_after_the_other():
    """Kept alive, also when requests come ahead of their turn; answers come in their order."""

    async def slowly(request: Request) -> Reply:
        await asyncio.sleep(0.01 if request.target == "/v1/0" else 0)
        return Reply(200, JSON, request.target.encode())

    async def main():
        async with spoken_to(slowly) as (dial, site):
            reader, writer = await dial()
            for _ in range(2):
                writer.write(b"".join(GET % n for n in range(4)))
                assert [(await answer(reader))[2] for _ in range(4)] == [b"/v1/%d" % n for n in range(4)]
            assert len(site.connections) == 1

    within(main())


def test_a_connection_has_one_task_for_all_its_requests():
    """It waits between two; who waits for an answer does not wait for the next; it ends with its connection."""

    async def main():
        tasks, turn = set(), asyncio.Event()

        async def handle(request: Request) -> Reply:
            tasks.add(asyncio.current_task())
            if request.target == "/v1/9":
                await turn.wait()
            return Reply(200, JSON, b"x")

        async with spoken_to(handle) as (dial, site):
            reader, writer = await dial()
            for _ in range(3):
                writer.write(GET % 1)
                await answer(reader)
            (connection,) = site.connections
            assert connection.answering is None
            writer.write(GET % 9)
            await until(lambda: connection.answering is not None)
            being = connection.answering
            turn.set()
            await being
            await answer(reader)
            (task,) = tasks
            assert not task.done()
            writer.close()
            await until(task.done)
            assert not task.cancelled()

    within(main())


def test_a_client_far_ahead_of_its_turn_is_held_back():
    """Requests that wait are bytes, and few; all of them are answered in the end."""

    async def main():
        turn = asyncio.Event()

        async def waits(request: Request) -> Reply:
            await turn.wait()
            return Reply(200, JSON, request.target.encode())

        async with spoken_to(waits, Limits(ahead_bytes_max=1000)) as (dial, site):
            reader, writer = await dial()
            sent = 0
            while not sent or next(iter(site.connections))._reading:
                writer.write(GET % sent)
                sent += 1
                await asyncio.sleep(0.001)
            assert sent < 100
            turn.set()
            assert [(await answer(reader))[2] for _ in range(sent)] == [b"/v1/%d" % n for n in range(sent)]

    within(main())


def test_a_body_is_asked_for_when_the_client_waits_to_hear_so():
    """Expect: 100-continue, and none where the body came along."""

    async def main():
        async with spoken_to() as (dial, _):
            reader, writer = await dial()
            writer.write(HEAD + b"Content-Length: 2\r\nExpect: 100-continue\r\n\r\n")
            assert await reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
            writer.write(b"hi")
            assert (await answer(reader))[2] == b"POST /v1/x hi"
            writer.write(HEAD + b"Content-Length: 2\r\nExpect: 100-continue\r\n\r\nho")
            assert (await answer(reader))[:1] == (200,)

    within(main())


def test_connection_close_and_http_1_0_end_the_connection():
    """After the answer, which says so."""

    async def main():
        async with spoken_to() as (dial, _):
            for request in (GET[:-2] % 1 + b"Connection: close\r\n\r\n", b"GET /v1/1 HTTP/1.0\r\n\r\n"):
                reader, writer = await dial()
                writer.write(request)
                whole = await reader.read()
                assert b"connection: close\r\n" in whole
                assert whole.endswith(b"GET /v1/1 ")

    within(main())


@pytest.mark.parametrize(
    ("sent", "status"),
    [(HEAD, b"408"), (HEAD + b"Content-Length: 5\r\n\r\nab", b"408"), (b"GET", b"408")],
)
def test_who_takes_too_long_to_ask_is_refused(sent, status):
    """Headers and bodies have a time, each; a byte now and then does not prolong it."""

    async def main():
        async with spoken_to(limits=Limits(head_s=0.05, body_s=0.05)) as (dial, site):
            reader, writer = await dial()
            writer.write(sent)
            whole = await reader.read()
            assert whole.startswith(b"HTTP/1.1 " + status)
            assert b'"code":"request_timeout"' in whole
            writer.close()
            await until(lambda: not site.connections)

    within(main())


def test_an_idle_connection_is_closed():
    """Also one that was never used; nothing is said on it."""

    async def main():
        async with spoken_to(limits=Limits(idle_s=0.02)) as (dial, _):
            reader, writer = await dial()
            assert await reader.read() == b""
            reader, writer = await dial()
            writer.write(GET % 1)
            assert (await reader.read()).endswith(b"GET /v1/1 ")

    within(main())


def test_a_refusal_can_be_read_although_the_request_goes_on():
    """A client that sends 8 MiB too much gets the 413, in the shape of its API."""

    async def main():
        async with spoken_to(limits=Limits(body_bytes_max=1000)) as (dial, _):
            reader, writer = await dial()
            writer.write(b"POST /v1/messages HTTP/1.1\r\nHost: a\r\nContent-Length: 8388608\r\n\r\n" + bytes(8388608))
            whole = await reader.read()
            assert whole.startswith(b"HTTP/1.1 413 ")
            assert b'{"type":"error","error":{"type":"request_too_large","message":"' in whole

    within(main())


def test_bodies_are_bounded_over_all_connections():
    """Many clients with bodies that are each small enough."""

    async def main():
        async with spoken_to(limits=Limits(bodies_bytes_max=1000)) as (dial, site):
            first, second = await dial(), await dial()
            first[1].write(HEAD + b"Content-Length: 900\r\n\r\n" + bytes(800))
            await until(lambda: site.bodies_bytes)
            second[1].write(plain(bytes(300)))
            assert (await second[0].read()).startswith(b"HTTP/1.1 503 ")
            first[1].write(bytes(100))
            assert (await answer(first[0]))[0] == 200
            assert site.bodies_bytes == 0

    within(main())


def test_beyond_so_many_connections_there_are_no_more():
    """They are told, and those that stand go on."""

    async def main():
        async with spoken_to(limits=Limits(connections_max=1)) as (dial, _):
            reader, writer = await dial()
            writer.write(GET % 1)
            await answer(reader)
            assert b" 503 " in await (await dial())[0].read()
            writer.write(GET % 2)
            assert (await answer(reader))[2] == b"GET /v1/2 "

    within(main())


def test_a_stream_goes_out_as_it_comes():
    """Each chunk before the next one is made, in chunked coding; as it is in HTTP/1.0."""

    async def main():
        turn = asyncio.Event()

        async def chunks():
            yield b"one"
            await turn.wait()
            yield b""
            yield b"two"

        async def handle(request: Request) -> Reply:
            return streamed(chunks())

        async with spoken_to(handle) as (dial, _):
            reader, writer = await dial()
            writer.write(GET % 1)
            assert b"transfer-encoding: chunked" in await reader.readuntil(b"\r\n\r\n")
            assert await reader.readexactly(8) == b"3\r\none\r\n"
            turn.set()
            assert await reader.readexactly(13) == b"3\r\ntwo\r\n0\r\n\r\n"
            reader, writer = await dial()
            writer.write(b"GET /v1/1 HTTP/1.0\r\n\r\n")
            assert (await reader.read()).endswith(b"\r\n\r\nonetwo")

    within(main())


def test_a_client_that_leaves_ends_what_was_asked_for_it():
    """While it waits for an answer, and while it reads one: the reply is closed."""

    async def main():
        closed, waiting = [], asyncio.Event()

        async def close() -> None:
            closed.append("reply")

        async def chunks():
            yield b"one"
            await asyncio.sleep(3600)

        async def handle(request: Request) -> Reply:
            if request.target == "/v1/1":
                return Reply(200, SSE, chunks=chunks(), close=close)
            try:
                waiting.set()
                await asyncio.sleep(3600)
            except asyncio.CancelledError:
                closed.append("wait")
                raise
            raise AssertionError

        async with spoken_to(handle) as (dial, site):
            reader, writer = await dial()
            writer.write(GET % 1)
            await reader.readuntil(b"one")
            writer.close()
            _, writer = await dial()
            writer.write(GET % 2)
            await waiting.wait()
            writer.close()
            await until(lambda: len(closed) == 2 and not site.connections)
            assert sorted(closed) == ["reply", "wait"]

    within(main())


def test_a_reader_slower_than_the_stream_holds_the_provider_back_and_is_dropped_when_it_reads_nothing():
    """What is made is bounded by what is read; then the connection goes, and the reply is closed."""

    async def main():
        made, closed = 0, asyncio.Event()

        async def chunks():
            nonlocal made
            while True:
                made += 1
                yield bytes(65536)

        async def close() -> None:
            closed.set()

        async def handle(request: Request) -> Reply:
            return Reply(200, SSE, chunks=chunks(), close=close)

        async with spoken_to(handle, Limits(write_s=0.05)) as (dial, site):
            _, writer = await dial()
            writer.transport.pause_reading()
            writer.write(GET % 1)
            await closed.wait()
            assert made < 1000  # the system's buffers hold a few MiB
            await until(lambda: not site.connections)

    within(main())


def test_who_does_not_read_an_answer_gets_no_other():
    """Large answers to requests that were sent ahead do not pile up."""

    async def main():
        asked = 0

        async def handle(request: Request) -> Reply:
            nonlocal asked
            asked += 1
            return Reply(200, JSON, bytes(4 << 20))

        async with spoken_to(handle, Limits(write_s=0.1)) as (dial, site):
            _, writer = await dial()
            writer.transport.pause_reading()
            writer.write(b"".join(GET % n for n in range(50)))
            await until(lambda: asked and not site.connections)
            assert asked < 10

    within(main())


def test_a_stream_that_breaks_says_why_and_is_not_ended_like_a_whole_one():
    """An event in the API's own shape, then an end without the last chunk."""

    async def main():
        async def chunks():
            yield b"data: 1\n\n"
            raise ConnectionLost("the provider closed the connection")

        async def handle(request: Request) -> Reply:
            return streamed(chunks())

        async with spoken_to(handle) as (dial, _):
            for path, event in (
                (b"/v1/chat/completions", b'data: {"error":{"message":"the provider closed'),
                (b"/v1/messages", b'event: error\ndata: {"type":"error","error":{"type":"api_error","message":"the'),
                (b"/v1/responses", b'event: error\ndata: {"type":"error","code":"connection_lost","message":"the'),
            ):
                reader, writer = await dial()
                writer.write(b"POST %b HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n" % path)
                whole = await reader.read()
                assert event in whole
                assert not whole.endswith(b"0\r\n\r\n")

    within(main())


def test_other_paths_and_upgrades_are_handed_on_with_all_their_bytes():
    """Also on a connection that carried requests of the data plane before."""

    async def main():
        async with spoken_to() as (dial, site):
            for other in (
                b"GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n",
                b"GET /v1/realtime HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
            ):
                reader, writer = await dial()
                writer.write(GET % 1 + other)
                assert (await answer(reader))[2] == b"GET /v1/1 "
                assert (await reader.read()).endswith(b"other")
            assert not site.connections

    within(main())


def test_the_end_of_the_server_lets_answers_end():
    """Idle connections close at once, busy ones after their answer."""

    async def main():
        turn = asyncio.Event()

        async def handle(request: Request) -> Reply:
            await turn.wait()
            return Reply(200, JSON, b"last")

        async with spoken_to(handle) as (dial, site):
            idle, (reader, writer) = await dial(), await dial()
            writer.write(GET % 1)
            await until(lambda: any(one.answering for one in site.connections))
            for connection in list(site.connections):
                connection.shutdown()
            assert await idle[0].read() == b""
            turn.set()
            whole = await reader.read()
            assert b"connection: close" in whole
            assert whole.endswith(b"last")

    within(main())


def test_an_answer_without_a_body_has_none():
    """HEAD, 204."""

    async def main():
        async def handle(request: Request) -> Reply:
            return Reply(204 if request.method == "DELETE" else 200, JSON, b"body")

        async with spoken_to(handle) as (dial, _):
            reader, writer = await dial()
            for method in (b"HEAD", b"GET"):
                writer.write(method + (GET % 1)[3:])
                status, _, body = await answer(reader)
                assert (status, body) == (200, b"" if method == b"HEAD" else b"body")

    within(main())


def test_a_header_with_a_line_break_is_never_written():
    """Whoever it came from."""
    with pytest.raises(ValueError, match="line break"):
        head_of(200, (("x", "a\r\nset-cookie: b"),), 0, keep=True, chunked=False)
