"""A call made inside of a step is the step's: its tags, its deadline, its models, its money, whatever client makes it."""

from __future__ import annotations

import asyncio
import threading

import httpx2
import pytest

import headway
from headway import BudgetExceeded, DeadlineExceeded, SyncEngine, Tags, Task
from headway.attempt.allowance import RunAllowance
from headway.attempt.line import PREFETCH_PRIORITY
from headway.engine.current import current_engine, on_this_loop, using
from headway.errors import Closed, ConfigError, ConnectFailed, Overloaded
from headway.policy.budget import SpendCap
from headway.store.call_reader import CallLogReader
from headway.testing import FakeProvider, Step, virtual_run
from headway.types.scope import SCOPE, Scope
from tests.transport.sdk import CHAT, async_openai, sync_openai

from .helpers import BODY, RESPONSES, engine

TAGS = Tags(run="r1", step="draft#0", parent="article", session="s")
SMALLER = {"gpt-5.4-mini": "gpt-5.4-nano"}


class Told:
    """What a scope was told."""

    def __init__(self, **how):
        self.traces = []
        self.scope = Scope(TAGS, ended=self.traces.append, **how)

    def __enter__(self):
        self._token = SCOPE.set(self.scope)
        return self

    def __exit__(self, *exc):
        SCOPE.reset(self._token)


# -- doors -----------------------------------------------------------------------------------------------------------


def test_a_call_of_the_engine_is_the_steps():
    """Tags, deadline and priority; its end is told once, when all that is known of it is known."""
    provider = FakeProvider([ConnectFailed("down"), Step(delay_s=1.0)])

    async def main():
        async with engine(provider) as e:
            with Told(deadline_at_s=30.0, priority=5) as told:
                reply = await e.send(RESPONSES, BODY)
            outside = await e.send(RESPONSES, BODY)
            return reply.trace, told.traces, outside.trace

    trace, told, outside = virtual_run(main)
    assert told == [trace]
    assert (trace.tags, trace.attempts, trace.outcome) == (TAGS, 2, "ok")
    assert trace.usage.output_tokens == 2
    assert trace.dollars > 0
    assert outside.tags == Tags()
    assert [call.tags for call in provider.seen] == [TAGS, TAGS, Tags()]
    assert provider.seen[0].deadline_at_s == 30.0
    assert [call.priority for call in provider.seen] == [5, 5, 0]


def test_what_a_call_says_of_itself_stands():
    """Tags with a run, a nearer deadline and a priority of its own are left alone; a lone step is filled up."""
    provider = FakeProvider()

    async def main():
        async with engine(provider) as e:
            with Told(deadline_at_s=30.0, priority=5):
                own = Tags(run="mine")
                await e.send(RESPONSES, BODY, tags=own, deadline_s=2, priority="high")
                await e.send(RESPONSES, BODY, tags=Tags(step="x"))
            return own

    own = virtual_run(main)
    first, second = provider.seen
    assert (first.tags, first.priority) == (own, 1)
    assert first.deadline_at_s == pytest.approx(2.0)
    assert second.tags == Tags(run="r1", step="x", parent="article", session="s")


def test_a_deadline_that_has_passed_is_told_like_any_end():
    """Nothing is sent, and the step hears of it."""
    provider = FakeProvider()

    async def main():
        async with engine(provider) as e:
            await asyncio.sleep(5)
            with Told(deadline_at_s=4.0) as told, pytest.raises(DeadlineExceeded):
                await e.send(RESPONSES, BODY)
            return told.traces

    (trace,) = virtual_run(main)
    assert (trace.outcome, trace.dollars) == ("deadline", None)
    assert provider.calls == 0


def test_the_official_sdk_and_plain_httpx_belong_to_the_step():
    """Async, streams too: a stream is told when it has been read."""
    provider = FakeProvider([Step(text="one two")])

    async def main():
        with Told() as told:
            async with async_openai(provider) as client:
                await client.responses.create(model="gpt-5.4-mini", input="a")
                stream = await client.chat.completions.create(**CHAT, stream=True)
                assert len(told.traces) == 1
                async for _ in stream:
                    pass
            handed = headway.async_client(handler=provider, log="off", log_level="off")
            async with handed as plain:
                await plain.post("https://provider.test/v1/responses", json=BODY)
            assert isinstance(plain, httpx2.AsyncClient)
        return told.traces

    traces = virtual_run(main)
    assert [trace.tags for trace in traces] == [TAGS] * 3
    assert [trace.usage.output_tokens for trace in traces] == [2, 2, 2]


