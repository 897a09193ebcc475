"""`headway serve` in front of a provider that answers at once: requests a second, what it adds, what it takes.

Provider, gateway and load generator are three processes on this one machine, so the rates are theirs together; CPU a
request is the gateway's own, all threads. The requests are an official SDK's, byte for byte but for their text; no two
are alike. "As it comes" is all default layers on (call log, deadline, joining, retries, learned limits) and cache off.
"""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import Any, cast

import httptools

from common import emit, own_state
from zero import upstream

AT_ONCE, CALLS, ROUNDS, WARM_S = 32, 6_400, 5, 3.0
BODY = b'{"model":"gpt-5.4-mini","messages":[{"role":"user","content":"Where is my card? %08d"}],"max_tokens":16}'
HEAD = (
    b"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost:%d\r\nAccept-Encoding: gzip, deflate\r\n"
    b"Connection: keep-alive\r\nAccept: application/json\r\nContent-Type: application/json\r\n"
    b"User-Agent: AsyncOpenAI/Python 3.52.0\r\nX-Stainless-Lang: python\r\nX-Stainless-Package-Version: 3.52.0\r\n"
    b"X-Stainless-OS: Linux\r\nX-Stainless-Arch: x64\r\nX-Stainless-Runtime: CPython\r\n"
    b"X-Stainless-Runtime-Version: 3.11.7\r\nAuthorization: Bearer sk-bench\r\nX-Stainless-Async: async:asyncio\r\n"
    b"x-stainless-retry-count: 0\r\nx-stainless-read-timeout: 600\r\nContent-Length: %d\r\n\r\n"
)


class Client(asyncio.Protocol):
    """One connection: a request after the other, each as soon as the one before is answered."""

    def __init__(self, port: int, bodies: Iterator[bytes], over: asyncio.Future[None]) -> None:
        self.port, self.bodies, self.over = port, bodies, over
        self.took_s: list[float] = []

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)
        self.parser = httptools.HttpResponseParser(self)
        self.ask()

    def ask(self) -> None:
        body = next(self.bodies, None)
        if body is None:
            self.transport.close()
            self.over.set_result(None)
            return
        self.asked_s = time.perf_counter()
        self.transport.write(HEAD % (self.port, len(body)) + body)

    def data_received(self, data: bytes) -> None:
        self.parser.feed_data(data)

    def on_message_complete(self) -> None:
        assert self.parser.get_status_code() == 200
        self.took_s.append(time.perf_counter() - self.asked_s)
        self.ask()


async def load(port: int, calls: int, at_once: int, first: int, *, same: bool = False) -> tuple[float, list[float]]:
    """Requests a second, and how long each took."""
    loop, start_s = asyncio.get_running_loop(), time.perf_counter()
    bodies = iter([BODY % (first if same else first + n) for n in range(calls)])
    clients = [Client(port, bodies, loop.create_future()) for _ in range(at_once)]
    for client in clients:
        await loop.create_connection(lambda client=client: client, "127.0.0.1", port)
    await asyncio.gather(*[client.over for client in clients])
    took_s = time.perf_counter() - start_s
    return calls / took_s, sorted(took for client in clients for took in client.took_s)


def cpu_s(pid: int) -> float:
    """Of a process's threads, user and system."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def rss_mb(pid: int) -> float:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6


@contextmanager
def served(base: str, *options: str) -> Iterator[tuple[int, int, float]]:
    """A gateway's process, its port, and the seconds until it said that it is ready."""
    start_s = time.perf_counter()
    command = [sys.executable, "-c", "from headway.cli import main; main()", "serve", "--port", "0"]
    env = os.environ | {"OPENAI_API_KEY": "sk-bench"}
    child = subprocess.Popen([*command, "--base-url", base, *options], env=env, stdout=subprocess.PIPE, text=True)
    assert child.stdout is not None
    try:
        port = int(child.stdout.readline().split()[2].removesuffix("/v1;").rpartition(":")[2])
        yield child.pid, port, time.perf_counter() - start_s
    finally:
        child.terminate()
        child.wait()
        child.stdout.close()


def warm(port: int) -> None:
    until_s, n = time.perf_counter() + WARM_S, 10_000_000
    while time.perf_counter() < until_s:
        asyncio.run(load(port, 640, AT_ONCE, n))
        n += 640


def rates(pid: int, port: int, first: int, *, same: bool = False) -> dict[str, Any]:
    found, cpu_us = [], []
    for turn in range(ROUNDS):
        before_s = cpu_s(pid)
        found.append(asyncio.run(load(port, CALLS, AT_ONCE, first + turn * CALLS, same=same))[0])
        cpu_us.append((cpu_s(pid) - before_s) / CALLS * 1e6)
    return {"median": round(median(found)), "best": round(max(found)), "cpu_us_a_request": round(median(cpu_us))}


def main() -> None:
    with upstream() as base:
        bare = int(base.removesuffix("/v1").rpartition(":")[2])
        with served(base) as (pid, port, ready_s):
            emit("ready", "<= 1 s", round(ready_s, 2), reached=ready_s <= 1)
            urllib.request.urlopen(f"http://127.0.0.1:{port}/healthz").close()
            emit("idle RSS", "<= 80 MB", round(rss_mb(pid)), reached=rss_mb(pid) <= 80)
            warm(port)
            found = rates(pid, port, 20_000_000)
            emit(
                "whole calls, 32 at once, one worker, as it comes",
                ">= 12,000/s",
                found,
                reached=found["median"] >= 12e3,
            )
            pairs = [
                [asyncio.run(load(where, 640, 1, 40_000_000 + turn * 640))[1][320] for where in (port, bare)]
                for turn in range(ROUNDS)
            ]
            added_us = median(through - direct for through, direct in pairs) * 1e6
            emit("one at a time: added at the median", "<= 200 us", round(added_us), reached=added_us <= 200)
        with served(base, "--cache") as (pid, port, _):
            warm(port)
            found = rates(pid, port, 50_000_000, same=True)
            emit("cached, 32 at once", ">= 15,000/s", found, reached=found["median"] >= 15e3)


if __name__ == "__main__":
    own_state()
    main()
