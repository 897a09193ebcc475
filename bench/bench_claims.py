"""What courses on this subject claim, measured against the simulator. `--table` prints the table of docs/figures.md.

All on virtual time, so that it is quick and the same on every machine, but for the thread pool, which needs threads.
The simulator's times are set to the ranges that the same courses quote (docs/simulator.md, "Latency"), so what is
measured is how the pieces add up, not how fast any provider is.

Connections run over the virtual network: real HTTP/1.1 between the engine and the simulator's server, one round trip
for TCP and one for TLS 1.3 before the first byte of a request. The processor time of a handshake (1 to 2 ms), slow
start and name resolution are not played, so real savings are somewhat larger.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import sys
import time
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from statistics import median
from typing import Any

import bench_route
import claims_composed
from common import own_state
from headway import Engine
from headway.sim import SimSettings, Simulator, serving
from headway.sim.profiles import REGIONS
from headway.testing import virtual_network, virtual_run

COMMAND = "bench/bench_claims.py"
LABEL = (
    "Which is it, billing, shipping or technical_support? Answer with the label only. Ticket {n}: where is my parcel?"
)


class Claim(dict[str, Any]):
    """One row: what is claimed, what was measured, whether it holds (None: it depends, see the words)."""

    def __init__(self, claim: str, claimed: str, measured: str, *, holds: bool | None, command: str = COMMAND) -> None:
        super().__init__(figure=claim, asked=claimed, measured=measured, reached=holds, command=command)


def less(before: float, after: float) -> str:
    """-42 %."""
    return f"{after / before - 1:+.0%}".replace("%", " %")


def chat(model: str, text: str, **more: Any) -> dict[str, Any]:
    """A Chat Completions body."""
    return {"model": model, "messages": [{"role": "user", "content": text}]} | more


async def timed(what: Awaitable[Any]) -> float:
    """Seconds of the loop's clock."""
    start_s = asyncio.get_running_loop().time()
    await what
    return asyncio.get_running_loop().time() - start_s


async def ask(engine: Engine, body: dict[str, Any]) -> bytes:
    """One call, read whole."""
    return await (await engine.send("/v1/chat/completions", body)).read()


def provider(**settings: Any) -> Callable[..., Engine]:
    """Makes engines of one simulated provider in-process."""
    simulator = Simulator(SimSettings(seed=1, rpm=None, tpm=None, **settings))
    return lambda **own: Engine(handler=simulator.handler, api_key="sim", log="off", seed=1, **own)


# -- connections -------------------------------------------------------------------------------------------------------


def connection_s(model: str, rtt_s: float, *, kept: bool) -> float:
    """Mean seconds of 100 short calls one after the other, over one connection or over one each."""

    async def main() -> float:
        virtual_network(Simulator(SimSettings(seed=1, rpm=None, tpm=None, region="local")), latency_s=rtt_s / 2)
        settings = {"base_url": "https://api.openai.com/v1", "api_key": "sim", "log": "off", "seed": 1}
        taken: list[float] = []
        shared = Engine(**settings)
        for n in range(100):
            engine = shared if kept else Engine(**settings)
            taken.append(await timed(ask(engine, chat(model, LABEL.format(n=n)))))
            if not kept:
                await engine.aclose()
        await shared.aclose()
        return sum(taken) / len(taken)

    return virtual_run(main)


def connections() -> list[Claim]:
    rows = []
    for model in ("gpt-4o-mini", "gpt-4o", "gpt-4.1-nano"):
        parts, savings = [], []
        for region in ("us-east", "eu-west", "ap-southeast"):
            rtt_s = REGIONS[region]
            new_s, kept_s = (connection_s(model, rtt_s, kept=kept) for kept in (False, True))
            savings.append(1 - kept_s / new_s)
            parts.append(
                f"{less(new_s, kept_s)} ({rtt_s * 1e3:.0f} ms away: {new_s * 1e3:.0f} -> {kept_s * 1e3:.0f} ms)"
            )
        holds = None if savings[0] < 0.1 <= savings[-1] else savings[0] >= 0.1
        rows.append(Claim(f"kept connections, a label from `{model}`", "10-20 % sooner", ", ".join(parts), holds=holds))
    return rows


# -- regions -----------------------------------------------------------------------------------------------------------


