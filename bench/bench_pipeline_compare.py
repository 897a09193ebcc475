"""The runtime of pipelines beside graph libraries: what a step costs, and what uneven branches take (`--table`).

Steps that do nothing, 500 in a chain and 500 side by side, in microseconds a step; and a branch of 50 ms and 600 ms
beside one of 600 ms, whose critical path is 650 ms. Each library runs in an environment of its own, by a driver in
`compare/`; building and compiling its graph does not count. Headway's runs keep their rows in a call log, as they do
by default; the others keep no record.
"""

from __future__ import annotations

import asyncio
import contextlib
import io
import json
import subprocess
import sys
from typing import Any

import headway
from common import ROOT, emit, own_state
from compare.environments import NoRegistry, environment, version
from compare.graphs import STEPS, UNEVEN, measure

DRIVERS = ROOT / "bench" / "compare"
OTHERS = {
    "LangGraph": ("langgraph", "run_langgraph.py"),
    "Hamilton": ("sf-hamilton", "run_hamilton.py"),
    "pydantic-graph": ("pydantic-graph", "run_pydantic_graph.py"),
}
CRITICAL_S = 0.65


@headway.step
async def one(seconds: float, *needs: Any) -> int:
    """Waits, where there is something to wait for."""
    if seconds:
        await asyncio.sleep(seconds)
    return 1


@headway.pipeline
async def chain() -> Any:
    """Each takes the one before."""
    handle: Any = one(0.0)
    for _ in range(STEPS - 1):
        handle = one(0.0, handle)
    return handle


@headway.pipeline
async def fan() -> Any:
    """Side by side."""
    return await one.map([0.0] * STEPS)


@headway.pipeline
async def uneven() -> Any:
    """By what each needs."""
    handles: dict[str, Any] = {}
    for name, (seconds, needs) in UNEVEN.items():
        handles[name] = one(seconds, *(handles[need] for need in needs))
    return handles["end"]


def ours() -> dict[str, float]:
    """In this process."""
    with contextlib.redirect_stdout(io.StringIO()) as said:
        measure(chain, fan, uneven)
    return json.loads(said.getvalue())


def main() -> None:
    own_state()
    found: dict[str, dict[str, Any]] = {"Headway": ours()}
    for name, (package, driver) in OTHERS.items():
        try:
            python = environment(package)
        except NoRegistry as error:
            found[name] = {"skipped": str(error)}
            continue
        done = subprocess.run([python, DRIVERS / driver], capture_output=True, text=True, check=True)
        found[f"{name} {version(package)}"] = json.loads(done.stdout)
    if "--table" in sys.argv:
        print("| | us a step, in a chain | us a step, side by side | uneven branches (650 ms) |\n|---|---|---|---|")
        for name, row in found.items():
            if "skipped" not in row:
                print(f"| {name} | {row['chain_us']:.0f} | {row['fan_us']:.0f} | {1e3 * row['uneven_s']:.0f} ms |")
        return
    late = found["Headway"]["uneven_s"] / CRITICAL_S
    emit("pipelines beside graph libraries", "uneven branches <= 1.02x the critical path", found, reached=late <= 1.02)


if __name__ == "__main__":
    main()
