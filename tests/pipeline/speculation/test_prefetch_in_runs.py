"""Prefetching and runs: what a run's step finds there is shown, and what it fetched ahead ends with it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

import headway
from headway.errors import ConfigError
from headway.pipeline.speculation import asked
from headway.store.call_reader import CallLogReader
from headway.testing import FakeProvider, Step, virtual_run

SLOW = Step(delay_s=2.0, text="a good answer", input_tokens=1_000, output_tokens=300)


@headway.step(pure=True)
async def answer(question: str) -> str:
    return await headway.ask(question, model="gpt-5.4-mini")


@headway.step
async def wait(seconds: float) -> None:
    await asyncio.sleep(seconds)


@headway.pipeline
async def turn(question: str) -> str:
    return answer(question)


def played(main, *, script=(SLOW,), **settings):
    """Run it on virtual time with an engine whose cache is on; the provider."""
    provider = FakeProvider(list(script))

    async def run():
        given = {"cache": "memory", "log": "off", "seed": 1} | settings
        async with headway.Engine(handler=provider, **given) as engine:
            with headway.using(engine):
                await main(engine, provider)

    virtual_run(run)
    return provider


def test_a_run_finds_what_was_fetched_ahead():
    """The next run's step takes no time, its row says that it was speculative, and what it saved is counted."""

    async def main(engine, provider):
        first = turn.run("first?", session="s")
        async with first as run:
            assert await run.result() == "a good answer"
            headway.prefetch(answer, "next?", likelihood=0.9, until="engine")
        await asyncio.sleep(10.0)
        began_s = asyncio.get_running_loop().time()
        async with turn.run("next?", session="s") as run:
            assert await run.result() == "a good answer"
        assert asyncio.get_running_loop().time() - began_s < 0.01
        _, row = run.rows()
        assert (row.speculative, row.hits, row.dollars) == (True, 1, 0.0)
        assert [row.speculative for row in first.rows()] == [False, False]
        stats = headway.speculation().stats()
        assert (stats["hits"], provider.calls) == (1, 2)
        assert stats["saved_s"] == pytest.approx(2.0, abs=0.01)

    played(main)


def test_a_run_joins_what_is_under_way():
    """A branch that is prefetched while the run finds out whether it is wanted: waited for the rest only."""

    @headway.pipeline
    async def branches() -> str:
        ahead = headway.prefetch(answer, "likely?", likelihood=0.8)
        assert ahead
        await wait(1.5)
        return answer("likely?")

    async def main(engine, provider):
        loop = asyncio.get_running_loop()
        began_s = loop.time()
        async with branches.run() as run:
            assert await run.result() == "a good answer"
        assert loop.time() - began_s == pytest.approx(2.0, abs=0.01)
        assert [(row.step, row.speculative) for row in run.rows()[1:]] == [("wait", False), ("answer", True)]
        assert (provider.calls, headway.speculation().stats()["joined"]) == (1, 1)

    played(main)


def test_a_run_ends_what_it_fetched_ahead():
    """Nobody came for it: it is cancelled with the run, upstream too, and counted; until="engine" goes on."""

    @headway.pipeline
    async def branches(until: str | None) -> None:
        headway.prefetch(answer, f"likely? {until}", likelihood=0.99, until=until)
        await wait(0.5)

    async def main(engine, provider):
        headway.speculation(settings=headway.SpeculationSettings(allowance_usd=1.0))
        await branches(None)
        await asyncio.sleep(0.01)
        stats = headway.speculation().stats()
        assert (stats["cancelled"], stats["under_way"], provider.aborted) == (1, 0, 1)
        await branches("engine")
        outer = headway.prefetch(answer, "likely? None", likelihood=0.9)
        await branches(None)  # it was there before, so that run does not end it
        await asyncio.sleep(5.0)
        assert outer.state == "ready"
        assert headway.speculation().stats()["ready"] == 2

    played(main)