def test_a_sync_client_in_the_steps_thread_belongs_to_the_step():
    """Its engine is on another loop; the end is told on the step's own, before who waits for the thread goes on."""
    provider = FakeProvider([Step(text="one two")])
    told, threads = [], []

    def tell(trace):
        told.append(trace)
        threads.append(threading.get_ident())

    def work():
        with sync_openai(provider) as client:
            client.responses.create(model="gpt-5.4-mini", input="a")
            for _ in client.responses.create(model="gpt-5.4-mini", input="b", stream=True):
                pass

    async def main():
        allowance = RunAllowance(1.0)
        SCOPE.set(Scope(TAGS, models=SMALLER, allowance=allowance, ended=on_this_loop(tell)))
        await asyncio.to_thread(work)
        return len(told), allowance

    seen, allowance = asyncio.run(main())
    assert seen == 2
    assert set(threads) == {threading.get_ident()}
    assert [(trace.tags, trace.model) for trace in told] == [(TAGS, "gpt-5.4-nano")] * 2
    assert allowance.spent == pytest.approx(sum(trace.dollars for trace in told))
    assert allowance.spent > 0


def test_a_sync_engine_belongs_to_the_step():
    """Likewise, many rows too."""
    provider = FakeProvider([Step(text="ok")])
    task = Task(prompt="Say {what}.", model="gpt-5.4-mini")
    with Told() as told, SyncEngine(handler=provider, log="off", api_key="k", log_level="off") as e:
        e.send(RESPONSES, BODY)
        assert [result.outcome for result in e.map([{"what": "a"}, {"what": "b"}], task)] == ["ok", "ok"]
    assert [trace.tags for trace in told.traces] == [TAGS] * 3


def test_rows_of_a_map_belong_to_the_step():
    """Each row's call, whatever task of the loop makes it."""
    provider = FakeProvider([Step(text="ok")])
    task = Task(prompt="Say {what}.", model="gpt-5.4-mini")

    async def main():
        async with engine(provider) as e:
            with Told() as told:
                async for _ in e.map([{"what": f"{n}"} for n in range(5)], task):
                    pass
            return told.traces

    assert [trace.tags for trace in virtual_run(main)] == [TAGS] * 5


def test_the_call_log_knows_the_step(tmp_path):
    """Callers and tries bear the step's tags."""
    provider = FakeProvider([ConnectFailed("down"), 200])

    async def main():
        async with engine(provider, log=str(tmp_path / "l.sqlite")) as e:
            with Told():
                await e.send(RESPONSES, BODY)

    virtual_run(main)
    with CallLogReader(tmp_path / "l.sqlite") as log:
        assert [(row.step, row.parent, row.session) for row in log.calls(run="r1")] == [("draft#0", "article", "s")]
        assert len(log.attempts(run="r1")) == 2


# -- smaller models --------------------------------------------------------------------------------------------------


def test_a_smaller_model_takes_the_place_of_another():
    """In the bytes, nothing else of which changes, in the row, in the price, and in the cache's key."""
    provider = FakeProvider([Step(text="ok")])

    async def main():
        async with engine(provider, cache="memory") as e:
            large = await e.send(RESPONSES, b'{"input": "Hello",  "model":"gpt-5.4-mini", "store": false}')
            with Told(models=SMALLER):
                small = await e.send(RESPONSES, b'{"input": "Hello",  "model":"gpt-5.4-mini", "store": false}')
                keyed = await e.send(RESPONSES, BODY | {"store": False}, key_body=b'{"model":"gpt-5.4-mini"}')
                other = await e.send(RESPONSES, BODY | {"model": "gpt-4o"})
            again = await e.send(RESPONSES, b'{"input":"Hello","model":"gpt-5.4-nano","store":false}')
            return large.trace, small.trace, keyed.trace, other.trace, again.trace

    large, small, keyed, other, again = virtual_run(main)
    assert provider.seen[1].body == b'{"input": "Hello",  "model":"gpt-5.4-nano", "store": false}'
    assert (small.model, small.cache, other.model) == ("gpt-5.4-nano", "miss", "gpt-4o")
    assert small.dollars < large.dollars
    assert keyed.cache == "memory"  # what was sent is what the key is made of
    assert again.cache == "memory"


def test_a_deployment_in_the_path_is_replaced():
    """Where the path names what answers."""
    provider = FakeProvider()

    async def main():
        async with engine(provider, base_url="https://me.azure.test/openai") as e:
            with Told(models={"big one": "small/one"}):
                reply = await e.send("/openai/deployments/big%20one/chat/completions?v=1", {"messages": []})
            return reply.trace

    trace = virtual_run(main)
    assert provider.seen[0].path == "/openai/deployments/small%2Fone/chat/completions?v=1"
    assert trace.model == "small/one"


