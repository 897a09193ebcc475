"""Any graph of steps: it takes as long as its critical path, ends whole, fails with one error, and repeats itself."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headway.errors import DeadlineExceeded
from headway.pipeline import Stream, pipeline, step
from headway.testing import virtual_run
from tests.pipeline.plumbing import now_s, ran

TENTHS = st.integers(0, 30).map(lambda tenths: tenths / 10)


class Planned(Exception):
    """A failure that was planned for a step."""


@step
async def value_step(plan, inputs):
    await asyncio.sleep(plan["delay_s"])
    if plan["fails"]:
        raise Planned(plan["at"])
    return plan["at"]


@step(default=-1, timeout_s=1.0)
async def tolerant_step(plan, inputs):
    return await value_step.fn(plan, inputs)


@step
async def stream_step(plan, inputs) -> AsyncIterator[str]:
    for number in range(plan["chunks"]):
        await asyncio.sleep(plan["delay_s"])
        yield str(number)
    if plan["fails"]:
        raise Planned(plan["at"])


@step
async def reading_step(plan, inputs, first: Stream[str]) -> AsyncIterator[str]:
    read = 0
    async for _chunk in first:
        read += 1
        if read == plan["leaves_after"]:
            break
    await asyncio.sleep(plan["delay_s"])
    if plan["fails"]:
        raise Planned(plan["at"])
    yield "x"


@step
async def nesting_step(plan, inputs):
    inner = [value_step({**plan, "delay_s": plan["delay_s"] / 2}, ()) for _ in range(2)]
    await inner[0]
    return await inner[1]


STEPS = {
    "value": value_step,
    "tolerant": tolerant_step,
    "stream": stream_step,
    "reading": reading_step,
    "nesting": nesting_step,
}


@st.composite
def plans(draw, fails=True, kinds=tuple(STEPS)):
    """Steps in order, each with some of the earlier ones for inputs."""
    made = []
    for at in range(draw(st.integers(1, 12))):
        inputs = draw(st.lists(st.integers(0, at - 1), max_size=3, unique=True)) if at else []
        made.append(
            {
                "at": at,
                "kind": draw(st.sampled_from([kind for kind in kinds if inputs or kind != "reading"])),
                "inputs": inputs,
                "delay_s": draw(TENTHS),
                "chunks": draw(st.integers(1, 3)),
                "leaves_after": draw(st.integers(0, 3)),
                "fails": fails and draw(st.integers(0, 9)) == 0,
            }
        )
    return made


def program(made, results):
    async def graph():
        handles = []
        for plan in made:
            inputs = [handles[at] for at in plan["inputs"]]
            if plan["kind"] == "reading":
                handles.append(STEPS["reading"](plan, inputs[1:], inputs[0]))
            else:
                handles.append(STEPS[plan["kind"]](plan, inputs))
        return [handles[at % len(handles)] for at in results]

    return pipeline(graph, name="graph", log=False)


def trace(rows):
    """What a row says, without the run's own name."""
    return [
        (
            row.step,
            row.index,
            row.edges,
            row.ready_s,
            row.started_s,
            row.first_chunk_s,
            row.end_s,
            row.outcome,
            row.error,
            row.tries,
        )
        for row in rows
    ]


def drive(made, results, ending, at_s):
    """One run, ended in one of several ways: (error, rows, result, tasks left)."""

    async def main():
        run = program(made, results).run(deadline_s=at_s + 0.05 if ending == "deadline" else None)
        error = result = None

        async def inside():
            async with run:
                if ending == "early":
                    async for _chunk in run.stream():
                        break
                return await run.result() if ending != "early" else None

        task = asyncio.create_task(inside())
        if ending == "cancelled":
            asyncio.get_running_loop().call_later(at_s, task.cancel)
        try:
            result = await task
        except (Planned, DeadlineExceeded, asyncio.CancelledError) as raised:
            error = raised
        return error, run.rows(), result, len(asyncio.all_tasks()) - 1

    return virtual_run(main)


