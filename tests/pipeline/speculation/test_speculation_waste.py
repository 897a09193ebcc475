"""Waste is called waste: what a real call did not find, what it paid again, what left, and what was never to be spent."""

from __future__ import annotations

import asyncio
import threading
from itertools import count

import pytest

import headway
from headway.errors import ConfigError
from headway.pipeline.speculation import SpeculationSettings, asked, speculation
from headway.pipeline.speculation.stake import Stake
from headway.testing import FakeProvider, Step, virtual_run
from headway.types import Trace

SLOW = Step(delay_s=2.0, text="a good answer", input_tokens=1_000, output_tokens=300)
USD = 1_000 * 0.75e-6 + 300 * 4.5e-6
"""What the slow answer costs with gpt-5.4-mini."""

BODY = {"model": "gpt-5.4-mini", "input": "late"}


@headway.step(pure=True)
async def answer(question: str) -> str:
    return await headway.ask(question, model="gpt-5.4-mini")


@headway.pipeline
async def turn(question: str) -> str:
    return answer(question)


def played(main, **settings):
    """Run it on virtual time with an engine whose cache is on; the provider."""
    provider = FakeProvider([SLOW])

    async def run():
        given = {"cache": "memory", "log": "off", "log_level": "off", "seed": 1} | settings
        async with headway.Engine(handler=provider, **given) as engine:
            with headway.using(engine):
                speculation(engine, SpeculationSettings(allowance_usd=1.0))
                await main(engine, provider)

    virtual_run(run)
    return provider


@pytest.mark.parametrize("reading_s", [10.0, 0.5])
def test_a_step_that_asks_another_question_each_time_finds_nothing(reading_s):
    """A prompt with the time in it is asked for again by the real call; that was booked as a hit, wasted nothing."""
    number = count()

    @headway.step(pure=True)
    async def stamped(question: str) -> str:
        return await headway.ask(f"{next(number)} {question}", model="gpt-5.4-mini")

    @headway.pipeline
    async def stamped_turn(question: str) -> str:
        return stamped(question)

    async def main(engine, provider):
        launched = []
        for i in range(30):
            launched.append(headway.prefetch(stamped, f"q{i}", likelihood=0.9, saving_s=0.3))
            await asyncio.sleep(reading_s)
            async with stamped_turn.run(f"q{i}") as run:
                await run.result()
            assert not run.rows()[1].speculative
            await asyncio.sleep(5.0)
        stats = speculation(engine).stats()
        assert (stats["hits"], stats["joined"], stats["ready"]) == (0, 0, 0)
        assert stats["wasted"] + stats["cancelled"] == stats["launched"] == sum(map(bool, launched))
        assert stats["used_usd"] == stats["saved_s"] == stats["hit_rate"] == 0.0
        assert stats["wasted_usd"] > 0.0
        assert not launched[-1]  # its likelihoods have lost their worth

    played(main)


def test_what_is_paid_for_again_is_wasted():
    """Of two questions one is another each time: a hit, but half of its dollars bought nothing."""
    number = count()

    @headway.step(pure=True)
    async def both(question: str) -> str:
        await headway.ask(question, model="gpt-5.4-mini")
        return await headway.ask(f"{next(number)} {question}", model="gpt-5.4-mini")

    @headway.pipeline
    async def both_turn(question: str) -> str:
        return both(question)

    async def main(engine, provider):
        headway.prefetch(both, "a", likelihood=0.9)
        await asyncio.sleep(10.0)
        await both_turn("a")
        stats = speculation(engine).stats()
        assert (stats["hits"], stats["saved_s"]) == (1, pytest.approx(2.0, abs=0.01))
        assert stats["used_usd"] == pytest.approx(stats["wasted_usd"]) == pytest.approx(USD, rel=0.2)

    played(main)


def test_what_is_computed_again_was_of_no_use():
    """A step without a model that keeps nothing takes the real call as long as before: no hit."""

    @headway.step(pure=True)
    async def compute(number: int) -> int:
        await asyncio.sleep(1.0)
        return number

    @headway.pipeline
    async def computed() -> int:
        return compute(1)

    async def main(engine, provider):
        headway.prefetch(compute, 1, likelihood=0.9, cost_usd=0.0)
        await asyncio.sleep(5.0)
        assert await computed() == 1
        stats = speculation(engine).stats()
        assert (stats["hits"], stats["wasted"], stats["ready"]) == (0, 1, 0)

    played(main)


def test_steps_of_one_name_are_two():
    """Two functions under one name shared a prefetch, its hits and its costs."""

    def made(prefix: str):
        @headway.step(name="answer", pure=True)
        async def answer(question: str) -> str:
            return await headway.ask(prefix + question, model="gpt-5.4-mini")

        return answer

    apples, bears = made("Apples: "), made("Bears: ")

    @headway.pipeline
    async def turn_of_bears() -> str:
        return bears("hi")

    async def main(engine, provider):
        first = headway.prefetch(apples, "hi", likelihood=0.9)
        await first.wait()
        async with turn_of_bears.run() as run:
            await run.result()
        assert (first.state, run.rows()[1].speculative) == ("ready", False)
        second = headway.prefetch(bears, "hey", likelihood=0.9)
        assert second is not headway.prefetch(apples, "hey", likelihood=0.9)
        await asyncio.sleep(5.0)
        assert [b"Bears" in call.body for call in provider.seen] == [False, True, True, False]
        assert speculation(engine).stats()["steps"]["answer"]["launched"] == 3  # shown together

    played(main)


