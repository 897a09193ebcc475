"""Headway's gateway beside nginx, Portkey, litellm and an afternoon's proxy: ratios of one run, by turns.

Everybody stands in front of the same provider and gets the same requests (an official SDK's, no two alike) from the
same generator; all of it shares this machine's cores, so a rate says little and a ratio something. Headway is run as it
comes: all default layers on, cache off but where it says "cached".

    python bench/gateway/beside.py [--table] [--quick] [--only rates,delay,paced,streams,many,idle]
                                    [--beside nginx,aiohttp,portkey,litellm]

Twenty minutes, or four with `--quick`; the first run builds the environments (750 MB, most of it litellm's).
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack, contextmanager
from pathlib import Path
from statistics import median
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

from load import WRK, lines, one_by_one, paced, quantile, rate, streams
from others import OTHERS, NotHere, Peer, cpu_s, headway, nginx, rss_mb, started
from provider import provider

import zero
from common import emit, own_state

TURNS, TURN_S, WARM_S = 5, 4.0, 3.0
PARTS = ("rates", "delay", "paced", "streams", "many", "idle")
rows: list[tuple[str, str, str]] = []


def say(figure: str, asked: str, measured: Any, *, reached: bool | None, **more: Any) -> None:
    emit(figure, asked, measured, reached=reached, **more)
    shown = ", ".join(f"{k} {v}" for k, v in measured.items()) if isinstance(measured, dict) else str(measured)
    rows.append((figure, asked, shown))


@contextmanager
def fast_provider():
    """The port of the fastest provider that there is: what stands before it should be what is measured."""
    with ExitStack() as stack:
        cwd = stack.enter_context(tempfile.TemporaryDirectory(prefix="headway-bench-"))
        try:
            answer = zero.ANSWER.decode()
            yield stack.enter_context(nginx(0, cwd, "provider", answer=answer)).port
        except NotHere as why:
            print(f"the provider is Python's: {why}", file=sys.stderr)
            base = stack.enter_context(zero.upstream())
            yield int(base.removesuffix("/v1").rpartition(":")[2])


def rates(names: list[str], *, quick: bool) -> None:
    """Requests a second at concurrency 32, everybody by turns."""
    turns, turn_s = (2, 2.0) if quick else (TURNS, TURN_S)
    with ExitStack() as stack:
        cwd = stack.enter_context(tempfile.TemporaryDirectory(prefix="headway-bench-"))
        upstream = stack.enter_context(fast_provider())
        peers: dict[str, Peer] = {}

        def add(name: str, make: Any) -> None:
            try:
                peers[name] = stack.enter_context(make)
            except NotHere as why:
                print(f"{name} is left out: {why}", file=sys.stderr)

        if "nginx" in names:
            add("nginx, two workers", nginx(upstream, cwd, "nginx two", workers=2))
        peers |= stack.enter_context(started(upstream, names))
        add("headway", headway(upstream, cwd))
        add("headway, two workers", headway(upstream, cwd, "headway two", "--workers", "2"))
        add("headway, cached", headway(upstream, cwd, "headway cached", "--cache"))
        first, found = 1_000_000, {name: [] for name in ["nothing between", *peers]}
        used: dict[str, list[float]] = {name: [] for name in peers}
        failed = dict.fromkeys(found, 0)
        for turn in range(turns + 1):
            for name in found:
                peer = peers.get(name) or Peer(name, upstream, 0, 0.0)
                seconds = turn_s if turn else WARM_S
                before_s = cpu_s(peer.pid) if peer.pid else 0.0
                got = rate(peer.port, seconds, first, same=name.endswith("cached"), headers=peer.piped)
                first += got["calls"] + 100_000
                if turn == 0:
                    continue
                found[name].append(got["per_s"])
                failed[name] += got["failed"]
                if peer.pid:
                    used[name].append((cpu_s(peer.pid) - before_s) / max(1, got["calls"]) * 1e6)
        for name, values in found.items():
            more = (
                {"cpu_us_a_request": round(median(used[name])), "version": peers[name].version} if name in peers else {}
            )
            asked = {"headway": ">= 12,000/s", "headway, cached": ">= 15,000/s"}.get(name, "")
            least = {"headway": 12e3, "headway, cached": 15e3}.get(name)
            say(
                f"32 at once: {name}", asked, round(median(values)),
                reached=median(values) >= least and not failed[name] if least else None,
                failed=failed[name], best=round(max(values)), **more,
            )  # fmt: skip

        def ratio(one: str, other: str, least: float) -> None:
            if one in found and other in found:
                got = median(a / b for a, b in zip(found[one], found[other], strict=True))
                say(f"{one} / {other}", f">= {least:g}x", round(got, 2), reached=got >= least)

        ratio("headway, two workers", "nginx, two workers", 0.25)
        ratio("headway, two workers", "nginx", 0.25)
        ratio("headway", "portkey", 10)
        ratio("headway", "litellm", 70)
        ratio("headway", "aiohttp", 1)


@contextmanager
def beside(names: list[str], **given: float):
    """A provider of one's own, and everybody in front of it, and nobody ("direct")."""
    with (
        provider(**given) as upstream,
        tempfile.TemporaryDirectory(prefix="headway-bench-") as cwd,
        headway(upstream, cwd) as own,
        started(upstream, names) as peers,
    ):
        yield {"direct": Peer("direct", upstream, 0, 0.0)} | peers | {"headway": own}


