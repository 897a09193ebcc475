"""Running pairs: both variants on the same rows, under the same load, neither always first.

Rows: `width` workers; each takes a row, asks one variant and then the other, in an order that is drawn. So both are
asked at the same times, beside the same number of other requests, half of which are the other's.

Sets: where the variants differ in how rows are run (one after the other, or how many at once), a set of rows goes
through one variant as it runs them, and then through the other, in an order that is drawn; nothing runs beside it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from random import Random

from headway.engine.first import together
from headway.measure.compare.asking import Answered, Lane, Row
from headway.measure.compare.comparison import Asked

__all__ = ["firsts", "run_rows", "run_set"]


def firsts(count: int, rng: Random) -> list[bool]:
    """For each of `count` rows whether A goes first: half of them, in an order that is drawn."""
    order = [i % 2 == 0 for i in range(count)]
    if count % 2:
        order[-1] = rng.random() < 0.5
    rng.shuffle(order)
    return order


async def run_rows(a: Lane, b: Lane, rows: Sequence[Row], order: Sequence[bool], *, width: int) -> list[Asked]:
    """All rows under both, `width` rows at a time; in the order of `rows`."""
    found: dict[int, Asked] = {}
    left = iter(zip(range(len(rows)), rows, order, strict=True))

    async def worker() -> None:
        for place, row, a_first in left:
            one = await (a if a_first else b).ask(row)
            other = await (b if a_first else a).ask(row)
            sides = (one, other) if a_first else (other, one)
            found[place] = Asked(row=row[0], a_first=a_first, a=sides[0], b=sides[1])

    await together([worker() for _ in range(min(width, len(rows)))])
    return [found[place] for place in range(len(rows))]


async def run_set(
    a: Lane, b: Lane, rows: Sequence[Row], *, widths: tuple[int, int], a_first: bool, name: str
) -> tuple[list[Asked], tuple[float, float]]:
    """One set of rows through each variant as it runs them; and how long each took for it, in seconds."""
    loop = asyncio.get_running_loop()
    took: dict[bool, float] = {}
    came: dict[bool, dict[int, Answered]] = {True: {}, False: {}}
    for is_a in (a_first, not a_first):
        left = iter(enumerate(rows))
        lane, width = (a, widths[0]) if is_a else (b, widths[1])
        started_s = loop.time()
        await together([_take(lane, left, came[is_a]) for _ in range(min(width, len(rows)))])
        took[is_a] = loop.time() - started_s
    asked = [
        Asked(row=row[0], cluster=name, a_first=a_first, a=came[True][place], b=came[False][place])
        for place, row in enumerate(rows)
    ]
    return asked, (took[True], took[False])


async def _take(lane: Lane, left: Iterator[tuple[int, Row]], into: dict[int, Answered]) -> None:
    for place, row in left:
        into[place] = await lane.ask(row)
