"""openai's SDK bare and over Headway with everything on, against an upstream that answers at once in another process.

Both run in turns in this one process, so that the ratio is of equal conditions; medians of several rounds. "Everything
on" is the call log, deadline, cache (memory and SQLite, each call a miss that is then stored), joining, retries, pacing
by learned limits, a dollar and a token cap.
"""

from __future__ import annotations

import asyncio
import gc
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from statistics import median

import httptools
import openai

import headway
from common import emit, own_state, spread

EVERYTHING = {"cache": "disk", "budget_usd": 1e9, "budget_tokens": 10**12}
ROUNDS, CALLS, STREAMS, CHUNKS, WARM_S = 7, 400, 10, 400, 3.0

ANSWER = (
    b'{"id":"chatcmpl-1","object":"chat.completion","created":1,"model":"gpt-5.4-mini","choices":[{"index":0,"message":'
    b'{"role":"assistant","content":"card_arrival"},"finish_reason":"stop"}],"usage":{"prompt_tokens":70,'
    b'"completion_tokens":4,"total_tokens":74}}'
)
HEAD = (
    b"HTTP/1.1 200 OK\r\nx-ratelimit-limit-requests: 30000000\r\nx-ratelimit-remaining-requests: 29999000\r\n"
    b"x-ratelimit-reset-requests: 2ms\r\nopenai-processing-ms: 1\r\nx-request-id: req_0123456789\r\n"
)
WHOLE = HEAD + b"content-type: application/json\r\ncontent-length: %d\r\n\r\n" % len(ANSWER) + ANSWER
CHUNK = (
    b'data: {"id":"chatcmpl-1","object":"chat.completion.chunk","created":1,"model":"gpt-5.4-mini",'
    b'"choices":[{"index":0,"delta":%b,"finish_reason":%b}]}\n\n'
)
LAST = CHUNK % (b"{}", b'"stop"') + b"data: [DONE]\n\n"


# -- the upstream ------------------------------------------------------------------------------------------------------


