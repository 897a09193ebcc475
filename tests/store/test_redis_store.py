"""The Redis tier: what was put is found by another process's store, for as long as it lives; a dead server costs little."""

from __future__ import annotations

import asyncio
import os
import time
from itertools import pairwise

import pytest
import redis
from tests.redis_server import RedisServer, redis_server, redis_url

from headway.store.base import Entry
from headway.store.redis_flights import Lease, RedisFlights
from headway.store.redis_limits import SharedBucket, SharedLease, SharedLimits
from headway.store.redis_link import RedisDown, RedisLink
from headway.store.redis_store import RedisStore
from headway.types import Usage

__all__ = ["redis_server", "redis_url"]


def entry(body: bytes = b"{}", lives_s: float = 100.0, **fields) -> Entry:
    now_s = time.time()
    return Entry(
        body=body, stored_wall_s=now_s, fresh_until_wall_s=now_s + 10, stale_until_wall_s=now_s + lives_s, **fields
    )


def with_link(url, work, **settings):
    """Run `work(link)`; its result, and what was warned of."""
    warned: list[str] = []

    async def main():
        link = RedisLink(url, on_error=warned.append, **settings)
        try:
            return await work(link)
        finally:
            await link.aclose()

    return asyncio.run(main()), warned


def store_of(link: RedisLink, **settings) -> RedisStore:
    return RedisStore(link, "hw:3:e:faq:", wall_s=time.time, **settings)


def test_what_one_store_puts_another_finds(redis_url):
    """Every field comes back; large bodies are compressed; the key carries prefix and time to live."""
    full = entry(
        b"word " * 2000, headers=(("x", "ä"),), streamed=True, usage=Usage(input_tokens=7), dollars=0.25, pace=b"\x01"
    )

    async def work(link):
        here, there = store_of(link), store_of(link)
        here.put(b"k" * 32, full)
        await here.flush()
        found = await there.get(b"k" * 32)
        missing = await there.get(b"x" * 32)
        await here.aclose()
        return found, missing, there.stats(), here.stats().puts

    (found, missing, stats, puts), warned = with_link(redis_url, work)
    assert found == full
    assert missing is None
    assert (stats.hits, stats.misses, puts) == (1, 1, 1)
    assert not warned
    with redis.Redis.from_url(redis_url) as client:
        name = b"hw:3:e:faq:" + (b"k" * 32).hex().encode()
        assert client.keys() == [name]
        assert 90_000 < client.pttl(name) <= 100_000
        assert client.strlen(name) < 1_000


def test_what_is_too_large_or_over_is_not_stored(redis_url):
    """Bounded in bytes a value, and never without a time to live."""

    async def work(link):
        store = store_of(link, entry_bytes_max=1000)
        store.put(b"large", entry(os.urandom(1001)))
        store.put(b"over", entry(lives_s=-1))
        store.put(b"good", entry(os.urandom(900)))
        await store.flush()
        return store.stats().puts

    puts, _ = with_link(redis_url, work)
    assert puts == 1
    with redis.Redis.from_url(redis_url) as client:
        assert client.keys() == [b"hw:3:e:faq:" + b"good".hex().encode()]


def test_what_is_put_as_the_sender_ends_counts_once(redis_url):
    """Counted twice, a few such entries filled the queue for good, and nothing was stored any more."""

    async def work(link):
        store = store_of(link)
        for number in range(30):
            store.put(b"a%d" % number, entry(b"x" * 2_000_000))
            async with asyncio.timeout(5):
                while store.stats().puts < 2 * number + 1:  # noqa: ASYNC110
                    await asyncio.sleep(0)
            store.put(b"b%d" % number, entry(b"x" * 2_000_000))
            await store.flush()
        puts = store.stats().puts
        await store.aclose()
        return puts

    puts, _ = with_link(redis_url, work, timeout_s=5.0)
    assert puts == 60


@pytest.mark.parametrize(
    "value", [b"", b"\x00nonsense", b"\x01nonsense", b"\x09x", b"\x01" + b"\x28\xb5\x2f\xfd\xa0\xff\xff\xff\x7f"]
)
def test_nonsense_in_redis_is_a_miss(redis_url, value):
    """Somebody else's bytes, or a frame that claims to be 2 GB, cost a miss and nothing else."""
    with redis.Redis.from_url(redis_url) as client:
        client.set("hw:3:e:faq:" + b"k".hex(), value)
    found, warned = with_link(redis_url, lambda link: store_of(link).get(b"k"))
    assert found is None
    assert not warned


