"""Hamilton's async driver: a function each, whose parameters' names are what it needs."""

from __future__ import annotations

import asyncio
from types import ModuleType
from typing import Any

from graphs import STEPS, UNEVEN, measure
from hamilton import ad_hoc_utils, async_driver

SLEEP = asyncio.sleep


def module(nodes: dict[str, tuple[float, tuple[str, ...]]]) -> ModuleType:
    """Its functions."""
    made: list[Any] = []
    for name, (seconds, needs) in nodes.items():
        parameters = ", ".join(f"{need}: int" for need in needs) or "first: int"
        wait = f"    await SLEEP({seconds})\n" if seconds else ""
        space: dict[str, Any] = {"SLEEP": SLEEP}
        exec(f"async def {name}({parameters}) -> int:\n{wait}    return 1\n", space)
        made.append(space[name])
    return ad_hoc_utils.create_temporary_module(*made)


async def driver(nodes: dict[str, tuple[float, tuple[str, ...]]]) -> Any:
    """Built."""
    return await async_driver.Builder().with_modules(module(nodes)).build()


def run(nodes: dict[str, tuple[float, tuple[str, ...]]], wanted: list[str]) -> Any:
    """Built on the first run, which is not counted."""
    built: list[Any] = []

    async def execute() -> Any:
        if not built:
            built.append(await driver(nodes))
        return await built[0].execute(wanted, inputs={"first": 1})

    return execute


if __name__ == "__main__":
    chain = {f"n{n}": (0.0, (f"n{n - 1}",) if n else ()) for n in range(STEPS)}
    fan = {f"n{n}": (0.0, ()) for n in range(STEPS)}
    measure(run(chain, [f"n{STEPS - 1}"]), run(fan, list(fan)), run(UNEVEN, ["end"]))
