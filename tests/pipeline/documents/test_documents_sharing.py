"""One engine for many documents, and what each of them is asked."""

from __future__ import annotations

import asyncio
from contextlib import suppress

import msgspec
import pytest

from headway.engine import Engine
from headway.errors import BudgetExceeded, ConfigError
from headway.pipeline.documents.asking import Wishes
from headway.pipeline.documents.plan import plan_of
from headway.pipeline.documents.sharing import Share, Shared
from headway.testing import FakeProvider, Step, virtual_run

PATH = "/v1/responses"


def body(name: str) -> bytes:
    return msgspec.json.encode({"model": "gpt-5.4-mini", "input": name})


def with_engine(main, *, provider=None, **settings):
    provider = provider or FakeProvider([Step(text="Said.", delay_s=1.0)] * 64)

    async def run():
        async with Engine(handler=provider, log="off", log_level="off", seed=1, **settings) as engine:
            return await main(engine, provider)

    return virtual_run(run)


def test_so_many_calls_at_once_and_the_first_documents_first():
    """Over all documents together; within one, what has the greater priority, which finishes work."""

    async def main(engine, provider):
        shared, loop = Shared(engine, 2), asyncio.get_running_loop()
        first, second = Share(shared, 0), Share(shared, 1)
        asks = [(second, "b1", 0), (second, "b2", 0), (second, "b3", 0), (first, "a1", 0), (first, "a2", 1)]
        await asyncio.gather(*(share.send(PATH, body(name), priority=at) for share, name, at in asks))
        return [msgspec.json.decode(call.body)["input"] for call in provider.seen], loop.time(), shared, first

    sent, took_s, shared, first = with_engine(main)
    assert sent == ["b1", "b2", "a2", "a1", "b3"]
    assert took_s == pytest.approx(3.0)
    assert (shared.took.calls, first.took.calls) == (5, 2)
    assert shared.took.busy_s == pytest.approx(5.0)
    assert shared.took.dollars == pytest.approx(first.took.dollars * 2.5)


def test_room_comes_back_whatever_becomes_of_a_call():
    """Failed, cancelled while it waits, cancelled under way, a stream that is left."""

    async def main(engine, provider):
        share = Share(Shared(engine, 1))
        with pytest.raises(ConfigError):
            await share.send(PATH, body("x"), priority="greatest")
        under_way = asyncio.create_task(share.send(PATH, body("1")))
        waiting = asyncio.create_task(share.send(PATH, body("2")))
        await asyncio.sleep(0.5)
        waiting.cancel()
        under_way.cancel()
        await asyncio.gather(waiting, under_way, return_exceptions=True)
        stream = await share.send(PATH, b'{"stream":true,' + body("3")[1:])
        next_ = asyncio.create_task(share.send(PATH, body("4")))
        await asyncio.sleep(0.5)
        assert not next_.done()
        await stream.aclose()
        return (await asyncio.wait_for(next_, 60)).status, len(provider.seen)

    assert with_engine(main) == (200, 3)


def test_hits_are_no_work():
    """What a cache answered took no time of anybody's, and a failure is remembered for who asks why."""

    async def main(engine, provider):
        share = Share(Shared(engine, 4))
        for name in ("1", "1", "2"):
            await share.send(PATH, body(name))
        return share.took

    took = with_engine(main, provider=FakeProvider([Step(text="A.", delay_s=1.0), Step(status=401)]), cache="memory")
    assert (took.calls, took.hits) == (3, 1)
    assert took.busy_s == pytest.approx(1.0)
    assert took.failed is not None
    assert took.failed.outcome == "auth"


def asked(wishes: Wishes, text: str) -> list[str]:
    """The first prompts."""

    async def main(engine, provider):
        task, rows = wishes.reduction(text, Share(Shared(engine, 1)), concurrency=1).first()
        return [msgspec.json.decode(task.body(row))["input"] for row in rows]

    return with_engine(main)


