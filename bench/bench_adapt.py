"""A job under a limit on tokens a minute whose bound on output is far above its answers, with and without `adapt`.

The provider charges max(max_output_tokens, its estimate of the prompt) before it knows the answer, so a bound of 1,024
for answers of some 20 tokens lets few of them through. In virtual time, twice the same rows, the account's bucket empty
at the start: with the task's own bound, and with one that follows the answers. One row in 200 wants a long answer; none
may fail by the bound. Dollars are the provider's own account.
"""

from __future__ import annotations

import asyncio
import sys

from common import banking77, emit, own_state
from headway import Engine, Task
from headway.sim import SimSettings, Simulator, run_virtual

TPM, BOUND = 200_000, 1024
ROWS = int(sys.argv[1]) if len(sys.argv) > 1 else 3080
LONG_EVERY = 200
"""Every so many rows one asks for 300 words."""


def rows() -> list[dict[str, str]]:
    given = banking77()[:ROWS]
    return [
        {"text": row["text"], "words": "300" if n % LONG_EVERY == LONG_EVERY - 1 else "15"}
        for n, row in enumerate(given)
    ]


async def measure(*, adapt: bool) -> dict[str, float]:
    task = Task(
        model="gpt-5.4-mini", prompt="Write {words} words about this question: {text}", max_output_tokens=BOUND,
        reasoning_effort="none",
    )  # fmt: skip
    simulator = Simulator(SimSettings(seed=1, rpm=10_000, tpm=TPM, start_full=False))
    loop = asyncio.get_running_loop()
    failed = asked = output = 0
    async with Engine(handler=simulator.handler, api_key="sk-sim", log="off", seed=1, timeout_s=7_200.0) as engine:
        start_s = loop.time()
        async for result in engine.map(rows(), task, order="completed", adapt=adapt):
            failed += bool(result.error)
            asked += result.attempts > 1
            output += result.usage.output_tokens if result.usage is not None else 0
        took_s = loop.time() - start_s
        throttled = engine.snapshot()["throttled"]
    totals = simulator.ledger.totals
    return {
        "rows_per_s": ROWS / took_s, "seconds": took_s, "dollars": totals.dollars, "failed": failed,
        "rows_asked_again": asked, "throttled": throttled, "output_tokens_per_row": output / ROWS,
    }  # fmt: skip


def main() -> None:
    own_state()
    plain = run_virtual(lambda: measure(adapt=False))
    adapted = run_virtual(lambda: measure(adapt=True))
    more = adapted["rows_per_s"] / plain["rows_per_s"]
    figures = {"without": rounded(plain), "with": rounded(adapted)}
    emit(
        f"{ROWS} rows at {TPM} TPM, bound {BOUND}, answers of some 20 tokens: rows/s with a bound that follows them",
        ">= 3x",
        f"{adapted['rows_per_s']:.1f} against {plain['rows_per_s']:.1f} ({more:.1f}x)",
        reached=more >= 3,
        **figures,
    )
    emit("rows failed by the bound", "0", adapted["failed"], reached=not adapted["failed"] and not plain["failed"])
    dollars = adapted["dollars"] / plain["dollars"] - 1
    emit("dollars more for what is asked again", "<= 2 %", f"{dollars:+.2%}", reached=dollars <= 0.02)


def rounded(figures: dict[str, float]) -> dict[str, float]:
    return {name: round(value, 4) for name, value in figures.items()}


if __name__ == "__main__":
    main()
