"""How long things take."""

from __future__ import annotations

from random import Random
from statistics import median, quantiles

import pytest

from headway.sim import SimSettings, Simulator, run_virtual
from headway.sim.latency import timing
from headway.sim.profiles import PROFILES, REGIONS, profile_for
from tests.sim.helpers import call, chat, now_s, respond

PROMPT = "Please write 600 words about the history of bridges. " + "Mind the style and the facts. " * 20
"""About 200 tokens, and more words asked for than are let through."""


def seen(model: str, tokens: int, runs: int = 120) -> tuple[list[float], list[float]]:
    """Times to first token and to the last of `tokens`, of streams one after the other."""

    async def main() -> tuple[list[float], list[float]]:
        simulator = Simulator(SimSettings(quality=None))
        first, last = [], []
        for number in range(runs):
            body = {
                "model": model,
                "messages": [{"role": "user", "content": f"{PROMPT} ({number})"}],
                "max_tokens": tokens,
                "stream": True,
            }
            start_s = now_s()
            async with await simulator.handler(call("/v1/chat/completions", body)) as reply:
                at_s = [
                    now_s() - start_s async for chunk in reply if b'"content":"' in chunk and b'"role"' not in chunk
                ]
            assert len(at_s) == tokens
            first.append(at_s[0])
            last.append(at_s[-1])
        return first, last

    return run_virtual(main)


def within(values: list[float], low_s: float, high_s: float) -> bool:
    """Whether the middle 80 % lie in the range."""
    tenths = quantiles(values, n=10)
    return low_s <= tenths[0] and tenths[-1] <= high_s


@pytest.mark.parametrize(
    ("model", "ttft_s", "total_s"),
    [("gpt-4-turbo", (0.8, 1.2), (8, 12)), ("gpt-4o", (0.2, 0.4), (4, 6)), ("gpt-3.5-turbo", (0.15, 0.3), (2, 4))],
)
def test_the_quoted_ranges_hold_the_middle_80_percent(model, ttft_s, total_s):
    """Time to first token, and 500 tokens, at no load, as the field's courses quote them."""
    first, last = seen(model, 500)
    assert within(first, *ttft_s)
    assert within(last, *total_s)


@pytest.mark.parametrize("model", ["gpt-5.4-mini", "gpt-4o-mini"])
def test_a_small_models_label_takes_its_quoted_time(model):
    """1.1 to 1.4 s end to end for the middle 80 %."""

    async def main() -> list[float]:
        simulator, took_s = Simulator(SimSettings(quality=None)), []
        for number in range(150):
            start_s = now_s()
            await respond(simulator, f"Return only the label, one of: red, blue. Text: blue {number}", model=model)
            took_s.append(now_s() - start_s)
        return took_s

    assert within(run_virtual(main), 1.1, 1.4)


def test_the_nano_model_is_the_faster_one():
    """Half the time to first token of the small one, and less per token."""
    nano, small = PROFILES["gpt-4.1-nano"], PROFILES["gpt-5.4-mini"]
    assert nano.start_s < small.start_s / 2
    assert nano.token_s < small.token_s


def test_the_spread_leaves_the_median_where_it_is():
    """Log-normal factors: the median of many draws is the profile's own figure."""
    profile, rng = PROFILES["gpt-4.1"], Random(1)
    drawn = [timing(profile, uncached_tokens=1_000, in_flight=0, capacity=10, scale=1, rng=rng) for _ in range(4_000)]
    assert median(t.prefill_s for t in drawn) == pytest.approx(profile.start_s + 1_000 * profile.prefill_s, rel=0.02)
    assert median(t.token_s for t in drawn) == pytest.approx(profile.token_s, rel=0.02)
    assert {t.queue_s for t in drawn} == {0.0}


def test_load_makes_a_queue_and_slows_every_token():
    """Nothing at no load, growing with what is in flight, bounded at saturation."""
    profile = PROFILES["gpt-4o"]
    loads = [
        timing(profile, uncached_tokens=0, in_flight=n, capacity=100, scale=1, rng=Random(1)) for n in (0, 50, 90, 500)
    ]
    assert [t.queue_s for t in loads] == sorted(t.queue_s for t in loads)
    assert [t.token_s / loads[0].token_s for t in loads] == pytest.approx([1, 1.25, 1.45, 1.49])
    assert loads[0].queue_s == 0.0
    assert 2.3 < loads[-1].queue_s < 2.5


def test_concurrent_requests_feel_each_other():
    """At capacity, a request in a crowd takes longer than the same one alone."""
    import asyncio

    async def main(crowd: int) -> float:
        simulator = Simulator(SimSettings(capacity=50))
        others = [asyncio.create_task(chat(simulator, f"Write 200 words, {n}")) for n in range(crowd)]
        await asyncio.sleep(0.1)
        start_s = now_s()
        await chat(simulator, "Write 20 words.")
        took_s = now_s() - start_s
        await asyncio.gather(*others)
        return took_s

    assert run_virtual(lambda: main(45)) > 1.3 * run_virtual(lambda: main(0))


def test_regions_differ_by_their_round_trip():
    """The same request takes longer by the difference of the median round trips, spread aside."""

    async def main(region: str) -> float:
        await chat(Simulator(SimSettings(region=region)), "Hello you")
        return now_s()

    near, far = run_virtual(lambda: main("us-east")), run_virtual(lambda: main("ap-southeast"))
    assert far - near == pytest.approx(REGIONS["ap-southeast"] - REGIONS["us-east"], rel=0.35)


def test_scale_zero_answers_at_once():
    """No virtual time passes at all, streamed or not, refused or not."""

    async def main() -> float:
        simulator = Simulator(SimSettings(latency_scale=0))
        await chat(simulator, "Hello you")
        await chat(simulator, "Hello you", stream=True)
        await chat(simulator, "Hello you", model="nobody")
        return now_s()

    assert run_virtual(main) == 0.0


def test_the_processing_header_is_the_time_without_the_network():
    """openai-processing-ms and the network make the whole latency."""

    async def main() -> tuple[float, str]:
        reply = await chat(Simulator(SimSettings(region="ap-southeast")), "Hello you")
        return now_s(), reply.header("openai-processing-ms")

    took_s, told_ms = run_virtual(main)
    assert 0.15 < took_s - int(told_ms) / 1_000 < 0.32


@pytest.mark.parametrize(
    ("name", "played"),
    [("gpt-4o", "gpt-4o"), ("gpt-4o-2024-08-06", "gpt-4o"), ("gpt-5.4-mini-2026-03-17", "gpt-5.4-mini"),
     ("gpt-4", None), ("gpt-4o-2024", None), ("gpt-4o-2024-ab-cd", None), ("", None)],
)  # fmt: skip
def test_dated_snapshots_are_played_by_their_model(name, played):
    """A name or a dated name; nothing else."""
    found = profile_for(name)
    assert (found and found[0]) == played
