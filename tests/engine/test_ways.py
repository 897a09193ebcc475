"""The engine's other ways: any call of a provider's API, a look into the cache, and answers that came elsewhere."""

from __future__ import annotations

import asyncio
import json
import sqlite3
from contextlib import closing

import pytest

from headway import Closed, ConfigError, ConnectFailed, ConnectionLost, Engine
from headway.testing import FakeProvider, Step, virtual_run
from headway.types import Reply, Tags
from headway.wire.prices import Prices
from tests.upstream.helpers import MemoryLoop, ok

from .helpers import BODY, CHAT, COMPLETIONS, RESPONSES, engine

BODY_BYTES = json.dumps(BODY).encode()
MESSAGES = "/v1/messages"
SHARED = {"model": "claude-haiku-4-5", "max_tokens": 16, "messages": [{"role": "user", "content": "Hello"}]}
ANSWER = json.dumps(
    {
        "id": "resp_1",
        "status": "completed",
        "model": "gpt-5.4-mini",
        "output": [{"type": "message", "content": [{"type": "output_text", "text": "billing"}]}],
        "usage": {"input_tokens": 1000, "output_tokens": 100},
    }
).encode()
REFUSAL = b'{"error":{"code":"context_length_exceeded","message":"too long"}}'


def rows(tmp_path, table):
    with closing(sqlite3.connect(tmp_path / "log.sqlite")) as log:
        log.row_factory = sqlite3.Row
        return [dict(row) for row in log.execute(f"SELECT * FROM {table} ORDER BY rowid, id")]


def play(provider, work, **settings):
    """What `work(engine)` gives, on virtual time."""

    async def main():
        async with engine(provider, **settings) as e:
            return await work(e)

    return virtual_run(main)


async def problem_of(work):
    try:
        return (await work).status
    except Exception as error:
        return type(error)


# -- any call of the provider's API ------------------------------------------------------------------------------------


@pytest.mark.parametrize("failure", [503, 502, 429, ConnectFailed("down"), ConnectionLost("cut", maybe_billed=True)])
def test_what_may_be_repeated_is_tried_again(failure):
    """A failed poll costs nothing, and the next one answers."""
    provider = FakeProvider([failure, Step(body=b'{"id":"batch_1"}')])

    async def work(e):
        reply = await e.request("GET", "/v1/batches/batch_1")
        return reply.status, reply.body, provider.seen[0].method, provider.seen[0].path

    assert play(provider, work) == (200, b'{"id":"batch_1"}', "GET", "/v1/batches/batch_1")
    assert provider.calls == 2


@pytest.mark.parametrize("failure", [503, 429, ConnectionLost("cut", maybe_billed=True)])
def test_what_may_not_be_repeated_is_sent_once(failure):
    """Whatever became of a create, sending it again may pay for everything in it again."""
    provider = FakeProvider([failure, 200])
    told = play(provider, lambda e: problem_of(e.request("POST", "/v1/batches", b"{}")))
    assert told in (failure, ConnectionLost)
    assert provider.calls == 1


def test_an_upload_may_be_tried_as_often_as_is_said():
    """A file that arrives twice costs nothing."""
    provider = FakeProvider([503, ConnectionLost("cut"), 200])
    upload = {"headers": {"Content-Type": "multipart/form-data; boundary=b"}, "attempts_max": 3}
    assert play(provider, lambda e: problem_of(e.request("POST", "/v1/files", b"--b--", **upload))) == 200
    assert provider.calls == 3
    headers = dict(provider.seen[0].headers)
    assert headers["content-type"] == "multipart/form-data; boundary=b"
    assert headers["authorization"] == "Bearer sk-test"
    assert provider.seen[0].body == b"--b--"


