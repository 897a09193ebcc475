"""Load: as many requests as go at once, one at a time, so many a second, and streams. Raw bytes, an SDK's headers.

Rates are taken with `wrk` where it is installed: a generator in Python is slower than the fastest of what it measures.
Delays are taken here, alternating with the provider's own, so that what the generator adds is in both.
"""

from __future__ import annotations

import asyncio
import json
import random
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, cast

import httptools

sys.path.insert(0, str(Path(__file__).parents[1]))

import bench_gateway

HERE = Path(__file__).parent
WRK = shutil.which("wrk")
STREAM = b'{"model":"gpt-5.4-mini","stream":true,"messages":[{"role":"user","content":"Where is my card? %012d"}]}'


def rate(
    port: int, seconds: float, first: int, *, at_once: int = 32, same: bool = False, headers: str = ""
) -> dict[str, Any]:
    """Requests a second, and how many failed."""
    if WRK is None:
        calls = int(1_500 * seconds)
        per_s, took_s = asyncio.run(bench_gateway.load(port, calls, at_once, first, same=same))
        return {"per_s": per_s, "failed": 0, "calls": calls, "p99_ms": took_s[int(len(took_s) * 0.99)] * 1e3}
    command = [
        WRK,
        "-t1",
        f"-c{at_once}",
        f"-d{max(1, round(seconds))}s",
        "--timeout",
        "30s",
        "-s",
        str(HERE / "ask.lua"),
    ]
    told = [str(port), str(first), "same" if same else "each", headers]
    done = subprocess.run(
        [*command, f"http://127.0.0.1:{port}", "--", *told], capture_output=True, text=True, check=True
    )
    found = json.loads(done.stdout.strip().splitlines()[-1])
    return {
        "per_s": found["calls"] / found["took_s"], "failed": found["failed"], "calls": found["calls"],
        "p99_ms": found["p99_us"] / 1e3,
    }  # fmt: skip


class Line(asyncio.Protocol):
    """A connection that carries one request after the other; tells when the first event and the end came."""

    def __init__(self) -> None:
        self.over: asyncio.Future[None] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)

    def ask(self, port: int, body: bytes, headers: bytes = b"") -> asyncio.Future[None]:
        """Send it; done when the answer is."""
        self.parser = httptools.HttpResponseParser(self)
        self.first_s = 0.0
        self.events = 0
        self.last = b""
        self.over = asyncio.get_running_loop().create_future()
        self.asked_s = time.perf_counter()
        head = bench_gateway.HEAD % (port, len(body))
        self.transport.write(head[:-2] + headers + b"\r\n" + body if headers else head + body)
        return self.over

    def data_received(self, data: bytes) -> None:
        self.parser.feed_data(data)

    def on_body(self, data: bytes) -> None:
        if b'"content":"' in data:
            self.first_s = self.first_s or time.perf_counter() - self.asked_s
            self.events += data.count(b'"content":"')
        self.last = data

    def on_message_complete(self) -> None:
        self.took_s = time.perf_counter() - self.asked_s
        assert self.over is not None
        if self.parser.get_status_code() == 200:
            self.over.set_result(None)
        else:
            self.over.set_exception(RuntimeError(f"answered {self.parser.get_status_code()}: {self.last[:300]!r}"))

    def connection_lost(self, exc: Exception | None) -> None:
        if self.over is not None and not self.over.done():
            self.over.set_exception(ConnectionError("the connection ended within an answer"))


async def lines(port: int, count: int) -> list[Line]:
    loop = asyncio.get_running_loop()
    return [(await loop.create_connection(Line, "127.0.0.1", port))[1] for _ in range(count)]


def quantile(values: list[float], share: float) -> float:
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))]


async def one_by_one(ports: dict[str, tuple[int, bytes]], calls: int, rounds: int) -> dict[str, list[float]]:
    """How long each call takes, one at a time, the gateways (name -> port, headers) by turns."""
    took: dict[str, list[float]] = {name: [] for name in ports}
    opened = {name: (await lines(port, 1))[0] for name, (port, _) in ports.items()}
    number = random.randrange(10**9)
    for _ in range(rounds):
        for name, (port, headers) in ports.items():
            for _ in range(calls):
                number += 1
                await opened[name].ask(port, bench_gateway.BODY % number, headers)
                took[name].append(opened[name].took_s)
    for line in opened.values():
        line.transport.close()
    return took


async def paced(port: int, headers: bytes, per_s: float, seconds: float, found: list[float]) -> None:
    """So many requests a second, each at its moment, whether or not those before are answered; timed from then."""
    loop = asyncio.get_running_loop()
    spare: list[Line] = await lines(port, 16)
    number = random.randrange(10**9)

    async def one(due_s: float, number: int) -> None:
        line = spare.pop() if spare else (await lines(port, 1))[0]
        await line.ask(port, bench_gateway.BODY % number, headers)
        found.append(time.perf_counter() - due_s)
        spare.append(line)

    tasks, start_s = [], time.perf_counter()
    for n in range(round(per_s * seconds)):
        due_s = start_s + n / per_s
        await asyncio.sleep(due_s - time.perf_counter())
        tasks.append(loop.create_task(one(time.perf_counter(), number + n)))
    await asyncio.gather(*tasks)
    for line in spare:
        line.transport.close()


async def streams(port: int, headers: bytes, at_once: int, per_line: int, spread_s: float) -> list[float]:
    """Seconds to the first content of each stream; so many at a time, begun at any moment of `spread_s`.

    Raises:
        RuntimeError: One was refused.
    """
    found: list[float] = []
    opened = await lines(port, at_once)
    number = random.randrange(10**9)

    async def one(nth: int, line: Line) -> None:
        await asyncio.sleep(random.random() * spread_s)
        for turn in range(per_line):
            await line.ask(port, STREAM % (number + nth * per_line + turn), headers)
            assert line.first_s, "a stream without content"
            found.append(line.first_s)

    await asyncio.gather(*[one(nth, line) for nth, line in enumerate(opened)])
    for line in opened:
        line.transport.close()
    return found