def regions() -> list[Claim]:
    os.environ["BENCH_KEY"] = "bench"
    names, places = bench_route.NAMES, {"a": "eu-west", "b": "us-east", "c": "ap-southeast"}

    def ttft_s(names: tuple[str, ...]) -> float:
        world = bench_route.World(names, regions=places)
        return bench_route.mean(bench_route.drive(world, names, stream=True))

    alone = {places[name]: ttft_s((name,)) for name in names}
    routed_s, nearest_s, farthest_s = ttft_s(names), min(alone.values()), max(alone.values())
    by_hand_holds = 0.2 <= 1 - nearest_s / farthest_s <= 0.5
    by_hand = f"{less(farthest_s, nearest_s)} ({farthest_s * 1e3:.0f} -> {nearest_s * 1e3:.0f} ms)"
    by_router = ", ".join(f"{less(own_s, routed_s)} against {region}" for region, own_s in alone.items())
    return [
        Claim(
            "the nearest region for the farthest, first token of `gpt-4o`",
            "20-50 % sooner",
            by_hand,
            holds=by_hand_holds,
        ),
        Claim("the router over all three, without being told which", "20-50 % sooner", by_router, holds=None),
    ]


# -- at the same time --------------------------------------------------------------------------------------------------


def parallel() -> list[Claim]:
    """Three calls that do not need one another, of `words` each."""

    async def main(words: int) -> tuple[float, float]:
        make, one_by_one, at_once = provider(), [], []
        async with make() as engine:
            for n in range(100):
                bodies = [
                    chat("gpt-4o", f"Write {words} words about the {what} of trip {n}.", max_tokens=4 * words)
                    for what in ("sights", "food", "costs")
                ]
                one_by_one.append(sum([await timed(ask(engine, body)) for body in bodies]))
                at_once.append(await timed(asyncio.gather(*[ask(engine, body) for body in bodies])))
        return median(one_by_one), median(at_once)

    rows = []
    for words, claimed in ((270, "9 s -> 3-4 s"), (62, "2,700 -> 900 ms")):
        before_s, after_s = virtual_run(lambda words=words: main(words))
        measured = f"{before_s:.2f} -> {after_s:.2f} s ({before_s / after_s:.1f}x)"
        rows.append(Claim("three independent calls at once", claimed, measured, holds=before_s / after_s >= 2.25))
    return rows


def limited() -> list[Claim]:
    """1,500 calls at once through openai's SDK, bare and over Headway, against 50 a second that nobody tells."""
    import openai

    import headway

    async def main(lean: bool) -> str:
        random.seed(1)  # the SDK's own pauses
        simulator = Simulator(SimSettings(seed=1, rpm=3000, capacity_s=1))
        virtual_network(simulator)
        own = {"http_client": headway.async_client(log="off", seed=1)} if lean else {}
        async with openai.AsyncOpenAI(base_url="http://api.openai.com/v1", api_key="sim", **own) as client:
            bodies = [chat("gpt-4.1-nano", f"Say {n}.", max_tokens=16) for n in range(1500)]
            asks = [client.chat.completions.create(**body) for body in bodies]
            answers = await asyncio.gather(*asks, return_exceptions=True)
        failed = sum(isinstance(answer, openai.APIError) for answer in answers)
        took_s, refused = asyncio.get_running_loop().time(), simulator.ledger.totals.throttled
        return f"{len(answers) - failed:,} answered, {failed:,} failed, {refused:,} refusals, {took_s:.0f} s"

    bare, over = (virtual_run(lambda lean=lean: main(lean)) for lean in (False, True))
    what = "1,500 calls at once, 3,000 a minute enforced as 50 a second: the SDK alone; over Headway"
    return [Claim(what, "(no claim; for comparison)", f"{bare}; {over}", holds=None)]


