"""Which call gets which connection, and what becomes of one that was left in the middle."""

from __future__ import annotations

import asyncio
import gc

import pytest

from headway.errors import Closed, ConnectFailed, ConnectionLost, ProviderTimeout
from headway.types import Timeouts

from .helpers import JSON, ORIGIN, Wire, always, ask, call, ok, run, stream_of

CHUNKED = b"HTTP/1.1 200 OK\r\n" + JSON + b"transfer-encoding: chunked\r\n\r\n"


async def slow(wire: Wire) -> None:
    """A second for every answer."""
    while True:
        await wire.request()
        await asyncio.sleep(1)
        wire.send(ok())


def test_the_connection_used_last_is_used_next_and_old_ones_go():
    """Last in, first out; what is idle for 30 s is closed, and with nothing idle no timer is left."""

    async def work(upstream, loop):
        await asyncio.gather(*(ask(upstream) for _ in range(3)))
        idle = [upstream.idle]
        for _ in range(4):
            await asyncio.sleep(10)
            await ask(upstream)
            idle.append(upstream.idle)
        await asyncio.sleep(31)
        return idle, upstream.idle, len(loop.connects), len([t for t in loop._scheduled if not t.cancelled()])

    assert run(slow, work) == ([3, 3, 3, 1, 1], 0, 3, 0)


def test_no_more_connections_than_allowed_and_first_come_first_served():
    """Two connections, six calls: three rounds of a second, in order; the wait in line is ours."""

    async def work(upstream, loop):
        ends = []

        async def one(n):
            what = call()
            await ask(upstream, what)
            ends.append((n, loop.time(), what.trace.wait_s))

        tasks = [asyncio.create_task(one(n)) for n in range(6)]
        await asyncio.sleep(0.5)
        assert (upstream.busy, upstream.waiting) == (2, 4)
        await asyncio.gather(*tasks)
        return ends, len(loop.connects)

    ends, connects = run(slow, work, connections_max=2)
    assert ends == [(0, 1.0, 0.0), (1, 1.0, 0.0), (2, 2.0, 1.0), (3, 2.0, 1.0), (4, 3.0, 2.0), (5, 3.0, 2.0)]
    assert connects == 2


def test_a_caller_that_leaves_the_line_takes_nothing_with_it():
    """Cancelled while waiting, or at the very moment it was its turn: the next one is served."""
    for at_s in (0.5, 1.0):

        async def work(upstream, loop, at_s=at_s):
            tasks = [asyncio.create_task(ask(upstream)) for _ in range(3)]
            await asyncio.sleep(at_s)
            tasks[1].cancel()
            await asyncio.sleep(0)
            assert upstream.waiting == (1 if at_s < 1 else 0)
            got = await asyncio.gather(*tasks, return_exceptions=True)
            return [type(each) for each in got], loop.time(), len(loop.connects)

        assert run(slow, work, connections_max=1) == ([tuple, asyncio.CancelledError, tuple], 2.0, 1), at_s


def test_a_caller_that_leaves_when_a_place_was_given_to_it_passes_it_on():
    """The connection before it broke, its place was the caller's: the next one connects instead."""
    wires = []

    async def serve(wire: Wire) -> None:
        wires.append(wire)
        await slow(wire)

    async def work(upstream, loop):
        tasks = [asyncio.create_task(ask(upstream)) for _ in range(3)]
        await asyncio.sleep(0.5)
        tasks[0].cancel()
        await asyncio.sleep(0)  # its connection is aborted, its place is given to the second one ...
        tasks[1].cancel()  # ... which leaves before it has run
        got = await asyncio.gather(*tasks, return_exceptions=True)
        return [type(each) for each in got], loop.time(), len(loop.connects)

    left = asyncio.CancelledError
    assert run(serve, work, connections_max=1) == ([left, left, tuple], 1.5, 2)


