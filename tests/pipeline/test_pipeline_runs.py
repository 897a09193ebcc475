"""Runs: one owner of every call, one error that surfaces, and what becomes of what nobody wants any more."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import traceback
from collections.abc import AsyncIterator

import pytest

import headway
from headway.errors import ConfigError, DeadlineExceeded, HeadwayError
from headway.pipeline import Stream, current_run, pipeline, step
from headway.policy.degrade import Degrade
from headway.testing import FakeProvider, Step, virtual_run
from tests.pipeline.plumbing import both, failing, later, now_s, ran, told


@step
async def broken(after_s=1.0, error=ValueError("no")):  # noqa: B008
    await asyncio.sleep(after_s)
    raise error


def outcomes(rows):
    return [row.outcome for row in rows]


def test_all_that_a_function_may_return():
    """A handle, a structure with handles, a value, nothing, chunks; `async def` or not."""

    async def structure():
        return {"a": later(1), "b": [(later(2), 3)], "c": later.map([4, 5])}

    async def chunks():
        yield "a"
        yield await later("b")

    def plain():
        return later("x")

    async def nothing():
        later("x")

    assert ran(structure)[0] == {"a": 1, "b": [(2, 3)], "c": [4, 5]}
    assert ran(chunks)[0] == "ab"
    assert ran(plain)[0] == "x"
    result, rows, took_s = ran(nothing)
    assert (result, took_s, rows["later"][0].outcome) == (None, 1.0, "ok")


def test_the_package_is_the_decorator_as_well():
    """`headway.pipeline` is a package and a decorator of the same name, whichever is imported first."""
    code = """
import headway
@headway.pipeline
async def first(): return 1
import headway.pipeline.run
@headway.pipeline(log=False)
async def second(): return 2
from headway import pipeline
from headway.pipeline import Run, pipeline as inner
@pipeline(log=False)
async def third(): return 3
print(second.run_sync() + third.run_sync(), isinstance(first.run(), headway.Run), headway.step is not None)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == ("5 True True\n", "")


def test_the_three_ways_to_run():
    """Awaited, opened, and from a program without an event loop."""

    @pipeline(name="doubled", log=False)
    async def double(value: int, times: int = 2):
        run = current_run()
        assert run is not None
        return later(value * times, 0.0)

    async def main():
        with pytest.raises(ConfigError, match="run_sync was called on an event loop"):
            double.run_sync(1)
        run = double.run(1, times=3)
        assert (run.id, run.rows(), run.dollars) == ("", [], 0.0)
        with pytest.raises(ConfigError, match="asked for before the run was opened"):
            await run.result()
        async with run:
            assert len(run.id) == 16
            assert [chunk async for chunk in run.stream()] == [3]
            assert await run.result() == 3
        assert await run.result() == 3
        assert [chunk async for chunk in run.stream()] == [3]
        with pytest.raises(ConfigError, match="was opened before"):
            async with run:
                pass
        return await double(2)

    assert virtual_run(main) == 4
    assert double.run_sync(5, times=1) == 5


def test_one_error_surfaces_as_it_was_raised():
    """No group around it, the very object, with a note of where it was; siblings are cancelled."""
    error = ValueError("no")

    async def main():
        return both(later("x", 10.0), broken(1.0, error))

    raised, rows, took_s = failing(main)
    assert raised is error
    assert took_s == 1.0
    assert outcomes(rows) == ["failed", "cancelled", "failed", "cancelled"]
    text = "".join(traceback.format_exception(raised))
    assert "in step 'broken#1' of pipeline 'test' (run " in text


def test_errors_in_the_same_moment_are_one():
    """The first is raised; the others are cancelled where they stand, and raise nothing any more."""

    async def main():
        broken(1.0, KeyError("first")), broken(1.0, ValueError("second"))
        await later("x", 5.0)

    error, rows, took_s = failing(main)
    assert isinstance(error, KeyError)
    assert took_s == 1.0
    assert [note.partition(" of ")[0] for note in error.__notes__] == ["in step 'broken#0'"]
    assert [(row.outcome, row.error) for row in rows[1:3]] == [("failed", "KeyError"), ("cancelled", "")]


