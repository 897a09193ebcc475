"""Requests of keys with limits, through an engine on virtual time: they wait, and are refused where waiting is no use."""

from __future__ import annotations

import asyncio
import sqlite3

import pytest

from headway.attempt.outcomes import outcome_of_error
from headway.errors import DeadlineExceeded
from headway.gateway.keys import Keys, KeyStore
from headway.gateway.keys.meter import PATIENCE_S, KeyBudgetExceeded
from headway.gateway.keys.rate import KeyOverloaded, KeyTooLate
from headway.gateway.request import Request
from headway.testing import virtual_run
from headway.types import Call, RequestView, Trace
from tests.gateway.keys.keyring import Provider, bearing, body, made, served

CENT = {"max_tokens": 1000}  # $0.0006 of answer at most


def now_s() -> float:
    return asyncio.get_running_loop().time()


def test_requests_beyond_the_limit_wait_and_none_is_refused(tmp_path):
    """60 a minute: a minute's worth at once, then one a second; the wait is told as ours."""
    text, provider = made(tmp_path / "k", requests_per_min=60.0), Provider()

    async def main() -> None:
        async with served(tmp_path / "k", provider) as (_, send):
            await asyncio.gather(*(send(text) for _ in range(90)))
        assert provider.times[59] < 1.0
        assert provider.times[60:] == pytest.approx([float(n) for n in range(1, 31)], abs=0.3)
        assert provider.calls[-1].trace.wait_s == pytest.approx(30.0, abs=0.5)

    virtual_run(main)


def test_tokens_a_minute_are_charged_at_worst_and_settled(tmp_path):
    """What a request did not use is there for the next one, at once."""
    text, provider = made(tmp_path / "k", tokens_per_min=3000.0), Provider(output_tokens=10, after_s=1.0)

    async def main() -> None:
        async with served(tmp_path / "k", provider) as (_, send):
            await asyncio.gather(*(send(text, body(max_tokens=1400)) for _ in range(6)))
            assert provider.times == pytest.approx([0, 0, 1, 1, 2, 2], abs=0.4)

    virtual_run(main)


def test_the_greater_priority_goes_first_and_equals_take_turns(tmp_path):
    """A key of high priority: its normal requests ask for less."""
    text, provider = made(tmp_path / "k", requests_per_min=1.0, priority=1), Provider()

    async def main() -> None:
        async with served(tmp_path / "k", provider) as (_, send):
            sends = []
            for name, priority in (("first", 1), ("low", -1), ("low2", -1), ("high", 1)):
                sends.append(asyncio.ensure_future(send(text, body(text=name), priority=priority)))
                await asyncio.sleep(0.01)
            await asyncio.gather(*sends)
        assert [next(n for n in ("first", "low2", "low", "high") if f'"{n}"'.encode() in call.body) for call in provider.calls] == [
            "first", "high", "low", "low2",
        ]  # fmt: skip

    virtual_run(main)


def test_a_deadline_that_cannot_be_met_is_refused_at_once_with_the_true_wait(tmp_path):
    """Whoever comes back when it says so is served at once."""
    text, provider = made(tmp_path / "k", requests_per_min=6.0), Provider()

    async def main() -> None:
        async with served(tmp_path / "k", provider) as (_, send):
            await asyncio.gather(*(send(text) for _ in range(6)))
            begun_s = now_s()
            with pytest.raises(KeyTooLate, match="after its deadline") as refused:
                await send(text, deadline_s=5.0)
            assert (refused.value.code, outcome_of_error(refused.value)) == ("deadline", ("deadline", False))
            assert now_s() - begun_s < 0.1
            assert refused.value.retry_after_s == pytest.approx(10.0, abs=0.6)
            await asyncio.sleep(refused.value.retry_after_s)
            begun_s = now_s()
            await send(text, deadline_s=5.0)
            assert now_s() - begun_s < 0.3

    virtual_run(main)


def test_a_caller_that_leaves_the_queue_takes_nothing_along(tmp_path):
    """Neither its place nor what it was counted for; one that is late in the queue is refused before its deadline."""
    text, provider = made(tmp_path / "k", requests_per_min=6.0), Provider()

    async def main() -> None:
        async with served(tmp_path / "k", provider) as (keys, send):
            await asyncio.gather(*(send(text) for _ in range(6)))
            waiting = [asyncio.ensure_future(send(text)) for _ in range(3)]
            await asyncio.sleep(1.0)
            for one in waiting[:2]:
                one.cancel()
            await asyncio.gather(*waiting[:2], return_exceptions=True)
            await waiting[2]
            assert now_s() == pytest.approx(10.0, abs=0.6)
            (meter,) = keys._books.meters.values()
            assert len(meter.rate.queue) == 0
            assert meter.rate._tokens_queued == pytest.approx(0.0)

    virtual_run(main)


