"""What the pipelines' runtime costs and gains. `--table` prints the table of docs/figures.md.

Where a figure is about how steps are put in order, steps sleep on virtual time, and what they ought to take is worked
out here, from the graph alone: the runtime is not asked. Beside it stands the same graph level by level
(`asyncio.gather` of all whose inputs are there, then of the next), which is what frameworks of supersteps do. What the
runtime itself costs is measured on a real loop, beside bare tasks.
"""

from __future__ import annotations

import asyncio
import heapq
import random
import sys
from collections.abc import AsyncIterator, Awaitable
from statistics import median
from typing import Any

import headway
from common import emit, own_state, spread
from headway import Stream
from headway.sim import SimSettings, serving
from headway.testing import virtual_run
from pipeline_cost import memory, overhead
from pipeline_material import material


@headway.step
async def work(seconds: float, needs: list[float]) -> float:
    """Takes its time once its inputs are there."""
    await asyncio.sleep(seconds)
    return seconds + sum(needs)


async def seconds_of(what: Awaitable[Any]) -> float:
    """On the loop's own clock."""
    start_s = asyncio.get_running_loop().time()
    await what
    return asyncio.get_running_loop().time() - start_s


# -- in which order ----------------------------------------------------------------------------------------------------

Graph = list[tuple[float, list[int]]]
"""Of each step: how long it takes, and the earlier steps that it needs."""


def random_graph(seed: int, steps: int = 12) -> Graph:
    """Two to four inputs are common, none happens; a tenth of the steps takes ten times as long."""
    dice = random.Random(seed)
    return [
        (
            dice.lognormvariate(-0.5, 0.5) * (10 if dice.random() < 0.1 else 1),
            sorted(dice.sample(range(number), min(number, dice.choice((0, 1, 1, 2, 2, 3))))),
        )
        for number in range(steps)
    ]


def critical_s(graph: Graph) -> float:
    """The longest way through."""
    ends: list[float] = []
    for seconds, needs in graph:
        ends.append(seconds + max((ends[number] for number in needs), default=0.0))
    return max(ends)


@headway.pipeline(log=False)
async def as_steps(graph: Graph) -> list[float]:
    """Every step is called at once; the handles among the arguments are the graph."""
    handles: list[Any] = []
    for seconds, needs in graph:
        handles.append(work(seconds, [handles[number] for number in needs]))
    return [await handle for handle in handles]


async def by_level(graph: Graph) -> None:
    """All steps of a level, then all of the next."""
    levels: list[int] = []
    for _, needs in graph:
        levels.append(1 + max((levels[number] for number in needs), default=-1))
    for level in range(max(levels) + 1):
        await asyncio.gather(*(asyncio.sleep(graph[n][0]) for n, at in enumerate(levels) if at == level))


def three_independent() -> None:
    """As steps, on the real clock."""
    graph: Graph = [(0.9, []), (0.9, []), (0.9, [])]
    took = [asyncio.run(seconds_of(as_steps(graph))) for _ in range(5)]
    emit(
        "3 independent steps of 900 ms, end to end", "<= 1.02x the slowest step",
        {"ratio": round(median(took) / 0.9, 4), "seconds": spread(took), "one after the other": 2.7},
        reached=median(took) <= 1.02 * 0.9,
    )  # fmt: skip


def random_graphs() -> None:
    """200 seeds on virtual time."""
    ours, levels = [], []
    for seed in range(200):
        graph = random_graph(seed)
        critical = critical_s(graph)
        ours.append(virtual_run(lambda g=graph: seconds_of(as_steps(g))) / critical)
        levels.append(virtual_run(lambda g=graph: seconds_of(by_level(g))) / critical)
    emit(
        "12-step random graphs, 200 seeds, end to end", "<= 1.01x the critical path",
        {"worst": round(max(ours), 5), "median": round(median(ours), 5),
         "level by level": {"worst": round(max(levels), 3), "median": round(median(levels), 3)}},
        reached=max(ours) <= 1.01,
    )  # fmt: skip


@headway.step(concurrency=50)
async def limited(seconds: float) -> float:
    """At most fifty of it run at a time."""
    await asyncio.sleep(seconds)
    return seconds


@headway.pipeline(log=False)
async def fan_out(seconds: list[float]) -> list[float]:
    """A thousand."""
    return await limited.map(seconds)


def greedy_s(seconds: list[float], places: int) -> float:
    """What taking the next one whenever a place is free comes to, in their order."""
    free = [0.0] * places
    for one in seconds:
        heapq.heappush(free, heapq.heappop(free) + one)
    return max(free)


