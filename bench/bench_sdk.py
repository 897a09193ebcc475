"""openai's SDK bare and over Headway with everything on, against an upstream that answers at once in another process.

Both run in turns of a few calls in this one process, so that the ratio is of equal conditions on a machine that does
other things as well; medians over the turns. The CPU ratio counts all of this process's threads. "Everything on" is the
call log, deadline, cache (memory and SQLite, each call a miss that is then stored), joining, retries, pacing by learned
limits, a dollar and a token cap.
"""

from __future__ import annotations

import asyncio
import gc
import time
from statistics import median

import openai

import headway
from common import emit, own_state, spread
from zero import upstream

EVERYTHING = {"cache": "disk", "budget_usd": 1e9, "budget_tokens": 10**12}
TURNS, CALLS, STREAMS, CHUNKS, WARM_S = 21, 64, 2, 400, 3.0


def chat(n: int, *, stream: bool = False) -> dict:
    text = f"I ordered a card more than a week ago and it still has not arrived, what can I do about it? {n}"
    body = {"model": "gpt-5.4-mini", "messages": [{"role": "user", "content": text}], "max_tokens": 16}
    return body | {"stream": True} if stream else body


class Numbers:
    """No two calls are alike."""

    def __init__(self) -> None:
        self.next = 0

    def __call__(self) -> int:
        self.next += 1
        return self.next


number = Numbers()


class Cost:
    """Microseconds a call or chunk, turn by turn."""

    def __init__(self) -> None:
        self.wall_us: list[float] = []
        self.cpu_us: list[float] = []

    def begin(self) -> None:
        gc.collect()
        self._start_s = time.perf_counter(), time.process_time()

    def end(self, count: int) -> None:
        wall_s, cpu_s = self._start_s
        self.wall_us.append((time.perf_counter() - wall_s) / count * 1e6)
        self.cpu_us.append((time.process_time() - cpu_s) / count * 1e6)


def calls_figure(name: str, at_most: float, bare: Cost, ours: Cost) -> None:
    """The ratio of medians, and what it is made of."""
    ratio = round(median(ours.wall_us) / median(bare.wall_us), 3)
    more = {
        "cpu_ratio": round(median(ours.cpu_us) / median(bare.cpu_us), 3),
        "bare_us": spread(bare.wall_us),
        "headway_us": spread(ours.wall_us),
    }
    emit(
        f"openai SDK, {name}: time a call over Headway / bare", f"<= {at_most}", ratio, reached=ratio <= at_most, **more
    )


def chunks_figure(name: str, bare: Cost, ours: Cost) -> None:
    """What a chunk costs more."""
    added_us = round(median(ours.cpu_us) - median(bare.cpu_us), 2)
    more = {"bare_us": spread(bare.cpu_us), "headway_us": spread(ours.cpu_us)}
    emit(f"openai SDK, {name} stream: CPU us added a chunk", "<= 15", added_us, reached=added_us <= 15, **more)


async def measure_async(url: str) -> None:
    clients = [
        openai.AsyncOpenAI(api_key="k", base_url=url),
        openai.AsyncOpenAI(api_key="k", base_url=url, http_client=headway.async_client(**EVERYTHING)),
    ]

    async def calls(client: openai.AsyncOpenAI, count: int) -> None:
        for _ in range(count):
            await client.chat.completions.create(**chat(number()))

    for client in clients:
        until_s = time.perf_counter() + WARM_S
        while time.perf_counter() < until_s:
            await calls(client, 10)
    for at_once in (1, 32):
        costs = [Cost(), Cost()]
        for _ in range(TURNS):
            for client, cost in zip(clients, costs, strict=True):
                cost.begin()
                await asyncio.gather(*[calls(client, CALLS // at_once) for _ in range(at_once)])
                cost.end(CALLS)
        calls_figure(f"async, {at_once} at once", 0.85, *costs)
    costs = [Cost(), Cost()]
    for _ in range(TURNS):
        for client, cost in zip(clients, costs, strict=True):
            cost.begin()
            for _ in range(STREAMS):
                async for _ in await client.chat.completions.create(**chat(number(), stream=True)):
                    pass
            cost.end(STREAMS * CHUNKS)
    chunks_figure("async", *costs)
    for client in clients:
        await client.close()


def measure_sync(url: str) -> None:
    clients = [
        openai.OpenAI(api_key="k", base_url=url),
        openai.OpenAI(api_key="k", base_url=url, http_client=headway.client(**EVERYTHING)),
    ]
    for client in clients:
        until_s = time.perf_counter() + WARM_S
        while time.perf_counter() < until_s:
            client.chat.completions.create(**chat(number()))
    calls, chunks = [Cost(), Cost()], [Cost(), Cost()]
    for _ in range(TURNS):
        for client, cost, chunk in zip(clients, calls, chunks, strict=True):
            cost.begin()
            for _ in range(CALLS):
                client.chat.completions.create(**chat(number()))
            cost.end(CALLS)
            chunk.begin()
            for _ in range(STREAMS):
                for _ in client.chat.completions.create(**chat(number(), stream=True)):
                    pass
            chunk.end(STREAMS * CHUNKS)
    calls_figure("sync", 1.0, *calls)
    chunks_figure("sync", *chunks)
    for client in clients:
        client.close()


if __name__ == "__main__":
    own_state()
    with upstream(CHUNKS) as base_url:
        asyncio.run(measure_async(base_url))
        measure_sync(base_url)
