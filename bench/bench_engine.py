"""`engine.send` over real connections, without an SDK: calls a second with 32 at once on one core.

The provider is a minimal server in a process of its own that answers at once. Headway is measured as it comes (its call
log on), with everything on (cache, caps, log; every call a miss), and beside it what else is installed, over the same
server: litellm's `acompletion`, TensorZero's embedded client.
"""

from __future__ import annotations

import asyncio
import gc
import importlib.util
import os
import tempfile
import time
from collections.abc import Awaitable, Callable
from typing import Any

from common import emit, own_state, spread
from headway import Engine
from zero import upstream

ROUNDS, CALLS, AT_ONCE = 7, 6400, 32
STREAMS, CHUNKS = 1000, 100


async def rate(one: Callable[[int], Awaitable[object]], start: int, calls: int = CALLS) -> float:
    """Calls a second."""
    gc.collect()
    each = calls // AT_ONCE

    async def worker(first: int) -> None:
        for n in range(first, first + each):
            await one(n)

    start_s = time.perf_counter()
    await asyncio.gather(*[worker(start + k * each) for k in range(AT_ONCE)])
    return each * AT_ONCE / (time.perf_counter() - start_s)


def body(n: int) -> bytes:
    return b'{"model":"gpt-5.4-mini","messages":[{"role":"user","content":"Where is my card? %d"}],"max_tokens":16}' % n


async def headway(base: str, **settings: Any) -> dict[str, float]:
    async with Engine(base_url=base, api_key="sk-bench", **settings) as engine:

        async def one(n: int) -> None:
            await engine.send("/v1/chat/completions", body(n))

        until_s, n = time.perf_counter() + 4, 10_000_000  # prices are read, connections stand, the ramp is behind us
        while time.perf_counter() < until_s:
            await rate(one, n, 320)
            n += 320
        rates = []
        for _ in range(ROUNDS):
            rates.append(await rate(one, n))
            n += CALLS
    return spread(rates)


async def streams(base: str) -> tuple[int, float]:
    """A thousand streams of a hundred chunks at once: how many came whole, and CPU microseconds a chunk."""
    async with Engine(base_url=base, api_key="sk-bench") as engine:

        async def one(n: int) -> int:
            reply = await engine.send("/v1/chat/completions", body(n)[:-1] + b',"stream":true}')
            return (await reply.read()).count(b"data: ")

        await asyncio.gather(*[one(-1 - n) for n in range(32)])
        start_s = time.process_time()
        found = await asyncio.gather(*[one(n) for n in range(STREAMS)], return_exceptions=True)
        took_s = time.process_time() - start_s
    return sum(n == CHUNKS + 2 for n in found), took_s / (STREAMS * CHUNKS) * 1e6


async def litellm(base: str) -> dict[str, float]:
    from litellm import acompletion

    async def one(n: int) -> None:
        await acompletion(
            model="openai/gpt-5.4-mini", api_base=base, api_key="sk-bench", max_tokens=16,
            messages=[{"role": "user", "content": f"Where is my card? {n}"}],
        )  # fmt: skip

    await rate(one, 0, 96)
    return spread([await rate(one, 0, 640) for _ in range(3)])


async def tensorzero(base: str) -> dict[str, float]:
    from tensorzero import AsyncTensorZeroGateway

    os.environ["OPENAI_API_KEY"] = "sk-bench"
    with tempfile.NamedTemporaryFile("w", suffix=".toml") as config:
        config.write(
            '[models.mini]\nrouting = ["zero"]\n[models.mini.providers.zero]\ntype = "openai"\n'
            f'model_name = "gpt-5.4-mini"\napi_base = "{base}/"\n'
        )
        config.flush()
        build = AsyncTensorZeroGateway.build_embedded
        client = await build(config_file=config.name, clickhouse_url=None, async_setup=True)

    async def one(n: int) -> None:
        await client.inference(
            model_name="mini",
            input={"messages": [{"role": "user", "content": f"Where is my card? {n}"}]},
            params={"chat_completion": {"max_tokens": 16}},
        )

    await rate(one, 0, 96)
    return spread([await rate(one, 0, 3200) for _ in range(5)])


async def main() -> None:
    with upstream(CHUNKS) as base:
        if hasattr(os, "sched_setaffinity") and len(cores := sorted(os.sched_getaffinity(0))) > 1:
            os.sched_setaffinity(0, cores[:1])
        found = await headway(base)
        emit("engine.send over HTTP, 32 at once, one core", ">= 12,000 calls/s", found, reached=found["median"] >= 12e3)
        everything = {"cache": "disk", "budget_usd": 1e9, "budget_tokens": 10**12}
        emit("the same, everything on, all misses", "-", await headway(base, **everything), reached=None)
        whole, chunk_us = await streams(base)
        emit(
            "1,000 streams of 100 chunks at once", "all whole", whole, reached=whole == STREAMS, cpu_us_a_chunk=chunk_us
        )
        for name, measure in (("litellm acompletion", litellm), ("TensorZero, embedded", tensorzero)):
            if importlib.util.find_spec(name.lower().split(",")[0].split()[0]):
                other = await measure(base)
                ratio = round(found["median"] / other["median"], 1)
                emit(f"{name}, same server", "-", other, reached=None, headway_is_times_faster=ratio)


if __name__ == "__main__":
    own_state()
    asyncio.run(main())