@settings(max_examples=150, deadline=None)
@given(
    plans(),
    st.lists(st.integers(0, 11), max_size=3),
    st.sampled_from(["whole", "early", "cancelled", "deadline"]),
    TENTHS,
)
def test_every_run_ends_whole_with_one_error_and_repeats_itself(made, results, ending, at_s):
    """No task is left, every call has ended, one error of those that were raised, the same trace again."""
    error, rows, result, left = drive(made, results, ending, at_s)
    assert left == 0
    assert all(row.end_s is not None for row in rows)
    assert not isinstance(error, BaseExceptionGroup)
    failed = [row for row in rows[1:] if row.outcome == "failed"]
    if isinstance(error, Planned):
        assert rows[0].outcome == "failed"
        assert min(row.end_s for row in failed) == rows[0].end_s  # nothing runs on after the first failure
    elif error is None and ending == "whole":
        assert not failed
        assert len(result) == len(results)
        assert {row.outcome for row in rows} <= {"ok", "default", "cancelled"}
    for row in rows[1:]:
        for edge in row.edges:
            assert row.ready_s is None or edge.at_s <= row.ready_s
            assert row.started_s is None or row.started_s == row.ready_s  # no limits here: ready is started
    again = drive(made, results, ending, at_s)
    assert trace(again[1]) == trace(rows)
    assert (type(again[0]), again[2]) == (type(error), result)


@settings(max_examples=100, deadline=None)
@given(plans(fails=False, kinds=("value", "stream")))
def test_a_graph_takes_as_long_as_its_critical_path(made):
    """To the microsecond: nothing waits for what it does not need."""
    ends = []
    for plan in made:
        took_s = plan["delay_s"] * (plan["chunks"] if plan["kind"] == "stream" else 1)
        ends.append(max((ends[at] for at in plan["inputs"]), default=0.0) + took_s)
    _, rows, took_s = ran(program(made, range(12)))
    assert took_s == pytest.approx(max(ends), abs=1e-4)
    by_index = {row.index: row for steps in rows.values() for row in steps}
    for at, end_s in enumerate(ends):
        assert by_index[at].end_s == pytest.approx(end_s, abs=1e-4)


@given(st.integers(0, 2**32), st.integers(1, 8), st.sampled_from(["step", "map"]))
@settings(max_examples=30, deadline=None)
def test_a_limit_keeps_all_its_places_busy(seed, places, whose):
    """Never more at a time than declared, never one idle while another waits, first come first served."""
    dice = random.Random(seed)
    delays = [dice.randint(1, 20) / 10 for _ in range(40)]
    running, most = [], []

    async def work(delay_s):
        running.append(1)
        most.append(len(running))
        await asyncio.sleep(delay_s)
        running.pop()

    limited = step(work, concurrency=places if whose == "step" else None)

    async def main():
        return limited.map(delays, concurrency=places if whose == "map" else None)

    _, rows, took_s = ran(main)
    free = [0.0] * places
    for delay_s, row in zip(delays, rows["work"], strict=True):
        start_s = min(free)
        free[free.index(start_s)] = start_s + delay_s
        assert row.started_s == pytest.approx(start_s, abs=1e-4)
        assert row.ready_s == 0.0
    assert took_s == pytest.approx(max(free), abs=1e-4)
    assert max(most) <= places


def test_a_thousand_steps_under_a_limit_of_fifty_take_twenty_rounds():
    """The bound itself, and every wait is the limit's."""

    @step(concurrency=50)
    async def work(number):
        await asyncio.sleep(1.0)
        return number

    result, rows, took_s = ran(lambda: work.map(range(1000)))
    assert result == list(range(1000))
    assert took_s == pytest.approx(20.0)
    assert sum(row.started_s - row.ready_s for row in rows["work"]) == pytest.approx(50 * sum(range(20)))


def test_two_limits_are_kept_together():
    """A map's own and its step's."""
    running, most = [], []

    @step(concurrency=2)
    async def work(number):
        running.append(1)
        most.append(len(running))
        await asyncio.sleep(1.0)
        running.pop()

    async def main():
        return [work.map(range(4), concurrency=3), work.map(range(4), concurrency=1)]

    assert ran(main)[2] == 5.0  # the second map, one by one, begins in the second round
    assert max(most) == 2


def test_a_place_is_given_back_by_those_who_left_the_line():
    """A step that is cancelled while it waits, and one that is cancelled while it runs."""

    @step(concurrency=1)
    async def work(delay_s):
        await asyncio.sleep(delay_s)
        return now_s()

    @step(timeout_s=1.0, default=None)
    async def impatient():
        return await work.map([0.5, 5.0, 5.0])

    async def main():
        first = impatient()
        await asyncio.sleep(0.1)
        return first, work(1.0)

    assert ran(main)[0] == (None, 2.0)
