"""The provider as a whole: determinism, books, faults, refusals."""

from __future__ import annotations

import asyncio
from random import Random

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headway.errors import ConfigError, ConnectionLost
from headway.sim import Fault, SimSettings, Simulator, parse_fault, run_virtual
from headway.sim.faults import FAULTS
from tests.sim.helpers import call, chat, chat_text, json, now_s, respond

TEXTS = [f"Write {n} words about case {n % 4}." for n in range(3, 15)]


def strip(body: bytes) -> bytes:
    """A body without the one field that tells when it was made."""
    value = msgspec.json.decode(body)
    value.pop("created", None)
    return msgspec.json.encode(value)


@given(order=st.permutations(range(len(TEXTS))), pauses=st.lists(st.floats(0, 2), min_size=12, max_size=12))
@settings(max_examples=25)
def test_same_seed_same_bytes_whatever_the_interleaving(order, pauses):
    """Answers, usage, ids and latency at no load depend on seed and content, not on what else runs or when."""

    async def main(numbers: list[int], waits: list[float]) -> dict[int, tuple[bytes, float]]:
        simulator, found = Simulator(SimSettings(seed=7, capacity=1_000_000)), {}

        async def one(number: int, wait_s: float) -> None:
            await asyncio.sleep(wait_s)
            start_s = now_s()
            body = strip((await chat(simulator, TEXTS[number])).body)
            found[number] = body, now_s() - start_s

        await asyncio.gather(*(one(n, w) for n, w in zip(numbers, waits, strict=True)))
        return found

    mixed = run_virtual(lambda: main(list(order), pauses))
    plain = run_virtual(lambda: main(list(range(len(TEXTS))), [0.0] * len(TEXTS)))
    for number, (body, took_s) in plain.items():
        assert mixed[number][0] == body
        assert mixed[number][1] == pytest.approx(took_s, rel=1e-3)


def test_another_attempt_has_another_id_and_latency_but_the_same_answer():
    """Asking again is a new attempt: its dice are new, its content is not."""

    async def main() -> list[tuple[str, float, str]]:
        simulator, found = Simulator(SimSettings()), []
        for _ in range(3):
            start_s = now_s()
            reply = await chat(simulator, TEXTS[0])
            found.append((reply.header("x-request-id"), now_s() - start_s, chat_text(reply)))
        return found

    ids, times_s, texts = (set(column) for column in zip(*run_virtual(main), strict=True))
    assert (len(ids), len(times_s), len(texts)) == (3, 3, 1)


def test_a_run_repeats_byte_for_byte_and_another_seed_differs():
    """The same program and seed: every byte, time and line of the books again."""

    async def main(seed: int) -> tuple[list[bytes], float, bytes]:
        simulator = Simulator(SimSettings(seed=seed, faults=(Fault(kind="500", rate=0.2),)))
        replies = await asyncio.gather(*(chat(simulator, text) for text in TEXTS))
        return [reply.body for reply in replies], now_s(), simulator.ledger.export()

    assert run_virtual(lambda: main(1)) == run_virtual(lambda: main(1))
    assert run_virtual(lambda: main(1)) != run_virtual(lambda: main(2))


def test_a_stream_says_what_the_whole_answer_says():
    """Streamed or not: the same text and usage, in both APIs."""

    async def main():
        simulator = Simulator(SimSettings())
        text = "Return only the label, one of: red, blue. Text: the sea is blue"
        whole = await chat(simulator, text)
        parts = await chat(simulator, text, stream=True, stream_options={"include_usage": True})
        other = await respond(simulator, text)
        events = await respond(simulator, text, stream=True)
        return whole, parts.body, other, events.body

    whole, parts, other, events = run_virtual(main)
    chunks = [msgspec.json.decode(line[6:]) for line in parts.split(b"\n\n") if line.startswith(b"data: {")]
    said = "".join(c["choices"][0]["delta"].get("content") or "" for c in chunks if c["choices"])
    assert said == chat_text(whole)
    assert chunks[-1]["usage"] == json(whole)["usage"]
    last = msgspec.json.decode(events.strip().split(b"\n\n")[-1].split(b"\ndata: ")[1])
    assert last["response"]["output"][0]["content"] == json(other)["output"][0]["content"]
    assert last["response"]["usage"] == json(other)["usage"]