def delay(names: list[str], *, quick: bool) -> None:
    """What is added at the median, one call at a time."""
    with beside(names) as peers:
        for peer in peers.values():
            rate(peer.port, 1.0, 1, headers=peer.piped)
        ports = {name: (peer.port, peer.raw) for name, peer in peers.items()}
        asyncio.run(one_by_one(ports, 50, 2))
        took = asyncio.run(one_by_one(ports, 50, 6 if quick else 20))
        for name in ports:
            if name != "direct":
                added_us = (median(took[name]) - median(took["direct"])) * 1e6
                ours = name == "headway"
                asked, reached = ("<= 200 us", added_us <= 200) if ours else ("", None)
                say(f"one at a time: added at the median: {name}", asked, round(added_us), reached=reached)


def paces(names: list[str], *, quick: bool) -> None:
    """What is added at the 99th percentile at 100 requests a second, where a call takes 50 ms.

    Each turn is held against the direct calls of that turn, and the median turn is told: a machine that others share
    stops for 40 ms now and then, which is four calls of a turn, and nobody's doing here.
    """
    with beside(names, delay_s=0.05) as peers:
        found: dict[str, list[list[float]]] = {name: [] for name in peers}
        stolen_before = stolen_ticks()
        for turn in range(4 if quick else 12):
            for name, peer in peers.items():
                got: list[float] = []
                asyncio.run(paced(peer.port, peer.raw, 100.0, 1.0 if turn == 0 else 4.0, got))
                if turn:
                    found[name].append(got)
        stolen = stolen_ticks() - stolen_before
        for name, turns in found.items():
            if name != "direct":
                added = {q: added_ms(turns, found["direct"], q) for q in (0.5, 0.99)}
                asked, reached = ("p99 <= 1 ms", added[0.99] <= 1) if name == "headway" else ("", None)
                measured = {"p50_ms": added[0.5], "p99_ms": added[0.99]}
                calls = sum(map(len, turns))
                say(
                    f"100 a second, 50 ms each: added, median of {len(turns)} turns: {name}", asked, measured,
                    reached=reached, calls=calls, stolen_ticks=stolen,
                )  # fmt: skip


def added_ms(turns: list[list[float]], direct: list[list[float]], q: float) -> float:
    """By how much a quantile is above that of the direct calls of the same turn: the median over turns."""
    return round(median(quantile(one, q) - quantile(two, q) for one, two in zip(turns, direct, strict=True)) * 1e3, 2)


def stolen_ticks() -> int:
    """Hundredths of a second that the host gave this machine's cores to others."""
    with Path("/proc/stat").open() as stat:
        return int(stat.readline().split()[8])