def threads() -> list[Claim]:
    """A sync program, real threads and sockets: 20 calls one by one, and from a pool. Time runs four times as fast."""
    import openai

    import headway

    with serving(SimSettings(seed=1, rpm=None, tpm=None, latency_scale=0.25)) as url:
        client = openai.OpenAI(base_url=url, api_key="sim", http_client=headway.client(log="off"))

        def one(n: int) -> None:
            client.chat.completions.create(**chat("gpt-4o-mini", LABEL.format(n=n)))

        one(-1)  # connect
        start_s = time.perf_counter()
        for n in range(20):
            one(n)
        one_by_one_s = time.perf_counter() - start_s
        start_s = time.perf_counter()
        with ThreadPoolExecutor(20) as pool:
            list(pool.map(one, range(20, 40)))
        pooled_s = time.perf_counter() - start_s
        client.close()
    measured = f"{one_by_one_s:.1f} -> {pooled_s:.1f} s ({one_by_one_s / pooled_s:.0f}x)"
    holds = one_by_one_s / pooled_s > 5
    return [Claim("sync program: 20 calls from a pool of 20 threads", "sooner; no number given", measured, holds=holds)]


# -- sooner seen, not asked --------------------------------------------------------------------------------------------


def streaming() -> list[Claim]:
    async def main(model: str) -> tuple[float, float]:
        first, whole = [], []
        async with provider()() as engine:
            for n in range(100):
                body = chat(model, f"Write 500 words about trip {n}.", max_tokens=500, stream=True)
                reply = await engine.send("/v1/chat/completions", body)
                await reply.read()
                trace = reply.trace
                assert trace is not None
                assert trace.first_content_at_s is not None
                assert trace.ended_at_s is not None
                first.append(trace.first_content_at_s - trace.started_at_s)
                whole.append(trace.ended_at_s - trace.started_at_s)
        return median(first), median(whole)

    rows = []
    claims = (
        ("gpt-4-turbo", (0.8, 1.2), (8, 12)),
        ("gpt-4o", (0.2, 0.4), (4, 6)),
        ("gpt-3.5-turbo", (0.15, 0.3), (2, 4)),
    )
    for model, (least_s, most_s), (short_s, long_s) in claims:
        first_s, whole_s = virtual_run(lambda model=model: main(model))
        measured = f"{first_s:.2f} s of {whole_s:.2f} ({whole_s / first_s:.0f}x sooner)"
        claimed = f"{least_s}-{most_s} s of {short_s}-{long_s}"
        holds = least_s <= first_s <= most_s and short_s <= whole_s <= long_s
        rows.append(Claim(f"streamed: first token of 500, `{model}`", claimed, measured, holds=holds))
    return rows


def cached() -> list[Claim]:
    """20 tickets of which 14 differ, one after the other; then all of them again."""

    async def main(cache: str) -> tuple[float, float, float]:
        texts = [f"Ticket {n % 14}: where is my parcel?" for n in range(20)]
        async with provider()(cache=cache) as engine:
            spans = []
            for _ in range(2):
                loop = asyncio.get_running_loop()
                start_s = loop.time()
                for text in texts:
                    await ask(engine, chat("gpt-4o-mini", text))
                spans.append(loop.time() - start_s)
            return spans[0], spans[1], engine.snapshot()["dollars"]

    (off_s, off_again_s, off_usd), (on_s, on_again_s, on_usd) = (
        virtual_run(lambda cache=cache: main(cache)) for cache in ("off", "memory")
    )
    first = f"{off_s:.1f} -> {on_s:.1f} s ({less(off_s, on_s)})"
    again = f"{off_again_s:.1f} -> {on_again_s:.1f} s; dollars of both rounds {less(off_usd, on_usd)}"
    return [
        Claim(
            "cached: 20 tickets, 6 of them repeated", "sooner and cheaper; no number given", first, holds=on_s < off_s
        ),
        Claim("cached: the same 20 once more", "the same", again, holds=on_again_s < 0.01),
    ]


def composed() -> list[Claim]:
    """Pipelines and map-reduce."""
    rows = claims_composed.rows()
    return [Claim(row.claim, row.claimed, row.measured, holds=row.holds, command=row.command) for row in rows]


def main() -> None:
    own_state()
    os.chdir(os.environ["HEADWAY_HOME"])  # no settings file of the directory it was started in
    rows = [*connections(), *regions(), *parallel(), *limited(), *threads(), *streaming(), *cached(), *composed()]
    if "--table" in sys.argv:
        print("| claim | claimed | measured | command |\n|---|---|---|---|")
        for row in rows:
            print(f"| {row['figure']} | {row['asked']} | {row['measured']} | `{row['command']}` |")
        return
    for row in rows:
        print(json.dumps(row), flush=True)


if __name__ == "__main__":
    main()
