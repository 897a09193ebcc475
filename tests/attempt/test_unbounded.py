"""What is set aside for answers without a bound: from those that came, else little for a few and much for the rest."""

from __future__ import annotations

import asyncio

import pytest

from headway import Tags
from headway.attempt.allowance import RunAllowance
from headway.attempt.unbounded import FIRST_MAX, FIRST_TOKENS, KEYS_MAX, LEARNT_MAX, TOKENS_MIN, Unbounded
from headway.testing import FakeProvider, Step, virtual_run
from headway.types import Call, RequestView, Trace, Usage
from headway.types.scope import SCOPE, Scope
from tests.engine.helpers import BODY, RESPONSES, engine


def call(step="draft#0", model="m", answers=1):
    trace = Trace("attempt", "a", 0.0, 0.0)
    trace.tags = Tags(step=step)
    return Call(origin="x", path="/", view=RequestView(model=model, answers=answers), trace=trace)


def answered(unbounded, tokens, **which):
    one = call(**which)
    unbounded.begin(one)
    one.trace.usage = Usage(output_tokens=tokens)
    one.trace.end("ok", 1.0)


def test_a_few_are_taken_for_little_until_one_is_known():
    """A large fan-out does not overdraw a budget before anything is known."""
    unbounded = Unbounded()
    calls = [call(f"draft#{n}") for n in range(FIRST_MAX + 2)]
    assert [unbounded.begin(one) for one in calls] == [FIRST_TOKENS] * FIRST_MAX + [4096] * 2
    for one in calls[:3]:
        one.trace.end("abandoned", 1.0)
    assert unbounded.begin(call()) == FIRST_TOKENS  # a place came back, but nothing was learnt


def test_twice_the_longest_of_the_last_answers():
    """Of the same step and model; each of several answers has its share; an old one is forgotten."""
    unbounded = Unbounded()
    answered(unbounded, 3000)
    answered(unbounded, 100, step="draft#7")
    answered(unbounded, 5, step="label#1")
    answered(unbounded, 1200, model="other", answers=3)
    assert unbounded.begin(call("draft#9")) == 6000
    assert unbounded.begin(call("label#2")) == TOKENS_MIN
    assert unbounded.begin(call("else#3")) == FIRST_TOKENS
    assert unbounded.begin(call(model="other")) == 800
    for _ in range(LEARNT_MAX):
        answered(unbounded, 500)
    assert unbounded.begin(call()) == 1000


def test_it_is_bounded():
    """It starts over rather than grow."""
    unbounded = Unbounded()
    for number in range(KEYS_MAX + 1):
        answered(unbounded, 9000, step=f"s{number}#0")
    assert unbounded.begin(call("s0#1")) == FIRST_TOKENS
    assert unbounded.begin(call(f"s{KEYS_MAX}#1")) == 18000


def test_a_budget_does_not_undo_parallelism():
    """Three small calls under three cents ran one after the other, for each was taken for 4,096 tokens."""
    provider = FakeProvider([Step(delay_s=1.0, output_tokens=60)])

    async def main():
        async with engine(provider) as e:
            allowance = RunAllowance(0.03)
            SCOPE.set(Scope(Tags(run="r", step="ask#0"), allowance=allowance))
            replies = await asyncio.gather(*[e.send(RESPONSES, BODY | {"input": f"{n}"}) for n in range(3)])
            return asyncio.get_running_loop().time(), [reply.trace.wait_s for reply in replies], allowance

    took_s, waits_s, allowance = virtual_run(main)
    assert (took_s, waits_s) == (pytest.approx(1.0), [0.0, 0.0, 0.0])
    assert allowance.reserved == 0.0


def test_a_large_fan_out_overdraws_by_what_is_under_way_at_most():
    """Answers far longer than what was set aside for them: later calls are refused."""
    provider = FakeProvider([Step(delay_s=1.0, output_tokens=8192)])
    each_usd = 8192 * 4.5e-6

    async def main():
        async with engine(provider) as e:
            allowance = RunAllowance(0.06)
            SCOPE.set(Scope(Tags(run="r", step="ask#0"), allowance=allowance))
            asks = [e.send(RESPONSES, BODY | {"input": f"{n}"}) for n in range(50)]
            ended = await asyncio.gather(*asks, return_exceptions=True)
            return allowance, sum(not isinstance(one, Exception) for one in ended)

    allowance, answered_count = virtual_run(main)
    assert provider.calls == answered_count == FIRST_MAX + 1  # eight at 1,024 tokens, and one at 4,096 beside them
    assert allowance.spent == pytest.approx(answered_count * each_usd, rel=0.01)
    assert allowance.left == 0.0
