"""What metrics and traces cost a call, and what a scrape costs.

Engines that differ in nothing else answer the same calls in turns, without a network: none of it, meters, meters and
OpenTelemetry with nothing sampled, and with every span made and thrown away. CPU time of the process, median of the
rounds' differences. The counting alone is measured on ended traces, a call and its try; a page with as many lines as
there may be (100 models on a route, 100 upstreams).
"""

from __future__ import annotations

import asyncio
import gc
import time
from statistics import median
from typing import Any

from common import emit, own_state, spread
from headway import Engine
from headway.gateway.app.metrics import _page
from headway.telemetry import Meters, Tracing
from headway.telemetry.states import merged, unpacked
from headway.types import Call, Reply, Trace, Usage

ROUNDS, CALLS, AT_ONCE = 15, 1_600, 32
ANSWER = (
    b'{"id":"c","object":"chat.completion","created":1,"model":"gpt-5.4-mini","choices":[{"index":0,"message":{"role":'
    b'"assistant","content":"At home."},"finish_reason":"stop"}],"usage":{"prompt_tokens":9,"completion_tokens":3,'
    b'"total_tokens":12}}'
)


async def provider(call: Call) -> Reply:
    return Reply(200, (("content-type", "application/json"),), ANSWER)


def tracing(*, sampled: bool) -> Tracing:
    from opentelemetry.sdk.metrics import MeterProvider
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.sampling import ALWAYS_OFF, ALWAYS_ON

    tracers = TracerProvider(sampler=ALWAYS_ON if sampled else ALWAYS_OFF, shutdown_on_exit=False)
    return Tracing(tracer_provider=tracers, meter_provider=MeterProvider(shutdown_on_exit=False))


async def round_us(engine: Engine, start: int) -> float:
    """CPU microseconds a call."""
    gc.collect()

    async def worker(first: int) -> None:
        for n in range(first, first + CALLS // AT_ONCE):
            body = b'{"model":"gpt-5.4-mini","messages":[{"role":"user","content":"Where? %d"}]}' % n
            await engine.send("/v1/chat/completions", body)

    began_s = time.process_time()
    await asyncio.gather(*[worker(start + k * CALLS) for k in range(AT_ONCE)])
    return (time.process_time() - began_s) / CALLS * 1e6


async def side_by_side() -> None:
    given: dict[str, Any] = {"handler": provider, "base_url": "http://provider/v1", "api_key": "sk", "limits": "off"}
    given |= {"log": "off", "log_level": "off"}
    names = ("off", "meters", "not sampled", "every span")
    engines = {name: Engine(**given) for name in names}
    engines["meters"].observe(Meters(tagged_steps=True))
    engines["not sampled"].observe(tracing(sampled=False))
    engines["every span"].observe(tracing(sampled=True))
    taken: dict[str, list[float]] = {name: [] for name in names}
    for n in range(ROUNDS + 2):
        for name, engine in engines.items():
            us = await round_us(engine, n * 1_000_000)
            if n >= 2:
                taken[name].append(us)
    for engine in engines.values():
        await engine.aclose()
    base = taken["off"]
    for name, asked in (("meters", "<= 2 us"), ("not sampled", ""), ("every span", "")):
        added = [with_ - without for with_, without in zip(taken[name], base, strict=True)]
        reached = median(added) <= 2.0 if asked else None
        emit(
            f"telemetry: {name}, added CPU a call", asked, f"{median(added):.1f} us", reached=reached,
            added_us=spread(added), without_us=round(median(base), 1),
        )  # fmt: skip


def ended(kind: Any, model: str, upstream: str) -> Trace:
    trace = Trace(kind, "id", 10.0, 1.8e9)
    trace.path, trace.format, trace.model, trace.upstream = "/v1/chat/completions", "openai_chat", model, upstream
    trace.status, trace.cache, trace.sent_at_s, trace.dollars = 200, "miss", 10.1, 0.001
    trace.usage = Usage(input_tokens=9, output_tokens=3)
    trace.stream, trace.first_content_at_s = True, 10.2
    trace.end("ok", 10.5)
    return trace


def counting() -> None:
    meters, call, attempt = Meters(tagged_steps=True), ended("call", "m", "u"), ended("attempt", "m", "u")
    taken = []
    for _ in range(ROUNDS):
        began_s = time.process_time()
        for _ in range(20_000):
            meters.finished(attempt)
            meters.finished(call)
        taken.append((time.process_time() - began_s) / 20_000 * 1e6)
    emit(
        "telemetry: counting a streamed call and its try", "< 2 us", f"{median(taken):.2f} us",
        reached=median(taken) < 2.0, us=spread(taken),
    )  # fmt: skip


async def scrape() -> None:
    meters = Meters()
    for n in range(100):
        meters.finished(ended("call", f"model-{n}", ""))
        meters.finished(ended("attempt", f"model-{n}", f"upstream-{n}"))
    packs, pages, longest, size = [], [], [], 0
    for _ in range(ROUNDS):
        began_s = time.process_time()
        data = meters.packed()
        packs.append((time.process_time() - began_s) * 1e3)
        state = merged([unpacked(data)])
        began_s = time.process_time()
        gap_s, done = 0.0, asyncio.ensure_future(_page(state, ""))
        while not done.done():
            turn_s = time.process_time()
            await asyncio.sleep(0)
            gap_s = max(gap_s, time.process_time() - turn_s)
        pages.append((time.process_time() - began_s) * 1e3)
        longest.append(gap_s * 1e3)
        size = len((await done)[0])
    emit(
        "telemetry: a page with as many lines as there may be", "", f"{median(pages):.0f} ms", reached=None,
        page_ms=spread(pages), longest_turn_ms=spread(longest), pack_ms=spread(packs), page_bytes=size,
        packed_bytes=len(data),
    )  # fmt: skip


if __name__ == "__main__":
    own_state()
    counting()
    asyncio.run(scrape())
    asyncio.run(side_by_side())