# -- money -----------------------------------------------------------------------------------------------------------

BOUNDED = BODY | {"max_output_tokens": 1000}


def test_a_runs_money_bounds_its_calls_and_no_others():
    """The worst case is set aside, what it took is booked; what cannot fit is refused with a sentence."""
    provider = FakeProvider([Step(output_tokens=900)])

    async def main():
        async with engine(provider) as e:
            price = (await e.send(RESPONSES, BOUNDED)).trace.dollars
            allowance = RunAllowance(price * 2.2)
            with Told(allowance=allowance) as told:
                for n in range(2):
                    await e.send(RESPONSES, BOUNDED | {"input": f"{n}"})
                with pytest.raises(BudgetExceeded, match="does not fit into the run's budget_usd of"):
                    await e.send(RESPONSES, BOUNDED)
            await e.send(RESPONSES, BOUNDED)
            return price, allowance, [trace.outcome for trace in told.traces]

    price, allowance, outcomes = virtual_run(main)
    assert allowance.spent == pytest.approx(2 * price, rel=0.01)
    assert allowance.reserved == 0.0
    assert allowance.left == pytest.approx(0.2 * price, rel=0.2)
    assert outcomes == ["ok", "ok", "budget"]
    assert provider.calls == 4


def test_calls_of_a_run_wait_for_each_others_money():
    """What is only set aside comes back: one after the other they all fit."""
    provider = FakeProvider([Step(delay_s=1.0, output_tokens=10)])

    async def main():
        async with engine(provider) as e:
            allowance = RunAllowance(0.005)  # one at a time: 1000 tokens may cost up to $0.0045
            with Told(allowance=allowance) as told:
                await asyncio.gather(*[e.send(RESPONSES, BOUNDED | {"input": f"{n}"}) for n in range(3)])
            return asyncio.get_running_loop().time(), [trace.wait_s for trace in told.traces], allowance

    took_s, waits, allowance = virtual_run(main)
    assert took_s == pytest.approx(3.0)
    assert waits == pytest.approx([0.0, 1.0, 2.0])
    assert allowance.reserved == 0.0


def test_a_hit_costs_nothing_and_a_joiner_neither():
    """Who leads pays; no money at all is enough for what is there already."""
    provider = FakeProvider([Step(delay_s=1.0)])

    async def main():
        async with engine(provider, cache="memory") as e:

            async def ask(allowance):
                with Told(allowance=allowance):
                    return await e.send(RESPONSES, BODY)

            first, second, third = RunAllowance(1.0), RunAllowance(0.0), RunAllowance(0.0)
            replies = await asyncio.gather(ask(first), ask(second))
            replies.append(await ask(third))
            return [a.spent for a in (first, second, third)], [r.trace for r in replies]

    spent, traces = virtual_run(main)
    assert [trace.cache for trace in traces] == ["miss", "joined", "memory"]
    assert spent == [traces[0].dollars, 0.0, 0.0]
    assert provider.calls == 1


def test_who_takes_over_a_flight_pays_for_what_is_tried_from_then_on():
    """The leader leaves while its flight backs off; the next try is the joiner's."""
    provider = FakeProvider([Step(status=503, delay_s=1.0, headers=(("retry-after", "5"),)), Step(delay_s=1.0)])

    async def main():
        async with engine(provider, cache="memory") as e:

            async def ask(allowance):
                with Told(allowance=allowance):
                    return await e.send(RESPONSES, BODY)

            first, second = RunAllowance(1.0), RunAllowance(1.0)
            leads = asyncio.create_task(ask(first))
            await asyncio.sleep(0.1)
            joins = asyncio.create_task(ask(second))
            await asyncio.sleep(1.4)
            leads.cancel()
            reply = await joins
            return first.spent, second.spent, reply.trace.dollars

    first, second, dollars = virtual_run(main)
    assert first == 0.0
    assert second == pytest.approx(dollars)
    assert dollars > 0


def test_a_poor_leader_takes_nobody_down_with_it():
    """Its own money is not enough for another try; who reads along asks by itself."""
    failing = Step(status=503, delay_s=1.0, headers=(("retry-after", "5"),))
    provider = FakeProvider([failing, Step(delay_s=1.0, output_tokens=1000)])

    async def main():
        async with engine(provider, cache="memory") as e:

            async def ask(allowance, wait_s=0.0, text="same"):
                await asyncio.sleep(wait_s)
                with Told(allowance=allowance):
                    return await e.send(RESPONSES, BOUNDED | {"input": text})

            poor, rich = RunAllowance(0.005), RunAllowance(1.0)
            asks = [ask(poor), ask(rich, 0.1), ask(poor, 1.5, "another")]
            return await asyncio.gather(*asks, return_exceptions=True), rich.spent

    (leads, joins, _), spent = virtual_run(main)
    assert isinstance(leads, BudgetExceeded)
    assert (joins.status, joins.trace.outcome, joins.trace.cache, joins.trace.error_code) == (200, "ok", "miss", "")
    assert spent == joins.trace.dollars > 0


