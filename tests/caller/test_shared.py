"""Flights across processes: one asks, others read along; engines of one process stand for processes here."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import textwrap
from contextlib import AsyncExitStack, contextmanager

import msgspec
import pytest
import redis

from headway import ConnectionLost, DeadlineExceeded, Engine, ProviderTimeout
from headway.caller import shared
from headway.caller.cache import KEY_SCHEMA
from headway.engine.inbound import inbound
from headway.store import redis_flights
from headway.testing import FakeProvider, Step
from headway.types import Timeouts
from headway.wire import reader_for
from headway.wire.prices import load as load_prices
from tests.redis_server import redis_server, redis_url

__all__ = ["redis_server", "redis_url"]

CHAT = {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "Hello"}]}
STREAM = CHAT | {"stream": True}
PATH = "/v1/chat/completions"


@pytest.fixture(autouse=True)
def _short_leases(monkeypatch):
    """A dead leader is noticed in a fraction of a second, in which importing the price list must not fall."""
    load_prices()
    monkeypatch.setattr(redis_flights, "BLOCK_S", 0.05)
    monkeypatch.setattr(redis_flights.RedisFlights.__init__, "__kwdefaults__", {"lease_s": 0.3})


def process(provider, url, **settings) -> Engine:
    own = {"log": "off", "api_key": "sk-test", "log_level": "off", "cache": "redis", "redis_url": url}
    return Engine(handler=provider, **own | settings)


def run(main, *engines):
    async def whole():
        async with AsyncExitStack() as stack:
            return await main(*[await stack.enter_async_context(one) for one in engines])

    return asyncio.run(asyncio.wait_for(whole(), 20))


async def chunks_of(engine, body=STREAM, **arguments):
    reply = await engine.send(PATH, body, **arguments)
    return [chunk async for chunk in reply], reply


def left_in(url) -> list[bytes]:
    """Leases that are still held."""
    with redis.Redis.from_url(url) as client:
        return list(client.keys("hw:*:l:*"))


def test_only_the_equally_patient_follow(redis_url):
    """A process whose callers wait longer used to be told of the timeout of one in another process."""
    providers = [FakeProvider([Step(delay_s=0.1)]) for _ in range(3)]

    async def main(*engines):
        calls = []
        for engine, read_s in zip(engines, (0.5, 30, 30), strict=True):
            sent = {"method": "POST", "origin": "https://provider.test", "path": PATH, "headers": ()}
            body, timeouts = msgspec.json.encode(CHAT), Timeouts(first_byte_s=read_s)
            calls.append(inbound(engine, **sent, body=body, reader=reader_for(PATH), timeouts=timeouts))
        await asyncio.gather(*[engine.handle(call) for engine, call in zip(engines, calls, strict=True)])
        return [call.trace.cache for call in calls]

    states = run(main, *[process(provider, redis_url) for provider in providers])
    assert states[0] == "miss"
    assert sorted(states[1:]) == ["joined", "miss"]
    assert sum(provider.calls for provider in providers) == 2


@pytest.mark.parametrize("body", [CHAT, STREAM])
def test_two_processes_ask_once(redis_url, body):
    """The same bytes for both; who followed says joined, costs nothing, and is told what it saved."""
    providers = [FakeProvider([Step(delay_s=0.1, text="one two three")]) for _ in range(2)]

    async def main(*engines):
        sent = [engine.send(PATH, body) for engine in engines for _ in range(3)]
        replies = await asyncio.gather(*sent)
        return [(await reply.read(), reply.trace) for reply in replies]

    out = run(main, *[process(provider, redis_url) for provider in providers])
    assert sorted(provider.calls for provider in providers) == [0, 1]
    assert len({data for data, _ in out}) == 1
    assert sorted(trace.cache for _, trace in out) == ["joined"] * 5 + ["miss"]
    assert sum(trace.dollars for _, trace in out) == pytest.approx(max(trace.dollars for _, trace in out))
    assert all(trace.usage.output_tokens for _, trace in out)
    followers = [trace for _, trace in out if trace.cache == "joined"]
    assert all(trace.saved_dollars > 0 for trace in followers)
    assert left_in(redis_url) == []


def test_a_follower_reads_while_the_leader_still_gets(redis_url):
    """The stream is passed on chunk by chunk, not when it is whole."""
    provider = FakeProvider([Step(text="one two three four", chunk_delay_s=0.1)])

    async def main(leader, follower):
        first = asyncio.create_task(chunks_of(leader))
        await asyncio.sleep(0.15)
        reply = await follower.send(PATH, STREAM)
        early = await anext(reply)
        assert not first.done()
        rest = [early] + [chunk async for chunk in reply]
        return b"".join(rest), b"".join((await first)[0])

    followed, led = run(main, process(provider, redis_url), process(provider, redis_url))
    assert followed == led
    assert followed.endswith(b"data: [DONE]\n\n")
    assert provider.calls == 1


def test_the_next_process_finds_the_entry(redis_url):
    """When the lease is free the answer is stored: whoever comes then hits, and has it in memory from then on."""
    provider = FakeProvider()

    async def main(first, second):
        await first.send(PATH, CHAT)
        await asyncio.sleep(0.05)
        replies = [await second.send(PATH, CHAT) for _ in range(2)]
        return [reply.trace.cache for reply in replies], second.snapshot()["cache"]

    states, stats = run(main, process(provider, redis_url), process(provider, redis_url))
    assert states == ["redis", "memory"]
    assert stats["hits"] == 2
    assert stats["redis"]["hits"] == 1
    assert provider.calls == 1


def test_final_errors_are_shared_and_not_kept(redis_url):
    """An HTTP error of the leader's is the followers' too; the next caller asks again."""
    provider = FakeProvider([Step(status=400, delay_s=0.1), 200])

    async def main(*engines):
        replies = await asyncio.gather(*[engine.send(PATH, CHAT) for engine in engines])
        await asyncio.sleep(0.05)
        later = await engines[1].send(PATH, CHAT)
        return [reply.status for reply in replies], later.status

    assert run(main, process(provider, redis_url), process(provider, redis_url)) == ([400, 400], 200)
    assert provider.calls == 2


def test_a_providers_silence_is_shared(redis_url):
    """The leader's typed error reaches the follower as the same type."""
    provider = FakeProvider([Step(error=ProviderTimeout("silent", maybe_billed=True), delay_s=0.1)])

    async def main(*engines):
        return await asyncio.gather(*[engine.send(PATH, CHAT) for engine in engines], return_exceptions=True)

    errors = run(main, *[process(provider, redis_url, attempts_max=1) for _ in range(2)])
    assert [type(error) for error in errors] == [ProviderTimeout, ProviderTimeout]
    assert all(error.maybe_billed for error in errors)
    assert provider.calls == 1


