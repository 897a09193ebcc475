"""Limits shared over a real Redis: two engines (they stand for processes) keep within one quota together."""

from __future__ import annotations

import asyncio

from headway import Engine
from headway.attempt.shared_pace import SharedPace
from headway.policy.limits import Limits, LimitSettings
from headway.sim import SimSettings, Simulator
from headway.store.redis_limits import SharedLease
from headway.testing import FakeProvider, virtual_run
from headway.types import Call, RequestView, Trace
from tests.redis_server import redis_server, redis_url

__all__ = ["redis_server", "redis_url"]

PATH = "/v1/responses"


def process(handler, url: str, **settings: object) -> Engine:
    own = {"log": "off", "log_level": "off", "api_key": "sk-sim", "cache": "redis", "redis_url": url}
    return Engine(handler=handler, **own | settings)


def body(n: int) -> dict[str, object]:
    return {"model": "gpt-5.4-mini", "input": f"Question {n}", "max_output_tokens": 16}


async def both(url: str, simulator: Simulator, calls: int, **settings: object) -> tuple[list[int], int]:
    """One engine learns the limits, then two share the calls: all statuses, and the refusals of the second part."""
    async with (
        process(simulator.handler, url, **settings) as one,
        process(simulator.handler, url, **settings) as two,
    ):
        first = await asyncio.gather(*[one.send(PATH, body(-1 - n), cache="off") for n in range(calls)])
        learning = simulator.ledger.totals.throttled
        rest = [(one if n % 2 else two).send(PATH, body(n), cache="off") for n in range(calls)]
        replies = [*first, *await asyncio.gather(*rest)]
        return [reply.status for reply in replies], simulator.ledger.totals.throttled - learning


def test_two_processes_keep_within_one_quota(redis_url):
    """What one process has learned holds the other one back as well, which alone would start with a burst."""
    refused = []
    for shared in (True, False):
        simulator = Simulator(SimSettings(seed=1, rpm=1200, capacity_s=1, latency_scale=0.01))
        statuses, more = asyncio.run(asyncio.wait_for(both(redis_url, simulator, 40, redis_limits=shared), 30))
        assert statuses == [200] * 80
        refused.append(more)
    assert refused[0] < refused[1]


def test_a_dead_redis_grants_everything(redis_server):
    """Sharing is a help, never a condition: without Redis each process paces itself alone."""
    redis_server.kill()
    try:
        simulator = Simulator(SimSettings(seed=1, latency_scale=0.01))
        statuses, _ = asyncio.run(asyncio.wait_for(both(redis_server.url, simulator, 20), 30))
    finally:
        redis_server.start()
    assert statuses == [200] * 40


def test_who_leaves_while_waiting_for_the_shared_turn_gives_everything_back(redis_url):
    """Cancelled in the shared queue: the next one goes, and nothing is left behind."""
    simulator = Simulator(SimSettings(seed=1, rpm=60, capacity_s=1, latency_scale=0.01))

    async def main():
        async with process(simulator.handler, redis_url) as engine:
            await engine.send(PATH, body(-1))
            waiting = [asyncio.create_task(engine.send(PATH, body(n), cache="off")) for n in range(3)]
            await asyncio.sleep(0.05)
            for task in waiting[:2]:
                task.cancel()
            reply = await waiting[2]
            await asyncio.sleep(0.05)
            return reply.status, engine.snapshot()["in_flight"], engine.snapshot()["queued"]

    assert asyncio.run(asyncio.wait_for(main(), 30)) == (200, 0, 0)


def test_limits_are_not_shared_unless_wanted(redis_url):
    """`redis_limits=False`: Redis holds the cache and nothing about quotas."""

    async def main():
        async with process(FakeProvider(), redis_url, redis_limits=False) as engine:
            await engine.send(PATH, body(1))
            return engine._stack._shared

    assert asyncio.run(main()) is None


def a_call(n: int) -> Call:
    trace = Trace("attempt", str(n), 0.0, 0.0)
    return Call(origin="http://p", path=PATH, body=b'{"model": "m", "input": "Hi"}', view=RequestView(), trace=trace)


class Asked:
    """Stands for Redis: grants all, one after another, and keeps whose quota was asked for."""

    def __init__(self) -> None:
        self.scopes: list[str] = []

    def begin(self, scope: str, bucket: object) -> None:
        pass

    def at_hand(self, scope: str, tokens: float) -> None:
        return None

    async def acquire(self, scope: str, tokens: float, *, waiting: int = 1) -> SharedLease:
        self.scopes.append(scope)
        await asyncio.sleep(1.0)
        return SharedLease(scope, "id", tokens)


def test_who_waits_asks_for_the_quota_by_its_newest_name():
    """An answer has named the organisation: those in line do not draw from the key's own bucket beside it (a bug)."""
    asked, limits = Asked(), Limits(LimitSettings(), scope="key")

    async def main():
        pace = SharedPace(FakeProvider(), asked, lambda call: limits, queue_max=10)
        calls = [asyncio.create_task(pace(a_call(n))) for n in range(3)]
        await asyncio.sleep(0.5)
        limits.scope = "organisation"
        await asyncio.gather(*calls)

    virtual_run(main)
    assert asked.scopes == ["key", "organisation", "organisation"]


def test_when_redis_goes_those_in_line_leave_at_the_known_rate():
    """They had passed this process's own pace, for Redis to decide: without it they are no crowd."""
    limits = Limits(LimitSettings(requests_per_min=60), scope="key")
    down = Asked()

    async def acquire(scope: str, tokens: float, *, waiting: int = 1) -> SharedLease:
        return SharedLease(scope, "", tokens)

    down.acquire = acquire

    async def main():
        pace = SharedPace(FakeProvider(), down, lambda call: limits, queue_max=10)
        await asyncio.gather(*[pace(a_call(n)) for n in range(5)])
        return asyncio.get_running_loop().time()

    assert 5.0 <= virtual_run(main) <= 5.1
