"""What a step costs beyond its function: microseconds beside bare tasks, and memory. See `bench_pipeline`."""

from __future__ import annotations

import asyncio
import gc
import json
import subprocess
import sys
import time
import tracemalloc
from collections.abc import Awaitable, Callable
from typing import Any

import headway
from common import emit

STEPS = 10_000


@headway.step
async def nothing(number: int) -> int:
    """What is left is the runtime."""
    return number


async def bare(number: int) -> int:
    """The same without a runtime."""
    return number


@headway.pipeline(log=False)
async def many(count: int) -> int:
    """All side by side."""
    return sum(await nothing.map(range(count)))


@headway.pipeline(log=False)
async def chain(count: int) -> int:
    """Each takes the one before."""
    handle: Any = nothing(0)
    for _ in range(count - 1):
        handle = nothing(handle)
    return await handle


@headway.pipeline
async def logged(count: int) -> int:
    """All side by side, their rows written into the call log."""
    return sum(await nothing.map(range(count)))


async def bare_many(count: int) -> int:
    """As tasks, as `gather` has it."""
    return sum(await asyncio.gather(*(bare(number) for number in range(count))))


async def bare_chain(count: int) -> int:
    """A task each, one after the other."""
    value = 0
    for _ in range(count):
        value = await asyncio.ensure_future(bare(value))
    return value


def microseconds(make: Callable[[], Awaitable[Any]], runs: int = 7) -> float:
    """Of a step, in the least disturbed of some runs."""

    async def main() -> float:
        gc.collect()
        start_s = time.perf_counter()
        await make()
        return 1e6 * (time.perf_counter() - start_s) / STEPS

    return min(asyncio.run(main()) for _ in range(runs))


def overhead() -> None:
    """10,000 steps that do nothing; what bare tasks take is told beside it."""
    found, worst = {}, 0.0
    for name, ours, plain in (
        ("side by side", many, bare_many),
        ("in a chain", chain, bare_chain),
        ("side by side, written into the call log", logged, bare_many),
    ):
        with_us, without = microseconds(lambda f=ours: f(STEPS)), microseconds(lambda f=plain: f(STEPS))
        found[name] = {
            "us a step": round(with_us, 1), "bare tasks": round(without, 1), "times": round(with_us / without, 1),
        }  # fmt: skip
        worst = max(worst, with_us)
    emit("runtime overhead of a step", "<= 100 us", found, reached=worst <= 100)


def memory() -> None:
    """In a process of its own, for nothing else may have been there."""
    said = json.loads(subprocess.run([sys.executable, __file__], capture_output=True, check=True).stdout)
    emit("10,000 handles in one run", "< 100 MB", said, reached=max(said.values()) < 100)


def memory_here() -> None:
    """All handles are held, first before any step is done, then after all are."""

    @headway.pipeline(log=False)
    async def held() -> dict[str, float]:
        gc.collect()
        tracemalloc.start()
        handles = [nothing(number) for number in range(STEPS)]
        called = tracemalloc.get_traced_memory()[0]
        for handle in handles:
            await handle
        done, peak = tracemalloc.get_traced_memory()
        return {name: round(value / 1e6, 1) for name, value in (("called", called), ("done", done), ("peak", peak))}

    print(json.dumps(held.run_sync()))


if __name__ == "__main__":
    memory_here()
