"""One flight for identical requests: who joins, who leaves, who pays."""

from __future__ import annotations

import asyncio

import pytest

from headway import DeadlineExceeded
from headway.testing import FakeProvider, Step, virtual_run

from .helpers import BODY, RESPONSES, engine

SLOW = Step(text="one two three", delay_s=1.0, chunk_delay_s=0.1)
STREAM = BODY | {"stream": True}


@pytest.mark.parametrize("body", [BODY, STREAM], ids=["whole", "stream"])
def test_identical_requests_share_one_attempt(body):
    """100 at once: one attempt, and the same bytes for all."""
    provider = FakeProvider([SLOW])

    async def main():
        async with engine(provider, cache="memory") as e:
            replies = await asyncio.gather(*[e.send(RESPONSES, body) for _ in range(100)])
            bodies = await asyncio.gather(*[r.read() for r in replies])
            return bodies, [r.trace for r in replies]

    bodies, traces = virtual_run(main)
    assert provider.calls == 1
    assert len(set(bodies)) == 1
    assert provider.open == 0
    paid = [t.dollars for t in traces if t.dollars]
    assert len(paid) == 1
    assert sum(t.cache == "joined" for t in traces) == 99
    assert all(t.saved_dollars == paid[0] for t in traces if t.cache == "joined")


@pytest.mark.parametrize("body", [BODY, STREAM], ids=["whole", "stream"])
def test_without_reuse_nothing_is_shared(body):
    """Off means off, or best-of-N would collapse to one."""
    provider = FakeProvider([SLOW])

    async def main():
        async with engine(provider) as e:
            replies = await asyncio.gather(*[e.send(RESPONSES, body) for _ in range(100)])
            await asyncio.gather(*[r.read() for r in replies])

    virtual_run(main)
    assert provider.calls == 100


def test_another_credential_never_joins():
    """Flights are isolated by the full credential."""
    provider = FakeProvider([SLOW])

    async def main():
        async with engine(provider, cache="memory") as e:
            await asyncio.gather(
                e.send(RESPONSES, BODY), e.send(RESPONSES, BODY, headers={"Authorization": "Bearer sk-other"})
            )

    virtual_run(main)
    assert provider.calls == 2
    assert len({call.tenant for call in provider.seen}) == 2


def test_a_leader_that_leaves_does_not_end_its_followers():
    """The flight owns the upstream, not its first caller."""
    provider = FakeProvider([SLOW])

    async def main():
        async with engine(provider, cache="memory") as e:
            leader = asyncio.create_task(e.send(RESPONSES, BODY))
            await asyncio.sleep(0.1)
            follower = asyncio.create_task(e.send(RESPONSES, BODY))
            await asyncio.sleep(0.1)
            leader.cancel()
            reply = await follower
            return reply.status

    assert virtual_run(main) == 200
    assert provider.calls == 1
    assert provider.aborted == 0


def test_the_last_to_leave_ends_the_attempt():
    """Nobody reads any more: the provider's work is stopped, and nothing is kept."""
    provider = FakeProvider([SLOW, 200])

    async def main():
        async with engine(provider, cache="memory") as e:
            callers = [asyncio.create_task(e.send(RESPONSES, BODY)) for _ in range(3)]
            await asyncio.sleep(0.5)
            for caller in callers:
                caller.cancel()
            await asyncio.gather(*callers, return_exceptions=True)
            await asyncio.sleep(0)
            aborted = provider.aborted
            await e.send(RESPONSES, BODY)
            return aborted, e.snapshot()["in_flight"]

    assert virtual_run(main) == (1, 0)
    assert provider.calls == 2


def test_a_stream_closed_early_ends_the_attempt():
    """Closing a reply gives back what it holds."""
    provider = FakeProvider([SLOW])

    async def main():
        async with engine(provider) as e:
            async with await e.send(RESPONSES, STREAM) as reply:
                await anext(reply)
            await asyncio.sleep(0)
            return provider.open, provider.aborted, reply.trace.outcome

    assert virtual_run(main) == (0, 1, "abandoned")


