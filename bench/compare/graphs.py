"""What the drivers of graph libraries measure alike: chains and fans of steps that do nothing, and uneven branches."""

from __future__ import annotations

import asyncio
import gc
import json
import time
from collections.abc import Awaitable, Callable
from statistics import median
from typing import Any

STEPS = 500
RUNS = 10
UNEVEN = {"a": (0.05, ()), "b": (0.6, ("a",)), "slow": (0.6, ()), "end": (0.0, ("b", "slow"))}
"""Seconds, and what each needs: its critical path is 0.65 s; level by level it takes 1.2 s."""
Run = Callable[[], Awaitable[Any]]


async def _timed(run: Run) -> float:
    start_s = time.perf_counter()
    await run()
    return time.perf_counter() - start_s


def measure(chain: Run, fan: Run, uneven: Run) -> None:
    """Print the figures. Each is ready to run: building and compiling do not count."""

    async def main() -> dict[str, float]:
        found = {}
        for name, run in (("chain_us", chain), ("fan_us", fan)):
            await run()  # warm
            gc.collect()
            found[name] = round(1e6 * min([await _timed(run) for _ in range(RUNS)]) / STEPS, 1)  # the least disturbed
        found["uneven_s"] = round(median([await _timed(uneven) for _ in range(3)]), 3)
        return found

    print(json.dumps(asyncio.run(main())))
