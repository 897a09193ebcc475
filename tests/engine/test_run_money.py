"""The money of several runs: none waits in another's line, none pays when it is over, and a stream held open ends."""

from __future__ import annotations

import asyncio
import threading

import openai
import pytest

from headway import BudgetExceeded, Tags
from headway.attempt.allowance import RunAllowance, Unpaid
from headway.errors import Closed
from headway.testing import FakeProvider, Step, virtual_run
from headway.types.scope import SCOPE, Scope
from tests.transport.sdk import sync_openai

from .helpers import BODY, RESPONSES, engine

BOUNDED = BODY | {"max_output_tokens": 1000}
ONE = 0.005
"""Dollars for one such call at a time: its 1000 tokens may cost up to $0.0045."""


async def ask(e, text, allowance, *, after_s=0.0, **how):
    """A call of a run that the allowance is of; its reply, and how long that took."""
    await asyncio.sleep(after_s)
    SCOPE.set(Scope(Tags(run="r"), allowance=allowance))
    start_s = asyncio.get_running_loop().time()
    reply = await e.send(RESPONSES, BOUNDED | {"input": text}, **how)
    return reply.trace, asyncio.get_running_loop().time() - start_s


def test_nobody_waits_for_another_runs_money():
    """The same request of a run with money, and of no run, is sent by itself, and whoever comes later shares that."""
    provider = FakeProvider([Step(delay_s=5.0)])

    async def main():
        async with engine(provider, cache="memory") as e:
            poor, rich = RunAllowance(ONE), RunAllowance(1.0)
            asks = [ask(e, "long", poor), ask(e, "same", poor), ask(e, "same", poor, after_s=0.1)]
            asks += [ask(e, "same", None), ask(e, "same", None, after_s=0.1), ask(e, "same", rich, after_s=0.2)]
            return await asyncio.gather(*asks), poor, rich

    told, poor, rich = virtual_run(main)
    assert [took_s for _, took_s in told] == pytest.approx([5.0, 10.0, 4.9, 5.0, 4.9, 4.8])
    assert [trace.cache for trace, _ in told] == ["miss", "miss", "joined", "miss", "joined", "joined"]
    assert provider.calls == 3
    assert (poor.reserved, rich.spent) == (0.0, 0.0)
    assert [trace.budget_wait_s for trace, _ in told] == [0.0, pytest.approx(5.0), 0.0, 0.0, 0.0, 0.0]


def test_calls_of_one_run_share_what_waits_for_its_money():
    """Two equal ones are one, however long that waits."""
    provider = FakeProvider([Step(delay_s=5.0)])

    async def main():
        async with engine(provider, cache="memory") as e:
            poor = RunAllowance(ONE)
            return await asyncio.gather(*[ask(e, text, poor) for text in ("long", "same", "same")])

    told = virtual_run(main)
    assert [(trace.cache, took_s) for trace, took_s in told[1:]] == [("miss", 10.0), ("joined", 10.0)]
    assert provider.calls == 2


def test_a_deadline_is_not_missed_for_another_runs_money():
    """Alone it takes five seconds, and so it does beside a run that waits."""
    provider = FakeProvider([Step(delay_s=5.0)])

    async def main():
        async with engine(provider, cache="memory") as e:
            poor = RunAllowance(ONE)
            waits = [ask(e, "long", poor), ask(e, "same", poor)]
            return await asyncio.gather(*waits, ask(e, "same", None, after_s=0.1, deadline_s=6))

    *_, (trace, took_s) = virtual_run(main)
    assert (trace.outcome, took_s) == ("ok", pytest.approx(5.0))


def test_a_run_that_is_cancelled_in_its_line_takes_no_other_down():
    """Whoever read along was told that its own budget, which it does not have, was exceeded."""
    provider = FakeProvider([Step(delay_s=5.0)])

    async def main():
        async with engine(provider, cache="memory") as e:
            poor = RunAllowance(ONE)
            tasks = [asyncio.create_task(ask(e, text, poor)) for text in ("long", "same")]
            other = asyncio.create_task(ask(e, "same", None, after_s=0.1))
            await asyncio.sleep(3)
            for task in tasks:
                task.cancel()
            poor.close()
            ended = await asyncio.gather(*tasks, return_exceptions=True)
            return ended, await other, poor

    ended, (trace, took_s), poor = virtual_run(main)
    assert all(isinstance(each, asyncio.CancelledError) for each in ended)
    assert (trace.outcome, trace.error_code, took_s) == ("ok", "", pytest.approx(5.0))
    assert poor.reserved == 0.0


