"""What the tests of the runtime share: steps of known durations, and rows by name."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

from headway.pipeline import pipeline, step
from headway.testing import virtual_run


def now_s():
    return asyncio.get_running_loop().time()


@step
async def later(value, delay_s=1.0):
    await asyncio.sleep(delay_s)
    return value


@step
async def told(words, first_s=1.0, each_s=0.5) -> AsyncIterator[str]:
    await asyncio.sleep(first_s)
    for at, word in enumerate(words):
        if at:
            await asyncio.sleep(each_s)
        yield word


@step
async def both(one, other):
    return one, other


def ran(fn, *args, **options):
    """Run a function as a pipeline on virtual time: its result, its rows by name, and how long it took."""
    made = pipeline(fn, name="test", log=False) if callable(fn) and not hasattr(fn, "run") else fn

    async def main():
        async with made.run(*args, **options) as run:
            result = await run.result()
        rows = {}
        for row in run.rows():
            rows.setdefault(row.step if row.index >= 0 else "", []).append(row)
        return result, rows, now_s()

    return virtual_run(main)


def failing(fn, *args, **options):
    """Likewise for one that fails: the error, and its rows in order."""
    made = pipeline(fn, name="test", log=False) if not hasattr(fn, "run") else fn

    async def main():
        run = made.run(*args, **options)
        try:
            async with run:
                await run.result()
        except Exception as error:
            return error, run.rows(), now_s()
        raise AssertionError("it did not fail")

    return virtual_run(main)
