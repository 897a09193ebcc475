"""What a step's end is when it is an odd one, and what is left of a run when it is over."""

from __future__ import annotations

import asyncio
import gc
import subprocess
import sys
import threading
import weakref

import pytest

import headway
from headway.errors import HeadwayError
from headway.pipeline import current_run, pipeline, step
from headway.testing import FakeProvider, virtual_run
from tests.pipeline.plumbing import both, failing, later, now_s, ran


@step
async def broken(delay_s=1.0, error=None):
    await asyncio.sleep(delay_s)
    raise error or ValueError("secret words")


# -- CancelledError of nobody ------------------------------------------------------------------------------------------


async def cancels_itself():
    asyncio.current_task().cancel()
    await asyncio.sleep(0)


async def awaits_a_cancelled_future():
    future = asyncio.get_running_loop().create_future()
    future.cancel()
    await future


@pytest.mark.parametrize("odd", [cancels_itself, awaits_a_cancelled_future])
def test_a_cancellation_by_nobody_is_a_failure_like_any_other(odd):
    """An optional step failed the run all the same; retries and defaults were passed over."""
    tries = []

    @step(retries=1)
    async def once_more():
        tries.append(1)
        if len(tries) == 1:
            await odd()
        async with asyncio.timeout(5):  # the task is not taken for a cancelled one any more
            await asyncio.sleep(1)
        assert not asyncio.current_task().cancelling()
        return "ok"

    result, rows, _ = ran(lambda: [step(odd, name="odd", optional=True)(), once_more()])
    assert result == [None, "ok"]
    assert (rows["odd"][0].outcome, rows["odd"][0].error) == ("default", "HeadwayError")
    error, _, _ = failing(lambda: step(odd, name="odd")())
    assert isinstance(error, HeadwayError)
    assert any("in step 'odd#0'" in note for note in error.__notes__)


# -- groups and interrupts ---------------------------------------------------------------------------------------------


def test_a_failed_call_in_a_task_group_is_itself():
    """It came out in an ExceptionGroup of as many as were under way."""
    mine = KeyError("mine")

    @step
    async def fails(error):
        raise error

    async def one(error):
        await fails(error)

    @step
    async def group():
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(one(mine))
            tasks.create_task(one(ValueError("other")))

    async def main():
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(one(mine))

    for fn in (lambda: group(), main):
        error, rows, _ = failing(fn)
        assert error is mine
        assert rows[0].error == "KeyError"
        assert not any("Group" in note for note in error.__notes__)


def test_a_group_of_the_steps_own_stays_one():
    """What no call of a step has to do with is raised as it is."""

    async def fails():
        raise ValueError("own")

    @step
    async def group():
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(fails())

    error, _, _ = failing(lambda: group())
    assert isinstance(error, ExceptionGroup)


class Odd(BaseException):
    """As libraries have them."""


@pytest.mark.parametrize("depth", [0, 1, 3])
def test_an_interrupt_in_a_nested_step_is_not_lost(depth):
    """It surfaced as "nobody had cancelled it". No default stands in for one."""

    @step(default="kept on", retries=2)
    async def nest(below):
        if not below:
            raise odd
        return await nest(below - 1)

    odd = Odd("x")
    made = pipeline(lambda: [nest(depth), later("x", 9.0)], name="test", log=False)

    async def main():
        run = made.run()
        with pytest.raises(Odd) as raised:
            async with run:
                await run.result()
        assert raised.value is odd
        assert [row.outcome for row in run.rows()[1:]].count("failed") == depth + 1
        gc.collect()  # nothing is told of a task whose exception nobody has retrieved
        return now_s()

    said = []

    async def heard():
        asyncio.get_running_loop().set_exception_handler(lambda _, context: said.append(context))
        return await main()

    assert virtual_run(heard) == 0.0
    assert said == []


PROGRAM = """
from headway.pipeline import pipeline, step

@step
async def stops():
    raise {error}

@step
async def nest():
    return await stops()

@pipeline(log=False)
async def main():
    return nest()

main.run_sync()
"""


