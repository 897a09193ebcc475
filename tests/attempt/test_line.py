"""The line in front of a cap, under any mix of arrivals, ends and departures: the cap holds, nothing leaks, all in order."""

from __future__ import annotations

import asyncio

from hypothesis import given, settings
from hypothesis import strategies as st

from headway.attempt.line import Line
from headway.policy.budget import SpendCap
from headway.testing import virtual_run
from headway.types import Call, RequestView, Trace


@st.composite
def asks(draw):
    """When it comes, its worst case, what it takes of that, how long that takes, and when it leaves."""
    return (
        draw(st.integers(0, 20)),
        draw(st.integers(0, 12)),
        draw(st.floats(0, 1)),
        draw(st.integers(0, 8)),
        draw(st.none() | st.integers(0, 10)),
    )


@settings(max_examples=60, deadline=None)
@given(st.lists(asks(), max_size=25), st.integers(0, 20))
def test_the_cap_holds_and_nothing_leaks(plans, dollars_max):
    """Who is admitted was first in line; at rest nothing is reserved and nobody waits, whatever was cancelled when."""
    cap = SpendCap(dollars_max=dollars_max)
    line = Line(cap)
    came, admitted, paid = [], [], []

    async def one(number, plan):
        at_s, worst, share, takes_s, _ = plan
        await asyncio.sleep(at_s)
        trace = Trace("attempt", f"{number}", 0.0, 0.0)
        call = Call(origin="x", path="/", view=RequestView(), trace=trace)
        came.append(number)
        settle = await line.take(call, float(worst), 0)
        assert cap.dollars_spent + cap.dollars_reserved <= dollars_max + 1e-9
        if settle is None:
            assert cap.dollars_spent + worst > dollars_max
            return
        admitted.append(number)
        trace.on_end(settle)
        trace.dollars = worst * share
        paid.append(trace.dollars)
        try:
            await asyncio.sleep(takes_s + 0.001)  # no end is in the moment of an arrival, which would make two orders
        finally:
            trace.end("ok", 0.0)

    async def main():
        loop = asyncio.get_running_loop()
        tasks = [asyncio.create_task(one(n, plan)) for n, plan in enumerate(plans)]
        for task, plan in zip(tasks, plans, strict=True):
            if plan[4] is not None:
                loop.call_later(plan[0] + plan[4] + 0.5, task.cancel)
        ended = await asyncio.gather(*tasks, return_exceptions=True)
        assert all(each is None or isinstance(each, asyncio.CancelledError) for each in ended), ended
        assert line.set_aside(0.0, 0)  # nobody stands in the way
        line.settle(0.0, 0, dollars_actual=0.0, tokens_actual=0)

    virtual_run(main)
    assert cap.dollars_reserved == 0.0
    assert abs(cap.dollars_spent - sum(paid)) < 1e-6
    assert admitted == [number for number in came if number in set(admitted)]


def a_call(number):
    return Call(origin="x", path="/", view=RequestView(), trace=Trace("attempt", f"{number}", 0.0, 0.0))


def test_a_loop_that_is_gone_does_not_hold_up_the_line():
    """Closed with a call in the line: the next end tried to wake it on that loop, and failed, in the same thread."""
    cap = SpendCap(dollars_max=1.0)
    line = Line(cap)
    assert line.set_aside(1.0, 0)
    gone = asyncio.new_event_loop()
    waits = gone.create_task(line.take(a_call(1), 1.0, 0))
    gone.run_until_complete(asyncio.sleep(0))
    gone.close()

    async def main():
        behind = asyncio.create_task(line.take(a_call(2), 1.0, 0))
        await asyncio.sleep(0)
        line.settle(1.0, 0, dollars_actual=0.0, tokens_actual=0)
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert behind.done()
        assert behind.result() is not None

    asyncio.run(main())
    assert cap.dollars_reserved == 1.0  # of the second: what nobody is there for was not set aside
    assert not waits.done()
    waits._log_destroy_pending = False


def test_a_closed_line_lets_nobody_in():
    """Who waits is sent away, whoever comes is refused; what was set aside is still given back."""
    cap = SpendCap(dollars_max=1.0)
    line = Line(cap)

    async def main():
        settle = await line.take(a_call(0), 1.0, 0)
        waits = asyncio.create_task(line.take(a_call(1), 1.0, 0))
        await asyncio.sleep(0)
        line.close()
        assert await waits is None
        assert await line.take(a_call(2), 0.0, 0) is None
        settle(a_call(0).trace)

    asyncio.run(main())
    assert (cap.dollars_reserved, cap.dollars_spent) == (0.0, 0.0)
