"""The cap holds whatever happens to a try, and lends what is only set aside to nobody for longer than it must."""

from __future__ import annotations

import asyncio

import pytest

from headway import BudgetExceeded, DeadlineExceeded, Overloaded
from headway.attempt.budget import Budget
from headway.policy.budget import SpendCap
from headway.testing import FakeProvider, Step, virtual_run
from headway.types import Call, Reply, RequestView, Trace
from headway.wire.prices import Prices

from .helpers import BODY, RESPONSES, engine


def test_a_try_that_may_have_been_billed_counts_with_its_worst_case():
    """Callers that give up before the answer is there pay for it all the same: the cap takes it for the worst."""
    provider = FakeProvider([Step(delay_s=5.0)])

    async def main():
        async with engine(provider, budget_tokens=2500) as e:
            for _ in range(2):
                with pytest.raises(DeadlineExceeded):
                    await e.send(RESPONSES, BODY | {"max_output_tokens": 1000}, deadline_s=2)
            with pytest.raises(BudgetExceeded, match="raise budget_usd or budget_tokens"):
                await e.send(RESPONSES, BODY | {"max_output_tokens": 1000}, deadline_s=2)

    virtual_run(main)
    assert provider.calls == 2


def test_a_try_that_was_refused_or_never_sent_costs_nothing():
    """What comes back is set free in full."""
    provider = FakeProvider([Step(status=400), Step(status=400), Step(status=400)])

    async def main():
        async with engine(provider, budget_tokens=1100) as e:
            return [(await e.send(RESPONSES, BODY | {"max_output_tokens": 1000})).status for _ in range(3)]

    assert virtual_run(main) == [400, 400, 400]


def test_what_is_only_set_aside_is_waited_for():
    """256 unbounded answers of 15 tokens fit under 100,000 although each is reserved at more than 4,096."""
    provider = FakeProvider([Step(delay_s=1.0, input_tokens=10, output_tokens=5)])

    async def main():
        async with engine(provider, budget_tokens=100_000) as e:
            replies = await asyncio.gather(*[e.send(RESPONSES, BODY | {"input": f"{n}"}) for n in range(256)])
            return replies, asyncio.get_running_loop().time()

    replies, took_s = virtual_run(main)
    assert {reply.status for reply in replies} == {200}
    assert took_s == pytest.approx(11.0)  # 24 at a time, a second each
    assert replies[0].trace.wait_s == 0.0
    assert replies[255].trace.wait_s == pytest.approx(10.0)


def test_who_waits_is_served_in_order_and_refused_when_it_can_never_fit():
    """A small call does not overtake a large one; what is left over at the end is refused, not left waiting."""
    provider = FakeProvider([Step(delay_s=1.0, input_tokens=0, output_tokens=900)])
    order = []

    async def ask(e, name, tokens):
        try:
            await e.send(RESPONSES, BODY | {"input": "", "max_output_tokens": tokens})
        except BudgetExceeded:
            order.append(f"no {name}")
        else:
            order.append(name)

    async def main():
        async with engine(provider, budget_tokens=2000) as e:
            asks = [("first", 1000), ("large", 1050), ("small", 10)]
            await asyncio.gather(*[ask(e, *what) for what in asks])

    virtual_run(main)
    # 1000 are set aside, 900 taken; 1050 fit beside those; beside 1800 the small one fits, too.
    assert order == ["first", "large", "small"]
    order.clear()

    async def poor():
        async with engine(provider, budget_tokens=1500) as e:
            asks = [("first", 1000), ("large", 1050), ("small", 10)]
            await asyncio.gather(*[ask(e, *what) for what in asks])

    virtual_run(poor)
    assert sorted(order) == ["first", "no large", "small"]


class Held:
    """The layer below: holds every call until it is let go."""

    def __init__(self):
        self.seen = []

    async def __call__(self, call):
        self.seen.append(call)
        return Reply(200, (), b"{}")


def budget(tokens_max, **how):
    below = Held()
    cap = SpendCap(tokens_max=tokens_max)
    return Budget(below, cap, Prices(), **how), below, cap