def test_a_full_queue_refuses(tmp_path):
    """With the wait that is true for one more."""
    text, provider = made(tmp_path / "k", requests_per_min=6.0), Provider()

    async def main() -> None:
        async with served(tmp_path / "k", provider) as (keys, send):
            await asyncio.gather(*(send(text) for _ in range(6)))
            (meter,) = keys._books.meters.values()
            meter.rate.queue.items_max = 2
            waiting = [asyncio.ensure_future(send(text)) for _ in range(2)]
            await asyncio.sleep(0.5)
            with pytest.raises(KeyOverloaded, match="2 requests already wait") as refused:
                await send(text)
            assert refused.value.retry_after_s == pytest.approx(29.5, abs=1.0)
            for one in waiting:
                one.cancel()
            await asyncio.gather(*waiting, return_exceptions=True)

    virtual_run(main)


def test_dollars_end_where_the_cap_is_and_begin_anew_on_the_next_day(tmp_path):
    """The refusal says when; a restart in between changes nothing."""
    text, late_s = made(tmp_path / "k", dollars_per_day=0.01), [0.0]
    provider = Provider(output_tokens=1000)

    async def spend_all(send) -> int:
        for sent in range(100):
            try:
                await send(text, body(**CENT))
            except KeyBudgetExceeded:
                return sent
        return 100

    async def main() -> None:
        async with served(tmp_path / "k", provider) as (_, send):
            first = await spend_all(send)
            assert 14 <= first <= 16
        async with served(tmp_path / "k", provider, late_s=late_s) as (_, send):
            assert await spend_all(send) == 0
            with pytest.raises(KeyBudgetExceeded, match="today") as refused:
                await send(text, body(**CENT))
            late_s[0] = refused.value.retry_after_s - 1.0
            assert await spend_all(send) == 0
            late_s[0] += 1.1
            assert await spend_all(send) == first
        with KeyStore(tmp_path / "k") as store:
            (row,) = store.spend()
        assert (row.month, row.requests) == ("2026-01", 2 * first)
        assert row.dollars == pytest.approx(2 * first * 0.0006015)

    virtual_run(main)


def test_a_month_ends_where_its_cap_is(tmp_path):
    """However much the day would have."""
    text = made(tmp_path / "k", dollars_per_day=1.0, dollars_per_month=0.001)

    async def main() -> None:
        async with served(tmp_path / "k", Provider(output_tokens=1000)) as (_, send):
            await send(text, body(**CENT))
            with pytest.raises(KeyBudgetExceeded, match="this month") as refused:
                await send(text, body(**CENT))
            assert refused.value.retry_after_s == pytest.approx(31 * 86_400.0, abs=5.0)
            with pytest.raises(KeyBudgetExceeded) as never:
                await send(text, body(max_tokens=100_000))
            assert never.value.retry_after_s is None

    virtual_run(main)


def test_what_is_set_aside_is_waited_for(tmp_path):
    """Worst cases that do not fit beside each other take turns; actuals are far less, so all of them are answered."""
    text = made(tmp_path / "k", dollars_per_day=0.0015)
    provider = Provider(output_tokens=10, after_s=1.0)

    async def main() -> None:
        async with served(tmp_path / "k", provider) as (_, send):
            await asyncio.gather(*(send(text, body(**CENT)) for _ in range(6)))
        assert [round(at_s) for at_s in provider.times] == [0, 0, 1, 1, 2, 2]

    virtual_run(main)


def test_what_is_left_for_no_call_is_not_kept_apart_by_two_processes(tmp_path):
    """Both have calls that wait, and each holds a little: all are refused soon, and nothing is left in hand."""
    text, provider = made(tmp_path / "k", dollars_per_day=0.02), Provider(output_tokens=1000, after_s=0.5)

    async def main() -> None:
        async with served(tmp_path / "k", provider) as (one, send), served(tmp_path / "k", provider) as (two, other):
            sent = [asyncio.ensure_future(way(text, body(**CENT))) for _ in range(30) for way in (send, other)]
            done = await asyncio.wait_for(asyncio.gather(*sent, return_exceptions=True), 60.0)
            assert sum(isinstance(got, KeyBudgetExceeded) for got in done) == 60 - len(provider.calls)
            assert len(provider.calls) == 33, "0.02 / 0.0006015"
            assert now_s() < 20.0
            begun_s = now_s()
            await send(text, body(max_tokens=10))
            assert now_s() - begun_s < 1.0
            await asyncio.sleep(3.0)
            assert not one._books._busy
            assert not two._books._busy

    virtual_run(main)