def test_the_error_is_told_once():
    """By result or stream; at the end of the block only where neither has."""

    @pipeline(log=False)
    async def main():
        return broken()

    async def handled():
        async with main.run() as run:
            with pytest.raises(ValueError, match="no"):
                await run.result()
            with pytest.raises(ValueError, match="no"):
                [chunk async for chunk in run.stream()]
        with pytest.raises(ValueError, match="no"):
            await run.result()

    async def unseen():
        with pytest.raises(ValueError, match="no"):
            async with main.run():
                pass

    virtual_run(handled)
    virtual_run(unseen)


def test_an_error_after_the_first_chunks_is_raised_in_their_place():
    """A reader of the run's stream gets what there was, then the error itself, without another as its context."""

    @step
    async def breaks() -> AsyncIterator[str]:
        yield "a"
        await asyncio.sleep(1)
        raise KeyError("broken")

    @pipeline(log=False)
    async def main():
        return breaks()

    async def second_of(run):
        stream = run.stream()
        await anext(stream)
        return await anext(stream)

    async def run():
        read = []
        async with main.run() as run:
            with pytest.raises(KeyError) as raised:
                async for chunk in run.stream():
                    read.append(chunk)
        assert read == ["a"]
        assert raised.value.__context__ is None
        with pytest.raises(KeyError):
            async with main.run() as run:
                task = asyncio.create_task(second_of(run))
                await asyncio.sleep(1.0)
                task.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await task
                await run.result()
        return 1

    assert virtual_run(run) == 1


def test_the_functions_own_error_cancels_its_steps():
    """What it called is not wanted without it."""

    async def main():
        later("x", 10.0)
        await later("y", 1.0)
        raise KeyError("own")

    error, rows, took_s = failing(main)
    assert isinstance(error, KeyError)
    assert took_s == 1.0
    assert outcomes(rows) == ["failed", "cancelled", "ok"]


def test_a_failed_step_cancels_upstream_calls():
    """The provider's stream is closed, no call is left open."""
    provider = FakeProvider([Step(delay_s=30.0)])

    @step
    async def asked(number):
        reply = await engine.send("/v1/responses", {"model": "m", "input": f"x{number}"})
        return (await reply.read()).decode()

    @pipeline(log=False)
    async def main():
        return [asked.map(range(3)), broken()]

    async def run():
        nonlocal engine
        async with headway.Engine(handler=provider) as engine:
            with pytest.raises(ValueError, match="no"):
                await main()
            assert now_s() == 1.0
        assert (provider.calls, provider.open, provider.aborted) == (3, 0, 3)

    engine = None
    virtual_run(run)


def test_calls_are_summed_by_step_and_run_and_tagged():
    """Tokens, attempts and dollars of the step that made them; tags of the run in the call log."""
    provider = FakeProvider([Step(input_tokens=7, output_tokens=3)])

    @step
    async def asked(text):
        reply = await engine.send("/v1/responses", {"model": "gpt-5-mini", "input": text})
        await reply.read()
        return text

    @pipeline(name="tagged", log=False)
    async def main():
        return asked.map("ab")

    async def run():
        nonlocal engine
        async with headway.Engine(handler=provider) as engine:
            async with main.run(session="s1", engine=engine) as run:
                await run.result()
            return run, run.rows()

    engine = None
    run, rows = virtual_run(run)
    assert [(row.calls, row.attempts, row.input_tokens, row.output_tokens) for row in rows] == [
        (2, 2, 14, 6),
        (1, 1, 7, 3),
        (1, 1, 7, 3),
    ]
    assert run.dollars == pytest.approx(sum(row.dollars for row in rows[1:]))
    assert {call.tags.step for call in provider.seen} == {"asked#0", "asked#1"}
    assert {(call.tags.run, call.tags.parent, call.tags.session) for call in provider.seen} == {
        (run.id, "tagged", "s1")
    }