def test_the_leaders_deadline_is_not_the_followers(redis_url):
    """A leader that gives up before the first byte is replaced, at once."""
    providers = [FakeProvider([Step(delay_s=30)]), FakeProvider([Step(text="taken over")])]

    async def main(leader, follower):
        led = asyncio.create_task(leader.send(PATH, CHAT, deadline_s=0.2))
        await asyncio.sleep(0.05)
        followed = await follower.send(PATH, CHAT)
        with pytest.raises(DeadlineExceeded):
            await led
        return await followed.read(), followed.trace.cache

    body, state = run(main, *[process(provider, redis_url) for provider in providers])
    assert b"taken over" in body
    assert state == "miss"


def test_a_follower_has_a_deadline_of_its_own(redis_url):
    """It is told in time; nothing was billed on its account."""
    provider = FakeProvider([Step(delay_s=0.6)])

    async def main(leader, follower):
        led = asyncio.create_task(leader.send(PATH, CHAT))
        await asyncio.sleep(0.05)
        with pytest.raises(DeadlineExceeded) as caught:
            await follower.send(PATH, CHAT, deadline_s=0.1)
        assert not caught.value.maybe_billed
        return (await led).status

    assert run(main, process(provider, redis_url), process(provider, redis_url)) == 200


def test_followers_keep_a_flight_going_that_its_own_callers_left(redis_url):
    """The leader's caller leaves; the follower gets the whole answer."""
    provider = FakeProvider([Step(text="one two three four five six", chunk_delay_s=0.08)])

    async def main(leader, follower):
        led = await leader.send(PATH, STREAM)
        await anext(led)
        followed = asyncio.create_task(chunks_of(follower))
        await asyncio.sleep(0.15)
        await led.aclose()
        return b"".join((await followed)[0])

    assert run(main, process(provider, redis_url), process(provider, redis_url)).endswith(b"data: [DONE]\n\n")
    assert (provider.calls, provider.aborted) == (1, 0)


