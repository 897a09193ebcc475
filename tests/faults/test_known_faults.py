"""What fault runs have found, each in its smallest form."""

from __future__ import annotations

import asyncio

import pytest

import headway
from headway.errors import ConnectionLost, DeadlineExceeded
from headway.sim import SimSettings, Simulator
from headway.store.call_reader import CallLogReader
from headway.testing import FakeProvider, Step, virtual_run

CHAT = {"model": "gpt-4o", "messages": [{"role": "user", "content": "Write 20 words."}], "max_tokens": 60}
STREAM = {**CHAT, "stream": True, "stream_options": {"include_usage": True}}


def _rows(path):
    with CallLogReader(path) as reader:
        return reader.calls(), reader.attempts()


def test_an_error_event_after_content_may_have_been_billed(tmp_path):
    """Seed 24: a 200 that ends in an error event has generated tokens; the attempt must say so, not that it was free."""

    async def main():
        simulator = Simulator(SimSettings(latency_scale=0))
        async with headway.Engine(
            handler=simulator.handler, api_key="k", log=str(tmp_path / "log"), log_level="off"
        ) as engine:
            reply = await engine.send("/v1/chat/completions", STREAM, headers={"x-sim-fault": "event"})
            assert b"server_is_overloaded" in await reply.read()
        return simulator.ledger.rows[0]

    billed = virtual_run(main)
    assert billed.dollars
    attempt = _rows(tmp_path / "log")[1][0]
    assert attempt.maybe_billed or attempt.usage_estimated


def test_a_replayed_stream_that_is_closed_at_its_terminal_event_is_ok(tmp_path):
    """Seed 37: the SDKs close a stream when they have seen its terminal event; a cached one is whole by then as well."""

    async def main():
        simulator = Simulator(SimSettings(latency_scale=0))
        async with headway.Engine(
            handler=simulator.handler, api_key="k", cache="memory", log=str(tmp_path / "log"), log_level="off"
        ) as engine:
            for _ in range(2):
                reply = await engine.send("/v1/chat/completions", STREAM)
                async for chunk in reply:
                    if b"[DONE]" in chunk:
                        break
                await reply.aclose()

    virtual_run(main)
    first, second = _rows(tmp_path / "log")[0]
    assert first.outcome == "ok"
    assert (second.cache, second.outcome) == ("memory", "ok")


def test_who_still_reads_a_landed_answer_when_the_engine_closes_has_a_row(tmp_path):
    """Seed 24: an answer has come whole, its reader has not read it all yet, the engine closes: a row is written."""

    async def main():
        simulator = Simulator(SimSettings(latency_scale=0))
        engine = headway.Engine(handler=simulator.handler, api_key="k", log=str(tmp_path / "log"), log_level="off")
        reply = await engine.send("/v1/chat/completions", STREAM)
        await anext(reply)
        await asyncio.sleep(5)
        await engine.aclose()
        await reply.aclose()

    virtual_run(main)
    calls, attempts = _rows(tmp_path / "log")
    assert len(attempts) == 1
    assert [row.flight_id for row in calls] == [attempts[0].flight_id]


def test_a_joined_reader_whose_deadline_passed_is_booked_as_that(tmp_path):
    """Seed 2027: two read one stream; one's deadline passes, then the stream breaks: its row says "deadline"."""

    async def main():
        content = b'data: {"choices":[{"index":0,"delta":{"content":"a"},"finish_reason":null}]}\n\n'
        lost = ConnectionLost("broken", maybe_billed=True)
        step = Step(chunks=(content, content), chunk_delay_s=0.3, error=lost)
        async with headway.Engine(
            handler=FakeProvider([step]), api_key="k", cache="memory", log=str(tmp_path / "log"), log_level="off"
        ) as engine:
            first, second = await asyncio.gather(
                engine.send("/v1/chat/completions", STREAM),
                engine.send("/v1/chat/completions", STREAM, deadline_s=0.4),
            )
            await anext(second)
            with pytest.raises(ConnectionLost):
                await first.read()
            await asyncio.sleep(2)
            with pytest.raises(DeadlineExceeded):
                await second.read()

    virtual_run(main)
    joined = next(row for row in _rows(tmp_path / "log")[0] if row.cache == "joined")
    assert (joined.error_code, joined.outcome) == ("deadline", "deadline")


def test_who_closes_a_shared_stream_at_its_terminal_event_is_ok(tmp_path):
    """Seed 1045: two read one stream; one closes it at "[DONE]", before the connection ends: it had everything."""

    async def main():
        content = b'data: {"choices":[{"index":0,"delta":{"content":"a"},"finish_reason":"stop"}]}\n\n'
        step = Step(chunks=(content, b"data: [DONE]\n\n", b": the end is still to come\n\n"), chunk_delay_s=0.3)
        async with headway.Engine(
            handler=FakeProvider([step]), api_key="k", cache="memory", log=str(tmp_path / "log"), log_level="off"
        ) as engine:
            first, second = await asyncio.gather(*(engine.send("/v1/chat/completions", STREAM) for _ in range(2)))
            async for chunk in first:
                if b"[DONE]" in chunk:
                    break
            await first.aclose()
            await second.read()

    virtual_run(main)
    calls, attempts = _rows(tmp_path / "log")
    assert [row.outcome for row in attempts] == ["ok"]
    assert [row.outcome for row in calls] == ["ok", "ok"]


def test_backups_after_an_outage_keep_to_their_share():
    """Seed 1947: refusals cost nothing, so calls that began right after them set next to nothing aside for backups."""

    async def main():
        steps = [Step(status=400, delay_s=1.0)] * 60 + [Step(delay_s=1.0)] + [Step(delay_s=60.0)] * 99 + [Step()]
        provider = FakeProvider(steps)
        async with headway.Engine(
            handler=provider, api_key="k", hedge_ratio=0.02, log="off", log_level="off", seed=1
        ) as engine:
            for calls in (60, 100):
                await asyncio.gather(*(engine.send("/v1/chat/completions", CHAT) for _ in range(calls)))
        return provider.calls

    assert virtual_run(main) <= 165  # a share of 2 % of 100 calls