def test_a_dead_server_costs_one_warning_and_comes_back(redis_server: RedisServer, redis_url):
    """The first question fails, further ones are not asked; a probe finds the server when it is there again."""
    with_link(redis_url, lambda link: link.ask(lambda client: client.ping()))  # it is there

    async def work(link):
        store = store_of(link)
        await store.get(b"k")
        redis_server.kill()
        try:
            for _ in range(20):
                assert await store.get(b"k") is None
                store.put(b"k", entry())
            assert link.down
        finally:
            redis_server.start()
        while link.down:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        store.put(b"k", entry())
        await store.flush()
        return await store.get(b"k")

    found, warned = with_link(redis_url, work, retry_s=0.02)
    assert found is not None
    assert len(warned) == 1
    assert "going on without it" in warned[0]


def test_a_silent_server_costs_its_timeout_once(redis_server: RedisServer, redis_url):
    """Frozen: those who asked wait their quarter of a second together, those after them not at all."""

    async def work(link):
        store = store_of(link)
        await store.get(b"k")
        redis_server.freeze()
        try:
            await asyncio.gather(*[store.get(b"%d" % n) for n in range(100)])
            assert link.down
            loop = asyncio.get_running_loop()
            start_s = loop.time()
            await asyncio.gather(*[store.get(b"%d" % n) for n in range(100)])
            return loop.time() - start_s
        finally:
            redis_server.thaw()

    _, warned = with_link(redis_url, work, timeout_s=0.05)
    assert len(warned) == 1


def test_the_password_is_not_in_the_warning():
    """A warning names the address, never the credentials."""
    _, warned = with_link("redis://user:hunter2@127.0.0.1:1/0", lambda link: store_of(link).get(b"k"))
    assert len(warned) == 1
    assert "127.0.0.1:1" in warned[0]
    assert "hunter2" not in warned[0]


def test_one_leads_until_its_lease_is_gone(redis_url):
    """The second learns the first one's token; only the holder renews and releases."""

    async def work(link):
        flights = RedisFlights(link, "hw:3:", lease_s=0.2)
        first, second = Lease("p", "one"), Lease("p", "two")
        assert await flights.acquire(first, "entry") == (True, b"")
        assert await flights.acquire(second, "entry") == (False, b"one")
        await flights.release(second)
        assert await flights.led("p", "one")
        await flights.renew(first)
        await flights.renew(second)
        assert (first.lost, first.followed, second.lost) == (False, False, True)
        while await flights.led("p", "one"):  # noqa: ASYNC110
            await asyncio.sleep(0.02)
        await link.ask(lambda client: client.set("entry", b"stored"))
        assert await flights.acquire(second, "entry") == (True, b"stored")
        await flights.renew(first)
        assert first.lost
        await flights.release(second)
        assert not await flights.led("p", "two")

    with_link(redis_url, work)


def test_a_log_is_read_in_order_while_it_grows(redis_url):
    """What was there before, then what comes; the leader sees that it is followed; everything expires."""

    async def work(link):
        flights, lease = RedisFlights(link, "hw:3:"), Lease("p", "one")
        await flights.acquire(lease, "entry")
        await flights.publish(lease, [("head", b"h"), ("chunk", b"1")])
        got = await flights.read("one", "0")
        later = asyncio.create_task(flights.read("one", got[-1].id))
        await asyncio.sleep(0.02)
        await flights.publish(lease, [("end", b"")])
        got += await later
        await flights.renew(lease)
        assert lease.followed
        return [(piece.kind, piece.data) for piece in got]

    got, _ = with_link(redis_url, work)
    assert got == [("head", b"h"), ("chunk", b"1"), ("end", b"")]
    with redis.Redis.from_url(redis_url) as client:
        assert all(client.pttl(name) > 0 for name in list(client.keys()))