def test_another_origin_makes_idle_connections_give_way():
    """The bound is over all origins; the one that is idle for longest goes."""

    async def work(upstream, loop):
        for n in (1, 2, 3, 2, 3):
            await ask(upstream, call(f"http://host{n}"))
        return [host for host, _ in loop.connects], upstream.idle

    assert run(always, work, connections_max=2) == (["host1", "host2", "host3"], 2)

    async def in_line(upstream, loop):
        first = asyncio.create_task(ask(upstream, call("http://host1")))
        await asyncio.sleep(0)
        await asyncio.gather(first, ask(upstream, call("http://host2")), ask(upstream, call("http://host1")))
        return [host for host, _ in loop.connects]

    assert run(slow, in_line, connections_max=1) == ["host1", "host2", "host1"]


@pytest.mark.parametrize("sent", [0, 1, 30, -1], ids=["nothing", "a byte", "half a head", "half a body"])
@pytest.mark.parametrize("stream", [False, True])
def test_a_call_that_is_cancelled_never_gives_back_a_dirty_connection(sent, stream):
    """At any stage of the answer: aborted at once, and the next call gets its own answer from a new one."""
    connections = 0

    async def serve(wire: Wire) -> None:
        nonlocal connections
        connections += 1
        mine = connections
        while True:
            await wire.request()
            if mine == 1:
                wire.send(ok(b'{"old":1}')[:sent])
                await wire.gone()
                return
            wire.send(ok())

    async def work(upstream, loop):
        async def one():
            reply = await upstream(call(stream=stream))
            return await reply.read()

        task = asyncio.create_task(one())
        await asyncio.sleep(1)
        assert upstream.busy == 1
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        return upstream.busy, loop.aborted, await ask(upstream), len(loop.connects)

    assert run(serve, work) == (0, 1, (200, b"{}"), 2)


def test_cancelled_in_the_same_round_as_its_answer():
    """A whole answer: the connection is as good as new. The head of a stream: it is not."""
    for part, kept in ((ok(), 1), (CHUNKED, 0), (ok()[:9], 0)):
        wires = []

        async def serve(wire: Wire, wires=wires) -> None:
            wires.append(wire)
            await wire.gone()

        for first in ("cancel", "answer"):

            async def work(upstream, loop, first=first, wires=wires, part=part):
                task = asyncio.create_task(upstream(call(stream=True)))
                await asyncio.sleep(1)
                if first == "cancel":
                    task.cancel()
                wires[-1].send(part)
                task.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await task
                return upstream.busy, upstream.idle

            assert run(serve, work) == (0, kept), (part, first)


def test_a_reply_that_is_closed_early_closes_its_connection():
    """Left in the middle of a stream; after its end there is nothing left to close."""

    async def serve(wire: Wire) -> None:
        while True:
            await wire.request()
            wire.send(CHUNKED + b"1\r\na\r\n")
            await asyncio.sleep(1)
            wire.send(b"0\r\n\r\n")

    async def work(upstream, loop):
        early = await upstream(call(stream=True))
        assert await anext(aiter(early)) == b"a"
        await early.aclose()
        assert (upstream.busy, upstream.idle, loop.aborted) == (0, 0, 1)
        whole = await upstream(call(stream=True))
        assert await whole.read() == b"a"
        other = await upstream(call(stream=True))  # the same connection carries another exchange ...
        await whole.aclose()  # ... which the first one's end does not touch
        return await other.read(), len(loop.connects)

    assert run(serve, work) == (b"a", 2)