def test_an_unknown_price_cannot_be_kept_to():
    """It says so before anything is sent."""
    provider = FakeProvider()

    async def main():
        async with engine(provider) as e:
            said = "price of model 'nobody-knows' is unknown, so the run's"
            with Told(allowance=RunAllowance(1.0)), pytest.raises(BudgetExceeded, match=said):
                await e.send(RESPONSES, BODY | {"model": "nobody-knows"})

    virtual_run(main)
    assert provider.calls == 0


def test_both_caps_hold_and_neither_keeps_the_others_money():
    """The run's is taken first; the engine's refusal gives it back."""
    provider = FakeProvider()

    async def main():
        async with engine(provider, budget_usd=0.000001) as e:
            allowance = RunAllowance(1.0)
            with Told(allowance=allowance), pytest.raises(BudgetExceeded, match="under the cap"):
                await e.send(RESPONSES, BODY)
            return allowance

    allowance = virtual_run(main)
    assert (allowance.spent, allowance.reserved) == (0.0, 0.0)


def test_leaving_the_line_lets_the_next_one_in():
    """Cancelled while it waits for the run's money: the one behind it goes as soon as it fits."""
    provider = FakeProvider([Step(delay_s=1.0, output_tokens=10)])

    async def main():
        async with engine(provider) as e:
            allowance = RunAllowance(0.005)
            with Told(allowance=allowance):
                asks = [asyncio.create_task(e.send(RESPONSES, BOUNDED | {"input": f"{n}"})) for n in range(3)]
                await asyncio.sleep(0.5)
                asks[1].cancel()
                await asyncio.gather(*asks, return_exceptions=True)
            return asyncio.get_running_loop().time(), allowance.reserved

    assert virtual_run(main) == (pytest.approx(2.0), 0.0)


def test_one_run_may_wait_on_several_loops():
    """Calls of sync clients wait on their own loop; whoever settles wakes them there."""
    allowance = RunAllowance(1.0)
    view = headway.types.RequestView(model="m")

    def call(n):
        return headway.Call(origin="x", path="/", view=view, trace=headway.types.Trace("attempt", f"{n}", 0.0, 0.0))

    order, entered = [], threading.Event()

    async def second():
        waits = asyncio.create_task(allowance.take(call(2), 0.9, 1))
        await asyncio.sleep(0)
        entered.set()
        order.append("waits")
        settle = await waits
        order.append("has it")
        trace = call(2).trace
        trace.dollars = 0.5
        settle(trace)

    async def first():
        settle = await allowance.take(call(1), 0.9, 1)
        thread = threading.Thread(target=lambda: asyncio.run(second()))
        thread.start()
        await asyncio.to_thread(entered.wait)
        settle(call(1).trace)
        await asyncio.to_thread(thread.join)

    asyncio.run(first())
    assert order == ["waits", "has it"]
    assert (allowance.spent, allowance.reserved) == (0.5, 0.0)


def test_a_prefetch_of_a_run_does_not_wait_for_money():
    """It would hold up the calls behind it."""

    async def main():
        provider = FakeProvider([Step(delay_s=1.0)])
        async with engine(provider) as e:
            allowance = RunAllowance(0.005)
            with Told(allowance=allowance):
                real = asyncio.create_task(e.send(RESPONSES, BOUNDED))
                await asyncio.sleep(0.1)
                with pytest.raises(Overloaded, match="run's budget has no room for a prefetch"):
                    await e.send(RESPONSES, BOUNDED | {"input": "b"}, priority=PREFETCH_PRIORITY)
                await real

    virtual_run(main)


@pytest.mark.parametrize("wrong", [-1, float("nan"), float("inf"), True, "1"])
def test_a_budget_is_a_number_of_dollars(wrong):
    """Anything else is the program's mistake."""
    with pytest.raises(ConfigError, match="budget_usd must be a number of dollars"):
        RunAllowance(wrong)


def test_what_was_paid_in_another_way_counts():
    """A batch's dollars, for one."""
    allowance = RunAllowance(1.0)
    allowance.book(0.75)
    assert (allowance.spent, allowance.left, allowance.usd_max) == (0.75, 0.25, 1.0)
    assert SpendCap(dollars_max=1.0).dollars_left == 1.0


