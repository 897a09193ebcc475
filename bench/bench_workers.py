"""`headway serve --workers N` under one limit of the provider: how much of it is used, and what is refused.

A simulated provider of 3,000 requests a minute that it enforces in slices of a second; nobody configures that, the
workers find it out. Beside them as many gateways of one process that do not know of each other. The provider's own
ledger counts, from the third second on for the share, from the first for refusals. Then what sharing adds to a request
where there is no limit: one at a time, in front of a provider that answers at once.
"""

from __future__ import annotations

import asyncio
import time
from contextlib import ExitStack
from statistics import median
from typing import Any

from bench_gateway import AT_ONCE, load, rates, rss_mb, served, warm
from common import emit, ledger, own_state
from headway.sim import SimSettings
from headway.sim.server import serving
from zero import upstream

RPM, FROM_S, FOR_S, CLIENTS, ROUNDS = 3_000, 3.0, 10.0, 64, 5


async def pressed(ports: list[int], seconds: float) -> None:
    """More clients than the limit feeds, each with a request after the other."""

    async def client(port: int, number: int) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        turn = 0
        try:
            while True:
                turn += 1
                body = b'{"model":"gpt-5.4-mini","max_tokens":16,"messages":[{"role":"user","content":"%d %d"}]}'
                body %= (number, turn)
                head = b"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n"
                writer.write(head % len(body) + body)
                answer = await reader.readuntil(b"\r\n\r\n")
                lower = answer.lower()
                length = int(lower.partition(b"content-length:")[2].split(b"\r\n")[0])
                await reader.readexactly(length)
        finally:
            writer.close()

    tasks = [asyncio.ensure_future(client(ports[n % len(ports)], n)) for n in range(CLIENTS)]
    await asyncio.wait(tasks, timeout=seconds, return_when=asyncio.FIRST_EXCEPTION)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


def under_one_limit(workers: int, *, apart: bool) -> dict[str, Any]:
    """Of the limit used after three seconds, and refused of all."""
    with serving(SimSettings(seed=1, rpm=RPM, capacity_s=1, latency_scale=0.05)) as base, ExitStack() as stack:
        if apart:
            ports = [stack.enter_context(served(base))[1] for _ in range(workers)]
        else:
            ports = [stack.enter_context(served(base, "--workers", str(workers)))[1]]
        start_s = time.time()
        asyncio.run(pressed(ports, FOR_S))
        book = ledger(base)
    sent = [row for row in book["rows"] if row["status"] == 200 and FROM_S <= row["time_wall_s"] - start_s <= FOR_S]
    refused = [row["time_wall_s"] - start_s for row in book["rows"] if row["status"] == 429]
    return {
        "used": len(sent) / ((FOR_S - FROM_S) * RPM / 60),
        "refused": len(refused) / max(1, book["totals"]["attempts"]),
        "refused_later": sum(at_s >= FROM_S for at_s in refused),
        "attempts": book["totals"]["attempts"],
    }


def added() -> None:
    """What a request takes longer with two workers that share limits than with one that need not."""
    with upstream() as base, served(base) as (pid, alone, ready_s), served(base, "--workers", "2") as both:
        parent, shared, both_ready_s = both
        for port in (alone, shared):
            warm(port)
        pairs = [
            [asyncio.run(load(port, 640, 1, 40_000_000 + turn * 640))[1][320] for port in (alone, shared)]
            for turn in range(ROUNDS)
        ]
        added_us = median(through - direct for direct, through in pairs) * 1e6
        emit(
            "shared limits: added at the median, one at a time", "<= 20 us", round(added_us, 1), reached=added_us <= 20
        )
        found = {name: rates(pid, port, 90_000_000)["median"] for name, port in (("1", alone), ("2", shared))}
        emit(f"requests/s, {AT_ONCE} at once, with 1 and 2 workers", "-", found, reached=None)
        emit("two workers ready", "<= 1 s", round(both_ready_s, 2), reached=both_ready_s <= 1, one=round(ready_s, 2))
        emit("the process that watches: RSS", "-", round(rss_mb(parent)), reached=None)


def main() -> None:
    for workers in (1, 2, 4):
        found = under_one_limit(workers, apart=False)
        beside = under_one_limit(workers, apart=True) if workers > 1 else None
        good = found["used"] >= 0.95 and found["refused"] <= 0.01
        what = f"{workers} workers" if workers > 1 else "1 worker"
        emit(
            f"{what}, {RPM} RPM in slices of 1 s, learned: used from second 3 on, and refused",
            ">= 95 %, <= 1 %",
            f"{found['used']:.1%}, {found['refused']:.2%}",
            reached=good,
            **{key: found[key] for key in ("attempts", "refused_later")},
            apart=None if beside is None else f"{beside['used']:.1%}, {beside['refused']:.2%}",
        )
    added()


if __name__ == "__main__":
    own_state()
    main()