@given(seed=st.integers(0, 1_000))
@settings(max_examples=20, deadline=None)
def test_the_books_agree_with_what_was_told(seed):
    """Sums over the ledger are the sums of the usage in the answers; every attempt has its line; dollars add up."""
    rng = Random(seed)

    async def main():
        faults = (Fault(kind="500", rate=0.1), Fault(kind="429", rate=0.1), Fault(kind="empty", rate=0.1))
        simulator = Simulator(SimSettings(seed=seed, faults=faults, rpm=600, capacity_s=1))
        replies = await asyncio.gather(*(chat(simulator, rng.choice(TEXTS)) for _ in range(30)))
        return simulator, replies

    simulator, replies = run_virtual(main)
    rows, totals = simulator.ledger.rows, simulator.ledger.totals
    usages = [json(reply)["usage"] for reply in replies if reply.status == 200]
    assert len(rows) == totals.attempts == len(replies)
    assert totals.input_tokens == sum(usage["prompt_tokens"] for usage in usages)
    assert totals.output_tokens == sum(usage["completion_tokens"] for usage in usages)
    assert totals.ok + totals.throttled + totals.aborted + totals.failed == totals.attempts
    assert sum(row.dollars for row in rows) == pytest.approx(totals.dollars)
    assert totals.dollars == pytest.approx((totals.input_tokens * 2.5 + totals.output_tokens * 10) / 1e6)
    assert sorted(row.status for row in rows) == sorted(reply.status for reply in replies)
    assert {f"req_{row.id}" for row in rows} == {reply.header("x-request-id") for reply in replies}


def test_a_stream_closed_early_books_what_was_generated():
    """Leaving after a few tokens ends generation: the bill holds those and the prompt; nothing stays in flight."""

    async def main() -> Simulator:
        simulator = Simulator(SimSettings())
        body = {"model": "gpt-4o", "messages": [{"role": "user", "content": "Write 300 words."}], "stream": True}
        async with await simulator.handler(call("/v1/chat/completions", body)) as reply:
            for _ in range(11):  # the role, then ten tokens
                await anext(reply)
        unread = await simulator.handler(call("/v1/chat/completions", body))
        await unread.aclose()
        return simulator

    first, second = run_virtual(main).ledger.rows
    assert (first.outcome, first.aborted, first.output_tokens) == ("aborted", True, 10)
    assert (second.outcome, second.output_tokens, second.attempt) == ("aborted", 0, 2)
    assert first.dollars > second.dollars > 0


def test_a_cancelled_call_books_what_was_generated():
    """A non-streamed call that is given up half way is billed for the tokens that existed by then."""

    async def main() -> Simulator:
        simulator = Simulator(SimSettings())
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(2.5):
                await chat(simulator, "Write 400 words.")
        await chat(simulator, "Write 4 words.")  # the load of the first is gone: it takes what it takes alone
        return simulator

    row = run_virtual(main).ledger.rows[0]
    assert (row.outcome, row.status, row.aborted) == ("aborted", 0, True)
    assert 100 < row.output_tokens < 400


def test_what_is_in_flight_leaves_whatever_happens():
    """Answers, faults, cancellations and closed streams all give their place back."""

    async def main() -> int:
        simulator = Simulator(SimSettings(stall_s=1, rpm=None))
        body = {"model": "gpt-4o", "messages": [{"role": "user", "content": "Write 20 words."}]}
        for fault in ("", *FAULTS):
            for stream in (False, True):
                try:
                    reply = await simulator.handler(
                        call("/v1/chat/completions", {**body, "stream": stream}, fault=fault)
                    )
                    await reply.read()
                except ConnectionLost:
                    pass
        for delay_s in (0.001, 0.2, 0.3):
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(simulator.handler(call("/v1/chat/completions", body)), delay_s)
        assert len(simulator.ledger.rows) == simulator.ledger.totals.attempts == 2 * (len(FAULTS) + 1) + 3
        return sum(simulator._in_flight.values())

    assert run_virtual(main) == 0


@pytest.mark.parametrize(
    ("fault", "status", "code"),
    [("429", 429, "rate_limit_exceeded"), ("500", 500, None), ("503", 503, "server_is_overloaded"),
     ("529", 529, "overloaded_error"), ("quota", 429, "insufficient_quota"), ("event", 500, None)],
)  # fmt: skip
def test_error_faults_are_the_providers_error_bodies(fault, status, code):
    """Status and code on demand; the books call it by the fault's name."""

    async def main():
        simulator = Simulator(SimSettings(latency_scale=0))
        return await chat(simulator, "Hello", fault=fault), simulator.ledger.rows[0].outcome

    reply, outcome = run_virtual(main)
    assert (reply.status, json(reply)["error"]["code"]) == (status, code)
    assert outcome == ("500" if fault == "event" else fault)