def test_a_deadline_ends_the_run():
    """Everything is cancelled, one error says which deadline."""

    async def main():
        return both(later("x", 1.0), later("y", 10.0))

    error, rows, took_s = failing(main, deadline_s=3.0)
    assert isinstance(error, DeadlineExceeded)
    assert "was not done within its deadline of 3 s" in str(error)
    assert took_s == 3.0
    assert outcomes(rows) == ["deadline", "ok", "deadline", "deadline"]


def test_a_run_short_of_time_asks_smaller_models_and_leaves_out_what_is_optional():
    """As declared; what is required runs all the same."""

    @step(optional=True, default="left out")
    async def extra(after):
        return "extra"

    @step(smaller={"big": "small"})
    async def needed(after):
        reply = await engine.send("/v1/responses", {"model": "big", "input": "x"})
        await reply.read()
        return "needed"

    @pipeline(log=False, deadline_s=10.0, degrade=Degrade())
    async def main(delay_s):
        wait = later("x", delay_s)
        return extra(wait), needed(wait)

    async def run(delay_s):
        nonlocal engine
        provider = FakeProvider()
        async with headway.Engine(handler=provider) as engine, main.run(delay_s) as run:
            result = await run.result()
        return result, [(row.outcome, row.smaller) for row in run.rows()[2:]], provider.seen[0].view.model

    engine = None
    assert virtual_run(lambda: run(1.0)) == (("extra", "needed"), [("ok", False), ("ok", False)], "big")
    assert virtual_run(lambda: run(6.0)) == (("extra", "needed"), [("ok", False), ("ok", True)], "small")
    assert virtual_run(lambda: run(9.0)) == (("left out", "needed"), [("skipped", False), ("ok", True)], "small")


def test_a_budget_ends_the_run():
    """The step whose call does not fit fails with what it would have cost."""

    @step
    async def asked():
        reply = await engine.send(
            "/v1/responses", {"model": "gpt-5-mini", "input": "x" * 4000, "max_output_tokens": 1000}
        )
        return await reply.read()

    async def run():
        nonlocal engine
        async with headway.Engine(handler=FakeProvider()) as engine:
            with pytest.raises(headway.BudgetExceeded, match="run's budget_usd"):
                await pipeline(lambda: asked(), name="dear", log=False, budget_usd=0.000001)()

    engine = None
    virtual_run(run)


def test_leaving_early_cancels_what_is_left():
    """A stream half-read, an exception in the block, a cancellation from outside."""

    @pipeline(log=False)
    async def main():
        later("aside", 100.0)
        return told("abcdef")

    async def half():
        async with main.run() as run:
            async for _ in run.stream():
                break
        assert outcomes(run.rows()) == ["cancelled"] * 3
        with pytest.raises(HeadwayError, match="was left before it was done"):
            await run.result()
        return now_s()

    async def failed():
        with pytest.raises(KeyError):
            async with main.run():
                await asyncio.sleep(2)
                raise KeyError
        return now_s()

    async def cancelled():
        async def inside():
            async with main.run() as run:
                await run.result()

        task = asyncio.create_task(inside())
        await asyncio.sleep(2)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert len(asyncio.all_tasks()) == 1
        return now_s()

    assert virtual_run(half) == 1.0
    assert virtual_run(failed) == 2.0
    assert virtual_run(cancelled) == 2.0


def test_the_rest_is_waited_for_once_the_answer_is_there():
    """Steps that nobody reads run to their end; the block waits."""

    async def main():
        later("aside", 10.0)
        return later("x", 1.0)

    result, rows, took_s = ran(main)
    assert (result, took_s) == ("x", 10.0)
    assert [row.outcome for row in rows["later"]] == ["ok", "ok"]


