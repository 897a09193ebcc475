"""Streams through flights: every byte the provider sent, to every reader, and nothing held when they leave.

Each test names a defect that was found by review; what readers get is compared with what the provider sent.
"""

from __future__ import annotations

import asyncio

import pytest

from headway import ConnectionLost, DeadlineExceeded, Overloaded
from headway.testing import FakeProvider, Step, virtual_run

from .helpers import CHAT, COMPLETIONS, engine

STREAM = CHAT | {"stream": True}
USAGE = STREAM | {"stream_options": {"include_usage": True}}


def event(text: str) -> bytes:
    return b'data: {"choices":[{"index":0,"delta":{"content":"' + text.encode() + b'"}}]}\n\n'


END = b'data: {"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}\n\n'
COUNT = b'data: {"choices":[],"usage":{"prompt_tokens":5,"completion_tokens":6}}\n\n'
DONE = b"data: [DONE]\n\n"
SENT = (event("a"), event("b"), event("c"), END, COUNT, DONE)
SEEN = b"".join(SENT).replace(COUNT, b"")


@pytest.mark.parametrize("cache", ["off", "memory"])
@pytest.mark.parametrize("pause_s", [0.0, 1.0])
def test_readers_get_every_byte_whatever_their_pace(cache, pause_s):
    """The answer's last events are not lost to a reader that still reads when the flight lands and is cached."""

    async def read(reply):
        parts = []
        async for chunk in reply:
            parts.append(chunk)
            await asyncio.sleep(pause_s)
        return b"".join(parts)

    async def main():
        async with engine(FakeProvider([Step(chunks=SENT, chunk_delay_s=0.01)]), cache=cache) as e:
            replies = await asyncio.gather(*[e.send(COMPLETIONS, STREAM) for _ in range(3)])
            return await asyncio.gather(*[read(reply) for reply in replies]), [r.trace.outcome for r in replies]

    bodies, outcomes = virtual_run(main)
    assert bodies == [SEEN] * 3
    assert outcomes == ["ok"] * 3


@pytest.mark.parametrize("cut", [0, 1, 3])
def test_a_bug_in_a_handler_is_raised_as_it_is(cut):
    """An exception that is none of ours never turns into an empty answer or a stream that merely ends."""
    step = Step(chunks=SENT[:cut], error=ValueError("handler bug")) if cut else Step(error=ValueError("handler bug"))

    async def main():
        async with engine(FakeProvider([step])) as e:
            with pytest.raises(ValueError, match="handler bug"):
                await (await e.send(COMPLETIONS, STREAM)).read()
            return e.snapshot()["in_flight"]

    assert virtual_run(main) == 0


@pytest.mark.parametrize("how", ["close", "deadline", "engine"])
def test_a_stream_that_is_held_back_is_ended_when_its_reader_leaves(how):
    """Far ahead of its reader and waiting: leaving still closes the provider's stream and books the attempt."""
    provider = FakeProvider([Step(chunks=(event("x" * 65536),) * 50 + (DONE,))])

    async def main():
        e = engine(provider, budget_tokens=10**6)
        reply = await e.send(COMPLETIONS, STREAM, deadline_s=5)
        await anext(reply)
        await asyncio.sleep(1)
        if how == "close":
            await reply.aclose()
        elif how == "deadline":
            await asyncio.sleep(5)
            with pytest.raises(DeadlineExceeded):
                await reply.read()
        else:
            await e.aclose()
        await asyncio.sleep(0)
        result = provider.open, e.snapshot()["in_flight"], e.snapshot()["attempts"]
        await e.aclose()
        return result

    assert virtual_run(main) == (0, 0, 1)


def test_closing_at_the_terminal_event_is_no_abandonment():
    """Official SDKs stop at [DONE]; the connection's end comes a moment later, and the answer is kept."""
    provider = FakeProvider([Step(chunks=(*SENT, b": tail\n\n"), chunk_delay_s=0.1)])

    async def main():
        async with engine(provider, cache="memory") as e:
            reply = await e.send(COMPLETIONS, STREAM)
            async for chunk in reply:
                if chunk == DONE:
                    break
            await reply.aclose()
            await asyncio.sleep(0.5)
            again = await e.send(COMPLETIONS, STREAM)
            return reply.trace.outcome, reply.trace.usage.output_tokens, again.trace.cache, provider.open

    assert virtual_run(main) == ("ok", 6, "memory", 0)


