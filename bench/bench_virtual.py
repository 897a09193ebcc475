"""The whole banking77 job as 3,080 sequential calls on virtual time, twice: how long it takes, and that it repeats."""

from __future__ import annotations

import asyncio
import hashlib
import time

from common import ROOT, banking77, emit, own_state
from headway import Engine, Task
from headway.sim import SimSettings, Simulator
from headway.testing import virtual_run


def job(rows: list[dict[str, str]], task: Task) -> tuple[float, str]:
    """Virtual seconds, and a digest of every byte that came back."""

    async def main() -> tuple[float, str]:
        digest = hashlib.sha256()
        simulator = Simulator(SimSettings(seed=1))
        async with Engine(
            handler=simulator.handler, base_url="http://sim/v1", api_key="sim", seed=1, log="off"
        ) as engine:
            async for result in engine.map(rows, task, concurrency=1):
                digest.update(
                    repr((result.index, result.text, result.latency_s, result.usage, result.dollars)).encode()
                )
        return asyncio.get_running_loop().time(), digest.hexdigest()

    return virtual_run(main)


def main() -> None:
    own_state()
    rows, task = banking77(), Task.load(ROOT / "examples" / "banking77.toml")
    walls, results = [], []
    for _ in range(2):
        start_s = time.perf_counter()
        results.append(job(rows, task))
        walls.append(time.perf_counter() - start_s)
    virtual_s = results[0][0]
    emit(
        "banking77 as 3,080 sequential calls on virtual time",
        "<= 5 s of wall time",
        f"{max(walls):.1f} s for {virtual_s:.0f} virtual s ({virtual_s / max(walls):.0f}x)",
        reached=max(walls) <= 5,
    )
    emit("the same bytes for the same seed", "identical", results[0][1][:16], reached=results[0] == results[1])


if __name__ == "__main__":
    main()