def test_an_answer_that_came_in_a_batch_is_the_steps():
    """Tags, dollars and its end; the model it was asked stays."""
    answer = b'{"id":"r","object":"response","status":"completed","output":[{"type":"message","content":[{"type":"output_text","text":"ok"}]}],"usage":{"input_tokens":100,"output_tokens":10}}'

    async def main():
        async with engine(FakeProvider()) as e:
            allowance = RunAllowance(1.0)
            with Told(allowance=allowance, models=SMALLER) as told:
                trace = e.adopt(RESPONSES, b'{"model":"gpt-5.4-mini","input":"a"}', 200, answer, price_ratio=0.5)
            own = e.adopt(RESPONSES, b'{"model":"gpt-5.4-mini","input":"a"}', 200, answer)
            return trace, told.traces, allowance.spent, own.tags

    trace, told, spent, tags = virtual_run(main)
    assert told == [trace]
    assert (trace.tags, trace.model, tags) == (TAGS, "gpt-5.4-mini", Tags(step="batch"))
    assert spent == trace.dollars > 0


# -- what outlives a step --------------------------------------------------------------------------------------------


def test_a_background_refresh_is_nobodys():
    """It has neither the step's deadline nor its money, and the step does not hear of it."""
    provider = FakeProvider([Step(text="old"), Step(text="new", delay_s=60.0)])

    async def main():
        async with engine(provider, cache="memory", cache_ttl_s=100.0, cache_stale_while_revalidate_s=1000.0) as e:
            await e.send(RESPONSES, BODY)
            await asyncio.sleep(150)
            allowance = RunAllowance(0.0)
            with Told(deadline_at_s=170.0, allowance=allowance) as told:
                reply = await e.send(RESPONSES, BODY)
            await asyncio.sleep(100)
            later = await e.send(RESPONSES, BODY)
            return told.traces, reply.trace, allowance.spent, await later.read()

    traces, trace, spent, later = virtual_run(main)
    assert traces == [trace]
    assert b"new" in later
    assert provider.seen[1].deadline_at_s > 170.0
    assert spent == 0.0


def test_a_prefetch_goes_on_when_its_step_is_over():
    """It bears the step's tags and asks what the step would ask, but neither its deadline nor its money."""
    provider = FakeProvider([Step(delay_s=10.0)])

    async def main():
        async with engine(provider, cache="memory") as e:
            with Told(deadline_at_s=5.0, models=SMALLER, allowance=RunAllowance(0.0)) as told:
                assert e.prefetch(RESPONSES, BODY)
            told.scope.close()
            await asyncio.sleep(20)
            reply = await e.send(RESPONSES, BODY | {"model": "gpt-5.4-nano"})
            return told.traces, reply.trace.cache

    assert virtual_run(main) == ([], "memory")
    assert provider.seen[0].tags == TAGS


def test_a_closed_scope_surrounds_nothing_any_more():
    """A task that was left behind in its context makes calls of its own."""
    provider = FakeProvider()

    async def main():
        async with engine(provider) as e:
            with Told(allowance=RunAllowance(0.0), models=SMALLER) as told:
                told.scope.close()
                reply = await e.send(RESPONSES, BODY)
                assert e.prefetch(RESPONSES, BODY) is False  # no cache
            return reply.trace, told.traces

    trace, told = virtual_run(main)
    assert (trace.tags, trace.model, told) == (Tags(), "gpt-5.4-mini", [])


# -- the current engine ----------------------------------------------------------------------------------------------


def test_the_current_engine_is_the_one_in_use_and_else_the_loops_own(tmp_path, monkeypatch):
    """The loop's own is kept, shared, and closed with the loop; blocks nest, and tasks started in them inherit."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HEADWAY_LOG", "off")

    async def main():
        own = current_engine()
        assert current_engine() is own
        async with engine(FakeProvider()) as a, engine(FakeProvider()) as b:
            with using(a):
                with using(b):
                    task = asyncio.create_task(asyncio.sleep(0, current_engine()))
                    assert current_engine() is b
                assert current_engine() is a
            assert await task is b
        assert current_engine() is own
        return own

    first, second = asyncio.run(main()), asyncio.run(main())
    assert first is not second

    async def late():
        with pytest.raises(Closed):
            await first.send(RESPONSES, BODY)

    asyncio.run(late())
    with pytest.raises(ConfigError, match="no running event loop"):
        current_engine()
    with pytest.raises(ConfigError, match=r"using needs a headway\.Engine, not FakeProvider"), using(FakeProvider()):
        pass