def test_a_flight_that_nobody_wants_ends(redis_url):
    """The leader's caller leaves and nobody follows: within a heartbeat the provider's stream is closed."""
    provider = FakeProvider([Step(text="one two three", chunk_delay_s=0.3)])

    async def main(leader):
        led = await leader.send(PATH, STREAM)
        await anext(led)
        await led.aclose()
        while provider.open:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        await asyncio.sleep(0.05)
        return leader.snapshot()["in_flight"]

    assert run(main, process(provider, redis_url)) == 0
    assert provider.aborted == 1
    assert left_in(redis_url) == []


def test_a_cancelled_leader_leaves_no_lease(redis_url):
    """Closing the engine in mid-flight tells the followers; after the first byte they get a typed error."""
    provider = FakeProvider([Step(text="one two three four", chunk_delay_s=0.2)])

    async def main(leader, follower):
        led = await leader.send(PATH, STREAM)
        await anext(led)
        followed = await follower.send(PATH, STREAM)
        await anext(followed)
        await leader.aclose()
        with pytest.raises(ConnectionLost, match="try again") as caught:
            await followed.read()
        assert caught.value.maybe_billed

    run(main, process(provider, redis_url), process(provider, redis_url))
    assert left_in(redis_url) == []


_LEADER = """
    import asyncio, sys
    from headway import Engine
    from headway.store.redis_flights import RedisFlights
    from headway.testing import FakeProvider, Step

    RedisFlights.__init__.__kwdefaults__ = {"lease_s": 0.4}

    async def main():
        step = Step(text="one two three", delay_s=float(sys.argv[2]), chunk_delay_s=float(sys.argv[3]))
        async with Engine(handler=FakeProvider([step]), log="off", api_key="sk-test", cache="redis", redis_url=sys.argv[1]) as engine:
            body = {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "Hello"}], "stream": True}
            async for chunk in await engine.send("/v1/chat/completions", body):
                pass
    asyncio.run(main())
"""


@contextmanager
def leading(url, delay_s, chunk_delay_s, wait_for):
    """A process of its own that asks; inside, it has come as far as a key of this pattern, holding this kind."""
    arguments = [textwrap.dedent(_LEADER), url, str(delay_s), str(chunk_delay_s)]
    with subprocess.Popen([sys.executable, "-c", *arguments]) as child:
        try:
            with redis.Redis.from_url(url) as client:
                while not client.keys(wait_for):
                    assert child.poll() is None
            yield child
        finally:
            child.kill()


def test_a_leader_killed_before_its_first_byte_is_replaced(redis_url):
    """SIGKILL: the lease expires, one of those who wait takes over, and all get its answer."""
    providers = [FakeProvider([Step(text="taken over", delay_s=0.05)]) for _ in range(2)]

    async def main(*engines):
        sent = [asyncio.create_task(chunks_of(engine)) for engine in engines]
        await asyncio.sleep(0.2)
        os.kill(child.pid, signal.SIGKILL)
        return [b"".join(chunks) for chunks, _ in await asyncio.gather(*sent)]

    with leading(redis_url, 60, 0, "hw:*:l:*") as child:
        out = run(main, *[process(provider, redis_url) for provider in providers])
    assert all(b"taken" in body for body in out)
    assert sum(provider.calls for provider in providers) == 1