@pytest.mark.parametrize(("error", "code"), [("SystemExit(3)", 3), ("KeyboardInterrupt", None)])
def test_a_program_that_is_stopped_in_a_step_stops_quietly(error, code):
    """With its code, and without a word of tasks and exceptions."""
    ended = subprocess.run(
        [sys.executable, "-c", PROGRAM.format(error=error)], capture_output=True, text=True, timeout=60, check=False
    )
    assert "never retrieved" not in ended.stderr
    assert ended.returncode == code if code else "KeyboardInterrupt" in ended.stderr


# -- what is told ------------------------------------------------------------------------------------------------------


def test_the_blocks_own_error_tells_of_the_runs():
    """It hid it: the run's failure was in no context and no note."""
    made = pipeline(lambda: [broken(), later("x", 5.0)], name="test", log=False)

    async def main(asks):
        with pytest.raises(KeyError) as raised:
            async with made.run() as run:
                if asks:
                    with pytest.raises(ValueError, match="secret"):
                        await run.result()
                await asyncio.sleep(2)
                raise KeyError("mine")
        return getattr(raised.value, "__notes__", [])

    [told] = virtual_run(lambda: main(asks=False))
    assert told.startswith("the run had failed before, with ValueError in step 'broken#0' of pipeline 'test'")
    assert "secret" not in told
    assert virtual_run(lambda: main(asks=True)) == []


def test_notes_do_not_pile_up():
    """A thousand steps that fail while they clean up, and one error object that is raised over and over."""
    shared = ValueError("shared")

    @step
    async def messy(number):
        try:
            await asyncio.sleep(9)
        finally:
            raise KeyError(number)

    error, _, _ = failing(lambda: [messy.map(range(1000)), broken()])
    assert len(error.__notes__) == 5
    assert "in step 'broken#1000'" in error.__notes__[0]
    for at in range(20):
        failing(lambda at=at: [*(later("x", 9.0) for _ in range(at)), broken(0.0, shared)])
    assert len(shared.__notes__) == 5
    assert "in step 'broken#19'" in shared.__notes__[-1]  # the newest place is among them


def test_a_second_failure_is_a_note_without_its_words():
    """What a step raises while the run ends may hold a prompt; a deadline that comes meanwhile is no failure."""

    @step
    async def slow_to_end():
        try:
            await asyncio.sleep(9)
        finally:
            await asyncio.sleep(3)

    @step
    async def interrupts():
        try:
            await asyncio.sleep(9)
        finally:
            raise Odd("secret prompt")

    error, rows, took_s = failing(lambda: [slow_to_end(), interrupts(), broken()], deadline_s=2.0)
    assert (type(error), took_s) == (ValueError, 4.0)
    assert len(error.__notes__) == 2
    assert error.__notes__[1] == "while it was being cancelled, interrupts#1 raised Odd"
    assert rows[0].outcome == "failed"


def test_the_row_of_a_run_that_was_cut_off_says_so():
    """It said "ok" where the function had returned and steps were under way, though the caller got TimeoutError."""

    async def main():
        later("aside", 50.0)
        return "x"

    made = pipeline(main, name="test", log=False)

    async def cut(how):
        run = made.run()
        with pytest.raises((TimeoutError, KeyError)):
            async with asyncio.timeout(2):
                async with run:
                    assert await run.result() == "x"
                    if how == "raises":
                        await asyncio.sleep(1)
                        raise KeyError
        whole = run.rows()[0]
        return whole.outcome, whole.end_s

    async def whole():
        with pytest.raises(KeyError):
            async with made.run() as run:
                await asyncio.sleep(60)
                raise KeyError
        return run.rows()[0].outcome, run.rows()[0].end_s

    assert virtual_run(lambda: cut("waits")) == ("cancelled", 2.0)
    assert virtual_run(lambda: cut("raises")) == ("cancelled", 1.0)
    assert virtual_run(whole) == ("ok", 0.0)


