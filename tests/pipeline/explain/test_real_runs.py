"""What real runs write down is enough to explain them: paths add up, replays end when the run did."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import headway
from headway.pipeline.explain.critical import critical_path, slacks_s
from headway.pipeline.explain.graph import graph_of
from headway.pipeline.explain.replay import Replay
from headway.testing import virtual_run


@headway.step
async def work(took_s: float, *needs: object) -> float:
    await asyncio.sleep(took_s)
    return took_s


@headway.step
async def talk(took_s: float, *needs: object) -> AsyncIterator[str]:
    for word in ("one ", "two ", "three ", "four "):
        await asyncio.sleep(took_s / 4)
        yield word


@headway.step
async def shout(words: headway.Stream[str]) -> AsyncIterator[str]:
    async for word in words:
        await asyncio.sleep(0.05)
        yield word.upper()


def explained(pipeline, *args):
    """The graph, the path and the report of a run in virtual time."""

    async def main():
        async with pipeline.run(*args) as run:
            try:
                await run.result()
            except RuntimeError:
                pass
        return run.rows(), run.report()

    rows, report = virtual_run(main)
    graph = graph_of(rows)
    path = critical_path(graph)
    total_s = path.before_s + sum(link.took_s + link.after_s for link in path.links)
    assert total_s == pytest.approx(path.end_s)
    slacks = slacks_s(graph)
    assert all(slacks[link.index] == pytest.approx(0, abs=1e-9) for link in path.links)
    return graph, path, report


@headway.pipeline(log=False)
async def parallel():
    a, b = work(1.0), work(1.5)
    return work(2.0, a, [b])


def test_the_last_to_be_there_is_on_the_path():
    """Steps side by side, one inside of a list: the path goes over the slower one."""
    graph, path, report = explained(parallel)
    assert [link.index for link in path.links] == [1, 2]
    assert path.end_s == pytest.approx(3.5)
    assert report.speedup == pytest.approx(4.5 / 3.5)
    assert Replay(graph).end_s({}) == pytest.approx(3.5)


@headway.pipeline(log=False)
async def chain():
    return shout(talk(2.0))


def test_a_stream_counts_at_its_first_chunk_and_sets_the_pace():
    """The reader is on the path from the first word on; a faster talker makes it end sooner."""
    graph, path, _ = explained(chain)
    assert [(link.step, link.kind) for link in path.links] == [("talk", "stream"), ("shout", "end")]
    assert path.links[0].took_s == pytest.approx(0.5)
    assert path.end_s == pytest.approx(2.05)
    assert Replay(graph).end_s({"talk": 0.5}) == pytest.approx(1.05)


@headway.pipeline(log=False)
async def branching():
    first = await work(1.0)
    await asyncio.sleep(0.25)
    return work(first)


def test_what_was_awaited_is_on_the_path_and_the_programs_time_is_apart():
    """A branch hangs on what the program awaited, and 0.25 s are the program's own."""
    _, path, _ = explained(branching)
    assert [link.kind for link in path.links] == ["control", "end"]
    assert path.program_s == pytest.approx(0.25)


@headway.pipeline(log=False)
async def fan(count: int, limit: int):
    return work(0.5, work.map([1.0] * count, concurrency=limit))


def test_a_fan_out_under_a_limit_waits_for_it():
    """Twelve pieces, four at a time: 2 s of the 3.5 s are waiting for the limit; twice as fast pieces, half of it."""
    graph, path, report = explained(fan, 12, 4)
    assert path.end_s == pytest.approx(3.5)
    assert sum(link.limit_s for link in path.links) == pytest.approx(2.0)
    assert "work x13" in report.text(80)
    assert Replay(graph).end_s({"work": 0.5}) == pytest.approx(1.75)


@headway.step
async def fails(after_s: float) -> None:
    await asyncio.sleep(after_s)
    raise RuntimeError("secret prompt")


@headway.pipeline(log=False)
async def failing():
    return work(1.0, work(9.0), fails(2.0))


def test_a_run_that_fails_ends_with_what_failed():
    """The step that failed is the path; the error's text is nowhere."""
    _, path, report = explained(failing)
    assert [link.step for link in path.links] == ["fails"]
    assert "(failed, step fails, RuntimeError)" in report.sentence
    for shown in (report.text(80), report.html(), str(report.data()), str(report.trace())):
        assert "secret" not in shown


@headway.step
async def outer(count: int) -> float:
    first = sum(await asyncio.gather(*(work(1.0) for _ in range(count))))
    await asyncio.sleep(0.5)
    return first + await work(2.0)


@headway.pipeline(log=False)
async def nested():
    return await outer(3)


def test_a_step_that_calls_others_is_looked_into():
    """The path goes over what it called; its own is the half second between; nothing counts twice; faster helps."""
    graph, path, report = explained(nested)
    assert path.told == "work -> outer -> work"
    assert [link.took_s for link in path.links] == pytest.approx([1.0, 0.5, 2.0])
    assert path.program_s == pytest.approx(0)
    assert report.one_after_another_s == pytest.approx(5.5)
    replay = Replay(graph)
    assert replay.end_s({}) == pytest.approx(3.5)
    assert replay.end_s({"work": 0.5}) == pytest.approx(2.0)
    assert replay.end_s({"outer": 0.0}) == pytest.approx(3.0)


@headway.step
async def idle(count: int) -> float:
    early = work(1.0)
    await asyncio.sleep(2.0)
    return await work(1.0) + await early


@headway.pipeline(log=False)
async def unawaited():
    return await idle(1)


