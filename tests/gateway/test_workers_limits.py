"""The provider's limits, shared by workers: engines stand for them, each with its slices of one hub's buckets."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from headway import Engine
from headway.engine.company import Company
from headway.gateway.hub.messages import Give, Take, Tell
from headway.gateway.hub.sliced import SlicedLimits
from headway.policy.common_limits import CommonLimits, Slice
from headway.sim import SimSettings, Simulator
from headway.testing import virtual_run

WAY_S = 0.0003
"""To the hub and back."""


class Buckets:
    """The hub without its sockets, as one worker has it."""

    def __init__(self, limits: CommonLimits, who: int) -> None:
        self.limits = limits
        self.who = who
        self.asked = 0

    async def take(self, take: Take) -> Slice | None:
        await asyncio.sleep(WAY_S)
        self.asked += 1
        now_s = asyncio.get_running_loop().time()
        return self.limits.bucket(take.scope, now_s).take(take.least, take.wanted, now_s)

    def tell(self, message: Any) -> None:
        now_s = asyncio.get_running_loop().time()
        bucket = self.limits.bucket(message.scope, now_s)
        if isinstance(message, Give):
            bucket.give_back(message.unused, now_s, known=message.known)
        elif isinstance(message, Tell):
            left, mark, larger, full = message.left, message.mark, message.larger, message.full
            bucket.tell(message.bucket, now_s, who=self.who, left=left, mark=mark, larger=larger, full=full)


def worker(
    simulator: Simulator, common: CommonLimits | None, who: int, **settings: Any
) -> tuple[Engine, SlicedLimits | None]:
    own = {"log": "off", "log_level": "off", "api_key": "sk-sim"} | settings
    engine = Engine(handler=simulator.handler, **own)
    buckets = Buckets(common, who) if common is not None else None
    limits = SlicedLimits(buckets.take, buckets.tell) if buckets is not None else None
    engine.company = Company(limits)
    return engine, limits


async def pressed(
    simulator: Simulator, common: CommonLimits | None, workers: int, for_s: float, at_once: int = 64, **settings: Any
) -> list[list[int]]:
    """Each worker's statuses, of clients that ask one thing after the other for that long."""
    made = [worker(simulator, common, who, **settings) for who in range(workers)]
    statuses: list[list[int]] = [[] for _ in made]
    until_s = asyncio.get_running_loop().time() + for_s

    async def client(place: int, number: int) -> None:
        turn = 0
        while asyncio.get_running_loop().time() < until_s:
            turn += 1
            body = {"model": "gpt-5.4-mini", "input": f"Question {place} {number} {turn}", "max_output_tokens": 16}
            reply = await made[place][0].send("/v1/responses", body)
            statuses[place].append(reply.status)

    await asyncio.gather(*[client(n % workers, n) for n in range(at_once)])
    for engine, limits in made:
        await engine.aclose()
        if limits is not None:
            await limits.aclose()
    return statuses


@pytest.mark.parametrize("workers", [1, 2, 4])
def test_together_they_use_the_limit_and_are_hardly_refused(workers):
    """3,000 a minute, enforced in slices of a second, which nobody has configured and no header tells."""
    simulator = Simulator(SimSettings(seed=1, rpm=3_000, capacity_s=1, latency_scale=0.1))
    statuses = virtual_run(lambda: pressed(simulator, CommonLimits(), workers, 20.0))
    totals = simulator.ledger.totals
    print([len(s) for s in statuses], totals)
    first = simulator.ledger.rows[0].time_wall_s
    later = [row for row in simulator.ledger.rows if row.status == 200 and 3.0 <= row.time_wall_s - first < 20.0]
    print(len(later) / (17 * 50), [round(r.time_wall_s - first, 2) for r in simulator.ledger.rows if r.status == 429])