def test_a_closed_engine_does_not_drop_steps_without_a_word(tmp_path):
    """They are not in the log, and that is said."""

    async def main():
        engine = headway.Engine(handler=FakeProvider(), log=str(tmp_path / "log"))
        made = pipeline(lambda: later("x"), name="test", engine=engine)
        async with made.run() as run:
            await run.result()
            await engine.aclose()

    with pytest.warns(RuntimeWarning, match="is not in the call log: its engine was closed before the run had ended"):
        virtual_run(main)


# -- what is left of it ------------------------------------------------------------------------------------------------


def test_nothing_that_outlives_a_run_holds_on_to_it():
    """A pooled connection keeps the context that it was opened in, and with it kept the run, its prompts and values."""

    class Words(list):
        pass

    pool = []

    @step
    async def connects(words):
        pool.append(asyncio.get_running_loop().create_task(asyncio.sleep(1e6)))  # with a context like a transport's
        return Words(words)

    @step
    async def looks(words, more):
        await connects(more)
        pool.append(asyncio.get_running_loop().create_task(asyncio.sleep(1e6)))
        assert current_run() is not None
        return Words(words)

    @pipeline(log=False)
    async def main(words, fails):
        pool.append(asyncio.get_running_loop().create_task(asyncio.sleep(1e6)))
        first = connects(words)
        if fails:
            await broken()
        return looks(words, first)

    async def once(fails):
        words = Words("secret")
        run = main.run(words, fails=fails)
        if fails:
            with pytest.raises(ValueError, match="secret"):
                async with run:
                    await run.result()
            return weakref.ref(words), weakref.ref(run)
        async with run:
            result = await run.result()
        return weakref.ref(words), weakref.ref(run), weakref.ref(result)

    async def several():
        held = [*await once(fails=False), *await once(fails=True)]
        gc.collect()
        assert [one() for one in held] == [None] * 5
        for task in pool:
            assert not task.done()
            task.cancel()
        return len(await asyncio.gather(*pool, return_exceptions=True))

    assert virtual_run(several) == 6


def test_what_goes_on_after_the_run_is_told_that_it_is_over():
    """A task that a step has left behind may still run other pipelines, but calls no step of this one."""
    said = []

    @pipeline(log=False)
    async def other():
        return later("other")

    @step
    async def leaves():
        async def behind():
            await asyncio.sleep(5)
            said.append(current_run())
            async with other.run() as run:
                said.append([piece async for piece in run.stream()])
            with pytest.raises(headway.ConfigError, match="was called after pipeline 'test'"):
                later("x")

        tasks.append(asyncio.create_task(behind()))

    tasks = []

    async def main():
        await pipeline(lambda: leaves(), name="test", log=False)()
        await tasks[0]
        return said

    assert virtual_run(main) == [None, ["other"]]


# -- threads -----------------------------------------------------------------------------------------------------------


def test_a_thread_that_goes_on_keeps_its_place_and_is_told_of():
    """Its place was free while it held a worker of the pool, so that others began, and timed out, without a thread."""
    release = threading.Event()

    @step(timeout_s=0.25, default="late")  # enough for 64 threads to begin on a busy machine
    def stuck(_):
        release.wait(30)

    @step(timeout_s=20.0)
    def quick(value):
        return value

    @step
    async def lets_go(_):
        await asyncio.sleep(0.05)
        release.set()

    @pipeline(log=False)
    async def main():
        late = await stuck.map(range(64))
        return late, both(quick(1), quick(2)), lets_go(late)

    async def once():
        async with main.run() as run:
            late, values, _ = await run.result()
        assert (late, values) == (["late"] * 64, (1, 2))
        rows = {row.step: row for row in run.rows()}
        assert rows["quick"].started_s >= rows["lets_go"].end_s

    with pytest.warns(RuntimeWarning, match="step 'stuck' took longer than its timeout, and its thread goes on"):
        asyncio.run(once())


def test_runs_share_their_threads():
    """Each run started threads of its own, one for each plain step: hundreds of runs had hundreds."""
    threads = set()

    @step
    def plain():
        threads.add(threading.current_thread())

    @pipeline(log=False)
    async def main():
        return plain()

    async def several():
        for _ in range(50):
            await main()

    asyncio.run(several())
    assert len(threads) < 50