def test_it_is_recorded_and_costs_nothing(tmp_path):
    """A row for the call and one for each try; dollars are known to be none, and no budget stands in its way."""
    provider = FakeProvider([503, 200])

    async def work(e):
        await e.request("GET", "/v1/batches?after=b&limit=2", tags=Tags(run="r", step="batch"))
        return e.snapshot()

    live = play(provider, work, log=str(tmp_path / "log.sqlite"), budget_usd=0.01, hedge_ratio=0.02)
    (call,), tries = rows(tmp_path, "calls"), rows(tmp_path, "attempts")
    assert [one["outcome"] for one in tries] == ["server_error", "ok"]
    assert (call["path"], call["run"], call["step"], call["status"]) == ("/v1/batches", "r", "batch", 200)
    assert (call["dollars"], call["input_tokens"], call["maybe_billed"], call["cache"]) == (0.0, None, 0, "off")
    assert (live["dollars"], live["attempts"], live["in_flight"]) == (0.0, 2, 0)


def test_a_lost_create_is_marked_as_perhaps_done(tmp_path):
    """A lost poll is not: there was nothing to pay."""
    provider = FakeProvider([Step(error=ConnectionLost("cut", maybe_billed=True))])

    async def work(e):
        await problem_of(e.request("POST", "/v1/batches", b"{}"))
        await problem_of(e.request("GET", "/v1/batches/b", attempts_max=1))

    play(provider, work, log=str(tmp_path / "log.sqlite"))
    assert [(one["maybe_billed"], one["dollars"]) for one in rows(tmp_path, "attempts")] == [(1, 0.0), (0, 0.0)]


def test_an_upload_is_not_kept_in_the_log(tmp_path):
    """Texts are asked for of calls; a file of all their prompts again is none."""

    async def work(e):
        await e.request("POST", "/v1/files", b"x" * 100_000)

    play(FakeProvider(), work, log=str(tmp_path / "log.sqlite"), log_prompts=True)
    (call,), (attempt,) = rows(tmp_path, "calls"), rows(tmp_path, "attempts")
    assert (call["prompt"], call["answer"], call["body_bytes"]) == (None, None, 100_000)
    assert not attempt["block_hashes"]


def test_models_limits_do_not_hold_it_up():
    """Polls go on while a model's queue is full."""

    async def work(e):
        waiting = [asyncio.ensure_future(e.send(RESPONSES, BODY | {"input": f"{n}"})) for n in range(200)]
        await asyncio.sleep(0.001)
        before_s = asyncio.get_running_loop().time()
        reply = await e.request("GET", "/v1/batches/b")
        took_s = asyncio.get_running_loop().time() - before_s
        for one in waiting:
            one.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)
        return reply.status, took_s, e.snapshot()["allowed_rpm"]

    assert play(FakeProvider(), work, requests_per_min=60)[:2] == (200, 0.0)


class File:
    """A provider whose files are long, and which counts what was taken of them."""

    def __init__(self, chunks, size=64 * 1024):
        self.chunks, self.size, self.given, self.closed = chunks, size, 0, False

    async def __call__(self, call):
        async def body():
            while self.given < self.chunks:
                self.given += 1
                yield b"x" * self.size

        async def close():
            self.closed = True

        headers = (("content-type", "application/octet-stream"),)
        return Reply(200, headers, chunks=body(), close=close, trace=call.trace)


def test_a_streamed_file_is_held_back():
    """Who reads slowly has little of it in memory, whatever type it says it is; closing early ends it."""
    file = File(chunks=10_000)

    async def work(e):
        reply = await e.request("GET", "/v1/files/f/content", stream=True)
        await anext(reply)
        await asyncio.sleep(1000)
        held = file.given
        taken = 0
        async for chunk in reply:
            taken += len(chunk)
            if taken > 4_000_000:
                break
        await reply.aclose()
        return held, file.given

    held, given = play(file, work, reply_bytes_max=1_000_000)
    assert held <= 32  # 2 MiB
    assert given <= 32 + 4_000_000 // file.size
    assert file.closed


