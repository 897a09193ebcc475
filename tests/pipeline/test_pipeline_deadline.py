"""A run's deadline: what is optional is cut, and the run ends well if all that is needed is done."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

import pytest

import headway
from headway import DeadlineExceeded
from headway.pipeline import Stream, pipeline, step
from headway.policy.backoff import Backoff
from headway.testing import FakeProvider, virtual_run
from headway.testing import Step as Answer
from tests.pipeline.plumbing import both, failing, later, now_s, ran, told


@step(optional=True, default="left out")
async def extra(delay_s=9.0):
    await asyncio.sleep(delay_s)
    return "extra"


def outcomes(rows, name):
    return [(row.outcome, row.error) for row in rows[name]]


def test_what_is_optional_is_cut_and_the_rest_is_the_result():
    """It failed the run, though all that was needed was there."""

    async def main():
        return {"needed": later("x", 1.0), "more": extra(), "none": step(extra.fn, name="bare", optional=True)()}

    result, rows, took_s = ran(main, deadline_s=2.0)
    assert (result, took_s) == ({"needed": "x", "more": "left out", "none": None}, 2.0)
    assert outcomes(rows, "extra") == outcomes(rows, "bare") == [("skipped", "DeadlineExceeded")]
    assert rows[""][0].outcome == "ok"
    assert rows["extra"][0].end_s == 2.0


def test_a_needed_step_under_way_fails_the_run():
    """Whatever is optional beside it; so does one that has not begun, for it waits for what is optional."""
    for main in (lambda: [later("x", 3.0), extra()], lambda: both("x", extra())):
        error, rows, took_s = failing(main, deadline_s=2.0)
        assert isinstance(error, DeadlineExceeded)
        assert took_s == 2.0
        assert rows[0].outcome == "deadline"


def test_a_default_alone_does_not_make_a_step_optional():
    """It stands in for a failure; the run may still need the step's time."""

    @step(default="instead")
    async def slow():
        await asyncio.sleep(9)

    error, _, took_s = failing(lambda: slow(), deadline_s=2.0)
    assert isinstance(error, DeadlineExceeded)
    assert took_s == 2.0


def test_what_an_optional_step_has_called_goes_with_it():
    """A step below it is not needed by the run."""

    @step(optional=True, default="cut")
    async def outer():
        return await later("x", 9.0)

    result, rows, took_s = ran(lambda: [later("y", 1.0), outer()], deadline_s=2.0)
    assert (result, took_s) == (["y", "cut"], 2.0)
    assert (rows["outer"][0].outcome, rows["later"][1].outcome) == ("skipped", "cancelled")


def test_optional_steps_that_wait_for_each_other_are_cut_together():
    """Under way, waiting for a handle, standing in line, between two tries: all of them, and nothing begins."""
    began = []

    @step(optional=True, default=0, concurrency=1, retries=1, backoff=Backoff(base_s=1000.0, max_s=1000.0))
    async def one(need):
        began.append(need)
        await asyncio.sleep(0.5)
        raise ValueError(need)

    async def main():
        first = one(1)
        return [first, one(first), one(2), extra(), later("x", 1.0)]

    result, rows, took_s = ran(main, deadline_s=1.1)
    assert (result, took_s) == ([0, 0, 0, "left out", "x"], 1.1)
    assert [(row.outcome, row.tries) for row in rows["one"]] == [("skipped", 1), ("skipped", 0), ("skipped", 0)]
    assert began == [1]


def test_the_function_may_still_put_together_what_is_there():
    """In its own words, with `gather` and `wait_for` around handles; calls of optional steps are left out by then."""

    async def main():
        got, more = await asyncio.gather(asyncio.wait_for(later("x", 1.0), 5), asyncio.wait_for(extra(), 50))
        return got, more, await extra(0.0)

    result, rows, took_s = ran(main, deadline_s=2.0)
    assert (result, took_s) == (("x", "left out", "left out"), 2.0)
    assert rows["extra"][1].outcome == "skipped"
    assert rows["extra"][1].started_s is None