@pytest.mark.parametrize("surplus", [b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nNO", b"H", b"\x00", b"<html>"])
def test_bytes_that_nobody_asked_for_spoil_the_connection(surplus):
    """In the same read as the answer's end, or later: nobody ever gets them."""
    for together in (True, False):

        async def serve(wire: Wire, together=together) -> None:
            await wire.request()
            wire.send(ok() + (surplus if together else b""))
            await asyncio.sleep(1)
            if not together:
                wire.send(surplus)
            await wire.gone()

        async def work(upstream, loop):
            first = await ask(upstream)
            await asyncio.sleep(2)
            return first, upstream.idle

        assert run(serve, work) == ((200, b"{}"), 0)


@pytest.mark.parametrize("how", ["end", "reset"])
def test_a_kept_connection_that_ends_under_the_request_is_replaced_once(how):
    """The race of keep-alive: no byte of an answer, so it is sent once more, on a new connection; then no more."""
    seen = []

    def serving(good):
        async def serve(wire: Wire) -> None:
            seen.append(1)
            await wire.request()
            if len(seen) <= good:
                wire.send(ok())
                await wire.request()
            getattr(wire, how)()

        return serve

    async def work(upstream, loop):
        return await ask(upstream), await ask(upstream), len(loop.connects)

    assert run(serving(2), work) == ((200, b"{}"), (200, b"{}"), 2)
    seen.clear()
    first, second, connects = run(serving(1), work)
    assert first == (200, b"{}")
    assert isinstance(second, ConnectionLost)
    assert (second.maybe_billed, connects) == (True, 2)


def test_a_kept_connection_that_ends_after_a_byte_is_not_tried_again():
    """The request was looked at: what comes of it is not known, so it is the caller's to decide."""

    async def serve(wire: Wire) -> None:
        await wire.request()
        wire.send(ok())
        await wire.request()
        wire.send(b"H")
        wire.end()

    async def work(upstream, loop):
        return await ask(upstream), await ask(upstream), len(loop.connects)

    _, error, connects = run(serve, work)
    assert isinstance(error, ConnectionLost)
    assert connects == 1


def test_two_kept_connections_that_end_under_one_request_are_an_error():
    """Sent again, it got another kept one (it had to wait in line), which ended as well: no third time."""

    async def serve(wire: Wire) -> None:
        await wire.request()
        await asyncio.sleep(1)
        wire.send(ok())
        await wire.request()
        wire.end()

    async def work(upstream, loop):
        await ask(upstream)
        first, second = await asyncio.gather(ask(upstream), ask(upstream))
        return first, second, len(loop.connects)

    first, second, connects = run(serve, work, connections_max=1)
    assert isinstance(first, ConnectionLost)
    assert (second, connects) == ((200, b"{}"), 2)


@pytest.mark.parametrize("how", ["end", "reset"])
def test_a_kept_connection_that_ends_while_it_is_idle_is_forgotten(how):
    """Nobody notices."""

    async def serve(wire: Wire) -> None:
        await wire.request()
        wire.send(ok())
        getattr(wire, how)()

    async def work(upstream, loop):
        first = await ask(upstream)
        await asyncio.sleep(1)
        assert upstream._ways[ORIGIN].endpoint.idle == []
        return first, upstream.idle, await ask(upstream), len(loop.connects)

    assert run(serve, work) == ((200, b"{}"), 0, (200, b"{}"), 2)


def test_limits_on_silence_are_apart():
    """Connecting, first byte, first byte of a stream, and silence within a body each have their own."""

    async def mute(wire: Wire) -> None:
        await wire.request()
        await wire.gone()

    async def half(wire: Wire) -> None:
        await wire.request()
        for part in (CHUNKED, b"1\r\na\r\n", b"1\r", b"\nb\r\n"):
            wire.send(part)
            await asyncio.sleep(20)
        await wire.gone()

    async def work(upstream, loop):
        begun_s = loop.time()
        errors = [await ask(upstream)]
        times = [loop.time() - begun_s]
        begun_s = loop.time()
        errors.append(await ask(upstream, call(stream=True)))
        times.append(loop.time() - begun_s)
        own = Timeouts(first_byte_s=7)
        begun_s = loop.time()
        errors.append(await ask(upstream, call(timeouts=own)))
        times.append(loop.time() - begun_s)
        assert all(isinstance(error, ProviderTimeout) and error.maybe_billed for error in errors)
        return times, ["600 s" in str(errors[0]), "60 s" in str(errors[1]), "7 s" in str(errors[2])]

    assert run(mute, work) == ([600.0, 60.0, 7.0], [True] * 3)

    async def idle(upstream, loop):
        reply = await upstream(call(stream=True))
        seen, error = await stream_of(reply)
        assert isinstance(error, ProviderTimeout)
        return seen, loop.time(), "30 s" in str(error)

    assert run(half, idle) == (b"ab", 90.0, True)

    async def held(upstream, loop):
        error = await ask(upstream)
        assert isinstance(error, ProviderTimeout)
        return loop.time(), "30 s" in str(error)

    assert run(half, held) == (90.0, True)


def test_time_that_the_reader_takes_is_not_the_providers():
    """Bytes that wait to be read are no silence, however long."""

    async def serve(wire: Wire) -> None:
        await wire.request()
        wire.send(CHUNKED + b"1\r\na\r\n")
        await asyncio.sleep(100)
        wire.send(b"0\r\n\r\n")

    async def work(upstream, loop):
        reply = await upstream(call(stream=True))
        await asyncio.sleep(95)
        return await stream_of(reply)

    assert run(serve, work) == (b"a", None)


def test_connections_that_do_not_come_about():
    """Too slow, refused, unresolvable: typed, never billed, and the place is free again; the wait is not ours."""

    async def work(upstream, loop):
        loop.connect_s = 9.0
        what = call()
        errors = [await ask(upstream, what)]
        assert (loop.time(), what.trace.wait_s, what.trace.sent_at_s) == (5.0, 0.0, None)
        loop.connect_s = 0.0
        for refusal in (
            ConnectionRefusedError(111, "refused"),
            OSError("no such host"),
            UnicodeError("label too long"),
        ):
            loop.refusal = refusal
            errors.append(await ask(upstream))
        loop.refusal = None
        task = asyncio.create_task(ask(upstream))
        loop.connect_s = 2.0
        await asyncio.sleep(1)
        assert upstream.busy == 1
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        assert upstream.busy == 0
        return errors, await ask(upstream)

    errors, reply = run(always, work, connections_max=1)
    assert all(isinstance(error, ConnectFailed) and not error.maybe_billed for error in errors)
    assert "in time" in str(errors[0])
    assert "refused" in str(errors[1])
    assert reply == (200, b"{}")


def test_a_connection_that_fails_leaves_its_place_to_the_next_in_line():
    """The second caller waits for the first one's connection, which never comes: it makes its own."""

    async def work(upstream, loop):
        loop.connect_s, loop.refusal = 1.0, OSError("no route")
        tasks = [asyncio.create_task(ask(upstream)) for _ in range(2)]
        await asyncio.sleep(1.5)
        loop.refusal = None
        first, second = await asyncio.gather(*tasks)
        return type(first), second, loop.time()

    assert run(always, work, connections_max=1) == (ConnectFailed, (200, b"{}"), 2.0)


def test_times_are_noted_as_they_were():
    """Sent, connected, first byte; a kept connection has no time of connecting."""

    async def work(upstream, loop):
        loop.connect_s = 0.25
        first, second = call(), call()
        await ask(upstream, first)
        await ask(upstream, second)
        return [
            (t.trace.connect_s, t.trace.sent_at_s, t.trace.first_byte_at_s, t.trace.wait_s) for t in (first, second)
        ]

    assert run(slow, work) == [(0.25, 0.25, 1.25, 0.0), (None, 1.25, 2.25, 0.0)]


def test_closing_ends_what_is_under_way_and_in_line():
    """Each caller gets `Closed`, be it reading, waiting for an answer, for a connection, or connecting."""

    async def serve(wire: Wire) -> None:
        await wire.request()
        wire.send(CHUNKED)
        await wire.gone()

    async def work(upstream, loop):
        reply = await upstream(call(stream=True))
        tasks = [asyncio.create_task(stream_of(reply)), asyncio.create_task(ask(upstream))]
        await asyncio.sleep(1)
        loop.connect_s = 1.0
        tasks.append(asyncio.create_task(ask(upstream)))
        tasks.append(asyncio.create_task(ask(upstream)))
        await asyncio.sleep(0.5)
        assert (upstream.busy, upstream.waiting) == (3, 1)
        await upstream.aclose()
        (_, read), *others = await asyncio.gather(*tasks)
        return [type(error) for error in (read, *others)]

    assert run(serve, work, connections_max=3) == [Closed] * 4


def test_a_large_request_waits_for_the_server():
    """Written in pieces, each when there is room; only then does the answer's limit run."""
    body = b"x" * 300_000
    read = []

    async def serve(wire: Wire) -> None:
        for _ in range(5):
            await asyncio.sleep(20)
            read.append(len(wire._inbox))
            wire.read(on=False)
        wire.read(on=True)
        request = await wire.request()
        assert request.endswith(b"\r\n\r\n" + body)
        await asyncio.sleep(0.5)
        wire.send(ok())

    async def work(upstream, loop):
        loop.full = True
        return await ask(upstream, call(body=body, timeouts=Timeouts(first_byte_s=1, idle_s=30))), upstream.idle

    assert run(serve, work) == ((200, b"{}"), 1)
    assert len(read) == 5
    assert read == sorted(set(read))
    assert read[0] < 70_000


def test_a_server_that_takes_no_more_of_a_request_has_the_idle_limit():
    """Not sent in full, so not billed."""

    async def serve(wire: Wire) -> None:
        await wire.gone()

    async def work(upstream, loop):
        loop.full = True
        return await ask(upstream, call(body=b"x" * 300_000)), loop.time()

    error, at_s = run(serve, work)
    assert isinstance(error, ProviderTimeout)
    assert (error.maybe_billed, at_s) == (False, 30.0)


@pytest.mark.parametrize("how", ["answer", "stream", "end"])
def test_a_server_that_answers_or_leaves_before_it_has_read_all(how):
    """An early answer counts, and the connection, in the middle of a request, does not carry another."""

    async def serve(wire: Wire) -> None:
        await asyncio.sleep(1)
        if how == "answer":
            wire.send(b"HTTP/1.1 413 Too Large\r\ncontent-length: 0\r\n\r\n")
        elif how == "stream":
            wire.send(b"HTTP/1.1 413 Too Large\r\ncontent-length: 2\r\n\r\n")
            await asyncio.sleep(1)
            wire.send(b"no")
        else:
            wire.end()
        await wire.gone()

    async def work(upstream, loop):
        loop.full = True
        try:
            reply = await upstream(call(body=b"x" * 300_000))
        except ConnectionLost as error:
            return error, upstream.idle, loop.time()
        at_s = loop.time()
        return (reply.status, await reply.read()), upstream.idle, at_s

    got, idle, at_s = run(serve, work)
    assert (idle, at_s) == (0, 1.0)
    if how == "end":
        assert isinstance(got, ConnectionLost)
        assert not got.maybe_billed
    else:
        assert got == (413, b"no" if how == "stream" else b"")


def test_a_cancelled_upload_is_no_request():
    """Left while it was written: the connection is gone with it."""

    async def serve(wire: Wire) -> None:
        await wire.gone()

    async def work(upstream, loop):
        loop.full = True
        task = asyncio.create_task(upstream(call(body=b"x" * 300_000)))
        await asyncio.sleep(1)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        return upstream.busy, upstream.idle, loop.aborted

    assert run(serve, work) == (0, 0, 1)


def test_a_cancelled_upload_whose_connection_breaks_leaves_no_complaint():
    """Both at once: the error has nobody to go to, and the loop does not report it as lost."""
    wires = []

    async def serve(wire: Wire) -> None:
        wires.append(wire)
        await wire.gone()

    async def work(upstream, loop):
        loop.full = True
        task = asyncio.create_task(upstream(call(body=b"x" * 300_000)))
        await asyncio.sleep(1)
        wires[0]._protocol.connection_lost(ConnectionResetError("reset"))
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        del task
        gc.collect()

    run(serve, work)


def test_an_end_that_comes_although_reading_is_paused_is_taken():
    """Transports may hand on what they have decrypted already: the kept connection reads on."""

    async def serve(wire: Wire) -> None:
        await wire.request()
        wire.send(CHUNKED + b"80000\r\n" + b"x" * 0x80000)
        wire._protocol.data_received(b"\r\n0\r\n\r\n")
        await wire.request()
        wire.send(ok())

    async def work(upstream, loop):
        reply = await upstream(call(stream=True))
        await asyncio.sleep(1)
        assert (upstream.busy, upstream.idle) == (0, 1)
        return len(await reply.read()), await ask(upstream), len(loop.connects)

    assert run(serve, work) == (0x80000, (200, b"{}"), 1)