def test_a_file_may_be_larger_than_an_answer():
    """Over real connections, too: `reply_bytes_max` is for answers."""

    async def serve(wire):
        while True:
            await wire.request()
            wire.send(ok(b"y" * 300_000, b"content-type: application/jsonl\r\n"))

    async def main():
        async with Engine(
            base_url="http://api.example/v1", api_key="k", log="off", reply_bytes_max=1000, log_level="off"
        ) as e:
            streamed = await e.request("GET", "/v1/files/f/content", stream=True)
            size = sum([len(chunk) async for chunk in streamed])
            whole = await e.request("GET", "/v1/files/f/content")
            return size, len(await whole.read())

    with asyncio.Runner(loop_factory=lambda: MemoryLoop(serve)) as runner:
        assert runner.run(main()) == (300_000, 300_000)


def test_a_stream_that_breaks_says_so():
    """Half a file is an error of the reader's, not an end."""
    provider = FakeProvider([Step(chunks=(b"a", b"b"), error=ConnectionLost("cut"))])

    async def work(e):
        reply = await e.request("GET", "/v1/files/f/content", stream=True)
        with pytest.raises(ConnectionLost):
            await reply.read()
        return provider.open

    assert play(provider, work) == 0


def test_a_refused_stream_is_an_answer():
    """A 404 comes whole, with its words."""
    provider = FakeProvider([Step(status=404, body=b'{"error":{"message":"gone"}}')])

    async def work(e):
        reply = await e.request("GET", "/v1/files/f/content", stream=True)
        return reply.status, await reply.read()

    assert play(provider, work) == (404, b'{"error":{"message":"gone"}}')
    assert provider.calls == 1


def test_a_create_that_dies_with_its_connection_is_not_sent_again():
    """On a kept connection a request without an answer is sent once more; for a create that would be twice."""
    seen = []

    async def serve(wire):
        while True:
            request = await wire.request()
            seen.append(request.split(b" ", 1)[0])
            if request.startswith(b"POST"):
                wire.end()
                return
            wire.send(ok())

    async def main():
        async with Engine(base_url="http://api.example/v1", api_key="k", log="off", log_level="off") as e:
            await e.request("GET", "/v1/batches")
            return await problem_of(e.request("POST", "/v1/batches", b"{}"))

    with asyncio.Runner(loop_factory=lambda: MemoryLoop(serve)) as runner:
        assert runner.run(main()) is ConnectionLost
    assert seen == [b"GET", b"POST"]


def test_a_closed_engine_makes_no_calls():
    """It says so, as it does for others."""

    async def main():
        e = engine(FakeProvider())
        await e.request("GET", "/v1/batches")
        await e.aclose()
        with pytest.raises(Closed):
            await e.request("GET", "/v1/batches")

    virtual_run(main)


@pytest.mark.parametrize(
    ("path", "names"),
    [
        (MESSAGES, ["x-api-key", "anthropic-version"]),
        ("/v1/messages/batches", ["x-api-key", "anthropic-version"]),
        ("/v1/messages/batches/b/results?x=1", ["x-api-key", "anthropic-version"]),
        (RESPONSES, ["authorization"]),
        ("/v1/batches", ["authorization"]),
        ("/v1/threads/t/messages", ["authorization"]),
    ],
)
def test_the_key_is_told_as_the_format_has_it(path, names):
    """The Messages API, and what stands below it, has headers of its own."""
    provider = FakeProvider()
    play(provider, lambda e: e.request("GET", path))
    told = dict(provider.seen[0].headers)
    assert [name for name in ("authorization", "x-api-key", "anthropic-version") if name in told] == names
    assert told[names[0]].endswith("sk-test")