def test_prompts_get_a_place_for_the_text():
    """At their end, where they have none; braces of a document are text."""
    wishes = Wishes(words=9, model="gpt-5.4-mini", map_prompt="List names, {words} at most.")
    assert asked(wishes, "Ann and {Bob}") == ["List names, 9 at most.\n\nText:\nAnn and {Bob}"]
    wishes = Wishes(words=9, model="gpt-5.4-mini", map_prompt="In <<{text}>>, who?")
    assert asked(wishes, "Ann") == ["In <<Ann>>, who?"]


def test_a_question_stands_in_every_prompt():
    """Of the parts and of the merges; braces in it mean nothing."""
    wishes = Wishes(words=9, model="gpt-5.4-mini", question="Who is {x}?", chunk_tokens=40)
    prompts = asked(wishes, "Ann walked to the river. " * 40)
    assert len(prompts) > 3
    assert all("Question: Who is {x}?\n\nText:\n" in prompt for prompt in prompts)


def test_the_plan_is_what_is_then_called_at_most():
    """Chunks as they are; merges as if summaries were as long as asked for, fewer when they turn out shorter."""

    async def main(engine, provider):
        wishes = Wishes(words=30, model="gpt-5.4-mini", chunk_tokens=60, window=3_000)
        text = "\n\n".join(f"Day {day}: the keeper of the pier wrote a line in his book." for day in range(200))
        share = Share(Shared(engine, 8))
        plan = await plan_of(wishes.reduction(text, share, concurrency=8), engine, reduce_model="gpt-5.4-mini")
        made = await wishes.reduction(text, share, concurrency=8)
        return plan, made

    plan, made = with_engine(main, provider=FakeProvider([Step(text="The keeper wrote it down.")] * 500))
    assert plan.chunks == len(made.chunks) > 40
    assert plan.calls >= made.calls > plan.chunks
    assert plan.levels == 2 >= made.levels
    assert made.dollars < plan.dollars_max
    assert plan.dollars < plan.dollars_max


def test_calls_that_we_refused_are_none():
    """After a stop by the budget, --json counted the calls that were never sent."""

    async def main(engine, provider):
        share = Share(Shared(engine, 1))
        for name in ("1", "2", "3"):
            with suppress(BudgetExceeded):
                await (await share.send(PATH, body(name))).read()
        return share.took.calls, len(provider.seen), share.took.failed

    provider = FakeProvider([Step(text="Said.")] * 3)
    calls, sent, failed = with_engine(main, provider=provider, budget_tokens=20)
    assert calls == sent < 3
    assert failed is not None


def test_who_joins_a_call_that_is_refused_is_no_hit():
    """Equal chunks of several documents are one call, which we may refuse."""

    async def main(engine, provider):
        share = Share(Shared(engine, 9))
        await asyncio.gather(*(share.send(PATH, body("1")) for _ in range(3)), return_exceptions=True)
        return share.took.calls, share.took.hits, len(provider.seen)

    assert with_engine(main, budget_tokens=2, cache="memory") == (0, 0, 0)


@pytest.mark.parametrize(
    ("prompt", "asked"),
    [
        ("Return JSON {{text}}", "Return JSON {text}\n\nText:\nA tide."),
        ("Say {text} once.", "Say A tide. once."),
        ("Say it.", "Say it.\n\nText:\nA tide."),
    ],
)
def test_braces_are_no_place(prompt, asked):
    """`--map-prompt 'Return JSON {{text}}'` was refused for want of a place, instead of being given one."""

    async def main(engine, provider):
        wishes = Wishes(words=20, model="gpt-5.4-mini", map_prompt=prompt)
        task, rows = wishes.reduction("A tide.", Share(Shared(engine, 1)), concurrency=1).first()
        return msgspec.json.decode(task.body(rows[0]))["input"]

    assert with_engine(main) == asked
