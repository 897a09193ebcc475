"""Provider prompt caching against the simulator, in virtual time: input dollars and TTFT with and without.

The simulator plays the published rules: prefixes that end at a breakpoint, from the model's minimum on, for five
minutes, written at 1.25 and read at 0.1 of the input price; what is written can be read once its answer has begun.
Dollars are those of the provider's own account, input only. Answers' content is no part of it.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator, Mapping
from typing import Any

from common import emit, own_state, spread
from headway import Engine
from headway.sim import SimSettings, Simulator, run_virtual
from headway.types import Usage
from headway.wire.prices import Prices
from headway.wire.splice import with_cache_breakpoint

MODEL = "claude-sonnet-5"
ROWS, LIVE, PER_S = 300, 300, 2.0
SETTINGS: dict[str, Any] = {"api_key": "sk-sim", "log": "off", "log_level": "off", "seed": 1}


def rules(tokens: int, salt: str = "") -> str:
    """A system prompt of about so many tokens."""
    return f"{salt}You label questions. " + " ".join(f"Topic {n}: label it t{n}." for n in range(tokens // 10))


def body(question: str, system: str, **more: Any) -> bytes:
    turns = [{"role": "user", "content": question}]
    return json.dumps({"model": MODEL, "max_tokens": 20, "system": system, "messages": turns, **more}).encode()


class Labels:
    """A job's task; `mark` sets a breakpoint in every row, as a client would by itself."""

    path = "/v1/messages"
    repairs_max = 0
    bears_cutting = True

    def __init__(self, system: str, *, mark: bool = False) -> None:
        self._system = system
        self._mark = mark

    def body(self, row: Mapping[str, Any]) -> bytes:
        plain = body(row["text"], self._system)
        return (with_cache_breakpoint(plain) or plain) if self._mark else plain

    def key_body(self, row: Mapping[str, Any]) -> None:
        return None

    def accept(self, text: str) -> str:
        return text

    def repair(self, row: Mapping[str, Any], text: str, problem: str) -> bytes:
        return self.body(row)


def input_usd(simulator: Simulator) -> float:
    """What the provider charged for prompts."""
    totals, rates = simulator.ledger.totals, Prices().rates(MODEL)
    assert rates is not None
    told = {name: getattr(totals, name) for name in ("input_tokens", "cached_tokens", "cache_write_tokens")}
    return rates.dollars(Usage(**told))


async def job(mode: str, task: Labels, rows: int = ROWS) -> tuple[float, float]:
    """A job through the engine: input dollars, seconds."""
    simulator = Simulator(SimSettings(seed=3))
    loop = asyncio.get_running_loop()
    async with Engine(handler=simulator.handler, prompt_cache=mode, **SETTINGS) as engine:
        start_s = loop.time()
        questions = [{"text": f"Question {n}: where is my order?"} for n in range(rows)]
        async for result in engine.map(questions, task, concurrency=256):
            assert not result.error
        return input_usd(simulator), loop.time() - start_s


async def traffic(mode: str, prompts: Iterator[str], gap_s: float, count: int = LIVE) -> tuple[float, list[float], int]:
    """Streamed requests, one every `gap_s`: input dollars, times to the first content, tokens written."""
    simulator = Simulator(SimSettings(seed=3))
    loop = asyncio.get_running_loop()
    first_s: list[float] = []
    async with Engine(handler=simulator.handler, prompt_cache=mode, **SETTINGS) as engine:

        async def one(n: int, system: str) -> None:
            start_s = loop.time()
            reply = await engine.send("/v1/messages", body(f"Question {n}?", system, stream=True))
            async for chunk in reply:
                if b"content_block_delta" in chunk and len(first_s) <= n:
                    first_s.append(loop.time() - start_s)

        tasks = []
        for n in range(count):
            tasks.append(asyncio.create_task(one(n, next(prompts))))
            await asyncio.sleep(gap_s)
        await asyncio.gather(*tasks)
    return input_usd(simulator), first_s, simulator.ledger.totals.cache_write_tokens


def same(system: str) -> Iterator[str]:
    while True:
        yield system


def each_twice() -> Iterator[str]:
    n = 0
    while True:
        system = rules(2_500, f"Customer {n}. ")
        yield system
        yield system
        n += 1


def main() -> None:
    own_state()
    system = rules(2_500)
    off, off_s = run_virtual(lambda: job("off", Labels(system)))
    beside, beside_s = run_virtual(lambda: job("off", Labels(system, mark=True)))
    auto, auto_s = run_virtual(lambda: job("auto", Labels(system)))
    emit(
        f"input dollars of a job, {ROWS} rows with a common prefix of 2,500 tokens: auto against off",
        "less",
        f"{1 - auto / off:.1%} less",
        reached=auto < off,
        input_usd={"off": round(off, 4), "every row marked, side by side": round(beside, 4), "auto": round(auto, 4)},
        job_s={"off": round(off_s, 2), "every row marked, side by side": round(beside_s, 2), "auto": round(auto_s, 2)},
    )
    long = rules(8_000)
    off, off_first_s, _ = run_virtual(lambda: traffic("off", same(long), 1 / PER_S))
    auto, auto_first_s, _ = run_virtual(lambda: traffic("auto", same(long), 1 / PER_S))
    p50 = [spread(one)["median"] for one in (off_first_s, auto_first_s)]
    emit(
        f"traffic of {PER_S:g} requests/s with a prefix of 8,000 tokens: input dollars, auto against off",
        "less",
        f"{1 - auto / off:.1%} less",
        reached=auto < off,
        input_usd=[round(off, 4), round(auto, 4)],
        ttft_p50_s=p50,
        ttft=f"{1 - p50[1] / p50[0]:.0%} less",
    )
    for name, prompts, gap_s in (
        ("prefix of 300 tokens", lambda: same(rules(300)), 0.5),
        ("every prefix twice", each_twice, 0.5),
        ("one request every 7 minutes", lambda: same(system), 420.0),
    ):
        off, _, _ = run_virtual(lambda p=prompts, g=gap_s: traffic("off", p(), g, 100))
        auto, _, written = run_virtual(lambda p=prompts, g=gap_s: traffic("auto", p(), g, 100))
        emit(f"{name}: auto stays off", "0 $ more, 0 tokens written", f"{auto - off:.4f} $ more, {written} written",
             reached=auto == off and written == 0)  # fmt: skip
    off, off_s = run_virtual(lambda: job("off", Labels(rules(300))))
    auto, auto_s = run_virtual(lambda: job("auto", Labels(rules(300))))
    emit("job with a prefix of 300 tokens: auto stays off", "the same dollars and seconds",
         f"{auto - off:.4f} $, {auto_s - off_s:.3f} s more", reached=(auto, auto_s) == (off, off_s))  # fmt: skip


if __name__ == "__main__":
    main()