def test_faults_that_are_no_status():
    """Reset and truncated lose the connection, stall after its silence; html, malformed and empty are bad bodies."""

    async def main() -> dict[str, object]:
        simulator, found = Simulator(SimSettings(stall_s=30)), {}
        for fault in ("reset", "stall", "truncated"):
            start_s = now_s()
            with pytest.raises(ConnectionLost, match=fault) as caught:
                await chat(simulator, "Hello you", fault=fault)
            found[fault] = (now_s() - start_s >= 30, caught.value.maybe_billed)
        for fault in ("html", "malformed", "empty"):
            found[fault] = await chat(simulator, "Hello you", fault=fault)
        return found

    found = run_virtual(main)
    assert (found["reset"], found["stall"], found["truncated"]) == ((False, True), (True, True), (False, True))
    assert (found["html"].status, found["html"].header("content-type")) == (502, "text/html")
    with pytest.raises(msgspec.DecodeError):
        json(found["malformed"])
    assert (chat_text(found["empty"]), json(found["empty"])["usage"]["completion_tokens"]) == ("", 1)


def test_faults_inside_a_stream():
    """After half of the tokens: an error event, an end without a terminal event, silence, a broken event, a reset."""

    async def main() -> dict[str, bytes]:
        simulator, found = Simulator(SimSettings(stall_s=30)), {}
        body = {"model": "gpt-4o", "input": "Write 20 words.", "stream": True}
        for fault in ("event", "truncated", "malformed", "reset", "stall"):
            reply = await simulator.handler(call("/v1/responses", body, fault=fault))
            parts = []
            try:
                async for chunk in reply:
                    parts.append(chunk)
            except ConnectionLost:
                parts.append(b"LOST")
            found[fault] = b"".join(parts)
        return found

    found = run_virtual(main)
    for fault, raw in found.items():
        assert raw.count(b"response.output_text.delta") >= 8, fault
        assert (b"response.completed" in raw) == (fault == "malformed")
    assert b"event: error\ndata: " in found["event"]
    assert found["reset"].endswith(b"LOST")
    assert found["stall"].endswith(b"LOST")
    assert not found["truncated"].endswith(b"LOST")
    broken = [e for e in found["malformed"].strip().split(b"\n\n") if not e.endswith(b"}")]
    assert len(broken) == 1


def test_slow_is_ten_times_as_long():
    """The latency at the provider, not on the network."""

    async def main(fault: str) -> float:
        await chat(Simulator(SimSettings()), "Hello you", fault=fault)
        return now_s()

    assert 7 < run_virtual(lambda: main("slow")) / run_virtual(lambda: main("")) < 10


def test_faults_by_rate_by_window_and_by_attempt():
    """2 % are about 2 %; a window begins and ends; "503x2" is for the first two attempts."""

    async def main() -> tuple[int, list[int], list[int]]:
        often = Simulator(SimSettings(latency_scale=0, faults=(parse_fault("500:0.1"),)))
        hit = sum([(await chat(often, f"Hello {n}")).status == 500 for n in range(600)])
        window, statuses = Simulator(SimSettings(latency_scale=0, faults=(parse_fault("503@60-90"),))), []
        for _ in range(5):
            statuses.append((await chat(window, "Hello")).status)
            await asyncio.sleep(30)
        asked = Simulator(SimSettings(latency_scale=0))
        return hit, statuses, [(await chat(asked, "Hello", fault="503x2")).status for _ in range(3)]

    hit, statuses, asked = run_virtual(main)
    assert 40 <= hit <= 80
    assert statuses == [200, 200, 503, 200, 200]
    assert asked == [503, 503, 200]


def test_the_fault_header_can_be_switched_off():
    """A client cannot cause faults where that is not allowed."""
    reply = run_virtual(lambda: chat(Simulator(SimSettings(fault_header=False)), "Hello", fault="500"))
    assert reply.status == 200


@pytest.mark.parametrize(
    ("text", "said"),
    [("418", "'418' is not a kind"), ("429:2", "rate of 429"), ("429:", "was not understood"), ("", "was not understood"),
     ("503@9-3", "window of 503"), ("429:1e", "number")],
)  # fmt: skip
def test_a_wrong_fault_is_told_in_a_sentence(text, said):
    """What is wrong with it, and how to write it."""
    with pytest.raises(ConfigError, match=said):
        parse_fault(text)


@pytest.mark.parametrize(
    ("given", "said"),
    [({"rpm": 0}, "rpm: "), ({"capacity_s": 61}, "capacity_s: "), ({"region": "moon"}, "region: 'moon'"),
     ({"latency_scale": -1}, "latency_scale: "), ({"api_keys": ("",)}, "api_keys: "), ({"prefix_ttl_s": 1}, "prefix_ttl_s: "),
     ({"latency_scale": float("nan")}, "latency_scale: "), ({"capacity": 0}, "capacity: ")],
)  # fmt: skip
def test_settings_name_the_key_that_is_wrong(given, said):
    """A value out of range is an error at once."""
    with pytest.raises(ConfigError, match=said):
        SimSettings(**given)