def test_the_log_tells_runs_and_prefetches_apart(tmp_path):
    """A prefetch's calls have the run's id, and a step of their own; what follows what is learned without them."""
    path = tmp_path / "calls.sqlite"

    async def main(engine, provider):
        for session in range(10):
            for question in ("a", "b"):
                async with turn.run(f"{question} {session}", session=str(session)) as run:
                    await run.result()
                headway.prefetch(answer, f"c {session}", likelihood=0.9)
            await asyncio.sleep(5.0)

    played(main, log=str(path))
    with CallLogReader(path) as reader:
        steps = {row.step for row in reader.calls()}
        follows = headway.Follows.learn(reader, pipeline="turn")
    assert steps == {"answer#0", "prefetch:answer"}
    [likely] = follows.next("answer")
    assert likely.step == "answer"
    assert 0.3 < likely.likelihood < 0.6  # every other answer ends the session


def test_a_step_that_keeps_results_is_served_from_there():
    """What has no model in it is kept by `cache_s`; of a stream, its chunks."""
    ran: list[str] = []

    @headway.step(pure=True, cache_s=60.0)
    async def look_up(key: str) -> str:
        ran.append(key)
        await asyncio.sleep(1.0)
        return key.upper()

    @headway.step(pure=True, cache_s=60.0)
    async def spell(word: str) -> AsyncIterator[str]:
        for letter in word:
            ran.append(letter)
            yield letter

    @headway.pipeline
    async def both() -> tuple[str, str]:
        return look_up("a"), spell("xy")

    async def main(engine, provider):
        for ahead in (
            headway.prefetch(look_up, "a", likelihood=0.9),
            headway.prefetch(spell, "xy", likelihood=0.9, saving_s=1.0, cost_usd=0.0),
        ):
            await ahead.wait()
            assert ahead.state == "ready"
        assert await both() == ("A", "xy")
        assert ran == ["a", "x", "y"]
        assert headway.speculation().stats()["hits"] == 2

    played(main)


def test_a_prefetched_step_belongs_to_no_run():
    """What it calls is nobody's: another step inside of it fails there, and not in the run that prefetched it."""

    @headway.step(pure=True)
    async def outer() -> None:
        await answer("inner")

    @headway.step(pure=True)
    async def reader(text: headway.Stream[str]) -> str:
        return "".join([piece async for piece in text])

    @headway.pipeline
    async def guesses() -> str:
        ahead = headway.prefetch(outer, likelihood=0.9)
        await ahead.wait()
        with pytest.raises(ConfigError, match="'reader' reads a stream"):
            headway.prefetch(reader, "text", likelihood=0.9)
        return ahead.state

    async def main(engine, provider):
        async with guesses.run() as run:
            assert await run.result() == "failed"
        assert len(run.rows()) == 1

    played(main)


def test_not_from_a_thread():
    """A plain step runs in a thread, where nothing can be started; a sentence says where it can."""

    @headway.step
    def plain() -> str:
        with pytest.raises(ConfigError, match="no event loop in this thread; fetch 'answer' ahead in the pipeline's"):
            headway.prefetch(answer, "a", likelihood=0.9)
        return "told"

    @headway.pipeline
    async def threads() -> str:
        return plain()

    async def main():
        async with headway.Engine(handler=FakeProvider(), cache="memory", log="off") as engine:
            with headway.using(engine):
                assert await threads() == "told"

    asyncio.run(main())


def test_real_calls_teach_what_a_step_takes():
    """A real run's seconds and dollars are what the next guess is judged by."""

    async def main(engine, provider):
        headway.speculation()
        await turn("real")
        ahead = headway.prefetch(answer, "next", likelihood=0.9)
        assert ahead
        assert ahead.expected_usd == pytest.approx(1_000 * 0.75e-6 + 300 * 4.5e-6, rel=0.2)
        assert asked(wait, (1.0,), {}) is None

    played(main)
