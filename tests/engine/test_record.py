"""One record of every call: a row per caller, a row per attempt, dollars summed once, and no text unless asked."""

from __future__ import annotations

import asyncio
import json
import sqlite3
from contextlib import closing

import pytest

from headway import ConnectFailed
from headway.engine.inbound import inbound
from headway.testing import FakeProvider, Step, virtual_run
from headway.types import Tags
from headway.wire import reader_for

from .helpers import BODY, CHAT, COMPLETIONS, RESPONSES, engine


def rows(tmp_path, table):
    with closing(sqlite3.connect(tmp_path / "log.sqlite")) as log:
        log.row_factory = sqlite3.Row
        return [dict(row) for row in log.execute(f"SELECT * FROM {table} ORDER BY rowid")]


def play(tmp_path, provider, work, **settings):
    async def main():
        async with engine(provider, log=str(tmp_path / "log.sqlite"), **settings) as e:
            await work(e)

    virtual_run(main)
    return rows(tmp_path, "calls"), rows(tmp_path, "attempts")


def test_a_retried_call_is_one_caller_and_two_attempts(tmp_path):
    """Joined by flight_id; the failed try cost nothing, the other its tokens."""

    async def work(e):
        await e.send(RESPONSES, BODY, tags=Tags(run="r1", step="s", session="x"))

    calls, attempts = play(tmp_path, FakeProvider([500, Step(delay_s=0.25)]), work)
    (call,) = calls
    assert [a["outcome"] for a in attempts] == ["server_error", "ok"]
    assert {a["flight_id"] for a in attempts} == {call["flight_id"]}
    assert call["attempts"] == 2
    assert call["dollars"] == sum(a["dollars"] for a in attempts) > 0
    assert (call["input_tokens"], call["output_tokens"]) == (10, 2)
    assert (call["run"], call["step"], call["session"]) == ("r1", "s", "x")
    assert attempts[1]["first_byte_s"] - attempts[1]["sent_s"] == pytest.approx(0.25)
    assert len(call["tenant"]) == 16
    assert not attempts[0]["block_hashes"]  # too small for any provider's prefix cache


def test_prompts_that_may_share_a_prefix_leave_its_hashes(tmp_path):
    """Of a prompt of some size the record has a hash for each block, and no word."""

    async def work(e):
        await e.send(RESPONSES, {**BODY, "instructions": "Classify the message. " * 60})

    _, (attempt,) = play(tmp_path, FakeProvider(), work)
    assert len(attempt["block_hashes"].split(",")) == 2


def test_joined_callers_have_rows_of_their_own_and_pay_nothing(tmp_path):
    """Dollars are summed over attempts: once, however many asked."""

    async def work(e):
        await asyncio.gather(*[e.send(RESPONSES, BODY) for _ in range(5)])
        await e.send(RESPONSES, BODY)

    calls, attempts = play(tmp_path, FakeProvider([Step(delay_s=1)]), work, cache="memory")
    assert len(attempts) == 1
    assert [c["cache"] for c in calls] == ["miss", "joined", "joined", "joined", "joined", "memory"]
    assert sum(c["dollars"] for c in calls) == attempts[0]["dollars"]
    assert all(c["saved_dollars"] == attempts[0]["dollars"] for c in calls[1:])


def test_failures_are_rows_too(tmp_path):
    """A call without an answer says why, and whether it may have been billed."""

    async def work(e):
        with pytest.raises(ConnectFailed):
            await e.send(RESPONSES, BODY)
        with pytest.raises(Exception, match="no whole answer"):
            await e.send(RESPONSES, BODY, deadline_s=2)

    provider = FakeProvider([*[ConnectFailed("down")] * 3, Step(delay_s=100)])
    calls, attempts = play(tmp_path, provider, work)
    assert [c["outcome"] for c in calls] == ["connect_failed", "deadline"]
    assert [c["maybe_billed"] for c in calls] == [0, 1]
    assert attempts[-1]["outcome"] == "deadline"
    assert attempts[-1]["maybe_billed"] == 1
    assert attempts[-1]["usage_estimated"] == 1


def test_our_wait_and_theirs_are_never_one_number(tmp_path):
    """Paced for a second, answered in half of one."""

    async def work(e):
        await asyncio.gather(*[e.send(RESPONSES, BODY | {"input": f"n {n}"}) for n in range(55)])

    calls, _ = play(tmp_path, FakeProvider([Step(delay_s=0.5)]), work, requests_per_min=60)
    last = max(calls, key=lambda c: c["end_s"])
    assert last["wait_s"] == pytest.approx(1.0, abs=0.01)
    assert last["first_byte_s"] - last["sent_s"] == pytest.approx(0.5)


