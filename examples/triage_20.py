"""Triage twenty support tickets: in parallel, cached, each with its latency, tokens and price.

Run it as it stands with OPENAI_API_KEY set; or against the simulator: start `headway sim` in another terminal, and
set OPENAI_BASE_URL=http://127.0.0.1:8181/v1 OPENAI_API_KEY=sim.
"""

import asyncio
import csv
import time
from pathlib import Path

import headway

HERE = Path(__file__).parent


async def main() -> None:
    """Label every ticket and say what it took."""
    with (HERE / "tickets.csv").open(encoding="utf-8", newline="") as file:
        tickets = list(csv.DictReader(file))
    task, spent, started_s = headway.Task.load(HERE / "concise.toml"), 0.0, time.perf_counter()
    async with headway.Engine(cache=True) as engine:
        async for result in engine.map(tickets, task):
            tokens = result.usage.input_tokens + result.usage.output_tokens if result.usage else 0
            spent += result.dollars or 0.0
            took = f"{result.latency_s:6.3f} s  {tokens:4} tokens  ${result.dollars or 0:.6f}  {result.cache}"
            print(f"{result.row['id']}  {result.value or result.error:18} {took}")
    print(f"{len(tickets)} tickets in {time.perf_counter() - started_s:.2f} s for ${spent:.6f}")


if __name__ == "__main__":
    asyncio.run(main())