class Zero(asyncio.Protocol):
    """Answers any request as soon as it is whole; streams 400 chunks, in writes of their own, to those who ask."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport
        self.parser = httptools.HttpRequestParser(self)
        self.streamed = False

    def data_received(self, data: bytes) -> None:
        self.parser.feed_data(data)

    def on_body(self, body: bytes) -> None:
        self.streamed = self.streamed or b'"stream":true' in body

    def on_message_complete(self) -> None:
        if not self.streamed:
            self.transport.write(WHOLE)
            return
        self.streamed = False
        self.transport.write(HEAD + b"content-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n")
        asyncio.get_running_loop().call_soon(self.send, CHUNKS)

    def send(self, left: int) -> None:
        event = CHUNK % (b'{"content":"word "}', b"null") if left else LAST
        self.transport.write(b"%x\r\n%b\r\n" % (len(event), event) + (b"" if left else b"0\r\n\r\n"))
        if left:
            asyncio.get_running_loop().call_soon(self.send, left - 1)


async def serve() -> None:
    server = await asyncio.get_running_loop().create_server(Zero, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


@contextmanager
def upstream() -> Iterator[str]:
    """Its base URL."""
    child = subprocess.Popen([sys.executable, __file__, "--serve"], stdout=subprocess.PIPE, text=True)
    assert child.stdout is not None
    try:
        yield f"http://127.0.0.1:{child.stdout.readline().strip()}/v1"
    finally:
        child.kill()
        child.wait()
        child.stdout.close()


# -- the measurements --------------------------------------------------------------------------------------------------


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


def figure(name: str, asked: str, bare: list[float], ours: list[float], reached: Callable[[float], bool]) -> None:
    """The ratio round by round, and what it is made of."""
    ratios = spread([b / a for a, b in zip(bare, ours, strict=True)])
    us = {"bare_us": spread(bare)["median"], "headway_us": spread(ours)["median"]}
    emit(name, asked, ratios, reached=reached(ratios["median"]), **us)


async def timed(one: Callable[[], Awaitable[None]], at_once: int) -> float:
    """Microseconds a call."""
    gc.collect()

    async def worker() -> None:
        for _ in range(CALLS // at_once):
            await one()

    start_s = time.perf_counter()
    await asyncio.gather(*[worker() for _ in range(at_once)])
    return (time.perf_counter() - start_s) / (CALLS // at_once * at_once) * 1e6


async def measure_async(url: str) -> None:
    clients = [
        openai.AsyncOpenAI(api_key="k", base_url=url),
        openai.AsyncOpenAI(api_key="k", base_url=url, http_client=headway.async_client(**EVERYTHING)),
    ]

    def calling(client: openai.AsyncOpenAI) -> Callable[[], Awaitable[None]]:
        async def one() -> None:
            await client.chat.completions.create(**chat(number()))

        return one

    calls = [calling(client) for client in clients]
    for one in calls:
        until_s = time.perf_counter() + WARM_S
        while time.perf_counter() < until_s:
            await one()
    for at_once in (1, 32):
        rounds: list[list[float]] = [[], []]
        for _ in range(ROUNDS):
            for one, into in zip(calls, rounds, strict=True):
                into.append(await timed(one, at_once))
        name = f"openai SDK, async, {at_once} at once: time a call over Headway / bare"
        figure(name, "<= 0.85", *rounds, lambda ratio: ratio <= 0.85)
    await streams(clients)
    for client in clients:
        await client.close()


async def streams(clients: list[openai.AsyncOpenAI]) -> None:
    cpu: list[list[float]] = [[], []]
    for _ in range(ROUNDS):
        for client, into in zip(clients, cpu, strict=True):
            gc.collect()
            start_s, chunks = time.process_time(), 0
            for _ in range(STREAMS):
                async for _ in await client.chat.completions.create(**chat(number(), stream=True)):
                    chunks += 1
            into.append((time.process_time() - start_s) / chunks * 1e6)
    added = spread([b - a for a, b in zip(*cpu, strict=True)])
    per = {"bare_us": spread(cpu[0])["median"], "headway_us": spread(cpu[1])["median"]}
    emit("openai SDK, async stream: CPU us added a chunk", "<= 15", added, reached=added["median"] <= 15, **per)


def measure_sync(url: str) -> None:
    clients = [
        openai.OpenAI(api_key="k", base_url=url),
        openai.OpenAI(api_key="k", base_url=url, http_client=headway.client(**EVERYTHING)),
    ]
    for client in clients:
        until_s = time.perf_counter() + WARM_S
        while time.perf_counter() < until_s:
            client.chat.completions.create(**chat(number()))
    rounds: list[list[float]] = [[], []]
    chunked: list[list[float]] = [[], []]
    for _ in range(ROUNDS):
        for client, into, stream in zip(clients, rounds, chunked, strict=True):
            gc.collect()
            start_s = time.perf_counter()
            for _ in range(CALLS):
                client.chat.completions.create(**chat(number()))
            into.append((time.perf_counter() - start_s) / CALLS * 1e6)
            start_s, chunks = time.process_time(), 0
            for _ in range(STREAMS):
                chunks += sum(1 for _ in client.chat.completions.create(**chat(number(), stream=True)))
            stream.append((time.process_time() - start_s) / chunks * 1e6)
    figure("openai SDK, sync: time a call over Headway / bare", "<= 1.0", *rounds, lambda ratio: ratio <= 1.0)
    added = median([b - a for a, b in zip(*chunked, strict=True)])
    per = {"bare_us": spread(chunked[0])["median"], "headway_us": spread(chunked[1])["median"]}
    emit("openai SDK, sync stream: CPU us added a chunk", "<= 15", round(added, 2), reached=added <= 15, **per)
    for client in clients:
        client.close()


if __name__ == "__main__":
    if sys.argv[1:] == ["--serve"]:
        asyncio.run(serve())
    else:
        own_state()
        with upstream() as base_url:
            asyncio.run(measure_async(base_url))
            measure_sync(base_url)