def fans() -> None:
    """Equal steps against the bound; unequal ones against the best that taking them in order can do."""
    equal = [0.9] * 1_000
    took = virtual_run(lambda: seconds_of(fan_out(equal)))
    bound = sum(equal) / 50
    dice = random.Random(7)
    mixed = [dice.lognormvariate(-0.3, 0.5) for _ in range(1_000)]
    took_mixed = virtual_run(lambda: seconds_of(fan_out(mixed)))
    ratios = {
        "equal steps, to the bound": round(took / bound, 5),
        "log-normal steps, to a greedy order": round(took_mixed / greedy_s(mixed, 50), 5),
        "log-normal steps, to total / 50": round(took_mixed / (sum(mixed) / 50), 4),
    }
    reached = took <= 1.02 * bound and took_mixed <= 1.02 * greedy_s(mixed, 50)
    emit("1,000-step fan-out under a limit of 50", "<= 1.02x the bound", ratios, reached=reached)


# -- streams -----------------------------------------------------------------------------------------------------------


@headway.step
async def first(first_s: float) -> AsyncIterator[str]:
    """Thinks, then writes a piece every 30 ms."""
    await asyncio.sleep(first_s)
    for number in range(20):
        yield f"{number} "
        await asyncio.sleep(0.03)


@headway.step
async def onward(text: Stream[str], first_s: float) -> AsyncIterator[str]:
    """Begins with the first piece that it reads."""
    begun = False
    async for piece in text:
        if not begun:
            await asyncio.sleep(first_s)
            begun = True
        yield piece


@headway.pipeline(log=False)
async def streaming(firsts: list[float]) -> Any:
    """Three in a row."""
    handle: Any = first(firsts[0])
    for seconds in firsts[1:]:
        handle = onward(handle, seconds)
    return handle


async def first_chunk_s(firsts: list[float]) -> float:
    """Until the last step's first chunk is with who reads it."""
    loop = asyncio.get_running_loop()
    start_s = loop.time()
    async with streaming.run(firsts) as run:
        async for _ in run.stream():
            return loop.time() - start_s
    raise AssertionError("nothing was streamed")


@headway.step
async def told(before: Stream[str], number: int, firsts: list[float]) -> AsyncIterator[str]:
    """Asks a model as soon as it has the first piece of the step before; writes down when its own first came."""
    async for _ in before:
        break
    asked_s = asyncio.get_running_loop().time()
    async for piece in headway.ask(f"Write 60 words about tides ({number}).", model="gpt-4.1-nano"):
        if len(firsts) <= number:
            firsts.append(asyncio.get_running_loop().time() - asked_s)
        yield piece


@headway.pipeline(log=False)
async def three_models(firsts: list[float]) -> Any:
    """Three calls of a model in a row, over HTTP."""
    handle: Any = told("go", 0, firsts)  # type: ignore[arg-type]
    for number in (1, 2):
        handle = told(handle, number, firsts)
    return handle


async def over_http(url: str, runs: int = 7) -> list[float]:
    """Milliseconds beyond the sum of the three first-chunk times, each run."""
    late_ms = []
    async with headway.Engine(base_url=url, api_key="sim", log="off", cache=False) as engine:
        for _ in range(runs + 1):
            firsts: list[float] = []
            start_s, first_s = asyncio.get_running_loop().time(), 0.0
            async with three_models.run(firsts, engine=engine) as run:
                async for _ in run.stream():
                    first_s = first_s or asyncio.get_running_loop().time() - start_s
            late_ms.append(1e3 * (first_s - sum(firsts)))
    return late_ms[1:]  # the first opens the connection


def streams() -> None:
    """On virtual time, on a real loop, and with calls of a model over HTTP."""
    firsts = [0.4, 0.35, 0.5]
    late_ms = {
        "virtual": 1e3 * (virtual_run(lambda: first_chunk_s(firsts)) - sum(firsts)),
        "real": median(1e3 * (asyncio.run(first_chunk_s(firsts)) - sum(firsts)) for _ in range(5)),
    }
    with serving(SimSettings(seed=1, rpm=None, tpm=None)) as url:
        late_ms["real, models over HTTP"] = median(asyncio.run(over_http(url)))
    emit(
        "streaming chain of 3: first chunk at the end, beyond the sum of first-chunk times", "<= 20 ms",
        {name: round(value, 2) for name, value in late_ms.items()}, reached=max(late_ms.values()) <= 20,
    )  # fmt: skip


def main() -> None:
    own_state()
    if "--table" in sys.argv:
        material(table=True)
        return
    three_independent()
    random_graphs()
    fans()
    overhead()
    memory()
    streams()
    material(table=False)


if __name__ == "__main__":
    main()