@pytest.mark.parametrize("goes_on", ["sleep", "call", "spin"])
def test_the_function_cannot_go_on_for_long(goes_on):
    """A wait, a needed step, or turns without end are the deadline's error, at the same moment."""

    async def main():
        await extra()
        if goes_on == "call":
            return await later("late", 0.0)
        for _ in range(1000):
            await asyncio.sleep(1.0 if goes_on == "sleep" else 0.0)
        return "late"

    error, rows, took_s = failing(main, deadline_s=2.0)
    assert isinstance(error, DeadlineExceeded)
    assert took_s == 2.0
    assert (rows[0].outcome, rows[1].outcome) == ("deadline", "skipped")


def test_a_run_that_has_given_its_result_ends_at_the_deadline():
    """An optional step that nobody waits for is cut, too; the block ends without an error."""

    async def main():
        extra()
        return later("x", 1.0)

    result, rows, took_s = ran(main, deadline_s=2.0)
    assert (result, took_s, rows["extra"][0].outcome) == ("x", 2.0, "skipped")


def test_a_cut_step_may_clean_up():
    """The run waits for that, as for any cancelled step; one that does not end is left behind."""

    @step(optional=True, default="cut")
    async def tidy():
        try:
            await asyncio.sleep(9)
        finally:
            await asyncio.sleep(0.5)

    @step(optional=True, default="left")
    async def stubborn():
        while not done:
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.sleep(1000)

    done = []
    assert ran(lambda: tidy(), deadline_s=2.0)[::2] == ("cut", 2.5)

    async def main():
        with pytest.warns(RuntimeWarning, match="did not end within 6 s"):
            result = await pipeline(lambda: stubborn(), name="test", deadline_s=2.0, log=False)()
        done.append(1)
        return result, now_s()

    assert virtual_run(main) == ("left", 8.0)


def test_readers_of_a_cut_stream_see_it_end():
    """Those who have read live keep what came; the value is the default."""

    @step(optional=True, default="")
    async def words() -> AsyncIterator[str]:
        for word in "abcdef":
            yield word
            await asyncio.sleep(1)

    @step(optional=True)
    async def count(text: Stream[str]) -> int:
        return len([piece async for piece in text])

    @pipeline(log=False, deadline_s=2.5)
    async def main():
        return words()

    async def read():
        async with main.run() as run:
            pieces = [piece async for piece in run.stream()]
        return pieces, await run.result(), now_s()

    assert virtual_run(read) == (["a", "b", "c"], "", 2.5)
    assert ran(lambda: count(words()), deadline_s=2.5)[::2] == (None, 2.5)


def test_a_thousand_optional_steps_are_cut_at_once():
    """Side by side and in a chain."""

    async def main():
        handle = extra()
        for _ in range(1000):
            handle = step(extra.fn, optional=True, name="link")(handle)
        return [handle, extra.map([9.0] * 1000)]

    result, rows, took_s = ran(main, deadline_s=2.0)
    assert result == [None, ["left out"] * 1000]
    assert took_s == 2.0
    assert {row.outcome for name in ("extra", "link") for row in rows[name]} == {"skipped"}


def test_an_optional_answer_under_way_is_cut_with_its_request():
    """Its model call knows the same deadline; whichever is first, the run ends well."""
    engine = headway.Engine(handler=FakeProvider([Answer(delay_s=30.0)]), log="off")

    @step(optional=True, default="none")
    async def asks():
        return await headway.ask("hi", model="m", engine=engine)

    async def main():
        return both(later("x", 1.0), "y"), asks()

    result, _, took_s = ran(main, deadline_s=2.0)
    assert result == (("x", "y"), "none")
    assert took_s == 2.0


def test_nothing_optional_and_nothing_late():
    """A deadline that is not reached changes nothing."""
    assert ran(lambda: [told("ab"), extra(1.0)], deadline_s=10.0)[0] == ["ab", "extra"]