# -- a look into the cache ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("tier", ["memory", "disk"])
def test_a_look_finds_what_was_answered(tmp_path, tier):
    """It gives the answer and what it cost then, and leaves no trace of having looked."""
    provider = FakeProvider([Step(text="billing")])

    async def work(e):
        sent = await e.send(RESPONSES, BODY_BYTES)
        before = e.snapshot()
        reply = await e.cached(RESPONSES, BODY_BYTES)
        other = await e.cached(RESPONSES, json.dumps(BODY | {"input": "x"}).encode())
        trace = reply.trace
        assert reply.body == sent.body
        assert (trace.outcome, trace.cache, trace.dollars) == ("ok", "memory", 0.0)
        assert (trace.saved_dollars, trace.usage) == (sent.trace.dollars, sent.trace.usage)
        assert e.snapshot() | {"cache": 0} == before | {"cache": 0}
        assert e.snapshot()["cache"]["hits"] == 0
        return other

    settings = {"cache": tier, "cache_path": str(tmp_path / "c.sqlite"), "log": str(tmp_path / "log.sqlite")}
    assert play(provider, work, **settings) is None
    assert provider.calls == 1
    assert len(rows(tmp_path, "calls")) == 1


def test_a_look_by_another_body():
    """A normalised body stands in for the request, as when it is sent."""

    async def work(e):
        await e.send(RESPONSES, BODY | {"input": "HELLO"}, key_body=BODY_BYTES)
        odd = json.dumps(BODY | {"input": "hello "}).encode()
        return await e.cached(RESPONSES, odd), await e.cached(RESPONSES, odd, key_body=BODY_BYTES)

    missed, found = play(FakeProvider(), work, cache="memory")
    assert missed is None
    assert found.status == 200


def test_nothing_old_is_found_and_nothing_without_a_cache():
    """An answer past its time is none; neither is there one where caching is off, or for what is never cached."""

    async def work(e):
        await e.send(RESPONSES, BODY_BYTES)
        await asyncio.sleep(100)
        stored = json.dumps(BODY | {"store": True}).encode()
        return await e.cached(RESPONSES, BODY_BYTES), await e.cached(RESPONSES, stored), await e.cached("/v1/x", b"{}")

    assert play(FakeProvider(), work, cache="memory", cache_ttl_s=50) == (None, None, None)
    assert play(FakeProvider(), work) == (None, None, None)


# -- answers that came another way -------------------------------------------------------------------------------------


def test_an_adopted_answer_is_a_call_and_a_try_at_its_price(tmp_path):
    """Half the listed dollars, its tokens, its time since it was handed in, and a step that says which way it took."""

    async def work(e):
        wall_s = asyncio.get_running_loop().wall_s()
        await asyncio.sleep(500)
        trace = e.adopt(RESPONSES, BODY_BYTES, 200, ANSWER, price_ratio=0.5, tags=Tags(run="r"), started_wall_s=wall_s)
        return trace, e.snapshot()

    trace, live = play(FakeProvider(), work, log=str(tmp_path / "log.sqlite"))
    full = Prices().rates("gpt-5.4-mini").dollars(trace.usage)
    assert (trace.outcome, trace.finish, trace.error_code, trace.attempts) == ("ok", "completed", "", 1)
    assert trace.dollars == pytest.approx(full / 2)
    assert (trace.usage.input_tokens, trace.usage.output_tokens) == (1000, 100)
    (call,), (attempt,) = rows(tmp_path, "calls"), rows(tmp_path, "attempts")
    assert call["flight_id"] == attempt["flight_id"] == call["id"]
    for row in (call, attempt):
        assert (row["run"], row["step"], row["outcome"], row["status"]) == ("r", "batch", "ok", 200)
        assert row["dollars"] == pytest.approx(full / 2)
        assert row["end_s"] == pytest.approx(500)
    assert (call["attempts"], call["cache"], call["path"]) == (1, "off", RESPONSES)
    assert live["dollars"] == pytest.approx(full / 2)