def first_words(names: list[str], *, quick: bool) -> None:
    """What is added to the time to the first content: 50 streams at a time, 100 chunks, 10 ms apart."""
    with beside(names, chunks=100, pace_s=0.01) as peers:
        found: dict[str, list[float]] = {name: [] for name in peers}
        for turn in range(3 if quick else 6):
            for name in list(found):
                peer = peers[name]
                try:
                    got = asyncio.run(streams(peer.port, peer.raw, 50, 1 if turn == 0 else 2, 1.0))
                except RuntimeError as why:
                    print(f"{name} is left out of the streams: {why}", file=sys.stderr)
                    del found[name]
                    continue
                if turn:
                    found[name] += got
        for name, values in found.items():
            if name != "direct":
                added = {q: round((quantile(values, q) - quantile(found["direct"], q)) * 1e3, 2) for q in (0.5, 0.99)}
                asked, reached = ("p99 <= 2 ms", added[0.99] <= 2) if name == "headway" else ("", None)
                measured = {"p50_ms": added[0.5], "p99_ms": added[0.99]}
                say(
                    f"50 streams: added to the first content: {name}",
                    asked,
                    measured,
                    reached=reached,
                    streams=len(values),
                )


async def _hold(peer: Peer, count: int, chunks: int) -> tuple[float, int, float]:
    """Megabytes at rest with the streams open, streams that failed, megabytes more than before."""
    before_mb = rss_mb(peer.pid)
    opened = await lines(peer.port, count)
    body = b'{"model":"gpt-5.4-mini","stream":true,"messages":[{"role":"user","content":"%012d"}]}'
    asked = []
    for nth, line in enumerate(opened):
        asked.append(line.ask(peer.port, body % nth, peer.raw))
        if nth % 50 == 49:
            await asyncio.sleep(0.05)
    most_mb = 0.0
    while not all(one.done() for one in asked):
        most_mb = max(most_mb, rss_mb(peer.pid))
        await asyncio.sleep(0.25)
    results = await asyncio.gather(*asked, return_exceptions=True)
    broken = sum(isinstance(one, BaseException) for one in results)
    broken += sum(line.events != chunks for line in opened)
    for line in opened:
        line.transport.close()
    return most_mb, broken, most_mb - before_mb


def many(names: list[str], *, quick: bool) -> None:
    """2,000 streams at once on one worker, two chunks a second each."""
    chunks, count = (10 if quick else 30), 2_000
    with beside([name for name in names if name == "nginx"], chunks=chunks, pace_s=0.5) as peers:
        for name, peer in peers.items():
            if name == "direct":
                continue
            asyncio.run(_hold(peer, 20, chunks))
            most_mb, broken, more_mb = asyncio.run(_hold(peer, count, chunks))
            kb = more_mb * 1e3 / count
            ours = name == "headway"
            say(
                f"2,000 streams: {name}", "<= 60 KB each, no error" if ours else "",
                {"kb_each": round(kb, 1), "broken": broken, "rss_mb": round(most_mb)},
                reached=kb <= 60 and not broken if ours else None,
            )  # fmt: skip


def idle(names: list[str], *, quick: bool) -> None:
    """Until a first call gets through, and memory then."""
    del quick
    with beside(names) as peers:
        time.sleep(1)
        for name, peer in peers.items():
            if name != "direct":
                mb, ours = rss_mb(peer.pid), name == "headway"
                say(
                    f"ready, and idle: {name}", "<= 1 s, <= 80 MB" if ours else "",
                    {"ready_s": round(peer.ready_s, 2), "rss_mb": round(mb)},
                    reached=peer.ready_s <= 1 and mb <= 80 if ours else None,
                )  # fmt: skip


def main() -> None:
    told = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    told.add_argument("--table", action="store_true")
    told.add_argument("--quick", action="store_true")
    told.add_argument("--only", default=",".join(PARTS))
    told.add_argument("--beside", default=",".join(OTHERS))
    args = told.parse_args()
    if WRK is None:
        print(
            "wrk is not installed (apt-get install wrk): the fastest are measured by a slower generator",
            file=sys.stderr,
        )
    names = [name for name in args.beside.split(",") if name]
    parts: dict[str, Callable[..., None]] = {
        "idle": idle, "rates": rates, "delay": delay, "paced": paces, "streams": first_words, "many": many,
    }  # fmt: skip
    for part, measure in parts.items():
        if part in args.only.split(","):
            measure(names, quick=args.quick)
    if args.table:
        wide = max(len(row[0]) for row in rows)
        print("\n" + "\n".join(f"{figure:<{wide}}  {asked:<24}  {found}" for figure, asked, found in rows))


if __name__ == "__main__":
    own_state()
    main()
