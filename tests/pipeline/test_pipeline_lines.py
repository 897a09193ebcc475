"""Lines of thousands: chains, maps and queues of steps that end in the same moment neither recurse nor hang."""

from __future__ import annotations

import asyncio

import pytest

from headway.errors import ConfigError
from headway.pipeline import pipeline, step
from headway.policy.degrade import Degrade
from tests.pipeline.plumbing import failing, later, ran

LONG = 3000
"""Above the interpreter's limit of recursion, with one frame for each."""
CHOOSY = {"deadline_s": 100.0, "degrade": Degrade(smaller_below=1.0, skip_below=0.999)}


@step(optional=True)
async def link(value):
    return value


@step(default=-1)
async def tolerant(value):
    raise ValueError(value)


@step
async def plain(value):
    return value


@step
async def broken(value):
    await asyncio.sleep(1)
    raise ValueError(value)


def chain(one, begin):
    handle = begin
    for _ in range(LONG):
        handle = one(handle)
    return handle


def made(fn, **options):
    return pipeline(fn, name="test", log=False, **options)


def test_a_chain_of_steps_that_are_left_out():
    """Each end let the next begin, and end, inside of the one before: RecursionError, and then a hang."""
    result, rows, took_s = ran(made(lambda: chain(link, later(0)), **CHOOSY))
    assert (result, took_s) == (None, 1.0)
    assert {row.outcome for row in rows["link"]} == {"skipped"}


@pytest.mark.parametrize("places", [1, 2])
@pytest.mark.parametrize("whose", ["step", "map", "both"])
def test_a_queue_of_steps_that_are_left_out(places, whose):
    """When the first was done, each gave its place to the next, which was left out and gave it to the one after."""

    @step(optional=True, default="left out", concurrency=None if whose == "map" else places)
    async def queued(value):
        await asyncio.sleep(0.9)
        return value

    async def main():
        return queued.map(range(LONG), concurrency=None if whose == "step" else places)

    result, rows, took_s = ran(made(main, deadline_s=1.0, degrade=Degrade()))
    assert (result, took_s) == ([*range(places), *["left out"] * (LONG - places)], 0.9)
    assert len(rows["queued"]) == LONG


@pytest.mark.parametrize("one", [link, tolerant, plain])
def test_chains_and_maps_that_run(one):
    """All that is well, or has a default."""
    last = {link: 0, tolerant: -1, plain: 0}[one]
    assert ran(lambda: chain(one, later(0)))[0] == last
    assert len(ran(lambda: one.map(range(LONG)))[0]) == LONG


@pytest.mark.parametrize("how", ["fails", "deadline"])
def test_a_chain_that_is_cancelled(how):
    """By a failure at its begin, beside it, or by the run's deadline."""

    async def main():
        if how == "fails":
            plain.map(range(LONG), concurrency=1)
            return chain(plain, broken(0))
        return [chain(plain, later(0, 9.0)), plain.map([later(0, 9.0)] * LONG)]

    error, rows, took_s = failing(main, **({} if how == "fails" else {"deadline_s": 1.0}))
    assert (type(error).__name__, took_s) == ("ValueError" if how == "fails" else "DeadlineExceeded", 1.0)
    assert all(row.end_s is not None for row in rows)


def test_a_line_behind_oneself_fails_once():
    """Thousands stand in line behind the step that waits for them; each is refused, none inside of another."""

    @step(concurrency=1, default="refused")
    async def inner(number):
        return number if number < 0 else await inner.map([-1] * LONG)

    result, rows, _ = ran(lambda: inner(1))
    assert result == "refused"
    assert len(rows["inner"]) == LONG + 1


def test_steps_that_await_the_one_before():
    """Each looked through all that were before it for a cycle."""
    handles = []

    @step
    async def awaits(number):
        return await handles[number - 1] if number else await later("x")

    async def main():
        handles[:] = [awaits(number) for number in range(LONG)]
        return handles[-1]

    assert ran(main)[::2] == ("x", 1.0)
    handles.clear()


def test_steps_that_call_each_other_deep_down():
    """A thousand callers end with what the last one raised."""

    @step
    async def deep(number):
        return await (deep(number - 1) if number else broken("deep"))

    error, rows, took_s = failing(lambda: deep(1000))
    assert (type(error), took_s) == (ValueError, 1.0)
    assert {row.outcome for row in rows} == {"failed"}


def test_waiting_for_whichever_is_first_may_be_a_wait_for_oneself():
    """`as_completed` hung where `await` of the same handles said that the step waits for itself."""

    @step(concurrency=1)
    async def inner(number):
        return number if not number else [one async for one in inner.map([number - 1]).as_completed()]

    error, _, _ = failing(lambda: inner(2))
    assert isinstance(error, ConfigError)
    assert "inner#0 -> inner#1 -> inner#0" in str(error)


def test_waiting_for_whichever_is_first_goes_on_while_anyone_can():
    """One of them waits for the step itself, another does not; only when that has come is it a cycle."""
    known = []

    @step
    async def first(stop):
        await asyncio.sleep(0)
        found = []
        async for one in known[1].as_completed():
            found.append(one)
            if stop:
                break
        return found

    @step
    async def back(number):
        return await known[0] if number == 0 else await later(number)

    async def main(stop):
        known.clear()
        known.append(first(stop))
        known.append(back.map([0, 1]))
        return await known[0], await known[1]

    assert ran(main, stop=True)[0] == ([1], [[1], 1])
    error, _, took_s = failing(main, stop=False)
    assert isinstance(error, ConfigError)
    assert took_s == 1.0
    known.clear()
