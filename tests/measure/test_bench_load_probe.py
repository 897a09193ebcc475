"""One request with all its clocks, on virtual time: what is seen, and what is said where nothing can be seen."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace

from headway import ConnectFailed, Engine, Usage
from headway.measure.probe import Probe
from headway.measure.probing import ODD_PRICE, probe
from headway.testing import FakeProvider, Step, virtual_run

CHAT = "/v1/chat/completions"
STREAMED = b'{"model":"m","messages":[{"role":"user","content":"Hi"}],"stream":true}'
WHOLE = b'{"model":"m","messages":[{"role":"user","content":"Hi"}]}'


def event(delta: str, *, finish: str = "null") -> bytes:
    return b'data: {"choices":[{"index":0,"delta":%b,"finish_reason":%b}]}\n\n' % (delta.encode(), finish.encode())


ROLE, A, B = event('{"role":"assistant","content":""}'), event('{"content":"a"}'), event('{"content":"b"}')
THOUGHT, STOP, DONE = event('{"reasoning_content":"hm"}'), event("{}", finish='"stop"'), b"data: [DONE]\n\n"
USAGE = b'data: {"choices":[],"usage":{"prompt_tokens":5,"completion_tokens":2,"total_tokens":7}}\n\n'


def asked(provider: Any, body: bytes = STREAMED, *, intended_s: float = 0.0, **more: Any) -> Probe:
    """One probe through an engine without retries."""

    async def main() -> Probe:
        settings = {"attempts_max": 1, "log": "off", "log_level": "off", "seed": 1} | more.pop("settings", {})
        async with Engine(handler=provider, base_url="http://x/v1", **settings) as engine:
            return await probe(engine, CHAT, body, intended_s=intended_s, origin_s=0.0, **more)

    return virtual_run(main)


def stream(*chunks: bytes, **more: Any) -> FakeProvider:
    return FakeProvider([Step(chunks=chunks, **more)])


def test_every_clock_of_a_stream():
    """Head after 0.5 s, a chunk every 0.1 s: role, two words, the end; waiting since it was due counts."""
    seen = asked(stream(ROLE, A, B, STOP, USAGE, DONE, delay_s=0.5, chunk_delay_s=0.1), intended_s=-1.0)
    assert (seen.outcome, seen.error, seen.streamed, seen.attempts) == ("ok", "", True, 1)
    assert seen.first_byte_s == pytest.approx(0.5, abs=0.2)  # an in-process provider has none of its own
    assert seen.first_answer_s == pytest.approx(0.7)
    assert seen.last_content_s == pytest.approx(0.8)
    assert seen.end_s == pytest.approx(1.1)
    assert seen.ttft_s == pytest.approx(1.7)
    assert seen.latency_s == pytest.approx(2.1)
    assert seen.gaps_s == (pytest.approx(0.1),)
    assert (seen.content_events, seen.text) == (2, "")
    assert seen.usage == Usage(input_tokens=5, output_tokens=2)


def test_events_of_one_read_are_one_moment():
    """Four words in two reads: one gap, and all four counted."""
    seen = asked(stream(ROLE, A + B, A + B, STOP + DONE, chunk_delay_s=0.1), texts=True)
    assert seen.gaps_s == (pytest.approx(0.1),)
    assert (seen.content_events, seen.text) == (4, "abab")


def test_a_last_event_without_its_blank_line_is_read():
    """The standard drops it, clients read it."""
    seen = asked(stream(ROLE, A, STOP, DONE.rstrip()), texts=True)
    assert (seen.outcome, seen.text) == ("ok", "a")


def test_reasoning_is_not_the_answer():
    """Its first token has a clock of its own."""
    seen = asked(stream(THOUGHT, THOUGHT, A, STOP, DONE, chunk_delay_s=0.1))
    assert seen.first_reasoning_s is not None
    assert seen.first_answer_s == pytest.approx(0.3)
    assert seen.content_events == 1


def test_a_server_that_ignores_stream_has_no_first_token():
    """Its whole latency is not passed off as a time to first token."""
    whole = b'{"choices":[{"index":0,"message":{"role":"assistant","content":"hello"},"finish_reason":"stop"}]}'

    async def provider(call: Any) -> Any:
        unstreamed = replace(call, view=replace(call.view, stream=False))
        return await FakeProvider([Step(body=whole, delay_s=2.0)])(unstreamed)

    seen = asked(provider)
    assert (seen.outcome, seen.streamed) == ("ok", False)
    assert (seen.first_answer_s, seen.ttft_s) == (None, None)
    assert seen.latency_s == pytest.approx(2.0)
    assert "ignored stream=true" in seen.note


def test_a_whole_answer_that_was_asked_for_has_no_note():
    """Nobody ignored anything."""
    seen = asked(FakeProvider([Step(text="hello", delay_s=2.0)]), WHOLE, texts=True)
    assert (seen.outcome, seen.note, seen.ttft_s, seen.text) == ("ok", "", None, "hello")
    assert seen.usage == Usage(input_tokens=10, output_tokens=2)


@pytest.mark.parametrize(
    ("provider", "body"),
    [(stream(ROLE, STOP, DONE), STREAMED), (FakeProvider([Step(text="")]), WHOLE)],
    ids=["streamed", "whole"],
)
def test_an_answer_without_a_token_is_empty(provider, body):
    """It is no success, however fast it came."""
    seen = asked(provider, body)
    assert (seen.outcome, seen.ok, seen.first_answer_s) == ("empty", False, None)
    assert "no token" in seen.error


def test_no_usage_is_no_count():
    """What the provider did not say is not guessed."""
    assert asked(stream(ROLE, A, STOP, DONE)).usage is None


@pytest.mark.parametrize(
    ("script", "outcome", "said"),
    [
        ([429], "throttled", "429"),
        ([500], "server_error", "500"),
        ([ConnectFailed("no connection to x")], "connect_failed", "no connection to x"),
        ([Step(chunks=(ROLE, A), error=None)], "connection_lost", "terminal event"),
    ],
)
def test_failures_are_kept(script, outcome, said):
    """Every failure is a probe with an outcome and a sentence."""
    seen = asked(FakeProvider(script))
    assert (seen.outcome, seen.ok, seen.attempts) == (outcome, False, 1)
    assert said in seen.error


def test_an_error_inside_a_stream_is_a_failure():
    """A 200 is no success by itself; what had come by then keeps its clocks."""
    error = b'data: {"error":{"message":"overloaded","type":"server_error","code":"overloaded"}}\n\n'
    seen = asked(stream(ROLE, A, error, chunk_delay_s=0.1))
    assert not seen.ok
    assert seen.first_answer_s == pytest.approx(0.2)
    assert "overloaded" in seen.error


def test_an_error_inside_a_whole_answer_is_a_failure():
    """Status 200 and some text, and the answer itself says that it broke off: no success, and not merely empty."""
    body = (
        b'{"object":"chat.completion","error":{"code":502,"message":"upstream died"},"choices":[{"index":0,'
        b'"finish_reason":"error","message":{"role":"assistant","content":"partial"}}]}'
    )
    seen = asked(FakeProvider([Step(body=body)]), WHOLE)
    assert (seen.outcome, seen.ok, seen.status) == ("server_error", False, 200)
    assert seen.error == "the answer says that it failed: upstream died"


def test_a_price_that_is_no_number_is_no_cost():
    """Unknown, and said so."""
    provider = FakeProvider([Step(text="ok")])

    async def priced(call: Any) -> Any:
        call.trace.on_end(lambda trace: setattr(trace, "dollars", float("nan")))
        return await provider(call)

    seen = asked(priced)
    assert (seen.outcome, seen.dollars, seen.note) == ("ok", None, ODD_PRICE)


def test_a_deadline_that_passes():
    """The caller's own bound is an outcome, too."""
    seen = asked(FakeProvider([Step(delay_s=9.0)]), deadline_s=1.0)
    assert (seen.outcome, seen.latency_s) == ("deadline", pytest.approx(1.0))


def test_tries_are_counted():
    """An engine that tries again says so: its times hold both tries."""
    seen = asked(FakeProvider([500, Step(text="ok")]), settings={"attempts_max": 3})
    assert (seen.outcome, seen.attempts) == ("ok", 2)


def test_a_checker_says_no_or_fails():
    """An answer that is not what was asked for, and a checker that is broken, are told apart."""

    def no(text: str) -> None:
        raise ValueError(f"{text!r} is no label")

    def broken(text: str) -> None:
        raise KeyError(text)

    refused = asked(FakeProvider([Step(text="maybe")]), accept=no)
    assert (refused.outcome, refused.ok, refused.error) == ("invalid_output", False, "'maybe' is no label")
    assert "checker failed" in asked(FakeProvider(), accept=broken).error
    assert asked(FakeProvider(), accept=str.upper).ok


def test_a_wrong_argument_is_told_as_well():
    """What the engine refuses to send is a failed request, not an exception out of the middle of a run."""
    seen = asked(FakeProvider(), headers={"headway-priority": "1"})
    assert (seen.outcome, seen.attempts) == ("config", 0)
