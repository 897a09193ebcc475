"""Limits in the engine: learned from answers, fair between callers, nothing lost when they leave."""

from __future__ import annotations

import asyncio

from headway import Overloaded
from headway.testing import FakeProvider, Step, virtual_run

from .helpers import BODY, RESPONSES, engine


def body(n):
    return BODY | {"input": f"row {n}"}


def test_configured_limits_pace_the_calls():
    """60 a minute with a burst of 54 (the headroom stays): 84 calls take about half a minute."""

    async def main():
        async with engine(FakeProvider(), requests_per_min=60) as e:
            await asyncio.gather(*[e.send(RESPONSES, body(n)) for n in range(84)])
            return asyncio.get_running_loop().time()

    assert 29 < virtual_run(main) < 32


def test_a_429_text_teaches_the_limit():
    """One refusal with its arithmetic, and the pace is right from then on."""
    text = b"Rate limit reached for m in organization org-x on requests per min (RPM): Limit 60, Used 60, Requested 1."
    refusal = Step(
        status=429,
        body=b'{"error":{"message":"' + text + b'","type":"requests","code":"rate_limit_exceeded"}}',
    )
    provider = FakeProvider([refusal, 200])

    async def main():
        async with engine(provider) as e:
            await e.send(RESPONSES, body(0))
            start_s = asyncio.get_running_loop().time()
            await asyncio.gather(*[e.send(RESPONSES, body(n)) for n in range(10)])
            return e.snapshot(), asyncio.get_running_loop().time() - start_s

    snapshot, took_s = virtual_run(main)
    assert snapshot["allowed_rpm"] == 60
    assert snapshot["throttled"] == 1
    assert 9 <= took_s <= 17


def test_priority_goes_first_then_the_earliest_deadline():
    """With one place a second, the queue's order is what the caller asked for."""
    done: list[str] = []

    async def main():
        async with engine(FakeProvider(), requests_per_min=60) as e:
            await asyncio.gather(*[e.send(RESPONSES, body(n)) for n in range(54)])

            async def one(name, **how):
                await e.send(RESPONSES, BODY | {"input": name}, **how)
                done.append(name)

            await asyncio.gather(
                one("low", priority="low"),
                one("late", deadline_s=500),
                one("early", deadline_s=50),
                one("high", priority="high"),
            )

    virtual_run(main)
    assert done == ["high", "early", "late", "low"]


def test_who_leaves_the_queue_spends_nothing():
    """Cancelled while paced: the place is given up, and those behind move up."""

    async def main():
        async with engine(FakeProvider(), requests_per_min=60) as e:
            await asyncio.gather(*[e.send(RESPONSES, body(n)) for n in range(54)])
            start_s = asyncio.get_running_loop().time()
            gone = [asyncio.create_task(e.send(RESPONSES, body(100 + n))) for n in range(20)]
            last = asyncio.create_task(e.send(RESPONSES, body(200)))
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            for task in gone:
                task.cancel()
            await last
            (lane,) = e._stack._pace.lanes.values()
            return asyncio.get_running_loop().time() - start_s, len(lane.queue), lane.limits.requests.charged

    took_s, queued, charged = virtual_run(main)
    assert took_s <= 1.0 + 1e-6
    assert queued == 0
    assert charged == 55


def test_a_failed_connection_is_refunded():
    """What never reached the provider was never charged."""
    from headway import ConnectFailed

    provider = FakeProvider([ConnectFailed("down")])

    class Unsent:
        """Fails before anything is sent, as a refused connection does."""

        async def __call__(self, call):
            call.trace.sent_at_s = None
            return await provider(call)

    async def main():
        async with engine(Unsent()) as e:
            await asyncio.gather(e.send(RESPONSES, BODY), return_exceptions=True)
            (lane,) = e._stack._pace.lanes.values()
            return lane.limits.requests.charged

    assert virtual_run(main) == 0


def test_a_full_queue_says_so():
    """Bounded: one more than `queue_max` is told at once, and nothing was sent."""

    async def main():
        async with engine(FakeProvider(), requests_per_min=1, queue_max=5) as e:
            calls = [asyncio.create_task(e.send(RESPONSES, body(n), deadline_s=30)) for n in range(8)]
            results = await asyncio.gather(*calls, return_exceptions=True)
            return [type(r).__name__ for r in results]

    names = virtual_run(main)
    assert names.count("Overloaded") == 2
    assert names.count("Reply") == 1
    assert Overloaded.code == "queue_full"


def test_a_joiner_of_higher_priority_pulls_the_flight_forward():
    """A waiting attempt is re-sorted when somebody more urgent joins its flight."""
    done: list[str] = []

    async def main():
        async with engine(FakeProvider(), requests_per_min=60, cache="memory") as e:
            await asyncio.gather(*[e.send(RESPONSES, body(n)) for n in range(54)])

            async def one(name, **how):
                await e.send(RESPONSES, BODY | {"input": name}, **how)
                done.append(name)

            tasks = [asyncio.create_task(one(name)) for name in ("a", "b", "c")]
            await asyncio.sleep(0.01)
            await asyncio.gather(one("c", priority="high"), *tasks)

    virtual_run(main)
    assert done[0] == "c"
