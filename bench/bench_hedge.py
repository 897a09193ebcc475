"""Hedging against a simulated provider: 3 % of answers come ten times late, 5 % of the dollars may go to backups.

In virtual time, twice the same 3,000 calls in the same order: without backups, and with them. Dollars are the
provider's own account, answers that were cut short included.
"""

from __future__ import annotations

import asyncio

from common import emit, own_state
from headway import Engine
from headway.sim import Fault, SimSettings, Simulator, run_virtual

CALLS, PER_S = 3000, 25.0
TOKENS = 60


async def measure(ratio: float) -> tuple[list[float], float, int]:
    """Latencies in seconds, the provider's dollars, attempts."""
    loop = asyncio.get_running_loop()
    simulator = Simulator(SimSettings(seed=3, faults=(Fault(kind="slow", rate=0.03),)))
    latencies: list[float] = []
    async with Engine(handler=simulator.handler, api_key="sk-sim", log="off", hedge_ratio=ratio, seed=1) as engine:

        async def one(n: int) -> None:
            start_s = loop.time()
            text = f"Question {n}: what is the shortest way from the station to the harbour?"
            body = {"model": "gpt-5.4-mini", "input": text, "max_output_tokens": TOKENS, "stream": True}
            reply = await engine.send("/v1/responses", body)
            await anext(reply)
            first_s = loop.time() - start_s
            await reply.read()
            if n >= 200:  # the trigger has seen enough
                latencies.append(first_s)

        tasks = []
        for n in range(CALLS):
            tasks.append(asyncio.create_task(one(n)))
            await asyncio.sleep(1 / PER_S)
        await asyncio.gather(*tasks)
        await asyncio.sleep(60)
        totals = simulator.ledger.totals
    return sorted(latencies), totals.dollars, totals.attempts


def p(latencies: list[float], q: float) -> float:
    return latencies[int(q * len(latencies))]


def main() -> None:
    own_state()
    plain, plain_dollars, plain_attempts = run_virtual(lambda: measure(0.0))
    hedged, dollars, attempts = run_virtual(lambda: measure(0.05))
    cut = 1 - p(hedged, 0.99) / p(plain, 0.99)
    more = dollars / plain_dollars - 1
    emit(
        "p99 of the first content, hedged against not",
        ">= 65 % less",
        f"{cut:.1%} less",
        reached=cut >= 0.65,
        p50_s=[round(p(plain, 0.5), 3), round(p(hedged, 0.5), 3)],
        p99_s=[round(p(plain, 0.99), 3), round(p(hedged, 0.99), 3)],
    )
    emit(
        "dollars more for it",
        "<= 5 %",
        f"{more:.1%}",
        reached=more <= 0.05,
        attempts=[plain_attempts, attempts],
    )


if __name__ == "__main__":
    main()
