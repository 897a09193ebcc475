"""Routing on virtual time: a slow upstream, a dead one, the best of several regions, and a choice by price.

Three simulated providers behind one engine, 20 calls a second, short answers. Nobody tells the engine which one turns
slow or dies; what is measured is the callers' own latency, and the simulators' view of who was asked.
"""

from __future__ import annotations

import asyncio
import os
from collections import Counter
from typing import Any

from common import emit, own_state
from headway import Call, ConnectFailed, ConnectionLost, Engine, HeadwayError, Reply
from headway.sim import SimSettings, Simulator
from headway.testing import virtual_run

PATH = "/v1/chat/completions"
PER_S = 20
BEFORE_S, AFTER_S = 30, 30
NAMES = ("a", "b", "c")


def upstreams(names: tuple[str, ...]) -> list[dict[str, Any]]:
    """Entries for all but the first, which is the engine's own address."""
    own = f"http://{names[0]}/v1"
    return [
        {"name": name, "base_url": f"http://{name}/v1", "key_env": "BENCH_KEY", "stands_in_for": own}
        for name in names[1:]
    ]


class World:
    """Simulators by host; from `turns_s` on, one of them is slow or dead."""

    def __init__(self, names: tuple[str, ...], *, bad: str = "", how: str = "", regions: dict[str, str] | None = None):
        seeds = {name: number for number, name in enumerate(names)}
        self._sims = {
            name: Simulator(
                SimSettings(seed=seeds[name], rpm=None, tpm=None, region=(regions or {}).get(name, "us-east"))
            )
            for name in names
        }
        self._slow = Simulator(SimSettings(seed=9, rpm=None, tpm=None, latency_scale=10))
        self._bad, self._how = bad, how
        self.asked: list[tuple[float, str]] = []
        self.wasted = 0

    async def handler(self, call: Call) -> Reply:
        name = call.origin.removeprefix("http://")
        now_s = asyncio.get_running_loop().time()
        self.asked.append((now_s, name))
        turned = name == self._bad and now_s >= BEFORE_S
        if turned and self._how in ("dead", "silent"):
            self.wasted += 1
            if self._how == "silent":
                await asyncio.sleep(5)  # what `connect_timeout_s` is by default
            raise ConnectFailed(f"{name} is down")
        if turned and self._how == "slow":
            return await self._slow.handler(call)
        reply = await self._sims[name].handler(call)
        if name == self._bad and self._how in ("dead", "silent") and asyncio.get_running_loop().time() >= BEFORE_S:
            self.wasted += 1
            raise ConnectionLost(f"{name} went down", maybe_billed=True)
        return reply


def drive(world: World, names: tuple[str, ...], *, stream: bool = False) -> list[tuple[float, float | None]]:
    """Start and latency (of streams: time to the first token) of every call; None for one that failed."""
    taken: list[tuple[float, float | None]] = []

    async def one(engine: Engine, number: int) -> None:
        loop = asyncio.get_running_loop()
        start_s = loop.time()
        body = {
            "model": "gpt-4o" if stream else "gpt-4o-mini", "max_tokens": 30, "stream": stream,
            "messages": [{"role": "user", "content": f"Ticket {number}: where is my parcel?"}],
        }  # fmt: skip
        try:
            reply = await engine.send(PATH, body)
            if stream:
                await reply.read()
            trace = reply.trace
            end_s = trace.first_content_at_s if stream and trace is not None else loop.time()
            taken.append((start_s, end_s - start_s if reply.status == 200 and end_s is not None else None))
        except HeadwayError:
            taken.append((start_s, None))

    async def main() -> None:
        own = f"http://{names[0]}/v1"
        async with (
            Engine(
                handler=world.handler,
                base_url=own,
                api_key="k",
                seed=1,
                log="off",
                log_level="off",
                upstreams=upstreams(names),
            ) as engine,
            asyncio.TaskGroup() as group,
        ):
            for number in range((BEFORE_S + AFTER_S) * PER_S):
                group.create_task(one(engine, number))
                await asyncio.sleep(1 / PER_S)

    virtual_run(main)
    return taken


def p95(taken: list[tuple[float, float | None]], from_s: float, until_s: float = 1e9) -> float:
    """Of the calls that began in that time."""
    values = sorted(s for at_s, s in taken if s is not None and from_s <= at_s < until_s)
    return values[int(0.95 * (len(values) - 1))]


def slow() -> None:
    for bad in NAMES:
        world = World(NAMES, bad=bad, how="slow")
        taken = drive(world, NAMES)
        healthy = drive(World(tuple(n for n in NAMES if n != bad)), tuple(n for n in NAMES if n != bad))
        ratio = p95(taken, BEFORE_S + 5) / p95(healthy, BEFORE_S + 5)
        asked = Counter(name for at_s, name in world.asked if at_s >= BEFORE_S + 5)
        emit(
            f"3 upstreams, {bad} turns 10x slower: p95 from 5 s after it, against the two healthy ones alone",
            "<= 1.3x",
            f"{ratio:.2f}x",
            reached=ratio <= 1.3 and all(s is not None for _, s in taken),
            asked_later=dict(asked),
            p95_in_the_first_5_s=round(p95(taken, BEFORE_S, BEFORE_S + 5), 2),
        )


def dead() -> None:
    for bad, how in ((bad, how) for how in ("dead", "silent") for bad in NAMES):
        world = World(NAMES, bad=bad, how=how)
        taken = drive(world, NAMES)
        failed = sum(s is None for _, s in taken)
        emit(
            f"3 upstreams, {bad} turns {how}, {PER_S} calls/s: failed calls, attempts wasted (those under way too)",
            "no failed call, <= 20 attempts wasted",
            f"{failed} failed, {world.wasted} wasted",
            reached=failed == 0 and world.wasted <= 20,
        )


def region() -> None:
    """The home region alone, against the router over three: mean time to first token once it has learned."""
    regions = {"a": "eu-west", "b": "us-east", "c": "ap-southeast"}
    routed = mean(drive(World(NAMES, regions=regions), NAMES, stream=True))
    for home in NAMES:
        alone = mean(drive(World((home,), regions=regions), (home,), stream=True))
        saved = 1 - routed / alone
        emit(
            f"region choice: mean TTFT, {regions[home]} alone against the router over {', '.join(regions.values())}",
            "20-50 % lower (claimed by the material)",
            f"{alone * 1e3:.0f} -> {routed * 1e3:.0f} ms ({saved:.0%})",
            reached=None,
        )


def mean(taken: list[tuple[float, float | None]]) -> float:
    """Without the first 5 s, in which it learns."""
    values = [s for at_s, s in taken if s is not None and at_s >= 5]
    return sum(values) / len(values)


def main() -> None:
    own_state()
    os.environ["BENCH_KEY"] = "bench"
    slow()
    dead()
    region()


if __name__ == "__main__":
    main()