def test_what_a_step_did_not_await_is_no_reason_for_its_next_call():
    """The two seconds before the second call are the step's own, whatever it had called by then."""
    graph, path, _ = explained(unawaited)
    assert path.told == "idle -> work"
    assert path.links[0].took_s == pytest.approx(2.0)
    assert slacks_s(graph)[1] == pytest.approx(2.0)
    assert Replay(graph).end_s({"idle": 0.5}) == pytest.approx(2.0)


@headway.step
async def lecture(count: int) -> AsyncIterator[str]:
    await asyncio.gather(*(work(1.0) for _ in range(count)))
    await asyncio.sleep(0.5)
    yield "first "
    await work(2.0)
    await asyncio.sleep(0.25)
    yield "last "


@headway.pipeline(log=False)
async def lectured(count):
    return shout(lecture(count))


def test_a_step_that_streams_and_calls_others_is_looked_into():
    """Its first chunk hangs on what it called before; what it called later moves its end, and its reader's."""
    graph, path, report = explained(lectured, 3)
    assert path.told == "work -> lecture -> shout"
    assert [link.took_s for link in path.links] == pytest.approx([1.0, 0.5, 2.3])
    assert report.one_after_another_s == pytest.approx(3 * 1.0 + 2.0 + 0.75 + 0.1)
    replay = Replay(graph)
    assert replay.end_s({}) == pytest.approx(3.8)
    assert replay.end_s({"work": 0.5}) == pytest.approx(0.5 + 0.5 + 1.0 + 0.25 + 0.05)
    assert replay.end_s({"lecture": 0.0}) == pytest.approx(3.0 + 0.05)


@headway.step
async def deep(plan: list) -> float:
    return sum([took_s async for took_s in carried_out(plan)])


@headway.step
async def chat(plan: list) -> AsyncIterator[float]:
    async for took_s in carried_out(plan):
        yield took_s
    yield 0.0


async def carried_out(plan: list) -> AsyncIterator[float]:
    for kind, took_ms, inner in plan:
        if kind == "await":
            yield await work(took_ms / 1000)
        elif kind == "sleep":
            await asyncio.sleep(took_ms / 1000)
        elif kind == "chat":
            yield sum(await chat(inner))
        else:
            yield await deep(inner)


TREES = st.recursive(
    st.lists(st.tuples(st.sampled_from(["await", "sleep"]), st.integers(1, 900), st.just([])), max_size=3),
    lambda inner: st.lists(st.tuples(st.sampled_from(["deep", "chat"]), st.just(0), inner), min_size=1, max_size=3),
    max_leaves=6,
)


@headway.pipeline(log=False)
async def tree(plans):
    return [(chat if at % 2 else deep)(plan) for at, plan in enumerate(plans)]


@headway.step
async def echo(numbers: headway.Stream[float], took_s: float) -> AsyncIterator[float]:
    async for number in numbers:
        await asyncio.sleep(took_s)
        yield number


@headway.pipeline(log=False)
async def overheard(plans, took_s):
    return [echo(echo(chat(plan), took_s), took_s / 2) for plan in plans]


@settings(max_examples=40, deadline=None)
@given(st.lists(TREES, min_size=1, max_size=3))
def test_steps_within_steps_are_explained(plans):
    """Whatever calls what: paths add up, replays end when the run did, and time is counted once."""
    graph, _, report = explained(tree, plans)
    assert Replay(graph).end_s({}) == pytest.approx(graph.end_s)
    assert report.one_after_another_s == pytest.approx(sum(map(_own_s, plans)))
    faster_s = Replay(graph).end_s({"work": 0.5, "deep": 0.5, "chat": 0.5})
    assert faster_s == pytest.approx(graph.end_s / 2)


def _own_s(plan) -> float:
    return sum(_own_s(inner) if kind in ("deep", "chat") else took_ms / 1000 for kind, took_ms, inner in plan)


@settings(max_examples=40, deadline=None)
@given(st.lists(TREES, min_size=1, max_size=3), st.sampled_from([0.01, 0.3]))
def test_readers_of_steps_that_call_others_are_explained(plans, took_s):
    """Live streams of nested steps: paths add up, nothing on them has slack, and nothing gets slower by being faster."""
    graph, _, _ = explained(overheard, plans, took_s)
    replay = Replay(graph)
    assert replay.end_s({}) == pytest.approx(graph.end_s)
    for name in ("work", "chat", "deep", "echo"):
        assert replay.end_s({name: 0.5}) <= graph.end_s + 1e-9


PLANS = st.lists(
    st.tuples(st.sampled_from(["work", "talk"]), st.integers(1, 3000), st.sets(st.integers(0, 11), max_size=3)),
    min_size=1,
    max_size=12,
)


@headway.pipeline(log=False)
async def planned(plan):
    handles = []
    for kind, took_ms, needs in plan:
        step = work if kind == "work" else talk
        handles.append(step(took_ms / 1000, *(handles[i] for i in sorted(needs) if i < len(handles))))
    return handles


@settings(max_examples=40, deadline=None)
@given(PLANS)
def test_any_graph_is_explained(plan):
    """Random graphs: the path adds up, no slack on it, and nothing but its own steps took the time."""
    graph, path, report = explained(planned, plan)
    assert path.program_s == pytest.approx(0, abs=1e-6)
    assert Replay(graph).end_s({}) == pytest.approx(graph.end_s)
    assert report.one_after_another_s == pytest.approx(sum(took_ms for _, took_ms, _ in plan) / 1000)