def test_dropping_the_last_reader_cancels_the_call():
    """The reader leaves, nobody has the handle: the producer ends, and what it reads of, too."""

    @step
    async def head(text: Stream[str]) -> str:
        async for chunk in text:
            return chunk
        return ""

    @step
    async def pass_on(text: Stream[str]) -> AsyncIterator[str]:
        async for chunk in text:
            yield chunk

    async def chain():
        return head(pass_on(told("abcdefgh", 1.0, 10.0)))

    result, rows, took_s = ran(chain)
    assert (result, took_s) == ("a", 1.0)
    assert (rows["told"][0].outcome, rows["pass_on"][0].outcome) == ("cancelled", "cancelled")


def test_what_somebody_may_still_want_goes_on():
    """A second reader, a step that waits for the whole, a handle that is still held, a handle that nobody ever read."""

    @step
    async def head(text: Stream[str]) -> str:
        async for chunk in text:
            return chunk
        return ""

    async def second():
        text = told("abc")
        return both(head(text), later([text], 0.0))

    async def held():
        text = told("abc")
        first = await head(text)
        await asyncio.sleep(5)
        return first, await text

    async def loop_left():
        text = told("abc", 1.0, 10.0)
        async for _ in text:
            break
        del text
        return later("x", 3.0)

    assert ran(second)[0] == ("a", ["abc"])
    assert ran(held)[0] == ("a", "abc")
    result, rows, took_s = ran(loop_left)
    assert (result, took_s, rows["told"][0].outcome) == ("x", 4.0, "cancelled")


def test_a_failing_nested_step_fails_its_caller():
    """The one that can live with it goes on with its default; its other calls are cancelled."""

    @step(default="instead")
    async def outer():
        later("aside", 50.0)
        return await inner()

    @step
    async def inner():
        return await broken()

    async def main():
        return both(outer(), later("x", 2.0))

    result, rows, took_s = ran(main)
    assert (result, took_s) == (("instead", "x"), 2.0)
    assert [(row.step, row.outcome) for name in ("outer", "inner", "broken") for row in rows[name]] == [
        ("outer", "default"),
        ("inner", "failed"),
        ("broken", "failed"),
    ]
    assert rows["outer"][0].error == "ValueError"
    assert [row.outcome for row in rows["later"]] == ["ok", "cancelled"]


def test_a_step_that_swallows_its_cancellation_does_not_hold_the_run():
    """A warning names it after a while; the error that ended the run is the one that surfaces."""

    @step
    async def stubborn():
        while not done:
            try:
                await asyncio.sleep(1000)
            except asyncio.CancelledError:
                pass

    async def main():
        return both(stubborn(), broken())

    done = []

    async def run():
        warning = r"step 'stubborn#0' of pipeline 'test'.* let CancelledError out"
        with pytest.warns(RuntimeWarning, match=warning), pytest.raises(ValueError, match="no"):
            await pipeline(main, name="test", log=False)()
        done.append(1)
        return now_s()

    assert virtual_run(run) == 7.0  # it fails after 1 s, and is left behind 6 s later


def test_a_step_that_swallows_its_timeout_does_not_hold_the_run_either():
    """Its default stands in after a while, or its caller's does; nothing waits for it."""

    async def stubborn():
        while not done:
            try:
                await asyncio.sleep(1000)
            except asyncio.CancelledError:
                pass

    never = step(stubborn, name="never")
    late = step(stubborn, name="late", timeout_s=1.0, default="late")

    @step(timeout_s=2.0, default="outer")
    async def outer():
        return await never()

    done = []

    async def run():
        with pytest.warns(RuntimeWarning, match="did not end within 6 s") as warned:
            result = await pipeline(lambda: both(late(), outer()), name="test", log=False)()
        done.append(1)
        assert {str(one.message).split("'")[1] for one in warned} == {"late#0", "never#3"}
        return result, now_s()

    assert virtual_run(run) == (("late", "outer"), 8.0)