@pytest.mark.parametrize("log_prompts", [True, False])
def test_an_adopted_call_has_its_texts_in_the_log_where_they_are_asked_for(tmp_path, log_prompts):
    """As one that was sent has, and nowhere else."""

    async def work(e):
        e.adopt(RESPONSES, BODY_BYTES, 200, ANSWER)

    play(FakeProvider(), work, log=str(tmp_path / "log.sqlite"), log_prompts=log_prompts)
    (call,) = rows(tmp_path, "calls")
    texts = BODY_BYTES.decode(), ANSWER.decode()
    assert (call["prompt"], call["answer"]) == (texts if log_prompts else (None, None))


@pytest.mark.parametrize("key_body", [None, b'{"model":"gpt-5.4-mini","input":"hello"}'])
def test_an_adopted_answer_is_found_by_the_same_request(key_body):
    """The key is the one that the request by itself would have had."""
    provider = FakeProvider()

    async def work(e):
        e.adopt(RESPONSES, BODY_BYTES, 200, ANSWER, key_body=key_body, price_ratio=0.5)
        reply = await e.send(RESPONSES, BODY_BYTES, key_body=key_body)
        looked = await e.cached(RESPONSES, BODY_BYTES, key_body=key_body)
        return reply.body, reply.trace.cache, looked.body

    assert play(provider, work, cache="memory") == (ANSWER, "memory", ANSWER)
    assert provider.calls == 0


CUT = ANSWER.replace(b'"completed"', b'"incomplete"')


@pytest.mark.parametrize(
    ("status", "answer", "outcome", "code", "dollars"),
    [
        (200, CUT, "ok", "", True),
        (200, b"<html>", "bad_reply", "", True),
        (400, REFUSAL, "client_error", "context_length_exceeded", False),
        (500, b"", "server_error", "500", False),
        (429, b'{"error":{"code":"insufficient_quota"}}', "billing", "insufficient_quota", False),
    ],
)
def test_what_is_no_good_answer_is_booked_and_not_kept(status, answer, outcome, code, dollars):
    """Refusals cost nothing; an answer that cannot be read may have cost what was asked."""

    async def work(e):
        trace = e.adopt(RESPONSES, BODY_BYTES, status, answer)
        return trace, await e.cached(RESPONSES, BODY_BYTES)

    trace, looked = play(FakeProvider(), work, cache="memory")
    assert (trace.outcome, trace.error_code, bool(trace.dollars), looked) == (outcome, code, dollars, None)
    assert trace.maybe_billed == (outcome == "bad_reply")


def test_adopted_dollars_count_towards_the_budget():
    """What a batch took is spent: calls after it have what is left."""

    async def work(e):
        for _ in range(100):
            e.adopt(RESPONSES, BODY_BYTES, 200, ANSWER, price_ratio=0.5)
        return await problem_of(e.send(RESPONSES, BODY_BYTES))

    assert play(FakeProvider(), work, budget_usd=1.0) == 200
    assert play(FakeProvider(), work, budget_usd=0.01).__name__ == "BudgetExceeded"


@pytest.mark.parametrize(("path", "body"), [(COMPLETIONS, CHAT), (MESSAGES, SHARED)])
def test_every_format_is_adopted(path, body):
    """What one engine was answered is adopted by another: same usage, same finish, the whole price."""
    data = json.dumps(body).encode()

    async def work(e):
        reply = await e.send(path, data)
        trace = e.adopt(path, data, reply.status, reply.body)
        return reply.trace, trace

    sent, adopted = play(FakeProvider(), work)
    for name in ("usage", "finish", "dollars", "model", "format", "tenant"):
        assert getattr(adopted, name) == getattr(sent, name), name
    assert adopted.dollars > 0


@pytest.mark.parametrize("ratio", [-0.5, float("nan"), 11])
def test_a_ratio_out_of_range(ratio):
    """Named, before anything is booked."""

    async def work(e):
        with pytest.raises(ConfigError, match="price_ratio must be a number from 0 to 10"):
            e.adopt(RESPONSES, BODY_BYTES, 200, ANSWER, price_ratio=ratio)
        return e.snapshot()["dollars"]

    assert play(FakeProvider(), work) == 0.0