def test_a_busy_process_does_not_keep_what_another_needs(tmp_path):
    """What it holds beyond its calls is at most a fiftieth of what is left, however much it held before."""
    text, provider = made(tmp_path / "k", dollars_per_day=0.02), Provider(output_tokens=10, after_s=0.2)

    async def main() -> None:
        async with served(tmp_path / "k", provider) as (_, send), served(tmp_path / "k", provider) as (_, other):
            await asyncio.gather(*(send(text, body(**CENT)) for _ in range(30)))  # it held nearly all of it
            busy = asyncio.ensure_future(repeated(send, text))
            await asyncio.sleep(1.0)
            begun_s = now_s()
            await other(text, body(max_tokens=25_000))  # $0.015 at most, and some $0.018 are left
            assert now_s() - begun_s < 2.0
            busy.cancel()
            await asyncio.gather(busy, return_exceptions=True)

    async def repeated(send, text) -> None:
        while True:
            await send(text, body(max_tokens=10))

    virtual_run(main)


@pytest.mark.parametrize("dies", [False, True])
def test_nobody_waits_long_for_what_another_process_holds(tmp_path, dies):
    """It has a long answer under way, or has died: the call is refused, with a time to come back at."""
    text = made(tmp_path / "k", dollars_per_day=0.001)
    slow, quick = Provider(output_tokens=10, after_s=100.0), Provider(output_tokens=10)

    async def main() -> None:
        async with served(tmp_path / "k", slow) as (keys, send), served(tmp_path / "k", quick) as (_, other):
            under_way = asyncio.ensure_future(send(text, body(**CENT)))
            await asyncio.sleep(1.0)
            if dies:
                keys._books._tending.cancel()
            begun_s = now_s()
            with pytest.raises(KeyBudgetExceeded, match="other processes") as refused:
                await other(text, body(**CENT))
            assert now_s() - begun_s < PATIENCE_S + 1.0
            assert 0.0 < refused.value.retry_after_s <= 60.0
            await other(text, body(max_tokens=10))  # what fits is not refused
            under_way.cancel()
            await asyncio.gather(under_way, return_exceptions=True)
            if dies:
                keys._books._tending = None

    virtual_run(main)


def test_an_unknown_price_is_refused_where_dollars_are_bounded(tmp_path):
    """And free where they are not."""
    poor, free = made(tmp_path / "k", "poor", dollars_per_day=1.0), made(tmp_path / "k", "free")

    async def main() -> None:
        async with served(tmp_path / "k", Provider()) as (_, send):
            with pytest.raises(KeyBudgetExceeded, match="price of model 'mystery'"):
                await send(poor, body("mystery"))
            assert (await send(free, body("mystery"))).status == 200

    virtual_run(main)


def test_a_child_spends_its_parents_dollars_and_limits(tmp_path):
    """Both are counted; neither can be got around by another child."""
    made(tmp_path / "k", "parent", dollars_per_day=0.0013, requests_per_min=600.0)
    kids = [made(tmp_path / "k", name, parent="parent", dollars_per_day=5.0) for name in ("a", "b")]

    async def main() -> None:
        async with served(tmp_path / "k", Provider(output_tokens=1000)) as (keys, send):
            await send(kids[0], body(**CENT))
            await send(kids[1], body(**CENT))
            with pytest.raises(KeyBudgetExceeded, match="'parent'"):
                await send(kids[0], body(**CENT))
            a = next(m for m in keys._books.meters.values() if m.key.name == "a")
            assert a.cap.dollars_reserved == 0.0, "what it had set aside before its parent refused is given back"
        with KeyStore(tmp_path / "k") as store:
            found = {row.name: row.requests for row in store.spend()}
        assert found == {"a": 1, "b": 1, "parent": 2}

    virtual_run(main)