@pytest.mark.parametrize("cost_usd", [None, 0.0])
def test_the_first_ones_of_a_dear_step_stay_within_the_allowance(cost_usd):
    """Four at once began at the assumed tenth of a cent each, and wasted 60 times the allowance."""

    @headway.step(pure=True)
    async def dear(question: str) -> str:
        return await headway.ask("word " * 60_000 + question, model="gpt-5.4-mini", output_tokens_max=1_000)

    async def main(engine, provider):
        book = speculation(engine, SpeculationSettings())
        ahead = [headway.prefetch(dear, str(n), likelihood=1.0, cost_usd=cost_usd) for n in range(8)]
        await asyncio.sleep(60.0)
        assert provider.calls == 0
        assert ahead[0].state == "failed"
        assert "BudgetExceeded: a request of it may cost up to $0." in ahead[0].why
        again = headway.prefetch(dear, "again", likelihood=1.0, cost_usd=cost_usd)
        assert "may be wasted is short" in again.why
        stats = book.stats()
        assert (stats["wasted_usd"], stats["ready_usd"], stats["under_way"]) == (0.0, 0.0, 0)
        assert stats["failed"] == stats["launched"]

    played(main)


def test_several_requests_of_one_step_are_bounded_together():
    """What a step has spent counts: its third request is not sent where two are all that may be wasted."""

    @headway.step(pure=True)
    async def three(question: str) -> None:
        for n in range(3):
            await headway.ask(f"{question} {n}", model="gpt-5.4-mini", output_tokens_max=300)

    async def main(engine, provider):
        book = speculation(engine, SpeculationSettings(allowance_usd=2.5 * USD))
        ahead = headway.prefetch(three, "a", likelihood=1.0)
        await ahead.wait()
        assert (ahead.state, provider.calls) == ("failed", 2)
        await asyncio.sleep(0.01)
        assert 0.0 < book.stats()["wasted_usd"] <= 2.5 * USD

    played(main)


def test_a_real_call_pays_for_itself_where_the_prefetch_may_not():
    """Who joins a prefetch that has no money left asks by itself, and is answered."""

    async def main(engine, provider):
        speculation(engine, SpeculationSettings(allowance_usd=USD))
        ahead = headway.prefetch(answer, "a", likelihood=1.0)
        assert await turn("a") == "a good answer"
        assert (ahead.state, provider.calls) == ("failed", 1)
        stats = speculation(engine).stats()
        assert (stats["joined"], stats["wasted_usd"]) == (0, 0.0)

    played(main)


def test_a_real_call_that_is_cancelled_was_none():
    """Its prefetch went on, could not be cancelled any more, and its dollars counted as used."""

    async def main(engine, provider):
        ahead, other = (headway.prefetch(answer, name, likelihood=0.9) for name in ("a", "b"))
        await asyncio.sleep(0.2)
        turns = [asyncio.create_task(turn(name)) for name in ("a", "b")]
        await asyncio.sleep(0.2)
        ahead.cancel()  # not now, for somebody waits for it
        await asyncio.sleep(0.2)
        assert ahead.state == "under way"
        for one in turns:
            one.cancel()
        await asyncio.gather(*turns, return_exceptions=True)
        await asyncio.sleep(10.0)
        assert (ahead.state, other.state, provider.aborted) == ("cancelled", "ready", 1)
        stats = speculation(engine).stats()
        assert (stats["joined"], stats["used_usd"], stats["ready"], stats["cancelled"]) == (0, 0.0, 1, 1)
        await turn("b")
        stats = speculation(engine).stats()
        assert (stats["hits"], stats["ready_usd"], other.state, provider.calls) == (1, 0.0, "used", 2)

    played(main)


def test_of_equal_real_calls_any_may_find_it():
    """One of two that joined is cancelled, the other one has the answer: joined once, and used."""

    async def main(engine, provider):
        ahead = headway.prefetch(answer, "a", likelihood=0.9)
        await asyncio.sleep(0.2)
        turns = [asyncio.create_task(turn("a")) for _ in range(3)]
        await asyncio.sleep(0.2)
        turns[0].cancel()
        assert (await asyncio.gather(*turns, return_exceptions=True))[1:] == ["a good answer"] * 2
        await ahead.wait()
        await asyncio.sleep(0.01)
        stats = speculation(engine).stats()
        assert (ahead.state, stats["joined"], stats["hit_rate"], provider.calls) == ("used", 1, 1.0, 1)

    played(main)


def test_a_call_of_a_program_of_its_own_that_fails_was_none():
    """`asked` without `ended`: with the end of its task the prefetch is free for the next."""

    async def main(engine, provider):
        ahead = headway.prefetch(answer, "a", likelihood=0.9)
        await ahead.wait()

        async def failing() -> None:
            assert asked(answer, ("a",), {}).speculative
            raise ValueError

        await asyncio.gather(asyncio.create_task(failing()), return_exceptions=True)
        await asyncio.sleep(0.01)
        assert (ahead.state, ahead.asked) == ("ready", 0)

    played(main)


