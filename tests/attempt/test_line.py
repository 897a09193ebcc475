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
