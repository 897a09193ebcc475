"""Callers that come and leave when they like, servers that do what they like: nobody gets another one's answer."""

from __future__ import annotations

import asyncio

from hypothesis import given, settings
from hypothesis import strategies as st

from headway.errors import ProviderError
from headway.types import Timeouts

from .helpers import Wire, call, ok, run

TIMES_S = st.sampled_from([0.0, 0.0, 0.5, 1.0, 1.5, 2.0, 3.0])
CALLERS = st.lists(
    st.tuples(TIMES_S, st.none() | TIMES_S, st.sampled_from("ab"), st.booleans()), min_size=1, max_size=8
)
WAYS = ["answer", "answer", "split", "chunks", "last", "surplus", "cut", "reset", "mute", "stale"]
PLANS = st.lists(st.tuples(st.sampled_from(WAYS), TIMES_S, st.integers(0, 80)), min_size=1, max_size=8)


@settings(max_examples=200, deadline=None)
@given(callers=CALLERS, plans=PLANS, connections_max=st.integers(1, 3))
def test_every_caller_gets_its_own_answer_or_a_typed_error(callers, plans, connections_max):
    """Whatever happens on the way: own bytes or an error, bounded connections, nothing held at the end."""
    requests = 0
    wires: list[Wire] = []

    async def serve(wire: Wire) -> None:
        nonlocal requests
        wires.append(wire)
        for _ in range(4):
            await asyncio.sleep(0)  # one whose caller left while it was made is ended at once, when it is made
        assert sum(not each.is_closing() for each in wires) <= connections_max
        while True:
            request = await wire.request()
            way, delay_s, at = plans[requests % len(plans)]
            requests += 1
            await asyncio.sleep(delay_s)
            body = request.partition(b"\r\n\r\n")[2]
            whole = ok(body)
            if way == "answer":
                wire.send(whole)
            elif way == "split":
                for part in filter(None, (whole[:at], whole[at:])):
                    wire.send(part)
                    await asyncio.sleep(delay_s)
            elif way == "chunks":
                wire.send(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n")
                for byte in body:
                    wire.send(b"1\r\n%c\r\n" % byte)
                    await asyncio.sleep(delay_s)
                wire.send(b"0\r\n\r\n")
            elif way == "surplus":
                wire.send(whole + ok(b"another's"))
            elif way == "mute":
                await wire.gone()
            else:
                part = {"cut": whole[:at], "reset": whole[:at], "last": whole, "stale": b""}[way]
                if part:
                    wire.send(part)
                (wire.reset if way == "reset" else wire.end)()
                return

    async def work(upstream, loop):
        loop.connect_s = 0.25

        async def one(n, start_s, origin, stream):
            await asyncio.sleep(start_s)
            async with await upstream(call(f"http://{origin}", stream=stream, body=b"caller %d" % n)) as reply:
                return reply.status, await reply.read()

        async def left(task, after_s):
            await asyncio.sleep(after_s)
            task.cancel()

        tasks = []
        for n, (start_s, leave_s, origin, stream) in enumerate(callers):
            tasks.append(asyncio.create_task(one(n, start_s, origin, stream)))
            if leave_s is not None:
                loop.serving.add(asyncio.create_task(left(tasks[-1], start_s + leave_s)))
        return await asyncio.gather(*tasks, return_exceptions=True)

    limits = Timeouts(connect_s=5, first_byte_s=20, first_event_s=10, idle_s=5)
    for n, got in enumerate(run(serve, work, connections_max=connections_max, limits=limits)):
        if isinstance(got, BaseException):
            assert isinstance(got, ProviderError | asyncio.CancelledError), got
            assert isinstance(got, ProviderError) or callers[n][1] is not None
        else:
            assert got == (200, b"caller %d" % n)
    if all(way in ("answer", "split", "chunks", "last") for way, _, _ in plans):
        assert requests >= sum(leave_s is None for _, leave_s, _, _ in callers)
