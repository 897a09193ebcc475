"""Caches by use: each its own times, bounds and figures; paced replay; prefetching."""

from __future__ import annotations

import asyncio

import pytest

from headway import ConfigError
from headway.testing import FakeProvider, Step, virtual_run

from .helpers import BODY, CHAT, COMPLETIONS, RESPONSES, engine

TABLES = {"faq": {"ttl_s": 1000}, "news": {"ttl_s": 10}}


@pytest.mark.parametrize("tiers", ["memory", "disk"])
def test_namespaces_do_not_share_and_have_their_own_times(tiers, tmp_path):
    """The same request in two of them is asked twice, and one is old when the other still is fresh."""
    provider = FakeProvider()

    async def main():
        path = str(tmp_path / "cache.sqlite")
        async with engine(provider, cache=tiers, caches=TABLES, cache_path=path) as e:
            states = []
            for name in ("faq", "news", "", "faq", "news"):
                states.append((await e.send(RESPONSES, BODY, namespace=name)).trace.cache)
            await asyncio.sleep(100)
            for name in ("faq", "news"):
                states.append((await e.send(RESPONSES, BODY, namespace=name)).trace.cache)
            return states, e.snapshot()["cache"]

    states, stats = virtual_run(main)
    assert states[:5] == ["miss", "miss", "miss", "memory", "memory"]
    assert states[5] == "memory"
    assert states[6] != "memory"
    faq, news = stats["namespaces"]["faq"], stats["namespaces"]["news"]
    assert (faq["hits"], faq["misses"], news["hits"]) == (2, 1, 2)  # the stale one was renewed, and served from there
    assert faq["saved_dollars"] > 0
    assert faq["memory"]["bytes_used"] > 0
    assert (stats["hits"], stats["misses"]) == (0, 1)


def test_a_namespace_keeps_to_its_own_bound():
    """A small one forgets; the default one does not."""
    provider = FakeProvider()

    async def main():
        async with engine(provider, cache="memory", caches={"small": {"memory_bytes_max": 3000}}) as e:
            for name in ("small", ""):
                for n in range(20):
                    await e.send(RESPONSES, BODY | {"input": str(n)}, namespace=name)
            return e.snapshot()["cache"]

    stats = virtual_run(main)
    assert stats["namespaces"]["small"]["memory"]["bytes_used"] <= 3000
    assert stats["memory"]["entries"] == 20


@pytest.mark.parametrize(("cache", "says"), [("memory", r"add a table \[caches.nowhere\]"), ("off", "has no cache")])
def test_an_unknown_namespace_is_an_error(cache, says):
    """Before anything is sent."""
    provider = FakeProvider()

    async def main():
        async with engine(provider, cache=cache) as e:
            await e.send(RESPONSES, BODY, namespace="nowhere")

    with pytest.raises(ConfigError, match=says):
        virtual_run(main)
    assert provider.calls == 0


@pytest.mark.parametrize(("how", "expected_s"), [("paced", 4.0), ("instant", 0.0)])
def test_a_stream_is_replayed_at_its_pace_where_asked(how, expected_s):
    """The same bytes, and between them the same time, to the millisecond; from disk as well."""
    provider = FakeProvider([Step(text="one two three", delay_s=1.0, chunk_delay_s=0.5)])

    async def main():
        async with engine(provider, cache="disk", cache_replay=how, cache_memory_bytes_max=1) as e:
            loop = asyncio.get_running_loop()
            out = []
            for _ in range(2):
                start_s = loop.time()
                reply = await e.send(COMPLETIONS, CHAT | {"stream": True})
                out.append([(loop.time() - start_s, chunk) async for chunk in reply])
            return out

    first, again = virtual_run(main)
    assert b"".join(chunk for _, chunk in again) == b"".join(chunk for _, chunk in first)
    assert again[-1][0] == pytest.approx(expected_s, abs=0.6 if how == "paced" else 0.0)
    if how == "paced":
        assert again[0][0] >= 1.0
        assert [at for at, _ in again] == sorted(at for at, _ in again)


def test_a_prefetched_answer_is_joined_or_hit():
    """The real request, coming while it is fetched, shares it; one that comes later hits."""
    provider = FakeProvider([Step(delay_s=1.0)])

    async def main():
        async with engine(provider, cache="memory") as e:
            assert e.prefetch(RESPONSES, BODY)
            await asyncio.sleep(0.5)
            states = [(await e.send(RESPONSES, BODY)).trace.cache]
            states.append((await e.send(RESPONSES, BODY)).trace.cache)
            return states

    assert virtual_run(main) == ["joined", "memory"]
    assert provider.calls == 1


def test_prefetching_never_raises_and_knows_its_bounds():
    """Failures are nobody's; more than 16 under way are dropped; without a cache, or with a short budget, all are."""
    provider = FakeProvider([Step(status=500, delay_s=1.0)])

    async def main():
        async with engine(provider, cache="memory", attempts_max=1) as e:
            taken = [e.prefetch(RESPONSES, BODY | {"input": str(n)}) for n in range(20)]
            assert taken == [True] * 16 + [False] * 4
            await asyncio.sleep(5)
            assert e.prefetch(RESPONSES, b"not json")
            assert e.prefetch("no path", BODY)
            await asyncio.sleep(5)
            assert e.prefetch(RESPONSES, BODY)  # left to the end of the engine
        async with engine(provider) as off:
            assert not off.prefetch(RESPONSES, BODY)
        async with engine(FakeProvider(), cache="memory", budget_tokens=5000) as short:
            await short.send(RESPONSES, BODY)
            assert short.prefetch(RESPONSES, BODY | {"max_output_tokens": 5})
            await asyncio.sleep(1)
            short.budget.cap.book(0.0, 3000 - short.budget.cap.tokens_spent)
            assert not short.prefetch(RESPONSES, BODY | {"input": "x"})

    virtual_run(main)


def test_prefetches_wait_behind_everybody():
    """Where requests wait for the provider's limits, none is taken."""
    provider = FakeProvider()

    async def main():
        async with engine(provider, cache="memory", requests_per_min=1) as e:
            sent = [asyncio.create_task(e.send(RESPONSES, BODY | {"input": str(n)})) for n in range(3)]
            await asyncio.sleep(1)
            assert not e.prefetch(RESPONSES, BODY)
            await asyncio.gather(*sent)

    virtual_run(main)