def test_who_joined_before_a_budget_took_over_is_not_refused_by_it():
    """The leader, of no run, leaves; the next in line cannot pay for another try, the third one need not."""
    failing = Step(status=503, delay_s=1.0, headers=(("retry-after", "5"),))
    provider = FakeProvider([failing, Step(delay_s=1.0)])

    async def main():
        async with engine(provider, cache="memory") as e:
            leads = asyncio.create_task(ask(e, "same", None))
            poor = asyncio.create_task(ask(e, "same", RunAllowance(0.0), after_s=0.1))
            third = asyncio.create_task(ask(e, "same", None, after_s=0.2))
            await asyncio.sleep(1.5)
            leads.cancel()
            return await asyncio.gather(poor, third, return_exceptions=True)

    poor, (trace, _) = virtual_run(main)
    assert isinstance(poor, BudgetExceeded)
    assert trace.outcome == "ok"


def test_a_run_that_is_over_pays_nothing_any_more():
    """What waits is sent away, what comes is refused, and what is under way is booked."""
    provider = FakeProvider([Step(delay_s=1.0)])

    async def main():
        async with engine(provider) as e:
            allowance = RunAllowance(ONE)
            asks = [asyncio.create_task(ask(e, f"{n}", allowance)) for n in range(3)]
            await asyncio.sleep(0.5)
            allowance.close()
            ended = await asyncio.gather(*asks, return_exceptions=True)
            with pytest.raises(Unpaid, match="the run that this call belongs to is over"):
                await ask(e, "late", allowance)
            return ended, allowance

    (first, *others), allowance = virtual_run(main)
    assert first[0].outcome == "ok"
    assert [type(each) for each in others] == [Unpaid, Unpaid]
    assert provider.calls == 1
    assert (allowance.spent, allowance.reserved) == (first[0].dollars, 0.0)


def test_the_thread_of_a_run_that_is_over_sends_nothing():
    """A sync client in a plain step's thread went on, without the run's tags and money."""
    provider = FakeProvider()
    scope, over = Scope(Tags(run="r", step="loop#0"), is_thread=True), threading.Event()
    asked = threading.Event()

    def work():
        with sync_openai(provider, max_retries=0) as client:
            client.responses.create(model="gpt-5.4-mini", input="a")
            asked.set()
            over.wait()
            with pytest.raises(openai.APIError) as caught:
                client.responses.create(model="gpt-5.4-mini", input="b")
            return caught.value.__cause__

    async def main():
        SCOPE.set(scope)
        thread = asyncio.create_task(asyncio.to_thread(work))
        await asyncio.to_thread(asked.wait)
        scope.close()
        over.set()
        return await thread

    cause = asyncio.run(main())
    assert "step 'loop' (call 0) goes on in its thread although the run r is over" in str(cause)
    assert provider.calls == 1
    with pytest.raises(Closed):
        scope.check()


def test_a_step_that_holds_a_stream_open_may_ask_again():
    """The second call waits for what is set aside for the stream, which nobody reads on meanwhile: it waited for ever."""
    text = "word " * 4000
    provider = FakeProvider([Step(text=text), Step()])

    async def main():
        async with engine(provider) as e:
            SCOPE.set(Scope(Tags(run="r"), allowance=RunAllowance(ONE)))
            stream = await e.send(RESPONSES, BOUNDED | {"stream": True}, deadline_s=60)
            async with stream:
                first = await anext(stream)
                between = await e.send(RESPONSES, BOUNDED | {"input": "meanwhile"}, deadline_s=60)
                rest = [chunk async for chunk in stream]
            return len(first) + sum(map(len, rest)), between.trace.outcome

    size_bytes, outcome = virtual_run(main)
    assert size_bytes > 2 * 256 * 1024  # more than the window of an unread stream
    assert outcome == "ok"