def test_no_run_begins_inside_of_a_prefetch():
    """A pure step that calls a pipeline ran that ahead, with steps in it that do things."""
    done: list[str] = []

    @headway.step
    async def mail(text: str) -> None:
        done.append(text)

    @headway.pipeline
    async def mailing(text: str) -> None:
        return mail(text)

    @headway.step(pure=True)
    async def sends(text: str) -> None:
        await mailing(text)

    @headway.pipeline
    async def real(text: str) -> None:
        return sends(text)

    async def main(engine, provider):
        ahead = headway.prefetch(sends, "ahead", likelihood=1.0)
        await ahead.wait()
        await asyncio.sleep(0.01)
        assert "pipeline 'mailing' does not run inside of step 'sends' while that is fetched ahead" in ahead.why
        assert (ahead.state, speculation(engine).stats()["failed"]) == ("failed", 1)
        await real("asked for")
        assert done == ["asked for"]

    played(main)


@pytest.mark.parametrize("wrong", ["0.5", None, float("nan"), True, 2, -1])
def test_a_likelihood_that_is_none_is_a_sentence(wrong):
    """Text was a TypeError of Python's own."""

    async def main(engine, provider):
        with pytest.raises(ConfigError, match="likelihood must be a number from 0 to 1"):
            headway.prefetch(answer, "a", likelihood=wrong)
        with pytest.raises(ConfigError, match="saving_s must be a number from 0"):
            headway.prefetch(answer, "a", likelihood=0.5, saving_s="2 s")
        with pytest.raises(ConfigError, match="usd_per_s must be a number from 0"):
            SpeculationSettings(usd_per_s="0.1")

    played(main)


def test_sums_end_at_nothing():
    """Dollars of what is there and not asked for ended at -5.6e-17."""

    async def main(engine, provider):
        for n in range(7):
            await headway.prefetch(answer, str(n), likelihood=0.9).wait()
        for n in (3, 0, 6, 1, 5, 2, 4):
            await turn(str(n))
        stats = speculation(engine).stats()
        assert (stats["ready"], stats["ready_usd"], stats["hits"]) == (0, 0.0, 7)

    played(main)


def test_a_step_in_a_thread_asks_on_the_books_own_loop():
    """A plain step with a client of its own thread: what its request may cost is judged, and settled, on this loop."""

    async def main():
        over = asyncio.Event()

        @headway.step(pure=True)
        async def waits() -> None:
            await over.wait()

        async with headway.Engine(handler=FakeProvider(), cache="memory", log="off") as engine:
            with headway.using(engine):
                ahead = headway.prefetch(waits, likelihood=0.9, cost_usd=0.0)
                stake, trace = Stake(speculation(engine), ahead), Trace("attempt", "x", 0.0, 0.0)
                trace.dollars = 0.001

                async def take() -> None:
                    settle = await stake.take(None, 0.002, 100)
                    assert (ahead.reserved_usd, ahead.trying_usd) == (0.002, 0.002)
                    settle(trace)
                    with pytest.raises(headway.BudgetExceeded, match="may cost up to"):
                        await stake.take(None, 1.0, 100)
                    stake.book(0.003)

                await asyncio.to_thread(lambda: asyncio.run(take()))
                await asyncio.sleep(0)
                assert (ahead.trying_usd, ahead.tried_usd, ahead.dollars) == (0.0, 0.004, 0.003)
                over.set()
                await ahead.wait()
                with pytest.raises(headway.BudgetExceeded, match="is over"):
                    await stake.take(None, 0.0, 1)

    asyncio.run(main())


def test_a_thread_that_is_left_behind_sends_nothing():
    """A plain step's thread outlives its cancelled prefetch: what it asks then is refused, not paid by nobody's budget."""
    begun, go_on, left, told = threading.Event(), threading.Event(), threading.Event(), []

    @headway.step(pure=True)
    def asks(question: str) -> None:
        begun.set()
        go_on.wait(30.0)
        try:
            asyncio.run_coroutine_threadsafe(engine_of[0].send("/v1/responses", BODY), loop_of[0]).result(30.0)
        except headway.HeadwayError as error:
            told.append(type(error).__name__)
        left.set()

    engine_of, loop_of = [], []

    async def main() -> int:
        provider = FakeProvider()
        async with headway.Engine(handler=provider, cache="memory", log="off", log_level="off") as engine:
            engine_of.append(engine)
            loop_of.append(asyncio.get_running_loop())
            with headway.using(engine):
                ahead = headway.prefetch(asks, "a", likelihood=0.9, saving_s=100.0)
                await asyncio.to_thread(begun.wait, 30.0)
                ahead.cancel()
                await ahead.wait()
                go_on.set()
                await asyncio.to_thread(left.wait, 30.0)
            return provider.calls

    assert asyncio.run(main()) == 0
    assert told == ["Closed"]