def test_a_leader_killed_in_the_middle_is_a_lost_connection(redis_url):
    """After the first byte nobody takes over: a typed error that says the answer may have been billed."""
    provider = FakeProvider()

    async def main(engine):
        reply = await engine.send(PATH, STREAM)
        await anext(reply)
        os.kill(child.pid, signal.SIGKILL)
        with pytest.raises(ConnectionLost) as caught:
            await reply.read()
        return caught.value.maybe_billed

    with leading(redis_url, 0, 0.4, "hw:*:s:*") as child:
        assert run(main, process(provider, redis_url))
    assert provider.calls == 0


def test_a_handlers_own_bug_is_nobody_elses(redis_url):
    """The leader's callers get it; the follower takes over, and no lease is left."""
    providers = [FakeProvider([Step(error=ValueError("a bug"), delay_s=0.1)]), FakeProvider()]

    async def main(leader, follower):
        led = asyncio.create_task(leader.send(PATH, CHAT))
        await asyncio.sleep(0.05)
        followed = await follower.send(PATH, CHAT)
        with pytest.raises(ValueError, match="a bug"):
            await led
        return followed.status

    assert run(main, *[process(provider, redis_url) for provider in providers]) == 200
    assert left_in(redis_url) == []


def test_without_redis_each_process_asks_for_itself(redis_server):
    """Fail open: no answer is held up, and nobody is told but the log."""
    providers = [FakeProvider(), FakeProvider()]

    async def main(*engines):
        return [(await engine.send(PATH, CHAT)).trace.cache for engine in engines for _ in range(2)]

    states = run(main, *[process(provider, "redis://127.0.0.1:1/0") for provider in providers])
    assert states == ["miss", "memory"] * 2


def test_a_server_that_dies_in_mid_flight_costs_the_leader_nothing(redis_server, redis_url):
    """Its callers get the whole answer all the same."""
    provider = FakeProvider([Step(text="one two three", chunk_delay_s=0.05)])

    async def main(engine):
        reply = await engine.send(PATH, STREAM)
        first = await anext(reply)
        redis_server.kill()
        try:
            return first + b"".join([chunk async for chunk in reply])
        finally:
            redis_server.start()

    assert run(main, process(provider, redis_url)).endswith(b"data: [DONE]\n\n")


def test_what_is_too_large_is_not_shared(redis_url, monkeypatch):
    """The leader's callers get it; followers are told to ask for themselves, with the cache off."""
    monkeypatch.setattr(shared, "BYTES_MAX", 2000)
    provider = FakeProvider([Step(text="word " * 200, chunk_delay_s=0.002)])

    async def main(*engines):
        return await asyncio.gather(*[chunks_of(engine) for engine in engines], return_exceptions=True)

    out = run(main, process(provider, redis_url), process(provider, redis_url))
    assert sorted(type(one).__name__ for one in out) == ["Overloaded", "tuple"]


def test_a_leader_that_never_was_is_not_waited_for(redis_url):
    """A lease that nobody renews, with nothing in its log: after it has expired the caller asks itself."""
    provider = FakeProvider()

    async def main(engine):
        key = (await engine.send(PATH, CHAT)) and provider.seen[0].key
        assert key is not None
        with redis.Redis.from_url(redis_url) as client:
            client.set(f"hw:{KEY_SCHEMA}:l:{key.hex()}00", "nobody", px=200)
        return (await engine.send(PATH, CHAT, cache="refresh")).trace.cache

    assert run(main, process(provider, redis_url)) == "refresh"
    assert provider.calls == 2


def test_a_log_of_nonsense_is_a_typed_error_or_a_new_start(redis_url):
    """Bytes that are no message of ours, before the first byte: the caller asks for itself."""
    provider = FakeProvider()

    async def main(engine):
        await engine.send(PATH, CHAT)
        key = provider.seen[0].key
        with redis.Redis.from_url(redis_url) as client:
            client.set(f"hw:{KEY_SCHEMA}:l:{key.hex()}00", "odd", px=300)
            client.xadd(f"hw:{KEY_SCHEMA}:s:odd", {"k": "head", "d": b"\xc1nonsense"})
        return (await engine.send(PATH, CHAT, cache="refresh")).status

    assert run(main, process(provider, redis_url)) == 200
    assert provider.calls == 2
