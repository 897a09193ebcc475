"""Whole answers that nobody can join are fetched in their caller's own task, with a flight's promises."""

from __future__ import annotations

import asyncio

import pytest

from headway.errors import Closed, ConnectFailed, DeadlineExceeded
from headway.testing import FakeProvider, Step, virtual_run
from headway.types import Call, Reply
from tests.engine.helpers import BODY, CHAT, COMPLETIONS, RESPONSES, engine

SLOW = Step(delay_s=5.0)
EVENTS = (b'data: {"choices":[{"delta":{"content":"one"}}]}\n\n', b"data: [DONE]\n\n")
SSE = (("content-type", "text/event-stream"),)


class Streams:
    """Answers every request with a stream, whatever was asked for; the first chunk comes late."""

    def __init__(self, delay_s: float = 0.0, *, silent: bool = False) -> None:
        self.delay_s = delay_s
        self.silent = silent
        self.closed = 0

    async def __call__(self, call: Call) -> Reply:
        return Reply(200, SSE, chunks=self._chunks(), close=self._close, trace=call.trace)

    async def _chunks(self):
        if not self.silent:
            yield b": here\n\n"
        await asyncio.sleep(self.delay_s)
        for event in EVENTS:
            yield event

    async def _close(self) -> None:
        self.closed += 1


def test_a_call_that_nobody_can_join_has_no_task_beside_its_callers():
    """All that is under way is the caller's own task; with a cache, somebody may join, and there is one more."""

    async def tasks(**settings):
        async with engine(FakeProvider([SLOW]), **settings) as e:
            before = len(asyncio.all_tasks())
            caller = asyncio.create_task(e.send(RESPONSES, BODY))
            await asyncio.sleep(1.0)
            under_way = len(asyncio.all_tasks()) - before
            await caller
            return under_way

    assert virtual_run(lambda: tasks()) == 1
    assert virtual_run(lambda: tasks(cache="memory")) == 2


def test_tries_follow_the_policy():
    """A refusal, a failed connection and an answer: three tries of one call, and its trace says what they took."""
    provider = FakeProvider([503, ConnectFailed("down"), 200])

    async def main():
        async with engine(provider) as e:
            reply = await e.send(RESPONSES, BODY)
            return reply.status, reply.trace

    status, trace = virtual_run(main)
    assert (status, provider.calls, trace.attempts) == (200, 3, 3)
    assert trace.outcome == "ok"
    assert trace.wait_s > 0.0


def test_the_last_failure_is_final_and_says_so():
    """SDKs do not try again what was tried here as often as makes sense."""
    provider = FakeProvider([Step(status=500)])

    async def main():
        async with engine(provider, attempts_max=2) as e:
            return await e.send(RESPONSES, BODY)

    reply = virtual_run(main)
    assert (reply.status, provider.calls) == (500, 2)
    assert reply.header("x-should-retry") == "false"


def test_a_deadline_ends_the_try_and_leaves_the_callers_task_as_it_was():
    """The cancellation that ends the try stays inside: the caller gets an error, and goes on."""
    provider = FakeProvider([SLOW])

    async def main():
        async with engine(provider) as e:
            with pytest.raises(DeadlineExceeded, match="within 2 s") as caught:
                await e.send(RESPONSES, BODY, deadline_s=2.0)
            task = asyncio.current_task()
            assert task is not None
            left = task.cancelling()
            await asyncio.sleep(1.0)  # would raise if a cancellation were left behind
            return caught.value.trace, left, e.snapshot()["in_flight"]

    trace, left, in_flight = virtual_run(main)
    assert (trace.outcome, trace.attempts, left, in_flight) == ("deadline", 1, 0, 0)
    assert provider.aborted == 1


def test_a_caller_that_leaves_ends_the_try():
    """It stays cancelled, its try is booked, and nothing is left under way."""
    provider = FakeProvider([SLOW])

    async def main():
        async with engine(provider) as e:
            trace = None

            async def ask():
                nonlocal trace
                call = e._calls.make(e.new_trace(), RESPONSES, b'{"model":"m","input":"x"}')
                trace = call.trace
                await e.handle(call)

            caller = asyncio.create_task(ask())
            await asyncio.sleep(1.0)
            caller.cancel()
            with pytest.raises(asyncio.CancelledError):
                await caller
            return trace.outcome, e.snapshot()["in_flight"]

    assert virtual_run(main) == ("abandoned", 0)
    assert provider.aborted == 1


@pytest.mark.parametrize("settings", [{}, {"cache": "memory"}])
def test_a_caller_that_was_told_to_leave_before_it_asked_leaves(settings):
    """A cancellation that waits for the task's next step is nobody else's: it is not turned into an error."""

    async def main():
        async with engine(FakeProvider([SLOW]), **settings) as e:

            async def ask():
                task = asyncio.current_task()
                assert task is not None
                task.cancel()
                await e.send(RESPONSES, BODY)

            caller = asyncio.create_task(ask())
            await asyncio.wait([caller])
            return caller.cancelled(), e.snapshot()["in_flight"]

    assert virtual_run(main) == (True, 0)


def test_a_caller_that_has_been_told_to_leave_may_still_ask():
    """To tidy up, say: its call ends as any other, also by its deadline."""

    async def main():
        async with engine(FakeProvider([200, SLOW])) as e:

            async def tidy():
                try:
                    await asyncio.sleep(10.0)
                except asyncio.CancelledError:
                    status = (await e.send(RESPONSES, BODY)).status
                    with pytest.raises(DeadlineExceeded):
                        await e.send(RESPONSES, BODY, deadline_s=2.0)
                    return status

            caller = asyncio.create_task(tidy())
            await asyncio.sleep(1.0)
            caller.cancel()
            return await caller

    assert virtual_run(main) == 200