def test_a_silent_stream_is_handed_on_after_commit_s():
    """Headers came, then only silence: after 10 s the caller has its reply and may give up by itself."""
    provider = FakeProvider([Step(chunks=SENT, chunk_delay_s=45.0)])

    async def main():
        async with engine(provider) as e:
            reply = await e.send(COMPLETIONS, STREAM)
            at_s = asyncio.get_running_loop().time()
            return at_s, await reply.read()

    at_s, body = virtual_run(main)
    assert at_s == 10.0
    assert body == SEEN


def test_each_reader_gets_the_usage_event_if_it_asked_for_it():
    """Live or from the cache: whoever asked has it once, whoever did not never sees it."""
    provider = FakeProvider([Step(chunks=SENT, chunk_delay_s=0.1)])

    async def main():
        async with engine(provider, cache="memory") as e:
            live = await asyncio.gather(*[e.send(COMPLETIONS, body) for body in (STREAM, USAGE)])
            first = [await reply.read() for reply in live]
            return first + [await (await e.send(COMPLETIONS, body)).read() for body in (STREAM, USAGE)]

    bodies = virtual_run(main)
    assert bodies == [SEEN, b"".join(SENT)] * 2


def test_a_last_event_without_its_blank_line_is_handed_on():
    """The end of the connection ends the event, too, even where the usage event is taken out."""
    chunks = (event("a"), END, COUNT, b"data: [DONE]\n")

    async def main():
        async with engine(FakeProvider([Step(chunks=chunks)])) as e:
            return await (await e.send(COMPLETIONS, STREAM)).read()

    assert virtual_run(main) == event("a") + END + b"data: [DONE]\n"


def test_a_cached_crlf_stream_takes_the_usage_event_where_it_stood():
    """Line ends are the provider's choice."""
    sent = tuple(chunk.replace(b"\n", b"\r\n") for chunk in SENT)

    async def main():
        async with engine(FakeProvider([Step(chunks=sent)]), cache="memory") as e:
            await (await e.send(COMPLETIONS, STREAM)).read()
            return await (await e.send(COMPLETIONS, USAGE)).read()

    assert virtual_run(main) == b"".join(sent)


def test_a_cached_stream_is_replayed_event_by_event():
    """Consumers render while they read."""

    async def main():
        async with engine(FakeProvider([Step(chunks=SENT)]), cache="memory") as e:
            await (await e.send(COMPLETIONS, STREAM)).read()
            return [chunk async for chunk in await e.send(COMPLETIONS, STREAM)]

    assert virtual_run(main) == [chunk for chunk in SENT if chunk != COUNT]


def test_a_reader_that_falls_far_behind_does_not_hold_the_others():
    """Past the bound the fastest sets the pace; the one left behind is told, not the others."""
    chunks = (*(event("x" * 1_000_000),) * 30, END, DONE)
    provider = FakeProvider([Step(chunks=chunks)])

    async def main():
        async with engine(provider, cache="memory") as e:
            fast, stuck = await asyncio.gather(*[e.send(COMPLETIONS, STREAM) for _ in range(2)])
            await anext(stuck)
            whole = await fast.read()
            with pytest.raises(Overloaded, match="fell"):
                await stuck.read()
            return len(whole)

    assert virtual_run(main) == sum(map(len, chunks))


def test_a_json_answer_to_a_stream_request_is_handed_on():
    """Some servers ignore "stream": their answer is whole, not a broken stream."""
    body = b'{"choices":[{"index":0,"message":{"role":"assistant","content":"hi"},"finish_reason":"stop"}]}'

    class Whole(FakeProvider):
        async def __call__(self, call):
            from headway import Reply

            self.seen.append(call)
            return Reply(200, (("content-type", "application/json"),), body, trace=call.trace)

    provider = Whole()

    async def main():
        async with engine(provider) as e:
            return await (await e.send(COMPLETIONS, STREAM)).read()

    assert virtual_run(main) == body
    assert provider.calls == 1


