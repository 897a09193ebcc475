"""banking77 under a limit on requests a minute, one row to a prompt and up to six, and where grouping gives itself up.

In virtual time, with the rows of the main job at priority "low". Rows/s, dollars and accuracy are the job's, without
grouping and with it; then the same with a model that leaves every fifth item out, and with a prompt that has nothing to
share, where it has to switch itself off. Dollars are the provider's own account.
"""

from __future__ import annotations

import asyncio
import sys
from typing import Any

from common import ROOT, banking77, emit, own_state
from headway import Engine, Task
from headway.sim import SimSettings, Simulator, run_virtual

RPM = 500
ROWS = int(sys.argv[1]) if len(sys.argv) > 1 else 3080
TASK = ROOT / "examples" / "banking77.toml"


async def measure(task: Task, rows: list[dict[str, str]], grouping: str, drop: float = 0.0) -> dict[str, Any]:
    simulator = Simulator(SimSettings(seed=1, rpm=RPM, start_full=False, group_drop=drop))
    loop = asyncio.get_running_loop()
    failed = right = 0
    settings = {"api_key": "sk-sim", "log": "off", "seed": 1, "timeout_s": 7_200.0, "prompt_grouping": grouping}
    async with Engine(handler=simulator.handler, **settings) as engine:
        start_s = loop.time()
        async for result in engine.map(rows, task, order="completed", priority="low"):
            failed += bool(result.error)
            right += result.value == result.row["category"]
        took_s = loop.time() - start_s
        live = engine.snapshot()
    totals = simulator.ledger.totals
    return {
        "rows_per_s": round(len(rows) / took_s, 2), "seconds": round(took_s, 1), "dollars": round(totals.dollars, 4),
        "dollars_booked": round(live["dollars"], 4), "requests": totals.attempts, "failed": failed,
        "accuracy": round(right / len(rows), 4), "grouping": live["grouping"],
    }  # fmt: skip


def main() -> None:
    own_state()
    task, rows = Task.load(TASK), banking77()[:ROWS]
    single = run_virtual(lambda: measure(task, rows, "off"))
    grouped = run_virtual(lambda: measure(task, rows, "load"))
    more = grouped["rows_per_s"] / single["rows_per_s"]
    seen = grouped["grouping"]
    share = seen["fallbacks"] / max(1, seen["members"])
    what = f"banking77, {len(rows)} rows at {RPM} RPM"
    emit(
        f"{what}: rows/s in groups of up to six",
        ">= 3x",
        f"{grouped['rows_per_s']} against {single['rows_per_s']} ({more:.1f}x)",
        reached=more >= 3,
        single=single,
        grouped=grouped,
    )
    dollars = grouped["dollars"] / single["dollars"] - 1
    emit(f"{what}: dollars", "no more", f"{dollars:+.1%}", reached=dollars <= 0)
    booked = abs(grouped["dollars_booked"] / grouped["dollars"] - 1)
    emit(f"{what}: dollars booked beside the provider's account", "+-1 %", f"{booked:.2%}", reached=booked <= 0.01)
    emit(f"{what}: members asked again", "<= 2 %", f"{share:.2%}", reached=share <= 0.02)
    lost = single["accuracy"] - grouped["accuracy"]
    emit(f"{what}: accuracy lost", "<= 1 point", f"{100 * lost:.2f} points", reached=lost <= 0.01)

    dropping = run_virtual(lambda: measure(task, rows, "load", drop=0.2))
    given_up = dropping["grouping"]
    emit(
        "a model that leaves a fifth of the items out: grouping switches itself off, and no row fails",
        "off",
        "on" if given_up["on"] and not given_up["why"] else f"off: {given_up['why']}",
        reached=bool(given_up["why"]) and not dropping["failed"],
        dropping=dropping,
        dollars_more=f"{dropping['dollars'] / single['dollars'] - 1:+.1%}",
    )
    bare = Task(model="gpt-5.4-mini", prompt="Short topic: {text}", max_output_tokens=64, reasoning_effort="none")
    alone = run_virtual(lambda: measure(bare, rows, "off"))
    dear = run_virtual(lambda: measure(bare, rows, "load"))
    emit(
        "a prompt with nothing to share: grouping switches itself off",
        "off",
        "on" if not dear["grouping"]["why"] else f"off: {dear['grouping']['why']}",
        reached=bool(dear["grouping"]["why"]) and dear["failed"] <= alone["failed"],
        single=alone,
        grouped=dear,
    )


if __name__ == "__main__":
    main()