def test_a_swallowed_cancellation_is_no_success():
    """A step that returns after it was cancelled has no value."""

    @step(timeout_s=1.0)
    async def late():
        try:
            await asyncio.sleep(10)
        except asyncio.CancelledError:
            pass
        return "late"

    error, rows, _ = failing(lambda: late())
    assert isinstance(error, DeadlineExceeded)
    assert rows[1].outcome == "timeout"


def test_a_cancellation_from_inside_is_a_sentence():
    """Nobody had cancelled it, so nobody would be told."""

    @step
    async def odd():
        raise asyncio.CancelledError

    error, _, _ = failing(lambda: later(odd()))
    assert isinstance(error, HeadwayError)
    assert "step 'odd#0'" in str(error)
    assert "ended as cancelled" in str(error)


def test_an_error_while_being_cancelled_is_a_note():
    """The first error stays the one that surfaces."""

    @step
    async def messy():
        try:
            await asyncio.sleep(10)
        finally:
            raise KeyError("clean-up")

    error, rows, _ = failing(lambda: both(messy(), broken(1.0, ValueError("first"))))
    assert isinstance(error, ValueError)
    assert any("while it was being cancelled, messy#0 raised KeyError" in note for note in error.__notes__)
    assert outcomes(rows)[1] == "cancelled"


def test_a_run_cannot_wait_for_its_own_result():
    """Asked for by its own step it would wait for itself."""

    @step
    async def curious():
        return await current_run().result()

    error, _, _ = failing(lambda: curious())
    assert isinstance(error, ConfigError)
    assert "asked for by its own curious#0" in str(error)


def test_pipelines_nest():
    """A step may run a pipeline of its own: its steps are in that run."""

    @pipeline(name="inner", log=False)
    async def inner(value):
        return later(value)

    @step
    async def calls(value):
        return await inner(value)

    @pipeline(log=False)
    async def outer():
        return calls(later("x")), await inner("y")

    async def main():
        async with outer.run() as run:
            result = await run.result()
        assert [(row.step, row.outcome) for row in run.rows()] == [("", "ok"), ("later", "ok"), ("calls", "ok")]
        return result, now_s()

    assert virtual_run(main) == (("x", "y"), 2.0)


def test_rows_are_there_at_any_time():
    """What has not come yet is None."""

    @pipeline(name="p", log=False)
    async def main():
        return later(later("x"))

    async def run():
        async with main.run() as run:
            await asyncio.sleep(1.5)
            rows = run.rows()
            assert [(row.index, row.called_s, row.ready_s, row.end_s) for row in rows] == [
                (-1, 0.0, 0.0, None),
                (0, 0.0, 0.0, 1.0),
                (1, 0.0, 1.0, None),
            ]
            assert {row.run for row in rows} == {run.id}
        return 1

    assert virtual_run(run) == 1


def test_steps_are_written_into_the_call_log(tmp_path):
    """By the run's engine, when it ends, failed or not."""
    from headway.store.call_reader import CallLogReader

    log = tmp_path / "calls.sqlite"

    @pipeline(name="good")
    async def good():
        return later("x", 0.0)

    @pipeline(name="bad")
    async def bad():
        return broken(0.0)

    async def main():
        async with headway.Engine(handler=FakeProvider(), log=str(log)) as engine:
            await pipeline_of(good, engine)
            with pytest.raises(ValueError, match="no"):
                await pipeline_of(bad, engine)

    async def pipeline_of(made, engine):
        async with made.run(engine=engine) as run:
            return await run.result()

    asyncio.run(main())
    reader = CallLogReader(log)
    assert [(row.step, row.outcome) for row in sorted(reader.steps(pipeline="good"), key=lambda row: row.index)] == [
        ("", "ok"),
        ("later", "ok"),
    ]
    assert len(reader.steps(pipeline="bad")) == 2