def test_a_stream_has_its_first_content_and_its_end(tmp_path):
    """TTFT and total apart; usage was asked for and is there."""

    async def work(e):
        reply = await e.send(COMPLETIONS, {"model": "gpt-4o-mini", "messages": [], "stream": True})
        await reply.read()

    step = Step(text="a b c d", delay_s=1.0, chunk_delay_s=0.1)
    ((call,), _) = play(tmp_path, FakeProvider([step]), work)
    assert call["first_byte_s"] == pytest.approx(1.0)
    assert call["first_content_s"] == pytest.approx(1.2)
    assert call["end_s"] == pytest.approx(1.0 + 0.1 * 8, abs=0.15)
    assert (call["input_tokens"], call["usage_estimated"]) == (10, 0)


@pytest.mark.parametrize("asked", [False, True])
def test_texts_are_in_the_log_only_when_asked_for(tmp_path, asked):
    """Neither prompt nor answer nor key is anywhere in the file, unless log_prompts is on; the key never is."""

    async def work(e):
        await e.send(RESPONSES, BODY | {"input": "a-secret-question"})
        reply = await e.send(RESPONSES, BODY | {"input": "another", "stream": True})
        await reply.read()

    calls, _ = play(tmp_path, FakeProvider([Step(text="a-secret-answer")]), work, log_prompts=asked, api_key="sk-zzz")
    raw = b"".join(path.read_bytes() for path in tmp_path.glob("log.sqlite*"))
    assert (b"a-secret-question" in raw) == asked
    assert (b"a-secret-answer" in raw) == asked
    assert b"sk-zzz" not in raw
    if asked:
        assert json.loads(calls[0]["prompt"])["input"] == "a-secret-question"
        assert "a-secret-answer" in calls[0]["answer"]
        assert "response.completed" in calls[1]["answer"]


def test_structured_logs_name_failures_and_no_secret(tmp_path, capsys):
    """One JSON line a failed call on stderr: outcome, code, latency; no prompt, no key."""

    async def work(e):
        await e.send(RESPONSES, BODY | {"input": "a-secret-question"})
        await e.send(RESPONSES, BODY)

    play(tmp_path, FakeProvider([Step(status=401, text="bad key"), 200]), work, log_level="warning", api_key="sk-zzz")
    lines = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    assert len(lines) == 1
    assert (lines[0]["outcome"], lines[0]["status"], lines[0]["level"]) == ("auth", 401, "warning")
    assert "latency_s" in lines[0]
    assert "secret" not in json.dumps(lines)
    assert "sk-zzz" not in json.dumps(lines)


def test_a_wait_that_ends_with_the_deadline_is_booked(tmp_path):
    """Twenty seconds in our own queue are twenty seconds of our wait, although the call never left it."""

    async def work(e):
        await asyncio.gather(*[e.send(RESPONSES, BODY | {"input": f"n {n}"}) for n in range(54)])
        with pytest.raises(Exception, match="no whole answer"):
            await asyncio.gather(*[e.send(RESPONSES, BODY | {"input": f"m {n}"}, deadline_s=20) for n in range(30)])

    calls, _ = play(tmp_path, FakeProvider(), work, requests_per_min=60)
    late = [c for c in calls if c["outcome"] == "deadline"]
    assert late
    assert all(c["wait_s"] == pytest.approx(20.0) for c in late)
    assert all(c["maybe_billed"] == 0 for c in late)


def test_a_stream_that_is_open_when_the_engine_closes_has_its_row(tmp_path):
    """Its reader may come back later, or never: the row says that the engine closed under it."""

    async def work(e):
        reply = await e.send(COMPLETIONS, {"model": "gpt-4o-mini", "messages": [], "stream": True})
        await anext(reply)

    calls, attempts = play(tmp_path, FakeProvider([Step(text="a b c", chunk_delay_s=1.0)]), work)
    assert [c["outcome"] for c in calls] == ["closed"]
    assert [a["outcome"] for a in attempts] == ["closed"]


def test_a_querys_credential_is_not_in_the_log(tmp_path):
    """Some gateways take the key as ?key=: it is sent, and the rows of call and attempt hold the path alone."""
    provider = FakeProvider()
    file = tmp_path / "calls.sqlite"

    async def main():
        async with engine(provider, log=str(file)) as e:
            await e.send(COMPLETIONS + "?key=AIza-SECRET", CHAT)
            call = inbound(
                e,
                method="POST",
                origin="https://gateway.example",
                path=COMPLETIONS + "?key=AIza-SECRET",
                headers=(),
                body=json.dumps(CHAT).encode(),
                reader=reader_for(COMPLETIONS),
            )
            await (await e.handle(call)).read()

    virtual_run(main)
    assert [call.path.partition("?")[2] for call in provider.seen] == ["key=AIza-SECRET"] * 2
    with closing(sqlite3.connect(file)) as connection:
        for table in ("calls", "attempts"):
            assert connection.execute(f"SELECT DISTINCT path FROM {table}").fetchall() == [(COMPLETIONS,)]
    assert b"SECRET" not in b"".join(path.read_bytes() for path in tmp_path.iterdir())