def test_a_caller_that_leaves_at_its_deadline_has_left():
    """Cancelled from two sides at once, the outer one wins: `asyncio.timeout` around a call works."""
    provider = FakeProvider([SLOW])

    async def main():
        async with engine(provider) as e:
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(2.0):
                    await e.send(RESPONSES, BODY, deadline_s=2.0)
            await asyncio.sleep(0.1)
            return e.snapshot()["in_flight"]

    assert virtual_run(main) == 0


def test_closing_the_engine_waits_for_its_callers_tries_and_not_for_their_tasks():
    """The caller gets `Closed` and may go on for as long as it likes."""
    provider = FakeProvider([SLOW])

    async def main():
        e = engine(provider)
        went_on = asyncio.Event()

        async def ask():
            with pytest.raises(Closed, match="the engine was closed"):
                await e.send(RESPONSES, BODY)
            await went_on.wait()
            return "went on"

        caller = asyncio.create_task(ask())
        await asyncio.sleep(1.0)
        await asyncio.wait_for(e.aclose(), 1.0)
        went_on.set()
        return await caller

    assert virtual_run(main) == "went on"
    assert provider.aborted == 1


def test_a_loop_that_ends_while_the_engine_closes_cancels_both():
    """Who waited for the call's end is gone: its caller is cancelled like everybody else, and nothing else goes wrong."""

    async def slow_to_leave(call: Call) -> Reply:
        try:
            await asyncio.sleep(10.0)
        except asyncio.CancelledError:
            await asyncio.sleep(5.0)
            raise
        raise AssertionError

    tasks: list[asyncio.Task[object]] = []

    async def main():
        e = engine(slow_to_leave)
        tasks.append(asyncio.create_task(e.send(RESPONSES, BODY)))
        await asyncio.sleep(1.0)
        tasks.append(asyncio.create_task(e.aclose()))
        await asyncio.sleep(1.0)
        left = asyncio.all_tasks() - {asyncio.current_task()}
        for task in left:  # as the loop's end does
            task.cancel()
        await asyncio.wait(left)

    virtual_run(main)
    assert [task.cancelled() for task in tasks] == [True, True]


def test_a_handler_that_is_cancelled_underneath_is_an_error_of_its_callers():
    """A cancellation that nobody asked for is told as what it is, and does not end the caller's task."""

    async def cancelled(call: Call) -> Reply:
        raise asyncio.CancelledError

    async def main():
        async with engine(cancelled) as e:
            with pytest.raises(Closed, match="underneath"):
                await e.send(RESPONSES, BODY)
            await asyncio.sleep(0)

    virtual_run(main)


def test_a_handler_that_keeps_its_task_at_the_deadline_changes_no_outcome():
    """It may take its time to end; what it returns then comes too late."""

    async def stubborn(call: Call) -> Reply:
        try:
            await asyncio.sleep(10.0)
        except asyncio.CancelledError:
            await asyncio.sleep(0.5)
        return Reply(200, (), b"{}", trace=call.trace)

    async def main():
        async with engine(stubborn) as e:
            with pytest.raises(DeadlineExceeded):
                await e.send(RESPONSES, BODY, deadline_s=1.0)
            await asyncio.sleep(0)

    virtual_run(main)


def test_a_stream_that_nobody_asked_for_is_handed_on_as_it_comes():
    """A flight takes over at the head: the bytes are the provider's, and the try is one."""
    provider = Streams(1.0)

    async def main():
        async with engine(provider) as e:
            reply = await e.send(COMPLETIONS, CHAT)
            assert reply.body is None
            body = await reply.read()
            return body, reply.trace.attempts, reply.trace.outcome

    assert virtual_run(main) == (b": here\n\n" + b"".join(EVENTS), 1, "ok")
    assert provider.closed == 1


def test_such_a_stream_after_refusals_knows_how_long_was_waited():
    """What lay between the tries is in the caller's row, whoever made the last one."""
    streams, asked = Streams(1.0), []

    async def provider(call: Call) -> Reply:
        asked.append(call)
        if len(asked) < 3:
            return Reply(503, (("retry-after", "3"),), b"{}", trace=call.trace)
        call.trace.sent_at_s = asyncio.get_running_loop().time()
        return await streams(call)

    async def main():
        async with engine(provider) as e:
            reply = await e.send(COMPLETIONS, CHAT)
            await reply.read()
            return reply.trace

    trace = virtual_run(main)
    assert (trace.outcome, trace.attempts) == ("ok", 3)
    assert trace.wait_s == pytest.approx(6.0)


def test_such_a_stream_commits_by_time_like_any_other():
    """Ten seconds after its head it is handed on although it has said nothing."""
    provider = Streams(30.0)

    async def main():
        loop = asyncio.get_running_loop()
        async with engine(provider) as e:
            start_s = loop.time()
            reply = await e.send(COMPLETIONS, CHAT)
            committed_s = loop.time() - start_s
            await reply.aclose()
            return committed_s

    assert virtual_run(main) == pytest.approx(10.0, abs=0.01)
    assert provider.closed == 1


@pytest.mark.parametrize("after_s", [0.0, 1.0])
def test_who_leaves_such_a_stream_closes_it(after_s):
    """At whatever moment: also before the flight's task has had its first step."""
    provider = Streams(30.0, silent=True)

    async def main():
        async with engine(provider) as e:
            caller = asyncio.create_task(e.send(COMPLETIONS, CHAT))
            for _ in range(2):
                await asyncio.sleep(0)
            await asyncio.sleep(after_s)
            caller.cancel()
            with pytest.raises(asyncio.CancelledError):
                await caller
            await asyncio.sleep(0.1)
            return provider.closed, e.snapshot()["in_flight"]

    assert virtual_run(main) == (1, 0)