def test_readers_do_not_share_one_exception():
    """Fifty readers of a failure: fifty errors, each with a traceback of its own."""
    provider = FakeProvider([Step(delay_s=0.1, chunks=SENT[:1], error=ConnectionLost("reset", maybe_billed=True))])

    async def main():
        async with engine(provider, cache="memory", attempts_max=1) as e:
            replies = await asyncio.gather(*[e.send(COMPLETIONS, STREAM) for _ in range(50)])
            return await asyncio.gather(*[reply.read() for reply in replies], return_exceptions=True)

    errors = virtual_run(main)
    assert len({id(error) for error in errors}) == 50
    assert all(type(error) is ConnectionLost and error.maybe_billed for error in errors)


def test_a_hot_key_is_not_pushed_back_by_its_joiners():
    """The first reader's deadline keeps its place in the queue, however late those who join it may wait."""
    done = []

    async def main():
        async with engine(FakeProvider(), requests_per_min=60, cache="memory") as e:
            fill = [e.send(COMPLETIONS, CHAT | {"user": "x", "n": 1, "seed": n}) for n in range(54)]
            await asyncio.gather(*fill)

            async def one(name, deadline_s):
                await e.send(
                    COMPLETIONS, CHAT | {"messages": [{"role": "user", "content": name}]}, deadline_s=deadline_s
                )
                done.append(name)

            hot = asyncio.create_task(one("hot", 100))
            others = [asyncio.create_task(one(f"other {n}", 200)) for n in range(5)]
            await asyncio.sleep(0)
            joiners = [asyncio.create_task(one("hot", 500)) for _ in range(5)]
            await asyncio.gather(hot, *others, *joiners)

    virtual_run(main)
    assert done[0] == "hot"


def test_a_stale_answer_is_renewed_by_a_provider_that_is_slow():
    """Served stale after a moment, while the try goes on: the next caller has the new answer."""
    provider = FakeProvider([Step(text="old"), Step(text="new", delay_s=5.0)])

    async def main():
        async with engine(provider, cache="memory", cache_ttl_s=10) as e:
            out = []
            for pause_s in (20.0, 10.0, 0.0):
                start_s = asyncio.get_running_loop().time()
                reply = await e.send(COMPLETIONS, CHAT)
                took_s = asyncio.get_running_loop().time() - start_s
                out.append((b"new" in await reply.read(), reply.trace.cache, took_s))
                await asyncio.sleep(pause_s)
            return out

    first, second, third = virtual_run(main)
    assert first == (False, "miss", 0.0)
    assert second == (False, "stale", 2.0)
    assert third[0]
    assert provider.calls == 2
    assert provider.aborted == 0


def test_a_call_that_is_cancelled_before_its_flight_begins_leaves_nothing():
    """Cancelled in the same breath: no flight, no task, nothing sent."""
    provider = FakeProvider()

    async def main():
        async with engine(provider, cache="memory") as e:
            call = asyncio.create_task(e.send(COMPLETIONS, CHAT))
            await asyncio.sleep(0)
            call.cancel()
            await asyncio.gather(call, return_exceptions=True)
            state = e.snapshot()["in_flight"]
            await e.send(COMPLETIONS, CHAT)
            return state

    assert virtual_run(main) == 0
    assert provider.calls == 1


@pytest.mark.parametrize(("attempts_max", "first_s"), [(1, 1.0), (3, 5.0)])
def test_thoughts_are_held_back_only_for_another_try(attempts_max, first_s):
    """Where no other try can follow, the first thought is seen when it comes; else with the first content."""
    thought = b'data: {"choices":[{"index":0,"delta":{"reasoning_content":"hm"}}]}\n\n'
    chunks = (*[thought] * 4, event("a"), END, DONE)

    async def main():
        async with engine(FakeProvider([Step(chunks=chunks, chunk_delay_s=1.0)]), attempts_max=attempts_max) as e:
            reply = await e.send(COMPLETIONS, STREAM)
            first_chunk = await anext(aiter(reply))
            seen_s = asyncio.get_running_loop().time()
            await reply.aclose()
            return first_chunk, seen_s

    assert virtual_run(main) == (thought, first_s)
