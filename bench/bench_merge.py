"""Three outputs a row: merged into one call, in separate calls side by side, and in separate calls in sequence.

In virtual time, over rows of banking77: short rows, long ones (forty questions to a text), and short ones under a limit
on requests. Then a model that leaves keys out of its merged answers, at several rates, where "auto" has to bound the
loss. Calls and dollars are the provider's own account; latency is a row's, as its caller waited for it.
"""

from __future__ import annotations

import asyncio
import json
import sys
from random import Random
from statistics import median
from typing import Any

from common import ROOT, banking77, emit, own_state
from headway import Ask, Engine, Labels, MergedTask, Sentence, Task
from headway.policy.merging import merge_estimate
from headway.sim import SimSettings, Simulator, run_virtual
from headway.types import Call, Reply

ROWS = int(sys.argv[1]) if len(sys.argv) > 1 else 600
WAYS = {
    "merged": {"mode": "merged"},
    "separate, parallel": {"mode": "separate", "order": "parallel"},
    "separate, sequential": {"mode": "separate", "order": "sequential"},
}
SETTINGS = {"api_key": "sk-sim", "log": "off", "log_level": "off", "seed": 1, "timeout_s": 7_200.0}
LONG = 40


def task() -> MergedTask:
    """Intent, summary and urgency of a bank customer's message."""
    intents = Task.load(ROOT / "examples" / "banking77.toml").output
    outputs = {
        "category": Ask("Name the intent of the message.", intents, expected="category"),
        "summary": Ask("Summarise the message.", Sentence()),
        "urgency": Ask("How urgent is it?", Labels(labels=("now", "today", "this week", "whenever"))),
    }
    return MergedTask(model="gpt-5.4-mini", system="You read a bank's post.", prompt="{text}", outputs=outputs)


class Dropping:
    """The simulator, but for two of the three keys, which merged answers leave out at a rate."""

    def __init__(self, rate: float) -> None:
        self.simulator = Simulator(SimSettings(seed=1))
        self._rate = rate

    async def __call__(self, call: Call) -> Reply:
        reply = await self.simulator.handler(call)
        if b'"name":"outputs"' not in call.body or Random(call.body).random() >= self._rate:
            return reply
        answer = json.loads(await reply.read())
        part = answer["output"][-1]["content"][0]
        part["text"] = part["text"].partition(',"summary"')[0] + "}"
        return Reply(reply.status, reply.headers, json.dumps(answer).encode(), trace=reply.trace)


async def measure(asking: MergedTask, rows: list[dict[str, str]], handler: Any, ledger: Any) -> dict[str, Any]:
    loop = asyncio.get_running_loop()
    async with Engine(handler=handler, **SETTINGS) as engine:
        start_s = loop.time()
        results = [result async for result in engine.map(rows, asking, concurrency=64)]
        took_s = loop.time() - start_s
    totals = ledger.totals
    booked = sum(result.dollars or 0.0 for result in results)
    right = [result.value["category"] == result.row["category"] for result in results if result.value]
    latencies = sorted(result.latency_s for result in results)
    return {
        "calls_per_row": round(totals.attempts / len(rows), 3),
        "dollars_per_1000": round(1_000 * totals.dollars / len(rows), 4),
        "booked_equals_billed": abs(booked - totals.dollars) < 1e-9,
        "latency_p50_s": round(median(latencies), 3),
        "latency_p95_s": round(latencies[int(0.95 * len(latencies))], 3),
        "seconds": round(took_s, 1),
        "accuracy": round(sum(right) / len(rows), 4),
        "failed": sum(bool(result.error) for result in results),
        "asked_again": sum(result.repairs for result in results),
    }


def over(asking: MergedTask, rows: list[dict[str, str]], **sim: Any) -> dict[str, Any]:
    """Measured against a fresh simulator."""
    simulator = Simulator(SimSettings(seed=1, **sim))
    return run_virtual(lambda: measure(asking, rows, simulator.handler, simulator.ledger))


def long_rows(rows: list[dict[str, str]]) -> list[dict[str, str]]:
    """Each with the messages behind it as one text; the category stays that of the first, so it says nothing."""
    texts = [row["text"] for row in rows]
    return [{**row, "text": " ".join((texts * 2)[n : n + LONG])} for n, row in enumerate(rows)]


def main() -> None:
    own_state()
    rows = banking77()[:ROWS]
    cases = {
        "short rows": (rows, {}),
        f"long rows ({LONG} messages each)": (long_rows(rows[: ROWS // 4]), {}),
        "short rows, 500 requests/min": (rows, {"rpm": 500, "start_full": False}),
    }
    for name, (some, sim) in cases.items():
        found = {way: over(task().merged_as(**how), some, **sim) for way, how in WAYS.items()}
        merged, sequential = found["merged"], found["separate, sequential"]
        reached = (
            merged["calls_per_row"] < 1.2
            and merged["latency_p50_s"] < sequential["latency_p50_s"]
            and all(one["booked_equals_billed"] and not one["failed"] for one in found.values())
        )
        emit(f"merge: {name}", "one call a row; quicker than in sequence; all booked", found, reached=reached)
    tokens = {"category": 8, "summary": 20, "urgency": 3}
    estimate = merge_estimate(tokens, ttft_s=0.6, tpot_s=0.012, source_tokens=60, ask_tokens=40)
    emit("merge: the estimate", "printed", estimate.advice, reached=None)

    for rate in (0.1, 0.3, 1.0):
        found = {}
        for way in ("merged", "auto", "separate"):
            handler = Dropping(rate)
            asking = task().merged_as(mode=way)  # type: ignore[arg-type]
            found[way] = run_virtual(lambda a=asking, h=handler: measure(a, rows, h, h.simulator.ledger))
        better = "merged" if rate < 0.2 else "separate"
        more = {key: found["auto"][key] / found[better][key] - 1 for key in ("dollars_per_1000", "latency_p50_s")}
        emit(
            f"merge: {rate:.0%} of merged answers lack two keys", f"auto at most 15 % above {better}, in $ and s",
            found, reached=max(more.values()) <= 0.15, more={key: round(value, 3) for key, value in more.items()},
        )  # fmt: skip


if __name__ == "__main__":
    main()