def test_a_late_joiner_replays_and_then_tails():
    """Joining in mid-stream gives the whole stream from its first byte."""
    provider = FakeProvider([Step(text=" ".join("abcdefghij"), chunk_delay_s=0.1)])

    async def main():
        async with engine(provider, cache="memory") as e:
            first = await e.send(RESPONSES, STREAM)
            head = [await anext(first) for _ in range(5)]
            second = await e.send(RESPONSES, STREAM)
            both = await asyncio.gather(first.read(), second.read())
            return b"".join(head) + both[0], both[1]

    first, second = virtual_run(main)
    assert first == second
    assert provider.calls == 1


def test_a_failure_before_the_first_byte_reaches_everybody():
    """All readers of a flight get the same error, and nothing is stored."""
    provider = FakeProvider([Step(status=400, delay_s=1.0), 200])

    async def main():
        async with engine(provider, cache="memory") as e:
            replies = await asyncio.gather(*[e.send(RESPONSES, BODY) for _ in range(5)])
            again = await e.send(RESPONSES, BODY)
            return [r.status for r in replies], again.status

    assert virtual_run(main) == ([400] * 5, 200)
    assert provider.calls == 2


def test_each_reader_has_its_own_deadline():
    """The short one gives up, the flight goes on for the long one: its deadline is the greatest of its readers'."""
    provider = FakeProvider([Step(delay_s=5.0)])

    async def main():
        async with engine(provider, cache="memory") as e:
            short = asyncio.create_task(e.send(RESPONSES, BODY, deadline_s=2))
            await asyncio.sleep(0)
            long = asyncio.create_task(e.send(RESPONSES, BODY, deadline_s=20))
            with pytest.raises(DeadlineExceeded):
                await short
            gave_up_s = asyncio.get_running_loop().time()
            reply = await long
            return gave_up_s, reply.status

    gave_up_s, status = virtual_run(main)
    assert (gave_up_s, status) == (2.0, 200)
    assert provider.calls == 1


def test_a_lone_slow_reader_holds_the_provider_back():
    """Back-pressure: what one reader does not take is not pulled beyond the window."""
    chunk = b'data: {"choices":[{"delta":{"content":"' + b"x" * 65536 + b'"}}]}\n\n'
    provider = FakeProvider([Step(chunks=(chunk,) * 100)])

    async def main():
        async with engine(provider) as e:
            reply = await e.send("/v1/chat/completions", {"model": "m", "messages": [], "stream": True})
            await anext(reply)
            for _ in range(50):
                await asyncio.sleep(0.01)
            (flight,) = e._stack._join._flights
            logged = flight.log.bytes_logged
            await reply.aclose()
            return logged

    assert virtual_run(main) < 8 * 65536


def test_a_flight_over_its_bound_takes_no_joiners_and_is_not_kept():
    """Past `flight_bytes_max` the log is let go; whoever comes later fetches anew."""
    chunk = b'data: {"choices":[{"delta":{"content":"' + b"x" * 1_000_000 + b'"}}]}\n\n'
    end = b'data: {"choices":[{"delta":{},"finish_reason":"stop"}]}\n\ndata: [DONE]\n\n'
    provider = FakeProvider([Step(chunks=(*(chunk,) * 40, end))])
    body = {"model": "m", "messages": [], "stream": True}

    async def main():
        async with engine(provider, cache="memory") as e:
            reply = await e.send("/v1/chat/completions", body)
            total = 0
            async for part in reply:
                total += len(part)
            await e.send("/v1/chat/completions", body)
            return total

    assert virtual_run(main) == 40 * len(chunk) + len(end)
    assert provider.calls == 2


def test_closing_the_engine_tells_its_callers():
    """What is under way ends with a typed error, and nothing is left."""
    provider = FakeProvider([SLOW])

    async def main():
        e = engine(provider)
        call = asyncio.create_task(e.send(RESPONSES, BODY))
        await asyncio.sleep(0.1)
        await e.aclose()
        error = (await asyncio.gather(call, return_exceptions=True))[0]
        return type(error).__name__, len(asyncio.all_tasks())

    assert virtual_run(main) == ("Closed", 1)
    assert provider.aborted == 1
