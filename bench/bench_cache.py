"""A cache hit through the engine, tier by tier, beside a bare GET of redis-py on the same server in the same run.

Memory is bounded to one byte where a further tier is measured, so that every hit comes from that tier. The Redis tier
and the bare GET take turns, call by call: the ratio is what counts, for a round trip on loopback is this machine's.
"""

from __future__ import annotations

import asyncio
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from contextlib import contextmanager
from typing import Any

from bench_overhead import body, provider
from common import emit, own_state, spread
from headway import Engine

KEYS, ROUNDS, CALLS = 200, 7, 1000


async def p50_us(*each: Callable[[int], Awaitable[Any]]) -> list[float]:
    """The medians of single calls in microseconds; several things take turns, call by call."""
    times: list[list[float]] = [[] for _ in each]
    for n in range(CALLS):
        for one, taken in zip(each, times, strict=True):
            start_s = time.perf_counter()
            await one(n % KEYS)
            taken.append(time.perf_counter() - start_s)
    return [sorted(taken)[CALLS // 2] * 1e6 for taken in times]


async def tier(name: str, **settings: Any) -> list[float]:
    """Medians of hits from one tier."""
    async with Engine(handler=provider, api_key="k", log="off", **settings) as engine:

        async def one(n: int) -> None:
            reply = await engine.send("/v1/responses", body(n))
            assert reply.trace.cache == name, reply.trace.cache

        for n in range(KEYS):
            await engine.send("/v1/responses", body(n))
        await asyncio.sleep(0.5)  # written
        return [(await p50_us(one))[0] for _ in range(ROUNDS)]


async def beside_redis(url: str) -> tuple[list[float], list[float]]:
    """Hits from Redis through the engine, and bare GETs of the same values."""
    from redis.asyncio import Redis

    through, bare = [], []
    settings = {"cache": "redis", "redis_url": url, "cache_memory_bytes_max": 1}
    async with Engine(handler=provider, api_key="k", log="off", **settings) as engine, Redis.from_url(url) as client:

        async def one(n: int) -> None:
            reply = await engine.send("/v1/responses", body(n))
            assert reply.trace.cache == "redis", reply.trace.cache

        for n in range(KEYS):
            await engine.send("/v1/responses", body(n))
        await asyncio.sleep(0.5)
        names = await client.keys("hw:*:e:*")
        assert len(names) == KEYS
        for _ in range(ROUNDS):
            medians = await p50_us(one, lambda n: client.get(names[n]))
            through.append(medians[0])
            bare.append(medians[1])
    return through, bare


@contextmanager
def redis_server() -> Any:
    """A server of our own on a free socket; the bench ends with a message where there is none."""
    home = tempfile.mkdtemp(prefix="hw-redis-")
    command = ["redis-server", "--port", "0", "--unixsocket", f"{home}/s", "--save", "", "--dir", home]
    server = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        time.sleep(0.5)
        yield f"unix://{home}/s"
    finally:
        server.kill()
        server.wait()
        shutil.rmtree(home)


def main() -> None:
    own_state()
    memory = spread(asyncio.run(tier("memory", cache="memory")))
    emit("cache hit p50 through the engine: memory", "<= 30 us", memory, reached=memory["median"] <= 30)
    disk = spread(asyncio.run(tier("sqlite", cache="disk", cache_memory_bytes_max=1)))
    emit("cache hit p50 through the engine: SQLite", "<= 120 us", disk, reached=disk["median"] <= 120)
    if shutil.which("redis-server") is None:
        sys.exit("redis-server is not installed: no figure for Redis")
    with redis_server() as url:
        through, bare = asyncio.run(beside_redis(url))
    ratio = spread([a / b for a, b in zip(through, bare, strict=True)])
    emit(
        "cache hit p50 through the engine: Redis", "<= 1.5x a bare redis-py GET", ratio, reached=ratio["median"] <= 1.5,
        through_us=spread(through), bare_us=spread(bare),
    )  # fmt: skip


if __name__ == "__main__":
    main()