def test_what_the_cache_answers_costs_nothing(tmp_path):
    """No dollars, no request of the limit; but a key gets its own answers only, or its group's."""
    texts = [
        made(tmp_path / "k", name, requests_per_min=1.0, share=share)
        for name, share in (("a", ""), ("b", "g"), ("c", "g"))
    ]
    provider = Provider()

    async def main() -> None:
        async with served(tmp_path / "k", provider, cache="memory") as (_, send):
            for _ in range(3):
                await send(texts[0])
            assert (len(provider.calls), now_s()) == (1, 0.0)
            await send(texts[1])
            await send(texts[2])
            assert len(provider.calls) == 2

    virtual_run(main)


def test_what_a_provider_refused_or_nobody_sent_is_not_spent(tmp_path):
    """Only what is on the bill, or may be."""
    text = made(tmp_path / "k", dollars_per_day=1.0, requests_per_min=60.0)

    async def main() -> None:
        async with served(tmp_path / "k", Provider(after_s=60.0)) as (keys, send):
            with pytest.raises(DeadlineExceeded):
                await send(text, body(**CENT), deadline_s=1.0)
            (meter,) = keys._books.meters.values()
            await asyncio.sleep(2.0)
            assert meter.cap.spent_day == pytest.approx(0.0006, rel=0.1), "it was sent, so it may be on the bill"
            assert meter.cap.dollars_reserved == 0.0

    virtual_run(main)


def test_a_file_that_cannot_be_written_lets_bounded_keys_wait_and_nothing_is_lost(tmp_path):
    """Somebody else locks it: no dollar is spent that is not written down, and all goes on afterwards."""
    text, free = made(tmp_path / "k", dollars_per_day=1.0), made(tmp_path / "k", "free")
    said: list[str] = []
    locker = sqlite3.connect(tmp_path / "k", isolation_level=None)

    async def main() -> None:
        async with served(tmp_path / "k", Provider(), warn=said.append) as (keys, send):
            keys._books._connection.execute("PRAGMA busy_timeout = 1")
            locker.execute("BEGIN IMMEDIATE")
            waiting = asyncio.ensure_future(send(text, body(**CENT)))
            await send(free)
            await asyncio.sleep(3.0)
            assert not waiting.done()
            locker.execute("ROLLBACK")
            await waiting
        with KeyStore(tmp_path / "k") as store:
            assert {row.name: row.requests for row in store.spend()} == {"app": 1, "free": 1}
        assert len(said) == 1

    try:
        virtual_run(main)
    finally:
        locker.close()


def test_all_is_settled_when_it_is_quiet_and_at_the_end(tmp_path):
    """Then nothing is held and nobody is looked after; closing twice is closing once."""
    text = made(tmp_path / "k", dollars_per_day=1.0, requests_per_min=600.0, tokens_per_min=1e6)

    async def main() -> None:
        async with served(tmp_path / "k", Provider(after_s=5.0)) as (keys, send):
            sent = asyncio.gather(*(send(text) for _ in range(19)))
            await asyncio.sleep(3.0)
            assert keys._books._busy
            await sent
            await asyncio.sleep(3.0)
            assert not keys._books._busy
            (meter,) = keys._books.meters.values()
            assert meter.cap.held == 0.0
            await send(text)
        keys = await Keys.open(tmp_path / "k")
        await keys.aclose()
        await keys.aclose()
        with KeyStore(tmp_path / "k") as store:
            assert store.spend()[0].requests == 20
            assert store._connection.execute("SELECT count(*) FROM held").fetchone()[0] == 0

    virtual_run(main)


def test_what_passes_through_is_counted_and_waits_too(tmp_path):
    """A list or a file is a request of the key's, though no try of the engine's pays for it."""
    text = made(tmp_path / "k", requests_per_min=2.0, dollars_per_day=1.0)

    async def main() -> None:
        async with served(tmp_path / "k", Provider()) as (keys, _):
            admitted = keys.admit(Request("GET", "/v1/models", bearing(text)), RequestView())
            for number in range(3):
                trace = Trace("call", str(number), now_s(), 0.0)
                call = Call(method="GET", origin="o", path="/v1/models", view=RequestView(), trace=trace)
                assert (await admitted.counted(call)).trace.tenant == admitted.key.id
            assert now_s() == pytest.approx(30.0, abs=0.6)
            await asyncio.sleep(3.0)
            assert not keys._books._busy
        with KeyStore(tmp_path / "k") as store:
            assert [(row.requests, row.dollars) for row in store.spend()] == [(3, 0.0)]

    virtual_run(main)
