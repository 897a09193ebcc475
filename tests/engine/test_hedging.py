"""Hedging: a call that is late gets a backup, the first answer wins, and the money for it is bounded."""

from __future__ import annotations

import asyncio

import pytest

from headway import Engine
from headway.testing import FakeProvider, Step, virtual_run

PATH = "/v1/chat/completions"
FAST, LATE = Step(delay_s=0.1), Step(delay_s=5.0)
USUAL = [Step(delay_s=0.05 + 0.003 * n) for n in range(50)] + [Step(delay_s=0.05)] * 10
"""Sixty answers; 95 % of them come within 0.19 s."""


def body(number: int, **more: object) -> dict[str, object]:
    return {"model": "gpt-5.4-mini", "messages": [{"role": "user", "content": f"{number}"}], "max_tokens": 8, **more}


def engine(provider: FakeProvider, **settings: object) -> Engine:
    return Engine(handler=provider, **{"log": "off", "api_key": "k", "seed": 1, "hedge_ratio": 0.05, **settings})


async def warm(e: Engine, count: int = 60) -> None:
    """As many answers as the trigger wants to see."""
    for n in range(count):
        await e.send(PATH, body(n))


def test_a_late_answer_is_overtaken_by_its_backup():
    """Sent again once it is later than 95 % of its kind; the loser is ended, its connection closed."""
    provider = FakeProvider([*USUAL, LATE, FAST])

    async def main():
        async with engine(provider) as e:
            await warm(e)
            start_s = asyncio.get_running_loop().time()
            reply = await e.send(PATH, body(100))
            took_s = asyncio.get_running_loop().time() - start_s
            await asyncio.sleep(0.001)  # the loser's turn to end
            return reply, took_s, len(asyncio.all_tasks())

    reply, took_s, tasks = virtual_run(main)
    assert reply.status == 200
    assert took_s == pytest.approx(0.29, rel=0.05)
    assert (provider.calls, provider.aborted, provider.open) == (62, 1, 0)
    assert tasks == 1
    assert reply.trace.attempts == 2
    assert reply.trace.dollars > 0


def test_the_first_one_may_still_win():
    """A backup that is slower than what it stands in for is ended; the answer is the first one's."""
    provider = FakeProvider([*USUAL, Step(delay_s=0.25, text="first"), Step(delay_s=3.0, text="second")])

    async def main():
        async with engine(provider) as e:
            await warm(e)
            return await e.send(PATH, body(100))

    reply = virtual_run(main)
    assert b"first" in reply.body
    assert (provider.calls, provider.aborted) == (62, 1)


def test_streams_commit_to_the_first_content():
    """The backup's stream is handed on as a whole: no byte of the loser gets in between."""
    chunk = b'data: {"choices":[{"index":0,"delta":{"content":"%b"}}]}\n\n'
    done = b'data: {"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}\n\ndata: [DONE]\n\n'
    script = [
        *[Step(delay_s=step.delay_s, chunks=(chunk % b"x", done)) for step in USUAL],
        Step(delay_s=0.1, chunk_delay_s=9.0, chunks=(chunk % b"loser", done)),
        Step(delay_s=0.1, chunks=(chunk % b"winner", done)),
    ]
    provider = FakeProvider(script)

    async def main():
        async with engine(provider) as e:
            for n in range(60):
                await (await e.send(PATH, body(n, stream=True))).read()
            return await (await e.send(PATH, body(100, stream=True))).read()

    assert virtual_run(main) == chunk % b"winner" + done
    assert (provider.calls, provider.open) == (62, 0)


def test_a_provider_that_slows_down_as_a_whole_gets_no_flood():
    """The budget is a share of the dollars: a hundred late calls are not two hundred."""
    provider = FakeProvider([*USUAL, LATE])

    async def main():
        async with engine(provider) as e:
            await warm(e)
            await asyncio.gather(*[e.send(PATH, body(100 + n)) for n in range(100)])

    virtual_run(main)
    assert provider.calls <= 60 + 100 + 10


@pytest.mark.parametrize("more", [{"n": 2}, {"store": True}, {"model": "a-model-without-a-price"}])
def test_what_is_never_asked_twice(more: dict[str, object]):
    """Several answers, stored ones, and those without a price have no backup."""
    provider = FakeProvider([*USUAL, LATE])

    async def main():
        async with engine(provider) as e:
            for n in range(60):
                await e.send(PATH, body(n, **more))
            await e.send(PATH, body(100, **more))

    virtual_run(main)
    assert provider.calls == 61


def test_no_backups_unless_asked_for():
    """Off by default: it spends money."""
    provider = FakeProvider([*USUAL, LATE])

    async def main():
        async with engine(provider, hedge_ratio=0.0) as e:
            await warm(e)
            await e.send(PATH, body(100))

    virtual_run(main)
    assert provider.calls == 61


def test_failures_of_both_end_in_one_retry():
    """A late try and its backup that fail together are two tries of three: one more follows."""
    provider = FakeProvider([*USUAL, Step(delay_s=0.3, status=503), Step(delay_s=0.2, status=503), FAST])

    async def main():
        async with engine(provider) as e:
            await warm(e)
            return await e.send(PATH, body(100))

    assert virtual_run(main).status == 200
    assert provider.calls == 63


def test_a_caller_that_leaves_ends_both():
    """Cancelled while two tries run: both are ended, nothing is left."""
    provider = FakeProvider([*USUAL, LATE])

    async def main():
        async with engine(provider) as e:
            await warm(e)
            task = asyncio.create_task(e.send(PATH, body(100)))
            await asyncio.sleep(1.0)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            await asyncio.sleep(0.01)
            return e.snapshot()["in_flight"], len(asyncio.all_tasks())

    assert virtual_run(main) == (0, 1)
    assert (provider.calls, provider.aborted) == (62, 2)