def test_keys_do_not_show():
    """Neither in the settings' repr, nor in the books, nor in a refusal."""
    settings_ = SimSettings(api_keys=("sk-secret",))

    async def main() -> bytes:
        simulator = Simulator(settings_)
        reply = await chat(simulator, "Hello", key="sk-wrong")
        await chat(simulator, "Hello", key="sk-secret")
        return reply.body + simulator.ledger.export()

    shown = repr(settings_).encode() + run_virtual(main)
    assert b"sk-secret" not in shown
    assert b"sk-wrong" not in shown


@pytest.mark.parametrize(
    ("path", "body", "status", "code"),
    [
        ("/v1/chat/completions", b"{", 400, None),
        ("/v1/chat/completions", b"[]", 400, None),
        ("/v1/chat/completions", {"messages": []}, 400, "missing_required_parameter"),
        ("/v1/chat/completions", {"model": "gpt-4o"}, 400, "missing_required_parameter"),
        ("/v1/chat/completions", {"model": "gpt-9", "messages": [{"role": "user", "content": "x"}]}, 404, "model_not_found"),
        ("/v1/chat/completions", {"model": "gpt-4o", "messages": [{"role": "cat", "content": "x"}]}, 400, "invalid_value"),
        ("/v1/chat/completions", {"model": "text-embedding-3-small", "messages": [{"role": "user"}]}, 404, "model_not_found"),
        ("/v1/responses", {"model": "gpt-4o", "input": "x", "max_output_tokens": 3}, 400, "integer_below_min_value"),
        ("/v1/responses", {"model": "gpt-4o", "input": "x", "stream": "yes"}, 400, "invalid_type"),
        ("/v1/responses", {"model": "gpt-3.5-turbo", "input": "word " * 20_000}, 400, "context_length_exceeded"),
        ("/v1/embeddings", {"model": "text-embedding-3-small", "input": []}, 400, None),
        ("/v1/embeddings", {"model": "text-embedding-3-small", "input": "x", "dimensions": 9_999}, 400, None),
        ("/v1/nothing", {}, 404, None),
    ],
)  # fmt: skip
def test_wrong_requests_are_refused_as_the_provider_does(path, body, status, code):
    """Status, code and a message; marked as a simulator's answer all the same."""

    async def main():
        reply = await Simulator(SimSettings(latency_scale=0)).handler(call(path, body))
        await reply.read()
        return reply

    reply = run_virtual(main)
    assert (reply.status, json(reply)["error"]["code"]) == (status, code)
    assert json(reply)["error"]["message"]
    assert reply.header("x-headway-simulator") == "1"


@given(raw=st.one_of(st.binary(max_size=60), st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3)
    | st.dictionaries(st.sampled_from(["model", "messages", "input", "role", "content", "stream", "text", "format", "tools",
                                       "stop", "n", "tool_choice", "reasoning", "schema", "type", "function"]), inner),
    max_leaves=12).map(lambda value: msgspec.json.encode({"model": "gpt-4o", "input": "x", **value}
                                                          if isinstance(value, dict) else value))),
    path=st.sampled_from(["/v1/responses", "/v1/chat/completions", "/v1/embeddings"]))  # fmt: skip
@settings(max_examples=200)
def test_no_body_makes_it_fall_over(raw, path):
    """Any bytes give an answer or a refusal, never an exception."""

    async def main() -> int:
        reply = await Simulator(SimSettings(latency_scale=0)).handler(call(path, raw))
        await reply.read()
        return reply.status

    assert run_virtual(main) in (200, 400, 404)


def test_what_is_refused_unread_has_an_id_of_its_own():
    """Fault seed 258: two providers refused the same request's key in one instant, and gave both refusals one id."""

    async def main() -> tuple[list[str], list[str]]:
        providers = [Simulator(SimSettings(seed=seed, api_keys=("another",), latency_scale=0)) for seed in (1, 2)]
        replies = [await chat(provider, TEXTS[0]) for provider in (*providers, *providers)]
        assert [reply.status for reply in replies] == [401] * 4
        told = [reply.header("x-request-id") for reply in replies]
        return told, [f"req_{row.id}" for provider in providers for row in provider.ledger.rows]

    told, booked = run_virtual(main)
    assert len(set(told)) == 4
    assert set(booked) == set(told)
    assert run_virtual(main) == (told, booked)


def test_the_ledger_is_bounded_and_its_totals_are_exact():
    """Old rows go; sums and counts do not."""

    async def main() -> Simulator:
        simulator = Simulator(SimSettings(latency_scale=0, ledger_rows_max=5))
        for number in range(12):
            await chat(simulator, f"Hello {number}")
        return simulator

    simulator = run_virtual(main)
    books = msgspec.json.decode(simulator.ledger.export())
    assert (len(books["rows"]), books["rows_dropped"], books["totals"]["attempts"]) == (5, 7, 12)
    simulator.ledger.reset()
    assert (simulator.ledger.rows, simulator.ledger.totals.attempts) == ((), 0)