def test_processes_share_one_bucket(redis_url):
    """Requests and tokens are taken at once, turns are given in the order of asking, and a refund makes room, once."""

    async def work(link):
        one, two = SharedLimits(link, "hw:3:"), SharedLimits(link, "hw:3:")
        known = SharedBucket(requests_per_min=60, tokens_per_min=6000, requests_capacity_s=2, tokens_capacity_s=2)
        await one.publish("s", known)  # nobody knows what is under way: it starts a fifth of a second below empty
        first = await one.acquire("s", 150)
        assert isinstance(first, SharedLease)
        assert 1.6 < first.wait_s <= 1.81  # 20 below, 150, and 10 that stay, at 100 a second
        second = await two.acquire("s", 100)
        assert isinstance(second, SharedLease)
        assert 2.6 < second.wait_s <= 2.81
        assert await two.refund(second)
        assert await one.refund(first)
        assert not await one.refund(first)
        third = await two.acquire("s", 1)
        assert isinstance(third, SharedLease)
        assert third.wait_s <= 1.31  # the request, not the tokens
        await one.publish("slow", SharedBucket(requests_per_min=1))
        assert isinstance(await two.acquire("slow", 1), float)  # too far ahead for a promise
        free = await one.acquire("other", 1e9)
        assert isinstance(free, SharedLease)  # nothing is known: nothing is held back
        assert (free.wait_s, free.mark) == (0.0, None)

    with_link(redis_url, work)


def test_turns_are_given_no_faster_than_the_rate(redis_url):
    """Many at once, from two processes' sides: each is a tenth of a second after the one before, whoever asks."""

    async def work(link):
        loop, sides = asyncio.get_running_loop(), [SharedLimits(link, "hw:3:"), SharedLimits(link, "hw:3:")]
        began_s = loop.time()
        await sides[0].publish("s", SharedBucket(requests_per_min=600, requests_capacity_s=1))

        async def turn(side):
            lease = await side.acquire("s", 10)
            return lease.wait_s, loop.time() - began_s + lease.wait_s

        return await asyncio.gather(*[turn(sides[n % 2]) for n in range(50)])

    turns, _ = with_link(redis_url, work)
    waits_s = sorted(wait_s for wait_s, _ in turns)
    assert max(due_s for _, due_s in turns) >= 4.9  # 50 at 10 a second, and nothing is there at first
    assert all(later - sooner <= 0.12 for sooner, later in pairwise(waits_s))


def test_while_no_limit_is_known_all_processes_keep_to_one_ramp(redis_url):
    """24 may go at once; two processes together get no second burst."""

    async def work(link):
        sides = [SharedLimits(link, "hw:3:"), SharedLimits(link, "hw:3:")]
        return await asyncio.gather(*[sides[n % 2].acquire("s", 10) for n in range(60)])

    granted, _ = with_link(redis_url, work)
    assert sum(lease.wait_s == 0.0 for lease in granted) >= 24
    assert max(lease.wait_s for lease in granted) > 0.1


def test_what_is_left_is_published_too(redis_url):
    """A provider's own word lowers the level at once; an answer's, only by what it differs from what was thought."""

    async def work(link):
        limits = SharedLimits(link, "hw:3:")
        known = SharedBucket(tokens_per_min=600_000)
        await limits.publish("s", known)
        await limits.publish("s", known, tokens_left=-20_000)
        late = await limits.acquire("s", 1_000)
        assert isinstance(late, SharedLease)
        assert 1.9 < late.wait_s <= 2.21
        assert late.mark is not None
        await limits.publish("s", known, tokens_left=late.mark.tokens - 10_000, mark=late.mark)
        await limits.publish(
            "s", known, tokens_left=late.mark.tokens - 10_000, mark=late.mark
        )  # told twice, holds once
        later = await limits.acquire("s", 1_000)
        assert isinstance(later, SharedLease)
        assert 2.8 < later.wait_s <= 3.31

    with_link(redis_url, work)


def test_the_smaller_capacity_holds_until_who_told_it_knows_better(redis_url):
    """A second process that has not met the slice yet does not undo what the first one has found out."""

    async def work(link):
        limits = SharedLimits(link, "hw:3:")
        for capacity_s, larger in ((1.0, False), (60.0, False), (30.0, True)):
            known = SharedBucket(requests_per_min=60, requests_capacity_s=capacity_s)
            await limits.publish("s", known, larger=larger)
            told = await link.ask(lambda client: client.hget("hw:3:b:s", "rcap"))
            found.append(float(told))

    found: list[float] = []
    with_link(redis_url, work)
    assert found == [1.0, 1.0, 30.0]


def test_without_redis_nothing_is_held_back():
    """Shared limits fail open: each process paces itself."""

    async def work(link):
        limits = SharedLimits(link, "hw:3:")
        lease = await limits.acquire("s", 5)
        await limits.publish("s", SharedBucket())
        assert not await limits.refund(lease)
        with pytest.raises(RedisDown):
            await link.ask(lambda client: client.ping())
        return lease

    lease, warned = with_link("redis://127.0.0.1:1/0", work)
    assert lease == SharedLease("s", "", 5)
    assert len(warned) == 1