def call(tokens):
    view = RequestView(model="m", output_tokens_max=tokens)
    return Call(origin="http://x", path="/v1/responses", view=view, trace=Trace("attempt", "1", 0.0, 0.0))


def test_leaving_the_queue_gives_the_place_or_the_reservation_back():
    """Cancelled while it waits, or in the very moment it is admitted: nothing stays reserved, nobody is left behind."""

    async def main():
        layer, below, cap = budget(100)
        first, second, third = call(100), call(90), call(90)
        await layer(first)
        waiting = [asyncio.create_task(layer(c)) for c in (second, third)]
        await asyncio.sleep(0)
        waiting[0].cancel()
        await asyncio.sleep(0)
        first.trace.end("ok", 1.0)  # the third is admitted here, and cancelled before it could go on
        waiting[1].cancel()
        ended = await asyncio.gather(*waiting, return_exceptions=True)
        assert all(isinstance(error, asyncio.CancelledError) for error in ended)
        assert cap.tokens_reserved == 0
        await layer(call(100))
        return len(below.seen)

    assert virtual_run(main) == 2


def test_a_queue_has_an_end():
    """Beyond `queue_max` a call is refused at once."""

    async def main():
        layer, _, _ = budget(100, queue_max=1)
        first = call(100)
        await layer(first)
        waiting = asyncio.create_task(layer(call(50)))
        await asyncio.sleep(0)
        with pytest.raises(Overloaded, match="already wait for the budget"):
            await layer(call(50))
        first.trace.end("ok", 1.0)
        assert (await waiting).status == 200

    virtual_run(main)


def test_the_wait_is_told_to_a_caller_that_gives_up():
    """Its row says that it was our queue, not the provider."""
    provider = FakeProvider([Step(delay_s=50.0)])

    async def main():
        async with engine(provider, budget_tokens=1100) as e:
            body = BODY | {"max_output_tokens": 1000}
            holder = asyncio.create_task(e.send(RESPONSES, body))
            await asyncio.sleep(1)
            with pytest.raises(DeadlineExceeded) as caught:
                await e.send(RESPONSES, body | {"input": "another"}, deadline_s=5)
            await holder
            return caught.value.trace.wait_s

    assert virtual_run(main) == pytest.approx(5.0)


def test_residues_of_floats_do_not_block_the_last_dollar():
    """When nothing is set aside, exactly nothing is set aside."""
    cap = SpendCap(dollars_max=1.0)
    for _ in range(3):
        assert cap.reserve(0.1, 0)
    for _ in range(3):
        cap.settle(0.1, 0, dollars_actual=0.0, tokens_actual=0)
    assert cap.dollars_reserved == 0.0
    assert cap.possible(1.0, 0)
    assert cap.reserve(1.0, 0)
    assert cap.possible(1.0, 0)
    assert not cap.reserve(0.5, 0)
    cap.settle(1.0, 0, dollars_actual=0.6, tokens_actual=0)
    assert not cap.possible(0.5, 0)


def test_a_prefetch_holds_up_nobody():
    """What does not fit beside what is set aside is dropped, and a small call behind it is served; "low" still waits."""
    provider = FakeProvider([Step(delay_s=20.0), Step(delay_s=1.0)])

    async def main():
        loop = asyncio.get_running_loop()
        async with engine(provider, cache="memory", budget_tokens=20_000) as e:
            first = asyncio.create_task(e.send(RESPONSES, BODY | {"input": "a", "max_output_tokens": 9_900}))
            await asyncio.sleep(0.1)
            assert e.prefetch(RESPONSES, BODY | {"input": "b", "max_output_tokens": 15_000})
            await asyncio.sleep(0.1)
            await e.send(RESPONSES, BODY | {"input": "c", "max_output_tokens": 100})
            small_s = loop.time()
            await e.send(RESPONSES, BODY | {"input": "d", "max_output_tokens": 15_000}, priority="low")
            await first
            return small_s, loop.time()

    small_s, low_s = virtual_run(main)
    assert small_s == pytest.approx(1.2, abs=0.1)
    assert low_s == pytest.approx(21.0, abs=0.1)
    assert provider.calls == 3
