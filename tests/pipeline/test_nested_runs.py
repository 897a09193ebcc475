"""A run that is started inside of another's step: bounded by what surrounds the step, paid and counted there as well."""

from __future__ import annotations

import asyncio

import openai
import pytest

import headway
from headway import BudgetExceeded, DeadlineExceeded
from headway.engine.current import engine_in_use
from headway.errors import HeadwayError
from headway.pipeline import pipeline, step
from headway.store.call_reader import CallLogReader
from headway.testing import FakeProvider, virtual_run
from headway.testing import Step as Answer
from tests.engine.helpers import engine

from .plumbing import later


@step
async def asks(number):
    return await headway.ask(f"q{number}", model="gpt-5.4-mini", output_tokens_max=100)


@pipeline(log=False)
async def inner(count):
    return asks.map(range(count))


def nested(outer_options, inner_options, fn=None):
    """What came of a run inside of a step, each with bounds: the result or error, the provider, the two runs."""
    provider = FakeProvider([Answer(delay_s=1.0)])
    runs = {}

    @step
    async def wraps():
        async with pipeline(fn or inner.fn, name="inner", log=False).run(*([] if fn else [2]), **inner_options) as run:
            runs["inner"] = run
            return await run.result()

    @pipeline(log=False)
    async def whole():
        return wraps()

    async def main():
        async with engine(provider) as e:
            runs["outer"] = whole.run(engine=e, **outer_options)
            try:
                async with runs["outer"] as run:
                    return await run.result()
            except HeadwayError as error:
                return error

    return virtual_run(main), provider, runs


def test_its_calls_are_counted_where_it_was_started():
    """In the step's row and the outer run's; its own rows have them too, and name the step."""
    result, _, runs = nested({}, {})
    run, inside = runs["outer"], runs["inner"]
    assert result == ["ok", "ok"]
    whole, wraps = run.rows()
    assert (whole.calls, wraps.calls, inside.rows()[0].calls) == (2, 2, 2)
    assert run.dollars == wraps.dollars == pytest.approx(inside.dollars)
    assert run.dollars > 0
    assert {row.outer for row in inside.rows()} == {f"{run.id}/wraps#0"}
    assert {row.outer for row in run.rows()} == {""}
    assert inside.id != run.id


def test_the_outer_budget_holds_for_it():
    """It had none of its own, and spent what it liked."""
    error, provider, runs = nested({"budget_usd": 0.000001}, {})
    assert isinstance(error, BudgetExceeded)
    assert (provider.calls, runs["outer"].dollars) == (0, 0.0)


def test_each_call_is_paid_from_both_budgets():
    """The tighter one holds, whichever it is; nothing stays set aside."""
    for tight, wide in (({"budget_usd": 1.0}, {"budget_usd": 1e-6}), ({"budget_usd": 1e-6}, {"budget_usd": 1.0})):
        error, provider, _ = nested(tight, wide)
        assert isinstance(error, BudgetExceeded)
        assert provider.calls == 0
    result, provider, runs = nested({"budget_usd": 1.0}, {"budget_usd": 0.5})
    assert (result, provider.calls) == (["ok", "ok"], 2)
    for run in runs.values():
        allowance = run._crew.bounds.allowance
        assert (allowance.spent, allowance.reserved) == (pytest.approx(runs["outer"].dollars), 0.0)


def test_the_earlier_deadline_holds():
    """For its calls, and for what it gives up; a later one of its own changes nothing."""

    async def slow():
        return later(1, 100.0)

    error, _, runs = nested({"deadline_s": 5.0}, {"deadline_s": 50.0}, fn=slow)
    assert isinstance(error, DeadlineExceeded)
    assert runs["inner"]._crew.bounds.deadline_at_s == pytest.approx(5.0)
    assert runs["inner"].rows()[0].end_s == pytest.approx(5.0)
    _, provider, _ = nested({"deadline_s": 5.0}, {})
    assert [call.deadline_at_s for call in provider.seen] == [pytest.approx(5.0)] * 2


def test_smaller_models_and_the_session_are_taken_over():
    """What the step would ask, its run asks."""
    provider = FakeProvider()

    @step
    async def plain():
        return await headway.ask("q", model="gpt-5.4-mini", output_tokens_max=10)

    @pipeline(log=False)
    async def asking():
        return plain()

    @step(smaller={"gpt-5.4-mini": "gpt-5.4-nano"})
    async def wraps():
        return await asking()

    @pipeline(log=False, deadline_s=10.0, degrade=headway.Degrade())
    async def whole():
        await later(1, 6.0)
        return wraps()

    async def main():
        async with engine(provider) as e, whole.run(engine=e, session="s") as run:
            await run.result()

    virtual_run(main)
    assert [(call.view.model, call.tags.session) for call in provider.seen] == [("gpt-5.4-nano", "s")]


def test_a_run_without_models_opens_no_engine_and_writes_no_log(tmp_path, monkeypatch):
    """That cost 26 ms a run, and a file; one with an engine has its rows."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("HEADWAY_LOG", raising=False)
    monkeypatch.chdir(tmp_path)

    @step
    async def adds(one):
        return one + 1

    @pipeline
    async def sums():
        return adds(1)

    async def main():
        assert await sums() == 2
        assert engine_in_use() is None
        assert not list(tmp_path.iterdir())
        async with headway.Engine(handler=FakeProvider(), log=str(tmp_path / "l.sqlite"), log_level="off") as e:
            with headway.using(e):
                await sums()

    asyncio.run(main())
    with CallLogReader(tmp_path / "l.sqlite") as log:
        assert [row.step for row in log.steps()] == ["", "adds"]


def test_the_threads_of_a_run_that_failed_send_nothing_more():
    """A plain step's loop went on with six calls, without tags and budget, after a sibling had failed."""
    provider, told = FakeProvider(), []

    async def main():
        going_on, seen, over = asyncio.Event(), asyncio.Event(), asyncio.Event()
        loop = asyncio.get_running_loop()

        @step
        def loops():
            http_client = headway.client(handler=provider, log="off", log_level="off")
            with openai.OpenAI(api_key="k", max_retries=0, http_client=http_client) as client:
                client.responses.create(model="gpt-5.4-mini", input="a", max_output_tokens=10)
                loop.call_soon_threadsafe(seen.set)
                asyncio.run_coroutine_threadsafe(going_on.wait(), loop).result()
                try:
                    client.responses.create(model="gpt-5.4-mini", input="b", max_output_tokens=10)
                except openai.APIError as error:
                    told.append(str(error.__cause__))
            loop.call_soon_threadsafe(over.set)

        @step
        async def fails():
            await seen.wait()
            raise ValueError("a sibling")

        @pipeline(log=False, budget_usd=1.0)
        async def whole():
            return [loops(), fails()]

        with pytest.raises(ValueError, match="a sibling"):
            await whole()
        going_on.set()
        await over.wait()

    asyncio.run(main())
    assert provider.calls == 1
    assert "goes on in its thread although the run" in told[0]
