"""What the engine itself costs a call, in-process, without a network: everything on, and cache hits from each tier.

The upstream is a handler that answers at once, so what is measured is the engine. "Everything on" is the call log, the
deadline, the cache (memory and SQLite, each call a miss that is then stored), joining, retries, pacing by learned
limits, a dollar and a token cap. Taken one call after the other and with 32 at once; medians of several rounds.
"""

from __future__ import annotations

import asyncio
import gc
import time
from collections.abc import Awaitable, Callable

from common import emit, own_state, spread
from headway import Call, Engine, Reply

ANSWER = (
    b'{"id":"resp_1","object":"response","created_at":1,"status":"completed","model":"gpt-5.4-mini","output":[{"id":'
    b'"msg_1","type":"message","role":"assistant","status":"completed","content":[{"type":"output_text","text":'
    b'"card_arrival","annotations":[]}]}],"usage":{"input_tokens":70,"input_tokens_details":{"cached_tokens":0},'
    b'"output_tokens":4,"output_tokens_details":{"reasoning_tokens":0},"total_tokens":74}}'
)
HEADERS = (
    ("content-type", "application/json"),
    ("x-ratelimit-limit-requests", "30000000"),
    ("x-ratelimit-remaining-requests", "29999000"),
    ("x-ratelimit-reset-requests", "2ms"),
    ("openai-processing-ms", "1"),
    ("x-request-id", "req_0123456789"),
)
ROUNDS, CALLS = 7, 4000


async def provider(call: Call) -> Reply:
    return Reply(200, HEADERS, ANSWER, trace=call.trace)


def body(n: int) -> bytes:
    text = f"I ordered a card more than a week ago and it still has not arrived, what can I do about it? {n}"
    return b'{"model":"gpt-5.4-mini","input":"%b","max_output_tokens":16,"store":false}' % text.encode()


async def timed(one: Callable[[int], Awaitable[None]], start: int, at_once: int) -> float:
    """Microseconds a call over `CALLS` calls."""
    gc.collect()
    each = CALLS // at_once

    async def worker(first: int) -> None:
        for n in range(first, first + each):
            await one(n)

    start_s = time.perf_counter()
    await asyncio.gather(*[worker(start + k * each) for k in range(at_once)])
    return (time.perf_counter() - start_s) / (each * at_once) * 1e6


async def warm(one: Callable[[int], Awaitable[None]]) -> int:
    """Four seconds: connections, prices and the ramp are behind us."""
    until_s, n = time.perf_counter() + 4, 10_000_000
    while time.perf_counter() < until_s:
        await one(n)
        n += 1
    return n


async def measure() -> None:
    everything = {"cache": "disk", "budget_usd": 1e9, "budget_tokens": 10**12}
    async with Engine(handler=provider, api_key="k", **everything) as engine:

        async def one(n: int) -> None:
            await engine.send("/v1/responses", body(n))

        n = await warm(one)
        single, many, memory = [], [], []
        for _ in range(ROUNDS):
            single.append(await timed(one, n, 1))
            memory.append(await timed(one, n, 1))
            n += CALLS
            many.append(await timed(one, n, 32))
            n += CALLS
    overhead, at_once, hit = spread(single), spread(many), spread(memory)
    emit("engine overhead, everything on, 32 at once", "<= 40 us a call", at_once, reached=at_once["median"] <= 40)
    emit("engine overhead, everything on, one at a time", "<= 40 us a call", overhead, reached=overhead["median"] <= 40)
    emit("cache hit from memory", "<= 30 us", hit, reached=hit["median"] <= 30)


async def measure_lean() -> None:
    async with Engine(handler=provider, api_key="k", log="off") as engine:

        async def one(n: int) -> None:
            await engine.send("/v1/responses", body(n))

        n = await warm(one)
        lean = spread([await timed(one, n + k * CALLS, 32) for k in range(ROUNDS)])
    emit("for comparison: only deadline, flight, retry and pace; 32 at once", "-", lean, reached=None)


async def measure_disk() -> None:
    rounds = []
    for _ in range(ROUNDS):
        # A fresh engine each time: its memory is empty, so every first hit comes from the file.
        async with Engine(handler=provider, api_key="k", cache="disk", cache_memory_bytes_max=1) as engine:

            async def one(n: int, engine: Engine = engine) -> None:
                await engine.send("/v1/responses", body(n))

            if not rounds:
                await timed(one, 0, 1)
                await asyncio.sleep(0.5)  # the writer has written
            rounds.append(await timed(one, 0, 1))
            attempts = engine.snapshot()["attempts"]
    disk = spread(rounds)
    emit("cache hit from SQLite", "<= 120 us", disk, reached=disk["median"] <= 120, missed=attempts)


async def yardstick() -> None:
    """What this machine charges for one bare task, to read the figures by."""

    async def nothing() -> None:
        pass

    async def one(_: int) -> None:
        await asyncio.create_task(nothing())

    emit(
        "yardstick: create one asyncio task and await it",
        "-",
        spread([await timed(one, 0, 1) for _ in range(7)]),
        reached=None,
    )


if __name__ == "__main__":
    own_state()
    asyncio.run(yardstick())
    asyncio.run(measure())
    asyncio.run(measure_lean())
    asyncio.run(measure_disk())
